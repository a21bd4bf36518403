//! Batches: looked at as a whole, sent once however often that is begun.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage::broker::{Error as BrokerError, Start};
use lovage::client::{Batch, Error};
use lovage::model::lifecycle::State;
use lovage::protocol::batch::{BATCH_LABEL, Defaults, task_of};
use lovage::protocol::task::TaskMessage;

use super::Rig;

fn text(count: usize) -> Bytes {
    (0..count).map(|n| format!("{{\"task\":\"probe/echo\",\"input\":{n}}}\n")).collect::<String>().into()
}

async fn checked(rig: &Rig, text: Bytes) -> Batch {
    rig.client.check_batch(text, Defaults::default(), "").await.unwrap().unwrap()
}

/// The queued tasks: their inputs by their ids.
async fn queued(rig: &Rig) -> BTreeMap<String, String> {
    let messages = rig.broker.streams.read("lvg.default.task.>", Start::Sequence(1), false).await.unwrap();
    let messages: Vec<lovage::broker::Message> = messages.try_collect().await.unwrap();
    let id = |subject: &str| subject.rsplit('.').next().unwrap().to_owned();
    messages.iter().map(|m| (id(&m.subject), String::from_utf8(m.payload.to_vec()).unwrap())).collect()
}

#[tokio::test]
async fn every_line_becomes_one_task_in_its_order() {
    let rig = Rig::new().await;
    let batch = checked(&rig, text(3_000)).await;
    let mut heard = Vec::new();
    let sent = rig.client.send_batch(&batch, &mut |count| heard.push(count)).await.unwrap();
    assert_eq!((sent.tasks, sent.before), (3_000, 0));
    assert_eq!(heard, (1..=3_000).collect::<Vec<_>>());
    let queued = queued(&rig).await;
    for place in [0, 1_500, 2_999] {
        let id = task_of(rig.client.tenant(), &batch.id, place);
        assert_eq!(queued[id.as_str()], place.to_string());
    }
    let again = rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
    assert_eq!((again.tasks, again.before), (3_000, 3_000), "all of it is there");
    let (record, states) = rig.client.batch(&batch.id).await.unwrap();
    assert_eq!((record.sent, states), (3_000, [("waiting".to_owned(), 3_000)].into()));
    assert_eq!(rig.client.batches().await.unwrap(), [record]);
}

#[tokio::test]
async fn what_was_interrupted_is_resumed_without_doubles() {
    let (rig, _host) = Rig::with_host().await;
    let batch = checked(&rig, text(200)).await;
    // What is sent is stored, and the sender hears of none of it: it ends before it could note anything.
    rig.faults.lose_acknowledgements("lvg.default.task.>", 1_000);
    let mut ignore = |_| {};
    let send = rig.client.send_batch(&batch, &mut ignore);
    assert!(tokio::time::timeout(Duration::from_millis(300), send).await.is_err(), "nothing is acknowledged");
    rig.until_idle().await;
    rig.faults.lose_acknowledgements("nothing", 1);
    // All of them ran meanwhile. The rest of the lost acknowledgements are used up by the second sender.
    let sent = rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
    assert_eq!(sent.tasks, 200);
    rig.until_idle().await;
    let (_, states) = rig.client.batch(&batch.id).await.unwrap();
    assert_eq!(states, [("succeeded".to_owned(), 200)].into());
    let records = rig.broker.streams.read("lvg.default.res.*", Start::Sequence(1), false).await.unwrap();
    let records: Vec<lovage::broker::Message> = records.try_collect().await.unwrap();
    assert_eq!(records.len(), 200);
    assert_eq!(records.iter().map(|record| record.sequence).max(), Some(200), "no record was ever written twice");
}

#[tokio::test]
async fn a_bad_line_is_named_and_nothing_is_sent() {
    let rig = Rig::new().await;
    let mut lines: Vec<String> = (0..100_000).map(|n| format!(r#"{{"task":"probe/echo","input":{n}}}"#)).collect();
    lines[69_999] = r#"{"task":"probe/echo","input":}"#.to_owned();
    lines[80_000] = r#"{"task":"probe/nothing"}"#.to_owned();
    lines[90_000] = r#"{"task":"nobody/nothing"}"#.to_owned();
    let bad = rig.client.check_batch(lines.join("\n").into(), Defaults::default(), "").await.unwrap().unwrap_err();
    let numbers: Vec<usize> = bad.0.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [70_000, 80_001, 90_001]);
    for (place, words) in [(0, "expected value"), (1, "find task nothing of module probe"), (2, "find module nobody")] {
        assert!(bad.0[place].1.contains(words), "{:?}", bad.0[place]);
    }
    assert!(queued(&rig).await.is_empty());
    assert!(rig.client.batches().await.unwrap().is_empty());
    let empty = rig.client.check_batch("\n\n".into(), Defaults::default(), "").await.unwrap_err();
    assert!(matches!(empty, Error::Refused(_)), "{empty}");
}

#[tokio::test]
async fn another_key_or_another_option_is_another_batch() {
    let rig = Rig::new().await;
    let of = |defaults: Defaults, key: &'static str| {
        let client = rig.client.clone();
        async move { client.check_batch(text(1), defaults, key).await.unwrap().unwrap().id }
    };
    let first = of(Defaults::default(), "").await;
    assert_eq!(first, of(Defaults::default(), "").await);
    assert_ne!(first, of(Defaults::default(), "again").await);
    assert_ne!(first, of(Defaults { delay: Some(Duration::from_secs(1)), ..Defaults::default() }, "").await);
}

#[tokio::test]
async fn tasks_of_a_batch_wait_for_their_time_and_carry_its_label() {
    let rig = Rig::new().await;
    let line = Bytes::from_static(br#"{"task":"probe/echo","delay":"1h","labels":{"a":"1"}}"#);
    let batch = checked(&rig, line).await;
    rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
    let id = task_of(rig.client.tenant(), &batch.id, 0);
    let scheduled = rig.broker.streams.last(&format!("lvg.default.sched.{id}")).await.unwrap().unwrap();
    let labels = TaskMessage::decode(&scheduled.headers, &scheduled.payload).unwrap().signature.options.labels;
    assert_eq!((labels["a"].as_str(), labels[BATCH_LABEL].as_str()), ("1", batch.id.as_str()));
    assert_eq!(rig.state(&id.as_str().parse().unwrap()).await, State::Scheduled);
}

#[tokio::test]
async fn two_senders_of_one_batch_are_told_and_a_full_queue_is_waited_for() {
    let rig = Rig::new().await;
    let batch = checked(&rig, text(50)).await;
    let full = || BrokerError::Full { subject: "lvg.default.task.default.5.x".to_owned() };
    rig.faults.refuse_publishes("lvg.default.task.>", 60, full());
    let (first, second) = tokio::join!(async { rig.client.send_batch(&batch, &mut |_| {}).await }, async {
        rig.client.send_batch(&batch, &mut |_| {}).await
    },);
    let refused = [&first, &second].into_iter().filter(|sent| sent.is_err()).count();
    assert!(refused <= 1, "{first:?} {second:?}");
    assert_eq!(queued(&rig).await.len(), 50);
}

#[tokio::test]
async fn a_batch_is_awaited_and_cancelled_as_a_whole() {
    let (rig, host) = Rig::with_host().await;
    let batch = checked(&rig, text(300)).await;
    rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
    let mut heard = Vec::new();
    let states = rig.client.wait_batch(&batch.id, &mut |ended, of| heard.push((ended, of))).await.unwrap();
    assert_eq!(states, [("succeeded".to_owned(), 300)].into());
    assert_eq!(heard.last(), Some(&(300, 300)));
    host.stop().await;
    let batch = checked(&rig, text(301)).await;
    rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
    assert_eq!(rig.client.cancel_batch(&batch.id).await.unwrap(), 301);
    assert_eq!(rig.client.cancel_batch(&batch.id).await.unwrap(), 0);
    let states = rig.client.wait_batch(&batch.id, &mut |_, _| {}).await.unwrap();
    assert_eq!(states, [("cancelled".to_owned(), 301)].into());
    rig.until_idle().await;
    let unknown = lovage::model::RunId::derived(&["none"]);
    assert!(matches!(rig.client.wait_batch(&unknown, &mut |_, _| {}).await, Err(Error::BatchNotFound(_))));
    assert!(matches!(rig.client.cancel_batch(&unknown).await, Err(Error::BatchNotFound(_))));
}

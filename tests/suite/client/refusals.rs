//! What no host could read is refused before anything is published, and what the platform adds by itself has room.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage::broker::Start;
use lovage::client::{BadLines, Draft, Error, Place};
use lovage::model::debounce::{Debounce, Timing};
use lovage::model::schedule::{CATCH_UP_DEFAULT, Cause, Overlap, Rules, Slot, When};
use lovage::model::signature::{LABELS_MAX, Options, Wanted};
use lovage::model::{Signature, Version};
use lovage::protocol::batch::{BATCH_LABEL, Defaults};
use lovage::protocol::schedule::{Call, SCHEDULE_LABEL, SLOT_LABEL, What};
use lovage::protocol::subject::PRIORITY_DEFAULT;
use lovage::protocol::task::TaskMessage;
use lovage::workflow::flow::Document;

use super::Rig;

fn labels(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect()
}

fn signature(labels: BTreeMap<String, String>) -> Signature {
    let options = Options { labels, ..Options::default() };
    Signature { options, ..Signature::new("m/t".parse().unwrap(), "1") }
}

/// The labels of all that is queued, as a host reads them.
async fn queued(rig: &Rig) -> Vec<BTreeMap<String, String>> {
    let messages = rig.broker.streams.read("lvg.default.task.>", Start::Sequence(1), false).await.unwrap();
    let messages: Vec<lovage::broker::Message> = messages.try_collect().await.unwrap();
    let read = |message: &lovage::broker::Message| TaskMessage::decode(&message.headers, &message.payload).unwrap();
    messages.iter().map(|message| read(message).signature.options.labels).collect()
}

#[tokio::test]
async fn options_that_no_host_could_read_are_refused_before_anything_is_published() {
    let rig = Rig::new().await;
    let one = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let key = |key: String| Options { idempotency_key: Some(key), ..Options::default() };
    for (options, words) in [
        (signature(labels(LABELS_MAX + 1)).options, "up to 16 labels, not 17"),
        (Options { requires: labels(LABELS_MAX + 1), ..Options::default() }, "up to 16 labels, not 17"),
        (signature(one("team", "a,b")).options, "without commas"),
        (signature(one("te=am", "a")).options, "key=value"),
        (Options { requires: one("gpu", "y\nes"), ..Options::default() }, "key=value"),
        (key("k".repeat(257)), "1 to 256 bytes"),
        (key(String::new()), "1 to 256 bytes"),
    ] {
        let refused = rig.client.submit(Signature { options, ..signature(labels(0)) }, &Place::default()).await;
        let Err(Error::Refused(why)) = refused else { panic!("{words}: {refused:?}") };
        assert!(why.contains(words), "{why}");
    }
    // A call that others may join says nothing worse.
    let timing = Timing { period: Duration::from_secs(10), timeout: None };
    for (key, count, words) in [(Some("k "), 0, "white space around"), (None, LABELS_MAX + 1, "up to 16 labels")] {
        let mut gathered = signature(labels(count));
        gathered.options.debounce = Some(Debounce { key: key.map(str::to_owned), timing });
        let refused = rig.client.submit(gathered, &Place::default()).await;
        let Err(Error::Refused(why)) = refused else { panic!("{words}: {refused:?}") };
        assert!(why.contains(words), "{why}");
    }
    assert!(rig.broker.streams.last("lvg.default.line.>").await.unwrap().is_none(), "nor does anything wait");
    assert!(rig.is_idle().await);
    rig.client.submit(signature(labels(LABELS_MAX)), &Place::default()).await.unwrap();
    assert_eq!(queued(&rig).await, [labels(LABELS_MAX)]);
}

#[tokio::test]
async fn a_batch_has_room_for_its_own_label_whether_its_lines_are_inputs_or_tasks() {
    let rig = Rig::new().await;
    let defaults = |count: usize, task: Option<&str>| Defaults {
        task: task.map(|task| task.parse().unwrap()),
        options: signature(labels(count)).options,
        ..Defaults::default()
    };
    for (text, task) in [("1\n", Some("m/t")), ("{\"task\":\"m/t\"}\n", None)] {
        let text = Bytes::from_static(text.as_bytes());
        let check = rig.client.check_batch(text.clone(), defaults(LABELS_MAX, task), "").await.unwrap();
        let BadLines(bad) = check.map(|batch| batch.id).unwrap_err();
        assert_eq!(bad, [(1, "a task of a batch takes up to 15 labels".to_owned())]);
        let batch = rig.client.check_batch(text, defaults(LABELS_MAX - 1, task), "").await.unwrap().unwrap();
        rig.client.send_batch(&batch, &mut |_| {}).await.unwrap();
        let mut expected = labels(LABELS_MAX - 1);
        expected.insert(BATCH_LABEL.to_owned(), batch.id.to_string());
        assert_eq!(queued(&rig).await.last(), Some(&expected));
    }
}

#[tokio::test]
async fn what_a_schedule_starts_has_room_for_its_name_and_slot() {
    let rig = Rig::new().await;
    let document = Document::from_json(&serde_json::json!({"chain": [{"wait": "go"}]})).unwrap();
    rig.client.push_flow(&"f".parse().unwrap(), None, &document).await.unwrap();
    let call = |labels| {
        let (signature, queue) = (signature(labels), "default".parse().unwrap());
        What::Task(Box::new(Call { signature, wanted: Wanted::default(), queue, priority: PRIORITY_DEFAULT }))
    };
    let flow = |labels| What::Flow { name: "f".parse().unwrap(), version: None, input: None, labels };
    let now = rig.broker.clock.now();
    let draft = |name: &str, what| {
        let when = When::Every { every: Duration::from_secs(10), anchor: now };
        let (overlap, jitter) = (Overlap::Skip, Duration::ZERO);
        let rules = Rules { when, overlap, catch_up: CATCH_UP_DEFAULT, jitter, until: None };
        Draft { name: name.parse().unwrap(), rules, what, from: None, replace: false }
    };
    for what in [call(labels(LABELS_MAX - 1)), flow(labels(LABELS_MAX - 1))] {
        let refused = rig.client.create_schedule(draft("s", what)).await;
        let Err(Error::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("up to 14 labels"), "{why}");
    }
    let slot = Slot { at: now, cause: Cause::Slot };
    for (name, what) in [("s", call(labels(LABELS_MAX - 2))), ("g", flow(labels(LABELS_MAX - 2)))] {
        let made = rig.client.create_schedule(draft(name, what)).await.unwrap();
        rig.client.start_slot(&made, &slot).await.unwrap();
    }
    let queued = queued(&rig).await;
    assert_eq!((queued.len(), queued[0].len()), (1, LABELS_MAX));
    assert_eq!((queued[0][SCHEDULE_LABEL].as_str(), &queued[0][SLOT_LABEL]), ("s", &now.to_string()));
}

/// The largest integer of 64 bits as a version is odd, and no reason to refuse what comes after it.
#[tokio::test]
async fn a_version_follows_whatever_integer_somebody_chose() {
    let rig = Rig::new().await;
    let name = "f".parse().unwrap();
    let document = |n: u64| Document::from_json(&serde_json::json!({"value": n})).unwrap();
    let largest: Version = u64::MAX.to_string().parse().unwrap();
    rig.client.push_flow(&name, Some(&largest), &document(1)).await.unwrap();
    let next = rig.client.push_flow(&name, None, &document(2)).await.unwrap();
    assert_eq!(next.version.as_str(), "18446744073709551616");
    assert_eq!(rig.client.push_flow(&name, None, &document(2)).await.unwrap(), next, "the same again changes nothing");
}

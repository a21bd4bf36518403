//! Readings of stored messages.

use futures::StreamExt;
use futures::stream::BoxStream;
use lovage::broker::{Error, Message, Publish, Result, Start};

use super::{Rig, soon, text};

const LOGS: &str = "lvg.default.log.*";
const RESULTS: &str = "lvg.default.res.>";

async fn read(rig: &Rig, filter: &str, start: Start, follow: bool) -> BoxStream<'static, Result<Message>> {
    rig.broker.streams.read(filter, start, follow).await.unwrap()
}

async fn all(rig: &Rig, filter: &str, start: Start) -> Vec<String> {
    let messages = read(rig, filter, start, false).await.map(|message| text(&message.unwrap()).to_owned());
    soon(messages.collect()).await
}

async fn following(reading: &mut BoxStream<'static, Result<Message>>) -> (u64, String) {
    let message = soon(reading.next()).await.unwrap().unwrap();
    (message.sequence, text(&message).to_owned())
}

pub(super) async fn a_reading_ends_at_the_last_message(rig: Rig) {
    assert!(all(&rig, LOGS, Start::Sequence(1)).await.is_empty());
    assert!(all(&rig, RESULTS, Start::LastPerSubject).await.is_empty());
    rig.put("lvg.default.log.a", "1").await;
    rig.put("lvg.default.log.b", "2").await;
    let mut reading = read(&rig, LOGS, Start::Sequence(0), false).await;
    rig.put("lvg.default.log.a", "later").await;
    let first = reading.next().await.unwrap().unwrap();
    assert_eq!((first.subject.as_str(), first.sequence, text(&first)), ("lvg.default.log.a", 1, "1"));
    assert_eq!(text(&reading.next().await.unwrap().unwrap()), "2");
    assert!(soon(reading.next()).await.is_none());
    assert_eq!(all(&rig, "lvg.default.log.a", Start::Sequence(1)).await, ["1", "later"]);
}

pub(super) async fn a_long_reading_has_every_message(rig: Rig) {
    // More than one batch.
    for _ in 0..600 {
        rig.put("lvg.default.log.a", "x").await;
    }
    let sequences = |message: Result<Message>| message.unwrap().sequence;
    let read_all: Vec<u64> = soon(read(&rig, LOGS, Start::Sequence(1), false).await.map(sequences).collect()).await;
    assert_eq!(read_all, (1..=600).collect::<Vec<_>>());
    let followed = read(&rig, LOGS, Start::Sequence(1), true).await.take(600).map(sequences);
    assert_eq!(soon(followed.collect::<Vec<_>>()).await, read_all);
}

pub(super) async fn a_reading_begins_at_a_sequence(rig: Rig) {
    for payload in ["1", "2", "3"] {
        rig.put("lvg.default.log.a", payload).await;
    }
    assert_eq!(all(&rig, LOGS, Start::Sequence(2)).await, ["2", "3"]);
    assert!(all(&rig, LOGS, Start::Sequence(4)).await.is_empty());
}

pub(super) async fn a_reading_begins_at_a_time(rig: Rig) {
    let messages = loop {
        rig.put("lvg.default.log.a", "x").await;
        if rig.server.is_none() {
            tokio::time::advance(std::time::Duration::from_millis(2)).await;
        }
        let read: Vec<Message> =
            soon(read(&rig, LOGS, Start::Sequence(1), false).await.map(Result::unwrap).collect()).await;
        if read.last().unwrap().time > read[0].time {
            break read;
        }
    };
    let from = messages.last().unwrap().time;
    let expected: Vec<u64> =
        messages.iter().filter(|message| message.time >= from).map(|message| message.sequence).collect();
    for follow in [false, true] {
        let reading = read(&rig, LOGS, Start::Time(from), follow).await.take(expected.len());
        let sequences: Vec<u64> = soon(reading.map(|message| message.unwrap().sequence).collect()).await;
        assert_eq!(sequences, expected, "follow: {follow}");
    }
    let later = from.after(std::time::Duration::from_secs(3_600));
    assert!(all(&rig, LOGS, Start::Time(later)).await.is_empty());
}

pub(super) async fn the_last_of_each_subject_is_read(rig: Rig) {
    for (subject, payload) in [("a", "a1"), ("b", "b1"), ("a", "a2")] {
        rig.put(&format!("lvg.default.log.{subject}"), payload).await;
    }
    assert_eq!(all(&rig, LOGS, Start::LastPerSubject).await, ["b1", "a2"]);
}

pub(super) async fn a_reading_that_follows_sees_later_messages(rig: Rig) {
    rig.put("lvg.default.log.a", "1").await;
    let mut reading = read(&rig, LOGS, Start::Sequence(1), true).await;
    assert_eq!(following(&mut reading).await, (1, "1".to_owned()));
    for payload in ["2", "3", "4"] {
        rig.put("lvg.default.log.b", payload).await;
    }
    for sequence in 2..=4 {
        assert_eq!(following(&mut reading).await, (sequence, sequence.to_string()));
    }
}

pub(super) async fn the_last_of_each_is_followed_by_all(rig: Rig) {
    for payload in ["1", "2"] {
        rig.put("lvg.default.log.a", payload).await;
    }
    let mut reading = read(&rig, LOGS, Start::LastPerSubject, true).await;
    assert_eq!(following(&mut reading).await, (2, "2".to_owned()));
    for payload in ["3", "4"] {
        rig.put("lvg.default.log.a", payload).await;
    }
    assert_eq!(following(&mut reading).await, (3, "3".to_owned()));
    assert_eq!(following(&mut reading).await, (4, "4".to_owned()));
}

pub(super) async fn a_work_queue_is_read_and_not_followed(rig: Rig) {
    const TASKS: &str = "lvg.default.task.>";
    rig.put("lvg.default.task.q.5.a", "a").await;
    rig.broker.streams.publish(Publish::new("lvg.default.task.r.5.b", "b")).await.unwrap();
    assert_eq!(all(&rig, TASKS, Start::Sequence(1)).await, ["a", "b"]);
    for (start, follow) in [(Start::Sequence(1), true), (Start::LastPerSubject, false)] {
        let refused = rig.broker.streams.read(TASKS, start, follow).await;
        assert!(matches!(refused.err(), Some(Error::Unsuitable(_))));
    }
}

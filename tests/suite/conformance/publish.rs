//! Storing messages, looking them up, removing them.

use std::time::Duration;

use lovage::broker::{Error, Publish};
use lovage::protocol::Headers;

use super::{Rig, next, soon, tasks, text};

const RESULT: &str = "lvg.default.res.a";
const TASK: &str = "lvg.default.task.q.5.a";

pub(super) async fn sequences_count_from_one(rig: Rig) {
    for sequence in 1..=3 {
        let stored = rig.put("lvg.default.log.a", "x").await;
        assert_eq!((stored.sequence, stored.duplicate), (sequence, false));
    }
}

pub(super) async fn expected_sequences_are_compared(rig: Rig) {
    let publish = async |expect| {
        let publish = Publish { expect: Some(expect), ..Publish::new(RESULT, "x") };
        rig.broker.streams.publish(publish).await
    };
    rig.put("lvg.default.res.other", "x").await;
    let first = publish(0).await.unwrap().sequence;
    assert!(matches!(publish(0).await, Err(Error::Conflict { subject }) if subject == RESULT));
    let second = publish(first).await.unwrap().sequence;
    assert!(second > first);
    assert!(matches!(publish(first).await, Err(Error::Conflict { .. })));
}

pub(super) async fn a_unique_subject_is_occupied_until_finished(rig: Rig) {
    let again = async || rig.broker.streams.publish(Publish::new(TASK, "again")).await;
    rig.put(TASK, "x").await;
    assert!(matches!(again().await, Err(Error::Occupied { subject }) if subject == TASK));
    let mut taker = rig.take("lvg.default.task.q.>", Duration::from_secs(20)).await;
    taker.allow(1);
    let delivery = next(&mut taker).await;
    assert!(matches!(again().await, Err(Error::Occupied { .. })), "it is out, not finished");
    delivery.lease.finish().await.unwrap();
    again().await.unwrap();
}

pub(super) async fn a_full_stream_is_told_from_an_occupied_subject(rig: Rig) {
    for id in ["a", "b", "c", "d"] {
        rig.put(&format!("lvg.default.task.q.5.{id}"), "x").await;
    }
    let new = rig.broker.streams.publish(Publish::new("lvg.default.task.q.5.e", "x")).await;
    assert!(matches!(&new, Err(Error::Full { .. })), "{new:?}");
    let occupied = rig.broker.streams.publish(Publish::new(TASK, "x")).await;
    assert!(matches!(&occupied, Err(Error::Occupied { .. })), "{occupied:?}");
}

pub(super) async fn a_message_id_is_stored_once(rig: Rig) {
    let publish = async |subject: &str, expect| {
        let publish = Publish { message_id: Some("id".to_owned()), expect, ..Publish::new(subject, "x") };
        rig.broker.streams.publish(publish).await
    };
    let first = publish(RESULT, None).await.unwrap();
    assert!(!first.duplicate);
    let second = publish("lvg.default.res.b", None).await.unwrap();
    assert_eq!((second.sequence, second.duplicate), (first.sequence, true), "an id counts over all subjects");
    assert!(publish(RESULT, Some(first.sequence)).await.unwrap().duplicate);
    assert!(
        matches!(publish(RESULT, Some(0)).await, Err(Error::Conflict { .. })),
        "what is expected is looked at first"
    );
    let first = publish(TASK, None).await.unwrap();
    let second = publish(TASK, None).await.unwrap();
    assert_eq!(
        (second.sequence, second.duplicate),
        (first.sequence, true),
        "a duplicate is told from an occupied subject"
    );
}

pub(super) async fn the_last_message_takes_the_place_of_others(rig: Rig) {
    rig.put(RESULT, "old").await;
    let new = rig.put(RESULT, "new").await;
    let last = rig.broker.streams.last(RESULT).await.unwrap().unwrap();
    assert_eq!((text(&last), last.sequence, last.subject.as_str()), ("new", new.sequence, RESULT));
    assert_eq!(rig.broker.streams.purge(RESULT).await.unwrap(), 1);
    assert_eq!(rig.broker.streams.last(RESULT).await.unwrap(), None);
}

pub(super) async fn the_last_message_is_found_with_wildcards(rig: Rig) {
    // One stream that is read from any replica, and one that is read from its leader.
    for (one, other, filter) in
        [(RESULT, "lvg.default.res.b", "lvg.default.res.*"), (TASK, "lvg.default.task.r.9.b", "lvg.default.task.*.*.b")]
    {
        assert_eq!(rig.broker.streams.last(filter).await.unwrap(), None);
        rig.put(one, "one").await;
        let publish = Publish { headers: Headers::new().with("A", "1"), ..Publish::new(other, "other") };
        let stored = rig.broker.streams.publish(publish).await.unwrap();
        let last = rig.broker.streams.last(filter).await.unwrap().unwrap();
        assert_eq!((last.subject.as_str(), text(&last), last.sequence), (other, "other", stored.sequence));
        assert_eq!(last.headers, Headers::new().with("A", "1"));
        assert!(last.time.as_millis() > 1_700_000_000_000, "{}", last.time);
    }
}

pub(super) async fn a_purge_counts(rig: Rig) {
    for subject in ["lvg.default.log.a", "lvg.default.log.a", "lvg.default.log.b"] {
        rig.put(subject, "x").await;
    }
    for (filter, count) in [("lvg.default.log.a", 2), ("lvg.default.log.a", 0), ("lvg.default.log.>", 1)] {
        assert_eq!(rig.broker.streams.purge(filter).await.unwrap(), count, "{filter}");
    }
}

pub(super) async fn a_message_with_a_time_to_live_goes(rig: Rig) {
    let publish = Publish { ttl: Some(Duration::from_millis(10)), ..Publish::new(RESULT, "x") };
    rig.broker.streams.publish(publish).await.unwrap();
    assert!(rig.broker.streams.last(RESULT).await.unwrap().is_some());
    // Nobody says that it goes, so it is asked for until it has; the pause lets a paused clock go on.
    soon(async {
        while rig.broker.streams.last(RESULT).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let publish = Publish { ttl: Some(Duration::from_secs(1)), ..Publish::new("lvg.default.log.a", "x") };
    assert!(rig.broker.streams.publish(publish).await.is_err(), "a stream without times to live");
    let publish = Publish { lasting: true, ..Publish::new("lvg.default.log.a", "x") };
    assert!(rig.broker.streams.publish(publish).await.is_err(), "nor what outlasts its own");
}

pub(super) async fn a_lasting_message_outlives_the_age_of_its_stream(rig: Rig) {
    let publish = Publish { lasting: true, ..Publish::new(RESULT, "lasting") };
    rig.broker.streams.publish(publish).await.unwrap();
    rig.put("lvg.default.res.other", "x").await;
    rig.let_results_age().await;
    assert_eq!(rig.broker.streams.last("lvg.default.res.other").await.unwrap(), None);
    assert_eq!(text(&rig.broker.streams.last(RESULT).await.unwrap().unwrap()), "lasting");
}

pub(super) async fn subjects_of_no_stream_are_not_found(rig: Rig) {
    for subject in ["elsewhere.x", "lvg.default.other.x"] {
        let error = rig.broker.streams.publish(Publish::new(subject, "x")).await.unwrap_err();
        assert!(matches!(&error, Error::NotFound(name) if name == subject), "{error:?}");
        assert!(matches!(rig.broker.streams.last(subject).await, Err(Error::NotFound(_))));
        assert!(matches!(rig.broker.streams.purge(subject).await, Err(Error::NotFound(_))));
    }
}

pub(super) async fn what_was_delivered_can_be_published_again(rig: Rig) {
    let publish = |subject: &str, headers: Headers, id: &str| {
        let message_id = Some(id.to_owned());
        rig.broker.streams.publish(Publish { headers, message_id, ..Publish::new(subject, "x") })
    };
    publish(TASK, Headers::new().with("A", "1"), "first").await.unwrap();
    let mut taker = rig.take("lvg.default.task.>", Duration::from_secs(20)).await;
    taker.allow(1);
    let delivered = next(&mut taker).await;
    let elsewhere = "lvg.default.task.r.5.a";
    let again = publish(elsewhere, delivered.message.headers.clone(), "second").await.unwrap();
    assert!(!again.duplicate, "it has an id of its own, and not the one that it came with");
    delivered.lease.finish().await.unwrap();
    let there = rig.broker.streams.last(elsewhere).await.unwrap().expect("it is stored");
    assert_eq!(there.headers.value("A"), Some("1"));
    // Nor does it expect what was expected of it.
    let first = Publish { expect: Some(0), ..Publish::new(RESULT, "1") };
    rig.broker.streams.publish(first).await.unwrap();
    let headers = rig.broker.streams.last(RESULT).await.unwrap().unwrap().headers;
    rig.broker.streams.publish(Publish { headers, ..Publish::new(RESULT, "2") }).await.unwrap();
}

pub(super) async fn white_space_around_a_header_does_not_travel(rig: Rig) {
    let headers = Headers::new().with("A", " padded\t").with("B", "in the middle").with("C", "   ");
    rig.broker.streams.publish(Publish { headers, ..Publish::new(TASK, "x") }).await.unwrap();
    let mut taker = rig.take("lvg.default.task.>", Duration::from_secs(20)).await;
    taker.allow(1);
    let delivered = next(&mut taker).await.message;
    let read = rig.broker.streams.last(TASK).await.unwrap().unwrap();
    for message in [read, delivered] {
        let values = ["A", "B", "C"].map(|name| message.headers.value(name).unwrap_or_default().to_owned());
        assert_eq!(values, ["padded", "in the middle", ""]);
    }
}

pub(super) async fn headers_are_kept(rig: Rig) {
    let headers = Headers::new().with("Lovage-Task", "m/t").with("traceparent", "00-ab: c").with("Empty", "");
    rig.broker.streams.publish(Publish { headers: headers.clone(), ..Publish::new(TASK, "x") }).await.unwrap();
    let mut taker = rig.broker.queues.consume(&tasks("lvg.default.task.>", Duration::from_secs(20))).await.unwrap();
    taker.allow(1);
    let delivered = next(&mut taker).await.message;
    let read = rig.broker.streams.last(TASK).await.unwrap().unwrap();
    for message in [&delivered, &read] {
        for (name, value) in headers.iter() {
            assert_eq!(message.headers.value(name), Some(value), "{name} of {:?}", message.headers);
        }
        assert_eq!(message.headers.iter().count(), 3);
    }
    assert_eq!(delivered, read);
}

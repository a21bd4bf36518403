//! Journals of runs: records written once, timers that produce records, readings that follow a partition.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use lovage::broker::{Error, Message, Publish, Result, Schedule, Start, Stored};
use lovage::model::Timestamp;

use super::{Rig, soon, text};

const RECORDS: &str = "lvg.*.run.0.>";

fn timer(what: &str) -> String {
    format!("lvg.default.timer.0.r.0.{what}")
}

fn record(what: &str) -> String {
    format!("lvg.default.run.0.r.{what}")
}

async fn follow(rig: &Rig, filter: &str) -> BoxStream<'static, Result<Message>> {
    rig.broker.streams.read(filter, Start::Sequence(1), true).await.unwrap()
}

async fn heard(reading: &mut BoxStream<'static, Result<Message>>) -> Message {
    soon(reading.next()).await.unwrap().unwrap()
}

/// Writes a record as it is always written: once.
async fn write(rig: &Rig, subject: &str, payload: &'static str) -> Result<Stored> {
    rig.broker.streams.publish(Publish { expect: Some(0), ..Publish::new(subject, payload) }).await
}

/// Sets a timer that produces the record `timer.0.<what>`.
async fn set(rig: &Rig, what: &str, at: Timestamp) {
    let schedule = Some(Schedule { at, target: record(&format!("timer.0.{what}")) });
    let publish = Publish { schedule, ..Publish::new(timer(what), what.to_owned()) };
    rig.broker.streams.publish(publish).await.unwrap();
}

/// What the broker's clock says: the time of a message that is stored now.
async fn now(rig: &Rig) -> Timestamp {
    rig.put("lvg.default.ev.clock.a", "tick").await;
    rig.broker.streams.last("lvg.default.ev.clock.a").await.unwrap().unwrap().time
}

fn assert_due(message: &Message, what: &str, at: Timestamp) {
    assert_eq!((message.subject.as_str(), text(message)), (record(&format!("timer.0.{what}")).as_str(), what));
    assert!(message.time >= at, "{} is before {at}", message.time);
    assert!(message.time.since(at) < Duration::from_secs(1), "{} is late for {at}", message.time);
}

pub(super) async fn a_timer_produces_its_record(rig: Rig) {
    let mut records = follow(&rig, RECORDS).await;
    let at = now(&rig).await.after(Duration::from_millis(300));
    set(&rig, "delay", at).await;
    assert_due(&heard(&mut records).await, "delay", at);
    soon(async { while rig.broker.streams.last(&timer("delay")).await.unwrap().is_some() {} }).await;
}

pub(super) async fn a_timer_of_the_past_fires_at_once(rig: Rig) {
    let mut records = follow(&rig, RECORDS).await;
    let begin = now(&rig).await;
    set(&rig, "delay", Timestamp::from_millis(begin.as_millis() - 3_600_000)).await;
    assert_due(&heard(&mut records).await, "delay", begin);
}

pub(super) async fn a_timer_is_ended_and_moved(rig: Rig) {
    let mut records = follow(&rig, RECORDS).await;
    let begin = now(&rig).await;
    let (early, late) = (begin.after(Duration::from_millis(300)), begin.after(Duration::from_millis(800)));
    set(&rig, "ended", early).await;
    set(&rig, "moved", early).await;
    assert_eq!(rig.broker.streams.purge(&timer("ended")).await.unwrap(), 1);
    set(&rig, "moved", late).await;
    assert_due(&heard(&mut records).await, "moved", late);
    // Had either fired early, or both, it would stand before this.
    write(&rig, &record("end"), "end").await.unwrap();
    assert_eq!(text(&heard(&mut records).await), "end");
    assert_eq!(rig.broker.streams.purge("lvg.default.timer.0.r.>").await.unwrap(), 0);
}

pub(super) async fn a_record_is_written_once(rig: Rig) {
    write(&rig, &record("step.0.1"), "first").await.unwrap();
    write(&rig, &record("step.0.2"), "another").await.unwrap();
    let refused = write(&rig, &record("step.0.1"), "second").await;
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(text(&rig.broker.streams.last(&record("step.0.1")).await.unwrap().unwrap()), "first");
    // What a timer has produced counts too.
    let mut records = follow(&rig, &record("timer.>")).await;
    set(&rig, "delay", now(&rig).await).await;
    heard(&mut records).await;
    assert!(matches!(write(&rig, &record("timer.0.delay"), "x").await, Err(Error::Conflict { .. })));
}

pub(super) async fn a_partition_is_followed_across_tenants(rig: Rig) {
    write(&rig, "lvg.default.run.0.r.start", "1").await.unwrap();
    write(&rig, "lvg.default.run.1.other.start", "of another partition").await.unwrap();
    let mut records = follow(&rig, RECORDS).await;
    write(&rig, "lvg.acme.run.0.s.start", "2").await.unwrap();
    set(&rig, "delay", now(&rig).await).await;
    let mut sequences = Vec::new();
    for payload in ["1", "2", "delay"] {
        let message = heard(&mut records).await;
        assert_eq!(text(&message), payload);
        sequences.push(message.sequence);
    }
    write(&rig, "lvg.acme.run.0.s.end", "4").await.unwrap();
    let last = heard(&mut records).await;
    assert_eq!((last.subject.as_str(), text(&last)), ("lvg.acme.run.0.s.end", "4"));
    sequences.push(last.sequence);
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
}

/// Timers come and go all the while: a purge of their subjects must not disturb who reads on.
pub(super) async fn readings_at_once_see_one_order(rig: Rig) {
    const RECORDS_EACH: usize = 40;
    let (mut one, mut other) = (follow(&rig, RECORDS).await, follow(&rig, RECORDS).await);
    let writer = async |tenant: &str| {
        for number in 0..RECORDS_EACH {
            write(&rig, &format!("lvg.{tenant}.run.0.r.step.0.{number}"), "x").await.unwrap();
            let what = format!("{tenant}-{number}");
            set(&rig, &what, Timestamp::from_millis(7_000_000_000_000)).await;
            rig.broker.streams.purge(&timer(&what)).await.unwrap();
        }
    };
    futures::join!(writer("a"), writer("b"), writer("c"));
    let all = async |reading: &mut BoxStream<'static, Result<Message>>| {
        let mut seen = Vec::new();
        for _ in 0..3 * RECORDS_EACH {
            let message = heard(reading).await;
            seen.push((message.sequence, message.subject));
        }
        seen
    };
    let (one, other) = (all(&mut one).await, all(&mut other).await);
    assert_eq!(one, other);
    assert!(one.is_sorted_by(|(before, _), (after, _)| before < after));
}

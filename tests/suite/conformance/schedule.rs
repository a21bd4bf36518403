//! Schedules: messages that produce another when they are due.

use std::time::Duration;

use lovage::broker::{Consumer, Deliveries, Delivery, Publish, Schedule};
use lovage::model::Timestamp;
use lovage::protocol::{Headers, Stream};

use super::{Rig, next, soon, text};

const SUBJECT: &str = "lvg.default.sched.a";
const TARGET: &str = "lvg.default.fire.q.5.a";

async fn fired(rig: &Rig) -> Box<dyn Deliveries> {
    let consumer = Consumer {
        stream: Stream::Schedule,
        name: "mover".to_owned(),
        filter: "lvg.*.fire.>".to_owned(),
        lease: Duration::from_secs(20),
        deliveries_max: None,
    };
    let mut taker = rig.broker.queues.consume(&consumer).await.unwrap();
    taker.allow(10);
    taker
}

/// What the broker's clock says: the time of a message that is stored now.
async fn now(rig: &Rig) -> Timestamp {
    rig.put("lvg.default.ev.clock.a", "tick").await;
    rig.broker.streams.last("lvg.default.ev.clock.a").await.unwrap().unwrap().time
}

fn due(subject: &str, at: Timestamp, payload: &'static str) -> Publish {
    let schedule = Some(Schedule { at, target: TARGET.to_owned() });
    Publish { schedule, ..Publish::new(subject, payload) }
}

fn assert_due(delivery: &Delivery, at: Timestamp, payload: &str) {
    assert_eq!((delivery.message.subject.as_str(), text(&delivery.message)), (TARGET, payload));
    assert!(delivery.message.time >= at, "{} is before {at}", delivery.message.time);
    assert!(delivery.message.time.since(at) < Duration::from_secs(1), "{} is late for {at}", delivery.message.time);
}

pub(super) async fn a_schedule_fires_when_it_is_due(rig: Rig) {
    let mut taker = fired(&rig).await;
    let at = now(&rig).await.after(Duration::from_millis(700));
    rig.broker.streams.publish(due(SUBJECT, at, "x")).await.unwrap();
    assert!(rig.broker.streams.last(SUBJECT).await.unwrap().is_some());
    assert_due(&next(&mut taker).await, at, "x");
    soon(async { while rig.broker.streams.last(SUBJECT).await.unwrap().is_some() {} }).await;
}

pub(super) async fn a_past_schedule_fires_at_once(rig: Rig) {
    let mut taker = fired(&rig).await;
    let begin = now(&rig).await;
    rig.broker.streams.publish(due(SUBJECT, Timestamp::from_millis(begin.as_millis() - 60_000), "x")).await.unwrap();
    assert_due(&next(&mut taker).await, begin, "x");
}

pub(super) async fn a_new_schedule_takes_the_place_of_the_old(rig: Rig) {
    let mut taker = fired(&rig).await;
    let begin = now(&rig).await;
    let (early, late) = (begin.after(Duration::from_millis(300)), begin.after(Duration::from_millis(800)));
    rig.broker.streams.publish(due(SUBJECT, early, "old")).await.unwrap();
    rig.broker.streams.publish(due(SUBJECT, late, "new")).await.unwrap();
    assert_due(&next(&mut taker).await, late, "new");
    assert_eq!(rig.broker.streams.purge("lvg.default.sched.>").await.unwrap(), 0, "the old one is gone");
}

pub(super) async fn a_purged_schedule_never_fires(rig: Rig) {
    let mut taker = fired(&rig).await;
    let begin = now(&rig).await;
    let (early, late) = (begin.after(Duration::from_millis(300)), begin.after(Duration::from_millis(800)));
    rig.broker.streams.publish(due(SUBJECT, early, "purged")).await.unwrap();
    assert_eq!(rig.broker.streams.purge(SUBJECT).await.unwrap(), 1);
    rig.broker.streams.publish(due("lvg.default.sched.b", late, "kept")).await.unwrap();
    assert_due(&next(&mut taker).await, late, "kept");
}

pub(super) async fn a_schedule_produces_headers_and_no_message_id(rig: Rig) {
    let mut taker = fired(&rig).await;
    let mut listener = rig.broker.bus.listen("lvg.*.fire.>").await.unwrap();
    let at = now(&rig).await.after(Duration::from_millis(100));
    let schedule = async |expect| {
        let headers = Headers::new().with("Lovage-Task", "m/t");
        let publish = Publish { headers, expect, message_id: Some("id".to_owned()), ..due(SUBJECT, at, "x") };
        rig.broker.streams.publish(publish).await
    };
    assert!(!schedule(Some(0)).await.unwrap().duplicate);
    assert!(schedule(None).await.unwrap().duplicate, "a schedule has its message id");
    let delivery = next(&mut taker).await;
    assert_eq!(delivery.message.headers.value("Lovage-Task"), Some("m/t"));
    for name in ["Nats-Msg-Id", "Nats-Expected-Last-Subject-Sequence"] {
        assert_eq!(delivery.message.headers.value(name), None, "{name}");
    }
    // What a schedule produces is stored, and heard by nobody.
    rig.put("lvg.default.fire.q.5.end", "end").await;
    let heard = soon(futures::StreamExt::next(&mut listener)).await.unwrap();
    assert_eq!(text(&heard), "end");
}

//! Deliveries, leases, allowances.

use std::collections::BTreeSet;
use std::time::Duration;

use lovage::broker::{Consumer, Publish, Visit};
use lovage::protocol::Stream;

use super::{Rig, next, soon, tasks, text};

const FILTER: &str = "lvg.default.task.q.>";
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_secs(1);

fn subject(id: &str) -> String {
    format!("lvg.default.task.q.5.{id}")
}

/// A consumer whose stream takes any number of messages of a subject.
fn fires(lease: Duration) -> Consumer {
    let filter = "lvg.default.fire.>".to_owned();
    Consumer { stream: Stream::Schedule, name: "fires".to_owned(), filter, lease, deliveries_max: None }
}

pub(super) async fn no_more_is_delivered_than_allowed(rig: Rig) {
    for id in ["a", "b", "c"] {
        rig.put(&subject(id), "x").await;
    }
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(2);
    let first = next(&mut taker).await;
    let second = next(&mut taker).await;
    // Another taker gets the third: it was never on its way to the first.
    let mut other = rig.take(FILTER, LONG).await;
    other.allow(1);
    let third = next(&mut other).await;
    assert_eq!((first.message.sequence, second.message.sequence, third.message.sequence), (1, 2, 3));
    assert_eq!((first.count, second.count, third.count), (1, 1, 1));
}

pub(super) async fn two_takers_share(rig: Rig) {
    let (mut one, mut two) = (rig.take(FILTER, LONG).await, rig.take(FILTER, LONG).await);
    one.allow(2);
    two.allow(2);
    let mut seen = BTreeSet::new();
    for id in ["a", "b", "c", "d"] {
        rig.put(&subject(id), "x").await;
    }
    for _ in 0..2 {
        seen.insert(next(&mut one).await.message.subject);
        seen.insert(next(&mut two).await.message.subject);
    }
    assert_eq!(seen.len(), 4);
}

pub(super) async fn a_lease_that_ran_out_is_delivered_again(rig: Rig) {
    rig.put(&subject("a"), "x").await;
    let mut taker = rig.take(FILTER, SHORT).await;
    taker.allow(2);
    let first = next(&mut taker).await;
    let second = next(&mut taker).await;
    assert_eq!((first.count, second.count), (1, 2));
    assert_eq!(first.message, second.message);
    first.lease.finish().await.unwrap();
    assert_eq!(rig.broker.streams.last(FILTER).await.unwrap(), None, "a late finish counts too");
    second.lease.finish().await.unwrap();
}

pub(super) async fn an_extended_lease_goes_on(rig: Rig) {
    rig.put(&subject("a"), "x").await;
    rig.put(&subject("b"), "x").await;
    let mut taker = rig.take(FILTER, SHORT).await;
    taker.allow(7);
    let (kept, mut clock) = (next(&mut taker).await, next(&mut taker).await);
    // The other one is the clock: it comes back so often that the lease would have run out twice.
    for round in 2..=6 {
        clock.lease.hand_back(SHORT * 2 / 5).await.unwrap();
        clock = next(&mut taker).await;
        assert_eq!((clock.message.sequence, clock.count), (2, round));
        kept.lease.extend().await.unwrap();
    }
    kept.lease.finish().await.unwrap();
}

pub(super) async fn what_is_finished_is_gone(rig: Rig) {
    rig.put(&subject("a"), "x").await;
    rig.put(&subject("b"), "x").await;
    let mut taker = rig.take(FILTER, SHORT).await;
    taker.allow(3);
    let (finished, other) = (next(&mut taker).await, next(&mut taker).await);
    finished.lease.finish().await.unwrap();
    finished.lease.finish().await.unwrap();
    let again = next(&mut taker).await;
    assert_eq!(again.message.sequence, other.message.sequence);
    assert_eq!(rig.broker.streams.last(&subject("a")).await.unwrap(), None);
}

pub(super) async fn what_is_let_go_is_gone_when_the_broker_hears_of_it(rig: Rig) {
    for id in ["a", "b"] {
        rig.put(&subject(id), "x").await;
    }
    let mut taker = rig.take(FILTER, SHORT).await;
    taker.allow(3);
    let (gone, other) = (next(&mut taker).await, next(&mut taker).await);
    gone.lease.let_go().await.unwrap();
    gone.lease.let_go().await.unwrap();
    let again = next(&mut taker).await;
    assert_eq!(
        (again.message.sequence, again.count),
        (other.message.sequence, 2),
        "its lease ran out, the other's did not"
    );
    assert_eq!(rig.broker.streams.last(&subject("a")).await.unwrap(), None);
}

pub(super) async fn what_is_handed_back_comes_after_its_delay(rig: Rig) {
    rig.put(&subject("a"), "x").await;
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(3);
    next(&mut taker).await.lease.hand_back(Duration::ZERO).await.unwrap();
    let second = next(&mut taker).await;
    assert_eq!(second.count, 2);
    let begin = tokio::time::Instant::now();
    second.lease.hand_back(Duration::from_millis(500)).await.unwrap();
    assert_eq!(next(&mut taker).await.count, 3);
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(450) && waited < Duration::from_secs(5), "{waited:?}");
}

pub(super) async fn a_late_taker_gets_what_is_stored(rig: Rig) {
    rig.put(&subject("a"), "early").await;
    rig.put("lvg.default.task.other.5.a", "another queue").await;
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(2);
    assert_eq!(text(&next(&mut taker).await.message), "early");
    rig.put(&subject("b"), "late").await;
    assert_eq!(text(&next(&mut taker).await.message), "late");
}

pub(super) async fn deliveries_out_are_bounded(rig: Rig) {
    for id in ["a", "b"] {
        rig.put(&subject(id), "x").await;
    }
    let consumer = Consumer { deliveries_max: Some(1), ..tasks(FILTER, LONG) };
    let mut taker = rig.broker.queues.consume(&consumer).await.unwrap();
    taker.allow(2);
    let first = next(&mut taker).await;
    let early = tokio::time::timeout(Duration::from_millis(200), taker.next()).await;
    assert!(early.is_err(), "the second came while the first was out");
    first.lease.finish().await.unwrap();
    assert_eq!(next(&mut taker).await.message.sequence, 2);
}

pub(super) async fn what_a_closed_taker_had_is_free(rig: Rig) {
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(3);
    // The first delivery proves that the request for three has arrived; the rest is on its way and never looked at.
    for id in ["a", "b", "c"] {
        rig.put(&subject(id), "x").await;
    }
    next(&mut taker).await.lease.finish().await.unwrap();
    soon(taker.close()).await;
    let mut other = rig.take(FILTER, LONG).await;
    other.allow(2);
    let got = [next(&mut other).await.message.sequence, next(&mut other).await.message.sequence];
    assert_eq!(BTreeSet::from(got), BTreeSet::from([2, 3]));
}

pub(super) async fn a_delivery_says_where_it_stands(rig: Rig) {
    rig.put(&subject("other"), "x").await;
    let stored = rig.put(&subject("a"), "x").await;
    let mut taker = rig.take(&subject("a"), LONG).await;
    taker.allow(1);
    let delivery = next(&mut taker).await;
    let read = rig.broker.streams.last(&subject("a")).await.unwrap().unwrap();
    assert_eq!(delivery.message, read);
    assert_eq!((delivery.message.sequence, delivery.count), (stored.sequence, 1));
}

pub(super) async fn a_dropped_wait_loses_nothing(rig: Rig) {
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(1);
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(20), taker.next()).await.is_err());
    }
    rig.put(&subject("a"), "x").await;
    assert_eq!(next(&mut taker).await.count, 1);
}

pub(super) async fn many_are_delivered_once_each(rig: Rig) {
    let mut taker = rig.broker.queues.consume(&fires(LONG)).await.unwrap();
    taker.allow(7);
    for _ in 0..500 {
        rig.broker.streams.publish(Publish::new("lvg.default.fire.q.5.a", "x")).await.unwrap();
    }
    for sequence in 1..=500 {
        let delivery = next(&mut taker).await;
        assert_eq!((delivery.message.sequence, delivery.count), (sequence, 1));
        delivery.lease.finish().await.unwrap();
        taker.allow(1);
    }
    assert_eq!(rig.broker.streams.last("lvg.default.fire.>").await.unwrap(), None);
}

/// A server's own purge by subject makes a consumer forget what it has out on other subjects; ours must not.
pub(super) async fn a_purge_of_one_subject_leaves_deliveries_of_others(rig: Rig) {
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(5);
    for id in ["a", "b", "c"] {
        rig.put(&subject(id), "x").await;
    }
    let _first = next(&mut taker).await;
    let second = next(&mut taker).await;
    let _third = next(&mut taker).await;
    for id in ["a", "c"] {
        assert_eq!(rig.broker.streams.purge(&format!("lvg.default.task.*.*.{id}")).await.unwrap(), 1);
    }
    rig.put(&subject("d"), "x").await;
    next(&mut taker).await.lease.finish().await.unwrap();
    second.lease.hand_back(Duration::ZERO).await.unwrap();
    let again = next(&mut taker).await;
    assert_eq!((again.message.subject, again.count), (subject("b"), 2));
}

pub(super) async fn what_waits_and_what_is_out_is_counted(rig: Rig) {
    let stream = Stream::Task(lovage::model::Tenant::default_tenant());
    assert_eq!(rig.broker.queues.backlogs(&stream).await.unwrap(), []);
    for id in ["a", "b", "c"] {
        rig.put(&subject(id), "x").await;
    }
    let mut taker = rig.take(FILTER, LONG).await;
    let counts = || async {
        let backlogs = rig.broker.queues.backlogs(&stream).await.unwrap();
        assert_eq!(backlogs.len(), 1);
        assert_eq!(backlogs[0].0, "tasks");
        (backlogs[0].1.waiting, backlogs[0].1.out)
    };
    assert_eq!(counts().await, (3, 0));
    taker.allow(2);
    let first = next(&mut taker).await;
    let second = next(&mut taker).await;
    assert_eq!(counts().await, (1, 2));
    first.lease.finish().await.unwrap();
    assert_eq!(counts().await, (1, 1));
    second.lease.hand_back(LONG).await.unwrap();
    assert_eq!(counts().await, (1, 1), "what was handed back is still out");
    // What is of no consumer's is in no backlog.
    rig.put("lvg.default.task.other.5.z", "x").await;
    assert_eq!(counts().await, (1, 1));
}

pub(super) async fn a_visit_takes_what_waits_and_waits_for_nothing(rig: Rig) {
    let mut visits = rig.broker.queues.visit(&tasks(FILTER, LONG)).await.unwrap();
    assert_eq!(soon(visits.take(3)).await.unwrap().deliveries.len(), 0);
    for id in ["a", "b", "c"] {
        rig.put(&subject(id), "x").await;
    }
    // A server counts for a consumer what is stored a moment after it was acknowledged.
    let counted = || async { rig.broker.queues.backlogs(&stream()).await.unwrap()[0].1.waiting };
    while soon(counted()).await < 3 {}
    let ids = |taken: &[lovage::broker::Delivery]| taken.iter().map(|taken| taken.message.sequence).collect::<Vec<_>>();
    let Visit { deliveries: two, left } = soon(visits.take(2)).await.unwrap();
    assert_eq!((ids(&two), left), (vec![1, 2], 1));
    let Visit { deliveries: rest, left } = soon(visits.take(5)).await.unwrap();
    assert_eq!((ids(&rest), rest[0].count, left), (vec![3], 1, 0));
    assert_eq!(soon(visits.take(5)).await.unwrap().deliveries.len(), 0);
    two[0].lease.finish().await.unwrap();
    two[1].lease.hand_back(Duration::ZERO).await.unwrap();
    // A server takes note of what is handed back a moment after it was told.
    let mut again = Vec::new();
    while again.is_empty() {
        again = soon(visits.take(5)).await.unwrap().deliveries;
    }
    assert_eq!((ids(&again), again[0].count), (vec![2], 2));
    assert_eq!(soon(visits.take(0)).await.unwrap().deliveries.len(), 0);
}

pub(super) async fn what_is_recalled_does_not_come(rig: Rig) {
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(3);
    rig.put(&subject("a"), "x").await;
    assert_eq!(next(&mut taker).await.message.sequence, 1);
    taker.recall();
    // The recall has reached the broker when the first look after it has ended.
    assert!(tokio::time::timeout(Duration::from_millis(100), taker.next()).await.is_err());
    rig.put(&subject("b"), "x").await;
    let mut other = rig.take(FILTER, LONG).await;
    other.allow(1);
    assert_eq!(next(&mut other).await.message.sequence, 2);
    rig.put(&subject("c"), "x").await;
    assert!(tokio::time::timeout(Duration::from_millis(100), taker.next()).await.is_err());
    taker.allow(1);
    assert_eq!(
        (next(&mut taker).await.message.sequence, rig.broker.queues.backlogs(&stream()).await.unwrap().len()),
        (3, 1)
    );
    taker.recall();
    taker.recall();
    taker.allow(1);
    rig.put(&subject("d"), "x").await;
    assert_eq!(next(&mut taker).await.message.sequence, 4);
}

fn stream() -> Stream {
    Stream::Task(lovage::model::Tenant::default_tenant())
}

pub(super) async fn subjects_with_messages_are_listed(rig: Rig) {
    let occupied = async |filter: &str, max| {
        let mut subjects = rig.broker.queues.occupied(filter, max).await.unwrap();
        subjects.sort();
        subjects
    };
    assert_eq!((occupied(FILTER, 9).await, rig.broker.queues.stored(&stream()).await.unwrap()), (vec![], 0));
    for id in ["a", "b"] {
        rig.put(&subject(id), "x").await;
    }
    rig.put("lvg.default.task.other.9.c", "x").await;
    assert_eq!(occupied(FILTER, 9).await, [subject("a"), subject("b")]);
    assert_eq!(occupied("lvg.default.task.>", 9).await.len(), 3);
    assert_eq!(occupied("lvg.default.task.>", 2).await.len(), 2);
    let mut taker = rig.take(FILTER, LONG).await;
    taker.allow(1);
    next(&mut taker).await.lease.finish().await.unwrap();
    assert_eq!(
        (occupied(FILTER, 9).await, rig.broker.queues.stored(&stream()).await.unwrap()),
        (vec![subject("b")], 2)
    );
    assert_eq!(rig.broker.queues.backlogs(&stream()).await.unwrap()[0].1.delivered, 1);
}

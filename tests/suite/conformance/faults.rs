//! The switches for faults of the broker in memory, one test each.

use std::time::Duration;

use futures::StreamExt;
use lovage::broker::memory::{Faults, Memory};
use lovage::broker::{Error, Publish, Start};
use lovage::protocol::Headers;

use super::{Rig, next, soon, text};

const FILTER: &str = "lvg.default.task.q.>";
const LEASE: Duration = Duration::from_secs(20);

fn rig() -> (Rig, Faults) {
    let memory = Memory::new();
    (Rig { broker: memory.broker(), server: None }, memory.faults())
}

fn subject(id: usize) -> String {
    format!("lvg.default.task.q.5.{id}")
}

async fn publish(rig: &Rig, id: usize) -> lovage::broker::Result<lovage::broker::Stored> {
    rig.broker.streams.publish(Publish::new(subject(id), "x")).await
}

#[tokio::test(start_paused = true)]
async fn publishes_are_refused() {
    let (rig, faults) = rig();
    faults.refuse_publishes(FILTER, 2, Error::Full { subject: "any".to_owned() });
    rig.put("lvg.default.res.a", "x").await;
    for _ in 0..2 {
        assert!(matches!(publish(&rig, 1).await, Err(Error::Full { .. })));
    }
    publish(&rig, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_lost() {
    let (rig, faults) = rig();
    faults.lose_acknowledgements(FILTER, 1);
    assert!(matches!(publish(&rig, 1).await, Err(Error::Unavailable(_))));
    assert!(matches!(publish(&rig, 1).await, Err(Error::Occupied { .. })), "it was stored");
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_held() {
    let (rig, faults) = rig();
    faults.hold_deliveries(&subject(1));
    publish(&rig, 1).await.unwrap();
    publish(&rig, 2).await.unwrap();
    let mut taker = rig.take(FILTER, LEASE).await;
    taker.allow(2);
    assert_eq!(next(&mut taker).await.message.subject, subject(2));
    assert!(tokio::time::timeout(LEASE / 2, taker.next()).await.is_err());
    faults.release_deliveries(&subject(1));
    assert_eq!(next(&mut taker).await.message.subject, subject(1));
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_repeated() {
    let (rig, faults) = rig();
    faults.repeat_deliveries(FILTER, 1);
    publish(&rig, 1).await.unwrap();
    let mut taker = rig.take(FILTER, LEASE).await;
    taker.allow(3);
    let (first, second) = (next(&mut taker).await, next(&mut taker).await);
    assert_eq!((first.count, second.count), (1, 2));
    assert_eq!(first.message, second.message);
    first.lease.finish().await.unwrap();
    assert!(tokio::time::timeout(LEASE * 2, taker.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_reordered() {
    let order = async |seed: u64| {
        let (rig, faults) = rig();
        faults.reorder_deliveries(seed);
        for id in 0..40 {
            publish(&rig, id).await.unwrap();
        }
        let mut taker = rig.take(FILTER, LEASE).await;
        taker.allow(40);
        let mut order = Vec::new();
        for _ in 0..40 {
            order.push(next(&mut taker).await.message.sequence);
        }
        order
    };
    let one = order(1).await;
    assert_eq!(order(1).await, one, "a seed makes one order");
    assert_ne!(order(2).await, one);
    let mut sorted = one.clone();
    sorted.sort_unstable();
    assert_ne!(sorted, one);
    assert_eq!(sorted, (1..=40).collect::<Vec<_>>(), "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn leases_run_out() {
    let (rig, faults) = rig();
    publish(&rig, 1).await.unwrap();
    let mut taker = rig.take(FILTER, LEASE).await;
    taker.allow(3);
    let begin = tokio::time::Instant::now();
    assert_eq!(next(&mut taker).await.count, 1);
    faults.expire_leases();
    let second = next(&mut taker).await;
    second.lease.hand_back(LEASE).await.unwrap();
    faults.expire_leases();
    assert_eq!(next(&mut taker).await.count, 3);
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn finishes_are_lost() {
    let (rig, faults) = rig();
    faults.lose_finishes(FILTER, 1);
    publish(&rig, 1).await.unwrap();
    let mut taker = rig.take(FILTER, LEASE).await;
    taker.allow(2);
    let delivery = next(&mut taker).await;
    assert!(matches!(delivery.lease.finish().await, Err(Error::Unavailable(_))));
    // A lost finish ends with the lease, if nobody tries again.
    let begin = tokio::time::Instant::now();
    let again = tokio::time::timeout(LEASE * 2, taker.next()).await.unwrap().unwrap();
    assert_eq!((again.count, begin.elapsed().as_secs()), (2, LEASE.as_secs()));
    again.lease.finish().await.unwrap();
    assert_eq!(rig.broker.streams.last(FILTER).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn messages_on_the_bus_are_dropped() {
    let (rig, faults) = rig();
    let mut heard = rig.broker.bus.listen("lvg.>").await.unwrap();
    faults.drop_bus("lvg.>", 2);
    rig.put("lvg.default.res.a", "dropped and stored").await;
    for word in ["dropped", "heard"] {
        rig.broker.bus.send("lvg.ctl.x", Headers::new(), word.into()).await.unwrap();
    }
    assert_eq!(text(&soon(heard.next()).await.unwrap()), "heard");
    assert!(rig.broker.streams.last("lvg.default.res.a").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn everything_is_unavailable() {
    let (rig, faults) = rig();
    publish(&rig, 1).await.unwrap();
    let mut taker = rig.take(FILTER, LEASE).await;
    taker.allow(2);
    let delivery = next(&mut taker).await;
    let mut followed = rig.broker.streams.read("lvg.default.log.a", Start::Sequence(1), true).await.unwrap();
    faults.unavailable(true);
    let unavailable = |error: Option<Error>| assert!(matches!(error, Some(Error::Unavailable(_))), "{error:?}");
    unavailable(publish(&rig, 2).await.err());
    unavailable(rig.broker.streams.last(FILTER).await.err());
    unavailable(rig.broker.streams.purge(FILTER).await.err());
    unavailable(rig.broker.queues.consume(&super::tasks(FILTER, LEASE)).await.err());
    unavailable(rig.broker.bus.send("lvg.ctl.x", Headers::new(), "x".into()).await.err());
    unavailable(rig.broker.objects.info(lovage::protocol::stream::Bucket::Values, "x").await.err());
    unavailable(delivery.lease.finish().await.err());
    assert!(tokio::time::timeout(LEASE * 2, taker.next()).await.is_err(), "what waits goes on waiting");
    faults.unavailable(false);
    assert_eq!(next(&mut taker).await.count, 2);
    rig.put("lvg.default.log.a", "x").await;
    assert_eq!(text(&soon(followed.next()).await.unwrap().unwrap()), "x");
}

//! Queues that are paused and purged, and what is told of them.

use lovage::client::{Error, Place, Purged};
use lovage::model::lifecycle::State;
use lovage::model::{Queue, Signature, TaskId};

use super::{Rig, call};
use crate::support::eventually::eventually;

fn queue(name: &str) -> Queue {
    name.parse().unwrap()
}

async fn submit(rig: &Rig, name: &str, signature: Signature) -> TaskId {
    let place = Place { queue: queue(name), ..Place::default() };
    rig.client.submit(signature, &place).await.unwrap()
}

/// A task that runs until it is cancelled.
fn endless() -> Signature {
    let mut signature = call("wait_cancel", "null");
    signature.options.limits.fuel = Some(lovage::model::limits::FuelWish::Off(lovage::model::limits::Off::Off));
    signature
}

#[tokio::test]
async fn a_paused_queue_is_not_served_and_what_runs_goes_on() {
    let (rig, _host) = Rig::with_host().await;
    let running = rig.submit(endless()).await;
    rig.until(&running, State::Running).await;
    rig.client.pause_queue(&queue("default"), "the disk is full").await.unwrap();
    // A host takes no more as soon as it hears of that; what it took before, it runs.
    let waits = eventually("a task that is not taken", || async {
        let id = rig.submit(call("echo", "1")).await;
        let mut ignore = |_| {};
        let soon = std::time::Duration::from_millis(300);
        tokio::time::timeout(soon, rig.client.wait(&id, &mut ignore)).await.is_err().then_some(id)
    })
    .await;
    assert_eq!(rig.state(&waits).await, State::Queued);
    let view = rig.client.queue(&queue("default")).await.unwrap();
    assert_eq!((view.waiting, view.running), (1, 1));
    assert_eq!(view.paused.unwrap().note, "the disk is full");
    // A host that starts now takes nothing either.
    let _second = rig.host("host-2").await;
    rig.client.cancel(&running).await.unwrap();
    rig.wait(&running).await;
    assert_eq!(rig.state(&waits).await, State::Queued);
    rig.client.resume_queue(&queue("default")).await.unwrap();
    rig.wait(&waits).await;
    assert_eq!(rig.client.queue(&queue("default")).await.unwrap().paused, None);
}

#[tokio::test]
async fn a_paused_queue_leaves_the_others_alone() {
    let rig = Rig::new().await;
    let both = || vec![(queue("default"), 1), (queue("other"), 3)];
    let _host = rig.host_with("host-1", |config| config.queues = both()).await;
    rig.client.pause_queue(&queue("other"), "").await.unwrap();
    let here = rig.submit(call("echo", "1")).await;
    rig.wait(&here).await;
    let waits = eventually("a task that is not taken", || async {
        let id = submit(&rig, "other", call("echo", "1")).await;
        let mut ignore = |_| {};
        let soon = std::time::Duration::from_millis(300);
        tokio::time::timeout(soon, rig.client.wait(&id, &mut ignore)).await.is_err().then_some(id)
    })
    .await;
    rig.client.resume_queue(&queue("other")).await.unwrap();
    rig.wait(&waits).await;
}

#[tokio::test]
async fn a_purge_cancels_what_waits_and_what_runs() {
    let (rig, _host) = Rig::with_host().await;
    let running = rig.submit(endless()).await;
    rig.until(&running, State::Running).await;
    let elsewhere = submit(&rig, "other", call("echo", "1")).await;
    rig.client.pause_queue(&queue("default"), "").await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(rig.submit(endless()).await);
    }
    let purged = rig.client.purge_queue(&queue("default")).await.unwrap();
    assert_eq!(purged, Purged { cancelled: 101, steps: 0 });
    for id in waiting.iter().chain([&running]) {
        assert_eq!(rig.state(id).await, State::Cancelled);
    }
    assert_eq!(rig.state(&elsewhere).await, State::Queued);
    assert_eq!(rig.client.purge_queue(&queue("default")).await.unwrap(), Purged::default());
}

#[tokio::test]
async fn a_queue_that_nobody_serves_is_seen() {
    let rig = Rig::new().await;
    assert!(matches!(rig.client.queue(&queue("misspelt")).await, Err(Error::QueueNotFound(_))));
    submit(&rig, "misspelt", call("echo", "1")).await;
    submit(&rig, "misspelt", call("echo", "1")).await;
    let view = rig.client.queue(&queue("misspelt")).await.unwrap();
    assert_eq!((view.waiting, view.served, view.oldest.is_some()), (2, false, true));
    let listed: Vec<(String, u64)> =
        rig.client.queues().await.unwrap().iter().map(|view| (view.queue.to_string(), view.waiting)).collect();
    assert_eq!(listed, [("misspelt".to_owned(), 2)], "it is listed although nobody has served it");
    let long = "n".repeat(401);
    assert!(matches!(rig.client.pause_queue(&queue("misspelt"), &long).await, Err(Error::Refused(_))));
    rig.client.pause_queue(&queue("misspelt"), "n").await.unwrap();
    let names: Vec<String> = rig.client.queues().await.unwrap().iter().map(|view| view.queue.to_string()).collect();
    assert_eq!(names, ["misspelt"]);
}

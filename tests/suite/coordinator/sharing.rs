//! Several coordinators: shares, take-over, release.

use std::time::Duration;

use lovage::broker::{Broker, Error, Start};
use serde_json::json;
use tokio::time::Instant;

use super::{Rig, soon};
use futures::TryStreamExt as _;

/// A chain of so many steps.
fn chain(steps: usize) -> serde_json::Value {
    json!({"chain": vec![json!({"task": "canvas/add", "args": [1]}); steps]})
}

/// Who holds how many partitions.
async fn shares(broker: &Broker) -> Vec<(String, usize)> {
    let claims = broker.streams.read("lvg.ctl.partition.*", Start::LastPerSubject, false).await.unwrap();
    let claims: Vec<lovage::broker::Message> = claims.try_collect().await.unwrap();
    let mut shares = std::collections::BTreeMap::<String, usize>::new();
    for claim in claims {
        let claim: serde_json::Value = serde_json::from_slice(&claim.payload).unwrap();
        *shares.entry(claim["holder"].as_str().unwrap_or("nobody").to_owned()).or_default() += 1;
    }
    shares.into_iter().collect()
}

/// Waits until the partitions are shared so.
async fn until_shared(broker: &Broker, expected: &[(&str, usize)]) {
    let expected: Vec<(String, usize)> = expected.iter().map(|(id, share)| ((*id).to_owned(), *share)).collect();
    soon(&format!("{expected:?}"), async {
        while shares(broker).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn coordinators_share_fairly_and_give_back_what_they_leave() {
    let rig = Rig::memory().await;
    let first = rig.coordinator("c1").await;
    until_shared(&rig.broker, &[("c1", 32)]).await;
    let second = rig.coordinator("c2").await;
    until_shared(&rig.broker, &[("c1", 16), ("c2", 16)]).await;
    let third = rig.coordinator("c3").await;
    until_shared(&rig.broker, &[("c1", 11), ("c2", 11), ("c3", 10)]).await;
    let leaves = Instant::now();
    first.stop().await;
    until_shared(&rig.broker, &[("c2", 16), ("c3", 16)]).await;
    assert!(leaves.elapsed() < Duration::from_secs(1), "{:?}", leaves.elapsed());
    drop((second, third));
}

async fn a_dead_holders_partitions_are_taken_within_five_seconds(rig: Rig) {
    let first = rig.coordinator("c1").await;
    let _second = rig.coordinator("c2").await;
    until_shared(&rig.broker, &[("c1", 16), ("c2", 16)]).await;
    let (_host, _) = rig.host().await;
    let mut runs = Vec::new();
    for _ in 0..32 {
        runs.push(rig.start(chain(10), Some("0")).await);
    }
    first.kill();
    let died = Instant::now();
    until_shared(&rig.broker, &[("c2", 32)]).await;
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    for run in &runs {
        assert_eq!(rig.output(run).await, "10");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_holders_partitions_are_taken_within_five_seconds_in_memory() {
    a_dead_holders_partitions_are_taken_within_five_seconds(Rig::memory().await).await;
}

#[tokio::test]
async fn a_dead_holders_partitions_are_taken_within_five_seconds_on_nats() {
    a_dead_holders_partitions_are_taken_within_five_seconds(Rig::nats().await).await;
}

#[tokio::test(start_paused = true)]
async fn coordinators_that_come_and_go_lose_no_run_and_do_nothing_twice() {
    let rig = Rig::memory().await;
    let (_host, done) = rig.host().await;
    let mut runs = Vec::new();
    let mut old = rig.coordinator("c0").await;
    for number in 1..6 {
        for _ in 0..8 {
            runs.push(rig.start(chain(5), Some("0")).await);
        }
        let new = rig.coordinator(&format!("c{number}")).await;
        if number % 2 == 0 {
            old.stop().await
        } else {
            old.kill()
        }
        old = new;
    }
    for run in &runs {
        assert_eq!(rig.output(run).await, "5");
    }
    assert_eq!(done.all().len(), runs.len() * 5, "every step ran once");
}

#[tokio::test(start_paused = true)]
async fn two_who_hold_the_same_partitions_do_no_harm() {
    let rig = Rig::memory().await;
    let (_host, done) = rig.host().await;
    let _first = rig.coordinator("c1").await;
    // Somebody removes all claims: the second takes what the first still works on, and the first cannot save where it is.
    rig.broker.streams.purge("lvg.ctl.partition.*").await.unwrap();
    rig.broker.streams.purge("lvg.ctl.coordinator.*").await.unwrap();
    rig.faults().refuse_publishes("lvg.ctl.coordinator.c1", 100, Error::Unavailable("cut off".to_owned()));
    let second = rig.coordinator("c2").await;
    let mut runs = Vec::new();
    for _ in 0..16 {
        runs.push(rig.start(chain(5), Some("0")).await);
    }
    for run in &runs {
        assert_eq!(rig.output(run).await, "5");
    }
    assert!(second.metric("partitions_taken_total") >= 16);
    assert_eq!(done.all().len(), runs.len() * 5, "every step ran once");
}

#[tokio::test(start_paused = true)]
async fn one_who_was_thought_dead_gives_up_what_others_took_also_where_nothing_happens() {
    let rig = Rig::memory().await;
    let _first = rig.coordinator("c1").await;
    // Nobody hears of the first for ten seconds: the second takes all, while the first works on and has nothing to write.
    rig.faults().refuse_publishes("lvg.ctl.coordinator.c1", 20, Error::Unavailable("cut off".to_owned()));
    let (_second, _ready) = rig.begin("c2", |_| {}).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(shares(&rig.broker).await, [("c2".to_owned(), 32)]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(shares(&rig.broker).await, [("c1".to_owned(), 16), ("c2".to_owned(), 16)]);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_coordinator_goes_on_from_its_checkpoint() {
    let rig = Rig::memory().await;
    let first = rig.coordinator("c1").await;
    let (host, _) = rig.host().await;
    let ended = rig.start(chain(3), Some("0")).await;
    rig.output(&ended).await;
    let waiting = rig.start(json!({"chain": [{"wait": "go"}, {"task": "canvas/add", "args": [1]}]}), None).await;
    // Older than the watchdog's delay, so that the checkpoint passes its start.
    tokio::time::sleep(Duration::from_secs(10)).await;
    first.stop().await;
    let second = rig.coordinator("c2").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(second.metric("run_records_folded_total"), 0, "all was done");
    rig.client.signal(&waiting, &"go".parse().unwrap(), &"41".into(), None).await.unwrap();
    assert_eq!(rig.output(&waiting).await, "42");
    drop(host);
}

//! Many tasks, a few hosts, and faults drawn from a seed: every task ends once, as it should.
//!
//! `LOVAGE_SEED` replays a run.

use lovage::broker::Error;
use lovage::client::Place;
use lovage::host::LEASE_MIN;
use lovage::model::{Labels, TaskId};
use lovage::protocol::subject::Priority;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::{Rig, Running, call, output, retried};
use crate::support::eventually::eventually;
use crate::support::seed::{Dice, seed};

const TASKS: usize = 60;

#[tokio::test]
async fn every_task_ends_once_whatever_is_lost() {
    let seed = seed();
    let rng_seed = proptest::test_runner::RngSeed::Fixed(seed);
    let config = proptest::test_runner::Config { rng_seed, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    for round in 0..3 {
        let faults = proptest::collection::vec((0..6_u8, 1..6_u64), 12).new_tree(&mut runner).unwrap().current();
        one_round(seed.wrapping_add(round), &faults).await;
    }
}

async fn one_round(seed: u64, faults: &[(u8, u64)]) {
    let rig = Rig::new().await;
    let short = |config: &mut lovage::host::Config| config.lease = LEASE_MIN;
    let one = rig.host_with("host-1", short).await;
    let _two = rig.host_with("host-2", short).await;
    rig.faults.reorder_deliveries(seed);
    let mut ids = Vec::new();
    let mut faults = faults.iter();
    let mut one = Some(one);
    for n in 0..TASKS {
        if n % 5 == 0
            && let Some((fault, count)) = faults.next()
        {
            strike(&rig, *fault, *count);
        }
        if n == TASKS / 2 {
            one.take().unwrap().kill();
        }
        let signature = if n % 3 == 0 { retried("flaky", r#"{"until":3}"#, 4) } else { call("echo", &n.to_string()) };
        // A submit whose acknowledgement is lost may be repeated under its id.
        let id = rig.client.new_id();
        eventually("a submit", || async {
            match rig.client.submit_as(&id, signature.clone(), &lovage::client::Place::default()).await {
                Ok(()) | Err(lovage::client::Error::Occupied(_)) => Some(()),
                Err(_) => None,
            }
        })
        .await;
        ids.push((n, id));
    }
    for (n, id) in &ids {
        let settled = rig.wait(id).await;
        let expected = if n % 3 == 0 { "3".to_owned() } else { n.to_string() };
        assert_eq!(output(&settled), expected, "task {n} {id}");
    }
    rig.until_idle().await;
}

fn strike(rig: &Rig, fault: u8, count: u64) {
    let gone = || Error::Unavailable("chaos".to_owned());
    match fault {
        0 => rig.faults.refuse_publishes("lvg.default.res.*", count, gone()),
        1 => rig.faults.lose_acknowledgements("lvg.default.>", count),
        // Once each: a task whose every delivery is doubled rightly ends as `host_lost`.
        2 => rig.faults.repeat_deliveries("lvg.default.>", 1),
        3 => rig.faults.lose_finishes("lvg.default.>", count),
        4 => rig.faults.refuse_publishes("lvg.default.sched.*", count, gone()),
        _ => rig.faults.drop_bus("lvg.>", count),
    }
}

/// What a host has, and what a task may require.
fn zone(dice: &mut Dice) -> Labels {
    [("zone".to_owned(), dice.pick(&["a", "b"]).to_owned())].into()
}

/// Hosts of two zones; each is killed now and then, and another one of its zone comes.
struct Fleet {
    hosts: Vec<Running>,
    begun: usize,
}

impl Fleet {
    async fn begin(rig: &Rig) -> Self {
        let mut fleet = Self { hosts: Vec::new(), begun: 0 };
        for _ in 0..3 {
            fleet.add(rig).await;
        }
        fleet
    }

    async fn add(&mut self, rig: &Rig) {
        let zone = ["a", "b"][self.begun % 2];
        let id = format!("host-{}", self.begun);
        let host = rig.host_with(&id, |config| {
            config.lease = LEASE_MIN;
            config.concurrency = 2;
            config.labels = [("zone".to_owned(), zone.to_owned())].into();
        });
        self.hosts.push(host.await);
        self.begun += 1;
    }
}

/// Priorities, requirements and plain tasks together, over hosts that die: none is lost in its band, and none runs where it may not.
#[tokio::test]
async fn every_task_of_every_band_ends_once_though_hosts_die() {
    let mut dice = Dice(seed());
    let rig = Rig::new().await;
    let mut fleet = Fleet::begin(&rig).await;
    let mut ids: Vec<(usize, TaskId, Labels)> = Vec::new();
    for n in 0..TASKS {
        let mut signature =
            if n % 7 == 0 { retried("flaky", r#"{"until":2}"#, 4) } else { call("echo", &n.to_string()) };
        if dice.below(3) == 0 {
            signature.options.requires = zone(&mut dice);
        }
        let priority = Priority::new(u8::try_from(dice.below(10)).unwrap()).unwrap();
        let requires = signature.options.requires.clone();
        let id = rig.client.submit(signature, &Place { priority, ..Place::default() }).await.unwrap();
        ids.push((n, id, requires));
        // Of the two who come, one is of each zone: none is ever without a host for long.
        if n % 20 == 10 {
            fleet.hosts.remove(dice.below(fleet.hosts.len())).kill();
            fleet.add(&rig).await;
            fleet.add(&rig).await;
        }
    }
    for (n, id, requires) in &ids {
        let settled = rig.wait(id).await;
        let expected = if n % 7 == 0 { "2".to_owned() } else { n.to_string() };
        assert_eq!(output(&settled), expected, "task {n} {id}");
        let host = settled.usage.host.unwrap();
        let number: usize = host.as_str().trim_start_matches("host-").parse().unwrap();
        let zone = ["a", "b"][number % 2];
        assert!(requires.get("zone").is_none_or(|wanted| wanted == zone), "task {n} {requires:?} on {host}");
    }
    rig.until_idle().await;
}

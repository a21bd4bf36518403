//! Many tasks, two hosts, and faults drawn from a seed: every task ends once, as it should.
//!
//! `LOVAGE_SEED` replays a run.

use lovage::broker::Error;
use lovage::host::LEASE_MIN;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::{Rig, call, output, retried};
use crate::support::eventually::eventually;
use crate::support::seed::seed;

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

//! Drivers that are killed at any time, two and three at once, a broker that loses acknowledgements, refuses and is away: each slot
//! starts once. `LOVAGE_SEED` replays a round.

use std::collections::BTreeMap;

use lovage::broker::Error;
use lovage::model::Timestamp;
use lovage::model::schedule::Overlap;
use lovage::protocol::schedule::Schedule;

use super::{Rig, Running, second};
use crate::support::seed::{Dice, seed};

/// Slots of a round.
const SLOTS: u64 = 40;

fn strike(rig: &Rig, dice: &mut Dice) {
    let gone = || Error::Unavailable("chaos".to_owned());
    let count = 1 + dice.roll() % 3;
    match dice.below(5) {
        0 => rig.faults.refuse_publishes("lvg.default.schedule.>", count, gone()),
        1 => rig.faults.refuse_publishes("lvg.default.task.>", count, gone()),
        2 => rig.faults.lose_acknowledgements("lvg.default.schedule.>", count),
        3 => rig.faults.lose_acknowledgements("lvg.default.task.>", count),
        _ => rig.faults.unavailable(true),
    }
}

async fn one_round(seed: u64, overlap: Overlap) {
    println!("LOVAGE_SEED={seed} {overlap}");
    let (rig, mut dice) = (Rig::new().await, Dice(seed));
    let (_host, mut ran) = rig.host().await;
    let mut drivers: Vec<Running> = vec![rig.driver().await, rig.driver().await];
    let schedule = rig.create("s", overlap).await;
    // Every ten seconds a slot, and one blow every three.
    let mut seen: BTreeMap<Timestamp, usize> = BTreeMap::new();
    let end = rig.now().after(second(10 * SLOTS + 5));
    while rig.now() < end {
        strike(&rig, &mut dice);
        if dice.below(3) == 0 && drivers.len() > 1 {
            drivers.remove(dice.below(drivers.len()));
        }
        let pause = std::time::Duration::from_millis(dice.roll() % 6_000);
        tokio::time::sleep(pause).await;
        rig.faults.unavailable(false);
        if drivers.len() < 3 && dice.below(2) == 0 {
            drivers.push(rig.driver().await);
        }
    }
    // Faults that nothing has hit yet may hit this.
    while rig.client.pause_schedule(&schedule.name, "").await.is_err() {}
    let quiet = |schedule: &Schedule| !schedule.progress.is_to_do() && schedule.progress.waiting.is_empty();
    rig.until("s", "all is done", quiet).await;
    tokio::time::sleep(second(5)).await;
    while let Ok(started) = ran.try_recv() {
        *seen.entry(started.slot).or_default() += 1;
    }
    let progress = rig.schedule("s").await.progress;
    assert!(seen.values().all(|count| *count == 1), "a slot has started twice: {seen:?}");
    assert_eq!(seen.len() as u64, progress.started, "what was decided was done, and nothing else: {progress:?}");
    let slots = progress.decided.since(schedule.created).as_secs() / 10;
    assert!(slots + 2 >= SLOTS, "{progress:?}");
    assert_eq!(progress.started + progress.skipped + progress.missed, slots, "{progress:?}");
    if overlap == Overlap::Allow {
        let slots: Vec<Timestamp> = (1..=slots).map(|n| schedule.created.after(second(10 * n))).collect();
        assert_eq!(seen.into_keys().collect::<Vec<_>>(), slots);
    }
}

#[tokio::test(start_paused = true)]
async fn each_slot_starts_once_whatever_dies_and_whatever_is_lost() {
    let mut seeds = Dice(seed());
    for overlap in [Overlap::Allow, Overlap::Skip, Overlap::Queue] {
        for _ in 0..20 {
            one_round(seeds.roll(), overlap).await;
        }
    }
}

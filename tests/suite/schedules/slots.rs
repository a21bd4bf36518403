//! When something starts, and how often.

use std::time::Duration;

use lovage::broker::Error;
use lovage::model::schedule::{Begun, Cause, Overlap, Rules, Slot, Stage, When};
use lovage::schedule::mover::Mover;
use tokio_util::sync::CancellationToken;

use super::{Rig, next, nothing, second};

#[tokio::test(start_paused = true)]
async fn each_slot_starts_one_task_when_it_is_due() {
    let rig = Rig::new().await;
    let (driver, mut starts) = (rig.driver().await, rig.starts().await);
    let schedule = rig.create("s", Overlap::Allow).await;
    let begin = schedule.created;
    for number in 1..=5 {
        let started = next(&mut starts).await;
        assert_eq!(started.slot, begin.after(second(10 * number)));
        assert!(started.late < Duration::from_millis(100), "{started:?}");
        let slot = Slot { at: started.slot, cause: Cause::Slot };
        assert_eq!(started.id.as_str(), schedule.id(rig.client.tenant(), &slot).as_str());
    }
    nothing(&mut starts, second(9)).await;
    assert!(driver.metrics.text().contains("lovage_schedule_starts_total 5"), "{}", driver.metrics.text());
    let schedule = rig.schedule("s").await;
    assert_eq!((schedule.progress.started, schedule.progress.missed, schedule.progress.skipped), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cron_expression_starts_on_the_clocks_of_its_zone() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let mut draft = rig.draft("s", Overlap::Allow);
    draft.rules.when = When::Cron { expression: "*/10 * * * *".to_owned(), zone: "Asia/Kolkata".to_owned() };
    rig.client.create_schedule(draft).await.unwrap();
    let first = next(&mut starts).await;
    assert_eq!(first.slot.as_millis() % 600_000, 0);
    assert_eq!(next(&mut starts).await.slot, first.slot.after(second(600)));
}

#[tokio::test(start_paused = true)]
async fn a_single_slot_starts_once_and_the_schedule_is_over() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let mut draft = rig.draft("s", Overlap::Skip);
    let at = rig.now().after(second(30));
    draft.rules.when = When::Once { at };
    rig.client.create_schedule(draft).await.unwrap();
    assert_eq!(next(&mut starts).await.slot, at);
    nothing(&mut starts, second(1_000)).await;
    let over = rig.schedule("s").await;
    assert_eq!(over.course(&over.calendar().unwrap()).next(over.progress.decided), None);
}

#[tokio::test(start_paused = true)]
async fn two_drivers_start_each_slot_once() {
    let rig = Rig::new().await;
    let drivers = [rig.driver().await, rig.driver().await, rig.driver().await];
    let mut starts = rig.starts().await;
    let schedule = rig.create("s", Overlap::Allow).await;
    for number in 1..=20 {
        assert_eq!(next(&mut starts).await.slot, schedule.created.after(second(10 * number)));
    }
    nothing(&mut starts, second(5)).await;
    drop(drivers);
}

#[tokio::test(start_paused = true)]
async fn a_driver_starts_nothing_of_partitions_that_are_not_its_own() {
    let rig = Rig::new().await;
    let (driver, mut starts) = (rig.driver().await, rig.starts().await);
    driver.holds.send_replace(std::collections::BTreeSet::new());
    rig.create("s", Overlap::Allow).await;
    nothing(&mut starts, second(25)).await;
    driver.holds.send_replace(super::every_partition());
    // What was due meanwhile is within the catch-up window.
    assert!(next(&mut starts).await.late > second(10));
    assert!(next(&mut starts).await.late > second(4));
    assert!(next(&mut starts).await.late < second(1));
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_and_not_done_is_done_by_the_next_driver() {
    let rig = Rig::new().await;
    let mut schedule = rig.create("s", Overlap::Allow).await;
    let (_, sequence) = rig.client.look_at(&schedule.name).await.unwrap();
    let slot = Slot { at: schedule.created.after(second(1)), cause: Cause::Slot };
    let begun = Begun { slot: slot.clone(), decided: slot.at, stage: Stage::Begin };
    schedule.progress.recent.push_back(begun);
    schedule.progress.decided = slot.at;
    rig.client.write_schedule(&schedule, sequence).await.unwrap().unwrap();
    let mut starts = rig.starts().await;
    let _driver = rig.driver().await;
    let started = next(&mut starts).await;
    assert_eq!(started.slot, slot.at);
    // A driver that was frozen before its submit, and comes back when all is over, submits nothing.
    rig.end(&started.id).await;
    rig.client.start_slot(&schedule, &slot).await.unwrap();
    nothing(&mut starts, second(5)).await;
}

#[tokio::test(start_paused = true)]
async fn slots_missed_in_an_outage_start_within_the_window() {
    let rig = Rig::new().await;
    let mut draft = rig.draft("s", Overlap::Allow);
    draft.rules = Rules { catch_up: second(25), ..draft.rules };
    let begin = rig.client.create_schedule(draft).await.unwrap().created;
    let mut starts = rig.starts().await;
    tokio::time::advance(second(61)).await;
    let driver = rig.driver().await;
    for due in [40, 50, 60, 70] {
        assert_eq!(next(&mut starts).await.slot, begin.after(second(due)));
    }
    let schedule = rig.until("s", "all is counted", |schedule| schedule.progress.started == 4).await;
    assert_eq!(schedule.progress.missed, 3);
    assert!(driver.metrics.text().contains("lovage_schedule_slots_missed_total 3"));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_delays_a_slot_and_loses_none() {
    let rig = Rig::new().await;
    let (_driver, (_host, mut ran)) = (rig.driver().await, rig.host().await);
    let begin = rig.create("s", Overlap::Allow).await.created;
    rig.faults.unavailable(true);
    tokio::time::sleep(second(25)).await;
    rig.faults.unavailable(false);
    for number in 1..=4 {
        assert_eq!(ran.recv().await.unwrap().slot, begin.after(second(10 * number)));
    }
    rig.faults.refuse_publishes(
        "lvg.default.task.>",
        3,
        Error::Full { subject: "lvg.default.task.default.5.x".to_owned() },
    );
    let after = ran.recv().await.unwrap();
    assert!(after.late >= second(2), "a full queue is tried again: {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_its_time_is_submitted_then() {
    let rig = Rig::new().await;
    let signature = || lovage::model::Signature::new("m/t".parse().unwrap(), "7");
    let due = |wait: u64| lovage::client::Place { due: Some(rig.now().after(second(wait))), ..Default::default() };
    let id = rig.client.submit(signature(), &due(60)).await.unwrap();
    assert_eq!(rig.client.state(&id).await.unwrap().state.to_string(), "scheduled");
    let mover = Mover::begin(rig.broker.clone()).await.unwrap();
    let _mover = rig.run(async move { mover.serve(CancellationToken::new()).await.unwrap() });
    let mut queued = rig.starts().await;
    let begin = tokio::time::Instant::now();
    tokio::time::timeout(second(100), futures::StreamExt::next(&mut queued)).await.unwrap().unwrap();
    assert!((second(60)..second(61)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    let mut late = signature();
    late.options.expires = Some(rig.now().after(second(5)));
    for (signature, place, words) in
        [(late, due(10), "would have expired"), (signature(), due(400 * 86_400), "more than a year")]
    {
        let error = rig.client.submit(signature, &place).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let id = rig.client.submit(signature(), &due(60)).await.unwrap();
    rig.client.cancel(&id).await.unwrap();
    assert_eq!(rig.client.state(&id).await.unwrap().state.to_string(), "cancelled");
}

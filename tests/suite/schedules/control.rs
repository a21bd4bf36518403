//! Pause, trigger, backfill, removal, and what is refused.

use lovage::client::Error;
use lovage::model::schedule::{Overlap, Stage, When};
use lovage::model::{TaskId, Timestamp};
use lovage::protocol::schedule::What;

use super::{Rig, next, nothing, second};

#[tokio::test(start_paused = true)]
async fn the_slots_of_a_paused_schedule_pass() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let schedule = rig.create("s", Overlap::Allow).await;
    next(&mut starts).await;
    rig.client.pause_schedule(&schedule.name, "moving house").await.unwrap();
    nothing(&mut starts, second(25)).await;
    assert_eq!(rig.schedule("s").await.paused.unwrap().note, "moving house");
    rig.client.resume_schedule(&schedule.name).await.unwrap();
    assert_eq!(next(&mut starts).await.slot, schedule.created.after(second(40)));
}

#[tokio::test(start_paused = true)]
async fn a_trigger_starts_at_once_even_while_paused() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let schedule = rig.create("s", Overlap::Skip).await;
    rig.client.pause_schedule(&schedule.name, "").await.unwrap();
    let (id, slot) = rig.client.trigger_schedule(&schedule.name, None).await.unwrap();
    let started = next(&mut starts).await;
    assert_eq!((started.id.as_str(), started.slot), (id.as_str(), slot.at));
    // The one before has not ended.
    let (id, _) = rig.client.trigger_schedule(&schedule.name, None).await.unwrap();
    nothing(&mut starts, second(25)).await;
    let unknown: TaskId = id.as_str().parse().unwrap();
    assert!(matches!(rig.client.state(&unknown).await, Err(Error::NotFound(_))));
    rig.client.trigger_schedule(&schedule.name, Some(Overlap::Allow)).await.unwrap();
    next(&mut starts).await;
    assert_eq!(rig.schedule("s").await.progress.skipped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_backfill_starts_the_slots_of_the_past_one_after_the_other() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let schedule = rig.create("s", Overlap::Skip).await;
    rig.client.pause_schedule(&schedule.name, "").await.unwrap();
    tokio::time::sleep(second(100)).await;
    let at = |seconds| schedule.created.after(second(seconds));
    let asked = rig.client.backfill_schedule(&schedule.name, at(20), at(45), Overlap::Queue).await.unwrap();
    assert_eq!(asked.iter().map(|(_, slot)| *slot).collect::<Vec<_>>(), [at(20), at(30), at(40)]);
    for (id, slot) in asked {
        let started = next(&mut starts).await;
        assert_eq!((started.id.as_str(), started.slot), (id.as_str(), slot));
        nothing(&mut starts, second(5)).await;
        rig.end(&started.id).await;
    }
    rig.client.backfill_schedule(&schedule.name, at(20), at(45), Overlap::Allow).await.unwrap();
    let again = [next(&mut starts).await, next(&mut starts).await, next(&mut starts).await];
    assert_eq!(again.map(|started| started.slot), [at(20), at(30), at(40)]);
    let refused = |from, to| {
        let name = schedule.name.clone();
        let client = rig.client.clone();
        async move { client.backfill_schedule(&name, from, to, Overlap::Queue).await.unwrap_err().to_string() }
    };
    assert!(refused(at(21), at(29)).await.contains("no slot"));
    assert!(refused(at(40), at(20)).await.contains("no slot"));
    assert!(refused(at(20), at(2_000)).await.contains("of the past"));
    let mut many = rig.draft("many", Overlap::Skip);
    let anchor = Timestamp::from_millis(rig.now().as_millis() - 2_000_000);
    many.rules.when = When::Every { every: second(1), anchor };
    let many = rig.client.create_schedule(many).await.unwrap();
    let error = rig.client.backfill_schedule(&many.name, anchor, rig.now(), Overlap::Queue).await.unwrap_err();
    assert!(error.to_string().contains("more than 1000 slots"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_schedule_starts_nothing_and_a_new_one_of_its_name_is_another() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let old = rig.create("s", Overlap::Allow).await;
    next(&mut starts).await;
    rig.client.remove_schedule(&old.name).await.unwrap();
    nothing(&mut starts, second(30)).await;
    assert!(matches!(rig.client.schedule(&old.name).await, Err(Error::ScheduleNotFound(_))));
    assert!(matches!(rig.client.remove_schedule(&old.name).await, Err(Error::ScheduleNotFound(_))));
    let new = rig.create("s", Overlap::Allow).await;
    assert_ne!(new.life, old.life);
    next(&mut starts).await;
    assert_eq!(rig.client.schedules().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_is_replaced_goes_on_by_its_new_rules() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    rig.create("s", Overlap::Allow).await;
    next(&mut starts).await;
    let there = rig.client.create_schedule(rig.draft("s", Overlap::Allow)).await.unwrap_err();
    assert!(matches!(there, Error::ScheduleThere(_)), "{there}");
    let mut draft = rig.draft("s", Overlap::Allow);
    draft.replace = true;
    draft.rules.when = When::Every { every: second(100), anchor: rig.now() };
    let new = rig.client.create_schedule(draft).await.unwrap();
    assert_eq!(new.progress.started, 1, "what was is still known");
    assert!(next(&mut starts).await.slot >= rig.schedule("s").await.created.after(second(100)));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_refused_says_why_and_the_next_slot_is_tried() {
    let rig = Rig::new().await;
    let (driver, mut starts) = (rig.driver().await, rig.starts().await);
    let schedule = rig.create("s", Overlap::Skip).await;
    let (module, version) = ("m".parse().unwrap(), "1".parse().unwrap());
    rig.client.remove_module(&module, &version).await.unwrap();
    let refused = rig.until("s", "a start is refused", |schedule| {
        schedule.progress.recent.iter().any(|begun| matches!(begun.stage, Stage::Refused(_)))
    });
    let Stage::Refused(why) = refused.await.progress.recent[0].stage.clone() else { panic!() };
    assert!(why.contains("find module m"), "{why}");
    rig.push("2").await;
    assert!(next(&mut starts).await.slot > schedule.created.after(second(10)));
    assert!(driver.metrics.text().contains("lovage_schedule_starts_refused_total 1"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_schedule_is_refused_and_nothing_is_stored() {
    let rig = Rig::new().await;
    let cron = |expression: &str, zone: &str| When::Cron { expression: expression.to_owned(), zone: zone.to_owned() };
    let past = Timestamp::from_millis(rig.now().as_millis() - 1);
    for (when, words) in [
        (cron("0 0 30 2 *", "UTC"), "no date in UTC ever fits it"),
        (cron("* * * * *", "Europe/Berlinn"), "is it Europe/Berlin?"),
        (cron("often", "UTC"), "five fields"),
        (When::Once { at: past }, "that is over"),
        (When::Every { every: second(0), anchor: past }, "at least 1s"),
    ] {
        let mut draft = rig.draft("s", Overlap::Skip);
        draft.rules.when = when;
        let error = rig.client.create_schedule(draft).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let mut draft = rig.draft("s", Overlap::Skip);
    draft.rules.until = Some(past);
    assert!(rig.client.create_schedule(draft).await.unwrap_err().to_string().contains("the first time would be"));
    let mut draft = rig.draft("s", Overlap::Skip);
    draft.what = What::Flow { name: "g".parse().unwrap(), version: None, input: None, labels: Default::default() };
    assert!(rig.client.create_schedule(draft).await.unwrap_err().to_string().contains("find flow g"));
    let mut draft = rig.draft("s", Overlap::Skip);
    if let What::Task(call) = &mut draft.what {
        call.signature.task = "m/other".parse().unwrap();
    }
    assert!(matches!(rig.client.create_schedule(draft).await, Err(Error::TaskMissing { .. })));
    let mut draft = rig.draft("s", Overlap::Skip);
    if let What::Task(call) = &mut draft.what {
        call.signature.input = lovage::model::Value::Inline(vec![b' '; 200_000].into());
    }
    assert!(matches!(rig.client.create_schedule(draft).await, Err(Error::InputTooLarge { .. })));
    let long = "n".repeat(401);
    assert!(matches!(rig.client.pause_schedule(&"s".parse().unwrap(), &long).await, Err(Error::Refused(_))));
    assert_eq!(rig.client.schedules().await.unwrap(), []);
}

//! What happens while an earlier start has not ended.

use lovage::model::schedule::{Overlap, Slot, Stage};
use lovage::protocol::schedule::{Schedule, What};
use lovage::workflow::Event;
use lovage::workflow::journal::{End, Ending};
use lovage::workflow::wire::RecordName;

use super::{Rig, next, nothing, second};

#[tokio::test(start_paused = true)]
async fn skip_leaves_out_what_would_overlap() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let begin = rig.create("s", Overlap::Skip).await.created;
    let first = next(&mut starts).await;
    nothing(&mut starts, second(25)).await;
    rig.end(&first.id).await;
    assert_eq!(next(&mut starts).await.slot, begin.after(second(40)));
    assert_eq!(rig.schedule("s").await.progress.skipped, 2);
}

#[tokio::test(start_paused = true)]
async fn queue_keeps_one_for_the_end_of_the_other() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    let begin = rig.create("s", Overlap::Queue).await.created;
    let first = next(&mut starts).await;
    nothing(&mut starts, second(25)).await;
    rig.end(&first.id).await;
    let second_one = next(&mut starts).await;
    assert_eq!(second_one.slot, begin.after(second(20)));
    assert!(second_one.late < second(16), "it starts with the end of the other: {second_one:?}");
    assert_eq!(rig.schedule("s").await.progress.skipped, 1, "slot 30 found the place taken");
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_the_earlier_for_the_later() {
    let rig = Rig::new().await;
    let (_driver, mut starts) = (rig.driver().await, rig.starts().await);
    rig.create("s", Overlap::Cancel).await;
    let first = next(&mut starts).await;
    let later = next(&mut starts).await;
    let schedule = rig.until("s", "both are done", |schedule| !schedule.progress.is_to_do()).await;
    assert_eq!(schedule.progress.started, 2);
    let client = &rig.client;
    let state = |id| async move { client.state(&id).await.unwrap().state.to_string() };
    assert_eq!((state(first.id).await, state(later.id).await), ("cancelled".to_owned(), "queued".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_started_once_a_slot_and_awaited() {
    let rig = Rig::new().await;
    let _driver = rig.driver().await;
    let mut draft = rig.draft("s", Overlap::Queue);
    let labels = [("team".to_owned(), "data".to_owned())].into();
    draft.what = What::Flow { name: "f".parse().unwrap(), version: None, input: Some("1".into()), labels };
    let made = rig.client.create_schedule(draft).await.unwrap();
    let is_open = |schedule: &Schedule| schedule.progress.recent.iter().any(|begun| begun.stage == Stage::Open);
    let schedule = rig.until("s", "the first run starts", is_open).await;
    let slot = schedule.progress.recent[0].slot.clone();
    let run = made.id(rig.client.tenant(), &slot);
    assert_eq!(rig.client.end(&run).await.unwrap(), None);
    assert_eq!(rig.client.slot_state(&schedule, &slot).await.unwrap(), "running");
    let waits = rig.until("s", "another waits", |schedule| !schedule.progress.waiting.is_empty()).await;
    let waiting: Slot = waits.progress.waiting[0].slot.clone();
    // Nobody advances runs here: that a run ends is written by the test.
    let end = End { result: Ending::Cancelled, compensation_failures: Vec::new() };
    let (name, event) = (RecordName::End(0), Event::End { generation: 0, end });
    lovage::store::journal::write(&rig.broker, rig.client.tenant(), &run, &name, event).await.unwrap();
    rig.until("s", "the one that waited starts", |schedule| {
        schedule.progress.recent.iter().any(|begun| begun.slot == waiting && begun.stage == Stage::Open)
    })
    .await;
    assert_eq!(rig.client.slot_state(&schedule, &slot).await.unwrap(), "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cancelled_compensates_before_the_next_one_starts() {
    let rig = Rig::new().await;
    let _driver = rig.driver().await;
    let mut draft = rig.draft("s", Overlap::Cancel);
    draft.what = What::Flow { name: "f".parse().unwrap(), version: None, input: None, labels: Default::default() };
    let made = rig.client.create_schedule(draft).await.unwrap();
    let stage = |schedule: &Schedule, at: usize| schedule.progress.recent.get(at).map(|begun| begun.stage.clone());
    let is = |place, wanted: Stage| move |schedule: &Schedule| stage(schedule, place) == Some(wanted.clone());
    let first = rig.until("s", "the first run starts", is(0, Stage::Open)).await.progress.recent[0].slot.clone();
    let run = made.id(rig.client.tenant(), &first);
    let cancelled = rig.until("s", "it is cancelled", is(0, Stage::Cancelling)).await;
    assert_eq!((cancelled.progress.started, cancelled.progress.waiting.len()), (1, 1));
    // Two more slots come while it compensates: the last of them takes the place of those before.
    let later = |schedule: &Schedule| schedule.progress.skipped == 2;
    let waits = rig.until("s", "later slots come", later).await;
    assert_eq!((waits.progress.started, waits.progress.waiting.len()), (1, 1));
    let last = waits.progress.waiting[0].slot.clone();
    let end = End { result: Ending::Cancelled, compensation_failures: Vec::new() };
    let (name, event) = (RecordName::End(0), Event::End { generation: 0, end });
    lovage::store::journal::write(&rig.broker, rig.client.tenant(), &run, &name, event).await.unwrap();
    let next = rig.until("s", "the last one starts", is(1, Stage::Open)).await;
    assert_eq!((stage(&next, 0), next.progress.recent[1].slot.clone()), (Some(Stage::Ended), last));
}

//! Cancelling, and many invocations at once.

use std::time::{Duration, Instant};

use lovage::model::limits::CANCEL_GRACE_DEFAULT;
use lovage::model::{Kind, Limits, Outcome};
use lovage::sandbox::{Cancel, Note};
use tokio::task::JoinSet;

use super::{Call, Rig, failure, guests, output};

/// Says that it runs, then spins.
fn spinning_command() -> Vec<u8> {
    guests::command(
        r#"(data (i32.const 1024) "up\n")
        (func (export "_start")
            (call $say (i32.const 2) (i32.const 1024) (i32.const 3))
            (loop $again (br $again)))"#,
    )
}

fn unmetered(cancel: &Cancel) -> Call {
    let limits = Limits { fuel: None, attempt_timeout: Duration::from_secs(60), ..Limits::default() };
    Call { cancel: cancel.clone(), limits, ..Call::default() }
}

/// Runs a guest until its first note, cancels it, and gives its report and how long it took to stop.
async fn cancelled(rig: &Rig, upload: &[u8]) -> (lovage::sandbox::Report, Duration) {
    cancelled_within(rig, upload, CANCEL_GRACE_DEFAULT).await
}

async fn cancelled_within(rig: &Rig, upload: &[u8], grace: Duration) -> (lovage::sandbox::Report, Duration) {
    let module = rig.load(upload).await;
    let cancel = Cancel::default();
    let mut call = unmetered(&cancel);
    call.limits.cancel_grace = grace;
    let (invocation, mut heard) = call.invocation();
    let sandbox = rig.sandbox.clone();
    let mut running = JoinSet::new();
    running.spawn(async move { sandbox.invoke(module, invocation).await });
    assert!(matches!(heard.recv().await, Some(Note::Log { .. })));
    let began = Instant::now();
    cancel.cancel();
    let report = running.join_next().await.unwrap().unwrap();
    (report, began.elapsed())
}

#[tokio::test]
async fn a_spinning_guest_stops_at_once() {
    let (report, took) = cancelled(&Rig::new(), &spinning_command()).await;
    assert_eq!(failure(&report).kind, Kind::Cancelled);
    assert!(took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test]
async fn a_guest_that_watches_may_end_tidily() {
    let run = format!(
        r#"(loop $again
            (drop (call $is_cancelled))
            (call $log (i32.const 2) (i32.const 512) (i32.const 8))
            (br_if $again (i32.eqz (call $is_cancelled)))) {}"#,
        guests::ECHO
    );
    let (report, _) = cancelled(&Rig::new(), &guests::task("", &run)).await;
    assert_eq!(output(&report), "{}");
}

#[tokio::test]
async fn a_guest_that_watches_and_goes_on_is_stopped_after_its_grace() {
    let run = r#"(drop (call $is_cancelled))
        (call $log (i32.const 2) (i32.const 512) (i32.const 8))
        (loop $again (br $again)) (i32.const 16)"#;
    let grace = Duration::from_millis(60);
    let (report, took) = cancelled_within(&Rig::new(), &guests::task("", run), grace).await;
    assert_eq!(failure(&report).kind, Kind::Cancelled);
    assert!(took >= Duration::from_millis(60) && took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn what_waits_for_a_slot_is_cancelled_without_one() {
    let rig = Rig::with(|config| config.slots = 1);
    let module = rig.load(&spinning_command()).await;
    let (first, second) = (Cancel::default(), Cancel::default());
    let (running, mut heard) = unmetered(&first).invocation();
    let (waiting, _heard) = unmetered(&second).invocation();
    let (sandbox, spinning) = (rig.sandbox.clone(), module.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sandbox.invoke(spinning, running).await });
    heard.recv().await.unwrap();
    second.cancel();
    let report = rig.sandbox.invoke(module, waiting).await;
    assert_eq!((failure(&report).kind, report.fuel_used), (Kind::Cancelled, 0));
    first.cancel();
    assert_eq!(failure(&tasks.join_next().await.unwrap().unwrap()).kind, Kind::Cancelled);
}

#[tokio::test]
async fn dropping_the_call_frees_its_slot() {
    let rig = Rig::with(|config| config.slots = 1);
    let module = rig.load(&spinning_command()).await;
    let (invocation, mut heard) = unmetered(&Cancel::default()).invocation();
    let (sandbox, spinning) = (rig.sandbox.clone(), module.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { sandbox.invoke(spinning, invocation).await });
    heard.recv().await.unwrap();
    tasks.shutdown().await;
    assert_eq!(output(&rig.report(&guests::says(1, "1", 0), Call::default()).await), "1");
}

#[tokio::test]
async fn more_invocations_than_slots_all_end() {
    let rig = Rig::new();
    let module = rig.load(&guests::says(1, "[1]", 0)).await;
    let mut tasks = JoinSet::new();
    let mut ears = Vec::new();
    for _ in 0..400 {
        let (invocation, heard) = Call::default().invocation();
        ears.push(heard);
        let (sandbox, module) = (rig.sandbox.clone(), module.clone());
        tasks.spawn(async move { sandbox.invoke(module, invocation).await.outcome });
    }
    let outcomes = tasks.join_all().await;
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Output("[1]".into())));
    assert_eq!(rig.sandbox.stats().slots_free, 4);
}

#[tokio::test]
async fn guests_that_spin_do_not_starve_others() {
    let rig = Rig::new();
    let (module, quick) = (rig.load(&spinning_command()).await, rig.load(&guests::says(1, "1", 0)).await);
    let cancel = Cancel::default();
    let mut tasks = JoinSet::new();
    // Three spinners on two threads leave one slot of four.
    for _ in 0..3 {
        let (invocation, mut heard) = unmetered(&cancel).invocation();
        let (sandbox, module) = (rig.sandbox.clone(), module.clone());
        tasks.spawn(async move { sandbox.invoke(module, invocation).await });
        heard.recv().await.unwrap();
    }
    let (invocation, _heard) = Call::default().invocation();
    let began = Instant::now();
    assert_eq!(output(&rig.sandbox.invoke(quick, invocation).await), "1");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    cancel.cancel();
    tasks.join_all().await;
}

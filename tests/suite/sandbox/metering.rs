//! Modules that count no fuel: their deadline ends them, a cancel ends them, and others go on beside them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage::model::{Contract, Digest, Kind, Limits, Metering};
use lovage::sandbox::{Cancel, Note, Sandbox};
use tokio::task::JoinSet;

use super::{Call, Rig, config, failure, guests, output};

/// How long after its end was due a guest may go on: on a machine that other tests share.
const OVERRUN_MAX: Duration = Duration::from_millis(100);

/// A sandbox whose modules count no fuel.
fn without_fuel() -> Rig {
    let mut rig = Rig::new();
    rig.sandbox = rig.sandbox.of_class(Metering::Deadline.into());
    rig
}

/// Says that it runs, then spins.
fn spinning() -> Vec<u8> {
    guests::command(
        r#"(data (i32.const 1024) "up\n")
        (func (export "_start")
            (call $say (i32.const 2) (i32.const 1024) (i32.const 3))
            (loop $again (br $again)))"#,
    )
}

#[tokio::test]
async fn each_way_to_compute_for_ever_ends_at_the_deadline() {
    let rig = without_fuel();
    let recursion = r#"(func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "_start") (loop $again (call $f (i32.const 100)) (br $again)))"#;
    let fills = r#"(func (export "_start")
        (loop $again (memory.fill (i32.const 0) (i32.const 7) (i32.const 65536)) (br $again)))"#;
    for (what, upload) in [
        ("a loop", guests::spins()),
        ("calls", guests::command(recursion)),
        ("bulk instructions", guests::command(fills)),
        ("a start function", guests::task("(func $spin (loop $a (br $a))) (start $spin)", guests::ECHO)),
        ("a task of the SDK", guests::task("", "(loop $a (br $a)) (i32.const 16)")),
    ] {
        let timeout = Duration::from_millis(80);
        let limits = Limits { attempt_timeout: timeout, ..Limits::default() };
        let mut report = rig.report(&upload, Call::with_limits(limits)).await;
        // Where other tests have the machine, one of three is on time.
        for _ in 0..2 {
            if report.duration >= timeout + OVERRUN_MAX {
                report = rig.report(&upload, Call::with_limits(limits)).await;
            }
        }
        assert_eq!(failure(&report).kind, Kind::Deadline, "{what}");
        assert_eq!(report.fuel_used, 0, "{what}");
        assert!(report.duration >= timeout && report.duration < timeout + OVERRUN_MAX, "{what}: {:?}", report.duration);
        // It is billed by its time: it had its thread for nearly all of it.
        assert!(report.busy > timeout / 4, "{what}: {:?}", report.busy);
    }
    assert_eq!(rig.sandbox.stats().slots_free, 4);
}

#[tokio::test]
async fn a_cancel_ends_it_at_once() {
    let rig = without_fuel();
    let module = rig.load(&spinning()).await;
    let cancel = Cancel::default();
    let limits = Limits { attempt_timeout: Duration::from_secs(60), ..Limits::default() };
    let (invocation, mut heard) = Call { cancel: cancel.clone(), limits, ..Call::default() }.invocation();
    let sandbox = rig.sandbox.clone();
    let mut running = JoinSet::new();
    running.spawn(async move { sandbox.invoke(module, invocation).await });
    assert!(matches!(heard.recv().await, Some(Note::Log { .. })));
    let began = Instant::now();
    cancel.cancel();
    let report = running.join_next().await.unwrap().unwrap();
    assert_eq!((failure(&report).kind, report.fuel_used), (Kind::Cancelled, 0));
    assert!(began.elapsed() < OVERRUN_MAX, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_bound_on_fuel_says_nothing_of_it() {
    let limits = Limits { fuel: Some(1), ..Limits::default() };
    let rounds = guests::starts(
        "(local $n i32) (loop $a (br_if $a (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))",
    );
    let report = without_fuel().report(&rounds, Call::with_limits(limits)).await;
    assert_eq!((output(&report), report.fuel_used), ("null", 0));
    let report = Rig::new().report(&rounds, Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::OutOfFuel);
}

#[tokio::test]
async fn guests_of_both_meterings_take_turns_on_one_thread() {
    let rig = Rig::with(|config| config.threads = 1);
    let without = rig.sandbox.of_class(Metering::Deadline.into());
    let cancel = Cancel::default();
    let mut tasks = JoinSet::new();
    for sandbox in [&rig.sandbox, &without, &without] {
        let bytes = Bytes::from(spinning());
        let module = sandbox.load(&Digest::of(&bytes), bytes).await.unwrap();
        let limits = Limits { fuel: None, attempt_timeout: Duration::from_secs(60), ..Limits::default() };
        let (invocation, mut heard) = Call { cancel: cancel.clone(), limits, ..Call::default() }.invocation();
        let sandbox = sandbox.clone();
        tasks.spawn(async move { sandbox.invoke(module, invocation).await });
        assert!(matches!(heard.recv().await, Some(Note::Log { .. })), "it had its thread");
    }
    for sandbox in [&rig.sandbox, &without] {
        let bytes = Bytes::from(guests::says(1, "1", 0));
        let module = sandbox.load(&Digest::of(&bytes), bytes).await.unwrap();
        let (invocation, _heard) = Call::default().invocation();
        let began = Instant::now();
        assert_eq!(output(&sandbox.invoke(module, invocation).await), "1");
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
    cancel.cancel();
    let reports = tasks.join_all().await;
    // Who computes as long as others has its thread about as long as they have.
    let busy: Vec<Duration> = reports.iter().map(|report| report.busy).collect();
    let (least, most) = (busy.iter().min().unwrap(), busy.iter().max().unwrap());
    println!("three guests on one thread had it for {busy:?}");
    assert!(*most < *least * 40, "{busy:?}");
}

#[tokio::test]
async fn each_metering_has_an_artifact_of_its_own() {
    let rig = Rig::new();
    let without = rig.sandbox.of_class(Metering::Deadline.into());
    let bytes = Bytes::from(guests::says(1, "1", 0));
    let digest = Digest::of(&bytes);
    assert_eq!(rig.sandbox.load(&digest, bytes.clone()).await.unwrap().class().metering, Metering::Fuel);
    assert!(without.loaded(&digest, Contract::Command).await.unwrap().is_none());
    assert_eq!(without.load(&digest, bytes).await.unwrap().class().metering, Metering::Deadline);
    assert_eq!((rig.sandbox.stats().compiled, rig.sandbox.stats().hot_modules), (2, 2));
    let again = Sandbox::new(config(&rig.dir)).unwrap();
    for metering in [Metering::Fuel, Metering::Deadline] {
        let sandbox = again.of_class(metering.into());
        let module = sandbox.loaded(&digest, Contract::Command).await.unwrap().unwrap();
        let (invocation, _heard) = Call::default().invocation();
        let report = sandbox.invoke(module, invocation).await;
        assert_eq!((output(&report), report.fuel_used > 0), ("1", metering == Metering::Fuel));
    }
    // One in the place of the other is not what it says that it is.
    let files = super::cache::files(rig.dir.path());
    let of = |word: &str| files.iter().find(|file| file.to_str().unwrap().contains(word)).unwrap();
    std::fs::remove_file(of(".deadline.")).unwrap();
    std::fs::copy(of(".fuel."), of(".deadline.")).unwrap();
    let sandbox = Sandbox::new(config(&rig.dir)).unwrap().of_class(Metering::Deadline.into());
    assert!(sandbox.loaded(&digest, Contract::Command).await.unwrap().is_none());
}

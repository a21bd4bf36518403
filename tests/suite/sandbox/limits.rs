//! Every limit really traps, and is named.

use std::time::{Duration, Instant};

use lovage::model::{Kind, Level, Limits};
use lovage::sandbox::Note;

use super::{Call, Rig, code, failure, guests, output};

fn limits() -> Limits {
    Limits { attempt_timeout: Duration::from_secs(20), ..Limits::default() }
}

#[tokio::test]
async fn a_loop_for_ever_runs_out_of_fuel() {
    let fuel = Some(30_000_000);
    let report = Rig::new().report(&guests::spins(), Call::with_limits(Limits { fuel, ..limits() })).await;
    assert_eq!(failure(&report).kind, Kind::OutOfFuel);
    assert_eq!(report.fuel_used, 30_000_000);
}

#[tokio::test]
async fn a_loop_for_ever_without_fuel_ends_at_its_deadline() {
    let limits = Limits { fuel: None, attempt_timeout: Duration::from_millis(50), ..limits() };
    let report = Rig::new().report(&guests::spins(), Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::Deadline);
    assert!(report.duration >= Duration::from_millis(50) && report.duration < Duration::from_secs(2), "{report:?}");
    assert!(report.fuel_used > 100_000, "what was used is billed, though it never ended: {report:?}");
}

#[tokio::test]
async fn start_functions_are_under_the_same_limits() {
    let guest = guests::command(r#"(func $spin (loop $a (br $a))) (start $spin) (func (export "_start"))"#);
    let report = Rig::new().report(&guest, Call::with_limits(Limits { fuel: Some(1_000_000), ..limits() })).await;
    assert_eq!(failure(&report).kind, Kind::OutOfFuel);
    let limits = Limits { fuel: None, attempt_timeout: Duration::from_millis(30), ..limits() };
    let report = Rig::new().report(&guest, Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::Deadline);
}

#[tokio::test]
async fn memory_that_grows_for_ever_is_refused_then_named() {
    let rig = Rig::new();
    let limits = Limits { memory_bytes: 8 << 20, ..limits() };
    let unchecked = guests::starts(
        "(loop $again
            (i32.store (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)) (i32.const 1))
            (br $again))",
    );
    let report = rig.report(&unchecked, Call::with_limits(limits)).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::MemoryLimit, "memory_out_of_bounds"));

    let insists = guests::starts("(loop $again (drop (memory.grow (i32.const 16))) (br $again))");
    let report = rig.report(&insists, Call::with_limits(Limits { fuel: Some(5_000_000), ..limits })).await;
    assert_eq!(failure(&report).kind, Kind::OutOfFuel, "it never trapped: it only spun");
    assert!(report.memory_peak_bytes <= 8 << 20);

    let checks = guests::starts("(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))");
    let report = rig.report(&checks, Call::with_limits(limits)).await;
    assert_eq!(output(&report), "null", "a guest that copes may end well");
    assert!(report.memory_peak_bytes > 7 << 20);

    let traps = guests::starts(
        "(loop $again (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $again))",
    );
    let report = rig.report(&traps, Call::with_limits(limits)).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::MemoryLimit, "unreachable"));
}

#[tokio::test]
async fn a_module_that_begins_above_its_memory_is_named_so() {
    let limits = Limits { memory_bytes: 1 << 17, ..limits() };
    let report = Rig::new().report(&guests::spins(), Call::with_limits(limits)).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::MemoryLimit, "instantiation"));
}

#[tokio::test]
async fn tables_are_limited() {
    let guest = guests::command(
        r#"(table $t 1 funcref)
        (func (export "_start")
            (loop $again
                (if (i32.eq (table.grow $t (ref.null func) (i32.const 64)) (i32.const -1)) (then unreachable))
                (br $again)))"#,
    );
    let report = Rig::new().report(&guest, Call::with_limits(Limits { table_elements: 1_000, ..limits() })).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::MemoryLimit, "unreachable"));
}

#[tokio::test]
async fn the_output_is_limited() {
    let guest = guests::starts("(loop $again (call $say (i32.const 1) (i32.const 0) (i32.const 65536)) (br $again))");
    let report = Rig::new().report(&guest, Call::with_limits(Limits { output_bytes: 1 << 20, ..limits() })).await;
    assert_eq!(failure(&report).kind, Kind::OutputLimit);
    assert_eq!(failure(&report).message, "the output is larger than 1048576 bytes");
}

#[tokio::test]
async fn a_flood_of_logs_is_cut_with_a_note() {
    let guest = guests::command(
        r#"(data (i32.const 1024) "0123456789\n")
        (func (export "_start") (local $n i32)
            (loop $again
                (call $say (i32.const 2) (i32.const 1024) (i32.const 11))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 5000)))))"#,
    );
    let call = Call::with_limits(Limits { log_bytes: 95, ..limits() });
    let (report, notes) = Rig::new().report_with_notes(&guest, call).await;
    assert_eq!(output(&report), "null", "the guest goes on");
    let lines: Vec<&str> = notes.iter().map(message).collect();
    assert_eq!(lines.len(), 11);
    assert_eq!(&lines[8..], ["0123456789", "01234", "log cut at 95 bytes"]);
    assert_eq!(report.notes_dropped, 0);
}

#[tokio::test]
async fn notes_that_nobody_takes_are_dropped_and_counted() {
    let guest = guests::command(
        r#"(data (i32.const 1024) "a\n")
        (func (export "_start") (local $n i32)
            (loop $again
                (call $say (i32.const 2) (i32.const 1024) (i32.const 2))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 1500)))))"#,
    );
    let (report, notes) = Rig::new().report_with_notes(&guest, Call::default()).await;
    assert_eq!((notes.len(), report.notes_dropped), (1_000, 500));
}

#[tokio::test]
async fn a_guest_that_sleeps_is_cut_at_its_deadline() {
    // One subscription to the monotonic clock, an hour from now.
    let guest = guests::command(
        r#"(data (i32.const 1040) "\01")
        (data (i32.const 1048) "\00\a0\b8\30\46\03\00\00")
        (func (export "_start")
            (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 4096))))"#,
    );
    let limits = Limits { attempt_timeout: Duration::from_millis(40), ..limits() };
    let began = Instant::now();
    let report = Rig::new().report(&guest, Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::Deadline);
    assert!(report.duration < Duration::from_secs(1) && began.elapsed() < Duration::from_secs(10), "{report:?}");
}

#[tokio::test]
async fn a_guest_cannot_make_its_host_hold_much() {
    // One call with 20,000 subscriptions to the clock, each of which the host has to keep.
    let guest = guests::starts(
        "(drop (memory.grow (i32.const 64)))
        (drop (call $poll_oneoff (i32.const 1024) (i32.const 2097152) (i32.const 20000) (i32.const 64)))",
    );
    let report = Rig::new().report(&guest, Call::default()).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, "host_call"));
}

#[tokio::test]
async fn a_time_that_no_clock_holds_is_a_year() {
    let limits = Limits { attempt_timeout: Duration::MAX, ..limits() };
    assert_eq!(output(&Rig::new().report(&guests::says(1, "1", 0), Call::with_limits(limits)).await), "1");
}

#[tokio::test]
async fn a_guest_that_only_calls_its_host_ends_at_its_deadline_too() {
    // Every call makes 64 KiB of random bytes; fuel hardly notices.
    let guest = guests::starts("(loop $again (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $again))");
    let limits = Limits { fuel: None, attempt_timeout: Duration::from_millis(50), ..limits() };
    let report = Rig::new().report(&guest, Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::Deadline);
    assert!(report.duration < Duration::from_millis(250), "{:?}", report.duration);
}

fn message(note: &Note) -> &str {
    let Note::Log { message, level: Level::Info | Level::Warn, .. } = note else { panic!("{note:?}") };
    message
}

//! The command contract: what a command sees, and what its output and exit code mean.

use bytes::Bytes;
use lovage::model::module::{Manifest, ManifestTask};
use lovage::model::{Contract, Kind, Level, Outcome, Timestamp};
use lovage::sandbox::{Note, inspect};
use serde_json::json;

use super::{Call, Rig, failure, guests, output};

/// Copies stdin to stdout.
const CAT: &str = r#"(func (export "_start")
    (i32.store (i32.const 32) (i32.const 4096))
    (i32.store (i32.const 36) (i32.const 65536))
    (loop $again
        (drop (call $fd_read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 40)))
        (if (i32.load (i32.const 40)) (then
            (call $say (i32.const 1) (i32.const 4096) (i32.load (i32.const 40)))
            (br $again)))))"#;

/// Writes what `$sizes` and `$get` fill in, as a JSON string: zero bytes become spaces.
fn strings(sizes: &str, get: &str) -> Vec<u8> {
    guests::command(&format!(
        r#"(data (i32.const 1024) "\"")
        (func (export "_start") (local $at i32)
            (drop (call ${sizes} (i32.const 32) (i32.const 36)))
            (drop (call ${get} (i32.const 2048) (i32.const 8192)))
            (call $say (i32.const 1) (i32.const 1024) (i32.const 1))
            (loop $again
                (if (i32.eqz (i32.load8_u (i32.add (i32.const 8192) (local.get $at))))
                    (then (i32.store8 (i32.add (i32.const 8192) (local.get $at)) (i32.const 32))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $at) (i32.load (i32.const 36)))))
            (call $say (i32.const 1) (i32.const 8192) (i32.load (i32.const 36)))
            (call $say (i32.const 1) (i32.const 1024) (i32.const 1)))"#
    ))
}

#[tokio::test]
async fn input_goes_in_and_output_comes_out() {
    let input = Bytes::from(format!("{{\"text\":\"{}\"}}", "ä".repeat(100_000)));
    let call = || Call { input: input.clone(), ..Call::default() };
    let rig = Rig::new();
    let report = rig.report(&guests::command(CAT), call()).await;
    assert_eq!(report.outcome, Outcome::Output(input.clone()));
    assert_eq!(rig.report(&guests::command(CAT), call()).await.fuel_used, report.fuel_used, "fuel is deterministic");
    assert!(report.fuel_used > 0 && report.fuel_used < 100_000, "{report:?}");
    assert_eq!(report.memory_peak_bytes, 4 << 16);
}

#[tokio::test]
async fn the_exit_code_decides() {
    let rig = Rig::new();
    let report = rig.report(&guests::says(1, " {\"a\": 1}\n", 0), Call::default()).await;
    assert_eq!(output(&report), "{\"a\": 1}");
    let report = rig.report(&guests::says(2, "one\nbad input: no url\n\n", 65), Call::default()).await;
    let refused = failure(&report);
    assert_eq!((refused.kind, refused.message.as_str()), (Kind::Refused, "bad input: no url"));
    assert_eq!(refused.detail, Some(json!({"exit_code": 65})));
    let report = rig.report(&guests::says(1, "{}", 1), Call::default()).await;
    let returned = failure(&report);
    assert_eq!((returned.kind, returned.message.as_str()), (Kind::Returned, "exit code 1"));
    assert_eq!(returned.detail, Some(json!({"exit_code": 1})));
}

#[tokio::test]
async fn output_is_json_or_nothing() {
    let rig = Rig::new();
    assert_eq!(output(&rig.report(&guests::says(1, "\n ", 0), Call::default()).await), "null");
    for text in ["hello", "{} {}", "{\"a\":", "\u{fffd}"] {
        let report = rig.report(&guests::says(1, text, 0), Call::default()).await;
        assert_eq!(failure(&report).kind, Kind::Returned, "{text}");
        assert!(failure(&report).message.starts_with("stdout is not JSON: "), "{:?}", failure(&report));
    }
}

#[tokio::test]
async fn a_flow_takes_the_place_of_a_task_whose_manifest_says_so() {
    let rig = Rig::new();
    let flows = || Call { manifest: Manifest { flows: true, ..Manifest::default() }, ..Call::default() };
    let flow = guests::says(1, "{\"$flow\": {\"steps\": []}}", 0);
    assert_eq!(rig.report(&flow, flows()).await.outcome, Outcome::Replace("{\"steps\": []}".to_owned()));
    assert_eq!(output(&rig.report(&flow, Call::default()).await), "{\"$flow\": {\"steps\": []}}");
    let more = guests::says(1, "{\"$flow\": {}, \"a\": 1}", 0);
    assert_eq!(output(&rig.report(&more, flows()).await), "{\"$flow\": {}, \"a\": 1}", "it must be the sole key");
}

#[tokio::test]
async fn a_command_sees_its_task_and_nothing_of_its_host() {
    let rig = Rig::new();
    let report = rig.report(&strings("environ_sizes_get", "environ_get"), Call::default()).await;
    let environment = "LOVAGE_TASK=run LOVAGE_TASK_ID=t-1 LOVAGE_ATTEMPT=3 LOVAGE_DEADLINE_MS=20000 ";
    assert_eq!(output(&report), format!("\"{environment}\""));

    let arguments = strings("args_sizes_get", "args_get");
    assert_eq!(output(&rig.report(&arguments, Call { task: "sum", ..Call::default() }).await), "\"task sum \"");
    let args = Some(vec!["-c".to_owned(), "{task}.py".to_owned()]);
    let tasks = [("sum".parse().unwrap(), ManifestTask { args, ..ManifestTask::default() })].into();
    let manifest = Manifest { tasks, ..Manifest::default() };
    let report = rig.report(&arguments, Call { task: "sum", manifest, ..Call::default() }).await;
    assert_eq!(output(&report), "\"task -c sum.py \"");
}

#[tokio::test]
async fn there_are_no_directories_and_no_sockets() {
    // Exit code: 1 for any descriptor from 3 to 15 that is open, a path or a connection that opens.
    let guest = guests::command(
        r#"(data (i32.const 1024) "/etc/passwd")
        (func (export "_start") (local $fd i32)
            (local.set $fd (i32.const 3))
            (loop $again
                (if (i32.eqz (call $fd_prestat_get (local.get $fd) (i32.const 64))) (then (call $exit (i32.const 1))))
                (if (i32.eqz (call $path_open (local.get $fd) (i32.const 0) (i32.const 1024) (i32.const 11)
                    (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64)))
                    (then (call $exit (i32.const 1))))
                (if (i32.eqz (call $sock_accept (local.get $fd) (i32.const 0) (i32.const 64)))
                    (then (call $exit (i32.const 1))))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $fd) (i32.const 16)))))"#,
    );
    assert_eq!(output(&Rig::new().report(&guest, Call::default()).await), "null");
}

#[tokio::test]
async fn clocks_are_coarse_and_begin_at_the_hand_over() {
    // Exit code: 1 for a time that is not a whole millisecond, 2 for one that is not this attempt's.
    let guest = guests::command(
        r#"(func $check (param $clock i32)
            (drop (call $clock_time_get (local.get $clock) (i64.const 1) (i32.const 64)))
            (if (i64.ne (i64.rem_u (i64.load (i32.const 64)) (i64.const 1000000)) (i64.const 0))
                (then (call $exit (i32.const 1)))))
        (func (export "_start")
            (call $check (i32.const 1))
            (call $check (i32.const 0))
            (if (i64.gt_u (i64.sub (i64.load (i32.const 64)) (i64.const 1700000000000000000)) (i64.const 60000000000))
                (then (call $exit (i32.const 2)))))"#,
    );
    assert_eq!(output(&Rig::new().report(&guest, Call::default()).await), "null");
}

#[tokio::test]
async fn randomness_is_the_same_for_the_same_attempt() {
    // Writes 16 random bytes as letters.
    let guest = guests::command(
        r#"(data (i32.const 1024) "\"................\"")
        (func (export "_start") (local $at i32)
            (drop (call $random_get (i32.const 1025) (i32.const 16)))
            (loop $again
                (i32.store8 (i32.add (i32.const 1025) (local.get $at))
                    (i32.add (i32.const 97) (i32.rem_u (i32.load8_u (i32.add (i32.const 1025) (local.get $at))) (i32.const 26))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const 16))))
            (call $say (i32.const 1) (i32.const 1024) (i32.const 18)))"#,
    );
    let rig = Rig::new();
    let module = rig.load(&guest).await;
    let mut outputs = Vec::new();
    for attempt in [1, 1, 2] {
        let (mut invocation, _heard) = Call::default().invocation();
        invocation.attempt.attempt = attempt;
        outputs.push(output(&rig.sandbox.invoke(module.clone(), invocation).await).to_owned());
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_ne!(outputs[1], outputs[2]);
}

#[tokio::test]
async fn stderr_is_the_log() {
    let guest = guests::says(2, "first\r\n\nlast without an end", 0);
    let (_, notes) = Rig::new().report_with_notes(&guest, Call::default()).await;
    let lines: Vec<&str> = notes
        .iter()
        .map(|note| {
            let Note::Log { level: Level::Info, message, at } = note else { panic!("{note:?}") };
            assert!(at.since(Timestamp::from_millis(1_700_000_000_000)).as_secs() < 60);
            message.as_str()
        })
        .collect();
    assert_eq!(lines, ["first", "", "last without an end"]);
}

/// A `wasi:cli/run` component whose `run` is these instructions.
fn run_component(instructions: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
        (core module $m (func (export "run") (result i32) {instructions}))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (component $interface
            (import "import-func-run" (func $f (result (result))))
            (export "run" (func $f)))
        (instance $run_interface (instantiate $interface (with "import-func-run" (func $run))))
        (export "wasi:cli/run@0.2.0" (instance $run_interface)))"#
    ))
    .unwrap()
}

#[tokio::test]
async fn a_component_can_be_a_command() {
    let rig = Rig::new();
    let fine = run_component("(i32.const 0)");
    assert_eq!(inspect(&fine).unwrap().contract, Contract::CommandComponent);
    assert_eq!(output(&rig.report(&fine, Call::default()).await), "null");
    let report = rig.report(&run_component("(i32.const 1)"), Call::default()).await;
    assert_eq!((failure(&report).kind, failure(&report).message.as_str()), (Kind::Returned, "exit code 1"));
    let report = rig.report(&run_component("unreachable"), Call::default()).await;
    assert_eq!(failure(&report).kind, Kind::Trap);
}

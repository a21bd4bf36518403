//! `lovage call` of guests that misbehave: each ends by its own kind, exit code 1, and the host goes on.

use crate::support::guests::{command, spins};
use crate::support::platform::{Ended, shared};

/// Calls a guest that a test wrote, once, and checks that the platform is still well.
fn call(name: &str, text: &str, options: &[&str]) -> Ended {
    let dev = shared();
    dev.cli.push_wat(name, text);
    let ended = dev.cli.run(&[&["call", &format!("{name}/run"), "--retry", "1"], options].concat());
    assert_eq!(dev.cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
    ended
}

#[test]
fn a_guest_that_never_ends_runs_out_of_fuel() {
    call("never-ends", &spins(), &["--fuel", "1000000000"]).fails(1, &["error: out_of_fuel"]);
}

#[test]
fn a_guest_without_a_budget_ends_at_its_deadline() {
    call("no-budget", &spins(), &["--fuel", "off", "--attempt-timeout", "1s"])
        .fails(1, &["error: deadline", "1000 ms"]);
}

#[test]
fn a_start_function_that_never_ends_runs_out_of_fuel() {
    let text = r#"(module (memory (export "memory") 1) (func $spin (loop $again (br $again))) (start $spin)
        (func (export "_start")))"#;
    call("start-spins", text, &["--fuel", "1000000000"]).fails(1, &["error: out_of_fuel"]);
}

#[test]
fn a_guest_that_takes_all_memory_ends_at_its_limit() {
    let text = command(
        "(loop $again (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)) (br $again))",
    );
    call("takes-all", &text, &[]).fails(1, &["error: memory_limit"]);
    let dev = shared();
    let ended = dev.cli.run(&["call", "probe/alloc", r#"{"bytes": 500000000}"#]);
    ended.fails(1, &["error: memory_limit"]);
}

#[test]
fn a_guest_that_calls_itself_for_ever_traps() {
    let text = command("(drop (call $deeper (i32.const 0)))");
    call("deeper", &text, &[]).fails(1, &["error: trap", "stack"]);
}

#[test]
fn a_guest_that_writes_for_ever_ends_at_its_limit() {
    let text = command("(loop $again (call $say (i32.const 1) (i32.const 0) (i32.const 65536)) (br $again))");
    call("writes", &text, &[]).fails(1, &["error: output_limit"]);
}

#[test]
fn a_guest_that_logs_for_ever_is_cut_and_ends() {
    let text = command("(loop $again (call $say (i32.const 2) (i32.const 0) (i32.const 65536)) (br $again))");
    let ended = call("logs", &text, &["--quiet", "--fuel", "off", "--attempt-timeout", "2s"]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.len() < 4 << 20);
}

#[test]
fn a_panic_is_a_trap_with_its_message_in_the_log() {
    let dev = shared();
    let id = dev.cli.send(&["probe/panic", "\"the photo has no pixels\"", "--retry", "1"]);
    dev.cli.run(&["result", &id, "--wait"]).fails(1, &["error: trap"]);
    let log = dev.cli.run(&["logs", &id]);
    assert!(log.output().contains("the photo has no pixels"), "{log:?}");
}

#[test]
fn exit_code_65_is_a_refusal_and_any_other_a_failure() {
    let exit = |code: u32| command(&format!("(call $exit (i32.const {code}))"));
    call("exits-65", &exit(65), &[]).fails(1, &["error: refused", "\"exit_code\":65"]);
    call("exits-7", &exit(7), &[]).fails(1, &["error: returned", "\"exit_code\":7"]);
    assert_eq!(call("exits-0", &exit(0), &[]).output(), "null");
}

#[test]
fn output_that_is_no_json_is_a_failure() {
    let text =
        command("(i32.store8 (i32.const 100) (i32.const 123)) (call $say (i32.const 1) (i32.const 100) (i32.const 1))");
    call("half-json", &text, &[]).fails(1, &["error: returned"]);
}

#[test]
fn input_that_does_not_fit_is_refused() {
    let dev = shared();
    for input in ["not json", "{", "[1]", r#"{"a": "one", "b": 2}"#, "[1, 2, 3]"] {
        dev.cli.run(&["call", "hello/add", input]).fails(1, &["error: refused"]);
    }
}

#[test]
fn what_a_guest_says_cannot_drive_a_terminal() {
    let dev = shared();
    let input = r#"{"kind": "permanent", "message": "\u001b[2J\u202eevil"}"#;
    let ended = dev.cli.run(&["call", "probe/fail", input]);
    ended.fails(1, &["\\u{1b}[2J\\u{202e}evil"]);
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

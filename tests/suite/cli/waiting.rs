//! What is told of a task while it is awaited, and what ctrl-c does: at a terminal and without one.

use rustix::process::Signal;

use crate::support::eventually::eventually_there;
use crate::support::platform::{Cli, shared};
use crate::support::process::Process;
use crate::support::terminal::{CTRL_C, Terminal};

/// A task that computes until it is cancelled.
const LONG: [&str; 3] = ["probe/wait_cancel", "--fuel", "off"];

const QUESTION: &str = "cancel, detach or go on? [c/d/g]";

/// The id of the task that goes on, as the command says it.
fn detached(said: &str) -> String {
    let words = said.split("detached: task ").nth(1).unwrap_or_else(|| panic!("{said}"));
    words.split_whitespace().next().unwrap().to_owned()
}

fn call(cli: &Cli, options: &[&str]) -> std::process::Command {
    cli.command(&[&["call"], &LONG[..], options].concat())
}

#[test]
fn a_caller_sees_states_progress_and_attempts_and_the_output_is_the_last_line() {
    let dev = shared();
    let ended = dev.cli.run(&["call", "probe/steps", r#"{"n": 3}"#]);
    assert_eq!(ended.output(), "3");
    assert!(ended.stderr.contains("progress 2 of 3  step 2"), "{ended:?}");
    let policy = r#"{"attempts": 5, "backoff": "2s", "jitter": false}"#;
    let retried = dev.cli.run(&["call", "probe/flaky", r#"{"until": 2}"#, "--retry", policy]);
    assert_eq!(retried.output(), "2");
    assert!(retried.stderr.contains("attempt 1 of 5 failed, trying again in "), "{retried:?}");
    assert_eq!(dev.cli.run(&["call", "probe/steps", r#"{"n": 3}"#, "--quiet"]).stderr, "");
    let waits = dev.cli.run(&["call", "hello/add", "[1, 2]", "--delay", "2s"]);
    assert!(waits.output() == "3" && waits.stderr.lines().any(|line| line == "scheduled"), "{waits:?}");
}

#[test]
fn ctrl_c_without_a_terminal_detaches_and_says_how_to_get_the_result() {
    let dev = shared();
    let mut call = Process::start(&mut call(&dev.cli, &[]));
    call.line("it runs", |line| line.starts_with("running on "));
    call.signal(Signal::INT);
    let (code, said) = call.exit();
    let id = detached(&said);
    assert!(
        code == 0 && !said.contains("error:") && said.contains(&format!("lovage result {id} --wait")),
        "{code} {said}"
    );
    assert_eq!(dev.cli.state(&id), "running");
    // Who waits for it later may do the same.
    let mut wait = Process::start(&mut dev.cli.command(&["result", &id, "--wait", "--on-interrupt", "cancel"]));
    wait.line("it runs", |line| line.starts_with("running on "));
    wait.signal(Signal::INT);
    let (code, said) = wait.exit();
    assert!(code == 1 && said.contains("error: cancelled"), "{code} {said}");
    assert_eq!(dev.cli.state(&id), "cancelled");
}

#[test]
fn ctrl_c_at_a_terminal_asks() {
    let dev = shared();
    let mut terminal = Terminal::start(&call(&dev.cli, &[]));
    terminal.shows("running on ", 1);
    terminal.types(CTRL_C);
    terminal.shows(QUESTION, 1);
    terminal.types("maybe\n");
    terminal.shows(QUESTION, 2);
    terminal.types("g\n");
    // It is awaited still: only then is there anything to ask again.
    terminal.shows("going on", 1);
    terminal.types(CTRL_C);
    terminal.shows(QUESTION, 3);
    terminal.types("c\n");
    let (code, shown) = terminal.exit();
    assert!(code == 1 && shown.contains("error: cancelled"), "{code} {shown}");
}

#[test]
fn a_second_ctrl_c_detaches() {
    let dev = shared();
    let mut terminal = Terminal::start(&call(&dev.cli, &[]));
    terminal.shows("running on ", 1);
    terminal.types(CTRL_C);
    terminal.shows(QUESTION, 1);
    terminal.types(CTRL_C);
    let (code, shown) = terminal.exit();
    let id = detached(&shown);
    assert!(code == 0 && !shown.contains("error:") && shown.contains(&format!("lovage cancel {id}")), "{code} {shown}");
    assert_eq!(dev.cli.state(&id), "running");
    dev.cli.run(&["cancel", &id]).output();
}

#[test]
fn a_terminal_shows_a_progress_bar() {
    let dev = shared();
    let mut terminal = Terminal::start(&dev.cli.command(&["call", "probe/steps", r#"{"n": 4}"#]));
    let (code, shown) = terminal.exit();
    assert_eq!(code, 0);
    assert!(shown.contains("[########################] 100%  4 of 4  step 4"), "{shown}");
    assert!(shown.ends_with("\r\u{1b}[K4\r\n"), "{shown:?}");
}

#[test]
fn a_run_is_cancelled_or_left_alone_in_the_same_way() {
    let dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let flow = dir.path().join("flow.yaml");
    std::fs::write(&flow, "name: sleeps\nflow:\n  sleep: 1h\n").unwrap();
    let run = |options: &[&str]| {
        let process = Process::start(&mut dev.cli.command(&[&["run", flow.to_str().unwrap()], options].concat()));
        let line = process.line("its id", |line| line.starts_with("run "));
        (process, line.split_once(' ').unwrap().1.to_owned())
    };
    let (mut left, id) = run(&[]);
    left.signal(Signal::INT);
    let (code, said) = left.exit();
    assert!(
        code == 0 && !said.contains("error:") && said.contains(&format!("detached: run {id} goes on")),
        "{code} {said}"
    );
    dev.cli.run(&["runs", "cancel", &id]).output();
    let (mut cancelled, _) = run(&["--on-interrupt", "cancel"]);
    cancelled.signal(Signal::INT);
    let (code, said) = cancelled.exit();
    assert!(code == 1 && said.contains("error: cancelled: the run was cancelled"), "{code} {said}");
}

#[test]
fn a_log_is_cut_by_age_and_level() {
    let dev = shared();
    let id = dev.cli.send(&["probe/chatty", r#"{"lines": 3}"#]);
    assert_eq!(dev.cli.settled(&id)["output"], 3);
    let lines = |options: &[&str]| {
        let shown = dev.cli.run(&[&["logs", id.as_str()], options].concat());
        shown.output().lines().filter(|line| line.contains("of 3")).count()
    };
    eventually_there("all lines", || (lines(&["--follow"]) == 3).then_some(()));
    assert_eq!([lines(&["--level", "info"]), lines(&["--level", "error"]), lines(&["--since", "1h"])], [3, 0, 3]);
    eventually_there("they are older than that", || (lines(&["--since", "1ms"]) == 0).then_some(()));
    dev.cli.run(&["logs", &id, "--level", "loud"]).fails(2, &["trace, debug, info, warn or error"]);
}

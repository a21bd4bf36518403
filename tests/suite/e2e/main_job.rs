//! A module is pushed and called, and its results stay.

use rustix::process::Signal;

use crate::support::platform::{Dev, shared};

#[test]
fn a_module_is_pushed_and_called() {
    let dev = Dev::start();
    dev.cli.push("hello");
    let ended = dev.cli.run(&["call", "hello/add", "[20, 22]"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "42\n", ""));
}

#[test]
fn a_task_is_sent_and_its_result_is_awaited() {
    let dev = shared();
    let id = dev.cli.send(&["hello/greet", "\"Wasm\""]);
    assert_eq!(dev.cli.run(&["result", &id, "--wait"]).output(), "\"Hello, Wasm!\"");
    assert_eq!(dev.cli.run(&["result", &id]).output(), "\"Hello, Wasm!\"");
}

#[test]
fn a_result_as_json_tells_state_output_and_usage() {
    let dev = shared();
    let id = dev.cli.send(&["hello/add", r#"{"a": 20, "b": 22}"#]);
    dev.cli.settled(&id);
    let record = dev.cli.run(&["result", &id, "--json"]).json();
    assert_eq!((&record["id"], &record["state"], &record["output"]), (&id.into(), &"succeeded".into(), &42.into()));
    assert_eq!((&record["usage"]["attempt"], &record["usage"]["delivery"]), (&1.into(), &1.into()));
    assert!(record["usage"]["fuel"].as_u64().unwrap() > 0 && record.get("failure").is_none(), "{record}");
}

#[test]
fn a_failed_task_exits_with_one_and_keeps_its_failure() {
    let dev = shared();
    let input = r#"{"kind": "permanent", "message": "the photo is upside down"}"#;
    dev.cli.run(&["call", "probe/fail", input]).fails(1, &["error: refused: the photo is upside down"]);
    let id = dev.cli.send(&["probe/fail", input]);
    let record = dev.cli.settled(&id);
    assert_eq!((&record["state"], &record["failure"]["kind"]), (&"failed".into(), &"refused".into()));
    dev.cli.run(&["result", &id]).fails(1, &["error: refused: the photo is upside down"]);
}

#[test]
fn logs_and_progress_are_shown_while_a_task_runs_and_kept() {
    let dev = shared();
    let called = dev.cli.run(&["call", "probe/steps", r#"{"n": 3}"#]);
    assert_eq!(called.output(), "3");
    assert!(called.stderr.contains("progress 3 of 3  step 3"), "{called:?}");
    let id = dev.cli.send(&["probe/chatty", r#"{"lines": 3}"#]);
    dev.cli.settled(&id);
    let lines = dev.cli.run(&["logs", &id]);
    let said: Vec<&str> = lines.output().lines().map(|line| line.split_once("] ").unwrap().1).collect();
    assert_eq!(said, ["line 1 of 3", "line 2 of 3", "line 3 of 3"]);
    let json = dev.cli.run(&["logs", &id, "--json"]);
    let first: serde_json::Value = serde_json::from_str(json.output().lines().next().unwrap()).unwrap();
    assert_eq!((&first["message"], &first["attempt"]), (&"line 1 of 3".into(), &1.into()));
}

#[test]
fn followed_logs_end_with_their_task() {
    let dev = shared();
    let id = dev.cli.send(&["probe/chatty", r#"{"lines": 20}"#]);
    let followed = dev.cli.run(&["logs", "--follow", &id]);
    assert_eq!(followed.output().lines().count(), 20, "{followed:?}");
}

#[test]
fn an_unknown_id_is_not_found_by_any_command() {
    let dev = shared();
    let id = "01jd00000000000000000000zz";
    for command in [&["result", id][..], &["result", id, "--wait"], &["cancel", id], &["logs", id]] {
        dev.cli.run(command).fails(2, &["failed to find task 01jd00000000000000000000zz: there is none"]);
    }
}

#[test]
fn results_and_modules_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let id = {
        let mut dev = Dev::start_in(data.path(), &[]);
        dev.cli.push("hello");
        let id = dev.cli.send(&["hello/add", "[1, 2]"]);
        dev.cli.settled(&id);
        dev.process.signal(Signal::TERM);
        assert_eq!(dev.process.exit().0, 0);
        id
    };
    let dev = Dev::start_in(data.path(), &[]);
    assert_eq!(dev.cli.run(&["result", &id]).output(), "3");
    assert_eq!(dev.cli.run(&["call", "hello/add", "[3, 4]"]).output(), "7");
}

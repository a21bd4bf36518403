//! A run as its users see it while it goes on: its tree at a terminal, and what its guests say.

use lovage::broker::Settings;
use serde_json::Value;

use crate::support::eventually::eventually_there;
use crate::support::nats::TestServer;
use crate::support::platform::{Cli, shared};
use crate::support::process::Process;
use crate::support::terminal::Terminal;

/// A flow in a folder that goes with it.
fn flow(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flow.yaml");
    std::fs::write(&path, text).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (dir, name)
}

/// The id on the line `run <id>`.
fn id(shown: &str) -> String {
    shown.lines().find_map(|line| line.trim().strip_prefix("run ")).unwrap().to_owned()
}

#[test]
fn a_tree_shows_what_a_run_waits_for_now() {
    let dev = shared();
    let (_dir, flow) = flow("flow: {chain: [{task: hello/add, args: [1]}, {task: hello/add, args: [2]}, {wait: go}]}");
    let mut terminal = Terminal::start(&dev.cli.command(&["run", &flow, "39"]));
    // The steps before it end faster than a tree is drawn again.
    let shown = terminal.shows("waits for the signal go", 1);
    dev.cli.run(&["runs", "signal", &id(&shown), "go", "42"]).output();
    let (code, shown) = terminal.exit();
    assert!(code == 0 && shown.ends_with("\r\n42\r\n"), "{code} {shown}");
}

/// A run of two chatty steps that has ended.
fn chatty(cli: &Cli) -> String {
    let (_dir, flow) = flow(
        "flow: {chain: [{task: probe/chatty, input: {lines: 2}, name: first}, {task: probe/chatty, input: {lines: 1}}]}",
    );
    let ended = cli.run(&["run", &flow]);
    assert_eq!(ended.output(), "1");
    // Whoever runs it is told what it says, as with `call`.
    for line in ["line 1 of 2", "line 2 of 2", "line 1 of 1"] {
        assert!(ended.stderr.lines().any(|told| told.starts_with("0-") && told.ends_with(line)), "{}", ended.stderr);
    }
    id(&ended.stderr)
}

#[test]
fn the_logs_of_a_run_its_steps_and_their_attempts_are_read_by_their_ids() {
    let dev = shared();
    let run = chatty(&dev.cli);
    let logs = |id: &str, more: &[&str]| {
        let printed = dev.cli.run(&[&["logs", id], more].concat());
        printed.output().lines().filter(|line| line.contains(" of ")).map(str::to_owned).collect::<Vec<String>>()
    };
    let (all, first) = (logs(&run, &[]), logs(&format!("{run}.0-0"), &[]));
    assert!(all.len() == 3 && all[..2] == first && first.iter().all(|line| line.starts_with("0-0 ")), "{all:?}");
    assert!(all[2].starts_with("0-1 ") && all[2].ends_with("line 1 of 1"), "{all:?}");
    assert_eq!(logs(&format!("{run}.0-1.1"), &[]), all[2..]);
    assert_eq!(logs(&run, &["--follow"]), all, "what has ended is printed, and no more is awaited");
    assert_eq!(logs(&format!("{run}.0-0.1"), &["-f"]), first);
    let json: Value = serde_json::from_str(&logs(&run, &["--json"])[2]).unwrap();
    assert_eq!((&json["step"], &json["message"]), (&"0-1".into(), &"line 1 of 1".into()));
    dev.cli.run(&["logs", &format!("{run}.0-7")]).fails(2, &["step 0-7 has not begun", "lovage runs show"]);
    dev.cli.run(&["logs", "01jd0000000000000000000000.0"]).fails(2, &["find run"]);
    dev.cli.run(&["logs", "x.y"]).fails(2, &["RUN.STEP.ATTEMPT"]);
}

#[test]
fn the_logs_of_a_run_are_followed_until_it_ends() {
    let dev = shared();
    let (_dir, flow) = flow("flow: {chain: [{wait: go}, {task: probe/chatty, input: {lines: 2}}]}");
    let run = dev.cli.run(&["run", "--detach", &flow]).output().to_owned();
    let mut logs = dev.cli.command(&["logs", &run, "--follow"]);
    let follows = logs.stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually_there("it waits", || {
        dev.cli.run(&["runs", "show", &run]).stdout.contains("waits for the signal go").then_some(())
    });
    dev.cli.run(&["runs", "signal", &run, "go"]).output();
    let printed = String::from_utf8(follows.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(
        printed.lines().filter(|line| line.starts_with("0-1 ") && line.contains(" of 2")).count(),
        2,
        "{printed}"
    );
}

#[test]
fn a_run_taken_for_a_task_is_told_with_the_command_for_it() {
    let dev = shared();
    let (_dir, flow) = flow("flow: {wait: go}");
    let run = dev.cli.run(&["run", "--detach", &flow]).output().to_owned();
    dev.cli.run(&["result", &run]).fails(2, &["is a run, and no task", &format!("lovage runs show {run}")]);
    dev.cli.run(&["result", &run, "--wait"]).fails(2, &[&format!("lovage runs watch {run}")]);
    dev.cli.run(&["cancel", &run]).fails(2, &["is a run, and no task", &format!("lovage runs cancel {run}")]);
    dev.cli.run(&["runs", "cancel", &run]).output();
    dev.cli.run(&["result", "01jd0000000000000000000000"]).fails(2, &["find task"]);
}

#[test]
fn the_progress_of_guests_stands_in_the_tree_and_their_logs_above_it() {
    let dev = shared();
    let (_dir, flow) = flow(
        "flow: {chain: [{task: probe/steps, input: {n: 4}}, {task: probe/chatty, input: {lines: 1}}, {wait: go}]}",
    );
    let mut terminal = Terminal::start(&dev.cli.command(&["run", &flow]));
    let shown = terminal.shows("waits for the signal go", 1);
    let log = shown.lines().find(|line| line.ends_with("line 1 of 1")).unwrap_or_else(|| panic!("{shown}"));
    assert!(log.contains("0-1 ") && log.contains(" info "), "{log}");
    dev.cli.run(&["runs", "cancel", &id(&shown)]).output();
    assert_eq!(terminal.exit().0, 1);
}

#[test]
fn a_step_runs_on_a_host_or_says_what_its_queue_or_its_labels_lack() {
    let dev = shared();
    let (_dir, flow) = flow(
        "flow: {group: [{task: probe/wait_cancel, fuel: off, name: busy}, {task: hello/add, queue: nowhere, name: lost},
           {task: hello/add, requires: {gpu: \"yes\"}, name: picky}]}",
    );
    let run = dev.cli.run(&["run", "--detach", &flow]).output().to_owned();
    let shown = eventually_there("it runs", || {
        let shown = dev.cli.run(&["runs", "show", &run]).output().to_owned();
        shown.contains("busy  runs on ").then_some(shown)
    });
    assert!(shown.lines().any(|line| line.contains("busy  runs on ") && line.contains(", for ")), "{shown}");
    assert!(shown.contains("lost  waits in queue nowhere, which no host serves"), "{shown}");
    assert!(shown.contains("picky  waits for a host with gpu=yes"), "{shown}");
    let report = dev.cli.run(&["runs", "show", &run, "--json"]).json();
    let step = |label: &str| report["steps"].as_array().unwrap().iter().find(|step| step["label"] == label).unwrap();
    assert_eq!((&step("busy")["state"], &step("busy")["waits"]), (&"running".into(), &Value::Null));
    assert!(step("busy")["host"].is_string() && step("busy")["since"].is_string(), "{report:#}");
    assert_eq!(step("lost")["waits"], "in queue nowhere, which no host serves");
    assert_eq!(
        (&step("picky")["state"], &step("picky")["waits"]),
        (&"queued".into(), &"for a host with gpu=yes".into())
    );
    dev.cli.run(&["runs", "cancel", &run]).output();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_a_coordinator_says_so_and_goes_on_when_there_is_one() {
    let server = TestServer::start(Settings::default()).await;
    let cli = Cli { nats: server.server.url().to_owned() };
    let (_dir, flow) = flow("flow: {chain: [{sleep: 1ms}, {value: 42}]}");
    let mut run = Process::start(&mut cli.command(&["run", &flow]));
    let id = id(&run.line("its id", |line| line.starts_with("run ")));
    run.line("that it is alone", |line| line.starts_with("no coordinator is alive") && line.contains("lovage dev"));
    let shown = cli.run(&["runs", "show", &id]);
    assert!(shown.output().contains("reason   it waits for a coordinator to begin it"), "{shown:?}");
    assert!(shown.output().contains("sleep  waits for a coordinator to begin the run"), "{shown:?}");
    let mut coordinator = Process::start(&mut cli.command(&["coordinator"]));
    let (code, said) = run.exit();
    assert!(code == 0 && said.lines().any(|line| line == "42"), "{code} {said}");
    coordinator.kill();
}

#[test]
fn a_failure_names_its_step_its_task_its_attempt_and_its_detail() {
    let dev = shared();
    let (_dir, flow) =
        flow("flow: {chain: [{task: probe/flaky, input: {until: 9}, retry: 1, name: shaky}, {value: 1}]}");
    let ended = dev.cli.run(&["run", &flow]);
    ended.fails(1, &["\n  in step 0-0, shaky (probe/flaky), attempt 1\n", "\n  detail: 1\n"]);
    ended.fails(1, &["0-0 shaky: failed in probe/flaky attempt 1 (returned: attempt 1 of 9, detail 1)\n"]);
    let shown = dev.cli.run(&["runs", "show", &id(&ended.stderr)]);
    let line = "shaky  returned: attempt 1 of 9 (in step 0-0, shaky (probe/flaky), attempt 1, detail: 1)";
    assert!(shown.output().contains(line), "{shown:?}");
    assert!(shown.output().contains("chain  returned: attempt 1 of 9\n"), "{shown:?}");
}

//! `lovage run`, `lovage runs` and `lovage flow push`, as their users type them.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::eventually::eventually_there;
use crate::support::platform::{Cli, Ended, shared};

/// A flow document in a file of its own.
struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flow.yaml");
    std::fs::write(&path, text).unwrap();
    File { _dir: dir, path }
}

impl File {
    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

const SUMS: &str = "
name: cli-sums
flow:
  chain:
    - {task: hello/add, args: [2], name: first}
    - group: [{task: hello/add, args: [1]}, {value: '${steps.first}'}]
";

fn detached(cli: &Cli, args: &[&str]) -> String {
    let args = [&["run", "--detach"], args].concat();
    cli.run(&args).output().to_owned()
}

/// The run's report, once it is in this state.
fn report(cli: &Cli, run: &str, state: &str) -> Value {
    eventually_there(state, || {
        let report = cli.run(&["runs", "show", run, "--json"]).json();
        (report["state"] == state).then_some(report)
    })
}

fn step<'a>(report: &'a Value, id: &str) -> &'a Value {
    let found = report["steps"].as_array().unwrap().iter().find(|step| step["step"] == id);
    found.unwrap_or_else(|| panic!("no step {id} in {report:#}"))
}

#[test]
fn a_run_prints_its_steps_and_its_output() {
    let dev = shared();
    let ended = dev.cli.run(&["run", file(SUMS).name(), "40"]);
    assert_eq!(ended.output(), "[43,42]");
    for line in ["run 0", "0-0 first: queued", "0-0 first: succeeded", "0 chain: succeeded"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
    let quiet = dev.cli.run(&["run", "--quiet", file(SUMS).name(), "40"]);
    assert_eq!((quiet.output(), quiet.stderr.as_str()), ("[43,42]", ""));
    let report = dev.cli.run(&["run", "--quiet", "--json", file(SUMS).name(), "40"]).json();
    assert_eq!((&report["state"], &report["output"]), (&json!("succeeded"), &json!([43, 42])));
}

#[test]
fn a_run_that_fails_exits_with_one_and_names_its_step() {
    let dev = shared();
    let ended = dev.cli.run(&["run", "--quiet", file(SUMS).name(), "\"forty\""]);
    ended.fails(1, &["error: refused: ", "in step 0-0"]);
    let listed = dev.cli.run(&["runs", "ls", "--state", "failed", "--flow", "cli-sums", "--json"]);
    let run = serde_json::from_str::<Value>(listed.stdout.lines().next().unwrap()).unwrap();
    let run = run["run"].as_str().unwrap();
    let report = dev.cli.run(&["runs", "show", run, "--json"]).json();
    assert_eq!(step(&report, "0-0")["state"], "failed");
    assert_eq!(step(&report, "0-1")["state"], "skipped");
    assert_eq!(step(&report, "0-1-0")["state"], "skipped");
    let shown = dev.cli.run(&["runs", "show", run]);
    for words in ["state    failed", "✗ first  refused: ", "○ group  skipped"] {
        assert!(shown.output().contains(words), "{words}: {}", shown.stdout);
    }
    dev.cli.run(&["runs", "watch", run]).fails(1, &["refused"]);
}

#[test]
fn what_is_wrong_with_a_flow_is_told_before_anything_starts() {
    let dev = shared();
    let run = |text: &str| dev.cli.run(&["run", file(text).name()]);
    run("tsk: hello/add").fails(2, &["tsk"]);
    run("task: nothing/run").fails(2, &["nothing"]);
    run("task: hello/subtract").fails(2, &["subtract"]);
    run("task: hello@99/add").fails(2, &["hello@99"]);
    run("flow: nowhere").fails(2, &["nowhere", "lovage flow"]);
    dev.cli.run(&["run", "/nowhere/flow.yaml"]).fails(2, &["/nowhere/flow.yaml"]);
    dev.cli.run(&["run", "no-such-flow"]).fails(2, &["no-such-flow"]);
    dev.cli.run(&["run", file(SUMS).name(), "{"]).fails(2, &["the input"]);
    let schema = "input: {type: object, required: [n]}\nflow: {task: hello/add, args: [1]}";
    dev.cli.run(&["run", file(schema).name(), "{}"]).fails(2, &["n"]);
}

#[test]
fn runs_that_are_not_there_are_not_found() {
    let dev = shared();
    let unknown = "01jabcdefghjkmnpqrstvwxyz0";
    for command in ["show", "watch", "cancel", "retry", "pause", "resume", "export"] {
        dev.cli.run(&["runs", command, unknown]).fails(2, &[unknown]);
    }
    dev.cli.run(&["runs", "signal", unknown, "go"]).fails(2, &[unknown]);
    dev.cli.run(&["runs", "show", "nonsense"]).fails(2, &["nonsense"]);
}

#[test]
fn a_signal_lets_a_run_go_on_and_a_wrong_one_is_refused() {
    let dev = shared();
    let flow = file("chain: [{wait: approve}, {task: hello/add, args: [1]}]");
    let run = detached(&dev.cli, &[flow.name()]);
    let waiting = eventually_there("it waits for its signal", || {
        let report = dev.cli.run(&["runs", "show", &run, "--json"]).json();
        let steps = report["steps"].as_array().cloned().unwrap_or_default();
        steps.iter().any(|step| step["waits"] == "for the signal approve").then_some(report)
    });
    assert_eq!(waiting["state"], "running");
    dev.cli.run(&["runs", "signal", &run, "aprove", "1"]).fails(2, &["aprove", "approve"]);
    dev.cli.run(&["runs", "signal", &run, "approve", "{"]).fails(2, &["payload"]);
    assert_eq!(dev.cli.run(&["runs", "signal", &run, "approve", "41"]).code, 0);
    assert_eq!(dev.cli.run(&["runs", "watch", &run]).output(), "42");
    dev.cli.run(&["runs", "signal", &run, "approve", "1"]).fails(2, &["ended"]);
    dev.cli.run(&["runs", "cancel", &run]).fails(2, &["ended"]);
    dev.cli.run(&["runs", "retry", &run]).fails(2, &[&run]);
}

#[test]
fn a_cancelled_run_ends_and_can_be_retried() {
    let dev = shared();
    let flow = file("chain: [{task: hello/add, input: [1, 2], name: sum}, {wait: go}, {value: '${steps.sum}'}]");
    let run = detached(&dev.cli, &[flow.name(), "--label", "kind=cancelled"]);
    assert_eq!(dev.cli.run(&["runs", "cancel", &run]).code, 0);
    let cancelled = report(&dev.cli, &run, "cancelled");
    assert_eq!(step(&cancelled, "0-2")["state"], "skipped");
    dev.cli.run(&["runs", "watch", &run]).fails(1, &["cancelled"]);
    let listed = dev.cli.run(&["runs", "ls", "--label", "kind=cancelled"]);
    assert!(listed.output().contains(&run) && listed.stdout.contains("cancelled"), "{}", listed.stdout);
    assert_eq!(dev.cli.run(&["runs", "retry", &run]).code, 0);
    assert_eq!(dev.cli.run(&["runs", "signal", &run, "go"]).code, 0);
    assert_eq!(dev.cli.run(&["runs", "watch", &run]).output(), "3");
}

#[test]
fn a_paused_run_begins_nothing_until_it_is_resumed() {
    let dev = shared();
    let flow = file("chain: [{wait: go}, {task: hello/add, input: [1, 1]}]");
    let run = detached(&dev.cli, &[flow.name()]);
    assert_eq!(dev.cli.run(&["runs", "pause", &run]).code, 0);
    assert_eq!(dev.cli.run(&["runs", "signal", &run, "go"]).code, 0);
    eventually_there("its task is held", || {
        let report = dev.cli.run(&["runs", "show", &run, "--json"]).json();
        let held = report["steps"].as_array()?.iter().any(|step| step["waits"] == "for the run to be resumed");
        (held && report["state"] == "paused").then_some(())
    });
    assert_eq!(dev.cli.run(&["runs", "resume", &run]).code, 0);
    assert_eq!(dev.cli.run(&["runs", "watch", &run]).output(), "2");
}

#[test]
fn a_key_makes_two_runs_one() {
    let dev = shared();
    let flow = file("value: 1");
    let start = |key: &str| detached(&dev.cli, &[flow.name(), "--idempotency-key", key]);
    assert_eq!(start("order-17"), start("order-17"));
    assert_ne!(start("order-17"), start("order-18"));
}

#[test]
fn another_flow_or_input_under_a_key_is_refused_and_what_differs_is_named() {
    let dev = shared();
    let (one, other) = (file("value: '${input}'"), file("value: 2"));
    let key = ["--idempotency-key", "order-19"];
    let run = |args: &[&str]| dev.cli.run(&[&["run", "--quiet"], args, &key[..]].concat());
    assert_eq!(run(&[one.name(), r#"{"a": 1}"#]).output(), r#"{"a": 1}"#);
    assert_eq!(run(&[one.name(), r#"{"a":1}"#]).output(), r#"{"a": 1}"#, "spaces are no other input");
    run(&[one.name(), "2"]).fails(2, &["\"order-19\"", "which has another input"]);
    run(&[one.name()]).fails(2, &["which has another input"]);
    run(&[other.name(), r#"{"a": 1}"#]).fails(2, &["which has another flow"]);
    run(&[other.name(), "2"]).fails(2, &["which has another flow and input"]);
    let push = |text: &str| dev.cli.run(&["flow", "push", "cli-keyed", file(text).name()]).output().to_owned();
    push("value: first");
    let stored = || dev.cli.run(&["run", "--quiet", "cli-keyed", "--idempotency-key", "order-20"]).output().to_owned();
    assert_eq!(stored(), "\"first\"");
    push("value: second");
    assert_eq!(stored(), "\"first\"", "a retry after a deploy is the same order");
}

#[test]
fn a_stored_flow_is_run_by_its_name_and_pinned_by_its_version() {
    let dev = shared();
    let push = |text: &str| dev.cli.run(&["flow", "push", "cli-stored", file(text).name()]).output().to_owned();
    assert!(push("value: first").starts_with("cli-stored@1 sha256:"));
    assert!(push("value: first").starts_with("cli-stored@1 "), "the same again is the same version");
    assert!(push("value: second").starts_with("cli-stored@2 "));
    let run = |name: &str| dev.cli.run(&["run", "--quiet", name]).output().to_owned();
    assert_eq!((run("cli-stored"), run("cli-stored@1")), ("\"second\"".to_owned(), "\"first\"".to_owned()));
    dev.cli.run(&["run", "cli-stored@7"]).fails(2, &["cli-stored@7"]);
    let listed = dev.cli.run(&["flow", "ls", "cli-stored"]);
    assert_eq!(listed.output().lines().count(), 3, "{}", listed.stdout);
    let parent = file("chain: [{flow: cli-stored@1}, {value: {child: '${prev}'}}]");
    assert_eq!(dev.cli.run(&["run", "--quiet", parent.name()]).output(), r#"{"child":"first"}"#);
}

#[test]
fn a_journal_is_exported_as_lines_of_json() {
    let dev = shared();
    let flow = file("chain: [{task: hello/add, input: [1, 2]}]");
    let run = detached(&dev.cli, &[flow.name()]);
    assert_eq!(dev.cli.run(&["runs", "watch", &run]).output(), "3");
    let exported: Ended = dev.cli.run(&["runs", "export", &run]);
    let lines: Vec<Value> = exported.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let records: Vec<&str> = lines.iter().map(|line| line["record"].as_str().unwrap()).collect();
    assert_eq!(records, ["start", "step.0-0.1", "end"]);
    assert!(lines.iter().all(|line| line["v"] == 1 && line["run"] == *run), "{lines:?}");
    assert_eq!((&lines[1]["body"], &lines[1]["headers"]["Lovage-State"]), (&json!(3), &json!("succeeded")));
    assert_eq!(lines[2]["body"]["result"], json!({"succeeded": {"json": 3}}));
}

#[test]
fn a_run_of_many_steps_is_shown_a_page_at_a_time() {
    let dev = shared();
    let flow = file("{map: {value: '${item}'}, over: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}");
    let run = detached(&dev.cli, &[flow.name()]);
    assert_eq!(dev.cli.run(&["runs", "watch", &run]).json().as_array().map(Vec::len), Some(12));
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut args = vec!["runs", "show", &run, "--json", "--limit", "5"];
        if let Some(after) = &after {
            args.extend(["--after", after]);
        }
        let page = dev.cli.run(&args).json();
        let steps = page["steps"].as_array().unwrap();
        assert!(steps.len() <= 5, "{page}");
        seen.extend(steps.iter().map(|step| step["step"].as_str().unwrap().to_owned()));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 13, "the map and its members: {seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 13);
    let least = dev.cli.run(&["runs", "show", &run, "--json", "--limit", "0"]).json();
    assert_eq!(least["steps"].as_array().map(Vec::len), Some(1), "a page of none would look like the last one");
    assert!(least["next"].is_string(), "{least}");
    dev.cli.run(&["runs", "show", &run, "--json", "--after", "0-7"]).fails(2, &["0-7", "has not begun"]);
    let tree = dev.cli.run(&["runs", "show", &run, "--limit", "4"]);
    assert!(tree.stdout.lines().count() < 12, "{}", tree.stdout);
}

#[test]
fn all_that_a_flow_calls_and_is_not_there_is_told_with_its_place() {
    let dev = shared();
    let lost =
        file("chain:\n  - {task: hello/nothing}\n  - group:\n      - {task: nobody/x}\n      - {flow: cli-nowhere}\n");
    let ended = dev.cli.run(&["run", lost.name()]);
    ended.fails(2, &["has 3 problems", "lovage module push", "lovage flow push"]);
    for problem in [
        "at /chain/0 (2:6): there is no task nothing of module hello@",
        "(there is add, greet",
        "at /chain/1/group/0 (4:10): there is no module nobody (there is ",
        "at /chain/1/group/1 (5:10): there is no flow cli-nowhere",
    ] {
        assert!(ended.stderr.contains(problem), "no {problem:?} in {}", ended.stderr);
    }
    let place = |place: &str| ended.stderr.find(place).unwrap();
    assert!(place("/chain/0 ") < place("/chain/1/group/0"), "in the order of the document: {}", ended.stderr);
    dev.cli.run(&["flow", "push", "cli-lost", file("chain: [{task: hello/nothing}]").name()]).output();
    dev.cli.run(&["run", "cli-lost", "--detach"]).fails(2, &["at /flow/chain/0: there is no task nothing"]);
    let parent = file("flow: {flow: cli-lost}");
    dev.cli.run(&["run", parent.name()]).fails(2, &["the flow cli-lost, at /flow/chain/0: there is no task nothing"]);
}

#[test]
fn lists_say_when_nothing_fits_and_write_times_as_other_commands_do() {
    let dev = shared();
    for args in [&["runs", "ls", "--flow", "cli-never"][..], &["runs", "ls", "--flow", "cli-never", "--json"]] {
        let empty = dev.cli.run(args);
        assert!(empty.code == 0 && empty.stderr.contains("no run fits"), "{empty:?}");
    }
    let empty = dev.cli.run(&["flow", "ls", "cli-never"]);
    assert!(empty.code == 0 && empty.stderr.contains("there is no flow cli-never"), "{empty:?}");
    let run = detached(&dev.cli, &[file("name: cli-dated\nflow: {chain: [{value: 1}], labels: {made: here}}").name()]);
    report(&dev.cli, &run, "succeeded");
    let listed = eventually_there("it is listed as ended", || {
        let listed = dev.cli.run(&["runs", "ls", "--label", "made=here", "--state", "succeeded", "--json"]);
        listed.stdout.contains(&run).then(|| listed.json())
    });
    for time in ["started", "ended"] {
        assert!(listed[time].as_str().is_some_and(|time| time.starts_with("20") && time.ends_with('Z')), "{listed}");
    }
    assert_eq!(listed["labels"]["made"], "here", "the labels of a document are the run's");
}

#[test]
fn a_stored_flow_is_checked_and_drawn_by_its_name() {
    let dev = shared();
    dev.cli.run(&["flow", "push", "cli-drawn", file("chain: [{task: hello/add}, {wait: go}]").name()]).output();
    assert_eq!(dev.cli.run(&["flow", "check", "cli-drawn"]).output(), "ok: 3 nodes, tasks: hello/add, signals: go");
    let drawn = dev.cli.run(&["flow", "graph", "cli-drawn@1", "--format", "mermaid"]);
    assert!(drawn.output().contains("hello/add"), "{drawn:?}");
    dev.cli.run(&["flow", "check", "cli-undrawn"]).fails(2, &["find flow cli-undrawn", "lovage flow ls"]);
}

#[test]
fn what_is_refused_says_why_at_once() {
    let dev = shared();
    let typed = file("input: {type: integer}\nflow: {value: 1}");
    dev.cli.run(&["run", typed.name(), "\"x\""]).fails(2, &["error: the input: "]);
}

#[test]
fn wrong_arguments_of_runs_are_named() {
    let dev = shared();
    dev.cli.run(&["runs", "ls", "--state", "sleeping"]).fails(2, &["sleeping"]);
    dev.cli.run(&["runs", "ls", "--since", "yesterday"]).fails(2, &["--since"]);
    dev.cli.run(&["runs", "ls", "--label", "novalue"]).fails(2, &["--label"]);
    dev.cli.run(&["run", "-", "-"]).fails(2, &["stdin"]);
    dev.cli.run(&["flow", "push", "Bad.Name", file("value: 1").name()]).fails(2, &["Bad.Name"]);
    dev.cli.run(&["flow", "push", "cli-bad", file("vlue: 1").name()]).fails(2, &["vlue"]);
}

#[test]
fn a_label_cancels_runs_and_tasks() {
    let dev = shared();
    let cli = &dev.cli;
    let label = ["--label", "cancels=these"];
    let run = detached(cli, &[&[file("flow: {wait: go}").name()], &label[..]].concat());
    report(cli, &run, "running");
    let later = cli.send(&[&["hello/add", "[1, 2]", "--delay", "1h"], &label[..]].concat());
    let listed = || cli.run(&["runs", "ls", "--label", "cancels=these", "--json"]).stdout.contains(&run);
    eventually_there("the run is listed", || listed().then_some(()));
    let cancelled = cli.run(&["cancel", "--label", "cancels=these"]);
    assert_eq!(cancelled.output(), "");
    assert!(cancelled.stderr.contains("cancelled 1 tasks and 1 runs"), "{}", cancelled.stderr);
    assert_eq!(cli.state(&later), "cancelled");
    report(cli, &run, "cancelled");
    cli.run(&["cancel"]).fails(2, &["required"]);
    cli.run(&["cancel", &later, "--label", "a=b"]).fails(2, &["cannot be used with"]);
}

//! `lovage exec FLOW.yaml`: whole flows in one process, with real modules.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::guests;
use crate::support::platform::{Cli, Ended};

/// A folder with a flow in it.
struct Folder(TempDir);

impl Folder {
    fn of(flow: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("flow.yaml", flow);
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Runs the flow with the guest `canvas`.
    fn exec(&self, more: &[&str]) -> Ended {
        let canvas = format!("canvas={}", guests::built("canvas").display());
        self.exec_bare(&[&["--module", &canvas], more].concat())
    }

    /// Runs it without a module.
    fn exec_bare(&self, more: &[&str]) -> Ended {
        let file = self.0.path().join("flow.yaml");
        let cli = Cli { nats: "nats://127.0.0.1:1".to_owned() };
        cli.run(&[&["exec", file.to_str().unwrap()], more].concat())
    }
}

#[test]
fn a_flow_runs_and_prints_its_output_and_its_steps() {
    let folder = Folder::of("chain: [{task: canvas/add, args: [8]}, {group: [{task: canvas/id}, {task: canvas/id}]}]");
    let ended = folder.exec(&["34"]);
    assert_eq!(ended.output(), "[42,42]");
    for step in ["0-0 canvas/add: succeeded", "0-1-0 canvas/id: succeeded", "0-1-1 canvas/id: succeeded"] {
        assert!(ended.stderr.contains(step), "no {step:?} in {ended:?}");
    }
}

#[test]
fn sleeps_and_retries_pass_at_once_on_fast_time() {
    let folder = Folder::of("chain: [{sleep: 300d}, {task: canvas/flaky, delay: 9h}]");
    let ended = folder.exec(&["--fast-time"]);
    assert_eq!(ended.output(), "7");
    assert!(ended.stderr.contains("attempt 1 of 3"), "{ended:?}");
}

#[test]
fn a_failure_names_its_kind_and_its_step() {
    let folder = Folder::of("chain: [{task: canvas/id}, {task: canvas/fail}, {task: canvas/id}]");
    let failed = folder.exec(&["\"refused\""]);
    failed.fails(1, &["error: refused: it was told to", "in step 0-1", "canvas/fail"]);
    assert_eq!(failed.stdout, "");
}

#[test]
fn signals_are_given_before_the_start() {
    let folder = Folder::of("chain: [{wait: go}, {task: canvas/mark}, {wait: stop}]");
    let ended = folder.exec(&["--signal", "go={\"n\": 1}", "--signal", "stop"]);
    assert_eq!(ended.output(), "null");
    assert!(ended.stderr.contains("{\"n\":1}"), "{ended:?}");
    let stuck = folder.exec(&["--fast-time", "--signal", "go"]);
    stuck.fails(2, &["waits for the signal stop, which nobody sends", "--signal stop=JSON"]);
    folder.exec(&["--signal", "go={"]).fails(2, &["--signal", "its payload"]);
}

#[test]
fn a_signal_reaches_the_flow_that_waits_for_it_and_one_that_nobody_awaits_is_told() {
    let folder = Folder::of("chain: [{flow: asks}, {flow: asks}]");
    let flow = format!("asks={}", folder.write("asks.yaml", "wait: go").display());
    let ended = folder.exec(&["--flow", &flow, "--signal", "go=7"]);
    assert_eq!(ended.output(), "7", "child flows get it, also one that begins later");
    assert!(ended.stderr.contains("0-0 flow asks: waits for the run "), "{}", ended.stderr);
    assert!(ended.stderr.contains("0 wait go: waits for the signal go"), "{}", ended.stderr);
    let wrong = folder.exec(&["--flow", &flow, "--signal", "og=7", "--signal", "go=1"]);
    wrong.fails(2, &["waits for the signal og (there is go)"]);
    // A task of this module may hand back a flow that waits.
    let folder = Folder::of("chain: [{task: canvas/id}]");
    let kept = folder.exec(&["1", "--signal", "og=7"]);
    assert_eq!(kept.output(), "1");
    assert!(kept.stderr.contains("no document waits for the signal og"), "{}", kept.stderr);
}

#[test]
fn a_flow_starts_other_flows() {
    let folder = Folder::of("map: {flow: twice}");
    let twice = folder.write("twice.yaml", "chain: [{task: canvas/add, args: [1]}, {task: canvas/add, args: [1]}]");
    let flow = format!("twice={}", twice.display());
    assert_eq!(folder.exec(&["[1, 2]", "--flow", &flow]).output(), "[3,4]");
    folder.exec(&["[1, 2]"]).fails(
        2,
        &["error: at /map (1:7): the flow starts the flow twice, which is not there", "--flow twice=FILE.yaml"],
    );
}

#[test]
fn a_command_module_takes_its_manifest() {
    let folder = Folder::of("chain: [{task: words/two}, {task: canvas/add, args: [40]}]");
    let text = guests::command(
        "(i32.store8 (i32.const 100) (i32.const 50)) (call $say (i32.const 1) (i32.const 100) (i32.const 1))",
    );
    let words = format!("words={}", guests::write(folder.0.path(), "words", &text).display());
    let manifest = folder.write("words.toml", "[tasks.two]\n");
    let manifest = format!("words={}", manifest.display());
    assert_eq!(folder.exec(&["--module", &words, "--manifest", &manifest]).output(), "42");
    folder.exec(&["--module", &words]).fails(2, &["module words has no task two (there is run)"]);
    folder.exec(&["--manifest", &manifest]).fails(2, &["--manifest names the module words"]);
}

#[test]
fn what_is_missing_is_named_before_anything_runs() {
    let folder = Folder::of("chain: [{task: canvas/mark, input: ran}, {task: canvas/none}, {task: other/task}]");
    let ended = folder.exec(&[]);
    ended.fails(2, &["canvas/none", "has no task none (there is add, ", "other/task", "give --module other=FILE.wasm"]);
    assert!(!ended.stderr.contains("ran"), "{ended:?}");
    folder.exec(&["--module", "other=/nowhere.wasm"]).fails(2, &["/nowhere.wasm"]);
    folder.exec(&["not json"]).fails(2, &["the input: it is not JSON"]);
    folder.exec(&["--task", "add"]).fails(2, &["--task is for a module"]);
}

#[test]
fn all_problems_of_a_flow_are_printed() {
    let ended = Folder::of("chain:\n- {tsk: m/t}\n- {sleep: soon}\n").exec_bare(&[]);
    ended.fails(2, &["(did you mean \"task\"?)", "at /chain/1/sleep", "has 2 problems"]);
    let module = guests::built("canvas");
    let cli = Cli { nats: String::new() };
    cli.run(&["exec", module.to_str().unwrap(), "--fast-time"]).fails(2, &["--fast-time is for a flow"]);
}

#[test]
fn a_quiet_flow_prints_its_output_alone() {
    let ended = Folder::of("{task: canvas/mark, input: 1}").exec(&["--quiet"]);
    assert_eq!((ended.output(), ended.stderr.as_str()), ("1", ""));
}

#[test]
fn an_input_must_fit_the_schema_of_its_flow() {
    let folder = Folder::of("name: adds\ninput: {type: integer}\nflow: {task: canvas/add, args: [1]}");
    assert_eq!(folder.exec(&["41"]).output(), "42");
    folder.exec(&["\"x\""]).fails(2, &["the input does not fit the flow", "integer"]);
    folder.exec(&[]).fails(2, &["the input does not fit the flow"]);
}

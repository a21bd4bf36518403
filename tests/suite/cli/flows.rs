//! `lovage flow`: documents are checked and drawn without a server.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::platform::{Cli, Ended};

/// No broker is there: nothing here needs one.
fn flow(args: &[&str]) -> Ended {
    Cli { nats: "nats://127.0.0.1:1".to_owned() }.run(&[&["flow"], args].concat())
}

/// Checks a document, written to a file of that name.
fn check(name: &str, text: &str, more: &[&str]) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), name, text);
    flow(&[&["check", file.to_str().unwrap()], more].concat())
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let file = dir.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_good_document_is_summed_up() {
    let ended = check("f.yaml", "chain:\n- {task: m/b}\n- {task: m@1/a, catch: {wait: go}}\n- {flow: child}\n", &[]);
    assert_eq!(ended.output(), "ok: 5 nodes, tasks: m/b m@1/a, flows: child, signals: go");
    assert_eq!(check("f.json", r#"{"value": 1}"#, &[]).output(), "ok: 1 node");
    let json = check("f.yaml", "name: etl\nflow: {chain: [{task: m/a}, {flow: child@2}]}", &["--json"]).json();
    assert_eq!(
        json,
        json!({"ok": true, "name": "etl", "nodes": 3, "tasks": ["m/a"], "flows": ["child@2"], "signals": []})
    );
}

#[test]
fn a_schema_of_inputs_that_is_none_is_told_with_its_place() {
    let text = "input:\n  type: object\n  properties:\n    pages: {type: arry}\nflow: {value: 1}\n";
    check("f.yaml", text, &[])
        .fails(2, &["at /input/properties/pages/type (4:13): the schema is none: ", "has 1 problem"]);
    let json = r#"{"input": {"$ref": "https://example.org/other.json"}, "flow": {"value": 1}}"#;
    check("f.json", json, &[]).fails(2, &["at /input/$ref: the schema is none: ", "nothing is fetched"]);
    // Wherever a document is read: nothing is drawn of it either.
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "f.yaml", text);
    flow(&["graph", file.to_str().unwrap()]).fails(2, &["the schema is none"]);
}

#[test]
fn problems_are_told_a_line_each() {
    let text = "chain:\n- {tsk: m/t}\n- {sleep: soon}\n";
    let ended = check("f.yaml", text, &[]);
    ended.fails(
        2,
        &[
            "at /chain/0 (2:4): unknown field \"tsk\" (did you mean \"task\"?)\n",
            "at /chain/1/sleep (3:4): ",
            "error: the flow ",
            "has 2 problems",
        ],
    );
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 3));
    let ended = check("f.yaml", text, &["--json"]);
    assert_eq!(ended.code, 2);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        json["problems"][0],
        json!({"place": "/chain/0", "line": 2, "column": 4, "message": "unknown field \"tsk\" (did you mean \"task\"?)"})
    );
    check("f.json", "{chain: []}", &[]).fails(2, &["at 1:2: it is not JSON: key must be a string"]);
    check("f.yaml", "value: ${steps.x}", &[]).fails(2, &["at /value (1:1): there is no step \"x\""]);
    check("f.yaml", "{\"\\u001b[2J\": 1}", &[]).fails(2, &["unknown kind"]);
}

#[test]
fn files_that_cannot_be_read_and_those_that_are_too_large_are_refused() {
    flow(&["check", "/nowhere/flow.yaml"]).fails(2, &["failed to read the flow \"/nowhere/flow.yaml\""]);
    flow(&["graph", "/nowhere/flow.yaml"]).fails(2, &["/nowhere/flow.yaml"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.yaml");
    std::fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    flow(&["check", file.to_str().unwrap()]).fails(2, &["has more than the 1 MiB that is allowed"]);
}

#[test]
fn a_document_comes_from_stdin_too() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"{sleep: 1s}").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let cli = Cli { nats: String::new() };
    let ended: Ended = cli.command(&["flow", "check", "-"]).stdin(file).output().unwrap().into();
    assert_eq!(ended.output(), "ok: 1 node");
}

#[test]
fn a_document_is_drawn_to_stdout_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(dir.path(), "f.yaml", "group: [{task: m/a}, {task: m/b}]");
    let file = file.to_str().unwrap();
    assert!(flow(&["graph", file]).output().starts_with("<svg "));
    assert!(flow(&["graph", file, "--format", "dot"]).output().starts_with("digraph flow {"));
    assert!(flow(&["graph", file, "--format", "mermaid"]).output().starts_with("flowchart TD"));
    let out = dir.path().join("f.svg");
    assert_eq!(flow(&["graph", file, "-o", out.to_str().unwrap()]).output(), "");
    assert!(std::fs::read_to_string(&out).unwrap().ends_with("</svg>\n"));
    let bad = write(dir.path(), "bad.yaml", "group: 1");
    flow(&["graph", bad.to_str().unwrap()]).fails(2, &["at /group (1:1): it takes a list of nodes, not a number"]);
}

#[test]
fn the_schema_is_printed() {
    assert_eq!(flow(&["schema"]).json()["title"], "Lovage flow");
}

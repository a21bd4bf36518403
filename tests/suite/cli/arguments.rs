//! Names and options that are wrong: exit code 2, and what was wrong is named.

use crate::support::platform::{Cli, Ended, shared};

/// Runs a command that must not get as far as asking for a broker.
fn refused(args: &[&str], words: &[&str]) {
    let ended: Ended = Cli { nats: "nats://127.0.0.1:1".to_owned() }.run(args);
    ended.fails(2, words);
}

#[test]
fn names_that_are_none_are_refused() {
    refused(&["call", "Bad.Name/run"], &["Bad.Name"]);
    refused(&["call", "no-slash"], &["no-slash"]);
    refused(&["call", "hello@/add"], &["hello@/add"]);
    refused(&["module", "push", "Bad.Name", "x.wasm"], &["Bad.Name"]);
    refused(&["module", "show", "a/b"], &["a/b"]);
    refused(&["result", "Not.An.Id"], &["Not.An.Id"]);
    refused(&["call", "hello/add", "--queue", "a.b"], &["a.b"]);
    refused(&["call", "hello/add", "--tenant", "*"], &["*"]);
    refused(&["module", "ls", "--tenant", &"x".repeat(65)], &["xxx"]);
}

#[test]
fn options_that_are_none_are_refused() {
    refused(&["call", "hello/add", "--retry", "0"], &["--retry"]);
    refused(&["call", "hello/add", "--retry", "{\"tries\": 1}"], &["--retry"]);
    refused(&["call", "hello/add", "--fuel=-1"], &["--fuel"]);
    refused(&["call", "hello/add", "--fuel", "much"], &["--fuel", "or off"]);
    refused(&["call", "hello/add", "--attempt-timeout", "soon"], &["--attempt-timeout"]);
    refused(&["call", "hello/add", "--label", "novalue"], &["--label"]);
    refused(&["host", "--lease", "forever"], &["--lease"]);
    refused(&["host", "--concurrency", "0"], &["--concurrency", "a number from 1 to 1600"]);
    refused(&["host", "--concurrency", "5000"], &["several hosts on one machine run more"]);
    refused(&["host", "--label", "a,b=c"], &["--label"]);
    refused(&["fly"], &["fly"]);
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let dev = shared();
    dev.cli.run(&["call", "hello/add", "@/nowhere/input.json"]).fails(2, &["/nowhere/input.json"]);
}

#[test]
fn an_input_comes_from_stdin_or_a_file() {
    let dev = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("input.json");
    std::fs::write(&file, "[20, 22]").unwrap();
    assert_eq!(dev.cli.run(&["call", "hello/add", &format!("@{}", file.display())]).output(), "42");
    let stdin = std::fs::File::open(&file).unwrap();
    let ended: Ended = dev.cli.command(&["call", "hello/add", "-"]).stdin(stdin).output().unwrap().into();
    assert_eq!(ended.output(), "42");
}

#[test]
fn modules_tasks_and_versions_that_are_not_there_are_named_before_anything_is_sent() {
    let dev = shared();
    for command in ["call", "send"] {
        let run = |task: &str| dev.cli.run(&[command, task, "null"]);
        run("nothing/run").fails(2, &["error: failed to find module nothing: there is none", "lovage module push"]);
        run("hello@99/add").fails(2, &["failed to find module hello@99: there is none (there is 1)"]);
        run("hello/subtract")
            .fails(2, &["failed to find task subtract of module hello@1: there is none (there is add, greet)"]);
    }
}

#[test]
fn help_and_version_are_printed() {
    let cli = Cli { nats: String::new() };
    assert!(cli.run(&["--version"]).output().starts_with("lovage "));
    for command in [&["--help"][..], &["dev", "--help"], &["module", "push", "--help"], &["call", "--help"]] {
        assert!(cli.run(command).output().contains("Usage: lovage"), "{command:?}");
    }
}

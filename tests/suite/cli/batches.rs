//! `lovage send --batch`, as its users type it.

use std::io::Write as _;

use crate::support::eventually::{eventually, eventually_there};
use crate::support::platform::{Dev, shared};
use crate::support::process::Process;

#[test]
fn a_file_of_inputs_is_sent_and_counted() {
    let dev = shared();
    let cli = &dev.cli;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    (0..500).for_each(|n| writeln!(file, "[{n}, 1]").unwrap());
    let path = file.path().to_str().unwrap();
    let sent = cli.run(&["send", "hello/add", "--batch", path]);
    let id = sent.output().to_owned();
    assert!(sent.stderr.contains("sent 500 tasks, "), "{}", sent.stderr);
    let done = || {
        let shown = cli.run(&["batch", "show", &id, "--json"]).json();
        (shown["states"]["succeeded"] == 500).then_some(shown)
    };
    let shown = eventually_there("all have ended", done);
    assert_eq!((&shown["tasks"], &shown["sent"]), (&500.into(), &500.into()));
    let again = cli.run(&["send", "hello/add", "--batch", path]);
    assert_eq!(again.output(), id);
    assert!(again.stderr.contains("500 of 500 tasks were sent before"), "{}", again.stderr);
    let other = cli.run(&["send", "hello/add", "--batch", path, "--batch-key", "monday"]);
    assert_ne!(other.output(), id);
    assert!(cli.run(&["batch", "ls"]).output().contains(&id));
    assert!(cli.run(&["batch", "show", &id]).output().contains("500 succeeded"));
}

#[test]
fn a_file_with_a_bad_line_is_refused_as_a_whole() {
    let dev = shared();
    let cli = &dev.cli;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for n in 1..=70_010 {
        if n == 70_000 {
            writeln!(file, r#"{{"task": "hello/add", "input": [1, 2], "labels": 7}}"#).unwrap();
        } else {
            writeln!(file, r#"{{"task": "hello/add", "input": [1, 2]}}"#).unwrap();
        }
    }
    let path = file.path().to_str().unwrap();
    let before = cli.run(&["batch", "ls", "--json"]).stdout;
    cli.run(&["send", "--batch", path]).fails(2, &["line 70000: invalid type: integer `7`", "nothing was sent"]);
    assert_eq!(
        cli.run(&["batch", "ls", "--json"]).stdout.lines().filter(|line| line.contains("\"tasks\":70010")).count(),
        0,
        "{before}"
    );
    cli.run(&["send", "--batch", "nowhere.ndjson"]).fails(2, &["failed to read the batch nowhere.ndjson"]);
    cli.run(&["send", "hello/add", "1", "--batch", path]).fails(2, &["cannot be used with"]);
    cli.run(&["send"]).fails(2, &["required"]);
    cli.run(&["batch", "show", "01jd0000000000000000000000"]).fails(2, &["find batch", "there is none"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_killed_is_resumed_without_doubles() {
    let dev = Dev::start();
    let cli = &dev.cli;
    let client = cli.client().await;
    cli.push("hello");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    (0..20_000).for_each(|n| writeln!(file, "[{n}, 1]").unwrap());
    // Nobody serves the queue, so that what is there can be counted.
    let args = ["send", "hello/add", "--queue", "parked", "--batch", file.path().to_str().unwrap()];
    let waiting = || cli.run(&["queue", "show", "parked", "--json"]);
    let count = || (waiting().code == 0).then(|| waiting().json()["waiting"].as_u64()).flatten();
    let mut sender = Process::start(&mut cli.command(&args));
    let first = || async { client.broker().streams.last("lvg.default.task.parked.>").await.unwrap() };
    eventually("the first is sent", first).await;
    sender.kill();
    assert!(count().is_none_or(|sent| sent < 20_000), "it was killed in the middle");
    let resumed = cli.run(&args);
    assert_eq!(count(), Some(20_000));
    let shown = cli.run(&["batch", "show", resumed.output(), "--json"]).json();
    assert_eq!((&shown["tasks"], &shown["sent"]), (&20_000.into(), &20_000.into()));
}

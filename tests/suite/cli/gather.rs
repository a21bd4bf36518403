//! `--singleton` and `--debounce`, as users type them, with real hosts and a real broker.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::{Cli, shared};
use crate::support::seed::{Dice, seed};

fn push(cli: &Cli, name: &str, manifest: &str) -> crate::support::platform::Ended {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("manifest.toml");
    std::fs::write(&file, manifest).unwrap();
    let guest = guests::built("probe");
    cli.run(&["module", "push", name, guest.to_str().unwrap(), "--manifest", file.to_str().unwrap()])
}

#[test]
fn a_second_send_is_the_one_under_way_or_takes_its_place() {
    let dev = shared();
    let cli = &dev.cli;
    let send = |more: &[&str]| cli.run(&[&["send", "probe/wait_cancel", "--singleton", "one"], more].concat());
    let first = send(&[]).output().to_owned();
    let second = send(&[]);
    assert_eq!(second.output(), first);
    assert!(second.stderr.contains("is under way under this singleton key: nothing was submitted"), "{second:?}");
    let other = cli.send(&["probe/wait_cancel", "--singleton", "two"]);
    assert_ne!(other, first);
    let third = send(&["--singleton-mode", "cancel"]).output().to_owned();
    assert_ne!(third, first);
    assert_eq!(cli.state(&first), "cancelled");
    eventually_there("the new one runs", || (cli.state(&third) == "running").then_some(()));
    cli.run(&["cancel", &third, &other]).output();
    let fourth = send(&["--delay", "1h"]).output().to_owned();
    assert!(!fourth.is_empty() && fourth != third);
    assert_eq!(send(&[]).output(), fourth, "a delayed one is under way");
    cli.run(&["cancel", &fourth]).output();
}

#[test]
fn a_call_waits_for_the_one_under_way() {
    let dev = shared();
    let cli = &dev.cli;
    let first = cli.send(&["probe/burn", r#"{"units":300}"#, "--singleton", "calls"]);
    let called = cli.run(&["call", "probe/burn", r#"{"units":1}"#, "--singleton", "calls"]);
    assert!(called.stderr.contains(&format!("{first} is under way")), "{called:?}");
    assert_eq!(called.json(), cli.settled(&first)["output"]);
}

#[test]
fn submitters_that_are_killed_at_any_moment_leave_one_task_at_most() {
    let dev = shared();
    let cli = &dev.cli;
    let mut dice = Dice(seed());
    let args = ["send", "probe/wait_cancel", "--singleton", "killed", "--label", "of=killed"];
    for _ in 0..12 {
        let mut all: Vec<_> =
            (0..3).map(|_| cli.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()).collect();
        let begin = std::time::Instant::now();
        let alive = u128::from(dice.roll() % 60);
        // They are killed about when they publish.
        while begin.elapsed().as_millis() < alive {
            std::thread::yield_now();
        }
        for child in &mut all {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
    let id = cli.run(&args).output().to_owned();
    eventually_there("it runs", || (cli.state(&id) == "running").then_some(()));
    let cancelled = cli.run(&["cancel", "--label", "of=killed"]);
    assert!(cancelled.stderr.contains("cancelled 1 tasks"), "{cancelled:?}");
}

#[test]
fn sends_that_follow_each_other_are_one_task_with_the_last_input() {
    let dev = shared();
    let cli = &dev.cli;
    let options = ["--debounce", "3s", "--debounce-key", "doc 7", "--debounce-timeout", "1m"];
    let send = |input| cli.run(&[&["send", "probe/echo", input], &options[..]].concat());
    let ids: BTreeSet<String> = ["1", "2", "3"].map(|input| send(input).output().to_owned()).into();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let id = ids.first().unwrap();
    let joined = send("4");
    assert!(joined.stderr.contains("waits under this debounce: it takes this input"), "{joined:?}");
    cli.run(&["result", id]).fails(3, &["scheduled", "waiting for more calls under its debounce until"]);
    assert_eq!(cli.settled(id)["output"], 4);
    let call = |input| cli.run(&["call", "probe/echo", input, "--debounce", "1s", "--debounce-key", "call"]);
    assert_eq!(call("5").output(), "5");
    assert_ne!(send("6").output(), id);
}

#[test]
fn a_task_declares_what_holds_for_its_calls_and_a_schedule_obeys_a_singleton() {
    let dev = shared();
    let cli = &dev.cli;
    let manifest =
        "[singleton.burn]\nkey = \"${input.units}\"\n\n[debounce.echo]\nkey = \"${input.doc}\"\nperiod = \"2s\"\n";
    push(cli, "gathered", manifest).output();
    let send = |task: &str, input: &str| cli.run(&["send", &format!("gathered/{task}"), input]);
    // Nobody serves the queue: what waits there is under way.
    let wait = |input: &str| cli.send(&["gathered/burn", input, "--queue", "gathered-idle"]);
    let first = wait(r#"{"units":1}"#);
    assert_eq!(wait(r#"{"units":1}"#), first);
    let second = wait(r#"{"units":2}"#);
    assert_ne!(second, first);
    let one = send("echo", r#"{"doc":1,"v":1}"#).output().to_owned();
    assert_eq!(send("echo", r#"{"doc":1,"v":2}"#).output(), one);
    assert_eq!(cli.settled(&one)["output"]["v"], 2);
    let rules = ["--every", "1s", "--overlap", "allow"];
    let task = ["--task", "gathered/burn", r#"{"units":1}"#];
    cli.run(&[&["schedule", "create", "gathered-now"], &rules[..], &task].concat()).output();
    eventually_there("it has started", || {
        let shown = cli.run(&["schedule", "show", "gathered-now"]);
        shown.output().contains("forgotten").then_some(())
    });
    cli.run(&["schedule", "rm", "gathered-now"]).output();
    assert_eq!(cli.state(&first), "queued", "its slots start nothing meanwhile");
    cli.run(&["cancel", &first, &second]).output();
    send("burn", r#"{"units":[]}"#).fails(2, &["singleton key of gathered/burn", "yields a list"]);
    send("echo", "{}").fails(2, &["debounce key of gathered/echo", "doc"]);
    let once = ["send", "gathered/echo", "{}", "--idempotency-key", "k"];
    cli.run(&once).fails(2, &["its task declares a debounce, and an idempotency key names one task"]);
}

#[test]
fn wrong_singletons_and_debounces_are_refused_with_what_they_take() {
    let dev = shared();
    let cli = &dev.cli;
    let long = "k".repeat(257);
    for (more, words) in [
        (&["--singleton", ""][..], "--singleton: a key takes 1 to 256 bytes"),
        (&["--singleton", &long], "1 to 256 bytes"),
        (&["--singleton", "k", "--singleton-mode", "queue"], "it takes skip or cancel"),
        (&["--singleton-mode", "skip"], "--singleton"),
        (&["--debounce", "0s"], "it takes 1s to 7d"),
        (&["--debounce", "8d"], "it takes 1s to 7d"),
        (&["--debounce", "5s", "--debounce-timeout", "1s"], "its period to 30d"),
        (&["--debounce", "5s", "--debounce-key", ""], "--debounce-key: a key takes 1 to 256 bytes"),
        (&["--debounce", "soon"], "it takes a duration"),
        (&["--debounce-key", "k"], "--debounce"),
        (&["--debounce", "5s", "--delay", "1m"], "cannot be used with"),
        (&["--debounce", "5s", "--singleton", "k"], "not both"),
        (&["--singleton", "k", "--idempotency-key", "k"], "an idempotency key names one task of its own"),
    ] {
        cli.run(&[&["send", "hello/add", "[1, 2]"], more].concat()).fails(2, &[words]);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.ndjson");
    std::fs::write(&file, "[1, 2]\n").unwrap();
    for option in [["--singleton", "k"], ["--debounce", "5s"]] {
        let batch = [&["send", "hello/add", "--batch", file.to_str().unwrap()], &option[..]].concat();
        cli.run(&batch).fails(2, &["a batch takes no singleton and no debounce"]);
    }
    for (text, words) in [
        ("[singleton.nothing]\n", "singleton.nothing: the module has no such task"),
        ("[singleton.burn]\nmode = \"queue\"\n", "unknown variant"),
        ("[singleton.burn]\nkey = \"${prev}\"\n", "nothing but input"),
        ("[debounce.burn]\nperiod = \"0s\"\n", "1s to 7d"),
        ("[debounce.burn]\n", "period"),
        ("[debounce.burn]\nperiod = \"9s\"\ntimeout = \"1s\"\n", "its period to 30d"),
        ("[singleton.burn]\n[debounce.burn]\nperiod = \"9s\"\n", "not both"),
    ] {
        push(cli, "gathered-wrong", text).fails(2, &[words]);
    }
}

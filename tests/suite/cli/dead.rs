//! `lovage dead`, as its users type it.

use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::{Cli, shared};

/// Two attempts, the second at once.
const POLICY: &str = r#"{"attempts": 2, "backoff": "10ms"}"#;

/// A task that fails twice, with a label by which the test finds it.
fn failed(cli: &Cli, module: &str, label: &str) -> String {
    let task = format!("{module}/flaky");
    let id = cli.send(&[&task, r#"{"until": 9}"#, "--retry", POLICY, "--label", label]);
    assert_eq!(cli.settled(&id)["state"], "failed");
    eventually_there("its letter", || (cli.run(&["dead", "show", &id]).code == 0).then_some(id.clone()))
}

#[test]
fn a_dead_letter_is_listed_shown_and_sent_again_with_another_input() {
    let dev = shared();
    let cli = &dev.cli;
    let id = failed(cli, "probe", "test=one");
    let listed =
        cli.run(&["dead", "ls", "--label", "test=one", "--kind", "returned", "--task", "probe/flaky", "--since", "1h"]);
    let row = listed.output().lines().nth(1).unwrap().to_owned();
    assert!(row.starts_with(&id) && row.contains("returned: attempt 2 of 9"), "{row}");
    let shown = cli.run(&["dead", "show", &id]);
    for part in [
        "probe@1/flaky in queue default",
        ": returned: attempt 1 of 9\n",
        "attempt 2 on ",
        "failure returned",
        r#"input {"until": 9}"#,
    ] {
        assert!(shown.output().contains(part), "{part}: {}", shown.stdout);
    }
    let shown = cli.run(&["dead", "show", &id, "--json"]).json();
    assert_eq!((&shown["attempts"], &shown["tried"][0]["attempt"]), (&2.into(), &1.into()));
    assert_eq!(shown["tried"][0]["host"], shown["host"]);
    let new = cli.run(&["dead", "replay", &id, "--input", r#"{"until": 1}"#]).output().to_owned();
    assert_eq!(cli.settled(&new)["output"], 1);
    cli.run(&["dead", "show", &id]).fails(2, &["find dead letter", "there is none"]);
}

#[test]
fn many_are_sent_again_by_filter_or_dropped() {
    let dev = shared();
    let cli = &dev.cli;
    let old: Vec<String> = (0..5).map(|_| failed(cli, "probe", "test=many")).collect();
    let replayed = cli.run(&["dead", "replay", "--all", "--label", "test=many"]);
    let new: Vec<&str> = replayed.output().lines().collect();
    assert_eq!(new.len(), 5);
    assert!(new.iter().all(|id| !old.contains(&(*id).to_owned())));
    let all_failed = || {
        let listed = cli.run(&["dead", "ls", "--label", "test=many", "--json"]);
        (listed.output().lines().count() == 5).then_some(listed)
    };
    let listed = eventually_there("all have failed again", all_failed);
    assert!(listed.stdout.lines().all(|line| line.contains("replay_of")), "{}", listed.stdout);
    let dropped = cli.run(&["dead", "rm", "--all", "--label", "test=many"]);
    assert!(dropped.stderr.contains("dropped 5"), "{}", dropped.stderr);
    assert_eq!(cli.run(&["dead", "ls", "--label", "test=many", "--json"]).output(), "");
    cli.run(&["dead", "replay"]).fails(2, &["required"]);
    cli.run(&["dead", "rm", "x", "--queue", "q"]).fails(2, &["filters go with --all"]);
    cli.run(&["dead", "ls", "--kind", "sadness"]).fails(2, &["sadness"]);
}

#[test]
fn a_task_whose_module_is_gone_is_refused_and_goes_to_the_latest_version() {
    let dev = shared();
    let cli = &dev.cli;
    let file = guests::built("probe");
    let push = |version: &str| cli.run(&["module", "push", &format!("goes@{version}"), file.to_str().unwrap()]);
    push("1").output();
    let id = failed(cli, "goes", "test=gone");
    push("2").output();
    cli.run(&["module", "rm", "goes@1"]).output();
    let refused = || Some(cli.run(&["dead", "replay", &id])).filter(|ended| ended.code != 0);
    refused().unwrap().fails(2, &["find module goes@1: there is none", "--latest"]);
    let new = cli.run(&["dead", "replay", &id, "--latest", "--input", r#"{"until": 1}"#]).output().to_owned();
    assert_eq!(cli.settled(&new)["output"], 1);
}

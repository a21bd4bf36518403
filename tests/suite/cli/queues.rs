//! `lovage queue`, as its users type it.

use crate::support::eventually::eventually_there;
use crate::support::platform::shared;

#[test]
fn a_queue_is_shown_paused_resumed_and_purged() {
    let dev = shared();
    let cli = &dev.cli;
    let _host = cli.host(&["--queues", "steel=3,wool", "--concurrency", "4"]);
    let listed = || cli.run(&["queue", "ls"]);
    eventually_there("both are served", || {
        let text = listed().stdout;
        (text.contains("steel") && text.contains("wool")).then_some(())
    });
    cli.run(&["queue", "pause", "steel", "--note", "the furnace is cold"]).output();
    let waits = eventually_there("a task waits", || {
        let id = cli.send(&["hello/add", "[1, 2]", "--queue", "steel"]);
        (cli.run(&["queue", "show", "steel", "--json"]).json()["waiting"] == 1).then_some(id)
    });
    let row = listed().output().lines().find(|line| line.starts_with("steel")).unwrap().to_owned();
    assert!(row.contains("paused") && row.contains("the furnace is cold"), "{row}");
    let shown = cli.run(&["queue", "show", "steel"]);
    for part in ["steel: paused, 1 wait, 0 run", "the oldest has been there for", "paused since"] {
        assert!(shown.output().contains(part), "{part}: {}", shown.stdout);
    }
    cli.run(&["queue", "purge", "steel"]).fails(2, &["1 tasks wait in steel and 0 run", "--yes"]);
    let second = cli.send(&["hello/add", "[1, 2]", "--queue", "steel"]);
    cli.run(&["cancel", &second]).output();
    cli.run(&["queue", "resume", "steel"]).output();
    assert_eq!(cli.settled(&waits)["output"], 3);
    cli.run(&["queue", "pause", "wool"]).output();
    let third = eventually_there("a task waits", || {
        let id = cli.send(&["hello/add", "[1, 2]", "--queue", "wool"]);
        (cli.run(&["queue", "show", "wool", "--json"]).json()["waiting"] == 1).then_some(id)
    });
    let purged = cli.run(&["queue", "purge", "wool", "--yes"]);
    assert!(purged.stderr.contains("cancelled 1"), "{}", purged.stderr);
    assert_eq!(cli.state(&third), "cancelled");
    cli.run(&["queue", "show", "nowhere"]).fails(2, &["find queue nowhere", "lovage queue ls"]);
}

#[test]
fn a_weight_is_a_number_that_leaves_something_for_the_others() {
    let dev = shared();
    for (queues, words) in
        [("a=0", "from 1 to 1000"), ("a=1001", "from 1 to 1000"), ("a=x", "from 1 to 1000"), ("A=1", "a-z")]
    {
        dev.cli.run(&["host", "--queues", queues]).fails(2, &[words]);
    }
}

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

#[test]
fn a_priority_is_a_number_from_0_to_9() {
    let dev = shared();
    for args in [
        &["send", "hello/add", "[1, 2]"][..],
        &["call", "hello/add", "[1, 2]"],
        &["schedule", "create", "x", "--every", "1h", "--task", "hello/add"],
    ] {
        dev.cli.run(&[args, &["--priority", "10"]].concat()).fails(2, &["a number from 0 to 9, 9 first"]);
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, br#"{"task":"hello/add","input":[1,2],"priority":10}"#).unwrap();
    let sent = dev.cli.run(&["send", "--batch", file.path().to_str().unwrap()]);
    sent.fails(2, &["line 1: priority: it takes a number from 0 to 9, 9 first", "nothing was sent"]);
    assert_eq!(dev.cli.run(&["call", "hello/add", "[1, 2]", "--priority", "9"]).output(), "3");
    assert_eq!(dev.cli.run(&["call", "hello/add", "[1, 2]", "--priority", "0"]).output(), "3");
}

#[test]
fn what_waits_is_shown_by_priority_and_says_what_it_waits_for() {
    let dev = shared();
    let cli = &dev.cli;
    for priority in ["9", "9", "0"] {
        cli.send(&["hello/add", "[1, 2]", "--queue", "tin", "--priority", priority]);
    }
    let id = cli.send(&["hello/add", "[1, 2]", "--queue", "tin", "--require", "gpu=yes"]);
    let listed = cli.run(&["queue", "ls"]);
    let row = listed.output().lines().find(|line| line.starts_with("tin")).unwrap().to_owned();
    assert!(row.contains("unserved") && row.contains("9:2 5:1 0:1"), "it is listed though nobody served it: {row}");
    let shown = cli.run(&["queue", "show", "tin"]);
    for part in [
        "tin: unserved, 4 wait, 0 run",
        "priority 9: 2 wait, for a host, 0 run",
        "priority 5: 1 wait, for a host with gpu=yes: there is none, 0 run",
        "hosts: 0 with 0 slots",
        "hosts wanted: 1",
        "no host has ever served it",
    ] {
        assert!(shown.output().contains(part), "{part}: {}", shown.stdout);
    }
    cli.run(&["result", &id]).fails(3, &["queued", "waiting for a host with gpu=yes"]);
    let _host = cli.host(&["--queues", "tin", "--label", "gpu=no"]);
    eventually_there("the others are done", || {
        let view = cli.run(&["queue", "show", "tin", "--json"]).json();
        (view["waiting"] == 1 && view["running"] == 0).then_some(())
    });
    assert_eq!(cli.state(&id), "queued");
    let _able = cli.host(&["--queues", "tin", "--label", "gpu=yes"]);
    assert_eq!(cli.settled(&id)["output"], 3);
    let view = cli.run(&["queue", "show", "tin", "--json"]).json();
    assert_eq!((&view["hosts_wanted"], &view["waiting"]), (&0.into(), &0.into()));
}

#[test]
fn a_queue_requires_labels_and_is_moved() {
    let dev = shared();
    let cli = &dev.cli;
    let required = cli.run(&["queue", "require", "zinc", "gpu=yes", "region=eu"]);
    assert!(required.stderr.contains("zinc is for hosts with gpu=yes,region=eu"), "{}", required.stderr);
    assert!(required.stderr.contains("no host has these labels now"), "{}", required.stderr);
    let _bare = cli.host(&["--queues", "zinc,lead", "--label", "gpu=yes"]);
    let ids = [(); 3].map(|()| cli.send(&["hello/add", "[1, 2]", "--queue", "zinc"]));
    let here = cli.run(&["call", "hello/add", "[1, 2]", "--queue", "lead"]);
    assert_eq!(here.output(), "3");
    let shown = cli.run(&["queue", "show", "zinc"]);
    assert!(shown.output().contains("only for hosts with gpu=yes,region=eu"), "{}", shown.stdout);
    assert!(shown.output().contains("zinc: unserved, 3 wait, 0 run"), "{}", shown.stdout);
    let moved = cli.run(&["queue", "move", "zinc", "lead", "--limit", "1"]);
    assert!(moved.stderr.contains("moved 1 from zinc to lead"), "{}", moved.stderr);
    let moved = cli.run(&["queue", "move", "zinc", "lead"]);
    assert!(moved.stderr.contains("moved 2 from zinc to lead"), "{}", moved.stderr);
    for id in &ids {
        assert_eq!(cli.settled(id)["output"], 3);
    }
    let last = cli.send(&["hello/add", "[1, 2]", "--queue", "zinc"]);
    assert_eq!(cli.state(&last), "queued");
    cli.run(&["queue", "require", "zinc", "--none"]).output();
    assert_eq!(cli.settled(&last)["output"], 3);
    cli.run(&["queue", "require", "zinc"]).fails(2, &["K=V"]);
    cli.run(&["queue", "require", "zinc", "gpu"]).fails(2, &["key=value"]);
    cli.run(&["queue", "move", "zinc", "zinc"]).fails(2, &["cannot be moved to itself"]);
    cli.run(&["queue", "move", "zinc", "lead", "--limit", "0"]).fails(2, &["--limit"]);
    cli.run(&["queue", "move", "nowhere", "lead"]).fails(2, &["find queue nowhere"]);
}

//! Limits across the fleet, as users type them, with real hosts and a real broker.

use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::shared;

#[test]
fn a_task_declares_a_limit_for_each_key_of_its_input_which_steps_obey_too() {
    let dev = shared();
    let cli = &dev.cli;
    let dir = tempfile::tempdir().unwrap();
    let manifest = dir.path().join("fleet.toml");
    std::fs::write(&manifest, "[fleet.burn]\nconcurrency = 1\nkey = \"units-${input.units}\"\n").unwrap();
    let (file, manifest) = (guests::built("probe"), manifest.to_str().unwrap().to_owned());
    let push = |manifest: &str| cli.run(&["module", "push", "narrow", file.to_str().unwrap(), "--manifest", manifest]);
    push(&manifest).output();
    let ids: Vec<String> = (0..6).map(|_| cli.send(&["narrow/burn", r#"{"units":5}"#])).collect();
    for id in &ids {
        assert_eq!(cli.settled(id)["state"], "succeeded");
    }
    let shown = cli.run(&["limits", "show", "task narrow/burn key units-5", "--json"]).json()["limit"].clone();
    assert_eq!((&shown["rule"]["concurrency"], &shown["waiting"]), (&1.into(), &0.into()));
    assert!(cli.run(&["limits", "ls"]).output().contains("task narrow/burn key units-5"));
    let flow = dir.path().join("flow.yaml");
    let text = "map: {task: narrow/burn, input: {units: '${item}'}, limit_key: 'of the flow'}\nover: [3, 3, 3, 3]\n";
    std::fs::write(&flow, text).unwrap();
    let ran = cli.run(&["run", flow.to_str().unwrap()]);
    assert_eq!(ran.json().as_array().unwrap().len(), 4, "{ran:?}");
    assert!(cli.run(&["limits", "ls"]).output().contains("task narrow/burn key of the flow"));
    cli.run(&["send", "narrow/burn", "{}"]).fails(2, &["limit key of narrow/burn", "units"]);
    for (text, words) in [
        ("[fleet.burn]\nrate = \"0/s\"\n", "10/s or 600/h"),
        ("[fleet.burn]\nconcurrency = 0\n", "from 1 to 1000"),
        ("[fleet.burn]\nkey = \"k\"\n", "a rate, a concurrency, or both"),
        ("[fleet.burn]\nconcurrency = 1\nkey = \"${prev}\"\n", "nothing but input"),
        ("[fleet.nothing]\nconcurrency = 1\n", "no such task"),
    ] {
        std::fs::write(&manifest, text).unwrap();
        push(&manifest).fails(2, &[words]);
    }
}

#[test]
fn a_host_that_is_killed_with_a_place_loses_nothing() {
    let dev = shared();
    let cli = &dev.cli;
    let options = ["--queues", "narrow-kill", "--concurrency", "4", "--lease", "1s"];
    let mut doomed = cli.host(&options);
    let limit = ["--queue", "narrow-kill", "--limit-key", "kill", "--concurrency", "1"];
    let send = |task, input| cli.send(&[&[task, input], &limit[..]].concat());
    let first = send("probe/wait_cancel", "null");
    eventually_there("it runs", || (cli.state(&first) == "running").then_some(()));
    let others: Vec<String> = (0..5).map(|n| send("probe/echo", ["0", "1", "2", "3", "4"][n])).collect();
    eventually_there("the others wait", || others.iter().all(|id| cli.state(id) == "scheduled").then_some(()));
    cli.run(&["result", &others[2]]).fails(3, &["waiting for the limit of key kill"]);
    assert_eq!(cli.run(&["limits", "show", "key kill", "--json"]).json()["limit"]["waiting"], 5);
    assert!(cli.run(&["queue", "ls"]).stderr.contains(" more wait under limits: lovage limits ls"));
    doomed.kill();
    let _heir = cli.host(&options);
    eventually_there("it runs again", || (cli.state(&first) == "running").then_some(()));
    cli.run(&["cancel", &first]).output();
    for (n, id) in others.iter().enumerate() {
        assert_eq!(cli.settled(id)["output"], n, "in whatever order, each once");
    }
}

#[test]
fn a_queue_is_limited_and_not_any_more() {
    let dev = shared();
    let cli = &dev.cli;
    let _host = cli.host(&["--queues", "narrow-queue"]);
    cli.run(&["queue", "limit", "narrow-queue", "--rate", "600/h", "--burst", "2"]).output();
    let send = || cli.send(&["hello/add", "[1, 2]", "--queue", "narrow-queue"]);
    let ids = [send(), send(), send(), send()];
    let ended = |id: &String| cli.state(id) == "succeeded";
    eventually_there("two run at once", || (ids.iter().filter(|id| ended(id)).count() >= 2).then_some(()));
    eventually_there("the others wait", || {
        (ids.iter().filter(|id| cli.state(id) == "scheduled").count() == 2).then_some(())
    });
    cli.run(&["queue", "limit", "narrow-queue"]).output();
    for id in &ids {
        assert_eq!(cli.settled(id)["output"], 3);
    }
}

#[test]
fn wrong_limits_are_refused_with_what_they_take() {
    let dev = shared();
    let long = "k".repeat(257);
    for (more, words) in [
        (&["--limit-key", "k", "--rate", "0/s"][..], "10/s or 600/h"),
        (&["--limit-key", "k", "--rate", "100000/s"], "up to 10000/s"),
        (&["--limit-key", "k", "--rate", "10/s", "--burst", "0"], "from 1 to 1000"),
        (&["--limit-key", "k", "--concurrency", "1001"], "from 1 to 1000"),
        (&["--limit-key", "", "--concurrency", "1"], "1 to 256 bytes"),
        (&["--limit-key", &long, "--concurrency", "1"], "1 to 256 bytes"),
        (&["--rate", "10/s"], "take a --limit-key"),
        (&["--limit-key", "k"], "declares none"),
        (&["--limit-key", "k", "--burst", "2"], "--rate"),
    ] {
        dev.cli.run(&[&["send", "hello/add", "[1, 2]"], more].concat()).fails(2, &[words]);
    }
    dev.cli.run(&["queue", "limit", "q", "--concurrency", "0"]).fails(2, &["from 1 to 1000"]);
    dev.cli.run(&["limits", "show", "key nobody"]).fails(2, &["find limit \"key nobody\""]);
}

//! `lovage schedule`, as its users type it.

use serde_json::Value;

use crate::support::eventually::eventually_there;
use crate::support::platform::shared;

#[test]
fn a_schedule_starts_tasks_and_shows_what_became_of_them() {
    let dev = shared();
    let cli = &dev.cli;
    let create =
        ["schedule", "create", "ticks", "--every", "1s", "--task", "hello/add", "[20, 22]", "--overlap", "allow"];
    let made = cli.run(&create);
    assert_eq!(made.output(), "ticks");
    assert!(made.stderr.contains("next slot "), "{}", made.stderr);
    let show = || cli.run(&["schedule", "show", "ticks", "--json"]).json();
    let done = |shown: &Value| {
        let recent = shown["recent"].as_array().unwrap();
        recent
            .iter()
            .filter(|begun| begun["state"] == "succeeded")
            .map(|begun| begun["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ids = eventually_there("two starts succeed", || Some(done(&show())).filter(|done| done.len() >= 2));
    assert_eq!(cli.run(&["result", &ids[0]]).output(), "42");
    cli.run(&["schedule", "pause", "ticks", "--note", "for a test"]).output();
    let shown = show();
    assert_eq!((&shown["state"], &shown["paused"]["note"]), (&"paused".into(), &"for a test".into()));
    let text = cli.run(&["schedule", "show", "ticks"]);
    for part in ["ticks: every 1s, starts hello/add", "paused since", "SLOT", "succeeded"] {
        assert!(text.output().contains(part), "{part}: {}", text.stdout);
    }
    let id = cli.run(&["schedule", "trigger", "ticks"]).output().to_owned();
    assert_eq!(cli.settled(&id)["output"], 42);
    let (from, to) = (
        shown["recent"].as_array().unwrap().last().unwrap()["slot"].as_str().unwrap().to_owned(),
        shown["recent"][0]["slot"].as_str().unwrap().to_owned(),
    );
    let filled = cli.run(&["schedule", "backfill", "ticks", &from, &to]);
    let first = filled.output().lines().next().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(cli.settled(&first)["output"], 42);
    let listed = cli.run(&["schedule", "ls"]);
    assert!(
        listed.output().lines().any(|line| line.starts_with("ticks") && line.contains("paused")),
        "{}",
        listed.stdout
    );
    cli.run(&["schedule", "resume", "ticks"]).output();
    assert_eq!(show()["state"], "active");
    cli.run(&["schedule", "rm", "ticks"]).output();
    cli.run(&["schedule", "show", "ticks"]).fails(2, &["find schedule ticks: there is none", "lovage schedule ls"]);
}

#[test]
fn a_schedule_starts_runs_of_a_stored_flow() {
    let dev = shared();
    let cli = &dev.cli;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("flow.yaml");
    std::fs::write(&file, "flow: {task: hello/add, args: [2]}").unwrap();
    cli.run(&["flow", "push", "timed", file.to_str().unwrap()]).output();
    let create =
        ["schedule", "create", "timed", "--cron", "0 0 1 1 *", "--zone", "Asia/Tokyo", "--flow", "timed", "40"];
    cli.run(&create).output();
    let run = cli.run(&["schedule", "trigger", "timed"]).output().to_owned();
    assert_eq!(cli.run(&["runs", "watch", &run]).output(), "42");
    let listed = cli.run(&["runs", "ls", "--label", "schedule=timed", "--json"]);
    assert!(listed.output().contains(&run), "{}", listed.stdout);
    let shown = cli.run(&["schedule", "show", "timed"]);
    assert!(shown.output().contains("00:00:00 JST"), "{}", shown.stdout);
    cli.run(&[&create[..], &["--retry", "5"]].concat()).fails(2, &["a flow names its own"]);
    cli.run(&create).fails(2, &["there is one of this name", "--replace"]);
    cli.run(&[&create[..], &["--replace"]].concat()).output();
    cli.run(&["schedule", "rm", "timed"]).output();
}

#[test]
fn the_next_slots_are_shown_without_a_broker() {
    let dev = shared();
    let dry = ["schedule", "create", "x", "--task", "m/t", "--dry-run", "--from", "2026-10-24T00:00:00Z"];
    let slots = dev.cli.run(&[&dry[..], &["--cron", "30 2 * * *", "--zone", "Europe/Berlin"]].concat());
    let first = "2026-10-24T00:30:00.000Z  Sat 2026-10-24 02:30:00 CEST\n2026-10-25T00:30:00.000Z  Sun 2026-10-25 02:30:00 CEST\n2026-10-26T01:30:00.000Z  Mon 2026-10-26 02:30:00 CET\n";
    assert!(slots.output().starts_with(first), "{}", slots.stdout);
}

#[test]
fn what_cannot_be_a_schedule_is_refused_by_name() {
    let dev = shared();
    let task = ["--task", "hello/add", "[1, 2]"];
    for (args, words) in [
        (&["--cron", "0 0 30 2 *"][..], "cron \"0 0 30 2 *\": no date in UTC ever fits it"),
        (&["--cron", "61 * * * *"], "five fields"),
        (&["--cron", "* * * * *", "--zone", "Europe/Berlinn"], "is it Europe/Berlin?"),
        (&["--at", "2026-10-25T02:30", "--zone", "Europe/Berlin"], "comes twice on that day"),
        (&["--at", "2027-03-28T02:30", "--zone", "Europe/Berlin"], "does not exist on that day"),
        (&["--at", "2020-01-01T00:00:00Z"], "is over"),
        (&["--at", "soon"], "RFC 3339"),
        (&["--every", "10ms"], "at least 1s"),
        (&["--every", "-5s"], "unexpected argument"),
        (&["--every", "400d"], "of a year at most"),
        (&["--every", "5s", "--cron", "* * * * *"], "cannot be used with"),
        (&["--every", "5s", "--overlap", "both"], "skip, queue, allow or cancel"),
        (
            &["--every", "5s", "--until", "2020-01-01T00:00:00Z"],
            "until 2020-01-01T00:00:00.000Z: the first time would be",
        ),
        (&[], "required"),
    ] {
        let args = [&["schedule", "create", "bad"], args, &task].concat();
        let ended = dev.cli.run(&args);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
    }
    let unknown = ["schedule", "create", "bad", "--every", "5s", "--task", "hello/subtract"];
    dev.cli.run(&unknown).fails(2, &["find task subtract of module hello"]);
    for verb in [&["pause"][..], &["resume"], &["trigger"], &["rm"], &["show"]] {
        let args = [&["schedule"], verb, &["nobody"]].concat();
        dev.cli.run(&args).fails(2, &["find schedule nobody: there is none"]);
    }
}

#[test]
fn a_task_is_sent_for_later() {
    let dev = shared();
    let id = dev.cli.send(&["hello/add", "[1, 2]", "--delay", "2s"]);
    assert_eq!(dev.cli.state(&id), "scheduled");
    assert_eq!(dev.cli.settled(&id)["output"], 3);
    dev.cli.run(&["send", "hello/add", "--delay", "10s", "--expires", "5s"]).fails(2, &["would have expired"]);
    dev.cli.run(&["send", "hello/add", "--at", "2020-01-01T00:00:00Z"]).fails(2, &["that is over"]);
}

//! What is told of tasks, runs, schedules and hosts: live, and afterwards.

use serde_json::Value as Json;

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::platform::{Cli, Dev};
use crate::support::process::Process;

/// Past events with these options, as JSON.
fn events(cli: &Cli, options: &[&str]) -> Vec<Json> {
    let listed = cli.run(&[&["events", "--json"], options].concat());
    listed.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(events: &[Json]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

/// `lovage events -f` that hears already.
fn following(cli: &Cli, options: &[&str]) -> Process {
    let process = Process::start(&mut cli.command(&[&["events", "-f"], options].concat()));
    eventually_there("it hears", || {
        let id = cli.send(&["hello/add", "[0, 0]", "--label", "probe=yes", "--queue", "probes"]);
        cli.run(&["cancel", &id]).output();
        process.has_said(&id).then_some(())
    });
    process
}

#[test]
fn what_happens_to_a_task_is_told_as_it_happens() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &[]);
    let cli = &dev.cli;
    cli.push("hello");
    cli.push("probe");
    let all = following(cli, &[]);
    let failures = following(cli, &["--kind", "task.failed,*.cancelled"]);
    let id = cli.send(&["probe/steps", r#"{"n": 2}"#, "--label", "team=a"]);
    let policy = r#"{"attempts": 2, "backoff": "10ms", "jitter": false}"#;
    let failed = cli.send(&["probe/flaky", r#"{"until": 9}"#, "--retry", policy]);
    assert_eq!((&cli.settled(&id)["state"], &cli.settled(&failed)["state"]), (&"succeeded".into(), &"failed".into()));
    for (kind, of, more) in [
        ("task.queued", &id, "probe@1/steps attempt 1"),
        ("task.running", &id, "probe@1/steps attempt 1 on "),
        ("task.progress", &id, "probe"),
        ("task.succeeded", &id, "probe@1/steps attempt 1 on "),
        ("task.retrying", &failed, "attempt 2 returned: attempt 1 of 9"),
        ("task.failed", &failed, "probe@1/flaky attempt 2 on "),
    ] {
        let fits = |line: &str| line.contains(&format!(" {kind} ")) && line.contains(&format!(" {of} "));
        if kind != "task.progress" {
            let line = all.line(kind, fits);
            assert!(line.contains(more), "{more}: {line}");
        }
    }
    failures.line("the failure", |line| line.contains("task.failed") && line.contains(&failed));
    assert!(!failures.has_said(&id), "it was not asked for");
    // Afterwards.
    let of = |options: &[&str]| events(cli, options);
    assert_eq!(kinds(&of(&["--label", "team=a", "--kind", "task.succeeded"])), ["task.succeeded"]);
    let past = of(&["--task", "probe/flaky", "--kind", "*.failed", "--since", "10m"]);
    assert_eq!((kinds(&past), &past[0]["failure"]["kind"]), (vec!["task.failed"], &"returned".into()));
    assert_eq!(past[0]["queue"], "default");
    assert!(of(&["--queue", "images"]).is_empty() && of(&["--since", "1ms"]).is_empty());
    let times: Vec<Json> = of(&[]).iter().map(|event| event["at"].clone()).collect();
    assert!(times.len() > 3 && times.is_sorted_by_key(|time| time.as_str().unwrap().to_owned()), "{times:?}");
    cli.run(&["events", "--kind", "tasks"]).fails(2, &["as in task.failed"]);
}

#[test]
fn runs_steps_and_schedules_have_events() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &[]);
    let cli = &dev.cli;
    cli.push("hello");
    let flow = data.path().join("sums.yaml");
    std::fs::write(&flow, "name: sums\nflow: {chain: [{task: hello/add, args: [2]}, {task: hello/add, args: [3]}]}\n")
        .unwrap();
    let live = Process::start(&mut cli.command(&["events", "-f", "--kind", "run,step,schedule", "--since", "1h"]));
    let run = cli.run(&["run", flow.to_str().unwrap(), "1", "--detach"]).output().to_owned();
    live.line("it ends", |line| line.contains("run.succeeded") && line.contains(&run));
    live.line("a step ends", |line| line.contains("step.succeeded") && line.contains(&format!("{run}/0-1")));
    cli.run(&["schedule", "create", "later", "--every", "1h", "--task", "hello/add", "[1, 2]"]).output();
    live.line("a schedule", |line| line.contains("schedule.changed") && line.contains(" later"));
    let past = events(cli, &["--run", &run]);
    let ended = past.iter().find(|event| event["kind"] == "run.succeeded").unwrap();
    assert_eq!((&ended["flow"], &ended["id"]), (&"sums".into(), &run.as_str().into()));
    assert_eq!(kinds(&past).iter().filter(|kind| **kind == "step.succeeded").count(), 2, "{past:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_say_that_they_join_and_leave_and_a_lost_one_is_missed() {
    let (_server, cli) = server().await;
    let mut killed = cli.host(&[]);
    let live = Process::start(&mut cli.command(&["events", "-f", "--kind", "host", "--since", "1h"]));
    live.line("it joined", |line| line.contains("host.joined"));
    let mut drained = cli.host(&["--label", "region=eu"]);
    cli.run(&["hosts", "drain", "--label", "region=eu"]).output();
    assert_eq!(drained.exit().0, 0);
    live.line("it drains", |line| line.contains("host.draining"));
    live.line("it left", |line| line.contains("host.left"));
    killed.kill();
    live.line("it is lost", |line| line.contains("host.lost"));
    let past = events(&cli, &["--kind", "host", "--label", "region=eu"]);
    assert_eq!(kinds(&past), ["host.joined", "host.draining", "host.left"]);
}

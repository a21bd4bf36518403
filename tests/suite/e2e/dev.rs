//! `lovage dev` starts, refuses, drains and leaves nothing behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::{Dev, Ended, dev, lovage, shared};
use crate::support::process::{Process, children, head, is_alive, page};

/// Starts `lovage dev` where it can find programs in `path` alone.
fn dev_with_path(path: &Path) -> Ended {
    let empty = tempfile::tempdir().unwrap();
    let mut command = lovage();
    command.args(["dev", "--port", "0", "--nats-port", "0", "--data"]).arg(empty.path().join("data"));
    command.env("PATH", path).env("XDG_CACHE_HOME", empty.path()).output().unwrap().into()
}

/// The one nats-server of a `lovage dev`.
fn broker_of(dev: &Dev) -> u32 {
    let children = children(dev.process.pid());
    let [(pid, command)] = &children[..] else { panic!("{children:?}") };
    assert!(command.contains("nats-server"), "{command}");
    *pid
}

#[test]
fn without_a_nats_server_it_says_how_to_get_one() {
    let empty = tempfile::tempdir().unwrap();
    dev_with_path(empty.path()).fails(3, &["failed to find nats-server", "install", "--nats-server"]);
}

#[test]
fn an_old_nats_server_is_refused_by_name_and_version() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("nats-server");
    std::fs::write(&program, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    dev_with_path(dir.path()).fails(3, &[program.to_str().unwrap(), "2.9.10 is too old", "2.14.0 or later"]);
}

#[test]
fn one_folder_has_one_platform() {
    let data = tempfile::tempdir().unwrap();
    let first = Dev::start_in(data.path(), &[]);
    let second: Ended = dev(data.path(), &[]).output().unwrap().into();
    second.fails(3, &["another `lovage dev` uses the folder", "--data"]);
    drop(first);
    Dev::start_in(data.path(), &[]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let dev_there = shared();
    let port = dev_there.status.rsplit(':').next().unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut command = lovage();
    command.args(["dev", "--nats-port", "0", "--port", port, "--data"]).arg(data.path());
    let ended: Ended = command.output().unwrap().into();
    ended.fails(3, &[&dev_there.status, "--port"]);
}

#[test]
fn the_status_pages_answer() {
    let dev = shared();
    assert_eq!(page(&dev.status, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(page(&dev.status, "/readyz"), (200, "ready\n".to_owned()));
    dev.cli.run(&["call", "hello/add", "[1, 1]"]).output();
    let (code, metrics) = page(&dev.status, "/metrics");
    assert_eq!(code, 200);
    let settled = metrics.lines().find(|line| line.contains("succeeded")).unwrap_or_else(|| panic!("{metrics}"));
    assert!(!settled.ends_with(" 0"), "{metrics}");
    assert!(head(&dev.status, "/metrics").contains("application/openmetrics-text; version=1.0.0"));
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[test]
fn an_autoscaler_sees_what_waits_and_how_many_hosts_that_wants() {
    let dev = shared();
    dev.cli.send(&["hello/add", "[1, 1]", "--queue", "nobodys"]);
    // Queues are looked at each five seconds.
    for gauge in ["queue_waiting", "queue_hosts_wanted"] {
        let sample = format!("lovage_{gauge}{{queue=\"nobodys\"}} 1");
        eventually_there(&sample, || page(&dev.status, "/metrics").1.lines().find(|line| *line == sample).map(drop));
    }
}

#[test]
fn a_log_in_json_names_the_task_of_each_line() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &["--log-format", "json", "--log", "info,lovage=debug"]);
    dev.cli.push("hello");
    let id = dev.cli.send(&["hello/add", "[1, 1]"]);
    dev.cli.run(&["result", &id, "--wait"]).output();
    let line = dev.process.line("of the task", |line| line.contains(&id));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let of_task =
        |object: &serde_json::Value| object.as_object().is_some_and(|of| of.values().any(|value| *value == *id));
    let spans = line["spans"].as_array().cloned().unwrap_or_default();
    assert!(of_task(&line) || spans.iter().any(of_task), "{line}");
    for field in ["timestamp", "level", "message"] {
        assert!(line[field].is_string(), "{line}");
    }
}

#[test]
fn an_interrupt_lets_running_tasks_end_and_stops_the_broker() {
    let data = tempfile::tempdir().unwrap();
    let id = {
        let mut dev = Dev::start_in(data.path(), &[]);
        let broker = broker_of(&dev);
        dev.cli.push_wat("slow", &guests::rounds(400_000_000));
        let id = dev.cli.send(&["slow/run"]);
        eventually_there("it runs", || (dev.cli.state(&id) == "running").then_some(()));
        dev.process.signal(Signal::INT);
        let (code, said) = dev.process.exit();
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("draining"), "{said}");
        assert!(!is_alive(broker));
        id
    };
    let dev = Dev::start_in(data.path(), &[]);
    let record = dev.cli.run(&["result", &id, "--json"]).json();
    assert_eq!((&record["state"], &record["usage"]["delivery"]), (&"succeeded".into(), &1.into()));
}

#[test]
fn a_second_interrupt_stops_at_once_and_stops_the_broker() {
    let mut dev = Dev::start();
    let broker = broker_of(&dev);
    dev.cli.push_wat("spins", &guests::spins());
    let id = dev.cli.send(&["spins/run", "--fuel", "off"]);
    eventually_there("it runs", || (dev.cli.state(&id) == "running").then_some(()));
    dev.process.signal(Signal::INT);
    dev.process.line("stopping", |line| line.contains("stopping"));
    dev.process.signal(Signal::INT);
    assert_eq!(dev.process.exit().0, 3);
    assert!(!is_alive(broker));
}

#[test]
fn a_killed_platform_leaves_no_broker() {
    let mut dev = Dev::start();
    let broker = broker_of(&dev);
    dev.process.kill();
    eventually_there("the broker ends", || (!is_alive(broker)).then_some(()));
}

#[test]
fn a_killed_broker_is_started_again() {
    let dev = Dev::start();
    dev.cli.push("hello");
    let broker = broker_of(&dev);
    kill_process(Pid::from_raw(broker.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    dev.process.line("the broker is back", |line| line.contains("the broker is back"));
    assert_eq!(dev.cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
    assert_ne!(broker_of(&dev), broker);
}

#[test]
fn several_hosts_in_one_process_share_the_work() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &["--hosts", "2", "--concurrency", "1"]);
    dev.cli.push_wat("spins", &guests::spins());
    let ids: Vec<String> = (0..2).map(|_| dev.cli.send(&["spins/run", "--fuel", "off"])).collect();
    let host = |id: &String| {
        eventually_there("it runs", || {
            let record = dev.cli.run(&["result", id, "--json"]).json();
            record["host"].as_str().map(str::to_owned)
        })
    };
    assert_ne!(host(&ids[0]), host(&ids[1]));
}

#[test]
fn a_host_without_a_lease_of_a_second_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let mut dev = Process::start(&mut dev(data.path(), &["--lease", "10ms"]));
    let (code, said) = dev.exit();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--lease takes at least 1s"), "{said}");
}

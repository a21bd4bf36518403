//! A task is cancelled wherever it is, and what has ended stays ended.

use std::time::{Duration, Instant};

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::shared;

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_task_never_runs() {
    let (_server, cli) = server().await;
    cli.push("probe");
    cli.push("hello");
    let id = cli.send(&["probe/chatty", r#"{"lines": 1}"#]);
    assert_eq!(cli.state(&id), "queued");
    cli.run(&["cancel", &id]).output();
    let _host = cli.host(&[]);
    // Tasks are delivered in order: once the later one is done, the cancelled one was passed by.
    assert_eq!(cli.run(&["call", "hello/add", "[1, 2]"]).output(), "3");
    cli.run(&["result", &id]).fails(1, &["error: cancelled: the task was cancelled"]);
    assert_eq!(cli.settled(&id)["state"], "cancelled");
    assert_eq!(cli.run(&["logs", &id]).output(), "", "it ran");
}

#[test]
fn a_running_task_ends_as_cancelled_within_a_second_and_its_host_goes_on() {
    let dev = shared();
    dev.cli.push_wat("spins", &guests::spins());
    let id = dev.cli.send(&["spins/run", "--fuel", "off", "--retry", "5"]);
    eventually_there("it runs", || (dev.cli.state(&id) == "running").then_some(()));
    let cancelled = Instant::now();
    dev.cli.run(&["cancel", &id]).output();
    dev.cli.run(&["result", &id, "--wait"]).fails(1, &["error: cancelled"]);
    assert!(cancelled.elapsed() < Duration::from_secs(1), "{:?}", cancelled.elapsed());
    assert_eq!(dev.cli.run(&["call", "hello/add", "[1, 2]"]).output(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_guest_gives_its_only_slot_back() {
    let (_server, cli) = server().await;
    cli.push("hello");
    cli.push_wat("spins", &guests::spins());
    let _host = cli.host(&["--concurrency", "1"]);
    let id = cli.send(&["spins/run", "--fuel", "off"]);
    eventually_there("it runs", || (cli.state(&id) == "running").then_some(()));
    let waiting = cli.send(&["hello/add", "[1, 2]"]);
    let cancelled = Instant::now();
    cli.run(&["cancel", &id]).output();
    assert_eq!(cli.settled(&waiting)["output"], 3);
    assert!(cancelled.elapsed() < Duration::from_secs(3), "{:?}", cancelled.elapsed());
}

#[test]
fn a_task_that_looks_for_cancels_is_told() {
    let dev = shared();
    let id = dev.cli.send(&["probe/wait_cancel", "--fuel", "off"]);
    eventually_there("it runs", || (dev.cli.state(&id) == "running").then_some(()));
    dev.cli.run(&["cancel", &id]).output();
    assert_eq!(dev.cli.settled(&id)["state"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_next_attempt_never_runs_it() {
    let dev = shared();
    let policy = r#"{"attempts": 5, "backoff": "1s", "jitter": false}"#;
    let id = dev.cli.send(&["probe/flaky", r#"{"until": 9}"#, "--retry", policy]);
    eventually_there("it is retrying", || (dev.cli.state(&id) == "retrying").then_some(()));
    dev.cli.run(&["cancel", &id]).output();
    assert_eq!(dev.cli.settled(&id)["state"], "cancelled");
    let broker = dev.cli.client().await.broker().clone();
    for place in ["sched", "fire.*.*", "task.*.*"] {
        let left = broker.streams.last(&format!("lvg.default.{place}.{id}")).await.unwrap();
        assert!(left.is_none(), "{left:?}");
    }
}

#[test]
fn a_task_that_has_ended_cannot_be_cancelled() {
    let dev = shared();
    let id = dev.cli.send(&["hello/add", "[1, 2]"]);
    dev.cli.settled(&id);
    dev.cli.run(&["cancel", &id]).fails(2, &["it has ended already, as succeeded"]);
    assert_eq!(dev.cli.run(&["result", &id]).output(), "3");
}

#[test]
fn an_unknown_task_cannot_be_cancelled_and_gets_no_record() {
    let dev = shared();
    let id = "01jd00000000000000000000yy";
    dev.cli.run(&["cancel", id]).fails(2, &["there is none"]);
    dev.cli.run(&["result", id]).fails(2, &["there is none"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_no_host_is_there_holds_and_outlasts_the_broker() {
    let (mut server, cli) = server().await;
    cli.push("probe");
    cli.push("hello");
    let chatty = ["probe/chatty", r#"{"lines": 1}"#];
    let queued = cli.send(&chatty);
    // It is cancelled before it is a task that a host could be given.
    let delayed = cli.send(&[&chatty[..], &["--delay", "1s"]].concat());
    let labelled = cli.send(&[&chatty[..], &["--delay", "1s", "--label", "batch=7"]].concat());
    cli.run(&["cancel", &queued, &delayed]).output();
    cli.run(&["cancel", "--label", "batch=7"]).output();
    server.server.restart().await.unwrap();
    let _host = cli.host(&[]);
    assert_eq!(cli.run(&["call", "hello/add", "[1, 2]", "--delay", "2s"]).output(), "3");
    for id in [&queued, &delayed, &labelled] {
        assert_eq!(cli.state(id), "cancelled");
        assert_eq!(cli.run(&["logs", id]).output(), "", "it ran");
    }
    cli.run(&["cancel", &queued]).fails(2, &["ended already, as cancelled"]);
    cli.run(&["cancel", "nobody"]).fails(2, &["find task nobody"]);
}

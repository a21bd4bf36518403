//! Attempts are counted exactly, and wait in the broker.

use std::time::Duration;

use lovage::client::{Place, Watch};
use lovage::model::lifecycle::{End, Record, State};
use lovage::model::{Kind, Policy};

use super::{server, signature, task_id};
use crate::support::eventually::eventually_there;
use crate::support::platform::shared;

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_counted_one_two_three() {
    let dev = shared();
    let client = dev.cli.client().await;
    let mut flaky = signature("probe/flaky", r#"{"until": 3}"#);
    flaky.options.retry =
        Policy { attempts: 5, backoff: Duration::from_millis(200), jitter: false, ..Policy::default() };
    let mut seen = Vec::new();
    let settled = client
        .call_watched(flaky, &Place::default(), |_| {}, &mut |watch| {
            if let Watch::Retrying { next, failure, .. } = watch {
                seen.push((next, failure.attempt, failure.message));
            }
        })
        .await
        .unwrap();
    let failed = |attempt: u32| (attempt + 1, Some(attempt), format!("attempt {attempt} of 3"));
    assert_eq!(seen, [failed(1), failed(2)]);
    assert_eq!(client.output(&settled).await.unwrap(), "3");
    assert_eq!(settled.usage.attempt, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_next_attempt_is_a_scheduled_message() {
    let dev = shared();
    let client = dev.cli.client().await;
    let policy = r#"{"attempts": 2, "backoff": "1h"}"#;
    let id = dev.cli.send(&["probe/flaky", r#"{"until": 9}"#, "--retry", policy]);
    eventually_there("it is retrying", || (dev.cli.state(&id) == "retrying").then_some(()));
    let shown = dev.cli.run(&["result", &id, "--json"]).json();
    assert_eq!((&shown["next"]["attempt"], &shown["failure"]["attempt"]), (&2.into(), &1.into()));
    dev.cli.run(&["result", &id]).fails(3, &["retrying: the task has not ended", "--wait"]);
    let scheduled = client.broker().streams.last(&format!("lvg.default.sched.{id}")).await.unwrap().unwrap();
    assert_eq!(scheduled.headers.value("Lovage-Attempt"), Some("2"));
    let state = client.state(&task_id(&id)).await.unwrap();
    assert_eq!(state.state, State::Retrying);
    assert!(matches!(state.record, Some(Record::Retrying { next: 2, .. })));
    dev.cli.run(&["cancel", &id]).output();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_attempt_is_the_policys() {
    let dev = shared();
    let client = dev.cli.client().await;
    let mut fails = signature("probe/fail", r#"{"kind": "retryable", "message": "busy", "after_ms": 10}"#);
    fails.options.retry = Policy::of_attempts(3);
    let settled = client.call(fails).await.unwrap();
    let End::Failed(failure) = settled.end else { panic!("{settled:?}") };
    assert_eq!((failure.kind, failure.attempt, settled.usage.attempt), (Kind::Returned, Some(3), 3));
}

#[test]
fn a_permanent_failure_is_not_tried_again() {
    let dev = shared();
    let input = r#"{"kind": "permanent", "message": "never"}"#;
    let id = dev.cli.send(&["probe/fail", input, "--retry", "5"]);
    let record = dev.cli.settled(&id);
    assert_eq!((&record["failure"]["kind"], &record["usage"]["attempt"]), (&"refused".into(), &1.into()));
}

#[test]
fn one_attempt_is_one_attempt() {
    let dev = shared();
    let ended = dev.cli.run(&["call", "probe/flaky", r#"{"until": 2}"#, "--retry", "1"]);
    ended.fails(1, &["error: returned: attempt 1 of 2"]);
    assert!(!ended.stderr.contains("trying again"), "{ended:?}");
}

#[test]
fn a_caller_is_told_of_attempts_that_failed() {
    let dev = shared();
    let ended = dev.cli.run(&["call", "probe/flaky", r#"{"until": 2}"#, "--retry", r#"{"backoff": "10ms"}"#]);
    assert_eq!(ended.output(), "2");
    let lines = ended.stderr.lines().find(|line| line.starts_with("attempt 1 of 3 failed, trying again in ")).unwrap();
    assert!(lines.ends_with(": returned: attempt 1 of 2"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_runs_on_another_host_when_the_first_is_gone() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let mut first = cli.host(&[]);
    let policy = r#"{"attempts": 2, "backoff": "1s", "jitter": false}"#;
    let id = cli.send(&["probe/flaky", r#"{"until": 2}"#, "--retry", policy]);
    eventually_there("it is retrying", || (cli.state(&id) == "retrying").then_some(()));
    first.kill();
    let _second = cli.host(&[]);
    let record = cli.settled(&id);
    assert_eq!((&record["output"], &record["usage"]["attempt"]), (&2.into(), &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_took_up_in_time_expires() {
    let (_server, cli) = server().await;
    cli.push("hello");
    let late = cli.send(&["hello/add", "[1, 2]", "--expires", "1ms"]);
    let early = cli.send(&["hello/add", "[1, 2]", "--expires", "1h"]);
    let _host = cli.host(&[]);
    cli.run(&["result", &late, "--wait"]).fails(1, &["error: expired: no host took the task up in time"]);
    assert_eq!(cli.settled(&late)["state"], "expired");
    assert_eq!(cli.settled(&early)["output"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_when_its_time_is_over_whatever_it_does() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let unseen = cli.send(&["probe/burn", "{\"units\": 1}", "--timeout", "1ms"]);
    let delayed = cli.send(&["probe/burn", "{\"units\": 1}", "--timeout", "1m", "--delay", "10ms"]);
    let _host = cli.host(&[]);
    cli.run(&["result", &unseen, "--wait"]).fails(1, &["error: timeout: the task's time was over before it ran"]);
    assert!(cli.run(&["dead", "show", &unseen]).output().contains("timeout"));
    assert_eq!(cli.settled(&delayed)["state"], "succeeded", "it is counted from when the task is due");
    // It runs when its time is over: neither is it tried again, nor does it run on.
    let burn = ["call", "probe/burn", "{\"units\": 4000000000}", "--fuel", "off", "--timeout", "300ms", "--retry", "9"];
    cli.run(&burn).fails(1, &["error: timeout: attempt 1 still ran when the task's time was over"]);
    // The next attempt would come too late.
    let flaky =
        |policy: &str| cli.run(&["call", "probe/flaky", "{\"until\": 2}", "--timeout", "30m", "--retry", policy]);
    flaky("{\"attempts\":2,\"backoff\":\"1h\",\"max\":\"1h\"}").fails(1, &["error: returned: attempt 1 of 2"]);
    assert_eq!(flaky("{\"attempts\":2,\"backoff\":\"10ms\"}").output(), "2");
}

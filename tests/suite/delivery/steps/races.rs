//! Attempts of steps when messages are lost, doubled or late: one record, and nothing left behind.

use lovage::broker::Error;
use lovage::broker::memory::{Faults, Memory};
use lovage::model::lifecycle::DELIVERIES_MAX;
use lovage::model::{Kind, Tenant};
use lovage::protocol::{Headers, subject};

use super::{LINE, Steps, attempt, failure, first, output};
use crate::support::eventually::eventually;

async fn steps() -> (Steps, Faults) {
    let memory = Memory::new();
    (Steps::over(memory.broker(), None).await, memory.faults())
}

#[tokio::test]
async fn an_attempt_that_is_delivered_twice_at_once_commits_once() {
    let (steps, faults) = steps().await;
    faults.repeat_deliveries("lvg.default.task.>", 1);
    let host = steps.host("host-1").await;
    let step = attempt("0", 1);
    assert_eq!(output(&steps.run(&step, &first("chatty", LINE)).await), "1");
    steps.until_idle().await;
    host.stop().await;
    assert_eq!(steps.records(&step).await, 1);
}

#[tokio::test]
async fn two_hosts_that_run_the_same_attempt_commit_one_outcome() {
    let (steps, faults) = steps().await;
    let (one, two) = (steps.host("host-1").await, steps.host("host-2").await);
    let step = attempt("0", 1);
    steps.dispatch(&step, &first("burn", r#"{"units":100}"#)).await;
    steps.until_running(&step).await;
    faults.expire_leases();
    let outcome = steps.outcome(&step).await;
    // Both have ended what they run when they have stopped.
    one.stop().await;
    two.stop().await;
    assert_eq!(steps.records(&step).await, 1);
    assert_eq!(steps.outcome(&step).await, outcome);
}

#[tokio::test]
async fn a_host_that_dies_between_commit_and_acknowledgement_leaves_one_record() {
    let (steps, faults) = steps().await;
    let one = steps.host("host-1").await;
    faults.lose_finishes("lvg.default.task.>", 3);
    let step = attempt("0", 1);
    steps.run(&step, &first("chatty", LINE)).await;
    one.kill();
    let _two = steps.host("host-2").await;
    eventually("the second host", || async {
        faults.expire_leases();
        steps.broker.streams.last("lvg.default.task.>").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!((steps.records(&step).await, steps.runs(&step).await), (1, 1));
    assert_eq!(steps.outcome(&step).await.usage.host.unwrap().as_str(), "host-1");
}

#[tokio::test]
async fn a_host_that_dies_before_it_commits_is_followed_by_another() {
    let (steps, faults) = steps().await;
    let one = steps.host("host-1").await;
    let step = attempt("0", 1);
    steps.dispatch(&step, &first("wait_cancel", "null")).await;
    steps.until_running(&step).await;
    one.kill();
    let _two = steps.host("host-2").await;
    faults.expire_leases();
    steps.until_running(&step).await;
    let word = subject::cancel(&Tenant::default_tenant(), step.clone());
    steps.broker.bus.send(&word, Headers::new(), bytes::Bytes::new()).await.unwrap();
    let usage = steps.outcome(&step).await.usage;
    assert_eq!((usage.host.unwrap().as_str(), usage.delivery, usage.attempt), ("host-2", 2, 1));
    steps.until_idle().await;
    assert_eq!(steps.records(&step).await, 1);
}

#[tokio::test]
async fn an_outcome_waits_for_a_broker_that_refuses_it() {
    let (steps, faults) = steps().await;
    faults.refuse_publishes("lvg.default.run.>", 3, Error::Denied("not now".to_owned()));
    let _host = steps.host("host-1").await;
    let step = attempt("0", 1);
    assert_eq!(output(&steps.run(&step, &first("chatty", LINE)).await), "1");
    assert_eq!(steps.runs(&step).await, 1);
}

#[tokio::test]
async fn a_commit_whose_acknowledgement_is_lost_is_recognised() {
    let (steps, faults) = steps().await;
    faults.lose_acknowledgements("lvg.default.run.>", 1);
    let _host = steps.host("host-1").await;
    let step = attempt("0", 1);
    steps.run(&step, &first("chatty", LINE)).await;
    steps.until_idle().await;
    assert_eq!((steps.records(&step).await, steps.runs(&step).await), (1, 1));
}

#[tokio::test]
async fn an_attempt_that_loses_all_its_hosts_fails() {
    let (steps, faults) = steps().await;
    let step = attempt("0", 2);
    steps.dispatch(&step, &first("chatty", LINE)).await;
    let lease = std::time::Duration::from_secs(20);
    let consumer = lovage::host::queue_consumer(&Tenant::default_tenant(), &"default".parse().unwrap(), lease);
    let mut lost = steps.broker.queues.consume(&consumer).await.unwrap();
    for count in 1..=DELIVERIES_MAX {
        lost.allow(1);
        assert_eq!(lost.next().await.unwrap().count, count);
        faults.expire_leases();
    }
    drop(lost);
    let _host = steps.host("host-1").await;
    let outcome = steps.outcome(&step).await;
    assert_eq!((failure(&outcome).kind, failure(&outcome).attempt), (Kind::HostLost, Some(2)));
    steps.until_idle().await;
    assert_eq!(steps.runs(&step).await, 0, "it never ran");
}

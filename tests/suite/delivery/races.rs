//! A message lost, doubled or late changes nothing: one record, and nothing left behind.

use std::time::Duration;

use lovage::broker::Error;
use lovage::model::lifecycle::{DELIVERIES_MAX, State};
use lovage::model::{Kind, Tenant};

use super::{Rig, call, failure, output, place};
use crate::support::eventually::eventually;

const LINES: &str = r#"{"lines":1}"#;

#[tokio::test]
async fn a_call_returns_what_the_task_returns() {
    let (rig, _host) = Rig::with_host().await;
    let settled = rig.client.call(call("echo", r#"{"a":[1,"ü"]}"#)).await.unwrap();
    assert_eq!(output(&settled), r#"{"a":[1,"ü"]}"#);
    assert_eq!((settled.usage.attempt, settled.usage.delivery), (1, 1));
    assert!(settled.usage.fuel > 0 && settled.usage.memory_bytes > 0);
    rig.until_idle().await;
}

#[tokio::test]
async fn a_task_that_is_delivered_twice_at_once_commits_once() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.repeat_deliveries("lvg.default.task.>", 1);
    let settled = rig.client.call(call("chatty", LINES)).await.unwrap();
    let id = settled_id(&rig).await;
    assert_eq!(output(&settled), "1");
    rig.until_idle().await;
    assert_eq!(rig.record_sequence(&id).await, 1, "the first commit is the only one");
}

#[tokio::test]
async fn a_commit_whose_acknowledgement_is_lost_is_recognised() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.lose_acknowledgements("lvg.default.res.*", 1);
    let id = rig.submit(call("chatty", LINES)).await;
    assert_eq!(output(&rig.wait(&id).await), "1");
    rig.until_idle().await;
    assert_eq!((rig.record_sequence(&id).await, rig.log_lines(&id).await), (1, 1));
}

#[tokio::test]
async fn a_task_whose_finish_is_lost_does_not_run_again() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.lose_finishes("lvg.default.task.>", 10);
    let id = rig.submit(call("chatty", LINES)).await;
    rig.wait(&id).await;
    eventually("a second delivery", || async {
        rig.faults.expire_leases();
        rig.broker.streams.last("lvg.default.task.>").await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!((rig.record_sequence(&id).await, rig.log_lines(&id).await), (1, 1));
}

#[tokio::test]
async fn two_hosts_that_run_the_same_task_commit_one_outcome() {
    let (rig, _one) = Rig::with_host().await;
    let _two = rig.host("host-2").await;
    let id = rig.submit(call("burn", r#"{"units":100}"#)).await;
    rig.until(&id, State::Running).await;
    rig.faults.expire_leases();
    let settled = rig.wait(&id).await;
    rig.until_idle().await;
    assert_eq!(rig.record_sequence(&id).await, 1);
    assert!(!output(&settled).is_empty());
}

#[tokio::test]
async fn a_task_of_a_host_that_dies_runs_elsewhere() {
    let (rig, one) = Rig::with_host().await;
    let id = rig.submit(call("wait_cancel", "null")).await;
    rig.until(&id, State::Running).await;
    one.kill();
    let _two = rig.host("host-2").await;
    rig.faults.expire_leases();
    eventually("the second host", || async {
        let host = rig.client.state(&id).await.unwrap().host?;
        (host.as_str() == "host-2").then_some(())
    })
    .await;
    rig.client.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn heartbeats_keep_a_long_task_where_it_is() {
    let rig = Rig::new().await;
    let lease = Duration::from_secs(1);
    let _host = rig.host_with("host-1", |config| config.lease = lease).await;
    let mut long = call("wait_cancel", "null");
    long.options.limits.attempt_timeout_ms = Some(2_500);
    long.options.retry.attempts = 1;
    let settled = rig.client.call(long).await.unwrap();
    assert_eq!((failure(&settled).kind, settled.usage.delivery), (Kind::Deadline, 1));
}

#[tokio::test]
async fn a_task_that_loses_all_its_hosts_ends() {
    let rig = Rig::new().await;
    let id = rig.submit(call("chatty", LINES)).await;
    let consumer =
        lovage::host::queue_consumer(&Tenant::default_tenant(), &"default".parse().unwrap(), Duration::from_secs(20));
    let mut lost = rig.broker.queues.consume(&consumer).await.unwrap();
    for count in 1..=DELIVERIES_MAX {
        lost.allow(1);
        assert_eq!(lost.next().await.unwrap().count, count);
        rig.faults.expire_leases();
    }
    drop(lost);
    let _host = rig.host("host-1").await;
    let settled = rig.wait(&id).await;
    assert_eq!(failure(&settled).kind, Kind::HostLost);
    rig.until_idle().await;
    assert_eq!(rig.log_lines(&id).await, 0, "it never ran");
}

#[tokio::test]
async fn a_task_that_hosts_hand_back_when_they_are_stopped_is_not_lost() {
    let rig = Rig::new().await;
    let mut long = call("burn", r#"{"units":1000000}"#);
    long.options.limits.fuel = Some(lovage::model::limits::FuelWish::Off(lovage::model::limits::Off::Off));
    let id = rig.submit(long).await;
    for _ in 0..=DELIVERIES_MAX {
        let host = rig.host_with("host-1", |config| config.drain = Duration::ZERO).await;
        rig.until(&id, State::Running).await;
        host.stop().await;
    }
    let _host = rig.host("host-2").await;
    rig.until(&id, State::Running).await;
    rig.client.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn a_second_submit_of_an_id_is_refused_while_the_first_is_there_and_changes_nothing_after() {
    let rig = Rig::new().await;
    let id = "mine".parse().unwrap();
    let here = lovage::client::Place::default();
    let submit = || rig.client.submit_as(&id, call("chatty", LINES), &here);
    submit().await.unwrap();
    assert!(matches!(submit().await.unwrap_err(), lovage::client::Error::Occupied(_)));
    let _host = rig.host("host-1").await;
    let first = rig.wait(&id).await;
    rig.until_idle().await;
    submit().await.unwrap();
    rig.until_idle().await;
    assert_eq!(rig.wait(&id).await, first);
    assert_eq!(rig.record_sequence(&id).await, 1);
}

#[tokio::test]
async fn a_late_delivery_of_an_ended_task_is_dropped() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(call("chatty", LINES)).await;
    rig.wait(&id).await;
    rig.until_idle().await;
    rig.publish(id.as_str(), &[("Lovage-Task", "probe/chatty"), ("Lovage-Recheck", "1")], LINES).await;
    rig.until_idle().await;
    assert_eq!(rig.log_lines(&id).await, 1);
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(call("burn", r#"{"units":30}"#)).await;
    rig.until(&id, State::Running).await;
    rig.faults.unavailable(true);
    assert!(matches!(
        rig.client.submit(call("echo", "1"), &lovage::client::Place::default()).await,
        Err(lovage::client::Error::Broker(Error::Unavailable(_)))
    ));
    rig.faults.unavailable(false);
    rig.wait(&id).await;
    rig.until_idle().await;
    assert_eq!(rig.record_sequence(&id).await, 1);
}

#[tokio::test]
async fn an_outcome_waits_for_room_in_the_result_stream() {
    let (rig, _host) = Rig::with_host().await;
    let full = Error::Full { subject: "lvg.default.res.x".to_owned() };
    rig.faults.refuse_publishes("lvg.default.res.*", 3, full);
    let settled = rig.client.call(call("echo", "7")).await.unwrap();
    assert_eq!(output(&settled), "7");
}

#[tokio::test]
async fn a_host_that_stops_hands_back_what_runs_too_long() {
    let rig = Rig::new().await;
    let one = rig.host_with("host-1", |config| config.drain = Duration::ZERO).await;
    let id = rig.submit(call("wait_cancel", "null")).await;
    rig.until(&id, State::Running).await;
    one.stop().await;
    let _two = rig.host("host-2").await;
    rig.until(&id, State::Running).await;
    assert_eq!(rig.client.state(&id).await.unwrap().host.unwrap().as_str(), "host-2");
    rig.client.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn a_host_that_stops_finishes_what_runs() {
    let (rig, host) = Rig::with_host().await;
    let id = rig.submit(call("burn", r#"{"units":30}"#)).await;
    rig.until(&id, State::Running).await;
    host.stop().await;
    assert_eq!(rig.state(&id).await, State::Succeeded);
}

#[tokio::test]
async fn large_values_go_through_the_object_store_unnoticed() {
    let (rig, _host) = Rig::with_host().await;
    let text = "x".repeat(3 << 20);
    let settled = rig.client.call(call("echo", &format!("\"{text}\""))).await.unwrap();
    assert!(matches!(settled.end, lovage::model::lifecycle::End::Succeeded(lovage::model::Value::Stored { .. })));
    assert_eq!(rig.client.output(&settled).await.unwrap(), format!("\"{text}\""));
}

/// The id of the only task that there is.
async fn settled_id(rig: &Rig) -> lovage::model::TaskId {
    let message = rig.broker.streams.last("lvg.default.res.*").await.unwrap().unwrap();
    let id: lovage::model::TaskId = message.subject.rsplit('.').next().unwrap().parse().unwrap();
    assert_eq!(place(&id).key, (&id).into());
    id
}

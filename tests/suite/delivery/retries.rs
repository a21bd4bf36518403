//! Failed attempts: counted exactly, scheduled once each, whatever is lost between the two.

use std::time::Duration;

use lovage::broker::Error;
use lovage::model::Kind;
use lovage::model::lifecycle::{End, Record, State};

use super::{Rig, call, failure, output, retried, retried_in_an_hour};
use crate::support::eventually::eventually;

#[tokio::test]
async fn a_failing_task_is_tried_again_until_it_succeeds() {
    let (rig, _host) = Rig::with_host().await;
    let settled = rig.client.call(retried("flaky", r#"{"until":3}"#, 5)).await.unwrap();
    assert_eq!((output(&settled), settled.usage.attempt, settled.usage.delivery), ("3", 3, 1));
    rig.until_idle().await;
}

#[tokio::test]
async fn the_last_attempt_is_the_last() {
    let (rig, _host) = Rig::with_host().await;
    let settled = rig.client.call(retried("flaky", r#"{"until":9}"#, 3)).await.unwrap();
    let failure = failure(&settled);
    assert_eq!((failure.kind, failure.attempt), (Kind::Returned, Some(3)));
    let tried: Vec<_> = settled.usage.tried.iter().map(|tried| (tried.attempt, tried.kind, &*tried.message)).collect();
    assert_eq!(tried, [(1, Kind::Returned, "attempt 1 of 9"), (2, Kind::Returned, "attempt 2 of 9")]);
    assert!(settled.usage.tried.iter().all(|tried| Some(&tried.host) == settled.usage.host.as_ref()));
    assert!(settled.usage.tried.is_sorted_by_key(|tried| tried.at));
    assert_eq!(failure.message, "attempt 3 of 9");
    rig.until_idle().await;
}

#[tokio::test]
async fn what_cannot_fare_better_is_not_tried_again() {
    let (rig, _host) = Rig::with_host().await;
    let input = r#"{"kind":"permanent","message":"never"}"#;
    let settled = rig.client.call(retried("fail", input, 5)).await.unwrap();
    assert_eq!((failure(&settled).kind, failure(&settled).attempt), (Kind::Refused, Some(1)));
}

#[tokio::test]
async fn a_task_that_waits_for_its_next_attempt_says_so() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(retried_in_an_hour()).await;
    rig.until(&id, State::Retrying).await;
    let Some(Record::Retrying { next, due, failure, .. }) = rig.record(&id).await else { panic!("it waits") };
    assert_eq!((next, failure.message.as_str()), (2, "attempt 1 of 2"));
    let wait = due.since(rig.broker.clock.now());
    assert!(wait > Duration::from_secs(3_500), "{wait:?}");
}

#[tokio::test]
async fn a_guest_decides_when_it_is_tried_again() {
    let (rig, _host) = Rig::with_host().await;
    let input = r#"{"kind":"retryable","message":"later","after_ms":3600000}"#;
    let id = rig.submit(retried("fail", input, 2)).await;
    rig.until(&id, State::Retrying).await;
    let Some(Record::Retrying { due, .. }) = rig.record(&id).await else { panic!("it waits") };
    assert!(due.since(rig.broker.clock.now()) > Duration::from_secs(3_500));
}

#[tokio::test]
async fn a_host_that_dies_between_record_and_schedule_loses_no_attempt() {
    let (rig, one) = Rig::with_host().await;
    rig.faults.refuse_publishes("lvg.default.sched.*", 2, Error::Unavailable("gone".to_owned()));
    let id = rig.submit(retried("flaky", r#"{"until":2}"#, 3)).await;
    eventually("the record of the failure", || async { rig.record(&id).await }).await;
    one.kill();
    let _two = rig.host("host-2").await;
    rig.faults.expire_leases();
    let settled = rig.wait(&id).await;
    assert_eq!((output(&settled), settled.usage.attempt), ("2", 2));
    rig.until_idle().await;
}

#[tokio::test]
async fn a_retry_waits_until_the_attempt_before_it_is_acknowledged() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.lose_finishes("lvg.default.task.>", 3);
    let id = rig.submit(retried("flaky", r#"{"until":2}"#, 3)).await;
    eventually("the fired message", || async { rig.broker.streams.last("lvg.default.fire.>").await.unwrap() }).await;
    let settled = eventually("the end", || async {
        let queued = rig.broker.streams.last("lvg.default.task.>").await.unwrap();
        // Only the first attempt's delivery is lost: a task whose every delivery is lost would rightly end.
        if queued.is_some_and(|message| message.headers.value("Lovage-Attempt").is_none()) {
            rig.faults.expire_leases();
        }
        match rig.record(&id).await {
            Some(Record::Settled(settled)) => Some(settled),
            Some(Record::Retrying { .. }) | None => None,
        }
    })
    .await;
    assert_eq!((output(&settled), settled.usage.attempt), ("2", 2));
    rig.until_idle().await;
}

#[tokio::test]
async fn an_attempt_that_fires_twice_is_the_same_attempt() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.repeat_deliveries("lvg.default.fire.>", 2);
    let settled = rig.client.call(retried("flaky", r#"{"until":3}"#, 3)).await.unwrap();
    assert_eq!(output(&settled), "3");
    rig.until_idle().await;
}

#[tokio::test]
async fn a_schedule_whose_acknowledgement_is_lost_fires_one_attempt() {
    let (rig, _host) = Rig::with_host().await;
    rig.faults.lose_acknowledgements("lvg.default.sched.*", 1);
    let settled = rig.client.call(retried("flaky", r#"{"until":2}"#, 2)).await.unwrap();
    assert_eq!(output(&settled), "2");
    rig.until_idle().await;
}

#[tokio::test]
async fn what_fires_while_no_mover_runs_is_moved_later() {
    let rig = Rig::new().await;
    let _host = rig.host("host-1").await;
    let id = rig.submit(retried("flaky", r#"{"until":2}"#, 2)).await;
    let super::Rig { mover, broker, client, faults } = rig;
    mover.kill();
    eventually("the fired message", || async { broker.streams.last("lvg.default.fire.>").await.unwrap() }).await;
    let mover = super::mover(&broker).await;
    let rig = super::Rig { mover, broker, client, faults };
    assert_eq!(output(&rig.wait(&id).await), "2");
    rig.mover.stop.cancel();
}

#[tokio::test]
async fn nobody_in_time_means_expired() {
    let rig = Rig::new().await;
    let mut late = call("echo", "1");
    late.options.expires = Some(rig.broker.clock.now());
    let id = rig.submit(late).await;
    eventually("a later time", || async { (rig.broker.clock.now() > rig.client_time(&id).await).then_some(()) }).await;
    let _host = rig.host("host-1").await;
    assert_eq!(rig.wait(&id).await.end, End::Expired);
}

impl Rig {
    /// When the task was stored.
    async fn client_time(&self, id: &lovage::model::TaskId) -> lovage::model::Timestamp {
        self.broker.streams.last(&super::place(id).task()).await.unwrap().unwrap().time
    }
}

//! What is removed, and when: ended runs by age, values that no run has, records of runs that were never started.

use std::time::Duration;

use futures::TryStreamExt as _;
use lovage::client::Error;
use lovage::coordinator::Retention;
use lovage::model::RunId;
use lovage::protocol::stream::Bucket;
use serde_json::json;

use super::{Rig, Running};

const HOUR: Duration = Duration::from_secs(3_600);

/// A coordinator that keeps ended runs for five hours, and two of them at most.
async fn coordinator(rig: &Rig) -> Running {
    let retention = Retention { age_max: 5 * HOUR, count_max: 2 };
    let (running, ready) = rig.begin("c1", |config| config.retention = retention).await;
    running.await_ready(ready).await
}

/// The names of all values of runs.
async fn values(rig: &Rig) -> Vec<String> {
    let listed = rig.broker.objects.list(Bucket::RunValues).await.unwrap();
    listed.map_ok(|(name, _)| name).try_collect().await.unwrap()
}

/// What is left of a run anywhere.
async fn left(rig: &Rig, run: &RunId) -> Vec<String> {
    let mut left: Vec<String> = values(rig).await.into_iter().filter(|name| name.contains(run.as_str())).collect();
    for filter in ["lvg.*.run.>", "lvg.*.timer.>", "lvg.*.index.*"] {
        let messages = rig.broker.streams.read(filter, lovage::broker::Start::Sequence(1), false).await.unwrap();
        let subjects: Vec<String> = messages.map_ok(|message| message.subject).try_collect().await.unwrap();
        left.extend(subjects.into_iter().filter(|subject| subject.contains(run.as_str())));
    }
    left
}

#[tokio::test(start_paused = true)]
async fn an_ended_run_goes_after_its_time_with_all_its_values_and_others_stay() {
    let rig = Rig::memory().await;
    let _coordinator = coordinator(&rig).await;
    let (_host, _) = rig.host().await;
    // An input that is put together from values in place and one elsewhere, above the inline limit: no record names it.
    let large = "v".repeat(100_000);
    let members = json!([{"value": large}, {"value": large}, {"task": "canvas/big", "args": []}]);
    let old = rig.start(json!({"chain": [{"group": members}, {"task": "canvas/id"}]}), None).await;
    rig.wait(&old).await;
    assert!(values(&rig).await.len() >= 3, "{:?}", values(&rig).await);
    let going = rig.start(json!({"chain": [{"task": "canvas/big", "args": []}, {"wait": "go"}]}), None).await;
    tokio::time::sleep(3 * HOUR).await;
    let young = rig.start(json!({"task": "canvas/big", "args": []}), None).await;
    rig.wait(&young).await;
    assert!(!left(&rig, &old).await.is_empty());
    tokio::time::sleep(4 * HOUR).await;
    assert_eq!(left(&rig, &old).await, [""; 0]);
    assert!(matches!(rig.client.run(&old).await, Err(Error::RunNotFound(_))));
    rig.client.signal(&going, &"go".parse().unwrap(), &"1".into(), None).await.unwrap();
    for run in [&going, &young] {
        assert!(values(&rig).await.iter().any(|name| name.contains(run.as_str())));
    }
    rig.wait(&going).await;
    assert_eq!(rig.output(&young).await.len(), 200_002);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_ended_runs_those_that_ended_first_go() {
    let rig = Rig::memory().await;
    let _coordinator = coordinator(&rig).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        let run = rig.start(json!({"value": 1}), None).await;
        rig.wait(&run).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        runs.push(run);
    }
    tokio::time::sleep(HOUR).await;
    let mut kept = Vec::new();
    for run in &runs {
        kept.push(rig.client.run(run).await.is_ok());
    }
    assert_eq!(kept, [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn records_of_a_run_that_is_never_started_go_after_a_while() {
    let rig = Rig::memory().await;
    let coordinator = coordinator(&rig).await;
    let stranger = rig.client.new_run_id();
    for record in ["cancel", "signal.x"] {
        super::trouble::put(&rig, &stranger, record, "1", "").await;
    }
    tokio::time::sleep(HOUR / 2).await;
    let records: Vec<String> = left(&rig, &stranger).await;
    assert_eq!(records.len(), 3, "the records, and a timer that looks after them: {records:?}");
    // Whoever holds the partition then.
    coordinator.kill();
    let _second = rig.coordinator("c2").await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(left(&rig, &stranger).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_late_outcome_of_a_run_that_is_gone_goes_too() {
    let rig = Rig::memory().await;
    let _coordinator = coordinator(&rig).await;
    let run = rig.start(json!({"value": 1}), None).await;
    rig.wait(&run).await;
    tokio::time::sleep(6 * HOUR).await;
    assert_eq!(left(&rig, &run).await, [""; 0]);
    super::trouble::put(&rig, &run, "step.0.1", "1", "").await;
    tokio::time::sleep(2 * HOUR).await;
    assert_eq!(left(&rig, &run).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_no_record_came_to_name_is_swept_away() {
    let rig = Rig::memory().await;
    let _coordinator = coordinator(&rig).await;
    let run = rig.start(json!({"wait": "go"}), None).await;
    let gone = rig.client.new_run_id();
    for run in [&run, &gone] {
        let name = format!("default/{run}/{}", "0".repeat(64));
        rig.broker.objects.put(Bucket::RunValues, &name, &mut &b"x"[..]).await.unwrap();
    }
    rig.broker.objects.put(Bucket::RunValues, "something else", &mut &b"x"[..]).await.unwrap();
    tokio::time::sleep(3 * HOUR).await;
    let mut names = values(&rig).await;
    names.sort();
    assert_eq!(names, [format!("default/{run}/{}", "0".repeat(64)), "something else".to_owned()]);
}

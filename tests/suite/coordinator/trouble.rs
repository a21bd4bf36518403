//! What goes wrong: full queues, lost messages, records that cannot be read, a broker that is away.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage::broker::{Error, Publish, Settings};
use lovage::model::{Failure, Kind, RunId, Tenant};
use lovage::protocol::record::VERSION;
use lovage::workflow::wire::{self, RecordName, RunState};
use serde_json::json;

use super::{Rig, soon};

fn group(members: usize) -> serde_json::Value {
    json!({"map": {"task": "canvas/id"}, "over": (0..members).collect::<Vec<_>>()})
}

/// Writes a record as it is.
pub(super) async fn put(rig: &Rig, run: &RunId, record: &str, version: &str, body: &'static str) {
    let name = RecordName::Start.subject(&Tenant::default_tenant(), run).replace("start", record);
    let publish = Publish {
        headers: wire::headers().with(VERSION, version),
        ..Publish::new(name, Bytes::from_static(body.as_bytes()))
    };
    rig.broker.streams.publish(publish).await.unwrap();
}

async fn until(rig: &Rig, run: &RunId, state: RunState) -> lovage::workflow::wire::Entry {
    soon(state.as_str(), async {
        loop {
            let entry = rig.client.run(run).await.unwrap();
            if entry.state == state {
                break entry;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_delays_its_run_and_no_other() {
    let rig = Rig::with_settings(Settings { queued_max: 3, ..Settings::default() }).await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(group(20), None).await;
    let other = rig.start(json!({"value": 7}), None).await;
    assert_eq!(rig.output(&other).await, "7");
    let (_host, done) = rig.host().await;
    assert_eq!(rig.output(&run).await, format!("{:?}", (0..20).collect::<Vec<_>>()).replace(' ', ""));
    assert_eq!(done.all().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_lost_task_is_queued_again_by_the_watchdog() {
    let rig = Rig::memory().await;
    let coordinator = rig.coordinator("c1").await;
    let run = rig.start(group(3), None).await;
    soon("the tasks are queued", async {
        while rig.broker.streams.last("lvg.default.task.>").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    rig.broker.streams.purge("lvg.default.task.>").await.unwrap();
    let (_host, _) = rig.host().await;
    let output = tokio::time::timeout(Duration::from_secs(700), rig.client.wait_run(&run)).await;
    assert!(output.is_ok(), "the watchdog looks after ten minutes");
    assert_eq!(rig.output(&run).await, "[0,1,2]");
    drop(coordinator);
}

#[tokio::test(start_paused = true)]
async fn short_runs_have_no_watchdog_and_long_ones_do() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let short = rig.start(json!({"task": "canvas/id", "input": 1}), None).await;
    rig.output(&short).await;
    let long = rig.start(json!({"wait": "go"}), None).await;
    let timers = async || rig.broker.streams.last("lvg.*.timer.>").await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(timers().await.is_none());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let timer = timers().await.unwrap();
    assert!(timer.subject.contains(long.as_str()) && timer.subject.ends_with("0.watchdog1"), "{}", timer.subject);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_newer_version_pauses_its_run_and_no_other() {
    let rig = Rig::memory().await;
    let coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    for (record, version, reason) in [
        ("signal.x", "2", "update it"),
        ("splice.0.1", "1", "names no record that this program knows"),
        ("decided.0.mood", "1", "names no record that this program knows"),
        ("signal.y", "1", "signal: EOF"),
    ] {
        let run = rig.start(json!({"wait": "go"}), None).await;
        put(&rig, &run, record, version, "").await;
        let entry = until(&rig, &run, RunState::Paused).await;
        assert!(entry.reason.as_ref().is_some_and(|text| text.contains(reason)), "{entry:?}");
        let other = rig.start(json!({"task": "canvas/id", "input": 1}), None).await;
        assert_eq!(rig.output(&other).await, "1");
        assert_eq!(rig.records(&other).await.len(), 3);
    }
    assert_eq!(coordinator.metric("runs_broken_total"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_corrupted_record_pauses_its_run_with_the_reason_and_no_other() {
    let rig = Rig::memory().await;
    let coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let table = [
        ("decided.0.value", "{\"value\":", "decision: EOF"),
        ("child.0", "\u{1}", "end of a child run: expected value"),
        ("signal.x", "{\"name\":\"no good\",\"payload\":{\"json\":1}}", "signal: invalid signal name"),
        ("step.0.1", "{}", "is no end of an attempt"),
        ("end", "{\"result\":\"lost\"}", "end record: unknown variant"),
    ];
    for (record, body, reason) in table {
        let run = rig.start(json!({"wait": "go"}), None).await;
        put(&rig, &run, record, "1", body).await;
        let entry = until(&rig, &run, RunState::Paused).await;
        assert!(entry.reason.as_ref().is_some_and(|text| text.contains(reason)), "{record}: {entry:?}");
        let other = rig.start(json!({"task": "canvas/id", "input": 1}), None).await;
        assert_eq!(rig.output(&other).await, "1");
        // The journal keeps what it was given, and is exported as it stands.
        let exported = rig.client.export_run(&run).await.unwrap();
        let names: Vec<String> = exported.map_ok(|record| record.record).try_collect().await.unwrap();
        assert!(names.contains(&record.to_owned()), "{names:?}");
    }
    assert_eq!(coordinator.metric("runs_broken_total"), table.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_halted_run_goes_on_when_what_was_wrong_is_mended() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(json!({"wait": "go"}), None).await;
    put(&rig, &run, "signal.x", "2", "").await;
    until(&rig, &run, RunState::Paused).await;
    // As an updated program would, which reads it.
    rig.broker
        .streams
        .purge(&RecordName::Start.subject(&Tenant::default_tenant(), &run).replace("start", "signal.x"))
        .await
        .unwrap();
    rig.client.resume_run(&run).await.unwrap();
    rig.client.signal(&run, &"go".parse().unwrap(), &"1".into(), None).await.unwrap();
    assert_eq!(rig.output(&run).await, "1");
}

#[tokio::test(start_paused = true)]
async fn records_of_no_run_are_dropped_and_counted() {
    let rig = Rig::memory().await;
    let coordinator = rig.coordinator("c1").await;
    let stranger = rig.client.new_run_id();
    put(&rig, &stranger, "cancel", "1", "").await;
    soon("it is counted", async {
        while coordinator.metric("run_records_stray_total") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // One of a client's runs that is started later is not cancelled by it.
    let order = lovage::client::Order::new(lovage::workflow::flow::Document::from_json(&json!({"value": 1})).unwrap());
    rig.client.start_as(stranger.clone(), order).await.unwrap();
    assert_eq!(rig.output(&stranger).await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_fails_now_and_then_changes_nothing() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, done) = rig.host().await;
    for filter in ["lvg.*.task.>", "lvg.*.run.>", "lvg.*.index.>", "lvg.*.timer.>"] {
        rig.faults().lose_acknowledgements(filter, 3);
        rig.faults().refuse_publishes(filter, 2, Error::Unavailable("busy".to_owned()));
    }
    // The client has no patience of its own: it tells its caller.
    let run = soon("it is started", async {
        let id = rig.client.new_run_id();
        let document = json!({"chain": [group(5), {"sleep": "1m"}, {"task": "canvas/sum"}]});
        let order = lovage::client::Order::new(lovage::workflow::flow::Document::from_json(&document).unwrap());
        while rig.client.start_as(id.clone(), order.clone()).await.is_err() {}
        id
    })
    .await;
    let end = tokio::time::timeout(Duration::from_secs(300), rig.client.wait_run(&run)).await.unwrap().unwrap();
    assert_eq!(rig.client.run_output(&run, &end).await.unwrap(), "10");
    assert!(done.all().len() >= 6, "{:?}", done.all());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_left_memory_comes_back() {
    let rig = Rig::memory().await;
    let (coordinator, ready) = rig.begin("c1", |config| config.runs_in_memory_max = 1).await;
    let coordinator = coordinator.await_ready(ready).await;
    let (_host, done) = rig.host().await;
    let mut runs = Vec::new();
    for _ in 0..64 {
        runs.push(rig.start(json!({"chain": [{"wait": "go"}, {"task": "canvas/add", "args": [1]}]}), None).await);
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(coordinator.metric("runs_in_memory"), 0);
    for run in &runs {
        rig.client.signal(run, &"go".parse().unwrap(), &"1".into(), None).await.unwrap();
    }
    for run in &runs {
        assert_eq!(rig.output(run).await, "2");
    }
    assert_eq!(done.all().len(), runs.len());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_nobody_takes_up_in_time_expires() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(json!({"task": "canvas/id", "input": 1, "expires": "5s"}), None).await;
    let failure: Failure = rig.failure(&run).await;
    assert_eq!(failure.kind, Kind::Expired);
    assert!(rig.broker.streams.last("lvg.default.task.>").await.unwrap().is_none());
}

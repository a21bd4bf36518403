//! Whole runs, from start to end.

use std::time::Duration;

use lovage::client::{Error, Order, RunFilter};
use lovage::model::Kind;
use lovage::workflow::flow::Document;
use lovage::workflow::journal::Ending;
use lovage::workflow::wire::RunState;
use serde_json::json;

use super::{Rig, soon};

/// Flows and what they yield.
fn cases() -> Vec<(&'static str, serde_json::Value, &'static str)> {
    vec![
        ("one task", json!({"task": "canvas/add", "args": [4, 4]}), "8"),
        (
            "a chain",
            json!({"chain": [
                {"task": "canvas/add", "args": [4, 4]},
                {"task": "canvas/add", "args": [8]},
                {"task": "canvas/add", "args": [16]}
            ]}),
            "32",
        ),
        (
            "a chord over a map",
            json!({"chord": {
                "header": [{"map": {"task": "canvas/id"}, "over": [1, 2, 3]}, {"task": "canvas/id", "input": [4]}],
                "body": {"task": "canvas/id"}
            }}),
            "[[1,2,3],[4]]",
        ),
        ("a wait of an hour", json!({"chain": [{"sleep": "1s"}, {"value": "${1 + 2}"}]}), "3"),
        (
            "a replacement",
            json!({"task": "canvas/flow", "input": {"chain": [{"task": "canvas/add", "args": [1, 2]}]}}),
            "3",
        ),
    ]
}

async fn flows_yield_what_they_should(rig: Rig) {
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    for (what, document, output) in cases() {
        let run = rig.start(document, None).await;
        assert_eq!(rig.output(&run).await, output, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn flows_yield_what_they_should_in_memory() {
    flows_yield_what_they_should(Rig::memory().await).await;
}

#[tokio::test]
async fn flows_yield_what_they_should_on_nats() {
    flows_yield_what_they_should(Rig::nats().await).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_says_what_failed_and_is_listed_so() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, done) = rig.host().await;
    let chain = json!({"chain": [{"task": "canvas/fail", "input": 1}, {"task": "canvas/id"}]});
    let run = rig.start(chain, None).await;
    let failure = rig.failure(&run).await;
    assert_eq!((failure.kind, failure.step.unwrap().to_string()), (Kind::Refused, "0-0".to_owned()));
    assert_eq!(done.all(), ["0-0.1"], "what follows a failure never runs");
    let entry = soon("the run is listed as failed", async {
        loop {
            let entry = rig.client.run(&run).await.unwrap();
            if entry.state == RunState::Failed {
                break entry;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let entry = entry.await;
    assert_eq!(entry.failure.unwrap().kind, Kind::Refused);
    let failed = RunFilter { state: Some(RunState::Failed), ..RunFilter::default() };
    assert_eq!(rig.client.runs(&failed).await.unwrap().len(), 1);
    let running = RunFilter { state: Some(RunState::Running), ..RunFilter::default() };
    assert!(rig.client.runs(&running).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_ends_as_cancelled() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(json!({"task": "canvas/hang", "args": []}), None).await;
    rig.client.cancel_run(&run).await.unwrap();
    assert_eq!(rig.wait(&run).await.result, Ending::Cancelled);
    let again = rig.client.cancel_run(&run).await.unwrap_err();
    assert!(matches!(again, Error::RunEnded { state: RunState::Cancelled, .. }), "{again}");
}

#[tokio::test(start_paused = true)]
async fn a_signal_goes_to_the_step_that_waits_for_it_and_no_other_is_taken() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(json!({"wait": "go"}), None).await;
    let unknown = rig.client.signal(&run, &"stop".parse().unwrap(), &"1".into(), None).await.unwrap_err();
    assert!(unknown.to_string().ends_with("nothing in the run waits for it (there is go)"), "{unknown}");
    rig.client.signal(&run, &"go".parse().unwrap(), &r#"{"by":"me"}"#.into(), None).await.unwrap();
    assert_eq!(rig.output(&run).await, r#"{"by":"me"}"#);
    let late = rig.client.signal(&run, &"go".parse().unwrap(), &"1".into(), None).await.unwrap_err();
    assert!(matches!(late, Error::RunEnded { .. }), "{late}");
    let stranger = rig.client.new_run_id();
    assert!(matches!(rig.client.end(&stranger).await, Err(Error::RunNotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_begins_nothing_until_it_is_resumed() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let run = rig.start(json!({"chain": [{"wait": "go"}, {"task": "canvas/id"}]}), None).await;
    rig.client.pause_run(&run).await.unwrap();
    rig.client.pause_run(&run).await.unwrap();
    rig.client.signal(&run, &"go".parse().unwrap(), &"7".into(), None).await.unwrap();
    let (_host, done) = rig.host().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(done.all().is_empty());
    rig.client.resume_run(&run).await.unwrap();
    assert_eq!(rig.output(&run).await, "7");
    let records = rig.records(&run).await;
    assert!(records.contains(&"pause.0".to_owned()) && !records.contains(&"pause.1".to_owned()), "{records:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retried_run_goes_on_from_what_failed() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, done) = rig.host().await;
    let chain = json!({"chain": [{"task": "canvas/id", "input": 1}, {"task": "canvas/fail"}]});
    let run = rig.start(chain, None).await;
    rig.failure(&run).await;
    rig.client.retry_run(&run).await.unwrap();
    rig.failure(&run).await;
    assert_eq!(done.all(), ["0-0.1", "0-1.1", "0-1.2"], "what had succeeded is kept, and attempts are counted on");
}

#[tokio::test(start_paused = true)]
async fn the_same_key_twice_is_one_run() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, done) = rig.host().await;
    let document = Document::from_json(&json!({"task": "canvas/id", "input": 1})).unwrap();
    let order = || Order { idempotency_key: Some("k".to_owned()), ..Order::new(document.clone()) };
    let (first, second) = (rig.client.start(order()).await.unwrap(), rig.client.start(order()).await.unwrap());
    assert_eq!(first, second);
    assert_eq!(rig.output(&first).await, "1");
    assert_eq!(done.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_is_refused_by_name_and_nothing_is_started() {
    let rig = Rig::memory().await;
    for (document, problem) in [
        (json!({"task": "nobody/id"}), "module nobody"),
        (json!({"task": "canvas@7/id"}), "module canvas@7"),
        (json!({"task": "canvas/nothing"}), "task nothing of module canvas@1"),
        (json!({"flow": "sub"}), "flow sub"),
    ] {
        let order = Order::new(Document::from_json(&document).unwrap());
        let error = rig.client.start(order).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
    let all =
        json!({"chain": [{"task": "nobody/id"}, {"task": "canvas/nothing"}, {"flow": "sub"}, {"task": "nobody/id"}]});
    let error = rig.client.start(Order::new(Document::from_json(&all).unwrap())).await.unwrap_err().to_string();
    for problem in [
        "at /chain/0: there is no module nobody (there is canvas)",
        "at /chain/1: there is no task nothing of module canvas@1 (there is ",
        "at /chain/2: there is no flow sub",
        "at /chain/3: there is no module nobody",
    ] {
        assert!(error.contains(problem), "no {problem:?} in {error}");
    }
    assert!(rig.broker.streams.last("lvg.*.run.>").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_child_run_is_a_run_of_its_own() {
    let rig = Rig::memory().await;
    let _coordinator = rig.coordinator("c1").await;
    let (_host, _) = rig.host().await;
    let inner = Document::from_json(&json!({"task": "canvas/add", "args": [1]})).unwrap();
    rig.client.push_flow(&"inner".parse().unwrap(), None, &inner).await.unwrap();
    let middle = Document::from_json(&json!({"chain": [{"flow": "inner"}, {"flow": "inner@1"}]})).unwrap();
    rig.client.push_flow(&"middle".parse().unwrap(), None, &middle).await.unwrap();
    let run = rig.start(json!({"chain": [{"flow": "middle"}, {"task": "canvas/add", "args": [100]}]}), Some("5")).await;
    assert_eq!(rig.output(&run).await, "107");
    let children = RunFilter { parent: Some(run), ..RunFilter::default() };
    assert_eq!(rig.client.runs(&children).await.unwrap().len(), 1);
    assert_eq!(rig.client.runs(&RunFilter::default()).await.unwrap().len(), 4);
}

//! Runs from start to end: real coordinators, real hosts, real guests.

use std::time::{Duration, Instant};

use lovage::client::{Client, Order};
use lovage::model::RunId;
use lovage::workflow::flow::Document;
use rustix::process::Signal;
use serde_json::json;

use super::server;
use crate::support::platform::{Cli, Dev, shared};
use crate::support::process::{Process, page};

/// Adds `steps` ones to what it receives.
fn chain(steps: usize) -> Document {
    let step = json!({"task": "hello/add", "args": [1]});
    Document::from_json(&json!({"chain": vec![step; steps]})).unwrap()
}

async fn start(client: &Client, document: &Document, input: &'static str) -> RunId {
    client.start(Order::new(document.clone()).with_input(input)).await.unwrap()
}

async fn output(client: &Client, run: &RunId) -> String {
    let end = tokio::time::timeout(Duration::from_secs(90), client.wait_run(run)).await.expect("it must end").unwrap();
    let output = client.run_output(run, &end).await.unwrap();
    String::from_utf8(output.to_vec()).unwrap()
}

/// A coordinator process that reads.
fn coordinator(cli: &Cli) -> Process {
    let coordinator = Process::start(&mut cli.command(&["coordinator"]));
    coordinator.line("ready", |line| line.ends_with(" ready"));
    coordinator
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_guests_ends_with_its_last_output() {
    let dev = shared();
    let client = dev.cli.client().await;
    let document = chain(10);
    let mut times = Vec::new();
    for _ in 0..50 {
        let begin = Instant::now();
        let run = start(&client, &document, "32").await;
        assert_eq!(output(&client, &run).await, "42");
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    println!("a chain of 10: p50 {:?}, p90 {:?}", times[times.len() / 2], times[times.len() * 9 / 10]);
    let (status, text) = page(&dev.status, "/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("lovage_runs_ended_total{state=\"succeeded\"}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_of_guests_keeps_the_order_of_its_items() {
    let dev = shared();
    let client = dev.cli.client().await;
    let items: Vec<i64> = (0..1_000).collect();
    let body = json!({"task": "hello/add", "args": [1]});
    let document = Document::from_json(&json!({"map": body, "over": items})).unwrap();
    let begin = Instant::now();
    let run = client.start(Order::new(document)).await.unwrap();
    let ended: Vec<i64> = serde_json::from_str(&output(&client, &run).await).unwrap();
    println!("a map over 1000 items: {:?}", begin.elapsed());
    assert_eq!(ended, (1..=1_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinators_runs_go_on_elsewhere_within_five_seconds() {
    let (_server, cli) = server().await;
    cli.push("hello");
    let _host = cli.host(&[]);
    let mut first = coordinator(&cli);
    let _second = coordinator(&cli);
    let client = cli.client().await;
    let document = chain(20);
    let mut runs = Vec::new();
    for _ in 0..32 {
        runs.push(start(&client, &document, "0").await);
    }
    first.kill();
    let died = Instant::now();
    for run in &runs {
        assert_eq!(output(&client, run).await, "20");
    }
    println!("all runs ended {:?} after the kill", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(8), "{:?}", died.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_told_to_stop_is_followed_at_once() {
    let (_server, cli) = server().await;
    cli.push("hello");
    let _host = cli.host(&[]);
    let mut first = coordinator(&cli);
    let client = cli.client().await;
    let document = chain(20);
    let mut runs = Vec::new();
    for _ in 0..16 {
        runs.push(start(&client, &document, "0").await);
    }
    let _second = coordinator(&cli);
    first.signal(Signal::TERM);
    assert_eq!(first.exit().0, 0);
    let stopped = Instant::now();
    runs.push(start(&client, &document, "0").await);
    for run in &runs {
        assert_eq!(output(&client, run).await, "20");
    }
    println!("all runs ended {:?} after the stop", stopped.elapsed());
    assert!(stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_outlast_the_kill_of_the_whole_platform() {
    let data = tempfile::tempdir().unwrap();
    let mut dev = Dev::start_in(data.path(), &[]);
    dev.cli.push("hello");
    let waiting = Document::from_json(&json!({"chain": [{"wait": "go"}, {"task": "hello/add", "args": [1]}]})).unwrap();
    let client = dev.cli.client().await;
    let run = client.start(Order::new(waiting)).await.unwrap();
    dev.process.kill();
    drop(dev);
    let dev = Dev::start_in(data.path(), &[]);
    let client = dev.cli.client().await;
    client.signal(&run, &"go".parse().unwrap(), &"41".into(), None).await.unwrap();
    assert_eq!(output(&client, &run).await, "42");
}

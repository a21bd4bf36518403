//! A chord of a thousand guests while its coordinator, one of its hosts and its broker are killed, each in the middle of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use lovage::broker::Start;
use lovage::client::{Client, Order};
use lovage::model::RunId;
use lovage::workflow::flow::Document;
use lovage::workflow::journal::Event;
use serde_json::json;

use super::server;
use crate::support::eventually::PATIENCE;
use crate::support::platform::Cli;
use crate::support::process::Process;

/// Members of the chord.
const MEMBERS: usize = 1_000;

/// Members in flight: few enough that the chord cannot end without those who are killed.
const IN_FLIGHT: usize = 64;

/// How long it takes at most: the debug build of a machine of two busy cores, leases and heartbeats that run out included.
const TIME_MAX: Duration = Duration::from_secs(40);

/// `{id(0), id(1), ...} => sum`, its header written as a map: only that has a bound of its own for members in flight.
fn chord() -> Document {
    let items: Vec<usize> = (0..MEMBERS).collect();
    let header = json!({"map": {"task": "canvas/id"}, "over": items, "concurrency": IN_FLIGHT});
    Document::from_json(&json!({"chain": [header, {"task": "canvas/sum"}]})).unwrap()
}

/// Waits until the journal holds `count` outcomes of the run's attempts.
async fn outcomes(client: &Client, run: &RunId, count: usize) {
    let filter = format!("lvg.default.run.*.{run}.step.>");
    let read = client.broker().streams.read(&filter, Start::Sequence(1), true);
    let mut records = read.await.unwrap();
    for seen in 0..count {
        let next = tokio::time::timeout(PATIENCE, records.try_next()).await;
        next.unwrap_or_else(|_| panic!("{seen} outcomes, not {count}")).unwrap().unwrap();
    }
}

/// A coordinator process that reads.
fn coordinator(cli: &Cli) -> Process {
    let coordinator = Process::start(&mut cli.command(&["coordinator"]));
    coordinator.line("ready", |line| line.ends_with(" ready"));
    coordinator
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chord_of_a_thousand_survives_the_kill_of_everyone() {
    let (mut server, cli) = server().await;
    cli.push("canvas");
    let client = cli.client().await;
    let mut doomed_host = cli.host(&["--lease", "2s"]);
    let _host = cli.host(&["--lease", "2s"]);
    let mut doomed_coordinator = coordinator(&cli);
    let begun = Instant::now();
    let run = client.start(Order::new(chord())).await.unwrap();
    let told = |what: &str| println!("{:5.2} s  {what}", begun.elapsed().as_secs_f64());

    outcomes(&client, &run, MEMBERS / 4).await;
    doomed_coordinator.kill();
    told("the coordinator is killed");
    let _coordinator = coordinator(&cli);
    told("another one reads");

    outcomes(&client, &run, MEMBERS / 2).await;
    doomed_host.kill();
    told("a host is killed");

    outcomes(&client, &run, MEMBERS * 3 / 4).await;
    server.server.kill().await;
    told("the broker is killed");
    server.server.restart().await.unwrap();
    told("the broker is back");

    let end = tokio::time::timeout(PATIENCE, client.wait_run(&run)).await.expect("it must end").unwrap();
    told("the run has ended");
    let took = begun.elapsed();
    let sum = MEMBERS * (MEMBERS - 1) / 2;
    assert_eq!(client.run_output(&run, &end).await.unwrap(), sum.to_string());
    assert_each_once(&client, &run).await;
    assert!(took < TIME_MAX, "{took:?}");
}

/// Every member and the body have exactly one outcome, of their first attempt; the run has one start and one end.
async fn assert_each_once(client: &Client, run: &RunId) {
    let records = client.run_records(run, false).await.unwrap();
    let records: Vec<_> = records.try_collect().await.unwrap();
    let mut outcomes: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for record in &records {
        if let Event::Outcome { step, attempt, .. } = &record.record.event {
            outcomes.entry(step.to_string()).or_default().push(*attempt);
        }
    }
    let starts = records.iter().filter(|record| matches!(record.record.event, Event::Start(_))).count();
    let ends = records.iter().filter(|record| matches!(record.record.event, Event::End { .. })).count();
    assert_eq!((starts, ends), (1, 1));
    assert_eq!(outcomes.remove("0-1"), Some(vec![1]), "the body");
    assert_eq!(outcomes.len(), MEMBERS);
    for item in 0..MEMBERS {
        assert_eq!(outcomes.get(&format!("0-0_{item}")), Some(&vec![1]), "member {item}");
    }
}

//! Which hosts there are, what they do, and how they leave: of real processes.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage::broker::nats::{Nats, Options};
use rustix::process::Signal;
use serde_json::Value as Json;

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::platform::Cli;

/// All hosts, as `lovage hosts ls` shows them.
fn hosts(cli: &Cli) -> Vec<Json> {
    let listed = cli.run(&["hosts", "ls", "--json"]);
    listed.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only host, once there is one.
fn only(cli: &Cli) -> Json {
    eventually_there("one host", || match &hosts(cli)[..] {
        [host] => Some(host.clone()),
        _ => None,
    })
}

fn id(host: &Json) -> &str {
    host["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_hosts_is_true_within_five_seconds_of_a_kill() {
    let (_server, cli) = server().await;
    let mut killed = cli.host(&["--label", "region=eu", "--queues", "images=3,default", "--concurrency", "4"]);
    let host = only(&cli);
    assert_eq!((&host["state"], &host["slots"]), (&"serving".into(), &4.into()));
    assert_eq!((&host["labels"]["region"], &host["queues"]["images"]), (&"eu".into(), &3.into()));
    assert_eq!((&host["running"], &host["version"]), (&0.into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(host["memory_bytes"].as_u64().unwrap() > 1 << 20, "{host}");
    let row = cli.run(&["hosts", "ls", "--label", "region=eu"]).output().lines().nth(1).unwrap().to_owned();
    assert!(row.contains(id(&host)) && row.contains("region=eu") && row.contains("default,images=3"), "{row}");
    assert_eq!(cli.run(&["hosts", "ls", "--label", "region=us", "--json"]).output(), "");
    let second = cli.host(&[]);
    eventually_there("both", || (hosts(&cli).len() == 2).then_some(()));
    let gone = Instant::now();
    killed.kill();
    eventually_there("the dead is gone from the list", || (hosts(&cli).len() == 1).then_some(()));
    let took = gone.elapsed();
    println!("a killed host left the list after {took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    // One that stops by itself says so.
    let (mut second, stopped) = (second, Instant::now());
    second.signal(Signal::TERM);
    assert_eq!(second.exit().0, 0);
    assert!(hosts(&cli).is_empty() && stopped.elapsed() < Duration::from_secs(3), "{:?}", stopped.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_what_runs_and_what_it_has_done() {
    let (_server, cli) = server().await;
    cli.push("hello");
    cli.push_wat("spins", &guests::spins());
    let _host = cli.host(&["--concurrency", "2"]);
    let host = only(&cli);
    assert_eq!(cli.run(&["call", "hello/add", "[1, 2]"]).output(), "3");
    cli.run(&["call", "hello/add", "no"]).fails(1, &["does not fit"]);
    let task = cli.send(&["spins/run", "--fuel", "off"]);
    let inspected = || cli.run(&["hosts", "inspect", id(&host), "--json"]).json();
    let detail =
        eventually_there("it runs", || Some(inspected()).filter(|detail| detail["tasks"][0]["state"] == "running"));
    let running = &detail["tasks"][0];
    assert_eq!((&running["id"], &running["task"]), (&task.as_str().into(), &"spins@1/run".into()));
    assert_eq!(
        (&running["tenant"], &running["queue"], &running["attempt"]),
        (&"default".into(), &"default".into(), &1.into())
    );
    assert_eq!(running["memory_bytes"], 65_536);
    assert_eq!((&detail["host"]["running"], &detail["host"]["reserved"]), (&1.into(), &0.into()));
    let done = &detail["done"]["default"];
    assert_eq!((&done["attempts"], &done["failed"]), (&2.into(), &1.into()));
    assert!(done["last_failure"].as_str().unwrap().len() > 5, "{done}");
    assert_eq!((&detail["capacity"]["slots_free"], &detail["capacity"]["hot_modules"]), (&1.into(), &2.into()));
    let shown = cli.run(&["hosts", "show", id(&host)]);
    for part in ["serving on", "1 of 2 slots run", "queue default: 2 attempts", "spins@1/run", "64.0 KiB"] {
        assert!(shown.output().contains(part), "{part}: {}", shown.stdout);
    }
    cli.run(&["hosts", "show", "nobody"]).fails(2, &["ask host nobody", "lovage hosts ls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_host_finishes_hands_back_the_rest_and_leaves() {
    let (_server, cli) = server().await;
    cli.push("probe");
    cli.push_wat("spins", &guests::spins());
    let mut host = cli.host(&["--concurrency", "2", "--drain", "1h"]);
    let first = only(&cli);
    let long = cli.send(&["spins/run", "--fuel", "off"]);
    eventually_there("it runs", || (cli.state(&long) == "running").then_some(()));
    cli.run(&["hosts", "drain", "nobody", id(&first)]).fails(2, &["ask host nobody", "lovage hosts ls"]);
    cli.run(&["hosts", "drain", "--label", "region=mars"]).fails(2, &["no host fits"]);
    // Its own choice is an hour; the later word counts.
    let told = cli.run(&["hosts", "drain", id(&first), "--detach"]);
    assert!(told.stderr.contains("1 tasks in hand"), "{}", told.stderr);
    assert_eq!(
        eventually_there("it drains", || Some(only(&cli)).filter(|host| host["state"] == "draining"))["running"],
        1
    );
    let queued = cli.send(&["probe/echo", "7"]);
    let asked = Instant::now();
    let left = cli.run(&["hosts", "drain", "--all", "--deadline", "1s"]);
    assert!(left.stderr.contains("has left"), "{}", left.stderr);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(host.exit().0, 0);
    assert!(hosts(&cli).is_empty());
    // What ran was handed back, and what came meanwhile waited.
    assert_eq!((cli.state(&long).as_str(), cli.state(&queued).as_str()), ("queued", "queued"));
    let _next = cli.host(&[]);
    assert_eq!(cli.settled(&queued)["output"], 7);
    eventually_there("it runs again", || (cli.state(&long) == "running").then_some(()));
    cli.run(&["cancel", &long]).output();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_of_nats_see_hosts_as_services() {
    let (server, cli) = server().await;
    cli.push("hello");
    let _hosts = [cli.host(&[]), cli.host(&["--queues", "images"])];
    eventually_there("both", || (hosts(&cli).len() == 2).then_some(()));
    assert_eq!(cli.run(&["call", "hello/add", "[1, 2]"]).output(), "3");
    // As `nats micro ls`, `info` and `stats` ask.
    let bus = Nats::connect(Options::new(server.server.url(), "nats cli")).await.unwrap().broker().bus;
    let ask = async |subject: &str| -> Vec<Json> {
        let answers = bus.ask(subject, Bytes::new(), Duration::from_secs(1), 10).await.unwrap();
        answers.iter().map(|answer| serde_json::from_slice(&answer.payload).unwrap()).collect()
    };
    let pings = ask("$SRV.PING").await;
    assert_eq!(pings.len(), 2, "{pings:?}");
    assert!(pings.iter().all(|ping| ping["type"] == "io.nats.micro.v1.ping_response" && ping["name"] == "lovage-host"));
    let infos = ask("$SRV.INFO.lovage-host").await;
    let images = infos.iter().find(|info| info["endpoints"][0]["name"] == "images").unwrap();
    assert_eq!(images["endpoints"][0]["subject"], "lvg.default.task.images.>");
    let stats = ask(&format!("$SRV.STATS.lovage-host.{}", id(images))).await;
    assert_eq!(stats.len(), 1, "one host was asked: {stats:?}");
    assert_eq!(stats[0]["endpoints"][0]["num_requests"], 0);
    let all = ask("$SRV.STATS").await;
    let requests: u64 = all.iter().map(|one| one["endpoints"][0]["num_requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 1, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_stays_small_whatever_guests_do() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let _host = cli.host(&["--concurrency", "4"]);
    only(&cli);
    let client = cli.client().await;
    let mut held = Vec::new();
    for round in 0..3 {
        let modules = (0..8).map(|n| format!("m{round}-{n}"));
        let called: Vec<String> = modules.inspect(|name| cli.push_wat(name, &guests::rounds(1_000))).collect();
        let calls = called.iter().map(|name| (format!("{name}/run"), "null".to_owned()));
        // Outputs of megabytes, more log lines than are kept, and many modules.
        let fills = (0..12).map(|_| ("probe/fill".to_owned(), r#"{"bytes": 8000000}"#.to_owned()));
        let chatty = (0..8).map(|_| ("probe/chatty".to_owned(), r#"{"lines": 20000}"#.to_owned()));
        let tasks: Vec<(String, String)> = calls.chain(fills).chain(chatty).collect();
        let ends = tasks.iter().map(|(task, input)| client.call(super::signature(task, input)));
        for end in futures::future::join_all(ends).await {
            let end = end.unwrap();
            assert!(end.end.failure().is_none(), "{end:?}");
        }
        held.push(only(&cli)["memory_bytes"].as_u64().unwrap() >> 20);
    }
    println!("MiB that the host holds after each round: {held:?}");
    assert!(held.iter().all(|mib| *mib < 1_000), "{held:?}");
    assert!(held[2] < held[0] + 200, "it grows: {held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_bounds_what_tasks_ask_for() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let _host = cli.host(&["--fuel-max", "20000000", "--memory-max", "8388608", "--attempt-timeout-max", "2s"]);
    let call = |args: &[&str]| cli.run(&[&["call", "--retry", "1"][..], args].concat());
    let much = ["probe/burn", "{\"units\": 4000000}"];
    call(&[&much[..], &["--fuel", "off"]].concat()).fails(1, &["error: out_of_fuel", "20000000"]);
    call(&[&much[..], &["--fuel", "50000000000"]].concat()).fails(1, &["error: out_of_fuel", "20000000"]);
    call(&["probe/alloc", "{\"bytes\": 16777216}", "--memory", "1073741824"])
        .fails(1, &["error: memory_limit", "more than its 8388608 bytes"]);
    assert_eq!(call(&["probe/alloc", "{\"bytes\": 1048576}"]).output(), "1048576");
    cli.run(&["host", "--memory-max", "1"]).fails(2, &["from 131072 to 1073741824"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_has_compiled_its_host_has_at_once() {
    let (_server, cli) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().to_str().unwrap();
    let file = guests::built("probe");
    cli.run(&["module", "push", "probe", file.to_str().unwrap(), "--cache", cache]).output();
    let artifacts = || {
        let files = walk(dir.path());
        files.into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "cwasm")).collect::<Vec<_>>()
    };
    let stored = artifacts();
    let written = |file: &std::path::PathBuf| std::fs::metadata(file).unwrap().ino();
    let inodes: Vec<u64> = stored.iter().map(written).collect();
    assert_eq!(stored.len(), 1);
    let host = cli.host(&["--cache", cache]);
    assert_eq!(cli.run(&["call", "probe/echo", "1"]).output(), "1");
    assert_eq!(artifacts(), stored);
    assert_eq!(stored.iter().map(written).collect::<Vec<_>>(), inodes, "it was not compiled again");
    assert!(!host.has_said("compiled"));
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

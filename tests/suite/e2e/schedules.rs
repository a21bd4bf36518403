//! Schedules with real coordinators, of which one is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::platform::Cli;
use crate::support::process::Process;

fn coordinator(cli: &Cli) -> Process {
    let coordinator = Process::start(&mut cli.command(&["coordinator"]));
    coordinator.line("ready", |line| line.ends_with(" ready"));
    coordinator
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_starts_once_although_a_coordinator_is_killed() {
    let (server, cli) = server().await;
    cli.push("hello");
    let _host = cli.host(&[]);
    let mut first = coordinator(&cli);
    let _second = coordinator(&cli);
    let broker = server.nats.broker();
    let mut results = broker.bus.listen("lvg.default.res.*").await.unwrap();
    let names: Vec<String> = (0..8).map(|n| format!("tick{n}")).collect();
    for name in &names {
        cli.run(&["schedule", "create", name, "--every", "1s", "--overlap", "allow", "--task", "hello/add", "[1, 2]"])
            .output();
    }
    let recent = |name: &str| {
        let shown = cli.run(&["schedule", "show", name, "--json"]).json();
        let recent = shown["recent"].as_array().unwrap().clone();
        (shown["started"].as_u64().unwrap(), shown["missed"].as_u64().unwrap(), recent)
    };
    eventually_there("all have begun", || names.iter().all(|name| recent(name).0 >= 2).then_some(()));
    first.kill();
    let died = Instant::now();
    let begun: Vec<u64> = names.iter().map(|name| recent(name).0).collect();
    eventually_there("all go on", || {
        names.iter().zip(&begun).all(|(name, begun)| recent(name).0 >= begun + 8).then_some(())
    });
    println!("all schedules have gone on {:?} after the kill", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(25), "{:?}", died.elapsed());
    for name in &names {
        cli.run(&["schedule", "pause", name]).output();
    }
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for name in &names {
        let (started, missed, recent) = recent(name);
        assert_eq!(missed, 0, "{name} has caught up");
        let slots: Vec<String> = recent.iter().map(|begun| begun["slot"].as_str().unwrap().to_owned()).collect();
        let mut times: Vec<i64> =
            slots.iter().map(|slot| slot.parse::<lovage::model::Timestamp>().unwrap().as_millis()).collect();
        times.sort_unstable();
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{name}: a slot is left out: {slots:?}");
        assert!(started >= 10, "{started}");
        for begun in recent {
            let id = begun["id"].as_str().unwrap().to_owned();
            assert_eq!(cli.settled(&id)["output"], 3);
            ends.insert(id, 0);
        }
    }
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_millis(200), futures::StreamExt::next(&mut results)).await
    {
        let id = message.subject.rsplit('.').next().unwrap().to_owned();
        ends.entry(id).and_modify(|count| *count += 1);
    }
    assert!(ends.values().all(|count| *count == 1), "a slot has run twice: {ends:?}");
}

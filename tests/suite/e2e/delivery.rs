//! Nothing is lost and nothing is committed twice when hosts are killed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::Start;
use lovage::client::{Client, Error, Place};
use lovage::model::lifecycle::{End, Record, State};
use lovage::model::{Kind, TaskId};
use lovage::protocol::record;

use rustix::process::Signal;

use super::{server, signature, task_id};
use crate::support::eventually::{PATIENCE, eventually, eventually_there};
use crate::support::guests;

/// Tasks whose hosts are killed.
const TASKS: usize = 1_000;

/// All outcomes are there this long after the kill.
const RECOVERY_MAX: Duration = Duration::from_secs(45);

/// Publishes in flight at a time.
const SUBMITS_MAX: usize = 64;

/// Listens to records until every one of `ids` has settled; the ends that were heard of each.
async fn hear_all(client: &Client, mut on_count: impl FnMut(usize), total: usize) -> HashMap<TaskId, Vec<End>> {
    let mut results = client.broker().bus.listen("lvg.default.res.*").await.unwrap();
    let mut heard: HashMap<TaskId, Vec<End>> = HashMap::new();
    on_count(0);
    while heard.len() < total {
        let message = tokio::time::timeout(PATIENCE, results.next()).await.expect("a result is missing").unwrap();
        let id = task_id(message.subject.rsplit('.').next().unwrap());
        if let Record::Settled(settled) = record::decode(&message.headers, &message.payload).unwrap() {
            heard.entry(id).or_default().push(settled.end);
        }
        on_count(heard.len());
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_survive_a_killed_host() {
    let (_server, cli) = server().await;
    cli.push_wat("rounds", &guests::rounds(5_000_000));
    let client = cli.client().await;
    let mut doomed = cli.host(&["--lease", "5s"]);
    let _other = cli.host(&["--lease", "5s"]);
    let (begun, begin) = tokio::sync::oneshot::channel();
    let (mut begun, mut killed) = (Some(begun), None);
    let count = |count: usize| {
        if let Some(begun) = begun.take() {
            begun.send(()).unwrap();
        }
        if count >= TASKS / 4 && killed.is_none() {
            doomed.kill();
            killed = Some(Instant::now());
        }
    };
    let submit = async {
        begin.await.unwrap();
        let submits = (0..TASKS).map(|n| client.submit(signature("rounds/run", &n.to_string()), &PLACE));
        let ids: Vec<TaskId> =
            futures::stream::iter(submits).buffer_unordered(SUBMITS_MAX).try_collect().await.unwrap();
        ids.into_iter().collect::<HashSet<TaskId>>()
    };
    let (heard, ids) = tokio::join!(hear_all(&client, count, TASKS), submit);
    let recovery = killed.unwrap().elapsed();
    assert!(recovery < RECOVERY_MAX, "{recovery:?}");
    assert_eq!(heard.keys().cloned().collect::<HashSet<TaskId>>(), ids);
    assert!(heard.values().flatten().all(|end| matches!(end, End::Succeeded(_))));
    // What was heard may be stored a moment later.
    let stored = eventually("all records are stored", || async {
        let stored = client.broker().streams.read("lvg.default.res.*", Start::Sequence(1), false).await.unwrap();
        let stored: Vec<_> = stored.try_collect().await.unwrap();
        (stored.len() >= TASKS).then_some(stored)
    })
    .await;
    // A record that was written in place of another would have a later sequence.
    let sequences: Vec<u64> = stored.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, (1..=TASKS as u64).collect::<Vec<u64>>());
}

/// The default queue.
static PLACE: std::sync::LazyLock<Place> = std::sync::LazyLock::new(Place::default);

#[tokio::test(flavor = "multi_thread")]
async fn a_long_task_of_a_killed_host_runs_elsewhere() {
    let (_server, cli) = server().await;
    cli.push_wat("rounds", &guests::rounds(400_000_000));
    let client = cli.client().await;
    let mut doomed = cli.host(&["--lease", "2s"]);
    let id = client.submit(signature("rounds/run", "null"), &PLACE).await.unwrap();
    let first = running_on(&client, &id).await;
    let _other = cli.host(&["--lease", "2s"]);
    doomed.kill();
    let killed = Instant::now();
    let settled = client.wait(&id, &mut |_| {}).await.unwrap();
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert!(matches!(settled.end, End::Succeeded(_)), "{settled:?}");
    assert_eq!((settled.usage.attempt, settled.usage.delivery), (1, 2));
    assert_ne!(settled.usage.host.unwrap().as_str(), first);
}

/// The host that runs the task, once one does.
async fn running_on(client: &Client, id: &TaskId) -> String {
    let mut found = None;
    while found.is_none() {
        found = client.state(id).await.unwrap().host;
    }
    found.unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_loses_every_host_ends_as_host_lost() {
    let (_server, cli) = server().await;
    cli.push_wat("spins", &guests::spins());
    let id = cli.send(&["spins/run", "--fuel", "off"]);
    for _ in 0..4 {
        let mut host = cli.host(&["--lease", "1s"]);
        eventually_there("it runs", || (cli.state(&id) == "running").then_some(()));
        host.kill();
    }
    let _host = cli.host(&["--lease", "1s"]);
    let record = cli.settled(&id);
    assert_eq!((&record["state"], &record["failure"]["kind"]), (&"failed".into(), &Kind::HostLost.code().into()));
    assert_eq!(record["usage"]["delivery"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_survives_any_number_of_hosts_that_are_stopped() {
    let (_server, cli) = server().await;
    cli.push_wat("spins", &guests::spins());
    let id = cli.send(&["spins/run", "--fuel", "off"]);
    for _ in 0..5 {
        let mut host = cli.host(&["--drain", "0s"]);
        eventually_there("it runs", || (cli.state(&id) == "running").then_some(()));
        host.signal(Signal::TERM);
        host.exit();
    }
    let _host = cli.host(&[]);
    eventually_there("it runs again", || (cli.state(&id) == "running").then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_told_to_stop_hands_its_task_to_another() {
    let (_server, cli) = server().await;
    cli.push_wat("spins", &guests::spins());
    let client = cli.client().await;
    let mut leaving = cli.host(&["--drain", "0s"]);
    let id = client.submit(fuel_off("spins/run"), &PLACE).await.unwrap();
    let first = running_on(&client, &id).await;
    let _other = cli.host(&[]);
    leaving.signal(rustix::process::Signal::TERM);
    assert_eq!(leaving.exit().0, 0);
    // The lease is 20 s: it is handed back, not lost.
    let left = Instant::now();
    assert_ne!(running_on(&client, &id).await, first);
    assert!(left.elapsed() < Duration::from_secs(10), "{:?}", left.elapsed());
    client.cancel(&id).await.unwrap();
}

fn fuel_off(task: &str) -> lovage::model::Signature {
    let mut signature = signature(task, "null");
    signature.options.limits.fuel = Some(lovage::model::limits::FuelWish::Off(lovage::model::limits::Off::Off));
    signature
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_queued_once_and_settled_once() {
    let (_server, cli) = server().await;
    cli.push_wat("rounds", &guests::rounds(400_000_000));
    let client = cli.client().await;
    let _hosts = [cli.host(&[]), cli.host(&[])];
    let id = client.new_id();
    client.submit_as(&id, signature("rounds/run", "null"), &PLACE).await.unwrap();
    running_on(&client, &id).await;
    let again = client.submit_as(&id, signature("rounds/run", "null"), &PLACE).await;
    assert!(matches!(again, Err(Error::Occupied(occupied)) if occupied == id));
    client.wait(&id, &mut |_| {}).await.unwrap();
    // The message is gone a moment after its record is there; then the id is free, and the record still stands.
    loop {
        match client.submit_as(&id, signature("rounds/run", "null"), &PLACE).await {
            Ok(()) => break,
            Err(Error::Occupied(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
    eventually_there("the second message is gone", || (!is_queued(&client, &id)).then_some(()));
    assert_eq!(client.state(&id).await.unwrap().state, State::Succeeded);
    let stored = client.broker().streams.last(&format!("lvg.default.res.{id}")).await.unwrap().unwrap();
    assert_eq!(stored.sequence, 1, "the record was replaced");
}

/// Whether the task stream holds the task.
fn is_queued(client: &Client, id: &TaskId) -> bool {
    let subject = format!("lvg.default.task.default.5.{id}");
    let last = async { client.broker().streams.last(&subject).await.unwrap() };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(last)).is_some()
}

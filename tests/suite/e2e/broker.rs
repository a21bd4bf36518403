//! A broker that is late, gone or full.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lovage::broker::Settings;
use lovage::broker::nats::server::{Plan, Server, find};
use lovage::client::Client;
use lovage::host::{Config, Host};
use lovage::model::lifecycle::End;
use lovage::sandbox::{self, Compiler, Sandbox};
use lovage::telemetry::Metrics;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use super::{server, signature};
use crate::support::eventually::eventually_there;
use crate::support::guests;
use crate::support::nats::TestServer;
use crate::support::platform::{Cli, LOVAGE, free_port, nats_server};
use crate::support::process::{Process, page};

/// Tasks that are on their way while the broker is killed.
const TASKS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_first_waits_for_its_broker() {
    let port = free_port();
    let cli = Cli { nats: format!("nats://127.0.0.1:{port}") };
    let host = Process::start(&mut cli.command(&["host"]));
    host.line("it waits", |line| line.contains("the broker is away: waiting for it"));
    let data = tempfile::tempdir().unwrap();
    let binary = find(Some(&nats_server()), &lovage::broker::nats::server::Places::default()).unwrap();
    let plan = Plan { binary, data_dir: data.path().to_owned(), port, launcher: None };
    let _server = Server::start(plan).await.unwrap();
    host.line("ready", |line| line.ends_with(" ready"));
    cli.push("hello");
    assert_eq!(cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
}

#[test]
fn a_host_that_waits_for_its_broker_stops_when_it_is_told_to() {
    let cli = Cli { nats: format!("nats://127.0.0.1:{}", free_port()) };
    let mut host = Process::start(&mut cli.command(&["host"]));
    host.line("it waits", |line| line.contains("the broker is away: waiting for it"));
    host.signal(Signal::TERM);
    assert_eq!(host.exit().0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_lost_its_broker_stops_when_it_is_told_to() {
    let (mut server, cli) = server().await;
    cli.push_wat("spins", &guests::spins());
    let mut host = cli.host(&["--drain", "1s"]);
    let id = cli.send(&["spins/run", "--fuel", "off"]);
    eventually_there("it runs", || (cli.state(&id) == "running").then_some(()));
    server.server.kill().await;
    host.line("it is told", |line| line.contains("the connection to the broker is lost"));
    let told = Instant::now();
    host.signal(Signal::TERM);
    host.exit();
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[test]
fn without_a_broker_commands_say_how_to_get_one() {
    let cli = Cli { nats: format!("nats://127.0.0.1:{}", free_port()) };
    let id = "01jd00000000000000000000zz";
    for command in [&["call", "hello/add", "[1, 2]"][..], &["module", "ls"], &["result", id], &["cancel", id]] {
        let begun = Instant::now();
        cli.run(command).fails(3, &["error: failed to reach the broker", &cli.nats, "lovage dev", "LOVAGE_NATS"]);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    let cli = Cli { nats: "nats://not an address".to_owned() };
    cli.run(&["module", "ls"]).fails(3, &["not an address"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let (mut server, cli) = server().await;
    cli.push_wat("rounds", &guests::rounds(20_000_000));
    let _hosts = [cli.host(&["--lease", "5s"]), cli.host(&["--lease", "5s"])];
    let client = cli.client().await;
    let mut results = client.broker().bus.listen("lvg.default.res.*").await.unwrap();
    let mut ids = Vec::new();
    for n in 0..TASKS {
        ids.push(
            client.submit(signature("rounds/run", &n.to_string()), &lovage::client::Place::default()).await.unwrap(),
        );
    }
    for _ in 0..TASKS / 10 {
        results.next().await.unwrap();
    }
    server.server.kill().await;
    server.server.restart().await.unwrap();
    let back = Instant::now();
    for id in &ids {
        let settled = client.wait(id, &mut |_| {}).await.unwrap();
        assert!(matches!(settled.end, End::Succeeded(_)), "{settled:?}");
    }
    assert!(back.elapsed() < Duration::from_secs(30), "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_host_serves_again_as_soon_as_its_broker_is_back() {
    let (mut server, cli) = server().await;
    cli.push("hello");
    // A folder without a name is none, as an empty variable is.
    let host = cli.host(&["--port", "0", "--cache="]);
    let told = host.line("where it is seen", |line| line.contains("serving /healthz"));
    let (_, address) = told.rsplit_once("address=").unwrap();
    assert_eq!(page(address, "/readyz"), (200, "ready\n".to_owned()));
    server.server.kill().await;
    host.line("it is told", |line| line.contains("the connection to the broker is lost"));
    assert_eq!(page(address, "/readyz"), (503, "the broker is away\n".to_owned()));
    server.server.restart().await.unwrap();
    let back = Instant::now();
    assert_eq!(cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    assert_eq!(page(address, "/readyz"), (200, "ready\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_keeps_what_it_has() {
    let server = TestServer::start(Settings { queued_max: 3, ..Settings::default() }).await;
    let cli = Cli { nats: server.server.url() };
    cli.push("hello");
    let ids: Vec<String> = (0..3).map(|n| cli.send(&["hello/add", &format!("[{n}, 1]")])).collect();
    for command in ["send", "call"] {
        cli.run(&[command, "hello/add", "[9, 9]"]).fails(3, &["is full", "wait until hosts have done some of it"]);
    }
    let client = cli.client().await;
    let cache = tempfile::tempdir().unwrap();
    let host = serve(&client, cache.path()).await;
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(cli.settled(id)["output"], n + 1);
    }
    assert_eq!(cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
    host.stop.cancel();
    host.serving.await.unwrap();
}

/// A host in this process, which leaves the broker's limits as they are.
struct InProcess {
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

async fn serve(client: &Client, cache: &std::path::Path) -> InProcess {
    let config = sandbox::Config::new(2, 1, cache.to_owned(), Compiler::new(LOVAGE.into()));
    let sandbox = Sandbox::new(config).unwrap();
    let config = Config::new(client.tenant().clone(), "in-process".parse().unwrap(), 2);
    let host = Host::begin(client.broker().clone(), sandbox, config, Metrics::default()).await.unwrap();
    let stop = CancellationToken::new();
    let tracker = tokio_util::task::TaskTracker::new();
    let serving = tracker.spawn(serve_until(host, stop.clone()));
    InProcess { stop, serving }
}

async fn serve_until(host: Host, stop: CancellationToken) {
    host.serve(stop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_leaves_the_limits_that_an_operator_set() {
    let server = TestServer::start(Settings { queued_max: 1, ..Settings::default() }).await;
    let cli = Cli { nats: server.server.url() };
    cli.push("hello");
    drop(cli.host(&[]));
    cli.send(&["hello/add", "[1, 1]"]);
    cli.run(&["send", "hello/add", "[1, 1]"]).fails(3, &["is full"]);
}

//! The driver of the platform: a real broker, a coordinator, and hosts with the guest in the sandbox.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::Settings;
use lovage::broker::nats::{Nats, Options};
use lovage::client::{Client, Order, Upload};
use lovage::coordinator::{self, Coordinator};
use lovage::host::{self, Host};
use lovage::model::module::Manifest;
use lovage::model::{Contract, RunId, Tenant};
use lovage::telemetry::Metrics;
use lovage::workflow::flow::Document;
use lovage::workflow::journal::{Event, Record};
use lovage::workflow::run::StepState;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::case::{Case, Check, Expected, Seen};
use crate::cases::table;
use crate::exec::Rig;
use crate::server::TestServer;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The leases of hosts here: one that is killed is replaced soon.
const LEASE: Duration = Duration::from_secs(2);

/// A platform: the broker is gone when it goes.
struct Platform {
    client: Client,
    rig: Rig,
    _coordinator: Role,
    server: TestServer,
}

/// A role that ends as by `kill -9` when it is dropped.
struct Role(JoinHandle<()>);

impl Drop for Role {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "dropping the role aborts it")]
fn role(serve: impl Future<Output = ()> + Send + 'static) -> Role {
    Role(tokio::spawn(serve))
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

impl Platform {
    async fn start() -> Self {
        let rig = Rig::new().await;
        let server = TestServer::start(Settings::default()).await;
        let broker = server.nats.broker();
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        let upload = Upload {
            name: "canvas".parse().unwrap(),
            version: None,
            bytes: rig.stored.clone(),
            source_digest: None,
            contract: Contract::Task,
            tasks: rig.guest.tasks.clone(),
            manifest: Manifest::default(),
        };
        client.push(upload).await.unwrap();
        let config = coordinator::Config::new("c".parse().unwrap());
        let coordinator = Coordinator::begin(broker, config, &Metrics::default()).await.unwrap();
        let mut ready = coordinator.ready();
        let serving = role(async move { coordinator.serve(CancellationToken::new()).await.unwrap() });
        soon("the coordinator reads", ready.wait_for(|ready| *ready)).await.unwrap();
        Self { client, rig, _coordinator: serving, server }
    }

    async fn host(&self, id: &str, concurrency: usize) -> Role {
        let mut config = host::Config::new(Tenant::default_tenant(), id.parse().unwrap(), concurrency);
        config.lease = LEASE;
        let nats = Nats::connect(Options::new(self.server.server.url(), id)).await.unwrap();
        let sandbox = self.rig.sandbox.clone();
        let host = Host::begin(nats.broker(), sandbox, config, Metrics::default()).await.unwrap();
        role(async move {
            // A host has a connection of its own, which goes with it.
            let _nats = nats;
            host.serve(CancellationToken::new()).await.unwrap();
        })
    }

    async fn start_run(&self, case: &Case) -> RunId {
        let document = Document::parse(case.flow.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let mut order = Order::new(document);
        order.input = case.input.as_ref().map(|input| input.to_string().into());
        self.client.start(order).await.unwrap()
    }

    /// Waits until a step is at something.
    async fn until(&self, run: &RunId, step: &str, at: impl Fn(&StepState) -> bool + Send + Sync) {
        let mut show = |_: &lovage::client::RunView, changes: &[lovage::workflow::run::Change]| {
            !changes.iter().any(|change| change.step.as_str() == step && at(&change.state))
        };
        soon("the step is there", self.client.watch_run(run, &mut show)).await.unwrap();
    }

    /// What the guests of a run that has ended wrote. Their lines are on their way for a moment longer than its end.
    async fn log(&self, run: &RunId, case: &Case) -> Vec<String> {
        let lines = case.checks.iter().filter_map(|check| {
            let Check::Log(lines) = check else { return None };
            Some(lines.len())
        });
        let expected = lines.max().unwrap_or(0);
        let follow = async { self.client.run_logs(run, None, true).await.unwrap().take(expected).count().await };
        soon(case.name, follow).await;
        let all = self.client.run_logs(run, None, false).await.unwrap();
        all.map_ok(|said| said.line.message).try_collect().await.unwrap()
    }

    async fn seen(&self, run: &RunId, case: &Case) -> Seen {
        let ending = soon(case.name, self.client.wait_run(run)).await.unwrap().result;
        let records = self.client.run_records(run, false).await.unwrap();
        let journal: Vec<Record> = records.map_ok(|record| record.record).try_collect().await.unwrap();
        let (first, last) = (journal.first().unwrap().time, journal.last().unwrap().time);
        let log = Some(self.log(run, case).await);
        Seen { ending, journal, log, took_ms: last.since(first).as_millis() }
    }

    async fn play(&self, case: &Case) {
        let run = self.start_run(case).await;
        if let Some(line) = case.cancel_at {
            let mut said = self.client.run_logs(&run, None, true).await.unwrap();
            let heard = async {
                while let Some(said) = said.try_next().await.unwrap() {
                    if said.line.message == line {
                        return;
                    }
                }
            };
            soon("the line that it is cancelled at", heard).await;
            self.client.cancel_run(&run).await.unwrap();
        }
        case.assert(&self.seen(&run, case).await);
    }
}

/// Here a timer takes its time.
fn is_long(case: &Case) -> bool {
    case.checks.iter().any(|check| matches!(check, Check::TookAtLeast(ms) if *ms > 10_000))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_holds_on_the_platform() {
    let platform = Platform::start().await;
    let (narrow, wide): (Vec<Case>, Vec<Case>) =
        table().into_iter().filter(|case| !is_long(case)).partition(|case| case.concurrency == 1);
    for (slots, cases) in [(1, narrow), (64, wide)] {
        let _host = platform.host(&format!("h-{slots}"), slots).await;
        for case in cases {
            let began = std::time::Instant::now();
            platform.play(&case).await;
            println!("{:7.1} ms  {}", began.elapsed().as_secs_f64() * 1e3, case.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_host_is_killed_runs_again_elsewhere() {
    let platform = Platform::start().await;
    let first = platform.host("first", 1).await;
    let flow = "{chord: {header: [{task: canvas/slow, input: [1500, 1]}, {value: 2}], body: {task: canvas/id}}}";
    let case = Case::new("a killed host", flow, Expected::Output(json!([1, 2]))).check(Check::Attempts("0-1", 1));
    let run = platform.start_run(&case).await;
    platform.until(&run, "0-0-0", |state| *state == StepState::Queued).await;
    // It has the task: its sandbox has one slot less.
    let sandbox = platform.rig.sandbox.clone();
    soon("the task runs", async {
        while sandbox.stats().slots_free == 64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(first);
    let _second = platform.host("second", 4).await;
    let seen = platform.seen(&run, &case).await;
    case.assert(&seen);
    let outcomes = |record: &&Record| matches!(&record.event, Event::Outcome { step, .. } if step.as_str() == "0-0-0");
    assert_eq!(seen.journal.iter().filter(outcomes).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_orders_with_one_key_are_one_run() {
    let platform = Platform::start().await;
    let _host = platform.host("h", 4).await;
    let case = Case::new("a key", "{task: canvas/mark, input: once}", Expected::Output(json!("once")));
    let order = || {
        let mut order = Order::new(Document::parse(case.flow.as_bytes()).unwrap());
        order.idempotency_key = Some("k".to_owned());
        order
    };
    let first = platform.client.start(order()).await.unwrap();
    assert_eq!(platform.client.start(order()).await.unwrap(), first);
    let seen = platform.seen(&first, &case).await;
    assert_eq!(platform.client.start(order()).await.unwrap(), first);
    case.assert(&seen);
    assert_eq!(platform.seen(&first, &case).await.journal, seen.journal);
}

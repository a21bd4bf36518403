//! Coordinators on the broker in memory, whose time and faults a test moves, and on NATS. Tasks are done by a stand-in of a host,
//! which commits what a host would.

mod chaos;
mod flows;
mod large;
mod pinned;
mod retention;
mod sharing;
mod trouble;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use lovage::broker::memory::{Faults, Memory};
use lovage::broker::{Broker, Publish, Settings};
use lovage::client::{Client, Order, Upload};
use lovage::coordinator::{Config, Coordinator};
use lovage::host::queue_consumer;
use lovage::model::lifecycle::Usage;
use lovage::model::module::Manifest;
use lovage::model::step_life::{StepEnd, StepOutcome};
use lovage::model::{
    Contract, Failure, Kind, Queue, RunId, StepAttempt, TaskDescription, TaskKey, TaskName, Tenant, Value,
};
use lovage::protocol::step;
use lovage::protocol::subject::{RecordSubject, TaskSubject};
use lovage::protocol::task::{Form, TaskMessage, read_composed};
use lovage::store::values::Shelf;
use lovage::store::{run_values, values};
use lovage::telemetry::Metrics;
use lovage::workflow::flow::Document;
use lovage::workflow::journal::{End, Ending};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::nats::TestServer;

/// How long anything may take: hours of the clock in memory, which moves when nothing else does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker with the module `canvas`.
struct Rig {
    broker: Broker,
    client: Client,
    faults: Option<Faults>,
    _server: Option<TestServer>,
}

/// A role that runs until it is stopped or killed.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
    metrics: Metrics,
}

impl Running {
    /// As `kill -9`: nothing is handed back and nothing is finished.
    fn kill(&self) {
        self.task.abort();
    }

    /// As a request to terminate.
    async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("lovage_{name} ")));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[expect(clippy::disallowed_methods, reason = "dropping the handle aborts the role")]
fn spawn(role: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(role)
}

impl Rig {
    async fn memory() -> Self {
        Self::with_settings(Settings::default()).await
    }

    async fn with_settings(settings: Settings) -> Self {
        let memory = Memory::new();
        memory.provision(&Tenant::default_tenant(), &settings);
        Self::on(memory.broker(), Some(memory.faults()), None).await
    }

    async fn nats() -> Self {
        let server = TestServer::start(Settings::default()).await;
        let broker = server.nats.broker();
        Self::on(broker, None, Some(server)).await
    }

    async fn on(broker: Broker, faults: Option<Faults>, server: Option<TestServer>) -> Self {
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        let task = |name: &str| TaskDescription {
            name: name.parse::<TaskName>().unwrap(),
            summary: String::new(),
            input_schema: None,
            output_schema: None,
            media_type: None,
        };
        let upload = Upload {
            name: "canvas".parse().unwrap(),
            version: None,
            bytes: Bytes::from_static(b"a stand-in"),
            source_digest: None,
            contract: Contract::Task,
            tasks: ["add", "id", "sum", "fail", "big", "flow", "hang"].map(task).into(),
            manifest: Manifest::default(),
        };
        client.push(upload).await.unwrap();
        Self { broker, client, faults, _server: server }
    }

    fn faults(&self) -> &Faults {
        self.faults.as_ref().unwrap()
    }

    /// A coordinator that reads its share.
    async fn coordinator(&self, id: &str) -> Running {
        let running = self.begin(id, |_| {}).await;
        running.0.await_ready(running.1).await
    }

    async fn begin(&self, id: &str, change: impl FnOnce(&mut Config)) -> (Running, tokio::sync::watch::Receiver<bool>) {
        let (stop, metrics) = (CancellationToken::new(), Metrics::default());
        let mut config = Config::new(id.parse().unwrap());
        change(&mut config);
        let coordinator = Coordinator::begin(self.broker.clone(), config, &metrics).await.unwrap();
        let ready = coordinator.ready();
        let serve = stop.clone();
        let task = spawn(async move { coordinator.serve(serve).await.unwrap() });
        (Running { stop, task, metrics }, ready)
    }

    /// A stand-in for a host, and the tasks that it has done.
    async fn host(&self) -> (Running, Done) {
        self.stand_in(Care::Insists).await
    }

    async fn stand_in(&self, care: Care) -> (Running, Done) {
        let done = Done::default();
        let (broker, counted) = (self.broker.clone(), done.clone());
        let consumer = queue_consumer(self.client.tenant(), &Queue::default_queue(), Duration::from_secs(20));
        let mut deliveries = self.broker.queues.consume(&consumer).await.unwrap();
        deliveries.allow(64);
        let task = spawn(async move {
            loop {
                let Ok(delivery) = deliveries.next().await else { continue };
                deliveries.allow(1);
                if perform(&broker, &counted, &delivery.message, care).await {
                    drop(delivery.lease.finish().await);
                }
            }
        });
        (Running { stop: CancellationToken::new(), task, metrics: Metrics::default() }, done)
    }

    async fn start(&self, document: serde_json::Value, input: Option<&str>) -> RunId {
        let mut order = Order::new(Document::from_json(&document).unwrap());
        order.input = input.map(|input| Bytes::from(input.to_owned()));
        self.client.start(order).await.unwrap()
    }

    async fn wait(&self, run: &RunId) -> End {
        soon("the run ends", self.client.wait_run(run)).await.unwrap()
    }

    /// The output of a run that is to succeed.
    async fn output(&self, run: &RunId) -> String {
        let end = self.wait(run).await;
        let output = self.client.run_output(run, &end).await.unwrap_or_else(|error| panic!("{error}: {end:?}"));
        String::from_utf8(output.to_vec()).unwrap()
    }

    /// The failure of a run that is to fail.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    async fn failure(&self, run: &RunId) -> Failure {
        match self.wait(run).await.result {
            Ending::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// The names of a run's records.
    async fn records(&self, run: &RunId) -> Vec<String> {
        use futures::TryStreamExt as _;
        let records = self.client.run_records(run, false).await.unwrap();
        records.map_ok(|record| record.name.to_string()).try_collect().await.unwrap()
    }
}

/// What a stand-in does when the broker refuses an outcome.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// It tries again until the outcome is stored, as hosts do.
    Insists,
    /// It acknowledges the task all the same: the outcome is lost.
    Loses,
}

impl Running {
    async fn await_ready(self, mut ready: tokio::sync::watch::Receiver<bool>) -> Self {
        soon("the coordinator reads", ready.wait_for(|ready| *ready)).await.unwrap();
        self
    }
}

/// The attempts that a stand-in has done, in their order.
#[derive(Clone, Default)]
struct Done(Arc<Mutex<Vec<String>>>);

impl Done {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// The result of what must not take long.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Does one task as a host would, and commits its outcome; `false` leaves it as it is, running for ever.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
async fn perform(broker: &Broker, done: &Done, message: &lovage::broker::Message, care: Care) -> bool {
    let subject = TaskSubject::read(&message.subject).unwrap();
    let TaskKey::Step(key) = subject.key.clone() else { panic!("{subject:?}") };
    let task = TaskMessage::decode(&message.headers, &message.payload).unwrap();
    let outcome = RecordSubject::outcome(&subject.tenant, &key).to_string();
    loop {
        match broker.streams.last(&outcome).await {
            Ok(Some(_)) => return true,
            Ok(None) => break,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    let name = task.signature.task.task.as_str();
    if name == "hang" {
        return false;
    }
    done.0.lock().unwrap().push(format!("{}.{}", key.step, key.attempt));
    let shelf = Shelf::of_run(&subject.tenant, &key.run);
    let input = values::get(broker, shelf, &task.signature.input).await.unwrap();
    let input = match task.form {
        Form::Plain => input,
        Form::Composed => {
            let composed = read_composed(&input).unwrap();
            run_values::whole(broker, &subject.tenant, &key.run, &composed).await.unwrap()
        }
    };
    let input: serde_json::Value = serde_json::from_slice(&input).unwrap();
    let end = compute(name, &input);
    let end = match end {
        StepEnd::Succeeded(Value::Inline(bytes)) => {
            StepEnd::Succeeded(values::put(broker, shelf, bytes).await.unwrap())
        }
        StepEnd::Replaced(Value::Inline(bytes)) => StepEnd::Replaced(values::put(broker, shelf, bytes).await.unwrap()),
        other => other,
    };
    commit(broker, &subject.tenant, &key, end, care).await;
    true
}

async fn commit(broker: &Broker, tenant: &Tenant, key: &StepAttempt, end: StepEnd, care: Care) {
    let (headers, payload) = step::encode(&StepOutcome { end, usage: Usage::default() });
    let subject = RecordSubject::outcome(tenant, key).to_string();
    let publish = Publish { subject, headers, payload, expect: Some(0), ..Publish::default() };
    loop {
        match broker.streams.publish(publish.clone()).await {
            Ok(_) | Err(lovage::broker::Error::Conflict { .. }) => return,
            Err(_) if care == Care::Loses => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The tasks of `canvas`.
fn compute(task: &str, input: &serde_json::Value) -> StepEnd {
    let numbers =
        || -> i64 { input.as_array().map_or(0, |all| all.iter().filter_map(serde_json::Value::as_i64).sum()) };
    let inline = |text: String| StepEnd::Succeeded(Value::Inline(text.into()));
    match task {
        "add" | "sum" => inline(numbers().to_string()),
        "big" => inline(format!("\"{}\"", "x".repeat(200_000))),
        "flow" => StepEnd::Replaced(Value::Inline(input.to_string().into())),
        "fail" => StepEnd::Failed(Failure::new(Kind::Refused, input.to_string())),
        _ => inline(input.to_string()),
    }
}

//! Schedules on the broker in memory, whose time and faults a test moves. What starts is done by the test itself.
//!
//! | file | what is promised |
//! |---|---|
//! | `slots` | when something starts, and how often |
//! | `overlap` | what happens while an earlier start has not ended |
//! | `control` | pause, trigger, backfill, removal, what is refused |
//! | `chaos` | one start a slot, whatever dies and whatever is lost |

mod chaos;
mod control;
mod overlap;
mod slots;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use lovage::broker::memory::{Faults, Memory};
use lovage::broker::{Broker, Message, Settings};
use lovage::client::{Client, Draft, Upload};
use lovage::host::queue_consumer;
use lovage::model::lifecycle::{End, Record, Settled, Usage};
use lovage::model::module::Manifest;
use lovage::model::name::PARTITIONS;
use lovage::model::schedule::{CATCH_UP_DEFAULT, Overlap, Rules, When};
use lovage::model::signature::Wanted;
use lovage::model::{Contract, Signature, TaskDescription, TaskId, TaskKey, Tenant, Timestamp, Value};
use lovage::protocol::schedule::{Call, Schedule, What};
use lovage::protocol::subject::{PRIORITY_DEFAULT, TaskSubject};
use lovage::protocol::task::TaskMessage;
use lovage::schedule::driver::Driver;
use lovage::store::records;
use lovage::telemetry::Metrics;
use lovage::workflow::flow::Document;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take, in the time of the broker in memory.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A broker with the module `m` and the flow `f`.
struct Rig {
    broker: Broker,
    client: Client,
    faults: Faults,
}

/// A role that runs until it is dropped.
struct Running {
    task: JoinHandle<()>,
    holds: watch::Sender<BTreeSet<char>>,
    metrics: Metrics,
}

impl Drop for Running {
    /// As `kill -9`.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Something that was started.
#[derive(Debug)]
struct Started {
    id: TaskId,
    /// Its label.
    slot: Timestamp,
    /// How long after the slot it was queued.
    late: Duration,
}

#[expect(clippy::disallowed_methods, reason = "dropping the handle aborts the role")]
fn spawn(role: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(role)
}

fn every_partition() -> BTreeSet<char> {
    PARTITIONS.chars().collect()
}

fn second(second: u64) -> Duration {
    Duration::from_secs(second)
}

impl Rig {
    async fn new() -> Self {
        let memory = Memory::new();
        let tenant = Tenant::default_tenant();
        memory.provision(&tenant, &Settings::default());
        let (broker, faults) = (memory.broker(), memory.faults());
        let client = Client::new(broker.clone(), tenant);
        let rig = Self { broker, client, faults };
        rig.push("1").await;
        let document = Document::from_json(&serde_json::json!({"chain": [{"wait": "go"}]})).unwrap();
        rig.client.push_flow(&"f".parse().unwrap(), None, &document).await.unwrap();
        rig
    }

    async fn push(&self, version: &str) {
        let task = TaskDescription {
            name: "t".parse().unwrap(),
            summary: String::new(),
            input_schema: None,
            output_schema: None,
            media_type: None,
        };
        let upload = Upload {
            name: "m".parse().unwrap(),
            version: Some(version.parse().unwrap()),
            bytes: Bytes::from(format!("a stand-in {version}")),
            source_digest: None,
            contract: Contract::Task,
            tasks: [task].into(),
            manifest: Manifest::default(),
        };
        self.client.push(upload).await.unwrap();
    }

    async fn driver(&self) -> Running {
        let (holds, held) = watch::channel(every_partition());
        let metrics = Metrics::default();
        let driver = Driver::begin(self.broker.clone(), held, metrics.schedules.clone()).await.unwrap();
        let serve = async move { driver.serve(CancellationToken::new()).await.unwrap() };
        Running { task: spawn(serve), holds, metrics }
    }

    /// A role that runs until it is dropped.
    fn run(&self, role: impl Future<Output = ()> + Send + 'static) -> Running {
        Running { task: spawn(role), holds: watch::Sender::default(), metrics: Metrics::default() }
    }

    fn now(&self) -> Timestamp {
        self.broker.clock.now()
    }

    /// A schedule of `m/t` every ten seconds.
    fn draft(&self, name: &str, overlap: Overlap) -> Draft {
        let call = Call {
            signature: Signature::new("m/t".parse().unwrap(), "7"),
            wanted: Wanted::default(),
            queue: "default".parse().unwrap(),
            priority: PRIORITY_DEFAULT,
        };
        let when = When::Every { every: second(10), anchor: self.now() };
        let rules = Rules { when, overlap, catch_up: CATCH_UP_DEFAULT, jitter: Duration::ZERO, until: None };
        Draft { name: name.parse().unwrap(), rules, what: What::Task(Box::new(call)), from: None, replace: false }
    }

    async fn create(&self, name: &str, overlap: Overlap) -> Schedule {
        self.client.create_schedule(self.draft(name, overlap)).await.unwrap()
    }

    async fn schedule(&self, name: &str) -> Schedule {
        self.client.schedule(&name.parse().unwrap()).await.unwrap()
    }

    /// Whatever is submitted from now on, also what the broker refuses.
    async fn starts(&self) -> BoxStream<'static, Started> {
        let clock = std::sync::Arc::clone(&self.broker.clock);
        let heard = self.broker.bus.listen("lvg.default.task.>").await.unwrap();
        heard.map(move |message| read(&message, clock.now())).boxed()
    }

    /// A stand-in for a host, which runs what a host would run, and says what.
    async fn host(&self) -> (Running, mpsc::UnboundedReceiver<Started>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (broker, tenant) = (self.broker.clone(), self.client.tenant().clone());
        let consumer = queue_consumer(&tenant, &"default".parse().unwrap(), Duration::from_secs(20));
        let mut deliveries = self.broker.queues.consume(&consumer).await.unwrap();
        deliveries.allow(1);
        let host = async move {
            loop {
                let Ok(delivery) = deliveries.next().await else { continue };
                deliveries.allow(1);
                let started = read(&delivery.message, broker.clock.now());
                // A host writes a record before it acknowledges, and whoever comes second finds it.
                let first = loop {
                    match records::write(&broker, &tenant, &started.id, &succeeded(), 0).await {
                        Ok(()) => break true,
                        Err(lovage::broker::Error::Conflict { .. }) => break false,
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                };
                if first {
                    sender.send(started).unwrap();
                }
                while delivery.lease.finish().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        (self.run(host), receiver)
    }

    /// Ends a task as a host does.
    async fn end(&self, id: &TaskId) {
        records::write(&self.broker, self.client.tenant(), id, &succeeded(), 0).await.unwrap();
        self.broker.streams.purge(&format!("lvg.default.task.*.*.{id}")).await.unwrap();
    }

    /// Waits until a schedule is so.
    async fn until(&self, name: &str, what: &str, is: impl Fn(&Schedule) -> bool) -> Schedule {
        let look = async {
            loop {
                let schedule = self.schedule(name).await;
                if is(&schedule) {
                    return schedule;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{what}: never"))
    }
}

fn succeeded() -> Record {
    Record::Settled(Settled { end: End::Succeeded(Value::Inline("1".into())), usage: Usage::default() })
}

fn read(message: &Message, now: Timestamp) -> Started {
    let TaskKey::Single(id) = TaskSubject::read(&message.subject).unwrap().key else { panic!("{message:?}") };
    let labels = TaskMessage::decode(&message.headers, &message.payload).unwrap().signature.options.labels;
    let slot = labels.get("slot").map_or(now, |slot| slot.parse().unwrap());
    Started { id, slot, late: now.since(slot) }
}

/// The next thing that starts.
async fn next(starts: &mut BoxStream<'static, Started>) -> Started {
    tokio::time::timeout(PATIENCE, starts.next()).await.expect("nothing starts").unwrap()
}

/// That nothing starts within a time.
async fn nothing(starts: &mut BoxStream<'static, Started>, within: Duration) {
    if let Ok(started) = tokio::time::timeout(within, starts.next()).await {
        panic!("{started:?}");
    }
}

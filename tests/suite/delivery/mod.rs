//! The life of tasks on the broker in memory, whose switches make every race of the protocol happen on demand. What steps of
//! runs live through is in `steps`, on both brokers.

mod bands;
mod batches;
mod cancel;
mod chaos;
mod dead;
mod debounce;
mod failures;
mod limits;
mod loading;
mod moves;
mod once;
mod queues;
mod races;
mod rejections;
mod retries;
mod singleton;
mod steps;

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use lovage::broker::memory::{Faults, Memory};
use lovage::broker::{Broker, Publish};
use lovage::client::{Client, Place};
use lovage::host::{Config, Host};
use lovage::model::lifecycle::{End, Record, Settled, State};
use lovage::model::{Failure, Policy, Signature, TaskId, Tenant, Value};
use lovage::protocol::subject::{PRIORITY_DEFAULT, TaskSubject};
use lovage::schedule::mover::Mover;
use lovage::store::records;
use lovage::telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::eventually::{PATIENCE, eventually};
use crate::support::modules;

/// A platform in this process.
struct Rig {
    broker: Broker,
    client: Client,
    faults: Faults,
    mover: Running,
}

/// A role that runs until it is stopped or killed.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "dropping the handle aborts the role")]
    fn spawn(stop: CancellationToken, role: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { stop, task: tokio::spawn(role) }
    }

    /// As `kill -9`: nothing is handed back and nothing is finished.
    fn kill(self) {
        self.task.abort();
    }

    async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rig {
    /// A broker with the guest `probe` and a mover, without hosts.
    async fn new() -> Self {
        let memory = Memory::new();
        let broker = memory.broker();
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        modules::push(&client, "probe").await;
        let mover = mover(&broker).await;
        Self { broker, client, faults: memory.faults(), mover }
    }

    async fn with_host() -> (Self, Running) {
        let rig = Self::new().await;
        let host = rig.host("host-1").await;
        (rig, host)
    }

    async fn host(&self, id: &str) -> Running {
        self.host_with(id, |_| {}).await
    }

    async fn host_with(&self, id: &str, change: impl FnOnce(&mut Config)) -> Running {
        serve(&self.broker, id, change).await
    }

    async fn submit(&self, signature: Signature) -> TaskId {
        self.client.submit(signature, &Place::default()).await.unwrap()
    }

    async fn wait(&self, id: &TaskId) -> Settled {
        let mut ignore = |_| {};
        tokio::time::timeout(PATIENCE, self.client.wait(id, &mut ignore)).await.expect("it must end").unwrap()
    }

    async fn state(&self, id: &TaskId) -> State {
        self.client.state(id).await.unwrap().state
    }

    /// Waits until the task is in this state.
    async fn until(&self, id: &TaskId, state: State) {
        eventually(state.as_str(), || async { (self.state(id).await == state).then_some(()) }).await;
    }

    /// Waits until nothing is queued, due or scheduled.
    async fn until_idle(&self) {
        eventually("an empty queue", || async {
            for waiting in ["lvg.default.task.>", "lvg.default.fire.>", "lvg.default.sched.>"] {
                if self.broker.streams.last(waiting).await.unwrap().is_some() {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// How often the guest ran: each run of `probe/chatty` writes the lines that it was asked for.
    async fn log_lines(&self, id: &TaskId) -> usize {
        let lines: Vec<_> = self.client.logs(id, false).await.unwrap().try_collect().await.unwrap();
        lines.len()
    }

    /// The place of the task's record in its stream, which only grows: 1 for the first one that was ever committed.
    async fn record_sequence(&self, id: &TaskId) -> u64 {
        records::read(&self.broker, &Tenant::default_tenant(), id).await.unwrap().unwrap().sequence
    }

    async fn record(&self, id: &TaskId) -> Option<Record> {
        Some(records::read(&self.broker, &Tenant::default_tenant(), id).await.unwrap()?.record)
    }

    /// Publishes a task message as a stranger may.
    async fn publish(&self, id: &str, headers: &[(&str, &str)], body: &'static str) -> TaskId {
        let id: TaskId = id.parse().unwrap();
        let headers = headers.iter().copied().collect();
        let payload = Bytes::from_static(body.as_bytes());
        let publish = Publish { subject: place(&id).task(), headers, payload, ..Publish::default() };
        self.broker.streams.publish(publish).await.unwrap();
        id
    }
}

/// A host of four slots.
async fn serve(broker: &Broker, id: &str, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::new(Tenant::default_tenant(), id.parse().unwrap(), 4);
    change(&mut config);
    let host = Host::begin(broker.clone(), modules::sandbox(), config, Metrics::default()).await.unwrap();
    let stop = CancellationToken::new();
    let serve = host.serve(stop.clone());
    Running::spawn(stop, async move { serve.await.unwrap() })
}

async fn mover(broker: &Broker) -> Running {
    let mover = Mover::begin(broker.clone()).await.unwrap();
    let stop = CancellationToken::new();
    let serve = mover.serve(stop.clone());
    Running::spawn(stop, async move { serve.await.unwrap() })
}

fn place(id: &TaskId) -> TaskSubject {
    TaskSubject {
        tenant: Tenant::default_tenant(),
        queue: "default".parse().unwrap(),
        priority: PRIORITY_DEFAULT,
        mark: None,
        key: id.into(),
    }
}

fn call(task: &str, input: &str) -> Signature {
    Signature::new(format!("probe/{task}").parse().unwrap(), input.to_owned())
}

/// A call that is tried again after some milliseconds.
fn retried(task: &str, input: &str, attempts: u32) -> Signature {
    let mut signature = call(task, input);
    let backoff = Duration::from_millis(20);
    signature.options.retry = Policy { attempts, backoff, jitter: false, ..Policy::default() };
    signature
}

/// A call whose first attempt fails, and whose second is due in an hour.
fn retried_in_an_hour() -> Signature {
    let mut signature = retried("flaky", r#"{"until":2}"#, 2);
    signature.options.retry.backoff = Duration::from_secs(3_600);
    signature.options.retry.max = Duration::from_secs(3_600);
    signature
}

fn output(settled: &Settled) -> &str {
    match &settled.end {
        End::Succeeded(Value::Inline(bytes)) => std::str::from_utf8(bytes).unwrap(),
        other @ (End::Succeeded(_) | End::Failed(_) | End::Cancelled | End::Expired) => panic!("{other:?}"),
    }
}

fn failure(settled: &Settled) -> &Failure {
    match &settled.end {
        End::Failed(failure) => failure,
        other @ (End::Succeeded(_) | End::Cancelled | End::Expired) => panic!("{other:?}"),
    }
}

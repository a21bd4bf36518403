//! Submits tasks, waits for what they end with, cancels them, and uploads modules.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use lovage::broker::nats::{Nats, Options};
//! use lovage::{client::Client, model::{Signature, Tenant}};
//!
//! let nats = Nats::connect(Options::new("nats://127.0.0.1:4222", "my program")).await?;
//! let client = Client::new(nats.broker(), Tenant::default_tenant());
//! let ended = client.call(Signature::new("hello/add".parse()?, "[20, 22]")).await?;
//! assert_eq!(client.output(&ended).await?, "42");
//! # Ok(())
//! # }
//! ```
//!
//! **Invariant:** when a submit returns, the task is durable. **Invariant:** an unknown id is [`Error::NotFound`], never "pending".

mod batch;
mod call;
mod cancel;
mod dead;
mod debounce;
mod events;
mod hosts;
mod limits;
mod modules;
mod once;
mod queue_move;
mod queue_views;
mod queue_watch;
mod queues;
mod runs;
mod runs_control;
mod runs_export;
mod runs_list;
mod runs_logs;
mod runs_places;
mod runs_view;
mod schedules;
mod singleton;
mod state;
mod submit;
mod webhooks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

pub use batch::{BATCH_BYTES_MAX, BadLines, Batch, Sent, TASKS_MAX};
pub use call::Watch;
pub use cancel::CancelledAll;
pub use dead::{Edit, LETTERS_SHOWN_DEFAULT, LetterFilter, REPLAY_LABEL};
pub use events::{Event, EventFilter, fits};
pub use limits::LimitView;
pub use modules::Upload;
pub use queue_move::{MoveFilter, MoveStopped};
pub use queue_views::{BandView, QueueView};
pub use queue_watch::taken_per_second;
pub use queues::Purged;
pub use runs::{Order, RunRecord};
pub use runs_export::{EXPORT_VERSION, ExportedRecord};
pub use runs_list::{RUNS_SHOWN_DEFAULT, RunFilter};
pub use runs_logs::{StepLine, StepNote};
pub use runs_places::Whereabouts;
pub use runs_view::{RunView, StepView};
pub use schedules::{Draft, NOTE_LEN_MAX, task_id};
pub use state::Snapshot;
pub use submit::{Place, Submitted};
pub use webhooks::{DeliveryView, WebhookDraft};

use crate::broker::{self, Broker};
use crate::model::lifecycle::State;
use crate::model::name::among;
use crate::model::once::Unusable;
use crate::model::schedule::Unfit;
use crate::model::{
    Failure, FlowName, HostId, ModuleName, ModuleRecord, Queue, RunId, ScheduleName, SignalName, TaskId, TaskName,
    TaskRef, Tenant, Timestamp, Version, WebhookName,
};
use crate::protocol::Rejection;
use crate::store::catalogue::{Catalogue, Unknown, Unpinned, Unresolved};
use crate::store::marks::Marks;
use crate::store::values::Missing;
use crate::workflow::wire::RunState;

/// Why a client could not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The broker failed or refused. Nothing was submitted, unless the broker stored it and its answer was lost.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// There is no task of this id: it was never submitted, or its record has expired.
    #[error("find task {0}: there is none (results are kept for a day)")]
    NotFound(TaskId),
    /// There is no such module or version; nothing was submitted.
    #[error("find module {module}{}: there is none{}", at(.version.as_ref()), among(.known))]
    ModuleMissing {
        /// What was asked for.
        module: ModuleName,
        /// The version that was asked for.
        version: Option<Version>,
        /// Versions that there are.
        known: Vec<String>,
    },
    /// The module has no such task; nothing was submitted.
    #[error("find task {task} of module {module}@{version}: there is none{}", among(.known))]
    TaskMissing {
        /// The module that was asked.
        module: ModuleName,
        /// The version that was asked.
        version: Version,
        /// The task that was asked for.
        task: TaskName,
        /// Tasks that there are.
        known: Vec<String>,
    },
    /// A task of this id is queued or running already.
    #[error("submit {0}: a task of this id is queued or running")]
    Occupied(TaskId),
    /// Another task has the singleton that the call is under; nothing was submitted.
    #[error("submit: task {0} is under way, which has the same singleton key")]
    UnderWay(TaskId),
    /// The idempotency key or its window cannot be used; nothing was submitted.
    #[error("submit: {0}")]
    KeyUnusable(#[from] Unusable),
    /// Another call was submitted under the idempotency key; nothing was submitted.
    #[error(
        "submit under idempotency key {key:?}: until {until} it belongs to task {id}, which has another task or input"
    )]
    KeyTaken {
        /// The key.
        key: String,
        /// The task that has it.
        id: TaskId,
        /// When its window ends.
        until: Timestamp,
    },
    /// A run of another flow or input was started under the idempotency key; nothing was started.
    #[error("start under idempotency key {key:?}: it belongs to run {run}, which has another {other}")]
    RunKeyTaken {
        /// The key.
        key: String,
        /// The run that has it.
        run: RunId,
        /// What of it differs: `flow`, `input` or both.
        other: &'static str,
    },
    /// The task has ended already.
    #[error("cancel task {id}: it has ended already, as {state}")]
    Ended {
        /// The task.
        id: TaskId,
        /// How it ended.
        state: State,
    },
    /// The version is there with other bytes.
    #[error(
        "push {module}@{version}: this version is there with other bytes, and a version never changes; push another version"
    )]
    VersionTaken {
        /// The module.
        module: ModuleName,
        /// The version.
        version: Version,
    },
    /// The input is larger than inputs may be.
    #[error("submit: the input has {size} bytes, more than the {max} that are allowed")]
    InputTooLarge {
        /// Its size.
        size: u64,
        /// The bound.
        max: u64,
    },
    /// The task failed.
    #[error("{0}")]
    Failed(Box<Failure>),
    /// There is no webhook of this name.
    #[error("find webhook {0}: there is none")]
    WebhookNotFound(WebhookName),
    /// There is no host of this id, or it does not answer.
    #[error("ask host {0}: there is none of this id that answers")]
    HostNotFound(HostId),
    /// A value cannot be had.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// What a run calls was not found; nothing was started.
    #[error(transparent)]
    Unresolved(Box<Unresolved>),
    /// These are not there, which the run's document, or a flow that it starts, calls; nothing was started.
    #[error("start: {}", listed(.0))]
    Unknown(Vec<Unknown>),
    /// There is no run of this id: it was never started, or was removed after its retention.
    #[error("find run {0}: there is none (ended runs are kept for a week, where their operator says nothing else)")]
    RunNotFound(RunId),
    /// The run has ended already.
    #[error("change run {run}: it has ended already, as {state}")]
    RunEnded {
        /// The run.
        run: RunId,
        /// How it ended.
        state: RunState,
    },
    /// The run was cancelled.
    #[error("run {0} was cancelled")]
    RunCancelled(RunId),
    /// Nothing in the run waits for the signal.
    #[error("send signal {name}: nothing in the run waits for it{}", among(.known))]
    SignalUnknown {
        /// What was sent.
        name: SignalName,
        /// Signals that something waits for.
        known: Vec<String>,
    },
    /// The version is there with another document.
    #[error(
        "push flow {flow}@{version}: this version is there with another document, and a version never changes; push another version"
    )]
    FlowVersionTaken {
        /// The flow.
        flow: FlowName,
        /// The version.
        version: Version,
    },
    /// What was asked for cannot be done; nothing was changed.
    #[error("do what was asked: {0}")]
    Refused(String),
    /// The subscription that a run's end was awaited on has ended, as when the connection was closed.
    #[error("wait for run {0}: the connection was closed")]
    RunClosed(RunId),
    /// A stored message is not of a form that this program reads.
    #[error("read {subject}: {rejection}")]
    Unreadable {
        /// Where it is stored.
        subject: String,
        /// What is wrong with it.
        rejection: Rejection,
    },
    /// There is no dead letter of this task: it has not failed for good, or was sent again or dropped.
    #[error("find dead letter {0}: there is none (they are kept for two weeks)")]
    LetterNotFound(TaskId),
    /// Nothing waits in the queue, and nobody has served it or decided of it.
    #[error("find queue {0}: no host has ever served it, and nothing waits in it")]
    QueueNotFound(Queue),
    /// There is no batch of this id.
    #[error("find batch {0}: there is none (it is known for a week what was sent)")]
    BatchNotFound(RunId),
    /// There is no schedule of this name.
    #[error("find schedule {0}: there is none")]
    ScheduleNotFound(ScheduleName),
    /// There is a schedule of this name.
    #[error("create schedule {0}: there is one of this name")]
    ScheduleThere(ScheduleName),
    /// A schedule cannot have its slots as it was asked.
    #[error("schedule {0}")]
    Unfit(#[from] Unfit),
    /// The subscription that a result was awaited on has ended, as when the connection was closed.
    #[error("wait for task {0}: the connection was closed")]
    Closed(TaskId),
}

impl From<Unpinned> for Error {
    fn from(unpinned: Unpinned) -> Self {
        match unpinned {
            Unpinned::Unknown(unknown) => Self::Unknown(unknown),
            Unpinned::Failed(unresolved) => unresolved.into(),
        }
    }
}

fn listed(unknown: &[Unknown]) -> String {
    unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<Unresolved> for Error {
    fn from(unresolved: Unresolved) -> Self {
        Self::Unresolved(Box::new(unresolved))
    }
}

fn at(version: Option<&Version>) -> String {
    version.map(|version| format!("@{version}")).unwrap_or_default()
}

/// A client of one tenant. Clones are one and the same.
#[derive(Clone)]
pub struct Client {
    broker: Broker,
    tenant: Tenant,
    resolved: Arc<Mutex<Resolved>>,
    catalogue: Arc<Catalogue>,
    marks: Marks,
}

/// Modules that were looked up, and when.
type Resolved = HashMap<TaskRef, (Instant, Arc<ModuleRecord>)>;

impl Client {
    /// A client of `tenant` on `broker`.
    #[must_use]
    pub fn new(broker: Broker, tenant: Tenant) -> Self {
        let catalogue = Arc::new(Catalogue::new(broker.clone()));
        Self { broker, tenant, resolved: Arc::default(), catalogue, marks: Marks::default() }
    }

    /// The tenant that it acts for.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The broker that it talks to.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }
}

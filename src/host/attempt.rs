//! One delivery, from its message to its acknowledgement.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span, warn};

use super::catalogue::Loaded;
use super::commit::{self, Written};
use super::gate::{Close, Delivered, Start};
use super::running::Work;
use super::{Shared, notes};
use crate::broker::patience::Patience;
use crate::broker::{Delivery, Lease};
use crate::model::lifecycle::{self, About, Commit, End, Record, Seen, Settled, Standing, Tried, Usage, Verdict};
use crate::model::limits::Wish;
use crate::model::signature::Options;
use crate::model::{Failure, Kind, Limits, Mark, ModuleRecord, Outcome, Signature, TaskId, TaskKey, Timestamp};
use crate::protocol::note::Running;
use crate::protocol::subject::{TaskSubject, task_anywhere};
use crate::protocol::task::{self, Form, REQUIRES, TaskMessage};
use crate::protocol::{Headers, Rejection};
use crate::sandbox;
use crate::store::values::{self, Shelf};
use crate::store::{dead, hand_backs, kept, records};

/// Heartbeats in a lease: three may be late before it is lost.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// How long a module is loaded before the log of a task that waits for it says so: most take milliseconds.
const QUIET_FOR: Duration = Duration::from_secs(1);

/// How long a host that is stopped waits to note what it hands back: a broker that is there takes milliseconds.
const NOTE_TIME_MAX: Duration = Duration::from_secs(1);

/// Handles one delivery. When this returns the delivery is finished, handed back, or left to its lease.
pub(super) async fn handle(shared: &Arc<Shared>, delivery: Delivery) {
    let Delivery { message, count, lease } = delivery;
    let Some(subject) = TaskSubject::read(&message.subject) else {
        warn!(subject = message.subject, "dropped a message whose subject names no task");
        return finish(lease.as_ref()).await;
    };
    let span = info_span!("task", id = %subject.key, queue = %subject.queue, delivery = count);
    // Pinned here, so that it is not moved into what guards it.
    let mut work = pin!(async {
        let attempt =
            Attempt { shared, subject: &subject, sequence: message.sequence, delivery: count, heard: Instant::now() };
        if count > 1 && attempt.is_elsewhere().await {
            debug!("dropped a delivery of a task that was moved to another queue");
            return finish(lease.as_ref()).await;
        }
        let close = match &subject.key {
            TaskKey::Single(id) => attempt.settle(id, &message.headers, &message.payload).await,
            TaskKey::Step(step) => attempt.settle_step(step, &message.headers, &message.payload).await,
        };
        match close {
            Close::Plain => drop(lease.let_go().await),
            Close::Lines(lines) => {
                finish(lease.as_ref()).await;
                for limit in lines {
                    shared.desks.turn(&limit).await;
                }
            }
        }
    });
    let guarded = async {
        tokio::select! {
            biased;
            () = &mut work => {}
            () = keep(lease.as_ref(), shared.config.lease) => {}
            () = shared.hand_back.cancelled() => {
                info!("handing the task back");
                let note = hand_backs::note(&shared.broker, &subject.tenant, &subject.key, message.sequence);
                if !matches!(tokio::time::timeout(NOTE_TIME_MAX, note).await, Ok(Ok(()))) {
                    debug!("failed to note that the task was handed back");
                }
                drop(lease.hand_back(Duration::ZERO).await);
            }
        }
    };
    guarded.instrument(span).await;
}

/// Extends the lease until it is dropped.
async fn keep(lease: &dyn Lease, length: Duration) {
    loop {
        tokio::time::sleep(length / HEARTBEATS_PER_LEASE).await;
        if let Err(error) = lease.extend().await {
            debug!(%error, "a heartbeat failed");
        }
    }
}

/// Acknowledges. What cannot be acknowledged is delivered again, and its record says that it is over.
async fn finish(lease: &dyn Lease) {
    const TRIES_MAX: u32 = 3;
    let mut patience = Patience::default();
    for _ in 0..TRIES_MAX {
        match lease.finish().await {
            Ok(()) => return,
            Err(error) => debug!(%error, "an acknowledgement failed"),
        }
        patience.wait().await;
    }
}

/// What is known of a delivery while it is handled.
pub(super) struct Attempt<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) subject: &'a TaskSubject,
    /// Its message's place in the stream.
    pub(super) sequence: u64,
    pub(super) delivery: u64,
    heard: Instant,
}

/// What became of an attempt in the sandbox.
pub(super) struct Ran {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    /// Whether a word came to stop it.
    pub(super) cancelled: bool,
    /// Whether its output is described as something other than JSON.
    pub(super) binary: bool,
}

impl Attempt<'_> {
    /// Whether the same task was queued after this message: whoever moved it to another queue died before it was acknowledged here.
    async fn is_elsewhere(&self) -> bool {
        let TaskSubject { tenant, key, .. } = self.subject;
        let queued = task_anywhere(tenant, key.clone());
        let last = || self.shared.broker.streams.last(&queued);
        let last = Patience::default().insist("look for the task in other queues", last).await;
        last.ok().flatten().is_some_and(|last| last.sequence > self.sequence)
    }

    /// Reads the message. What it requires of hosts was met if its subject says so, which is how it came here.
    pub(super) fn read(&self, headers: &Headers, payload: &Bytes) -> Result<TaskMessage, Rejection> {
        let message = TaskMessage::decode(headers, payload)?;
        match Mark::of(&message.signature.options.requires) {
            mark if mark == self.subject.mark => Ok(message),
            Some(mark) => {
                let place = format!("{}~{mark}", self.subject.priority);
                Err(Rejection::new(REQUIRES, format!("its subject must say so, with {place} for its priority")))
            }
            None => Err(Rejection::new(REQUIRES, "is missing: its subject says that something is required")),
        }
    }

    /// Decides, runs and commits.
    async fn settle(&self, id: &TaskId, headers: &Headers, payload: &Bytes) -> Close {
        let message = match self.read(headers, payload) {
            Ok(message) => message,
            Err(rejection) => {
                let failure = Failure::new(Kind::BadInput, rejection.to_string());
                self.end(id, (self.no_usage(1), 0), End::Failed(failure), (headers, payload)).await;
                return Close::Plain;
            }
        };
        let mut seen = Seen {
            attempt: message.attempt,
            delivery: self.delivery,
            handed_back: 0,
            recheck: message.recheck,
            expires: message.signature.options.expires,
            timeout_at: message.signature.options.timeout_at,
        };
        if seen.needs_hand_backs() {
            seen.handed_back = self.handed_back().await;
        }
        let record = if seen.needs_record() { self.record(id).await } else { None };
        let expected = record.as_ref().map_or(0, |stored| stored.sequence);
        let tried = record.as_ref().map(|stored| stored.record.tried()).unwrap_or_default();
        let now = self.shared.broker.clock.now();
        let limits = self.limits(&message.signature.options.fleet);
        let verdict = lifecycle::on_delivery(&seen, record.as_ref().map(|stored| &stored.record), now);
        match verdict {
            Verdict::Run => {
                if let Start::Parked(lines) = self.start(&limits, Delivered { headers, payload }).await {
                    return Close::Lines(lines);
                }
                self.run(id, &message, expected, tried).await;
            }
            Verdict::Drop => {
                debug!("dropped a delivery of a task that has ended");
                // Whoever committed its failure may have died before the letter was kept.
                if let Some(Record::Settled(settled)) = record.map(|stored| stored.record) {
                    self.keep(id, &settled, (headers, payload)).await;
                }
            }
            Verdict::Reschedule { next, due } => self.schedule(&message, next, due).await,
            Verdict::Settle(end) => {
                let about = Some(Box::new(self.about(&message)));
                let usage = Usage { about, tried: tried.to_vec(), ..self.no_usage(seen.attempt) };
                self.end(id, (usage, expected), end, (headers, payload)).await;
            }
        }
        self.leave(limits).await
    }

    pub(super) async fn handed_back(&self) -> u64 {
        let TaskSubject { tenant, key, .. } = self.subject;
        let count = || hand_backs::count(&self.shared.broker, tenant, key, self.sequence);
        Patience::default().insist("look up hand-backs", count).await.unwrap_or_default()
    }

    async fn record(&self, id: &TaskId) -> Option<records::StoredRecord> {
        let read = || records::read(&self.shared.broker, &self.subject.tenant, id);
        Patience::default().insist("read the record", read).await.unwrap_or_default()
    }

    async fn run(&self, id: &TaskId, message: &TaskMessage, expected: u64, tried: &[Tried]) {
        let cancel = sandbox::Cancel::default();
        let entry = self.shared.running.enter(self.subject, self.work(message), cancel.clone());
        let Ran { outcome, mut usage, .. } = self.invoke(message, &cancel).await;
        usage.tried = tried.to_vec();
        drop(entry);
        let now = self.shared.broker.clock.now();
        let record = match lifecycle::on_outcome(outcome, &message.signature.options, id, message.attempt, now) {
            Commit::Succeed(output) => {
                let value = values::keep(&self.shared.broker, &self.subject.tenant, output).await;
                Record::Settled(Settled { end: End::Succeeded(value), usage })
            }
            Commit::Settle(end) => Record::Settled(Settled { end, usage }),
            Commit::Retry { next, due, failure } => {
                info!(%failure, next, %due, "the attempt failed and is tried again");
                let tried = Tried::and(tried, &self.shared.config.id, now, &failure);
                Record::Retrying { next, due, failure, tried }
            }
        };
        // A lease that was extended in time is still ours; only after a stall longer than a lease may another host have been
        // here. Reading first then keeps a late outcome from being heard by a caller although it is refused.
        let expected = (self.heard.elapsed() < self.shared.config.lease).then_some(expected);
        self.commit(id, message, expected, record).await;
    }

    async fn commit(&self, id: &TaskId, message: &TaskMessage, expected: Option<u64>, record: Record) {
        let task = (&self.subject.tenant, id);
        let written = commit::commit(&self.shared.broker, task, message.attempt, &record, expected).await;
        match (written, record) {
            (Written::Committed, Record::Retrying { next, due, .. })
            | (Written::Lost(Standing::Superseded { next, due }), _) => self.schedule(message, next, due).await,
            (Written::Committed, Record::Settled(settled)) => {
                self.shared.metrics.settled(&settled);
                if matches!(settled.end, End::Failed(_)) {
                    let (headers, payload) = message.encode();
                    self.keep(id, &settled, (&headers, &payload)).await;
                } else {
                    kept::keep(&self.shared.broker, &self.subject.tenant, id, &settled).await;
                }
            }
            (Written::Lost(Standing::Over | Standing::Current), _) => {
                info!("another outcome of this task was committed first");
            }
        }
    }

    /// Commits an end of a task that did not run here.
    async fn end(&self, id: &TaskId, (usage, expected): (Usage, u64), end: End, message: (&Headers, &Bytes)) {
        let attempt = usage.attempt;
        info!(state = %end.state(), failure = end.failure().map(tracing::field::display), "ended without running");
        let record = Record::Settled(Settled { end, usage });
        let task = (&self.subject.tenant, id);
        if commit::commit(&self.shared.broker, task, attempt, &record, Some(expected)).await == Written::Committed
            && let Record::Settled(settled) = &record
        {
            self.shared.metrics.settled(settled);
            self.keep(id, settled, message).await;
        }
    }

    /// Keeps what outlives the task's record: the letter of one that failed, the outcome of one that has a key.
    async fn keep(&self, id: &TaskId, settled: &Settled, (headers, payload): (&Headers, &Bytes)) {
        let broker = &self.shared.broker;
        dead::keep(broker, self.subject, headers, payload, settled).await;
        kept::keep(broker, &self.subject.tenant, id, settled).await;
    }

    async fn schedule(&self, message: &TaskMessage, next: u32, due: Timestamp) {
        commit::schedule(&self.shared.broker, self.subject, message, next, due).await;
    }

    /// The usage of an attempt that has not run.
    pub(super) fn no_usage(&self, attempt: u32) -> Usage {
        Usage { attempt, delivery: self.delivery, host: Some(self.shared.config.id.clone()), ..Usage::default() }
    }

    /// What this host does for the task, for those who ask.
    pub(super) fn work(&self, message: &TaskMessage) -> Work {
        let since = self.shared.broker.clock.now();
        Work { task: message.signature.task.clone(), attempt: message.attempt, since }
    }

    /// What is called, for those who read its record.
    pub(super) fn about(&self, message: &TaskMessage) -> About {
        let Signature { task, options, .. } = &message.signature;
        let (task, queue) = (Some(task.clone()), Some(self.subject.queue.clone()));
        About { task, queue, labels: options.labels.clone() }
    }

    /// Runs the attempt in the sandbox, until it ends or is cancelled.
    pub(super) async fn invoke(&self, message: &TaskMessage, cancel: &sandbox::Cancel) -> Ran {
        let span = info_span!(
            "attempt",
            task = %message.signature.task,
            attempt = message.attempt,
            traceparent = message.traceparent.as_deref(),
        );
        if self.shared.stats.is_told() {
            self.tell_running(message).await;
        }
        let ran = self.invoke_within(message, cancel).instrument(span).await;
        self.shared.stats.ended(&self.subject.queue, &ran.outcome, &ran.usage);
        if let (true, Outcome::Output(output)) = (ran.cancelled, &ran.outcome) {
            // The task is cancelled all the same; what it had to say is kept where people look.
            notes::ended_tidily(&self.shared.broker, self.subject, message.attempt, output).await;
        }
        ran
    }

    /// Says that the attempt begins, for whoever looks at events.
    async fn tell_running(&self, message: &TaskMessage) {
        let Work { task, attempt, since } = self.work(message);
        let (host, queue) = (self.shared.config.id.clone(), self.subject.queue.clone());
        notes::running(&self.shared.broker, self.subject, Running { at: since, attempt, host, task, queue }).await;
    }

    async fn invoke_within(&self, message: &TaskMessage, cancel: &sandbox::Cancel) -> Ran {
        let mut usage = self.no_usage(message.attempt);
        usage.about = Some(Box::new(self.about(message)));
        let (module, input) = match self.prepare(message, cancel).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                let outcome = Outcome::Failed(failure);
                return Ran { outcome, usage, cancelled: cancel.is_cancelled(), binary: false };
            }
        };
        let task = module.record.task(&message.signature.task.task);
        let binary = task.and_then(|task| task.media_type.as_deref()).is_some_and(|media| !media.ends_with("json"));
        let (notes, heard) = mpsc::channel(notes::NOTES_MAX);
        let invocation = self.invocation(message, &module, input, notes, cancel.clone());
        let invoke = self.shared.sandbox.invoke(module.code, invocation);
        let report = notes::forward(&self.shared.broker, self.subject, message.attempt, heard, invoke).await;
        usage.fuel = report.fuel_used;
        usage.memory_bytes = report.memory_peak_bytes;
        usage.duration_us = u64::try_from(report.duration.as_micros()).unwrap_or(u64::MAX);
        debug!(fuel = usage.fuel, duration_us = usage.duration_us, notes_dropped = report.notes_dropped, "ran");
        Ran { outcome: report.outcome, usage, cancelled: cancel.is_cancelled(), binary }
    }

    /// While the module is fetched and compiled, which its host does once: the task holds no slot, its log says what it waits for,
    /// and a cancel ends the wait.
    async fn wait_for(&self, record: Arc<ModuleRecord>, attempt: u32, cancel: &sandbox::Cancel) -> Failure {
        let broker = &self.shared.broker;
        let _waiting = self.shared.loading.enter(&self.subject.queue, &record, broker.clock.now());
        if tokio::time::timeout(QUIET_FOR, cancel.cancelled()).await.is_err() {
            notes::loading(broker, self.subject, attempt, &record).await;
            cancel.cancelled().await;
        }
        Failure::new(Kind::Cancelled, "the task was cancelled")
    }

    async fn prepare(&self, message: &TaskMessage, cancel: &sandbox::Cancel) -> Result<(Loaded, Bytes), Failure> {
        let task = &message.signature.task;
        let module = self.shared.catalogue.load(task, |record| self.wait_for(record, message.attempt, cancel)).await?;
        if module.record.task(&task.task).is_none() {
            let message =
                format!("module {}@{} has no task {:?}", task.module, module.record.version, task.task.as_str());
            return Err(Failure::new(Kind::TaskMissing, message));
        }
        if let Some(pinned) = &message.digest
            && *pinned != module.record.digest
        {
            let ModuleRecord { version, digest, .. } = &*module.record;
            let message = format!(
                "module {}@{version} has the digest {digest}, not {pinned}, which the run began with",
                task.module
            );
            return Err(Failure::new(Kind::ModuleMissing, message));
        }
        Ok((module, self.input(message).await?))
    }

    /// The whole input, wherever it stands.
    async fn input(&self, message: &TaskMessage) -> Result<Bytes, Failure> {
        let (broker, shelf) = (&self.shared.broker, self.shelf());
        let input = values::fetch(broker, shelf, &message.signature.input).await?;
        match message.form {
            Form::Plain => Ok(input),
            Form::Composed => match task::read_composed(&input) {
                Ok(composed) => values::put_together(broker, shelf, &composed).await,
                Err(rejection) => Err(Failure::new(Kind::BadInput, rejection.to_string())),
            },
        }
    }

    /// Where the task's values are kept.
    pub(super) fn shelf(&self) -> Shelf<'_> {
        match &self.subject.key {
            TaskKey::Single(_) => Shelf::from(&self.subject.tenant),
            TaskKey::Step(step) => Shelf::of_run(&self.subject.tenant, &step.run),
        }
    }

    /// What the attempt may take: it ends when its task must have ended.
    fn invocation_limits(&self, own: &Wish, options: &Options) -> Limits {
        let mut limits = Limits::default().with(own).with(&options.limits).within(&self.shared.config.ceiling);
        if let (Some(end), TaskKey::Single(_)) = (options.timeout_at, &self.subject.key) {
            limits.attempt_timeout = limits.attempt_timeout.min(end.since(self.shared.broker.clock.now()));
        }
        limits
    }

    fn invocation(
        &self,
        message: &TaskMessage,
        module: &Loaded,
        input: Bytes,
        notes: mpsc::Sender<sandbox::Note>,
        cancel: sandbox::Cancel,
    ) -> sandbox::Invocation {
        let options = &message.signature.options;
        let (task_id, run, step) = match &self.subject.key {
            TaskKey::Single(id) => (id.to_string(), None, None),
            TaskKey::Step(step) => (step.task_id(), Some(step.run.to_string()), Some(step.step.to_string())),
        };
        sandbox::Invocation {
            attempt: sandbox::Attempt {
                idempotency_key: options.idempotency_key.clone().unwrap_or_else(|| task_id.clone()),
                task_id,
                task: message.signature.task.task.clone(),
                tenant: self.subject.tenant.clone(),
                attempt: message.attempt,
                run_id: run,
                step,
                labels: options.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            },
            input,
            limits: self.invocation_limits(&module.manifest.limits, options),
            manifest: Arc::clone(&module.manifest),
            reach: sandbox::Reach {
                granted: Arc::clone(&module.granted),
                resources: Arc::clone(&self.shared.resources),
            },
            now: self.shared.broker.clock.now(),
            notes,
            cancel,
        }
    }
}

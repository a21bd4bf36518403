//! One delivery, from its message to its acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span, warn};

use super::catalogue::Loaded;
use super::commit::{self, Written};
use super::{Shared, notes};
use crate::broker::patience::Patience;
use crate::broker::{Delivery, Lease};
use crate::model::lifecycle::{self, Commit, End, Record, Seen, Settled, Standing, Usage, Verdict};
use crate::model::{Failure, Kind, Limits, Outcome, Timestamp};
use crate::protocol::subject::TaskSubject;
use crate::protocol::task::TaskMessage;
use crate::sandbox;
use crate::store::{hand_backs, records, values};

/// Heartbeats in a lease: three may be late before it is lost.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// How long a host that is stopped waits to note what it hands back: a broker that is there takes milliseconds.
const NOTE_TIME_MAX: Duration = Duration::from_secs(1);

/// Handles one delivery. When this returns the delivery is finished, handed back, or left to its lease.
pub(super) async fn handle(shared: &Arc<Shared>, delivery: Delivery) {
    let Delivery { message, count, lease } = delivery;
    let Some(subject) = TaskSubject::read(&message.subject) else {
        warn!(subject = message.subject, "dropped a message whose subject names no task");
        return finish(lease.as_ref()).await;
    };
    let span = info_span!("task", id = %subject.id, queue = %subject.queue, delivery = count);
    let work = async {
        let attempt =
            Attempt { shared, subject: &subject, sequence: message.sequence, delivery: count, heard: Instant::now() };
        attempt.settle(&message.headers, &message.payload).await;
        finish(lease.as_ref()).await;
    };
    let guarded = async {
        tokio::select! {
            biased;
            () = work => {}
            () = keep(lease.as_ref(), shared.config.lease) => {}
            () = shared.hand_back.cancelled() => {
                info!("handing the task back");
                let note = hand_backs::note(&shared.broker, &subject.tenant, &subject.id, message.sequence);
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
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    subject: &'a TaskSubject,
    /// Its message's place in the stream.
    sequence: u64,
    delivery: u64,
    heard: Instant,
}

impl Attempt<'_> {
    /// Decides, runs and commits.
    async fn settle(&self, headers: &crate::protocol::Headers, payload: &Bytes) {
        let message = match TaskMessage::decode(headers, payload) {
            Ok(message) => message,
            Err(rejection) => {
                let failure = Failure::new(Kind::BadInput, rejection.to_string());
                return self.end(1, 0, End::Failed(failure)).await;
            }
        };
        let mut seen = Seen {
            attempt: message.attempt,
            delivery: self.delivery,
            handed_back: 0,
            recheck: message.recheck,
            expires: message.signature.options.expires,
        };
        if seen.needs_hand_backs() {
            seen.handed_back = self.handed_back().await;
        }
        let record = if seen.needs_record() { self.record().await } else { None };
        let expected = record.as_ref().map_or(0, |stored| stored.sequence);
        let now = self.shared.broker.clock.now();
        match lifecycle::on_delivery(&seen, record.as_ref().map(|stored| &stored.record), now) {
            Verdict::Drop => debug!("dropped a delivery of a task that has ended"),
            Verdict::Reschedule { next, due } => self.schedule(&message, next, due).await,
            Verdict::Settle(end) => self.end(seen.attempt, expected, end).await,
            Verdict::Run => self.run(&message, expected).await,
        }
    }

    async fn handed_back(&self) -> u64 {
        let TaskSubject { tenant, id, .. } = self.subject;
        let count = || hand_backs::count(&self.shared.broker, tenant, id, self.sequence);
        Patience::default().insist("look up hand-backs", count).await.unwrap_or_default()
    }

    async fn record(&self) -> Option<records::StoredRecord> {
        let read = || records::read(&self.shared.broker, &self.subject.tenant, &self.subject.id);
        Patience::default().insist("read the record", read).await.unwrap_or_default()
    }

    async fn run(&self, message: &TaskMessage, expected: u64) {
        let span = info_span!(
            "attempt",
            task = %message.signature.task,
            attempt = message.attempt,
            traceparent = message.traceparent.as_deref(),
        );
        let (outcome, usage) = self.invoke(message).instrument(span).await;
        let (id, policy) = (&self.subject.id, &message.signature.options.retry);
        let now = self.shared.broker.clock.now();
        let record = match lifecycle::on_outcome(outcome, policy, id, message.attempt, now) {
            Commit::Succeed(output) => {
                let value = values::keep(&self.shared.broker, &self.subject.tenant, output).await;
                Record::Settled(Settled { end: End::Succeeded(value), usage })
            }
            Commit::Settle(end) => Record::Settled(Settled { end, usage }),
            Commit::Retry { next, due, failure } => {
                info!(%failure, next, %due, "the attempt failed and is tried again");
                Record::Retrying { next, due, failure }
            }
        };
        // A lease that was extended in time is still ours; only after a stall longer than a lease may another host have been
        // here. Reading first then keeps a late outcome from being heard by a caller although it is refused.
        let expected = (self.heard.elapsed() < self.shared.config.lease).then_some(expected);
        self.commit(message, expected, record).await;
    }

    async fn commit(&self, message: &TaskMessage, expected: Option<u64>, record: Record) {
        let written = commit::commit(&self.shared.broker, self.subject, message.attempt, &record, expected).await;
        match (written, record) {
            (Written::Committed, Record::Retrying { next, due, .. })
            | (Written::Lost(Standing::Superseded { next, due }), _) => self.schedule(message, next, due).await,
            (Written::Committed, Record::Settled(settled)) => self.shared.metrics.settled(&settled),
            (Written::Lost(Standing::Over | Standing::Current), _) => {
                info!("another outcome of this task was committed first");
            }
        }
    }

    /// Commits an end of a task that did not run here.
    async fn end(&self, attempt: u32, expected: u64, end: End) {
        let usage =
            Usage { attempt, delivery: self.delivery, host: Some(self.shared.config.id.clone()), ..Usage::default() };
        info!(state = %end.state(), failure = end.failure().map(tracing::field::display), "ended without running");
        let record = Record::Settled(Settled { end, usage });
        if commit::commit(&self.shared.broker, self.subject, attempt, &record, Some(expected)).await
            == Written::Committed
            && let Record::Settled(settled) = &record
        {
            self.shared.metrics.settled(settled);
        }
    }

    async fn schedule(&self, message: &TaskMessage, next: u32, due: Timestamp) {
        commit::schedule(&self.shared.broker, self.subject, message, next, due).await;
    }

    /// Runs the attempt in the sandbox.
    async fn invoke(&self, message: &TaskMessage) -> (Outcome, Usage) {
        let mut usage = Usage {
            attempt: message.attempt,
            delivery: self.delivery,
            host: Some(self.shared.config.id.clone()),
            ..Usage::default()
        };
        let cancel = sandbox::Cancel::default();
        let _entry = self.shared.running.enter(self.subject, cancel.clone());
        let (module, input) = match self.prepare(message).await {
            Ok(prepared) => prepared,
            Err(failure) => return (Outcome::Failed(failure), usage),
        };
        let (notes, heard) = mpsc::channel(notes::NOTES_MAX);
        let invocation = self.invocation(message, &module, input, notes, cancel);
        let invoke = self.shared.sandbox.invoke(module.code, invocation);
        let report = notes::forward(&self.shared.broker, self.subject, message.attempt, heard, invoke).await;
        usage.fuel = report.fuel_used;
        usage.memory_bytes = report.memory_peak_bytes;
        usage.duration_us = u64::try_from(report.duration.as_micros()).unwrap_or(u64::MAX);
        debug!(fuel = usage.fuel, duration_us = usage.duration_us, notes_dropped = report.notes_dropped, "ran");
        (report.outcome, usage)
    }

    async fn prepare(&self, message: &TaskMessage) -> Result<(Loaded, Bytes), Failure> {
        let task = &message.signature.task;
        let module = self.shared.catalogue.load(task).await?;
        if module.record.task(&task.task).is_none() {
            let message =
                format!("module {}@{} has no task {:?}", task.module, module.record.version, task.task.as_str());
            return Err(Failure::new(Kind::TaskMissing, message));
        }
        let input = values::fetch(&self.shared.broker, &self.subject.tenant, &message.signature.input).await?;
        Ok((module, input))
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
        let id = &self.subject.id;
        sandbox::Invocation {
            attempt: sandbox::Attempt {
                task_id: id.clone(),
                task: message.signature.task.task.clone(),
                tenant: self.subject.tenant.clone(),
                attempt: message.attempt,
                idempotency_key: options.idempotency_key.clone().unwrap_or_else(|| id.as_str().to_owned()),
                run_id: None,
                step: None,
                labels: options.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            },
            input,
            limits: Limits::default()
                .with(&module.manifest.limits)
                .with(&options.limits)
                .within(&self.shared.config.ceiling),
            manifest: Arc::clone(&module.manifest),
            now: self.shared.broker.clock.now(),
            notes,
            cancel,
        }
    }
}

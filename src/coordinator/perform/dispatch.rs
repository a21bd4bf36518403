//! Queues an attempt of a task.

use tracing::warn;

use super::{Performed, Performer, insist};
use crate::broker::patience::Patience;
use crate::broker::{Error, Publish};
use crate::model::lifecycle::Usage;
use crate::model::limit::Limit;
use crate::model::limits::Wish;
use crate::model::outcome::VALUE_INLINE_MAX;
use crate::model::signature::Options;
use crate::model::step_life::{StepEnd, StepOutcome};
use crate::model::{Datum, Failure, Kind, Mark, Queue, Signature, StepAttempt, TaskRef, Value};
use crate::protocol::step;
use crate::protocol::subject::{PRIORITY_DEFAULT, Priority, RecordSubject, TaskSubject, task_anywhere};
use crate::protocol::task::{self, Form, TaskMessage};
use crate::store::catalogue::Unresolved;
use crate::store::run_values;
use crate::store::values::Missing;
use crate::workflow::effect::Dispatch;
use crate::workflow::limited;

impl Performer {
    /// Queues an attempt. A full queue is told; a queued attempt is not queued again.
    pub(super) async fn dispatch(&self, dispatch: &Dispatch, recheck: bool) -> Performed {
        let input = insist("store an input", || self.input(&dispatch.input)).await;
        let (input, form) = match input {
            Ok(input) => input,
            Err(missing) => {
                self.fail(dispatch, Failure::new(Kind::BadInput, missing.to_string())).await;
                return Performed::Done;
            }
        };
        let fleet = match self.limits(dispatch).await {
            Ok(limit) => limit.into_iter().collect(),
            Err(failure) => {
                self.fail(dispatch, failure).await;
                return Performed::Done;
            }
        };
        let (shared, requires) = (&self.shared, &dispatch.options.requires);
        let queue = dispatch.options.queue.clone().unwrap_or_else(Queue::default_queue);
        let note = || shared.marks.note(&shared.broker, &self.tenant, &queue, requires);
        drop(Patience::default().insist("note what is required", note).await);
        if recheck && self.is_queued(dispatch).await {
            return Performed::Done;
        }
        let publish = self.task(dispatch, queue, (input, form, fleet), recheck);
        let mut patience = Patience::default();
        loop {
            match self.shared.broker.streams.publish(publish.clone()).await {
                Ok(_) | Err(Error::Occupied { .. } | Error::Conflict { .. }) => return Performed::Done,
                Err(Error::Full { .. }) => return Performed::Full { generation: dispatch.generation },
                Err(error) => {
                    warn!(run = %self.run, step = %dispatch.step, %error, "failed to queue an attempt, trying again");
                    patience.wait().await;
                }
            }
        }
    }

    /// Whether the attempt is in a queue, as in another one than its flow names, to which it was moved.
    async fn is_queued(&self, dispatch: &Dispatch) -> bool {
        let key = StepAttempt { run: self.run.clone(), step: dispatch.step.clone(), attempt: dispatch.attempt };
        let queued = self.shared.broker.streams.last(&task_anywhere(&self.tenant, key)).await;
        // Where that cannot be seen the attempt is queued: a host recognises it.
        queued.is_ok_and(|queued| queued.is_some())
    }

    /// The input as it travels: small ones whole, large ones by reference, composed ones with the references that they have.
    async fn input(&self, input: &Datum) -> Result<(Value, Form), Missing> {
        let (broker, tenant, run) = (&self.shared.broker, &self.tenant, &self.run);
        if let Some(Value::Stored { digest, size }) = input.as_value() {
            return Ok((Value::Stored { digest, size }, Form::Plain));
        }
        let composed = !input.elsewhere().is_empty();
        let bytes = if composed { task::compose(input) } else { input.text().clone() };
        if bytes.len() <= VALUE_INLINE_MAX {
            return Ok((Value::Inline(bytes), if composed { Form::Composed } else { Form::Plain }));
        }
        let whole = run_values::whole(broker, tenant, run, input).await?;
        let size = whole.len() as u64;
        match run_values::put(broker, tenant, run, &whole).await?.as_value() {
            Some(stored) => Ok((stored, Form::Plain)),
            None => Err(Missing::TooLarge(size)),
        }
    }

    /// The limit that the task declares, with the key of this call.
    async fn limits(&self, dispatch: &Dispatch) -> Result<Option<Limit>, Failure> {
        let TaskRef { module, task, version } = &dispatch.task;
        let mut patience = Patience::default();
        let record = loop {
            match self.shared.catalogue.module(&self.tenant, module, version.as_ref()).await {
                Ok(record) => break record,
                Err(Unresolved::Broker(error)) if error.is_transient() => patience.wait().await,
                // The host that takes the task up says what is wrong.
                Err(_) => return Ok(None),
            }
        };
        let Some(declared) = record.manifest.fleet.get(task) else { return Ok(None) };
        let given = dispatch.limit_key.as_deref();
        let bad = |error: &dyn std::fmt::Display| Failure::new(Kind::BadExpression, error.to_string());
        let input = if limited::looks_at_input(declared, given) {
            let whole = || run_values::whole(&self.shared.broker, &self.tenant, &self.run, &dispatch.input);
            let whole = insist("read an input", whole).await.map_err(|missing| bad(&missing))?;
            Datum::parse(&whole).map_err(|error| bad(&error))?
        } else {
            Datum::null()
        };
        limited::limit(&dispatch.task, declared, given, &input).map(Some).map_err(|error| bad(&error))
    }

    fn task(&self, dispatch: &Dispatch, queue: Queue, called: (Value, Form, Vec<Limit>), recheck: bool) -> Publish {
        let (input, form, fleet) = called;
        let options = &dispatch.options;
        let timeout = options.attempt_timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let key = StepAttempt { run: self.run.clone(), step: dispatch.step.clone(), attempt: dispatch.attempt };
        let message_id = (!recheck).then(|| format!("{}/{}/{}", self.run, dispatch.step, dispatch.attempt));
        let subject = TaskSubject {
            tenant: self.tenant.clone(),
            queue,
            priority: options.priority.and_then(Priority::new).unwrap_or(PRIORITY_DEFAULT),
            mark: Mark::of(&options.requires),
            key: key.into(),
        };
        let signature = Signature {
            task: dispatch.task.clone(),
            input,
            options: Options {
                limits: Wish {
                    fuel: options.fuel,
                    memory_bytes: options.memory_bytes,
                    attempt_timeout_ms: timeout,
                    ..Wish::default()
                },
                expires: dispatch.expires,
                idempotency_key: dispatch.idempotency_key.clone(),
                fleet,
                labels: options.labels.clone(),
                requires: options.requires.clone(),
                ..Options::default()
            },
        };
        let message = TaskMessage {
            attempt: dispatch.attempt,
            recheck,
            shielded: dispatch.shielded,
            form,
            digest: dispatch.digest,
            ..TaskMessage::first(signature)
        };
        let (headers, payload) = message.encode();
        Publish { subject: subject.task(), headers, payload, message_id, ..Publish::default() }
    }

    /// Commits the failure of an attempt that cannot be queued.
    async fn fail(&self, dispatch: &Dispatch, failure: Failure) {
        let key = StepAttempt { run: self.run.clone(), step: dispatch.step.clone(), attempt: dispatch.attempt };
        let end = StepEnd::Failed(Failure { attempt: Some(dispatch.attempt), ..failure });
        self.commit(&key, end).await;
    }

    /// Commits the outcome of an attempt that no host has; the one of a host that has it stands.
    pub(super) async fn commit(&self, key: &StepAttempt, end: StepEnd) {
        let (headers, payload) = step::encode(&StepOutcome { end, usage: Usage::default() });
        let subject = RecordSubject::outcome(&self.tenant, key).to_string();
        let publish = Publish { subject, headers, payload, expect: Some(0), ..Publish::default() };
        let write = || self.shared.broker.streams.publish(publish.clone());
        drop(Patience::default().insist("commit an outcome", write).await);
    }
}

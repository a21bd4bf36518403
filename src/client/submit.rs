//! Submitting: one publish with acknowledgement.

use bytes::Bytes;

use super::{Client, Error};
use crate::broker::{self, Publish, Schedule};
use crate::model::time::DURATION_MAX;
use crate::model::{Mark, ModuleRecord, Queue, Signature, TaskId, Timestamp, Value};
use crate::protocol::stream::RESULT_TTL;
use crate::protocol::subject::{self, PRIORITY_DEFAULT, Priority, TaskSubject};
use crate::protocol::task::TaskMessage;
use crate::store::values::{self, LARGE_WAIT_MAX, VALUE_BYTES_MAX};

/// Where a task waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The queue.
    pub queue: Queue,
    /// The priority in it.
    pub priority: Priority,
    /// Not before this time; at once where it is not given or has passed.
    pub due: Option<Timestamp>,
}

/// What became of a submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is a new task.
    New(TaskId),
    /// This task was submitted under the same idempotency key before.
    Known(TaskId),
    /// This task is under way and has the same singleton key: nothing was submitted.
    UnderWay(TaskId),
    /// The call is now the one for which this task waits: its input takes the place of the one before it.
    Joined(TaskId),
}

impl Submitted {
    /// The task.
    #[must_use]
    pub const fn id(&self) -> &TaskId {
        match self {
            Self::New(id) | Self::Known(id) | Self::UnderWay(id) | Self::Joined(id) => id,
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self { queue: Queue::default_queue(), priority: PRIORITY_DEFAULT, due: None }
    }
}

impl Client {
    /// A new id: a ULID in lower case, which sorts by time.
    #[must_use]
    pub fn new_id(&self) -> TaskId {
        let millis = u64::try_from(self.broker.clock.now().as_millis()).unwrap_or(0);
        let text = ulid::Ulid::from_parts(millis, rand::random()).to_string().to_ascii_lowercase();
        // A ULID is 26 letters and digits, which every name may be.
        text.parse().unwrap_or_else(|_| unreachable!("a ULID is a name"))
    }

    /// Submits a task; when this returns it is durable.
    ///
    /// # Errors
    /// An unknown module, version or task, an input that is too large, and what the broker fails with: nothing is submitted.
    pub async fn submit(&self, signature: Signature, place: &Place) -> Result<TaskId, Error> {
        Ok(self.submit_told(signature, place).await?.id().clone())
    }

    /// The same, telling what became of it: a call under a singleton or a debounce may be another's task.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_told(&self, signature: Signature, place: &Place) -> Result<Submitted, Error> {
        self.submit_first(&self.new_id(), signature, place).await
    }

    /// The same with an id for the task, if it is a new one.
    pub(super) async fn submit_first(
        &self,
        id: &TaskId,
        signature: Signature,
        place: &Place,
    ) -> Result<Submitted, Error> {
        let module = self.resolve(&signature.task).await?;
        let Some(gathering) = self.gathering(&module, &signature).await? else {
            return self.put(id, signature, place, false).await;
        };
        signature.options.check().map_err(|invalid| Error::Refused(invalid.to_string()))?;
        if self.single(&module, &signature).await?.is_some() {
            return Err(Error::Refused("submit: a call is under a singleton or a debounce, not both".to_owned()));
        }
        let mut signature = signature;
        signature.task.version = Some(module.version.clone());
        self.submit_gathered(id, &signature, place, &gathering).await
    }

    /// Submits a task with an id of the caller's: a second submit is refused while the first is queued or running. It is gathered
    /// under no debounce, since that has an id of its own.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), [`Error::Occupied`], and [`Error::UnderWay`].
    pub async fn submit_as(&self, id: &TaskId, signature: Signature, place: &Place) -> Result<(), Error> {
        self.put_as(id, signature, place, false).await
    }

    /// The same for a submit that may not be the first: a host looks whether the task has ended before it runs it.
    ///
    /// # Errors
    /// As [`submit_as`](Self::submit_as).
    pub async fn submit_again(&self, id: &TaskId, signature: Signature, place: &Place) -> Result<(), Error> {
        self.put_as(id, signature, place, true).await
    }

    async fn put_as(&self, id: &TaskId, signature: Signature, place: &Place, recheck: bool) -> Result<(), Error> {
        match self.put(id, signature, place, recheck).await? {
            Submitted::UnderWay(other) if other != *id => Err(Error::UnderWay(other)),
            Submitted::UnderWay(_) | Submitted::New(_) | Submitted::Known(_) | Submitted::Joined(_) => Ok(()),
        }
    }

    async fn put(
        &self,
        id: &TaskId,
        mut signature: Signature,
        place: &Place,
        recheck: bool,
    ) -> Result<Submitted, Error> {
        let module = self.resolve(&signature.task).await?;
        // The version is decided here: what is queued runs the code it was submitted for, retries too.
        signature.task.version = Some(module.version.clone());
        if let Some(single) = self.single(&module, &signature).await? {
            return self.submit_single(id, signature, place, single).await;
        }
        let publish = self.message(id, signature, place, recheck).await?;
        self.publish_task(id, publish).await?;
        Ok(Submitted::New(id.clone()))
    }

    /// Refuses a call under a singleton or a debounce, for what needs a task of its own.
    pub(super) fn refuse_shared(module: &ModuleRecord, signature: &Signature, why: &str) -> Result<(), Error> {
        let (task, manifest, options) = (&signature.task.task, &module.manifest, &signature.options);
        for (what, asked, declared) in [
            ("singleton", options.singleton.is_some(), manifest.singleton.contains_key(task)),
            ("debounce", options.debounce.is_some(), manifest.debounce.contains_key(task)),
        ] {
            if asked || declared {
                let whose = if asked { "it asks for" } else { "its task declares" };
                return Err(Error::Refused(format!("submit: {whose} a {what}, and {why}")));
            }
        }
        Ok(())
    }

    /// Publishes the message that submits a task.
    pub(super) async fn publish_task(&self, id: &TaskId, publish: Publish) -> Result<(), Error> {
        match self.broker.streams.publish(publish).await {
            Ok(_) => Ok(()),
            Err(broker::Error::Occupied { .. }) => Err(Error::Occupied(id.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// The message that submits a task whose version is decided.
    pub(super) async fn message(
        &self,
        id: &TaskId,
        mut signature: Signature,
        place: &Place,
        recheck: bool,
    ) -> Result<Publish, Error> {
        signature.options.check().map_err(|invalid| Error::Refused(invalid.to_string()))?;
        self.put_under_limits(&mut signature).await?;
        signature.input = self.input(signature.input).await?;
        if let Some(due) = place.due {
            self.check_due(due, &signature)?;
            // A retry may need it a while after it is due.
            if due.since(self.broker.clock.now()) > RESULT_TTL / 2 {
                values::keep_long(&self.broker, &self.tenant, &signature.input).await?;
            }
        }
        let requires = &signature.options.requires;
        self.marks.note(&self.broker, &self.tenant, &place.queue, requires).await?;
        let Place { queue, priority, .. } = place.clone();
        let (tenant, mark, key) = (self.tenant.clone(), Mark::of(requires), id.into());
        let task = TaskSubject { tenant, queue, priority, mark, key };
        let (headers, payload) = TaskMessage { recheck, ..TaskMessage::first(signature) }.encode();
        Ok(match place.due {
            None => Publish { subject: task.task(), headers, payload, ..Publish::default() },
            Some(at) => Publish {
                subject: subject::schedule(&self.tenant, id),
                headers,
                payload,
                schedule: Some(Schedule { at, target: task.fire() }),
                ..Publish::default()
            },
        })
    }

    /// Refuses what would be due after it is over, or beyond what is kept for it.
    fn check_due(&self, due: Timestamp, signature: &Signature) -> Result<(), Error> {
        let wait = due.since(self.broker.clock.now());
        if wait > DURATION_MAX {
            return Err(Error::Refused(format!("it would be due at {due}, in more than a year")));
        }
        let over = [(signature.options.expires, "have expired"), (signature.options.timeout_at, "be out of time")];
        if let Some((_, what)) = over.iter().find(|(end, _)| end.is_some_and(|end| end <= due)) {
            return Err(Error::Refused(format!("it would {what} when it is due, at {due}")));
        }
        if matches!(signature.input, Value::Stored { .. }) && wait > LARGE_WAIT_MAX {
            return Err(Error::Refused(
                "an input of this size is kept for two weeks: it takes a delay of two weeks at most".to_owned(),
            ));
        }
        Ok(())
    }

    async fn input(&self, input: Value) -> Result<Value, Error> {
        match input {
            Value::Inline(bytes) if bytes.len() as u64 > VALUE_BYTES_MAX => {
                Err(Error::InputTooLarge { size: bytes.len() as u64, max: VALUE_BYTES_MAX })
            }
            Value::Inline(bytes) => Ok(values::put(&self.broker, &self.tenant, bytes).await?),
            stored @ Value::Stored { .. } => Ok(stored),
        }
    }

    /// The bytes of a value.
    ///
    /// # Errors
    /// A value that is gone, and what the broker fails with.
    pub async fn bytes(&self, value: &Value) -> Result<Bytes, Error> {
        Ok(values::get(&self.broker, &self.tenant, value).await?)
    }
}

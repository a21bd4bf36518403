//! Submitting: one publish with acknowledgement.

use bytes::Bytes;

use super::{Client, Error};
use crate::broker::{self, Publish, Schedule};
use crate::model::time::DURATION_MAX;
use crate::model::{Mark, Queue, Signature, TaskId, Timestamp, Value};
use crate::protocol::stream::RESULT_TTL;
use crate::protocol::subject::{self, PRIORITY_DEFAULT, Priority, TaskSubject};
use crate::protocol::task::TaskMessage;
use crate::store::values::{self, VALUE_BYTES_MAX};

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
        let id = self.new_id();
        self.submit_as(&id, signature, place).await?;
        Ok(id)
    }

    /// The same with an id of the caller's: a second submit is refused while the first is queued or running.
    ///
    /// # Errors
    /// As [`submit`](Self::submit), and [`Error::Occupied`].
    pub async fn submit_as(&self, id: &TaskId, signature: Signature, place: &Place) -> Result<(), Error> {
        self.put(id, signature, place, false).await
    }

    /// The same for a submit that may not be the first: a host looks whether the task has ended before it runs it.
    ///
    /// # Errors
    /// As [`submit_as`](Self::submit_as).
    pub async fn submit_again(&self, id: &TaskId, signature: Signature, place: &Place) -> Result<(), Error> {
        self.put(id, signature, place, true).await
    }

    async fn put(&self, id: &TaskId, mut signature: Signature, place: &Place, recheck: bool) -> Result<(), Error> {
        let module = self.resolve(&signature.task).await?;
        // The version is decided here: what is queued runs the code it was submitted for, retries too.
        signature.task.version = Some(module.version.clone());
        let publish = self.message(id, signature, place, recheck).await?;
        self.publish_task(id, publish).await
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
        if signature.options.expires.is_some_and(|expires| expires <= due) {
            return Err(Error::Refused(format!("it would have expired when it is due, at {due}")));
        }
        if matches!(signature.input, Value::Stored { .. }) && wait > RESULT_TTL {
            return Err(Error::Refused(
                "an input of this size is kept for two days: it takes a delay of a day at most".to_owned(),
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

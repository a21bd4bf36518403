//! Submitting: one publish with acknowledgement.

use bytes::Bytes;

use super::{Client, Error};
use crate::broker::{self, Publish};
use crate::model::{Queue, Signature, TaskId, Value};
use crate::protocol::subject::{PRIORITY_DEFAULT, Priority, TaskSubject};
use crate::protocol::task::TaskMessage;
use crate::store::values::{self, VALUE_BYTES_MAX};

/// Where a task waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The queue.
    pub queue: Queue,
    /// The priority in it.
    pub priority: Priority,
}

impl Default for Place {
    fn default() -> Self {
        Self { queue: Queue::default_queue(), priority: PRIORITY_DEFAULT }
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
    pub async fn submit_as(&self, id: &TaskId, mut signature: Signature, place: &Place) -> Result<(), Error> {
        let module = self.resolve(&signature.task).await?;
        // The version is decided here: what is queued runs the code it was submitted for, retries too.
        signature.task.version = Some(module.version.clone());
        signature.input = self.input(signature.input).await?;
        let (headers, payload) = TaskMessage::first(signature).encode();
        let subject = self.place(id, place).task();
        let publish = Publish { subject, headers, payload, ..Publish::default() };
        match self.broker.streams.publish(publish).await {
            Ok(_) => Ok(()),
            Err(broker::Error::Occupied { .. }) => Err(Error::Occupied(id.clone())),
            Err(error) => Err(error.into()),
        }
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

    fn place(&self, id: &TaskId, place: &Place) -> TaskSubject {
        let Place { queue, priority } = place.clone();
        TaskSubject { tenant: self.tenant.clone(), queue, priority, key: id.into() }
    }
}

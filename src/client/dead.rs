//! Dead letters: tasks after their last failure, looked at, sent again, or dropped.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::schedules::task_id;
use super::{Client, Error, Place};
use crate::broker::{self, Message, Start as From};
use crate::model::signature::LABELS_MAX;
use crate::model::{Kind, ModuleName, Queue, RunId, TaskId, TaskName, Timestamp, Value};
use crate::protocol::dead::{self, Letter};
use crate::protocol::task::Form;

/// Letters that one list shows when nobody says otherwise.
pub const LETTERS_SHOWN_DEFAULT: usize = 100;

/// The label of a task that was sent again: the id that it had before.
pub const REPLAY_LABEL: &str = "replay_of";

/// Which letters: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only those of this queue.
    pub queue: Option<Queue>,
    /// Only those of this module.
    pub module: Option<ModuleName>,
    /// Only those of a task of this name.
    pub task: Option<TaskName>,
    /// Only those that failed so.
    pub kind: Option<Kind>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those that died at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that died before this time.
    pub until: Option<Timestamp>,
}

impl LetterFilter {
    /// Whether a letter is one of them.
    #[must_use]
    pub fn fits(&self, letter: &Letter) -> bool {
        let signature = letter.message.as_ref().ok().map(|message| &message.signature);
        let labels = signature.map(|signature| &signature.options.labels);
        let of = |own: Option<&str>, wanted: Option<&str>| wanted.is_none_or(|wanted| own == Some(wanted));
        self.queue.as_ref().is_none_or(|queue| *queue == letter.queue)
            && of(signature.map(|of| of.task.module.as_str()), self.module.as_ref().map(ModuleName::as_str))
            && of(signature.map(|of| of.task.task.as_str()), self.task.as_ref().map(TaskName::as_str))
            && self.kind.is_none_or(|kind| kind == letter.failure.kind)
            && self.labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
            && self.since.is_none_or(|since| letter.died >= since)
            && self.until.is_none_or(|until| letter.died < until)
    }
}

/// What is different when a letter is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Another input.
    pub input: Option<Bytes>,
    /// Another queue.
    pub queue: Option<Queue>,
    /// The latest version of its module, in place of the one that failed.
    pub latest: bool,
}

impl Client {
    /// The letters that fit, in the order in which they died. What cannot be read is left out.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn letters(&self, filter: LetterFilter) -> Result<BoxStream<'static, Result<Letter, Error>>, Error> {
        let all = dead::all(&self.tenant, filter.queue.as_ref());
        let messages = self.broker.streams.read(&all, From::Sequence(1), false).await?;
        let fitting = move |message: broker::Result<Message>| {
            let letter = message.map_err(Error::from).map(|message| read(&message).ok()).transpose()?;
            letter.as_ref().map_or(true, |letter| filter.fits(letter)).then_some(letter)
        };
        Ok(messages.filter_map(move |message| std::future::ready(fitting(message))).boxed())
    }

    /// The letter of a task.
    ///
    /// # Errors
    /// That there is none, one that cannot be read, and what the broker fails with.
    pub async fn letter(&self, id: &TaskId) -> Result<Letter, Error> {
        let found = self.broker.streams.last(&dead::anywhere(&self.tenant, id)).await?;
        let message = found.ok_or_else(|| Error::LetterNotFound(id.clone()))?;
        read(&message).map_err(|rejection| Error::Unreadable { subject: message.subject, rejection })
    }

    /// Sends a task that has failed again, as a new one; its id. The letter is gone then. When this is done twice at once, or again
    /// after a failure between the two, there is one new task all the same.
    ///
    /// # Errors
    /// A message that cannot be sent, a module, version or task that is gone, an input that is gone, and what the broker fails with.
    pub async fn replay(&self, letter: &Letter, edit: &Edit) -> Result<TaskId, Error> {
        let refused = |why: String| Error::Refused(format!("task {} cannot be sent again: {why}", letter.id));
        let message = letter.message.as_ref().map_err(|rejection| refused(rejection.to_string()))?;
        if message.form == Form::Composed {
            return Err(refused("its input is of a run".to_owned()));
        }
        let mut signature = message.signature.clone();
        match &edit.input {
            Some(input) => signature.input = Value::Inline(input.clone()),
            None => {
                if matches!(signature.input, Value::Stored { .. }) {
                    // It is looked at here: a host would find out too, and the letter would be gone. It is stored anew, for the
                    // letter's copy may be old.
                    signature.input = Value::Inline(self.bytes(&signature.input).await?);
                }
            }
        }
        if edit.latest {
            signature.task.version = None;
        }
        // Those times are over.
        (signature.options.expires, signature.options.timeout_at) = (None, None);
        let labels = &mut signature.options.labels;
        if labels.len() < LABELS_MAX || labels.contains_key(REPLAY_LABEL) {
            labels.insert(REPLAY_LABEL.to_owned(), letter.id.to_string());
        }
        let sequence = letter.sequence.to_string();
        let id = task_id(&RunId::derived(&["replay", self.tenant.as_str(), letter.id.as_str(), &sequence]));
        let queue = edit.queue.clone().unwrap_or_else(|| letter.queue.clone());
        match self.submit_again(&id, signature, &Place { queue, priority: letter.priority, due: None }).await {
            Ok(()) | Err(Error::Occupied(_)) => {}
            Err(error) => return Err(error),
        }
        self.drop_letter(letter).await?;
        Ok(id)
    }

    /// Drops a letter.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn drop_letter(&self, letter: &Letter) -> Result<(), Error> {
        self.broker.streams.purge(&dead::subject(&self.tenant, &letter.queue, &letter.id)).await?;
        Ok(())
    }
}

fn read(message: &Message) -> Result<Letter, crate::protocol::Rejection> {
    dead::decode(&message.subject, &message.headers, &message.payload, message.time, message.sequence)
}

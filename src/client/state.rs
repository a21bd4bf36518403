//! Where a task is.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error};
use crate::broker::{Message, Start};
use crate::model::lifecycle::{Record, State};
use crate::model::{HostId, TaskId};
use crate::protocol::note::LogLine;
use crate::protocol::task::REQUIRES;
use crate::protocol::{debounce, limit, subject};

/// How often a task is looked for in all places before it is said that there is none.
const LOOKS_MAX: u32 = 4;

/// How long hosts have to say that they run a task.
const FIND_PATIENCE: Duration = Duration::from_millis(200);

/// A task at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where it is.
    pub state: State,
    /// Its record, once it has one.
    pub record: Option<Record>,
    /// The host that runs it.
    pub host: Option<HostId>,
    /// What it waits for: a limit across the fleet, or, where it is queued and not every host may take it, a host.
    pub waits_for: Option<String>,
}

impl Client {
    /// Where a task is.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an id that is not known, and what the broker fails with.
    pub async fn state(&self, id: &TaskId) -> Result<Snapshot, Error> {
        // A task that moves on between two of the looks can be missed by each of them. It is always somewhere, and rarely moves
        // as fast as it is looked for.
        for _ in 0..LOOKS_MAX {
            if let Some(snapshot) = self.look(id).await? {
                return Ok(snapshot);
            }
        }
        Err(Error::NotFound(id.clone()))
    }

    async fn look(&self, id: &TaskId) -> Result<Option<Snapshot>, Error> {
        let record = self.record(id).await?.map(|stored| stored.record);
        let ended = |state| Snapshot { state, record: record.clone(), host: None, waits_for: None };
        if let Some(Record::Settled(settled)) = &record {
            return Ok(Some(ended(settled.end.state())));
        }
        if let Some(message) = self.broker.streams.last(&subject::task_anywhere(&self.tenant, id)).await? {
            let host = self.host_of(id).await?;
            if host.is_some() {
                return Ok(Some(Snapshot { state: State::Running, record, host, waits_for: None }));
            }
            let waits_for = message.headers.value(REQUIRES).map(|labels| format!("a host with {labels}"));
            return Ok(Some(Snapshot { state: State::Queued, record, host, waits_for }));
        }
        if let Some(message) = self.broker.streams.last(&limit::line_anywhere(&self.tenant, id)).await? {
            let waits_for = self.limit_of(&message.subject).await?;
            let gathered = debounce::read_gathered(&message.headers);
            let waits_for = match (waits_for, gathered) {
                (Some(name), _) => Some(format!("the limit of {name}")),
                (None, Ok(gathered)) => Some(format!("more calls under its debounce until {}", gathered.due)),
                (None, Err(_)) => None,
            };
            return Ok(Some(Snapshot { state: State::Scheduled, record, host: None, waits_for }));
        }
        // It may have ended between the two looks.
        if let Some(stored) = self.record(id).await? {
            let state = match &stored.record {
                Record::Settled(settled) => settled.end.state(),
                Record::Retrying { .. } => State::Retrying,
            };
            return Ok(Some(Snapshot { state, record: Some(stored.record), host: None, waits_for: None }));
        }
        for waiting in [subject::schedule(&self.tenant, id), subject::fire_anywhere(&self.tenant, id)] {
            if self.broker.streams.last(&waiting).await?.is_some() {
                return Ok(Some(Snapshot { state: State::Scheduled, record: None, host: None, waits_for: None }));
            }
        }
        Ok(None)
    }

    /// The name of the limit in whose line a task waits.
    pub(super) async fn limit_of(&self, subject: &str) -> Result<Option<String>, Error> {
        let Some((token, _)) = limit::read_line(subject) else { return Ok(None) };
        let found = self.broker.streams.last(&limit::record(&self.tenant, &token)).await?;
        Ok(found.and_then(|message| limit::decode_ledger(&message.payload).ok()).map(|ledger| ledger.limit.name))
    }

    async fn host_of(&self, id: &TaskId) -> Result<Option<HostId>, Error> {
        let word = subject::find(&self.tenant, id);
        let answers = self.broker.bus.ask(&word, Bytes::new(), FIND_PATIENCE, 1).await?;
        Ok(answers.first().and_then(|answer| std::str::from_utf8(&answer.payload).ok()?.parse().ok()))
    }

    /// The log of a task, oldest line first; with `follow` also what it will say.
    ///
    /// # Errors
    /// What the broker fails with. A task without a log has no lines; its state tells whether it is known.
    pub async fn logs(&self, id: &TaskId, follow: bool) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        let subject = subject::log(&self.tenant, id);
        let lines = self.broker.streams.read(&subject, Start::Sequence(1), follow).await?;
        let line = |message: Message| async move { Ok(serde_json::from_slice(&message.payload).ok()) };
        Ok(lines.map_err(Error::from).try_filter_map(line).boxed())
    }
}

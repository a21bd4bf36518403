//! Hosts: which there are, what they do, and asking one to leave.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;

use super::{Client, Error};
use crate::broker::{Message, Start as From};
use crate::model::HostId;
use crate::protocol::host::{self, Drain, HEARTBEATS, HostDetail, HostRecord, Word};
use crate::protocol::subject;

/// How long a host has to answer: it does so at once, unless its machine is overwhelmed.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The pause between two looks for a host that leaves: it says so once a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Client {
    /// All hosts that live, of whatever tenant, that have all of `labels`. One that was killed is gone within five seconds.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn hosts(&self, labels: &BTreeMap<String, String>) -> Result<Vec<HostRecord>, Error> {
        let records = self.broker.streams.read(HEARTBEATS, From::LastPerSubject, false).await?;
        // What a newer program wrote is no host that this one can show.
        let read = |message: Message| async move { Ok(HostRecord::decode(&message.payload).ok()) };
        let mut hosts: Vec<HostRecord> = records.try_filter_map(read).try_collect().await?;
        hosts.retain(|host| labels.iter().all(|(key, value)| host.labels.get(key) == Some(value)));
        hosts.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(hosts)
    }

    /// What a host does now.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] for one that does not live or does not answer, and what the broker fails with.
    pub async fn host(&self, id: &HostId) -> Result<HostDetail, Error> {
        self.ask_host(id, Word::Inspect, Bytes::new(), ANSWER_PATIENCE).await
    }

    /// Asks a host to take no more tasks, finish what runs within `deadline` (its own choice where there is none), hand back
    /// the rest and leave. Returns when it has heard.
    ///
    /// # Errors
    /// [`Error::HostNotFound`] for one that does not live or does not answer, and what the broker fails with.
    pub async fn drain_host(&self, id: &HostId, deadline: Option<Duration>) -> Result<HostRecord, Error> {
        let deadline_ms = deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
        self.ask_host(id, Word::Drain, host::encode(&Drain { deadline_ms }), ANSWER_PATIENCE).await
    }

    /// Waits until a host has left, and tells `watch` of it each time it says something new.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn host_left(&self, id: &HostId, watch: &mut (dyn FnMut(&HostRecord) + Send)) -> Result<(), Error> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut told = 0;
        loop {
            looks.tick().await;
            let Some(message) = self.broker.streams.last(&host::heartbeat(id)).await? else { return Ok(()) };
            if let Ok(host) = HostRecord::decode(&message.payload)
                && message.sequence > told
            {
                told = message.sequence;
                watch(&host);
            }
        }
    }

    /// Whether a coordinator lives: one that does says so within `patience`, which should be a few seconds.
    ///
    /// # Errors
    /// What the broker fails with, as where the tenant may not see coordinators.
    pub async fn has_coordinator(&self, patience: Duration) -> Result<bool, Error> {
        let beat = || self.last_of(subject::COORDINATOR_HEARTBEATS);
        // The heartbeat of one that was killed stays for a while: a later one is what counts.
        let before = beat().await?.map(|message| message.sequence);
        tokio::time::sleep(patience).await;
        let after = beat().await?.map(|message| message.sequence);
        Ok(after.is_some() && after != before)
    }

    pub(super) async fn ask_host<T>(&self, id: &HostId, word: Word, body: Bytes, patience: Duration) -> Result<T, Error>
    where
        T: serde::de::DeserializeOwned,
    {
        let answers = self.broker.bus.ask(&host::tell(id, word), body, patience, 1).await?;
        let Some(answer) = answers.first() else { return Err(Error::HostNotFound(id.clone())) };
        let unreadable = |rejection| Error::Unreadable { subject: answer.subject.clone(), rejection };
        host::decode(&answer.payload).map_err(unreadable)
    }
}

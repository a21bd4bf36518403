//! Lists of runs, and stored flows.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt as _;

use super::{Client, Error};
use crate::broker::{self, Publish, Start as From};
use crate::model::{Digest, FlowName, RunId, Timestamp, Version};
use crate::protocol::flow::{FlowRecord, RECORD_VERSION};
use crate::protocol::stream::Bucket;
use crate::protocol::subject;
use crate::store::catalogue::document_name;
use crate::workflow::flow::{self, Document};
use crate::workflow::wire::{Entry, RunState};

/// Runs that one list shows when nobody says otherwise.
pub const RUNS_SHOWN_DEFAULT: usize = 100;

/// How often a push without a version tries the next number when others push at the same time.
const TRIES_MAX: u32 = 16;

/// Which runs a list shows: those that fit all of it, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this flow.
    pub flow: Option<FlowName>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only those that were started at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that were started before this time.
    pub until: Option<Timestamp>,
    /// Only the children of this run.
    pub parent: Option<RunId>,
    /// So many at most.
    pub count_max: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            state: None,
            flow: None,
            labels: BTreeMap::new(),
            since: None,
            until: None,
            parent: None,
            count_max: RUNS_SHOWN_DEFAULT,
        }
    }
}

impl RunFilter {
    fn fits(&self, entry: &Entry) -> bool {
        self.state.is_none_or(|state| entry.state == state)
            && self.flow.as_ref().is_none_or(|flow| entry.flow.as_ref() == Some(flow))
            && self.labels.iter().all(|(key, value)| entry.labels.get(key) == Some(value))
            && self.since.is_none_or(|since| entry.started >= since)
            && self.until.is_none_or(|until| entry.started < until)
            && self.parent.as_ref().is_none_or(|run| entry.parent.as_ref().is_some_and(|parent| parent.run == *run))
    }
}

impl Client {
    /// The runs that fit, the latest first. Entries that cannot be read are left out.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Entry>, Error> {
        let mut entries = self.broker.streams.read(&Entry::all(&self.tenant), From::LastPerSubject, false).await?;
        // The latest so far: never more than are shown.
        let mut latest: BTreeMap<(Timestamp, RunId), Entry> = BTreeMap::new();
        while let Some(message) = entries.next().await {
            let Ok(entry) = Entry::decode(&message?.payload) else { continue };
            if filter.fits(&entry) {
                latest.insert((entry.started, entry.run.clone()), entry);
                if latest.len() > filter.count_max {
                    latest.pop_first();
                }
            }
        }
        Ok(latest.into_values().rev().collect())
    }

    /// A run at a glance.
    ///
    /// # Errors
    /// An unknown run, and what the broker fails with.
    pub async fn run(&self, run: &RunId) -> Result<Entry, Error> {
        if let Some(message) = self.broker.streams.last(&Entry::subject(&self.tenant, run)).await? {
            return Entry::decode(&message.payload)
                .map_err(|rejection| Error::Unreadable { subject: message.subject, rejection });
        }
        // It is listed when a coordinator has seen its start.
        self.generation(run).await?;
        let started = self.broker.clock.now();
        let reason = Some("it waits for a coordinator to begin it".to_owned());
        Ok(Entry { state: RunState::Running, reason, ..Entry::unknown(run.clone(), started) })
    }

    /// Stores a version of a flow. When this returns it can be run. The same document again changes nothing.
    ///
    /// # Errors
    /// [`Error::FlowVersionTaken`], and what the broker fails with.
    pub async fn push_flow(
        &self,
        name: &FlowName,
        version: Option<&Version>,
        document: &Document,
    ) -> Result<FlowRecord, Error> {
        if let Some(problem) = flow::schema_problems(document, None).first() {
            return Err(Error::Refused(problem.to_string()));
        }
        let text = Bytes::from(document.to_json().to_string());
        let digest = Digest::of(&text);
        for _ in 0..TRIES_MAX {
            let versions = self.flow_versions(name).await?;
            let version = match version {
                Some(version) => match versions.iter().find(|old| old.version == *version) {
                    Some(old) if old.digest == digest => return Ok(old.clone()),
                    Some(_) => {
                        return Err(Error::FlowVersionTaken { flow: name.clone(), version: version.clone() });
                    }
                    None => version.clone(),
                },
                None => match versions.last() {
                    Some(latest) if latest.digest == digest => return Ok(latest.clone()),
                    _ => Version::next_after(versions.iter().map(|old| &old.version)),
                },
            };
            let object = document_name(&self.tenant, &digest);
            self.broker.objects.put(Bucket::Flows, &object, &mut text.as_ref()).await?;
            let record = FlowRecord {
                v: RECORD_VERSION,
                name: name.clone(),
                version,
                digest,
                size: text.len() as u64,
                pushed_at: self.broker.clock.now(),
            };
            let publish = Publish {
                expect: Some(0),
                ..Publish::new(subject::flow(&self.tenant, name, &record.version), record.encode())
            };
            match self.broker.streams.publish(publish).await {
                Ok(_) => return Ok(record),
                // Someone else took the version: look again.
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(broker::Error::Conflict { subject: subject::flow_versions(&self.tenant, name) }.into())
    }

    /// All versions of a flow, in the order in which they were stored.
    ///
    /// # Errors
    /// What the broker fails with, and a record that cannot be read.
    pub async fn flow_versions(&self, name: &FlowName) -> Result<Vec<FlowRecord>, Error> {
        self.flow_records(&subject::flow_versions(&self.tenant, name)).await
    }

    /// All versions of all flows, in the order in which they were stored.
    ///
    /// # Errors
    /// As [`flow_versions`](Self::flow_versions).
    pub async fn flows(&self) -> Result<Vec<FlowRecord>, Error> {
        self.flow_records(&subject::flows(&self.tenant)).await
    }

    async fn flow_records(&self, filter: &str) -> Result<Vec<FlowRecord>, Error> {
        let mut messages = self.broker.streams.read(filter, From::LastPerSubject, false).await?;
        let mut records = Vec::new();
        while let Some(message) = messages.next().await {
            let message = message?;
            let record = FlowRecord::decode(&message.payload)
                .map_err(|rejection| Error::Unreadable { subject: message.subject, rejection })?;
            records.push(record);
        }
        Ok(records)
    }
}

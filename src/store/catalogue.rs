//! Which modules and flows there are: looked up by name, and pinned to what they are now.

mod pins;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;

use crate::broker::{Broker, Error, Start};
use crate::model::{Digest, FlowName, ModuleName, ModuleRecord, TaskName, Tenant, Version};
use crate::protocol::flow::FlowRecord;
use crate::protocol::stream::Bucket;
use crate::protocol::{Rejection, module, subject};
use crate::workflow::flow::{DOCUMENT_BYTES_MAX, Document};
use crate::workflow::journal::Pins;

pub use pins::{Unknown, Unpinned};

/// How long a lookup is believed: a new version is used at most this late.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// Lookups that are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// Modules and flows that one run may call, with all the flows that its flows call.
pub const PINS_MAX: usize = 1_000;

/// Why something that a run calls was not found.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unresolved {
    /// There is no such module, or no such version of it.
    #[error("find module {}: there is none", Pins::key(.module.as_str(), .version.as_ref()))]
    Module {
        /// What was asked for.
        module: ModuleName,
        /// The version that was asked for.
        version: Option<Version>,
    },
    /// The module has no such task.
    #[error("find task {task} of module {module}@{version}: there is none")]
    Task {
        /// The module.
        module: ModuleName,
        /// The version that was looked into.
        version: Version,
        /// What was asked for.
        task: TaskName,
    },
    /// There is no such flow, or no such version of it.
    #[error("find flow {}: there is none", Pins::key(.flow.as_str(), .version.as_ref()))]
    Flow {
        /// What was asked for.
        flow: FlowName,
        /// The version that was asked for.
        version: Option<Version>,
    },
    /// What is stored under the flow's name is no flow that this program reads.
    #[error("read flow {flow}: {problem}")]
    Document {
        /// The flow.
        flow: FlowName,
        /// What is wrong with it.
        problem: String,
    },
    /// A record that this program does not read.
    #[error("read {subject}: {rejection}")]
    Unreadable {
        /// Where it is stored.
        subject: String,
        /// What is wrong with it.
        rejection: Rejection,
    },
    /// They are too many.
    #[error("start: it calls more than {PINS_MAX} modules and flows")]
    TooMany,
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] Error),
}

/// Lookups by name, believed for a moment.
pub struct Catalogue {
    broker: Broker,
    modules: Remembered<(Tenant, ModuleName, Option<Version>), ModuleRecord>,
    flows: Remembered<(Tenant, FlowName, Option<Version>), Found>,
}

/// A stored flow and its document.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its record.
    pub record: FlowRecord,
    /// Its document as it is stored: the normal form.
    pub text: Bytes,
    /// The same, read.
    pub document: Document,
}

impl Catalogue {
    /// A catalogue that knows nothing yet.
    #[must_use]
    pub fn new(broker: Broker) -> Self {
        Self { broker, modules: Remembered::default(), flows: Remembered::default() }
    }

    /// A version of a module; the latest one where none is named.
    ///
    /// # Errors
    /// That there is none, and what the broker fails with.
    pub async fn module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
        version: Option<&Version>,
    ) -> Result<Arc<ModuleRecord>, Unresolved> {
        let key = (tenant.clone(), name.clone(), version.cloned());
        if let Some(known) = self.modules.get(&key) {
            return Ok(known);
        }
        let subject = match version {
            Some(version) => subject::module(tenant, name, version),
            None => subject::module_versions(tenant, name),
        };
        let read = |body: &Bytes, subject: &str| {
            module::decode(body).map_err(|rejection| Unresolved::Unreadable { subject: subject.to_owned(), rejection })
        };
        let last = self.broker.streams.last(&subject).await?;
        let mut found = last.map(|message| read(&message.payload, &message.subject)).transpose()?;
        if version.is_none() && found.as_ref().is_some_and(|record| record.removed) {
            // The last one that was written was removed: the latest of those that are left.
            found = None;
            let mut all = self.broker.streams.read(&subject, Start::LastPerSubject, false).await?;
            while let Some(message) = futures::StreamExt::next(&mut all).await {
                let message = message?;
                found = Some(read(&message.payload, &message.subject)?).filter(|record| !record.removed).or(found);
            }
        }
        match found.filter(|record| !record.removed) {
            Some(record) => Ok(self.modules.put(key, record)),
            None => Err(Unresolved::Module { module: name.clone(), version: version.cloned() }),
        }
    }

    /// A version of a stored flow; the latest one where none is named.
    ///
    /// # Errors
    /// That there is none, a document that is no flow, and what the broker fails with.
    pub async fn flow(
        &self,
        tenant: &Tenant,
        name: &FlowName,
        version: Option<&Version>,
    ) -> Result<Arc<Found>, Unresolved> {
        let key = (tenant.clone(), name.clone(), version.cloned());
        if let Some(known) = self.flows.get(&key) {
            return Ok(known);
        }
        let subject = match version {
            Some(version) => subject::flow(tenant, name, version),
            None => subject::flow_versions(tenant, name),
        };
        let Some(message) = self.broker.streams.last(&subject).await? else {
            return Err(Unresolved::Flow { flow: name.clone(), version: version.cloned() });
        };
        let unreadable = |rejection| Unresolved::Unreadable { subject: message.subject.clone(), rejection };
        let record = FlowRecord::decode(&message.payload).map_err(unreadable)?;
        let text = self.document(tenant, &record).await?;
        let document = Document::parse_json(&text).map_err(|problems| Unresolved::Document {
            flow: name.clone(),
            problem: problems.first().map_or_else(String::new, ToString::to_string),
        })?;
        Ok(self.flows.put(key, Found { record, text, document }))
    }

    async fn document(&self, tenant: &Tenant, record: &FlowRecord) -> Result<Bytes, Unresolved> {
        let gone = |problem: &str| Unresolved::Document { flow: record.name.clone(), problem: problem.to_owned() };
        let name = document_name(tenant, &record.digest);
        let reader = self.broker.objects.open(Bucket::Flows, &name).await?;
        let reader = reader.ok_or_else(|| gone("its document is not in the object store"))?;
        let mut text = Vec::new();
        let read = reader.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut text).await;
        read.map_err(|error| Error::Unavailable(error.to_string()))?;
        let own = Digest::of(&text) == record.digest;
        if own { Ok(text.into()) } else { Err(gone("its document is not the one that was stored")) }
    }
}

/// The name of a document in its bucket.
#[must_use]
pub fn document_name(tenant: &Tenant, digest: &Digest) -> String {
    format!("{tenant}/{}", digest.hex())
}

/// What was looked up, and when.
struct Remembered<K, V>(Mutex<HashMap<K, (Instant, Arc<V>)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V> Remembered<K, V> {
    fn get(&self, key: &K) -> Option<Arc<V>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, value) = known.get(key)?;
        (at.elapsed() < BELIEVED_FOR).then(|| Arc::clone(value))
    }

    fn put(&self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, (Instant::now(), Arc::clone(&value)));
        value
    }
}

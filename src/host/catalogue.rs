//! Which versions of which modules there are, and how a host gets their code.
//!
//! The host follows the records of its tenant's modules. What it has not heard of yet it asks for, so that a module can be
//! called as soon as its upload has returned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::io::AsyncReadExt as _;
use tracing::{debug, info, warn};

use crate::broker::patience::Patience;
use crate::broker::{self, Broker, Message, Start};
use crate::model::grants::Allow;
use crate::model::module::Manifest;
use crate::model::{Failure, Granted, Kind, ModuleName, ModuleRecord, TaskRef, Tenant, Version};
use crate::protocol::stream::Bucket;
use crate::protocol::{module, subject};
use crate::sandbox::{self, Sandbox};

/// A version of a module, ready to be called.
#[derive(Clone)]
pub(super) struct Loaded {
    /// What was stored of it.
    pub(super) record: Arc<ModuleRecord>,
    /// What its upload added to it.
    pub(super) manifest: Arc<Manifest>,
    /// What its tenant grants to it and this host allows.
    pub(super) granted: Arc<Granted>,
    /// Its code.
    pub(super) code: Arc<sandbox::Module>,
}

/// A record and its place in the stream: the greatest is the latest.
#[derive(Clone)]
struct Known {
    sequence: u64,
    record: Arc<ModuleRecord>,
    manifest: Arc<Manifest>,
    granted: Arc<Granted>,
}

type Versions = HashMap<Version, Known>;

/// The modules of one tenant.
pub(super) struct Catalogue {
    broker: Broker,
    sandbox: Sandbox,
    tenant: Tenant,
    allow: Allow,
    known: Mutex<HashMap<ModuleName, Versions>>,
}

impl Catalogue {
    /// A catalogue that knows nothing yet.
    pub(super) fn new(broker: Broker, sandbox: Sandbox, tenant: Tenant, allow: Allow) -> Self {
        Self { broker, sandbox, tenant, allow, known: Mutex::default() }
    }

    /// Hears of modules for as long as the host runs.
    pub(super) async fn follow(&self) {
        let mut patience = Patience::default();
        loop {
            match self.broker.streams.read(&subject::modules(&self.tenant), Start::LastPerSubject, true).await {
                Ok(mut records) => {
                    while let Some(Ok(message)) = records.next().await {
                        patience = Patience::default();
                        self.learn(&message);
                    }
                }
                Err(error) => debug!(%error, "cannot follow the modules, trying again"),
            }
            patience.wait().await;
        }
    }

    /// The code of a task's module.
    pub(super) async fn load(&self, task: &TaskRef) -> Result<Loaded, Failure> {
        let Some(Known { record, manifest, granted, .. }) = self.resolve(task).await? else {
            let version = task.version.as_ref().map(|version| format!(" in version {version}")).unwrap_or_default();
            return Err(Failure::new(Kind::ModuleMissing, format!("there is no module {}{version}", task.module)));
        };
        let code = self.code(&record).await?;
        Ok(Loaded { record, manifest, granted, code })
    }

    async fn resolve(&self, task: &TaskRef) -> Result<Option<Known>, Failure> {
        if let Some(known) = self.pick(task) {
            return Ok(Some(known));
        }
        let subject = match &task.version {
            Some(version) => subject::module(&self.tenant, &task.module, version),
            None => subject::module_versions(&self.tenant, &task.module),
        };
        let last = || self.broker.streams.last(&subject);
        let asked = Patience::default().insist("look up a module", last).await;
        if let Ok(Some(message)) = asked {
            self.learn(&message);
        }
        Ok(self.pick(task))
    }

    fn pick(&self, task: &TaskRef) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = known.get(&task.module)?;
        let found = match &task.version {
            Some(version) => versions.get(version),
            None => versions.values().filter(|known| !known.record.removed).max_by_key(|known| known.sequence),
        };
        found.filter(|known| !known.record.removed).cloned()
    }

    fn learn(&self, message: &Message) {
        let record = match module::decode(&message.payload) {
            Ok(record) => record,
            Err(rejection) => return warn!(subject = message.subject, %rejection, "skipped the record of a module"),
        };
        // The subject was checked by the broker's permissions; what the record says of itself was not.
        if subject::module(&self.tenant, &record.name, &record.version) != message.subject {
            return warn!(subject = message.subject, "skipped the record of a module that names another one");
        }
        let manifest = Arc::new(record.manifest.clone());
        let (name, version) = (record.name.clone(), record.version.clone());
        let granted = Arc::new(self.allow.granted(&self.tenant, &manifest.grants));
        if let Some(withheld) = granted.withheld(&manifest.grants) {
            warn!(module = %name, %version, withheld, "this host allows less than the module is granted");
        }
        let known = Known { sequence: message.sequence, record: Arc::new(record), manifest, granted };
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = all.entry(name).or_default();
        if versions.get(&version).is_none_or(|old| old.sequence < known.sequence) {
            versions.insert(version, known);
        }
    }

    async fn code(&self, record: &ModuleRecord) -> Result<Arc<sandbox::Module>, Failure> {
        match self.sandbox.loaded(&record.digest, record.contract).await {
            Ok(Some(code)) => return Ok(code),
            Ok(None) => {}
            Err(error) => warn!(%error, "cannot use the artifact cache"),
        }
        info!(module = %record.name, version = %record.version, size = record.size, "loading a module");
        let bytes = self.bytes(record).await?;
        self.sandbox.load(&record.digest, bytes).await.map_err(|error| {
            let kind = if error.is_transient() { Kind::ModuleMissing } else { Kind::ModuleInvalid };
            Failure::new(kind, format!("module {}@{}: {error}", record.name, record.version))
        })
    }

    async fn bytes(&self, record: &ModuleRecord) -> Result<Bytes, Failure> {
        let missing = |reason: String| {
            Failure::new(Kind::ModuleMissing, format!("the bytes of {}@{}: {reason}", record.name, record.version))
        };
        let fetch = || async {
            let name = record.digest.hex();
            let Some(reader) = self.broker.objects.open(Bucket::Modules, &name).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            let cap = sandbox::MODULE_BYTES_MAX as u64;
            reader
                .take(cap + 1)
                .read_to_end(&mut bytes)
                .await
                .map_err(|error| broker::Error::Unavailable(error.to_string()))?;
            Ok(Some(bytes))
        };
        match Patience::default().retry("fetch a module", fetch).await {
            Ok(Some(bytes)) => Ok(bytes.into()),
            Ok(None) => Err(missing("they are not in the object store".to_owned())),
            Err(error) => Err(missing(error.to_string())),
        }
    }
}

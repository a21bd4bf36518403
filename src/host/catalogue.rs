//! Which versions of which modules there are, and how a host gets their code.
//!
//! The host follows the records of its tenant's modules. What it has not heard of yet it asks for, so that a module can be
//! called as soon as its upload has returned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use lru::LruCache;
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

/// What is said of modules that their host's operator does not let run.
const WITHOUT_FUEL: &str =
    "this host runs no module without fuel: push it without `metering = \"deadline\"`, or ask its operator";

const EXCEPTIONS: &str = "this host runs no module that uses exceptions of Wasm: its operator may allow it \
    (`exceptions = true` in the file of --allow)";

/// A record and its place in the stream: the greatest is the latest.
#[derive(Clone)]
struct Known {
    sequence: u64,
    record: Arc<ModuleRecord>,
    manifest: Arc<Manifest>,
    granted: Arc<Granted>,
}

/// Records of versions that a host keeps, of whatever modules: about 20 MB with small schemas. Beyond them the modules that
/// were not called for longest are forgotten, and asked for when they are.
const RECORDS_MAX: usize = 10_000;

/// All versions of some modules: those that were called last, within a bound.
struct Shelf {
    modules: LruCache<ModuleName, HashMap<Version, Known>>,
    records: usize,
    records_max: usize,
}

impl Shelf {
    fn new(records_max: usize) -> Self {
        Self { modules: LruCache::unbounded(), records: 0, records_max }
    }

    /// What a call of `task` would get.
    fn pick(&mut self, task: &TaskRef) -> Option<Known> {
        let versions = self.modules.get(&task.module)?;
        let found = match &task.version {
            Some(version) => versions.get(version),
            None => versions.values().filter(|known| !known.record.removed).max_by_key(|known| known.sequence),
        };
        found.filter(|known| !known.record.removed).cloned()
    }

    fn keep(&mut self, known: Known) {
        let (name, version) = (&known.record.name, &known.record.version);
        // What is heard of is not what is called: only a call moves a module to the front.
        if !self.modules.contains(name) {
            self.modules.push(name.clone(), HashMap::new());
        }
        let Some(versions) = self.modules.peek_mut(name) else { return };
        if versions.get(version).is_none_or(|old| old.sequence < known.sequence) {
            self.records += usize::from(versions.insert(version.clone(), known).is_none());
        }
        while self.records > self.records_max && self.modules.len() > 1 {
            let Some((_, forgotten)) = self.modules.pop_lru() else { break };
            self.records = self.records.saturating_sub(forgotten.len());
        }
    }
}

/// The modules of one tenant.
pub(super) struct Catalogue {
    broker: Broker,
    sandbox: Sandbox,
    tenant: Tenant,
    allow: Allow,
    known: Mutex<Shelf>,
}

impl Catalogue {
    /// A catalogue that knows nothing yet.
    pub(super) fn new(broker: Broker, sandbox: Sandbox, tenant: Tenant, allow: Allow) -> Self {
        Self { broker, sandbox, tenant, allow, known: Mutex::new(Shelf::new(RECORDS_MAX)) }
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

    /// The code of a task's module. Where it must be fetched and compiled first, `wait` is polled beside that; if it ends before,
    /// nobody wants the module any more.
    pub(super) async fn load<Wait: Future<Output = Failure>>(
        &self,
        task: &TaskRef,
        wait: impl FnOnce(Arc<ModuleRecord>) -> Wait,
    ) -> Result<Loaded, Failure> {
        let Some(Known { record, manifest, granted, .. }) = self.resolve(task).await? else {
            let version = task.version.as_ref().map(|version| format!(" in version {version}")).unwrap_or_default();
            return Err(Failure::new(Kind::ModuleMissing, format!("there is no module {}{version}", task.module)));
        };
        if !self.allow.meters(&self.tenant, record.manifest.metering) {
            return Err(Failure::new(Kind::NotGranted, WITHOUT_FUEL));
        }
        if record.manifest.exceptions && !self.allow.exceptions(&self.tenant) {
            return Err(Failure::new(Kind::NotGranted, EXCEPTIONS));
        }
        let code = match self.at_hand(&record).await {
            Some(code) => code,
            None => tokio::select! {
                biased;
                code = self.fetched(&record) => code?,
                failure = wait(Arc::clone(&record)) => return Err(failure),
            },
        };
        Ok(Loaded { record, manifest, granted, code })
    }

    async fn resolve(&self, task: &TaskRef) -> Result<Option<Known>, Failure> {
        if let Some(known) = self.pick(task) {
            return Ok(Some(known));
        }
        // Without a version all of them are looked at: the last one to be written may be one that was removed.
        let subject = match &task.version {
            Some(version) => subject::module(&self.tenant, &task.module, version),
            None => subject::module_versions(&self.tenant, &task.module),
        };
        let records = || async {
            // The stream keeps the last record of each version and no other.
            let mut records = self.broker.streams.read(&subject, Start::Sequence(1), false).await?;
            while let Some(message) = records.try_next().await? {
                self.learn(&message);
            }
            Ok(())
        };
        // A module that cannot be looked up is missing; the attempt after it looks again.
        drop(Patience::default().insist("look up a module", records).await);
        Ok(self.pick(task))
    }

    fn pick(&self, task: &TaskRef) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).pick(task)
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
        let granted = Arc::new(self.allow.granted(&self.tenant, &manifest.grants));
        if let Some(withheld) = granted.withheld(&manifest.grants) {
            warn!(module = %record.name, version = %record.version, withheld, "this host allows less than the module is granted");
        }
        let known = Known { sequence: message.sequence, record: Arc::new(record), manifest, granted };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).keep(known);
    }

    /// The code, if it is loaded or was compiled here before.
    async fn at_hand(&self, record: &ModuleRecord) -> Option<Arc<sandbox::Module>> {
        let sandbox = self.sandbox.of_class(record.manifest.class());
        let loaded = sandbox.loaded(&record.digest, record.contract).await;
        loaded.unwrap_or_else(|error| {
            warn!(%error, "cannot use the artifact cache");
            None
        })
    }

    /// The code from the module's bytes.
    async fn fetched(&self, record: &ModuleRecord) -> Result<Arc<sandbox::Module>, Failure> {
        let ModuleRecord { name, version, size, digest, .. } = record;
        info!(module = %name, %version, size, "loading a module");
        let began = Instant::now();
        let bytes = self.bytes(record).await?;
        let loaded = self.sandbox.of_class(record.manifest.class()).load(digest, bytes).await;
        let code = loaded.map_err(|error| {
            let kind = if error.is_transient() { Kind::ModuleMissing } else { Kind::ModuleInvalid };
            Failure::new(kind, format!("module {name}@{version}: {error}"))
        })?;
        info!(module = %name, %version, took_ms = began.elapsed().as_millis(), "loaded a module");
        Ok(code)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Contract, Digest};

    fn known(name: &str, version: &str, sequence: u64, removed: bool) -> Known {
        let record = ModuleRecord {
            v: 1,
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(name.as_bytes()),
            source_digest: None,
            size: 1,
            contract: Contract::Command,
            tasks: Vec::new(),
            manifest: Manifest::default(),
            pushed_at: crate::model::Timestamp::default(),
            removed,
        };
        Known { sequence, record: Arc::new(record), manifest: Arc::default(), granted: Arc::default() }
    }

    fn called(shelf: &mut Shelf, task: &str) -> Option<String> {
        shelf.pick(&task.parse().unwrap()).map(|known| known.record.version.to_string())
    }

    #[test]
    fn the_modules_that_were_not_called_for_longest_are_forgotten() {
        let mut shelf = Shelf::new(3);
        for (name, sequence) in [("a", 1), ("b", 2), ("c", 3)] {
            shelf.keep(known(name, "1", sequence, false));
        }
        assert_eq!(called(&mut shelf, "a/t").as_deref(), Some("1"));
        shelf.keep(known("a", "2", 4, false));
        assert_eq!(called(&mut shelf, "b/t"), None, "it was heard of first, and never called");
        assert_eq!(called(&mut shelf, "a/t").as_deref(), Some("2"));
        for version in 3..100 {
            shelf.keep(known("a", &version.to_string(), 5 + version, false));
        }
        assert_eq!((shelf.modules.len(), called(&mut shelf, "a/t").as_deref()), (1, Some("99")));
    }

    #[test]
    fn a_removed_version_is_not_called_and_an_older_record_changes_nothing() {
        let mut shelf = Shelf::new(10);
        shelf.keep(known("a", "1", 1, false));
        shelf.keep(known("a", "2", 3, true));
        shelf.keep(known("a", "2", 2, false));
        assert_eq!(called(&mut shelf, "a/t").as_deref(), Some("1"));
        assert_eq!(called(&mut shelf, "a@2/t"), None);
    }
}

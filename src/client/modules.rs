//! Modules: uploading, finding, listing and removing.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::{Client, Error};
use crate::broker::{self, Message, Publish, Start};
use crate::model::module::{Manifest, RECORD_VERSION};
use crate::model::{Contract, Digest, ModuleName, ModuleRecord, TaskDescription, TaskRef, Version};
use crate::protocol::stream::Bucket;
use crate::protocol::{module, subject};

/// How long a client believes what it knows of a module: a new version is called at most this late.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// Modules that a client remembers.
const REMEMBERED_MAX: usize = 1_000;

/// How often a push without a version tries the next number when others push at the same time.
const TRIES_MAX: u32 = 16;

/// A module that is to be stored, already checked and described.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The name under which it is called.
    pub name: ModuleName,
    /// The version; without one, the next integer.
    pub version: Option<Version>,
    /// The bytes to be stored.
    pub bytes: Bytes,
    /// Digest of the file, where it was turned into a component.
    pub source_digest: Option<Digest>,
    /// How it is called.
    pub contract: Contract,
    /// What it offers.
    pub tasks: Vec<TaskDescription>,
    /// What is added to it.
    pub manifest: Manifest,
}

impl Client {
    /// Stores a version of a module. When this returns it can be called. The same upload again changes nothing.
    ///
    /// # Errors
    /// [`Error::VersionTaken`], and what the broker fails with.
    pub async fn push(&self, upload: Upload) -> Result<ModuleRecord, Error> {
        let digest = Digest::of(&upload.bytes);
        let same = |old: &ModuleRecord| {
            !old.removed && old.digest == digest && old.manifest == upload.manifest && old.contract == upload.contract
        };
        for _ in 0..TRIES_MAX {
            let versions = self.versions(&upload.name).await?;
            let version = match &upload.version {
                Some(version) => match versions.iter().find(|old| old.version == *version) {
                    Some(old) if same(old) => return Ok(old.clone()),
                    Some(_) => {
                        return Err(Error::VersionTaken { module: upload.name.clone(), version: version.clone() });
                    }
                    None => version.clone(),
                },
                None => match versions.iter().rfind(|old| !old.removed) {
                    Some(latest) if same(latest) => return Ok(latest.clone()),
                    _ => Version::next_after(versions.iter().map(|old| &old.version)),
                },
            };
            self.store(digest, &upload.bytes).await?;
            let record = self.record_of(&upload, version, digest);
            match self.write_module(&record, 0).await {
                Ok(()) => return Ok(record),
                // Someone else took the version: look again.
                Err(Error::Broker(broker::Error::Conflict { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(broker::Error::Conflict { subject: subject::module_versions(&self.tenant, &upload.name) }.into())
    }

    async fn store(&self, digest: Digest, bytes: &Bytes) -> Result<(), Error> {
        let name = digest.hex();
        let known = self.broker.objects.info(Bucket::Modules, &name).await?;
        if known.is_none_or(|info| info.size != bytes.len() as u64) {
            self.broker.objects.put(Bucket::Modules, &name, &mut bytes.as_ref()).await?;
        }
        Ok(())
    }

    fn record_of(&self, upload: &Upload, version: Version, digest: Digest) -> ModuleRecord {
        ModuleRecord {
            v: RECORD_VERSION,
            name: upload.name.clone(),
            version,
            digest,
            source_digest: upload.source_digest,
            size: upload.bytes.len() as u64,
            contract: upload.contract,
            tasks: upload.tasks.clone(),
            manifest: upload.manifest.clone(),
            pushed_at: self.broker.clock.now(),
            removed: false,
        }
    }

    async fn write_module(&self, record: &ModuleRecord, expected: u64) -> Result<(), Error> {
        let publish = Publish {
            subject: subject::module(&self.tenant, &record.name, &record.version),
            payload: module::encode(record),
            expect: Some(expected),
            ..Publish::default()
        };
        self.broker.streams.publish(publish).await?;
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// All versions of a module, removed ones too, in the order of their upload.
    ///
    /// # Errors
    /// What the broker fails with, and a record that cannot be read.
    pub async fn versions(&self, name: &ModuleName) -> Result<Vec<ModuleRecord>, Error> {
        self.records(&subject::module_versions(&self.tenant, name)).await
    }

    /// All versions of all modules that are not removed, in the order of their upload.
    ///
    /// # Errors
    /// As [`versions`](Self::versions).
    pub async fn modules(&self) -> Result<Vec<ModuleRecord>, Error> {
        let mut records = self.records(&subject::modules(&self.tenant)).await?;
        records.retain(|record| !record.removed);
        Ok(records)
    }

    async fn records(&self, filter: &str) -> Result<Vec<ModuleRecord>, Error> {
        let messages = self.broker.streams.read(filter, Start::LastPerSubject, false).await?;
        messages.map_err(Error::from).and_then(|message| async move { read(&message) }).try_collect().await
    }

    /// A version of a module; the latest one where none is named.
    ///
    /// # Errors
    /// [`Error::ModuleMissing`], and what the broker fails with.
    pub async fn module(&self, name: &ModuleName, version: Option<&Version>) -> Result<ModuleRecord, Error> {
        let subject = match version {
            Some(version) => subject::module(&self.tenant, name, version),
            None => subject::module_versions(&self.tenant, name),
        };
        if let Some(message) = self.broker.streams.last(&subject).await? {
            let record = read(&message)?;
            if !record.removed {
                return Ok(record);
            }
        }
        let mut left = self.versions(name).await?;
        left.retain(|record| !record.removed);
        match left.pop() {
            Some(latest) if version.is_none() => Ok(latest),
            latest => {
                let known = left.iter().chain(&latest).map(|record| record.version.to_string()).collect();
                Err(Error::ModuleMissing { module: name.clone(), version: version.cloned(), known })
            }
        }
    }

    /// The module of a task, which it offers.
    ///
    /// # Errors
    /// [`Error::ModuleMissing`], [`Error::TaskMissing`], and what the broker fails with.
    pub async fn resolve(&self, task: &TaskRef) -> Result<Arc<ModuleRecord>, Error> {
        if let Some((at, record)) = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).get(task)
            && at.elapsed() < BELIEVED_FOR
        {
            return Ok(Arc::clone(record));
        }
        let record = Arc::new(self.module(&task.module, task.version.as_ref()).await?);
        if record.task(&task.task).is_none() {
            return Err(Error::TaskMissing {
                module: record.name.clone(),
                version: record.version.clone(),
                task: task.task.clone(),
                known: record.tasks.iter().map(|task| task.name.to_string()).collect(),
            });
        }
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if resolved.len() >= REMEMBERED_MAX {
            resolved.clear();
        }
        resolved.insert(task.clone(), (Instant::now(), Arc::clone(&record)));
        Ok(record)
    }

    /// Removes a version. Its name stays taken, so that what a version means never changes.
    ///
    /// # Errors
    /// [`Error::ModuleMissing`], and what the broker fails with.
    pub async fn remove_module(&self, name: &ModuleName, version: &Version) -> Result<ModuleRecord, Error> {
        let subject = subject::module(&self.tenant, name, version);
        let missing =
            || Error::ModuleMissing { module: name.clone(), version: Some(version.clone()), known: Vec::new() };
        let message = self.broker.streams.last(&subject).await?.ok_or_else(missing)?;
        let record = read(&message)?;
        if record.removed {
            return Err(missing());
        }
        let record = ModuleRecord { removed: true, ..record };
        self.write_module(&record, message.sequence).await?;
        let used = self.modules().await?.iter().any(|other| other.digest == record.digest);
        if !used {
            self.broker.objects.remove(Bucket::Modules, &record.digest.hex()).await?;
        }
        Ok(record)
    }
}

fn read(message: &Message) -> Result<ModuleRecord, Error> {
    module::decode(&message.payload)
        .map_err(|rejection| Error::Unreadable { subject: message.subject.clone(), rejection })
}

//! From a digest to a loaded module: memory, then disk, then the compiler.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use wasmtime::Engine;

use super::artifact::Artifacts;
use super::config::Config;
use super::error::Error;
use super::hot::Hot;
use super::http::{Client, LOOKUPS_MAX};
use super::inspect::inspect;
use super::module::{Linkers, Module};
use super::rejection::Rejection;
use super::slots::Slots;
use super::{compile, engine};
use crate::model::{Contract, Digest};

/// What all clones of a sandbox share.
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) engine: Engine,
    pub(super) slots: Slots,
    pub(super) compiled: AtomicU64,
    pub(super) loaded: AtomicU64,
    linkers: Linkers,
    artifacts: Artifacts,
    hot: Mutex<Hot>,
    /// Modules that were refused: a bomb is compiled once, not once for every task that names it.
    refused: Mutex<LruCache<Digest, Rejection>>,
    /// One lock for each digest that is being loaded now.
    flights: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
    /// Compilers at the same time: as many as there are threads, so that guests keep their share of the machine.
    compilers: Semaphore,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Inner {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        let threads = config.threads.max(1);
        let engine = engine::running(&config)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(threads.saturating_add(BLOCKING_THREADS).saturating_add(LOOKUPS_MAX as usize))
            .thread_name("lovage-guest")
            .enable_all()
            .build()
            .map_err(Error::io("start the guests' threads"))?;
        Ok(Self {
            linkers: Linkers::new(&engine, Arc::new(Client::new(&config.http)?))?,
            artifacts: Artifacts::open(&config.cache_dir, &engine::compatibility()?, config.cache_bytes_max)?,
            hot: Mutex::new(Hot::new(config.hot_modules_max, config.hot_bytes_max)),
            slots: Slots::new(config.slots.max(1) as usize, config.tenant_slots_max.map(|share| share as usize)),
            compilers: Semaphore::new(threads),
            refused: Mutex::new(LruCache::new(REFUSED_MAX)),
            flights: Mutex::default(),
            compiled: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            engine,
            config,
        })
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn hot(&self, digest: &Digest) -> Option<Arc<Module>> {
        self.lock_hot().find(digest)
    }

    pub(super) fn hot_held(&self) -> (usize, u64) {
        let hot = self.lock_hot();
        (hot.len(), hot.bytes())
    }

    fn lock_hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The module from its artifact, if there is one.
    pub(super) async fn from_disk(
        self: Arc<Self>,
        digest: Digest,
        contract: Contract,
    ) -> Result<Option<Arc<Module>>, Error> {
        let found = self.blocking(move |inner| {
            let Some((code, bytes)) = inner.artifacts.load(&inner.engine, &digest, contract)? else { return Ok(None) };
            let module = Arc::new(inner.linkers.link(digest, contract, &code, bytes)?);
            inner.lock_hot().keep(Arc::clone(&module));
            Ok(Some(module))
        });
        let found = found.await?;
        if found.is_some() {
            self.loaded.fetch_add(1, Ordering::Relaxed);
        }
        Ok(found)
    }

    /// The module from its bytes. Whoever comes while it is being compiled waits for that.
    pub(super) async fn from_bytes(self: Arc<Self>, digest: Digest, bytes: Bytes) -> Result<Arc<Module>, Error> {
        let flight = Arc::clone(self.lock_flights().entry(digest).or_default());
        let guard = flight.lock().await;
        let result = match (self.hot(&digest), self.refused(&digest)) {
            (Some(module), _) => Ok(module),
            (None, Some(rejection)) => Err(rejection.into()),
            (None, None) => Arc::clone(&self).compiled(digest, bytes).await,
        };
        if let Err(Error::Rejected(rejection)) = &result {
            self.refuse(digest, rejection);
        }
        drop(guard);
        // Whoever still waits has a handle of the lock and finds the module hot.
        self.lock_flights().remove(&digest);
        result
    }

    async fn compiled(self: Arc<Self>, digest: Digest, bytes: Bytes) -> Result<Arc<Module>, Error> {
        let (contract, wasm) = self.blocking(move |_| checked(&digest, &bytes)).await?;
        if let Some(module) = Arc::clone(&self).from_disk(digest, contract).await? {
            return Ok(module);
        }
        let permit = self.compilers.acquire().await.map_err(|_| Error::Stopped)?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let (artifact, compilation) = compile::compile(&self.config.compiler, contract, &wasm).await?;
        drop(permit);
        self.blocking(move |inner| {
            inner.artifacts.store(&digest, contract, &artifact)?;
            let stored = inner.artifacts.load(&inner.engine, &digest, contract)?;
            let (code, bytes) = stored.ok_or(Error::Engine {
                doing: "load a module",
                message: "its artifact is gone as soon as it was stored".to_owned(),
            })?;
            let module = inner.linkers.link(digest, contract, &code, bytes)?;
            let module = Arc::new(module.compiled_with(compilation));
            inner.lock_hot().keep(Arc::clone(&module));
            Ok(module)
        })
        .await
    }

    fn refused(&self, digest: &Digest) -> Option<Rejection> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn refuse(&self, digest: Digest, rejection: &Rejection) {
        // Other bytes than those of the digest say nothing of the module.
        if !matches!(rejection, Rejection::DigestMismatch { .. }) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.put(digest, rejection.clone());
        }
    }

    fn lock_flights(&self) -> MutexGuard<'_, HashMap<Digest, Arc<tokio::sync::Mutex<()>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work that computes for long, or waits for a disk, beside the threads that run guests.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = Arc::clone(self);
        match self.handle.spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::Engine { doing: "load a module", message: error.to_string() }),
            Err(_) => Err(Error::Stopped),
        }
    }
}

/// Refused modules that are remembered: a few hundred bytes each.
const REFUSED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Loads at the same time, besides one for each thread: they wait for a disk.
const BLOCKING_THREADS: usize = 4;

/// Checks that the bytes are those of the digest and a module; a core module with a component type becomes a component.
fn checked(digest: &Digest, bytes: &Bytes) -> Result<(Contract, Bytes), Error> {
    let found = Digest::of(bytes);
    if found != *digest {
        return Err(Rejection::DigestMismatch { named: *digest, found }.into());
    }
    let inspection = inspect(bytes)?;
    let wasm = match inspection.stored {
        std::borrow::Cow::Borrowed(_) => bytes.clone(),
        std::borrow::Cow::Owned(component) => Bytes::from(component),
    };
    Ok((inspection.contract, wasm))
}

impl Drop for Inner {
    fn drop(&mut self) {
        // In an async context a runtime must not be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("config", &self.config).finish_non_exhaustive()
    }
}

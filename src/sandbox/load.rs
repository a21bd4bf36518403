//! From a digest to a loaded module: memory, then disk, then the compiler.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use tokio::runtime::{Builder, Handle, Runtime};

use super::artifact::{Artifacts, Build};
use super::compilers::Compilers;
use super::config::Config;
use super::error::Error;
use super::hot::Hot;
use super::http::LOOKUPS_MAX;
use super::inspect::inspect;
use super::machine::Machines;
use super::module::Module;
use super::rejection::Rejection;
use super::slots::Slots;
use super::{compile, engine};
use crate::model::{Contract, Digest, EngineClass};

/// A lock for each module that is being loaded.
type Flights = HashMap<(Digest, EngineClass), Arc<tokio::sync::Mutex<()>>>;

/// What all clones of a sandbox share.
pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) slots: Slots,
    pub(super) compiled: AtomicU64,
    pub(super) loaded: AtomicU64,
    machines: Machines,
    artifacts: Artifacts,
    hot: Mutex<Hot>,
    /// Modules that were refused: a bomb is compiled once, not once for every task that names it.
    refused: Mutex<LruCache<(Digest, EngineClass), Rejection>>,
    /// One lock for each that is being loaded now.
    flights: Mutex<Flights>,
    compilers: Compilers,
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Inner {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        let threads = config.threads.max(1);
        let machines = Machines::new(&config)?;
        let artifacts = Artifacts::open(&config.cache_dir, &engine::compatibility()?, config.cache_bytes_max)?;
        // After all that may fail: one that is dropped in a task of the caller's would panic.
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(threads.saturating_add(BLOCKING_THREADS).saturating_add(LOOKUPS_MAX as usize))
            .thread_name("lovage-guest")
            .enable_all()
            .build()
            .map_err(Error::io("start the guests' threads"))?;
        Ok(Self {
            machines,
            artifacts,
            hot: Mutex::new(Hot::new(config.hot_modules_max, config.hot_bytes_max)),
            slots: Slots::new(config.slots.max(1) as usize, config.tenant_slots_max.map(|share| share as usize)),
            compilers: Compilers::new(threads),
            refused: Mutex::new(LruCache::new(REFUSED_MAX)),
            flights: Mutex::default(),
            compiled: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            config,
        })
    }

    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn hot(&self, digest: &Digest, class: EngineClass) -> Option<Arc<Module>> {
        self.lock_hot().find(digest, class)
    }

    pub(super) fn hot_held(&self) -> (usize, u64) {
        let hot = self.lock_hot();
        (hot.len(), hot.bytes())
    }

    fn lock_hot(&self) -> MutexGuard<'_, Hot> {
        self.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The module from its artifact, if there is one.
    pub(super) async fn from_disk(self: Arc<Self>, build: Build) -> Result<Option<Arc<Module>>, Error> {
        let found = self.blocking(move |inner| {
            let machine = inner.machines.of(build.class)?;
            let Some((code, bytes)) = inner.artifacts.load(&machine.engine, &build)? else { return Ok(None) };
            let module = Arc::new(Module::link(machine, build, &code, bytes)?);
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
    pub(super) async fn from_bytes(
        self: Arc<Self>,
        digest: Digest,
        class: EngineClass,
        bytes: Bytes,
    ) -> Result<Arc<Module>, Error> {
        let wanted = (digest, class);
        let flight = Arc::clone(self.lock_flights().entry(wanted).or_default());
        let guard = flight.lock().await;
        let result = match (self.hot(&digest, class), self.refused(&wanted)) {
            (Some(module), _) => Ok(module),
            (None, Some(rejection)) => Err(rejection.into()),
            (None, None) => Arc::clone(&self).compiled(digest, class, bytes).await,
        };
        if let Err(Error::Rejected(rejection)) = &result {
            self.refuse(wanted, rejection);
        }
        drop(guard);
        // Whoever still waits has a handle of the lock and finds the module hot.
        self.lock_flights().remove(&wanted);
        result
    }

    async fn compiled(self: Arc<Self>, digest: Digest, class: EngineClass, bytes: Bytes) -> Result<Arc<Module>, Error> {
        let (contract, wasm) = self.blocking(move |_| checked(&digest, class, &bytes)).await?;
        let build = Build { digest, contract, class };
        if let Some(module) = Arc::clone(&self).from_disk(build).await? {
            return Ok(module);
        }
        let place = self.compilers.place(wasm.len()).await?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let (artifact, compilation) = compile::compile(&self.config.compiler, &build, &wasm).await?;
        drop(place);
        self.blocking(move |inner| {
            inner.artifacts.store(&build, &artifact)?;
            let machine = inner.machines.of(class)?;
            let stored = inner.artifacts.load(&machine.engine, &build)?;
            let (code, bytes) = stored.ok_or(Error::Engine {
                doing: "load a module",
                message: "its artifact is gone as soon as it was stored".to_owned(),
            })?;
            let module = Module::link(machine, build, &code, bytes)?;
            let module = Arc::new(module.compiled_with(compilation));
            inner.lock_hot().keep(Arc::clone(&module));
            Ok(module)
        })
        .await
    }

    fn refused(&self, wanted: &(Digest, EngineClass)) -> Option<Rejection> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(wanted).cloned()
    }

    fn refuse(&self, wanted: (Digest, EngineClass), rejection: &Rejection) {
        // Other bytes than those of the digest say nothing of the module.
        if !matches!(rejection, Rejection::DigestMismatch { .. }) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            refused.put(wanted, rejection.clone());
        }
    }

    fn lock_flights(&self) -> MutexGuard<'_, Flights> {
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

/// Checks that the bytes are those of the digest and a module for engines of that class; a core module with a component type
/// becomes a component.
fn checked(digest: &Digest, class: EngineClass, bytes: &Bytes) -> Result<(Contract, Bytes), Error> {
    let found = Digest::of(bytes);
    if found != *digest {
        return Err(Rejection::DigestMismatch { named: *digest, found }.into());
    }
    let inspection = inspect(bytes)?;
    if inspection.exceptions && !class.exceptions {
        return Err(Rejection::NeedsExceptions.into());
    }
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

//! Runs guests: a fresh instance for every invocation, within limits that really trap.
//!
//! What a guest does, however it ends, is a [`Report`]; what the world does is an [`Error`]; a module that is no good is a
//! [`Rejection`]. Reading order: [`inspect`](inspect()) looks at an upload, `compile` turns it into machine code in a child
//! process, `artifact` keeps that on disk, `module` links it, `guest` is the state beside an instance, `run` calls it, and
//! `command`, `task` and `typed` are the contracts.
//!
//! **Invariant:** no guest code runs on a thread of the caller, and none before every limit of its store is set.
//! **Invariant:** no instance serves two invocations.
//! **Invariant:** a panic in here ends one invocation, never the process.
//! **Invariant:** nothing here names a broker or a host: `sandbox` stands on `model` alone.

mod artifact;
mod command;
mod compile;
mod compilers;
mod config;
mod confine;
mod engine;
mod epoch;
mod error;
mod grants;
mod guest;
mod hot;
mod http;
mod inspect;
mod invocation;
mod limiter;
mod load;
mod machine;
mod mask;
mod module;
mod notes;
mod output;
mod preview1;
mod reach;
mod rejection;
mod resources;
mod run;
mod slots;
mod stdio;
mod task;
mod trap;
mod turn;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what does not go together is one thing, whatever the kinds of the two"
)]
mod typed;
mod wasi_grants;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub use compile::{Compilation, compile_child};
pub use config::{Compiler, Config};
pub use engine::SLOTS_MAX;
pub use error::Error;
pub use http::{HttpConfig, HttpLimits, Resolve, SystemResolver};
pub use inspect::{Inspection, MODULE_BYTES_MAX, inspect};
pub use invocation::{Attempt, Cancel, Invocation, Note, Report};
pub use module::Module;
pub use output::{TooLarge, json};
pub use rejection::Rejection;
pub use resources::{Entry, Nothing, Reach, ResourceError, ResourceResult, Resources};
#[doc(hidden)]
pub use typed::typed_trial;

use crate::model::{Contract, Digest, EngineClass, Failure, Kind, Limits, TaskDescription, Tenant, Timestamp};
use artifact::Build;
use load::Inner;
use module::Linked;
use run::Ending;

/// The place where guests run. Clones are one and the same; the last one that goes stops what still runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    inner: Arc<Inner>,
    class: EngineClass,
}

/// What a sandbox has done and holds, for gauges and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Modules that were given to the compiler.
    pub compiled: u64,
    /// Modules that were loaded from their artifacts on disk.
    pub loaded: u64,
    /// Modules that are loaded now.
    pub hot_modules: usize,
    /// Bytes of their artifacts.
    pub hot_bytes: u64,
    /// Invocations that could begin now.
    pub slots_free: usize,
}

impl Sandbox {
    /// Makes a sandbox with threads of its own.
    ///
    /// # Errors
    /// A cache directory that cannot be used, or a machine on which the engine cannot run.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { inner: Arc::new(Inner::new(config)?), class: EngineClass::default() })
    }

    /// The same sandbox, with modules loaded from here on for engines of that class: what runs them was compiled for it.
    #[must_use]
    pub fn of_class(&self, class: EngineClass) -> Self {
        Self { inner: Arc::clone(&self.inner), class }
    }

    /// The module of this digest, if it is loaded or its artifact is on disk.
    ///
    /// # Errors
    /// A disk that fails; an artifact that is not authentic counts as missing.
    pub async fn loaded(&self, digest: &Digest, contract: Contract) -> Result<Option<Arc<Module>>, Error> {
        if let Some(module) = self.inner.hot(digest, self.class) {
            return Ok(Some(module));
        }
        let inner = Arc::clone(&self.inner);
        let build = Build { digest: *digest, contract, class: self.class };
        self.on_own_threads(async move { inner.from_disk(build).await }).await
    }

    /// The module of this digest from its bytes: checked, compiled in a child process, stored and loaded. Calls for one
    /// digest at the same time compile it once.
    ///
    /// # Errors
    /// A rejection if the module is at fault, else what kept it from being compiled, stored or loaded.
    pub async fn load(&self, digest: &Digest, bytes: Bytes) -> Result<Arc<Module>, Error> {
        if let Some(module) = self.inner.hot(digest, self.class) {
            return Ok(module);
        }
        let (inner, digest, metering) = (Arc::clone(&self.inner), *digest, self.class);
        self.on_own_threads(async move { inner.from_bytes(digest, metering, bytes).await }).await
    }

    /// What a module of the SDK's contract says of its tasks, or what the functions of a typed component are; a command
    /// describes none.
    ///
    /// # Errors
    /// A rejection if `describe` fails, or names what cannot be a task; or if no function can be one.
    pub async fn describe(&self, module: &Arc<Module>) -> Result<Vec<TaskDescription>, Error> {
        let permit = self.inner.slots.take(&Tenant::default_tenant()).await?;
        let module = Arc::clone(module);
        self.on_own_threads(async move {
            let pre = match &module.linked {
                Linked::Task(pre) => pre,
                Linked::Typed(_, functions) => return Ok(functions.descriptions()?),
                Linked::Command(_) | Linked::CommandComponent(_) => return Ok(Vec::new()),
            };
            let invocation = describing();
            let (timeout, cancel) = (invocation.limits.attempt_timeout, invocation.cancel.clone());
            let mut store = guest::store(&module, invocation).map_err(Error::engine("make a store"))?;
            let driven = run::drive(task::call_describe(pre, &mut store), timeout, &cancel, Duration::ZERO).await;
            let described = match driven.ending {
                Ending::Returned(Ok(described)) => Ok(task::descriptions(described)?),
                Ending::Returned(Err(error)) => Err(trap::failure(&error, store.data()).to_string()),
                Ending::Deadline | Ending::Cancelled => Err(format!("it takes more than {} s", timeout.as_secs())),
            };
            drop((store, permit));
            described.map_err(|message| Rejection::BadDescription { message }.into())
        })
        .await
    }

    /// Calls a module in a fresh instance. A guest that fails, and whatever else goes wrong, is the report's outcome.
    ///
    /// Waits for a slot first. Dropping the future stops the guest.
    pub async fn invoke(&self, module: Arc<Module>, mut invocation: Invocation) -> Report {
        let (cancel, handed_over) = (invocation.cancel.clone(), Instant::now());
        let permit = tokio::select! {
            permit = self.inner.slots.take(&invocation.attempt.tenant) => permit,
            () = cancel.token().cancelled() => return Report::without_guest(run::cancelled()),
        };
        let Ok(permit) = permit else { return Report::without_guest(platform_fault("sandbox_stopped")) };
        cancel.begin();
        invocation.now = invocation.now.after(handed_over.elapsed());
        invocation.limits.memory_bytes = invocation.limits.memory_bytes.min(self.inner.config.memory_bytes_max);
        let task = self.inner.handle().spawn(async move {
            let report = run::run(&module, invocation).await;
            // The store is gone by now, so that the pool has room for whoever gets this slot.
            drop(permit);
            report
        });
        match AbortOnDropHandle::new(task).await {
            Ok(report) => report,
            Err(error) if error.is_panic() => {
                tracing::error!(%error, "a guest made the sandbox panic");
                Report::without_guest(platform_fault("sandbox_bug"))
            }
            Err(_) => Report::without_guest(platform_fault("sandbox_stopped")),
        }
    }

    /// What it has done and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (hot_modules, hot_bytes) = self.inner.hot_held();
        Stats {
            compiled: self.inner.compiled.load(Ordering::Relaxed),
            loaded: self.inner.loaded.load(Ordering::Relaxed),
            hot_modules,
            hot_bytes,
            slots_free: self.inner.slots.free(),
        }
    }

    /// Runs work on the sandbox's threads; it ends when its caller goes.
    async fn on_own_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match AbortOnDropHandle::new(self.inner.handle().spawn(work)).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::Engine { doing: "load a module", message: error.to_string() }),
            Err(_) => Err(Error::Stopped),
        }
    }
}

/// A fault of ours fails the attempt that met it, as a trap does: another attempt may fare better.
fn platform_fault(code: &'static str) -> Failure {
    Failure::new(Kind::Trap, "the sandbox could not go on").with_detail(serde_json::json!({ "code": code }))
}

/// The call of `describe`, under limits of its own.
fn describing() -> Invocation {
    let (notes, _) = mpsc::channel(1);
    Invocation {
        attempt: Attempt::describing(),
        input: Bytes::new(),
        limits: Limits {
            fuel: Some(DESCRIBE_FUEL),
            memory_bytes: DESCRIBE_MEMORY_BYTES,
            attempt_timeout: DESCRIBE_TIMEOUT,
            output_bytes: DESCRIBE_BYTES_MAX,
            log_bytes: 0,
            ..Limits::default()
        },
        manifest: Arc::default(),
        reach: Reach::default(),
        now: Timestamp::default(),
        notes,
        cancel: Cancel::default(),
    }
}

/// A list of constants: a second of the slowest loop is plenty, even for an interpreter that starts first.
const DESCRIBE_FUEL: u64 = 1_000_000_000;
const DESCRIBE_MEMORY_BYTES: u64 = 256 << 20;
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
const DESCRIBE_BYTES_MAX: u64 = 4 << 20;

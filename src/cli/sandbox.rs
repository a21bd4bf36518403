//! The sandbox of a command: this program compiles, artifacts are kept in the user's cache.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::{Fault, user_dir};
use crate::broker::memory::Memory;
use crate::broker::{Clock as _, Settings, SystemClock};
use crate::host;
use crate::model::Tenant;
use crate::sandbox::{Compiler, Config, Error, Resources, Sandbox};

/// Where compiled modules are kept. One folder for `module push` and a host of the same machine compiles once.
#[derive(Args, Clone)]
pub(super) struct Cache {
    /// Folder of compiled modules; in the user's cache folder where it is not given or empty.
    #[arg(
        long = "cache",
        env = "LOVAGE_CACHE",
        value_name = "DIR",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    dir: Option<PathBuf>,
}

impl From<PathBuf> for Cache {
    fn from(dir: PathBuf) -> Self {
        Self { dir: Some(dir) }
    }
}

impl Cache {
    fn dir(&self) -> PathBuf {
        let named = self.dir.clone().filter(|dir| !dir.as_os_str().is_empty());
        named.unwrap_or_else(|| user_dir("XDG_CACHE_HOME", ".cache"))
    }
}

/// A sandbox with `slots` slots; its artifacts are in `cache`.
pub(super) fn open(slots: usize, cache: &Cache) -> Result<Sandbox, Fault> {
    open_trusting(slots, cache, None)
}

/// The same, with a file of authorities that guests' requests trust besides those of the web.
pub(super) fn open_trusting(slots: usize, cache: &Cache, authorities: Option<PathBuf>) -> Result<Sandbox, Fault> {
    let program =
        std::env::current_exe().map_err(|error| Fault::platform(format!("failed to find this program: {error}")))?;
    let slots = u32::try_from(slots).map_err(|_| Fault::usage("--concurrency is too large"))?;
    let mut config = Config::new(slots, cores(), cache.dir(), Compiler::new(program));
    config.http.authorities = authorities;
    Sandbox::new(config).map_err(|error| match error {
        Error::Engine { .. } => Fault::from(error)
            .hint("have fewer slots, with --concurrency: each takes 16 GiB of the addresses of this process"),
        Error::Io { .. } => {
            let folder = cache.dir();
            Fault::from(error).hint(format!("choose another folder than {} with --cache", folder.display()))
        }
        Error::Rejected(_) | Error::Stopped => Fault::from(error),
    })
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Buckets that begin empty and go with this process, and no secrets.
pub(super) fn empty_resources() -> Arc<dyn Resources> {
    let tenant = Tenant::default_tenant();
    let memory = Memory::starting_at(SystemClock.now());
    memory.provision(&tenant, &Settings::default());
    host::resources(memory.broker(), tenant, None)
}

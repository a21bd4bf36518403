//! What the world, or a refused module, did to the sandbox. What a guest does is an outcome, never one of these.

use std::io;

use super::rejection::Rejection;

/// Why the sandbox failed to load a module or to start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The module is none that the platform runs. From the upload checks, the compiler and the linker; never retried.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A file or a process failed. Another try, or another host, may fare better.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, as in "open the artifact cache".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The engine refused its settings or an artifact of its own: a fault of this installation.
    #[error("{doing}: {message}")]
    Engine {
        /// What was being done.
        doing: &'static str,
        /// What the engine said.
        message: String,
    },
    /// The sandbox was shut down meanwhile. The work is for another host.
    #[error("run on a sandbox that has been shut down")]
    Stopped,
}

impl Error {
    /// Whether the same call may succeed later or elsewhere.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Stopped => true,
            Self::Rejected(_) | Self::Engine { .. } => false,
        }
    }

    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    pub(super) fn engine(doing: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self::Engine { doing, message: format!("{error:#}") }
    }
}

//! Modules that stay loaded, least recently used ones leaving first.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::module::Module;
use crate::model::{Digest, EngineClass};

/// Loaded modules within two bounds: how many, and how many bytes of artifacts.
///
/// A module that has left stays mapped until its last invocation ends.
#[derive(Debug)]
pub(super) struct Hot {
    modules: LruCache<(Digest, EngineClass), Arc<Module>>,
    bytes: u64,
    bytes_max: u64,
}

impl Hot {
    pub(super) fn new(modules_max: usize, bytes_max: u64) -> Self {
        let modules_max = NonZeroUsize::new(modules_max).unwrap_or(NonZeroUsize::MIN);
        Self { modules: LruCache::new(modules_max), bytes: 0, bytes_max }
    }

    /// The module, if it is loaded; it is now the most recently used.
    pub(super) fn find(&mut self, digest: &Digest, class: EngineClass) -> Option<Arc<Module>> {
        self.modules.get(&(*digest, class)).cloned()
    }

    /// Keeps a module, even one that is larger than the bound by itself.
    pub(super) fn keep(&mut self, module: Arc<Module>) {
        self.bytes = self.bytes.saturating_add(module.artifact_bytes());
        if let Some((_, left)) = self.modules.push((*module.digest(), module.class()), module) {
            self.bytes = self.bytes.saturating_sub(left.artifact_bytes());
        }
        while self.bytes > self.bytes_max && self.modules.len() > 1 {
            let Some((_, left)) = self.modules.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(left.artifact_bytes());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.modules.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

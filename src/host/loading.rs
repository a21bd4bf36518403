//! Modules that this host fetches and compiles now, and how many tasks wait for them: they hold no slot while they do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::{ModuleName, ModuleRecord, Queue, Timestamp, Version};
use crate::protocol::host::HostLoading;

/// What is being loaded, and who waits.
#[derive(Clone)]
pub(super) struct Loading(Arc<Inner>);

struct Inner {
    modules: Mutex<BTreeMap<(ModuleName, Version), Held>>,
    /// Tasks of each queue that wait: no message can make these more.
    waiting: BTreeMap<Queue, watch::Sender<usize>>,
}

/// A module that is being loaded.
struct Held {
    size: u64,
    since: Timestamp,
    tasks: u64,
}

/// A task that waits for its module, until this is dropped.
pub(super) struct Waiting {
    loading: Loading,
    module: (ModuleName, Version),
    queue: Queue,
}

impl Loading {
    /// For tasks of these queues.
    pub(super) fn new<'a>(queues: impl Iterator<Item = &'a Queue>) -> Self {
        let waiting = queues.map(|queue| (queue.clone(), watch::Sender::new(0))).collect();
        Self(Arc::new(Inner { modules: Mutex::default(), waiting }))
    }

    /// How many tasks of a queue wait, and when that changes.
    pub(super) fn subscribe(&self, queue: &Queue) -> watch::Receiver<usize> {
        // A queue that is not served has no lane that would ask.
        self.0.waiting.get(queue).map_or_else(|| watch::channel(0).1, watch::Sender::subscribe)
    }

    /// A task of a queue waits for a module from now on.
    pub(super) fn enter(&self, queue: &Queue, record: &ModuleRecord, now: Timestamp) -> Waiting {
        let module = (record.name.clone(), record.version.clone());
        let mut modules = self.lock();
        let held = modules.entry(module.clone()).or_insert(Held { size: record.size, since: now, tasks: 0 });
        held.tasks = held.tasks.saturating_add(1);
        drop(modules);
        self.count(queue, |waiting| waiting.saturating_add(1));
        Waiting { loading: self.clone(), module, queue: queue.clone() }
    }

    /// All that is being loaded, by name.
    pub(super) fn list(&self) -> Vec<HostLoading> {
        let one = |((name, version), held): (&(ModuleName, Version), &Held)| HostLoading {
            module: name.clone(),
            version: version.clone(),
            size: held.size,
            since: held.since,
            tasks: held.tasks,
        };
        self.lock().iter().map(one).collect()
    }

    fn count(&self, queue: &Queue, change: impl FnOnce(usize) -> usize) {
        if let Some(waiting) = self.0.waiting.get(queue) {
            waiting.send_modify(|waiting| *waiting = change(*waiting));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ModuleName, Version), Held>> {
        self.0.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut modules = self.loading.lock();
        if let Some(held) = modules.get_mut(&self.module) {
            held.tasks = held.tasks.saturating_sub(1);
            if held.tasks == 0 {
                modules.remove(&self.module);
            }
        }
        drop(modules);
        self.loading.count(&self.queue, |waiting| waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::module::{Manifest, RECORD_VERSION};
    use crate::model::{Contract, Digest};

    fn record(name: &str) -> ModuleRecord {
        ModuleRecord {
            v: RECORD_VERSION,
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            digest: Digest::of(name.as_bytes()),
            source_digest: None,
            size: 7,
            contract: Contract::Command,
            tasks: Vec::new(),
            manifest: Manifest::default(),
            pushed_at: Timestamp::default(),
            removed: false,
        }
    }

    #[test]
    fn what_waits_is_counted_by_queue_and_told_by_module() {
        let [images, default] = ["images", "default"].map(|name| name.parse::<Queue>().unwrap());
        let loading = Loading::new([&images].into_iter());
        let (served, other) = (loading.subscribe(&images), loading.subscribe(&default));
        let first = loading.enter(&images, &record("a"), Timestamp::from_millis(5));
        let second = loading.enter(&images, &record("a"), Timestamp::from_millis(9));
        let third = loading.enter(&default, &record("b"), Timestamp::from_millis(9));
        assert_eq!((*served.borrow(), *other.borrow()), (2, 0));
        let told = loading.list();
        let told: Vec<_> = told.iter().map(|one| (one.module.as_str(), one.tasks, one.since.as_millis())).collect();
        assert_eq!(told, [("a", 2, 5), ("b", 1, 9)]);
        drop(first);
        assert_eq!((*served.borrow(), loading.list()[0].tasks), (1, 1));
        drop((second, third));
        assert!(*served.borrow() == 0 && loading.list().is_empty());
    }
}

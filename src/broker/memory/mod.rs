//! The twin: a broker in this process, with the behaviour of the real one, the same table of rules, and switches for faults.
//!
//! Time is tokio's, on an epoch given at construction, so that tests which pause tokio's clock move it. Nothing runs in the
//! background: each operation first lets happen what is due (`timers`), and what waits wakes when the next thing is due.
//!
//! **Invariant:** no task is spawned and no thread waits; the lock is never held over an await.

mod bus;
mod faults;
mod filter;
mod group;
mod objects;
mod queues;
mod state;
mod store;
mod streams;
mod timers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

pub use faults::Faults;

use crate::broker::{Broker, Clock, Settings};
use crate::model::{Tenant, Timestamp};
use state::State;

/// When a broker that is not told otherwise begins: 2026-01-01T00:00:00Z.
const EPOCH: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A broker in memory. Cheap to clone; all clones are one broker.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

/// The state, its clock, and word of changes.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Notify,
    begin: Instant,
    epoch: Timestamp,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty broker, whose clock begins at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(EPOCH)
    }

    /// An empty broker whose clock says `epoch` now.
    #[must_use]
    pub fn starting_at(epoch: Timestamp) -> Self {
        let begin = Instant::now();
        Self(Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), begin, epoch }))
    }

    /// The ports.
    #[must_use]
    pub fn broker(&self) -> Broker {
        let memory = Arc::new(self.clone());
        Broker {
            streams: memory.clone(),
            queues: memory.clone(),
            bus: memory.clone(),
            objects: memory.clone(),
            clock: memory,
        }
    }

    /// Sets a tenant's limits. Streams need not be made: each is there when it is first used.
    pub fn provision(&self, tenant: &Tenant, settings: &Settings) {
        self.0.with(|state, _| state.provision(tenant, settings));
    }

    /// The switches for faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults(self.0.clone())
    }

    /// What the broker's clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Clock for Memory {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        self.epoch.after(self.begin.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere left the state as it was between two statements; tests that go on after one may see that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the state as it is now, and wakes all who wait for a change.
    fn with<T>(&self, work: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        state.advance(now);
        let result = work(&mut state, now);
        drop(state);
        self.changed.notify_waiters();
        result
    }

    /// Waits until `look` finds something; it looks again after every change and whenever something is due.
    async fn wait<T>(&self, mut look: impl FnMut(&mut State, Timestamp) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let due = {
                let mut state = self.lock();
                let now = self.now();
                if state.advance(now) {
                    self.changed.notify_waiters();
                }
                if let Some(found) = look(&mut state, now) {
                    return found;
                }
                state.timers.next()
            };
            match due {
                None => changed.await,
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.begin + due.since(self.epoch)) => {}
                },
            }
        }
    }
}

//! What runs on this host: found and cancelled by its key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use tracing::{info, warn};

use super::Shared;
use super::rules::Closed;
use crate::broker::patience::Patience;
use crate::model::{TaskKey, TaskRef, Tenant, Timestamp};
use crate::protocol::Headers;
use crate::protocol::host::HostTask;
use crate::protocol::serving::{self, SERVING_VERSION, Serving};
use crate::protocol::subject::{self, Control, TaskSubject};
use crate::sandbox::Cancel;

type Entries = HashMap<(Tenant, TaskKey), Held>;

/// What is known of a task in hand.
struct Held {
    cancel: Cancel,
    work: Work,
    subject: TaskSubject,
}

/// What is done for a task.
pub(super) struct Work {
    /// What is called.
    pub(super) task: TaskRef,
    /// From 1.
    pub(super) attempt: u32,
    /// When this host began with it.
    pub(super) since: Timestamp,
}

/// The tasks that run here. A task that is delivered twice to one host has one entry, of the later delivery.
#[derive(Default)]
pub(super) struct Running(Arc<Mutex<Entries>>);

/// A task's place among those that run; it leaves when this is dropped.
pub(super) struct Entry {
    entries: Arc<Mutex<Entries>>,
    key: (Tenant, TaskKey),
}

impl Running {
    /// Enters a task.
    pub(super) fn enter(&self, task: &TaskSubject, work: Work, cancel: Cancel) -> Entry {
        let key = (task.tenant.clone(), task.key.clone());
        lock(&self.0).insert(key.clone(), Held { cancel, work, subject: task.clone() });
        Entry { entries: Arc::clone(&self.0), key }
    }

    fn find(&self, tenant: Tenant, key: TaskKey) -> Option<Cancel> {
        lock(&self.0).get(&(tenant, key)).map(|held| held.cancel.clone())
    }

    /// How many guests run.
    pub(super) fn begun(&self) -> u64 {
        lock(&self.0).values().filter(|held| held.cancel.has_begun()).count() as u64
    }

    /// All that runs here, the longest first.
    pub(super) fn tasks(&self) -> Vec<HostTask> {
        let task = |Held { cancel, work, subject }: &Held| HostTask {
            id: subject.key.to_string(),
            task: work.task.clone(),
            tenant: subject.tenant.clone(),
            queue: subject.queue.clone(),
            attempt: work.attempt,
            since: work.since,
            running: cancel.has_begun(),
            memory_bytes: cancel.memory_bytes(),
        };
        let mut tasks: Vec<HostTask> = lock(&self.0).values().map(task).collect();
        tasks.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        tasks
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.entries).remove(&self.key);
    }
}

/// A panic while the map was locked cannot have left it half-changed.
fn lock(entries: &Mutex<Entries>) -> std::sync::MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens for words to hosts for as long as the host runs.
pub(super) async fn listen(shared: &Shared) {
    let subject = subject::control(&shared.config.tenant);
    let mut patience = Patience::default();
    loop {
        match shared.broker.bus.listen(&subject).await {
            Ok(mut words) => {
                patience = Patience::default();
                // Words come from others: from here on none is missed. Without an answer the listener stands all the same.
                drop(shared.broker.bus.flush().await);
                while let Some(word) = words.next().await {
                    if serving::is_asked(&word.subject) {
                        answer(shared, word.reply, serving_of(shared).encode()).await;
                    } else {
                        obey(shared, Control::read(&word.subject), word.reply).await;
                    }
                }
            }
            Err(error) => warn!(%error, "cannot hear words to hosts, trying again"),
        }
        patience.wait().await;
    }
}

async fn obey(shared: &Shared, word: Option<Control>, reply: Option<String>) {
    match word {
        Some(Control::Cancel(tenant, key)) => {
            if let Some(cancel) = shared.running.find(tenant, key.clone()) {
                info!(%key, "cancelled");
                cancel.cancel();
            }
        }
        Some(Control::Find(tenant, key)) if shared.running.find(tenant.clone(), key.clone()).is_some() => {
            answer(shared, reply, Bytes::copy_from_slice(shared.config.id.as_str().as_bytes())).await;
        }
        Some(Control::Watch(_)) => shared.stats.watch(),
        Some(Control::Find(..)) | None => {}
    }
}

async fn answer(shared: &Shared, reply: Option<String>, body: Bytes) {
    if let Some(reply) = reply
        && let Err(error) = shared.broker.bus.send(&reply, Headers::new(), body).await
    {
        warn!(%error, "failed to say what is done here");
    }
}

/// What this host serves; queues that are closed to it are none of it.
fn serving_of(shared: &Shared) -> Serving {
    let known = shared.rules.subscribe();
    let closed = known.borrow().closed.clone();
    let open = shared.config.slots().filter(|(queue, _)| closed.get(queue) != Some(&Closed::Required));
    Serving {
        v: SERVING_VERSION,
        host: shared.config.id.clone(),
        labels: shared.config.labels.clone(),
        queues: open.map(|(queue, slots)| (queue.clone(), slots as u64)).collect(),
    }
}

//! Which queues are paused or limited, as an operator has decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use futures::StreamExt as _;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::broker::patience::Patience;
use crate::broker::{Broker, Error, Message, Start};
use crate::model::limit::Rule;
use crate::model::{Queue, Tenant};
use crate::protocol::queue::{QueueRecord, all};

/// The paused queues of a tenant, and the limits of its queues.
pub(super) struct Pauses {
    broker: Broker,
    tenant: Tenant,
    paused: watch::Sender<BTreeSet<Queue>>,
    rules: RwLock<BTreeMap<Queue, Rule>>,
}

impl Pauses {
    /// What is paused now: a host that starts must not take from a queue that was paused before.
    pub(super) async fn begin(broker: Broker, tenant: Tenant) -> Result<Self, Error> {
        let pauses = Self { broker, tenant, paused: watch::Sender::default(), rules: RwLock::default() };
        Patience::default().retry("read what is paused", || pauses.read(false)).await?;
        Ok(pauses)
    }

    /// The paused queues, and word of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<BTreeSet<Queue>> {
        self.paused.subscribe()
    }

    /// The limit of a queue.
    pub(super) fn rule(&self, queue: &Queue) -> Option<Rule> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).get(queue).copied()
    }

    /// Hears of changes for as long as the host runs.
    pub(super) async fn follow(&self) {
        let mut patience = Patience::default();
        loop {
            if let Err(error) = self.read(true).await {
                debug!(%error, "cannot follow what is paused, trying again");
            }
            patience.wait().await;
        }
    }

    async fn read(&self, follow: bool) -> Result<(), Error> {
        let mut records = self.broker.streams.read(&all(&self.tenant), Start::LastPerSubject, follow).await?;
        while let Some(message) = records.next().await {
            self.learn(&message?);
        }
        Ok(())
    }

    fn learn(&self, message: &Message) {
        match QueueRecord::decode(&message.payload) {
            Ok(QueueRecord { queue, paused, limit, .. }) => {
                let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
                // A rule that a stranger wrote out of its bounds limits nothing.
                match limit.and_then(|rule| rule.checked().ok()) {
                    Some(rule) => rules.insert(queue.clone(), rule),
                    None => rules.remove(&queue),
                };
                drop(rules);
                self.paused.send_if_modified(|all| match paused {
                    Some(_) => all.insert(queue),
                    None => all.remove(&queue),
                });
            }
            Err(error) => warn!(subject = message.subject, %error, "cannot read what was decided of a queue"),
        }
    }
}

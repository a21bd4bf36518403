//! Webhooks: tells receivers outside how tasks and runs end.
//!
//! | file | what it does |
//! |---|---|
//! | `watch` | finds, in what tasks and runs leave, what is to be told to whom |
//! | `send` | tells one receiver one thing, again and again for a day |
//! | `post` | one signed request to an address that was checked |
//!
//! Any number of these may run, one in each coordinator. Durable consumers of the broker share the work among them: what one had
//! in hand when it was killed is another's when its lease has run out.
//!
//! **Invariant:** an end is passed by only when what is to be told of it is stored; a delivery is finished only when its receiver
//! has answered, or its next attempt is scheduled. So a receiver may hear a thing twice, under one `webhook-id`, and misses none.
//! **Invariant:** where a tenant has no webhook, nothing of its tasks is read.

mod post;
mod send;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::broker::patience::Patience;
use crate::broker::{Broker, Consumer, Delivery, Error, Start};
use crate::model::{Tenant, WebhookName};
use crate::protocol::webhook::{self, WebhookRecord};

/// Deliveries that one consumer of ours has in hand.
const IN_HAND_MAX: usize = 32;

type Hooks = BTreeMap<(Tenant, WebhookName), Arc<WebhookRecord>>;

/// What all parts share.
struct Shared {
    broker: Broker,
    post: post::Post,
    hooks: Mutex<Hooks>,
    changed: Notify,
}

/// Webhooks whose consumers stand once they serve.
pub struct Webhooks {
    shared: Arc<Shared>,
}

impl Webhooks {
    /// Webhooks of all tenants; with `private` also to receivers that are not on the public internet.
    ///
    /// # Errors
    /// A TLS library without ciphers.
    pub fn new(broker: Broker, private: bool) -> Result<Self, Error> {
        let post = post::Post::new(private).map_err(|error| Error::Other(error.to_string()))?;
        Ok(Self { shared: Arc::new(Shared { broker, post, hooks: Mutex::default(), changed: Notify::new() }) })
    }

    /// Tells what happens until `stop` fires.
    ///
    /// # Errors
    /// None: a broker that is away is waited for.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), Error> {
        stop.run_until_cancelled(self.run()).await;
        Ok(())
    }

    async fn run(self) {
        // What is in these sets ends with them.
        let mut background = JoinSet::new();
        let shared = Arc::clone(&self.shared);
        background.spawn(async move { follow(&shared).await });
        let shared = Arc::clone(&self.shared);
        background.spawn(async move {
            let deliver = |delivery| send::deliver(&shared, delivery);
            take_all(&shared.broker, &send::consumer(), &deliver).await;
        });
        let mut watched: BTreeMap<Tenant, Vec<AbortHandle>> = BTreeMap::new();
        loop {
            self.shared.changed.notified().await;
            let wanted: BTreeSet<Tenant> = self.shared.hooks().keys().map(|(tenant, _)| tenant.clone()).collect();
            watched.retain(|tenant, handles| {
                let keep = wanted.contains(tenant);
                handles.iter().filter(|_| !keep).for_each(AbortHandle::abort);
                keep
            });
            for tenant in wanted.into_iter().filter(|tenant| !watched.contains_key(tenant)).collect::<Vec<_>>() {
                let watch = |consumer: Consumer| {
                    let (shared, tenant) = (Arc::clone(&self.shared), tenant.clone());
                    background.spawn(async move {
                        let pass = |delivery| watch::pass(&shared, &tenant, delivery);
                        take_all(&shared.broker, &consumer, &pass).await;
                    })
                };
                let handles = watch::consumers(&tenant).map(watch).to_vec();
                watched.insert(tenant, handles);
            }
        }
    }
}

impl Shared {
    fn hooks(&self) -> std::sync::MutexGuard<'_, Hooks> {
        // Entries are replaced whole.
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The webhooks of a tenant.
    fn of(&self, tenant: &Tenant) -> Vec<Arc<WebhookRecord>> {
        self.hooks().iter().filter(|((of, _), _)| of == tenant).map(|(_, hook)| Arc::clone(hook)).collect()
    }
}

/// Follows the records of all webhooks.
async fn follow(shared: &Shared) {
    let mut patience = Patience::default();
    loop {
        match shared.broker.streams.read(webhook::ALL, Start::LastPerSubject, true).await {
            Ok(mut records) => {
                while let Some(Ok(message)) = records.next().await {
                    patience = Patience::default();
                    let (Some(tenant), Ok(record)) =
                        (webhook::tenant_of(&message.subject), WebhookRecord::decode(&message.payload))
                    else {
                        warn!(subject = message.subject, "cannot read a webhook");
                        continue;
                    };
                    let key = (tenant, record.name.clone());
                    if record.removed {
                        shared.hooks().remove(&key);
                    } else {
                        shared.hooks().insert(key, Arc::new(record));
                    }
                    shared.changed.notify_one();
                }
            }
            Err(error) => debug!(%error, "cannot follow webhooks, trying again"),
        }
        patience.wait().await;
    }
}

/// Takes deliveries of a consumer for ever, several at a time.
async fn take_all<F, Fut>(broker: &Broker, consumer: &Consumer, handle: &F)
where
    F: Fn(Delivery) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut patience = Patience::default();
    let mut deliveries = loop {
        match broker.queues.consume(consumer).await {
            Ok(deliveries) => break deliveries,
            Err(error) => {
                warn!(%error, consumer = consumer.name, "cannot take what webhooks are to be told, trying again")
            }
        }
        patience.wait().await;
    };
    deliveries.allow(IN_HAND_MAX);
    let mut in_hand = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = in_hand.next(), if !in_hand.is_empty() => deliveries.allow(1),
            next = deliveries.next() => match next {
                Ok(delivery) => {
                    patience = Patience::default();
                    in_hand.push(handle(delivery));
                }
                Err(error) => {
                    warn!(%error, consumer = consumer.name, "cannot take what webhooks are to be told, trying again");
                    patience.wait().await;
                }
            }
        }
    }
}

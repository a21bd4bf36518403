//! Starts what schedules say, when they say it.
//!
//! Every coordinator has a driver, which looks after the schedules of the partitions that its coordinator holds: another takes
//! over within seconds when one dies. What starts is decided in [`model::schedule`](crate::model::schedule).
//!
//! **Invariant:** a start is written into the schedule, by compare-and-set, before it is carried out, and its id follows from its
//! slot: two drivers that look after one schedule decide each slot once, and whatever is carried out twice is started once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::advance::{Advanced, advance};
use super::agenda::Agenda;
use crate::broker::patience::Patience;
use crate::broker::{self, Broker, Error, Message, Start};
use crate::client::Client;
use crate::model::{RunId, ScheduleName, Tenant};
use crate::protocol::schedule::{Schedule, Stored};
use crate::protocol::subject::{RECURRING, read_recurring};
use crate::telemetry::ScheduleMetrics;

/// Schedules that are at work at a time.
const AT_WORK_MAX: usize = 64;

/// The longest sleep: a clock that is set forward is noticed within it.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// How soon a schedule is looked at again where the broker was away, or what it waits for could not be watched.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A schedule of a tenant.
type Key = (Tenant, ScheduleName);

/// A schedule as it was last seen.
struct Known {
    schedule: Box<Schedule>,
    sequence: u64,
}

/// A driver that sees all schedules.
pub struct Driver {
    broker: Broker,
    metrics: ScheduleMetrics,
    holds: watch::Receiver<BTreeSet<char>>,
    heard: BoxStream<'static, broker::Result<Message>>,
    clients: BTreeMap<Tenant, Client>,
    known: BTreeMap<Key, Known>,
    agenda: Agenda<Key>,
    at_work: BTreeSet<Key>,
    watched: BTreeSet<RunId>,
}

impl Driver {
    /// Begins to read the schedules; `holds` says which partitions are this driver's.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn begin(
        broker: Broker,
        holds: watch::Receiver<BTreeSet<char>>,
        metrics: ScheduleMetrics,
    ) -> Result<Self, Error> {
        let heard = listen(&broker).await?;
        Ok(Self {
            broker,
            metrics,
            holds,
            heard,
            clients: BTreeMap::new(),
            known: BTreeMap::new(),
            agenda: Agenda::default(),
            at_work: BTreeSet::new(),
            watched: BTreeSet::new(),
        })
    }

    /// Starts what is due until `stop` fires.
    ///
    /// # Errors
    /// What the broker refuses for good; a broker that is away is waited for.
    pub async fn serve(mut self, stop: CancellationToken) -> Result<(), Error> {
        // What is in these sets ends with them; what was decided and not carried out is another driver's.
        let (mut work, mut waits) = (JoinSet::new(), JoinSet::new());
        loop {
            self.begin_work(&mut work);
            let now = self.broker.clock.now();
            let free = self.at_work.len() < AT_WORK_MAX;
            let sleep = self.agenda.first().map_or(SLEEP_MAX, |at| at.since(now).min(SLEEP_MAX));
            tokio::select! {
                () = stop.cancelled() => break,
                heard = self.heard.next() => match heard {
                    Some(Ok(message)) => self.hear(&message),
                    Some(Err(error)) => {
                        warn!(%error, "cannot hear of schedules, trying again");
                        tokio::time::sleep(AGAIN_AFTER).await;
                        self.heard = listen(&self.broker).await?;
                    }
                    None => self.heard = listen(&self.broker).await?,
                },
                // Its sender is the coordinator: without it nothing is ours.
                changed = self.holds.changed() => match changed {
                    Ok(()) => self.look_at_all(),
                    Err(_) => break,
                },
                Some(Ok((key, advanced))) = work.join_next(), if !work.is_empty() => self.note(key, advanced, &mut waits),
                Some(Ok((key, id))) = waits.join_next(), if !waits.is_empty() => {
                    self.watched.remove(&id);
                    self.agenda.set(&key, Some(now));
                }
                () = tokio::time::sleep(sleep), if free => {}
            }
        }
        work.shutdown().await;
        waits.shutdown().await;
        Ok(())
    }

    fn hear(&mut self, message: &Message) {
        let Some(key) = read_recurring(&message.subject) else { return };
        let at_least = self.known.get(&key).map_or(0, |known| known.sequence);
        // Our own writes are heard too.
        if message.sequence <= at_least {
            return;
        }
        match Stored::decode(&message.payload) {
            Ok(Stored::There(schedule)) => {
                self.known.insert(key.clone(), Known { schedule, sequence: message.sequence });
                self.agenda.set(&key, Some(self.broker.clock.now()));
            }
            Ok(Stored::Removed) => {
                self.known.remove(&key);
                self.agenda.set(&key, None);
            }
            Err(error) => {
                warn!(tenant = %key.0, schedule = %key.1, %error, "cannot read a schedule: it starts nothing here");
                self.known.remove(&key);
                self.agenda.set(&key, None);
            }
        }
    }

    fn look_at_all(&mut self) {
        let now = self.broker.clock.now();
        let keys: Vec<Key> = self.known.keys().cloned().collect();
        for key in keys {
            self.agenda.set(&key, Some(now));
        }
    }

    /// Sets to work what is due and ours.
    fn begin_work(&mut self, work: &mut JoinSet<(Key, Advanced)>) {
        let now = self.broker.clock.now();
        while self.at_work.len() < AT_WORK_MAX {
            let Some(key) = self.agenda.pop(now) else { return };
            // One that is at work is looked at when that is done.
            if self.at_work.contains(&key) || !self.holds.borrow().contains(&partition(&key)) {
                continue;
            }
            let Some(known) = self.known.get(&key) else { continue };
            let tenant = &key.0;
            let new = || Client::new(self.broker.clone(), tenant.clone());
            let client = self.clients.entry(tenant.clone()).or_insert_with(new).clone();
            let (schedule, sequence, metrics) = (known.schedule.clone(), known.sequence, self.metrics.clone());
            self.at_work.insert(key.clone());
            work.spawn(async move { (key, advance(&client, *schedule, sequence, &metrics).await) });
        }
    }

    /// Notes how far a schedule is, and watches what it waits for.
    fn note(&mut self, key: Key, advanced: Advanced, waits: &mut JoinSet<(Key, RunId)>) {
        self.at_work.remove(&key);
        let now = self.broker.clock.now();
        let Some((schedule, sequence)) = advanced.seen else {
            self.known.remove(&key);
            return;
        };
        let heard_more = self.known.get(&key).is_none_or(|known| known.sequence > sequence);
        if heard_more {
            self.agenda.set(&key, self.known.contains_key(&key).then_some(now));
            return;
        }
        for slot in advanced.waits_for {
            let id = schedule.id(&key.0, &slot);
            if !self.watched.insert(id.clone()) {
                continue;
            }
            let Some(client) = self.clients.get(&key.0).cloned() else { continue };
            let (key, schedule) = (key.clone(), schedule.clone());
            waits.spawn(async move {
                if let Err(error) = client.slot_ends(&schedule, &slot).await {
                    debug!(%error, %id, "cannot wait for the end of a start, looking again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                (key, id)
            });
        }
        self.agenda.set(&key, if advanced.again { Some(now.after(AGAIN_AFTER)) } else { advanced.wake });
        self.known.insert(key, Known { schedule: Box::new(schedule), sequence });
    }
}

/// The partition that a schedule belongs to.
fn partition((tenant, name): &Key) -> char {
    RunId::derived(&["schedule", tenant.as_str(), name.as_str()]).partition()
}

async fn listen(broker: &Broker) -> Result<BoxStream<'static, broker::Result<Message>>, Error> {
    let read = || broker.streams.read(RECURRING, Start::LastPerSubject, true);
    Patience::default().retry("read the schedules", read).await
}

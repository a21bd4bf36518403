//! All that a broker in memory knows, and what happens to it as time goes on.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::faults::Switches;
use super::filter::matches;
use super::group::Group;
use super::store::Store;
use super::timers::{Due, Timers};
use crate::broker::{Backlog, Consumer, Error, Message, Publish, Result, Settings, Stored};
use crate::model::{Tenant, Timestamp};
use crate::protocol::stream::{Bucket, Retention};
use crate::protocol::{Headers, Stream};

/// A listener on the bus.
pub(super) struct Listener {
    pub(super) filter: String,
    pub(super) sender: mpsc::Sender<Message>,
}

/// An object.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) time: Timestamp,
}

/// The state of a broker in memory.
#[derive(Default)]
pub(super) struct State {
    stores: BTreeMap<String, Store>,
    pub(super) timers: Timers,
    pub(super) switches: Switches,
    pub(super) listeners: Vec<Listener>,
    pub(super) inboxes: u64,
    pub(super) objects: HashMap<(Bucket, String), Object>,
}

/// A message that is handed out.
pub(super) struct Taken {
    pub(super) message: Message,
    pub(super) count: u64,
}

impl State {
    /// Lets happen what is due by `now`; says whether anything did.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        let mut happened = false;
        while let Some(due) = self.timers.pop(now) {
            happened = true;
            match due {
                Due::Expire { stream, sequence } => {
                    if let Some(store) = self.stores.get_mut(&stream) {
                        store.remove(sequence, &mut self.timers);
                    }
                }
                Due::Fire { stream, sequence } => self.fire(&stream, sequence, now),
                Due::Return { stream, consumer, sequence } => {
                    let group = self.stores.get_mut(&stream).and_then(|store| store.groups.get_mut(&consumer));
                    if let Some(group) = group {
                        group.give_back(sequence);
                    }
                }
            }
        }
        happened
    }

    /// An error if the broker is away.
    pub(super) fn up(&self) -> Result<()> {
        if self.switches.unavailable { Err(Error::Unavailable("switched off".to_owned())) } else { Ok(()) }
    }

    /// Makes a tenant's streams, or changes their limits.
    pub(super) fn provision(&mut self, tenant: &Tenant, settings: &Settings) {
        self.store(&Stream::Task(tenant.clone())).rules.messages_max = Some(settings.queued_max);
    }

    /// The stream, made by the table's rules if it is not there.
    pub(super) fn store(&mut self, stream: &Stream) -> &mut Store {
        let name = stream.name();
        self.stores.entry(name.clone()).or_insert_with(|| Store::new(name, stream.rules()))
    }

    /// The stream that captures `subject`, and the timers.
    pub(super) fn store_of(&mut self, subject: &str) -> Result<(&mut Store, &mut Timers)> {
        self.up()?;
        let stream = Stream::of(subject).ok_or_else(|| Error::NotFound(subject.to_owned()))?;
        self.store(&stream);
        let store = self.stores.get_mut(&stream.name()).ok_or_else(|| Error::NotFound(subject.to_owned()))?;
        Ok((store, &mut self.timers))
    }

    /// Stores a message that somebody published, and lets listeners hear it.
    pub(super) fn publish(&mut self, publish: Publish, now: Timestamp) -> Result<Stored> {
        self.up()?;
        let publish = Publish { headers: publish.headers.as_received(), ..publish };
        if let Some(error) = self.switches.refused.hit(&publish.subject) {
            return Err(error);
        }
        self.hear(&publish.subject, &publish.headers, &publish.payload, None);
        let subject = publish.subject.clone();
        let (store, timers) = self.store_of(&subject)?;
        let stored = store.publish(publish, now, timers)?;
        match self.switches.unacknowledged.hit(&subject) {
            Some(()) => Err(Error::Unavailable("the acknowledgement was lost".to_owned())),
            None => Ok(stored),
        }
    }

    /// Lets all listeners on `subject` hear a message; says how many there are.
    pub(super) fn hear(&mut self, subject: &str, headers: &Headers, payload: &Bytes, reply: Option<&str>) -> usize {
        self.listeners.retain(|listener| !listener.sender.is_closed());
        let dropped = self.switches.unheard.hit(subject).is_some();
        let mut count = 0;
        for listener in self.listeners.iter().filter(|listener| matches(&listener.filter, subject)) {
            count += 1;
            let message = Message {
                subject: subject.to_owned(),
                headers: headers.clone(),
                payload: payload.clone(),
                reply: reply.map(str::to_owned),
                ..Message::default()
            };
            // A listener that is too far behind misses it.
            if !dropped {
                drop(listener.sender.try_send(message));
            }
        }
        count
    }

    /// The consumer, made if it is not there, with its limits as given.
    pub(super) fn group(&mut self, consumer: &Consumer) -> Result<()> {
        self.up()?;
        let groups = &mut self.store(&consumer.stream).groups;
        let group = groups.entry(consumer.name.clone()).or_insert_with(|| Group::new(consumer.clone()));
        group.consumer = consumer.clone();
        Ok(())
    }

    /// The consumers of a stream, with what each has before it.
    pub(super) fn backlogs(&mut self, stream: &Stream) -> Result<Vec<(String, Backlog)>> {
        self.up()?;
        let store = self.store(stream);
        let backlog = |group: &Group| Backlog {
            waiting: store.waiting(group),
            out: group.out(),
            delivered: group.delivered,
            lease: group.consumer.lease,
        };
        Ok(store.groups.iter().map(|(name, group)| (name.clone(), backlog(group))).collect())
    }

    /// Messages that a consumer never handed out.
    pub(super) fn waiting(&mut self, consumer: &Consumer) -> u64 {
        let store = self.store(&consumer.stream);
        store.groups.get(&consumer.name).map_or(0, |group| store.waiting(group))
    }

    /// Hands out the consumer's next message; `None` if there is none now.
    pub(super) fn take(&mut self, consumer: &Consumer, now: Timestamp) -> Option<Taken> {
        let Self { stores, timers, switches, .. } = self;
        if switches.unavailable {
            return None;
        }
        let store = stores.get_mut(&consumer.stream.name())?;
        let mut group = store.groups.remove(&consumer.name)?;
        let held = |sequence| store.message(sequence).is_some_and(|message| switches.holds(&message.subject));
        while group.wants(held, switches.order.as_ref())
            && let Some(message) = store.next(&group.consumer.filter, group.next)
        {
            group.add(message);
        }
        let mut order = switches.order.take();
        let held = |sequence| store.message(sequence).is_some_and(|message| switches.holds(&message.subject));
        let taken = group.take(held, order.as_mut(), now, timers);
        switches.order = order;
        let taken = taken.and_then(|(sequence, count)| {
            let message = store.message(sequence)?.clone();
            if switches.repeated.hit(&message.subject).is_some() {
                group.repeat(sequence);
            }
            Some(Taken { message, count })
        });
        store.groups.insert(consumer.name.clone(), group);
        taken
    }

    /// Finishes a delivery. It is no error if it was finished before.
    pub(super) fn finish(&mut self, consumer: &Consumer, message: &Message) -> Result<()> {
        self.up()?;
        if self.switches.unfinished.hit(&message.subject).is_some() {
            return Err(Error::Unavailable("the acknowledgement was lost".to_owned()));
        }
        let Some(store) = self.stores.get_mut(&consumer.stream.name()) else { return Ok(()) };
        if store.rules.retention == Retention::WorkQueue {
            store.remove(message.sequence, &mut self.timers);
        } else if let Some(group) = store.groups.get_mut(&consumer.name) {
            group.forget(message.sequence, &mut self.timers);
        }
        Ok(())
    }

    /// The consumer's group, for what its takers do with a delivery.
    pub(super) fn group_of(&mut self, consumer: &Consumer) -> Result<(&mut Group, &mut Timers)> {
        self.up()?;
        let store = self.stores.get_mut(&consumer.stream.name());
        let group = store.and_then(|store| store.groups.get_mut(&consumer.name));
        let group = group.ok_or_else(|| Error::NotFound(consumer.name.clone()))?;
        Ok((group, &mut self.timers))
    }

    pub(super) fn expire_leases(&mut self) {
        let Self { stores, timers, .. } = self;
        for group in stores.values_mut().flat_map(|store| store.groups.values_mut()) {
            group.give_back_all(timers);
        }
    }

    /// Produces a schedule's message in its place.
    fn fire(&mut self, stream: &str, sequence: u64, now: Timestamp) {
        let Some(store) = self.stores.get_mut(stream) else { return };
        let Some(kept) = store.remove(sequence, &mut self.timers) else { return };
        let Some(schedule) = kept.schedule else { return };
        let Message { headers, payload, .. } = kept.message;
        let publish = Publish { subject: schedule.target, headers, payload, ..Publish::default() };
        // The stream of schedules refuses nothing that it took as a schedule.
        drop(store.publish(publish, now, &mut self.timers));
    }
}

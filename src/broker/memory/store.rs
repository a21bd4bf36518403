//! One stream: its messages, kept by the rules of the table.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::filter::matches;
use super::group::Group;
use super::timers::{Due, Key, Timers};
use crate::broker::{Error, Message, Publish, Result, Schedule, Stored};
use crate::model::Timestamp;
use crate::protocol::stream::{DUPLICATE_WINDOW, PerSubject, Rules};

/// A message that is kept.
pub(super) struct Kept {
    pub(super) message: Message,
    pub(super) schedule: Option<Schedule>,
    timers: [Option<Key>; 2],
}

/// A stream.
pub(super) struct Store {
    name: String,
    pub(super) rules: Rules,
    messages: BTreeMap<u64, Kept>,
    subjects: BTreeMap<String, BTreeSet<u64>>,
    last: u64,
    ids: HashMap<String, u64>,
    ids_by_age: VecDeque<(Timestamp, String)>,
    pub(super) groups: BTreeMap<String, Group>,
}

impl Store {
    pub(super) fn new(name: String, rules: Rules) -> Self {
        Self {
            name,
            rules,
            messages: BTreeMap::new(),
            subjects: BTreeMap::new(),
            last: 0,
            ids: HashMap::new(),
            ids_by_age: VecDeque::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Stores a message, or refuses it by the rules, in the order in which a server checks them.
    pub(super) fn publish(&mut self, publish: Publish, now: Timestamp, timers: &mut Timers) -> Result<Stored> {
        let ttl = publish.ttl_seconds().map(Duration::from_secs);
        let Publish { subject, headers, payload, expect, message_id, schedule, lasting, .. } = publish;
        if (ttl.is_some() || lasting) && !self.rules.message_ttl {
            return Err(Error::Other(format!("publish to {subject}: its stream takes no time to live")));
        }
        if let Some(schedule) = &schedule {
            let captured = self.rules.subjects.iter().any(|filter| matches(filter, &schedule.target));
            if !self.rules.schedules || !captured {
                return Err(Error::Other(format!("publish to {subject}: its stream takes no such schedule")));
            }
        }
        if expect.is_some_and(|expected| expected != self.last_of(&subject)) {
            return Err(Error::Conflict { subject });
        }
        self.forget_ids(now);
        if let Some(sequence) = message_id.as_ref().and_then(|id| self.ids.get(id)) {
            return Ok(Stored { sequence: *sequence, duplicate: true });
        }
        self.make_room(&subject, schedule.is_some(), timers)?;
        self.last += 1;
        let sequence = self.last;
        let age_max = ttl.or_else(|| self.rules.age_max.filter(|_| !lasting));
        let stream = || self.name.clone();
        let expires = age_max.map(|age| timers.set(now.after(age), Due::Expire { stream: stream(), sequence }));
        let fires = schedule.as_ref().map(|due| timers.set(due.at, Due::Fire { stream: stream(), sequence }));
        if let Some(id) = message_id {
            self.ids.insert(id.clone(), sequence);
            self.ids_by_age.push_back((now, id));
        }
        self.subjects.entry(subject.clone()).or_default().insert(sequence);
        let message = Message { subject, headers, payload, sequence, time: now, reply: None };
        self.messages.insert(sequence, Kept { message, schedule, timers: [expires, fires] });
        Ok(Stored { sequence, duplicate: false })
    }

    /// Removes what a new message on `subject` takes the place of, or refuses it.
    fn make_room(&mut self, subject: &str, schedule: bool, timers: &mut Timers) -> Result<()> {
        let occupied = self.subjects.contains_key(subject);
        if occupied && self.rules.per_subject == PerSubject::Unique {
            return Err(Error::Occupied { subject: subject.to_owned() });
        }
        if occupied && (schedule || self.rules.per_subject == PerSubject::Last) {
            self.purge(subject, timers);
        }
        let full = self.rules.messages_max.is_some_and(|max| self.messages.len() as u64 >= max);
        if full && self.rules.refuse_when_full {
            return Err(Error::Full { subject: subject.to_owned() });
        }
        if full && let Some(oldest) = self.messages.keys().next().copied() {
            self.remove(oldest, timers);
        }
        Ok(())
    }

    /// Removes a message; `None` if it is not there.
    pub(super) fn remove(&mut self, sequence: u64, timers: &mut Timers) -> Option<Kept> {
        let kept = self.messages.remove(&sequence)?;
        for key in kept.timers {
            timers.clear(key);
        }
        if let Some(sequences) = self.subjects.get_mut(&kept.message.subject) {
            sequences.remove(&sequence);
            if sequences.is_empty() {
                self.subjects.remove(&kept.message.subject);
            }
        }
        for group in self.groups.values_mut() {
            group.forget(sequence, timers);
        }
        Some(kept)
    }

    /// Removes all messages that `filter` stands for, and says how many there were.
    pub(super) fn purge(&mut self, filter: &str, timers: &mut Timers) -> u64 {
        let sequences: Vec<u64> = self.sequences(filter, 1).collect();
        for sequence in &sequences {
            self.remove(*sequence, timers);
        }
        sequences.len() as u64
    }

    /// The message with this sequence.
    pub(super) fn message(&self, sequence: u64) -> Option<&Message> {
        self.messages.get(&sequence).map(|kept| &kept.message)
    }

    /// The first message at `from` or later that `filter` stands for.
    pub(super) fn next(&self, filter: &str, from: u64) -> Option<&Message> {
        self.messages.range(from..).map(|(_, kept)| &kept.message).find(|message| matches(filter, &message.subject))
    }

    /// Messages that a consumer never handed out.
    pub(super) fn waiting(&self, group: &Group) -> u64 {
        let filter = &group.consumer.filter;
        let unseen = self.messages.range(group.next..).filter(|(_, kept)| matches(filter, &kept.message.subject));
        group.waiting().saturating_add(unseen.count() as u64)
    }

    /// The last message that `filter` stands for.
    pub(super) fn last(&self, filter: &str) -> Option<&Message> {
        if let Some(sequence) = self.subjects.get(filter).and_then(BTreeSet::last) {
            return self.message(*sequence);
        }
        let wild = filter.contains(['*', '>']);
        wild.then(|| self.messages.values().rev().map(|kept| &kept.message))?
            .find(|message| matches(filter, &message.subject))
    }

    /// All messages from `first` on that `filter` stands for; only the last one of each subject if `last_per_subject`.
    pub(super) fn all(&self, filter: &str, first: u64, last_per_subject: bool) -> Vec<Message> {
        let is_last = |message: &&Message| !last_per_subject || message.sequence == self.last_of(&message.subject);
        self.sequences(filter, first).filter_map(|sequence| self.message(sequence)).filter(is_last).cloned().collect()
    }

    /// How many messages there are.
    pub(super) fn count(&self) -> u64 {
        self.messages.len() as u64
    }

    /// The sequence of the last message that was ever stored.
    pub(super) const fn last_sequence(&self) -> u64 {
        self.last
    }

    fn sequences(&self, filter: &str, first: u64) -> impl Iterator<Item = u64> {
        let literal = if filter.contains(['*', '>']) { None } else { Some(self.subjects.get(filter)) };
        let (exact, range) = match literal {
            Some(sequences) => (sequences, None),
            None => (None, Some(self.messages.range(first..))),
        };
        let exact = exact.into_iter().flat_map(move |sequences| sequences.range(first..).copied());
        let scanned = range.into_iter().flatten().filter(move |(_, kept)| matches(filter, &kept.message.subject));
        exact.chain(scanned.map(|(sequence, _)| *sequence))
    }

    fn last_of(&self, subject: &str) -> u64 {
        self.subjects.get(subject).and_then(BTreeSet::last).copied().unwrap_or(0)
    }

    fn forget_ids(&mut self, now: Timestamp) {
        while let Some((since, id)) = self.ids_by_age.front() {
            if now.since(*since) < DUPLICATE_WINDOW {
                break;
            }
            self.ids.remove(id);
            self.ids_by_age.pop_front();
        }
    }
}

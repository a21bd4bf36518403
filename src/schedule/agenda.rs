//! Which key is looked at when: one time for each.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Timestamp;

/// Keys in the order of their times.
pub(super) struct Agenda<K> {
    order: BTreeSet<(Timestamp, K)>,
    times: BTreeMap<K, Timestamp>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), times: BTreeMap::new() }
    }
}

impl<K: Clone + Ord> Agenda<K> {
    /// Looks at `key` at `at`, in place of when it was to be looked at; `None` is never.
    pub(super) fn set(&mut self, key: &K, at: Option<Timestamp>) {
        if let Some(old) = self.times.remove(key) {
            self.order.remove(&(old, key.clone()));
        }
        if let Some(at) = at {
            self.times.insert(key.clone(), at);
            self.order.insert((at, key.clone()));
        }
    }

    /// The time of the first.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the first if its time has come.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<K> {
        self.first().filter(|at| *at <= now)?;
        let (_, key) = self.order.pop_first()?;
        self.times.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_time() {
        let at = Timestamp::from_millis;
        let mut agenda = Agenda::default();
        agenda.set(&"a", Some(at(5)));
        agenda.set(&"b", Some(at(4)));
        agenda.set(&"a", Some(at(3)));
        agenda.set(&"c", Some(at(1)));
        agenda.set(&"c", None);
        assert_eq!(agenda.first(), Some(at(3)));
        assert_eq!(agenda.pop(at(2)), None);
        assert_eq!((agenda.pop(at(9)), agenda.pop(at(9)), agenda.pop(at(9))), (Some("a"), Some("b"), None));
    }
}

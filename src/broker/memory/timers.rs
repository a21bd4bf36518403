//! What is due when. Nothing here runs by itself: whoever looks at the state first lets happen what is due, and whoever waits
//! waits until the next thing is due.

use std::collections::BTreeMap;

use crate::model::Timestamp;

/// What happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// A message's time to live is over.
    Expire { stream: String, sequence: u64 },
    /// A schedule produces its message.
    Fire { stream: String, sequence: u64 },
    /// A lease runs out, or the delay of a delivery that was handed back is over.
    Return { stream: String, consumer: String, sequence: u64 },
}

/// Names a timer that is set.
pub(super) type Key = (Timestamp, u64);

/// All timers that are set.
#[derive(Default)]
pub(super) struct Timers {
    due: BTreeMap<Key, Due>,
    set: u64,
}

impl Timers {
    /// Sets a timer.
    pub(super) fn set(&mut self, at: Timestamp, due: Due) -> Key {
        self.set += 1;
        let key = (at, self.set);
        self.due.insert(key, due);
        key
    }

    /// Takes a timer back.
    pub(super) fn clear(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.due.remove(&key);
        }
    }

    /// The next thing that is due by `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        let entry = self.due.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}

//! Switches that make the twin fail in the ways in which a broker does, for tests and the simulator.

use std::sync::Arc;

use super::Shared;
use super::filter::matches;
use super::group::Order;
use crate::broker::Error;

/// What is to happen to the next few things whose subject a filter stands for.
struct Next<T> {
    filter: String,
    left: u64,
    what: T,
}

/// Faults of one kind that are still to happen.
pub(super) struct Upcoming<T>(Vec<Next<T>>);

impl<T> Default for Upcoming<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Upcoming<T> {
    fn add(&mut self, filter: &str, left: u64, what: T) {
        if left > 0 {
            self.0.push(Next { filter: filter.to_owned(), left, what });
        }
    }

    /// What happens to a thing with this subject; the first that was asked for comes first.
    pub(super) fn hit(&mut self, subject: &str) -> Option<T> {
        let next = self.0.iter_mut().find(|next| matches(&next.filter, subject))?;
        next.left = next.left.saturating_sub(1);
        let what = next.what.clone();
        self.0.retain(|next| next.left > 0);
        Some(what)
    }
}

/// The switches as they stand.
#[derive(Default)]
pub(super) struct Switches {
    pub(super) unavailable: bool,
    pub(super) refused: Upcoming<Error>,
    pub(super) unacknowledged: Upcoming<()>,
    pub(super) repeated: Upcoming<()>,
    pub(super) unfinished: Upcoming<()>,
    pub(super) unheard: Upcoming<()>,
    pub(super) held: Vec<String>,
    pub(super) order: Option<Order>,
}

impl Switches {
    /// Whether deliveries of this subject are held.
    pub(super) fn holds(&self, subject: &str) -> bool {
        self.held.iter().any(|filter| matches(filter, subject))
    }
}

/// The switches of a broker in memory. Cheap to clone.
#[derive(Clone)]
pub struct Faults(pub(super) Arc<Shared>);

impl Faults {
    /// The next `count` publishes on `filter` are refused with `error`; nothing is stored.
    pub fn refuse_publishes(&self, filter: &str, count: u64, error: Error) {
        self.0.with(|state, _| state.switches.refused.add(filter, count, error));
    }

    /// The next `count` publishes on `filter` are stored, and the publisher is told [`Error::Unavailable`].
    pub fn lose_acknowledgements(&self, filter: &str, count: u64) {
        self.0.with(|state, _| state.switches.unacknowledged.add(filter, count, ()));
    }

    /// Messages on `filter` are not handed out until [`release_deliveries`](Self::release_deliveries).
    pub fn hold_deliveries(&self, filter: &str) {
        self.0.with(|state, _| state.switches.held.push(filter.to_owned()));
    }

    /// Ends [`hold_deliveries`](Self::hold_deliveries) of the same filter.
    pub fn release_deliveries(&self, filter: &str) {
        self.0.with(|state, _| state.switches.held.retain(|held| held != filter));
    }

    /// The next `count` deliveries on `filter` are handed out a second time at once, while the first are still out.
    pub fn repeat_deliveries(&self, filter: &str, count: u64) {
        self.0.with(|state, _| state.switches.repeated.add(filter, count, ()));
    }

    /// From now on each delivery is chosen among the next sixteen, by `seed`.
    pub fn reorder_deliveries(&self, seed: u64) {
        // The generator stands still at zero.
        self.0.with(|state, _| state.switches.order = Some(Order(seed.max(1))));
    }

    /// All leases that are out run out now, and all delays of what was handed back.
    pub fn expire_leases(&self) {
        self.0.with(|state, _| state.expire_leases());
    }

    /// The next `count` finishes of deliveries on `filter` fail with [`Error::Unavailable`], and the messages stay out.
    pub fn lose_finishes(&self, filter: &str, count: u64) {
        self.0.with(|state, _| state.switches.unfinished.add(filter, count, ()));
    }

    /// The next `count` messages on `filter` are heard by nobody (stored ones are stored all the same).
    pub fn drop_bus(&self, filter: &str, count: u64) {
        self.0.with(|state, _| state.switches.unheard.add(filter, count, ()));
    }

    /// While `true`, every operation fails with [`Error::Unavailable`]; what waits for deliveries or messages goes on waiting.
    pub fn unavailable(&self, unavailable: bool) {
        self.0.with(|state, _| state.switches.unavailable = unavailable);
    }
}

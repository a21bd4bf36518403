//! A guest's turn on its thread: how long it goes on before others of that thread do.
//!
//! Fuel makes a guest give way every few microseconds, so that it can be stopped at any time. If all that compute went round so
//! often, those that came together would end together, each at the end of the sum of them, with a slot and warm memory held all
//! the while. So a guest that could go on does, until its turn is over: the first is long enough for most tasks as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;

/// The first turn of an invocation: a short task is done in one.
const FIRST: Duration = Duration::from_micros(250);

/// Turns after it: a change of turns costs one or two microseconds, and who has just come waits for one turn of each before it.
const LATER: Duration = Duration::from_micros(50);

/// Nobody polls the guest: whoever wakes it wakes its task.
const IDLE: u8 = 0;
/// The guest is being polled.
const AT_WORK: u8 = 1;
/// It was woken while it was being polled.
const CAN_GO_ON: u8 = 2;

/// What wakes a guest, and whether it can go on at once.
///
/// **Invariant:** no wake is lost: one that comes while the guest is polled is found by [`Turn::can_go_on`], any other wakes its task.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Turn {
    /// How long the `n`-th turn may take, from 0.
    pub(super) const fn length(n: u64) -> Duration {
        if n == 0 { FIRST } else { LATER }
    }

    /// A turn begins in the task of this waker.
    pub(super) fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(AT_WORK, Ordering::Release);
    }

    /// Whether the guest was woken since it was last polled: if so its turn goes on, else it has ended.
    pub(super) fn can_go_on(&self) -> bool {
        let waits = self.state.compare_exchange(AT_WORK, IDLE, Ordering::AcqRel, Ordering::Acquire);
        waits.is_err_and(|_| {
            self.state.store(AT_WORK, Ordering::Release);
            true
        })
    }

    /// The turn is over although the guest could go on: its task comes again after others.
    pub(super) fn end(&self) {
        self.state.store(IDLE, Ordering::Release);
        self.task.wake();
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
            AT_WORK | CAN_GO_ON => Some(CAN_GO_ON),
            _ => None,
        });
        if noted.is_err() {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn() -> (Arc<Turn>, Waker, Arc<Woken>) {
        let (turn, woken) = (Arc::new(Turn::default()), Arc::new(Woken::default()));
        turn.begin(&Waker::from(Arc::clone(&woken)));
        (Arc::clone(&turn), Waker::from(turn), woken)
    }

    #[test]
    fn a_wake_during_a_turn_lets_it_go_on_and_one_after_it_wakes_the_task() {
        let (turn, waker, woken) = turn();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(turn.can_go_on(), "two wakes are one");
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "its task is at work");
        assert!(!turn.can_go_on(), "nothing woke it since");
        waker.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_turn_that_is_over_is_taken_up_again() {
        let (turn, waker, woken) = turn();
        waker.wake_by_ref();
        turn.end();
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        turn.begin(&Waker::from(Arc::clone(&woken)));
        assert!(!turn.can_go_on(), "what woke it in the turn before is done with");
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        for _ in 0..2_000 {
            let (turn, waker, woken) = turn();
            let other = std::thread::spawn(move || waker.wake());
            let went_on = turn.can_go_on();
            other.join().unwrap();
            let noted = went_on || woken.0.load(Ordering::Relaxed) == 1 || turn.can_go_on();
            assert!(noted, "it was woken while it was polled, or its task was woken");
        }
    }
}

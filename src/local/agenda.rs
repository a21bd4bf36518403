//! What is due when: timers of runs, words to them, and tasks that take simulated time.

use std::collections::BTreeMap;

use super::Word;
use crate::model::{RunId, StepAttempt, Timestamp};
use crate::workflow::journal::Outcome;
use crate::workflow::timer::TimerId;

/// Something that is due at a time.
#[derive(Clone, Debug)]
pub(super) enum Due {
    /// A timer of a run.
    Timer(RunId, TimerId),
    /// A word to the run.
    Word(Word),
    /// An attempt has taken its time.
    Outcome(Box<(StepAttempt, Outcome)>),
}

/// Everything that is due, in the order of its time; what is due at the same time keeps the order in which it was added.
#[derive(Default)]
pub(super) struct Agenda {
    due: BTreeMap<(Timestamp, u64), Due>,
    timers: BTreeMap<(RunId, TimerId), (Timestamp, u64)>,
    added: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Timestamp, due: Due) -> (Timestamp, u64) {
        self.added = self.added.saturating_add(1);
        let key = (at, self.added);
        self.due.insert(key, due);
        key
    }

    /// Takes out what [`Self::add`] gave this place to.
    pub(super) fn remove(&mut self, place: (Timestamp, u64)) {
        self.due.remove(&place);
    }

    /// Sets a timer; one that is there already is moved.
    pub(super) fn set(&mut self, run: &RunId, timer: TimerId, at: Timestamp) {
        self.stop(run, &timer);
        let key = self.add(at, Due::Timer(run.clone(), timer.clone()));
        self.timers.insert((run.clone(), timer), key);
    }

    pub(super) fn stop(&mut self, run: &RunId, timer: &TimerId) {
        if let Some(key) = self.timers.remove(&(run.clone(), timer.clone())) {
            self.due.remove(&key);
        }
    }

    /// The timers of a run that is over.
    pub(super) fn stop_all(&mut self, run: &RunId) {
        let own: Vec<TimerId> =
            self.timers.keys().filter(|(of, _)| of == run).map(|(_, timer)| timer.clone()).collect();
        own.iter().for_each(|timer| self.stop(run, timer));
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn take(&mut self) -> Option<(Timestamp, Due)> {
        let ((at, _), due) = self.due.pop_first()?;
        if let Due::Timer(run, timer) = &due {
            self.timers.remove(&(run.clone(), timer.clone()));
        }
        Some((at, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StepId;
    use crate::workflow::timer::Purpose;

    #[test]
    fn what_is_due_comes_in_the_order_of_time() {
        let run = RunId::derived(&["a"]);
        let timer = |n| TimerId { step: StepId::root().child(n), purpose: Purpose::Sleep, generation: 0 };
        let at = Timestamp::from_millis;
        let mut agenda = Agenda::default();
        agenda.set(&run, timer(1), at(30));
        agenda.set(&run, timer(2), at(10));
        agenda.add(at(10), Due::Word(Word::Cancel));
        agenda.set(&run, timer(1), at(5));
        agenda.set(&run, timer(3), at(1));
        agenda.stop(&run, &timer(3));
        let order: Vec<String> =
            std::iter::from_fn(|| agenda.take()).map(|(at, due)| format!("{at:?} {due:?}")).collect();
        assert_eq!(order.len(), 3, "{order:?}");
        assert!(order[0].contains("0-1") && order[1].contains("0-2") && order[2].contains("Cancel"), "{order:?}");
    }
}

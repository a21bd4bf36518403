//! What a schedule does next: which slots start, which wait, which are left out.
//!
//! **Invariant:** a slot is decided once: [`Progress::decided`] only grows, and what was decided is remembered until it is done.

use std::collections::VecDeque;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Begun, Calendar, Cause, Overlap, Progress, RECENT_MAX, Rules, Slot, Stage, Unfit, Waiting, When};
use crate::model::Timestamp;
use crate::model::time::format_duration;

/// Starts of one turn: each is submitted before the next turn, and must still be remembered then.
const STARTS_AT_ONCE_MAX: usize = RECENT_MAX / 2;

/// Slots that one turn looks at: more are the next turn's.
const SLOTS_AT_ONCE_MAX: usize = 10_000;

/// Missed slots that are counted one by one.
const MISSED_COUNTED_MAX: u64 = 1_000;

/// What a schedule goes by.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// Its slots.
    pub calendar: &'a Calendar,
    /// Its rules.
    pub rules: &'a Rules,
    /// Whether it is paused: then nothing starts but what somebody asks for.
    pub paused: bool,
    /// What its jitter follows from.
    pub seed: &'a str,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// When the next slot is due; `None` where there is none.
    pub wake: Option<Timestamp>,
    /// There is more to decide now, once what was decided is carried out.
    pub again: bool,
}

/// Where a start goes.
enum Place {
    Begin,
    Wait,
    Out,
}

impl Course<'_> {
    /// The first slot behind `after` that counts.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.calendar.next(after).filter(|slot| self.rules.until.is_none_or(|until| *slot <= until))
    }

    /// When a slot is due: its jitter later, but before the slot that follows.
    #[must_use]
    pub fn due(&self, slot: Timestamp) -> Timestamp {
        let gap = self.calendar.next(slot).map_or(Duration::MAX, |next| next.since(slot));
        let jitter = u64::try_from(self.rules.jitter.min(gap).as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return slot;
        }
        let mut hash = Sha256::new_with_prefix(self.seed);
        hash.update(slot.as_millis().to_le_bytes());
        let random = hash.finalize().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
        slot.after(Duration::from_millis(random % jitter))
    }

    /// Why there is no slot behind `after` that counts, where there is none.
    #[must_use]
    pub fn never(&self, after: Timestamp) -> Unfit {
        let (field, problem) = match (&self.rules.when, self.calendar.next(after).zip(self.rules.until)) {
            (_, Some((slot, until))) => (format!("until {until}"), format!("the first time would be {slot}, after it")),
            (When::Cron { expression, zone }, None) => {
                (format!("cron {expression:?}"), format!("no date in {zone} ever fits it"))
            }
            (When::Every { every, .. }, None) => {
                (format!("every {}", format_duration(*every)), "no time is left".to_owned())
            }
            (When::Once { at }, None) => (format!("at {at}"), "that is over".to_owned()),
        };
        Unfit::Never { field, problem }
    }

    fn is_late(&self, due: Timestamp, now: Timestamp) -> bool {
        now.since(due) > self.rules.catch_up
    }
}

impl Progress {
    /// Whether the next turn depends on which starts have ended.
    #[must_use]
    pub fn needs_ends(&self, course: &Course<'_>, now: Timestamp) -> bool {
        let slot_due = !course.paused && course.next(self.decided).is_some_and(|slot| course.due(slot) <= now);
        let asks = |overlap: Overlap| overlap != Overlap::Allow;
        self.is_open()
            && (self.waiting.iter().any(|waiting| asks(waiting.overlap)) || slot_due && asks(course.rules.overlap))
    }

    /// Decides all that is due at `now`. What was decided before must have been carried out.
    pub fn turn(&mut self, course: &Course<'_>, now: Timestamp) -> Turn {
        let mut begun = self.turn_of_the_waiting(now);
        let mut turn = Turn::default();
        if course.paused {
            return turn;
        }
        let mut missed = 0;
        for _ in 0..SLOTS_AT_ONCE_MAX {
            let Some(slot) = course.next(self.decided) else { return turn };
            let due = course.due(slot);
            if due > now {
                turn.wake = Some(due);
                return turn;
            }
            if begun >= STARTS_AT_ONCE_MAX {
                break;
            }
            self.decided = slot;
            if course.is_late(due, now) {
                missed += 1;
                self.missed = self.missed.saturating_add(1);
                if missed == MISSED_COUNTED_MAX {
                    // However many there were: go on where the window begins.
                    let window = course.rules.catch_up.saturating_add(course.rules.jitter);
                    let millis = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
                    self.decided = slot.max(Timestamp::from_millis(now.as_millis().saturating_sub(millis)));
                }
                continue;
            }
            if self.decide(course, slot, now) {
                begun += 1;
            }
        }
        turn.again = true;
        turn
    }

    /// Decides one slot; whether it starts.
    fn decide(&mut self, course: &Course<'_>, at: Timestamp, now: Timestamp) -> bool {
        let overlap = course.rules.overlap;
        let slot = Slot { at, cause: Cause::Slot };
        // Of several that are due, only the last one would survive.
        let outdated = overlap == Overlap::Cancel && course.next(at).is_some_and(|next| course.due(next) <= now);
        let place = if outdated { Place::Out } else { self.place(overlap, !self.waiting.is_empty()) };
        let waits = |waiting: &Waiting| waiting.slot.cause == Cause::Slot;
        match place {
            Place::Begin => {
                self.begin(slot, now);
                return true;
            }
            Place::Wait if !self.waiting.iter().any(waits) => self.waiting.push_back(Waiting { slot, overlap }),
            // It takes the place of an earlier one that waits for the end of what was cancelled.
            Place::Wait if overlap == Overlap::Cancel => {
                self.waiting.retain(|waiting| !waits(waiting));
                self.waiting.push_back(Waiting { slot, overlap });
                self.skipped = self.skipped.saturating_add(1);
            }
            Place::Wait | Place::Out => self.skipped = self.skipped.saturating_add(1),
        }
        false
    }

    /// Begins those that have waited for long enough; how many.
    fn turn_of_the_waiting(&mut self, now: Timestamp) -> usize {
        let mut begun = 0;
        let mut kept = VecDeque::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if begun >= STARTS_AT_ONCE_MAX {
                kept.push_back(waiting);
                continue;
            }
            match self.place(waiting.overlap, !kept.is_empty()) {
                Place::Begin => {
                    self.begin(waiting.slot, now);
                    begun += 1;
                }
                Place::Wait => kept.push_back(waiting),
                Place::Out => self.skipped = self.skipped.saturating_add(1),
            }
        }
        self.waiting = kept;
        begun
    }

    fn place(&mut self, overlap: Overlap, others_wait: bool) -> Place {
        match overlap {
            Overlap::Allow => Place::Begin,
            Overlap::Skip if self.is_open() || others_wait => Place::Out,
            Overlap::Queue if self.is_open() || others_wait => Place::Wait,
            Overlap::Skip | Overlap::Queue => Place::Begin,
            Overlap::Cancel => {
                for begun in &mut self.recent {
                    match begun.stage {
                        Stage::Open => begun.stage = Stage::Cancel,
                        // It was decided in this very turn, and nobody has submitted it.
                        Stage::Begin => {
                            begun.stage = Stage::Ended;
                            self.started = self.started.saturating_sub(1);
                            self.skipped = self.skipped.saturating_add(1);
                        }
                        Stage::Cancel | Stage::Cancelling | Stage::Ended | Stage::Refused(_) => {}
                    }
                }
                // A run that was cancelled compensates before it ends.
                if self.is_open() { Place::Wait } else { Place::Begin }
            }
        }
    }

    fn begin(&mut self, slot: Slot, now: Timestamp) {
        self.started = self.started.saturating_add(1);
        while self.recent.len() >= RECENT_MAX {
            // What has ended leaves first; what is still to be done never does.
            let ended = |begun: &Begun| matches!(begun.stage, Stage::Ended | Stage::Refused(_));
            let oldest = |is: &dyn Fn(&Begun) -> bool| self.recent.iter().position(is);
            let open = |begun: &Begun| matches!(begun.stage, Stage::Open | Stage::Cancelling);
            match oldest(&ended).or_else(|| oldest(&open)) {
                Some(place) => drop(self.recent.remove(place)),
                None => break,
            }
        }
        self.recent.push_back(Begun { slot, decided: now, stage: Stage::Begin });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schedule::When;
    use proptest::prelude::*;

    const NONE: Duration = Duration::ZERO;

    fn rules(overlap: Overlap, catch_up: u64) -> Rules {
        let every = Duration::from_secs(10);
        let when = When::Every { every, anchor: Timestamp::from_millis(0) };
        Rules { when, overlap, catch_up: Duration::from_secs(catch_up), jitter: NONE, until: None }
    }

    fn course<'a>(calendar: &'a Calendar, rules: &'a Rules) -> Course<'a> {
        Course { calendar, rules, paused: false, seed: "s" }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    /// The slots that were begun, in seconds, and their stages.
    fn recent(progress: &Progress) -> Vec<(i64, &Stage)> {
        progress.recent.iter().map(|begun| (begun.slot.at.as_millis() / 1_000, &begun.stage)).collect()
    }

    fn waits(progress: &Progress) -> Vec<i64> {
        progress.waiting.iter().map(|waiting| waiting.slot.at.as_millis() / 1_000).collect()
    }

    /// As a driver does once a decision is written.
    fn carry_out(progress: &mut Progress) {
        for begun in &mut progress.recent {
            match begun.stage {
                Stage::Begin => begun.stage = Stage::Open,
                Stage::Cancel => begun.stage = Stage::Cancelling,
                Stage::Open | Stage::Cancelling | Stage::Ended | Stage::Refused(_) => {}
            }
        }
    }

    fn end_all(progress: &mut Progress) {
        progress.recent.iter_mut().for_each(|begun| begun.stage = Stage::Ended);
    }

    #[test]
    fn a_slot_starts_when_it_is_due_and_not_before() {
        let rules = rules(Overlap::Skip, 60);
        let calendar = Calendar::new(&rules.when).unwrap();
        let course = course(&calendar, &rules);
        let mut progress = Progress::new(second(0));
        assert_eq!(progress.turn(&course, second(9)), Turn { wake: Some(second(10)), again: false });
        assert_eq!(progress, Progress::new(second(0)), "nothing has changed");
        assert_eq!(progress.turn(&course, second(10)).wake, Some(second(20)));
        assert_eq!(recent(&progress), [(10, &Stage::Begin)]);
        assert_eq!(progress.turn(&course, second(10)).wake, Some(second(20)), "once a slot");
        assert_eq!(progress.started, 1);
    }

    /// Every policy: what becomes of slot 20 while the start of 10 is open, and of what waits once that has ended.
    #[test]
    fn a_start_that_overlaps_goes_by_the_policy() {
        for (policy, begun, waiting, skipped, later) in [
            (Overlap::Skip, vec![(10, Stage::Open)], vec![], 2, vec![(10, Stage::Ended)]),
            (Overlap::Queue, vec![(10, Stage::Open)], vec![20], 1, vec![(10, Stage::Ended), (20, Stage::Begin)]),
            (
                Overlap::Allow,
                vec![(10, Stage::Open), (20, Stage::Open), (30, Stage::Begin)],
                vec![],
                0,
                vec![(10, Stage::Ended), (20, Stage::Ended), (30, Stage::Ended)],
            ),
            (
                Overlap::Cancel,
                // What was cancelled has not ended: the last one waits for that.
                vec![(10, Stage::Cancelling)],
                vec![30],
                1,
                vec![(10, Stage::Ended), (30, Stage::Begin)],
            ),
        ] {
            let rules = rules(policy, 60);
            let calendar = Calendar::new(&rules.when).unwrap();
            let course = course(&calendar, &rules);
            let mut progress = Progress::new(second(0));
            for now in [10, 20, 30] {
                carry_out(&mut progress);
                progress.turn(&course, second(now));
            }
            let of = |list: &[(i64, Stage)]| list.to_vec();
            let shown = |progress: &Progress| -> Vec<(i64, Stage)> {
                recent(progress).into_iter().map(|(at, stage)| (at, stage.clone())).collect()
            };
            assert_eq!(shown(&progress), of(&begun), "{policy}");
            assert_eq!((waits(&progress), progress.skipped), (waiting, skipped), "{policy}");
            end_all(&mut progress);
            progress.turn(&course, second(31));
            assert_eq!(shown(&progress), later, "{policy}");
        }
    }

    #[test]
    fn an_outage_is_made_good_within_the_window() {
        // At 65 s, of the slots 10 to 60 those from 40 on are within 30 s.
        for (policy, begun, waiting, skipped) in [
            (Overlap::Skip, vec![40], vec![], 2),
            (Overlap::Queue, vec![40], vec![50], 1),
            (Overlap::Allow, vec![40, 50, 60], vec![], 0),
            (Overlap::Cancel, vec![60], vec![], 2),
        ] {
            let rules = rules(policy, 30);
            let calendar = Calendar::new(&rules.when).unwrap();
            let mut progress = Progress::new(second(0));
            let turn = progress.turn(&course(&calendar, &rules), second(65));
            assert_eq!(turn, Turn { wake: Some(second(70)), again: false });
            assert_eq!(recent(&progress).into_iter().map(|(at, _)| at).collect::<Vec<_>>(), begun, "{policy}");
            assert_eq!((waits(&progress), progress.skipped, progress.missed), (waiting, skipped, 3), "{policy}");
        }
    }

    #[test]
    fn a_long_outage_costs_little() {
        let rules = Rules {
            when: When::Every { every: Duration::from_secs(1), anchor: second(0) },
            ..rules(Overlap::Skip, 60)
        };
        let calendar = Calendar::new(&rules.when).unwrap();
        let mut progress = Progress::new(second(0));
        let now = second(10_000_000);
        let turn = progress.turn(&course(&calendar, &rules), now);
        assert_eq!(turn, Turn { wake: Some(second(10_000_001)), again: false });
        assert_eq!((progress.missed, progress.started), (1_000, 1));
        // A window of a year is taken in parts.
        let rules = Rules { catch_up: Duration::from_secs(366 * 86_400), ..rules };
        let mut progress = Progress::new(second(0));
        assert!(progress.turn(&course(&calendar, &rules), now).again);
        assert_eq!(progress.decided, second(10_000));
    }

    #[test]
    fn a_paused_schedule_starts_only_what_is_asked_for() {
        let rules = rules(Overlap::Skip, 60);
        let calendar = Calendar::new(&rules.when).unwrap();
        let course = Course { paused: true, ..course(&calendar, &rules) };
        let mut progress = Progress::new(second(0));
        assert_eq!(progress.turn(&course, second(50)), Turn::default());
        assert_eq!(progress.started, 0);
        let slot = Slot { at: second(50), cause: Cause::Trigger("a".parse().unwrap()) };
        progress.waiting.push_back(Waiting { slot, overlap: Overlap::Skip });
        progress.turn(&course, second(50));
        assert_eq!(recent(&progress), [(50, &Stage::Begin)]);
    }

    #[test]
    fn a_backfill_goes_one_by_one_or_all_at_once() {
        let rules = rules(Overlap::Skip, 60);
        let calendar = Calendar::new(&rules.when).unwrap();
        let course = course(&calendar, &rules);
        for (overlap, turns) in [(Overlap::Queue, 25), (Overlap::Allow, 3)] {
            let mut progress = Progress::new(second(1_000));
            let slot = |at| Slot { at: second(at), cause: Cause::Backfill("b".parse().unwrap()) };
            progress.waiting = (0..25).map(|n| Waiting { slot: slot(n * 10), overlap }).collect();
            let mut count = 0;
            while !progress.waiting.is_empty() || progress.is_open() {
                progress.turn(&course, second(1_001));
                count += usize::from(progress.is_to_do());
                carry_out(&mut progress);
                end_all(&mut progress);
            }
            assert_eq!((progress.started, count), (25, turns), "{overlap}");
            assert_eq!(progress.recent.len(), RECENT_MAX);
        }
    }

    #[test]
    fn ends_are_asked_for_only_where_they_matter() {
        for (policy, matters) in
            [(Overlap::Skip, true), (Overlap::Queue, true), (Overlap::Allow, false), (Overlap::Cancel, true)]
        {
            let rules = rules(policy, 60);
            let calendar = Calendar::new(&rules.when).unwrap();
            let course = course(&calendar, &rules);
            let mut progress = Progress::new(second(0));
            assert!(!progress.needs_ends(&course, second(10)), "nothing is open");
            progress.turn(&course, second(10));
            carry_out(&mut progress);
            assert!(!progress.needs_ends(&course, second(19)), "nothing is due");
            assert_eq!(progress.needs_ends(&course, second(20)), matters, "{policy}");
        }
    }

    #[test]
    fn jitter_is_the_slots_own_and_keeps_the_order() {
        let rules = Rules { jitter: Duration::from_secs(3_600), ..rules(Overlap::Allow, 60) };
        let calendar = Calendar::new(&rules.when).unwrap();
        let course = course(&calendar, &rules);
        let due: Vec<_> = (1..50).map(|n| course.due(second(n * 10))).collect();
        assert!(due.is_sorted(), "a slot is due before the next one");
        assert!(due.iter().any(|due| due.as_millis() % 10_000 > 1_000), "{due:?}");
        assert_eq!(course.due(second(10)), course.due(second(10)));
        let other = Course { seed: "t", ..course };
        assert!((1..50).any(|n| other.due(second(n * 10)) != course.due(second(n * 10))));
    }

    #[test]
    fn nothing_starts_behind_the_end() {
        let rules = Rules { until: Some(second(25)), ..rules(Overlap::Allow, 60) };
        let calendar = Calendar::new(&rules.when).unwrap();
        let mut progress = Progress::new(second(0));
        assert_eq!(progress.turn(&course(&calendar, &rules), second(40)), Turn::default());
        assert_eq!(recent(&progress), [(10, &Stage::Begin), (20, &Stage::Begin)]);
    }

    proptest! {
        /// Whatever the policy and however irregular the looks: each slot is accounted for once, and nothing is decided twice.
        #[test]
        fn every_slot_is_accounted_for_once(
            policy in prop::sample::select(vec![Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::Cancel]),
            looks in prop::collection::vec((1..40_i64, any::<bool>()), 1..40),
            catch_up in 0..60_u64,
        ) {
            let rules = rules(policy, catch_up);
            let calendar = Calendar::new(&rules.when).unwrap();
            let course = course(&calendar, &rules);
            let mut progress = Progress::new(second(0));
            let (mut now, mut slots) = (0, Vec::new());
            for (step, ends) in looks {
                now += step;
                loop {
                    let turn = progress.turn(&course, second(now));
                    slots.extend(progress.recent.iter().filter(|b| b.stage == Stage::Begin).map(|b| b.slot.at));
                    carry_out(&mut progress);
                    if !turn.again { break }
                }
                if ends { end_all(&mut progress) }
                prop_assert!(progress.waiting.len() <= 1 && progress.recent.len() <= RECENT_MAX);
            }
            let waiting = progress.waiting.len() as u64;
            let due = u64::try_from(now / 10).unwrap();
            prop_assert_eq!(progress.started + progress.skipped + progress.missed + waiting, due);
            prop_assert!(slots.is_sorted_by(|a, b| a < b), "{:?}", slots);
            prop_assert_eq!(slots.len() as u64, progress.started);
        }
    }
}

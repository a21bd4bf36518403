//! The life of an attempt of a step on a host: whether it runs, and what is committed of it.
//!
//! Every attempt ends with one record in the journal of its run, which is never replaced. Whether another attempt follows is
//! decided by the run's coordinator: a host knows of attempts, not of runs.
//!
//! | the host owns | this module owns |
//! |---|---|
//! | reading the journal, writing the record, acknowledging | which of these is to be done, and what is written |

use super::lifecycle::{DELIVERIES_MAX, Usage};
use super::{Failure, Kind, Outcome, Timestamp, Value};

/// The record of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// How the attempt ended.
    pub end: StepEnd,
    /// What it took, and where.
    pub usage: Usage,
}

/// The three ends of an attempt of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepEnd {
    /// It returned this JSON.
    Succeeded(Value),
    /// It failed with this; the coordinator decides what follows.
    Failed(Failure),
    /// It handed back this flow document (JSON), which takes its place.
    Replaced(Value),
}

impl StepEnd {
    /// The word on the wire and on the screen.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded(_) => "succeeded",
            Self::Failed(_) => "failed",
            Self::Replaced(_) => "replaced",
        }
    }
}

/// What a host knows of a delivery from its message alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How often the message has been delivered, from 1.
    pub delivery: u64,
    /// Whether the message is not the first dispatch of this attempt.
    pub recheck: bool,
    /// Whether it is a compensation, which a cancel of the run does not stop.
    pub shielded: bool,
    /// Until when the attempt is wanted.
    pub expires: Option<Timestamp>,
}

impl Seen {
    /// Whether the journal must be looked at before the attempt runs. What was dispatched just now, for the first time, was
    /// wanted just now; if it is not any more, a word from the coordinator follows.
    #[must_use]
    pub const fn needs_look(&self) -> bool {
        self.delivery > 1 || self.recheck
    }
}

/// What the journal says of an attempt and its run: the places of these records in their stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The attempt's own record.
    pub outcome: Option<u64>,
    /// The run's last cancel.
    pub cancel: Option<u64>,
    /// The run's last end.
    pub end: Option<u64>,
    /// The last retry of the run, which makes what was over before it go on.
    pub retry: Option<u64>,
}

/// What a host does with a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Run the attempt.
    Run,
    /// Commit this failure without running.
    Fail(Failure),
    /// Acknowledge: there is nothing left to do.
    Drop,
}

/// What to do with a delivery, given the journal (where [`Seen::needs_look`] asked for it).
#[must_use]
pub fn on_delivery(seen: &Seen, look: &Look, now: Timestamp) -> Verdict {
    // `None`, no retry, is less than any place.
    let stands = |record: Option<u64>| record.is_some() && record > look.retry;
    let over = look.outcome.is_some() || stands(look.end);
    let cancelled = stands(look.cancel) && !seen.shielded;
    let lost = seen.delivery > DELIVERIES_MAX;
    let late = seen.expires.is_some_and(|expires| expires < now);
    let fail = |kind, message: String| Verdict::Fail(failed(Failure::new(kind, message), seen.attempt));
    match (over, cancelled, lost, late) {
        (true, _, _, _) | (false, true, _, _) => Verdict::Drop,
        (false, false, true, _) => {
            fail(Kind::HostLost, format!("{DELIVERIES_MAX} hosts were lost while they ran this task"))
        }
        (false, false, false, true) => fail(Kind::Expired, "no host took the task up in time".to_owned()),
        (false, false, false, false) => Verdict::Run,
    }
}

/// What a host commits after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Commit {
    /// This output.
    Succeed(bytes::Bytes),
    /// This failure.
    Fail(Failure),
    /// This flow document.
    Replace(String),
}

/// What to commit when an attempt ended with `outcome`. `cancelled` tells that a word came to stop it while it ran: then that is
/// what it ended with, whatever a guest that was given time to tidy up says.
#[must_use]
pub fn on_outcome(outcome: Outcome, cancelled: bool, attempt: u32) -> Commit {
    match (outcome, cancelled) {
        (Outcome::Failed(failure), false) => Commit::Fail(failed(failure, attempt)),
        (Outcome::Failed(failure), true) if failure.kind == Kind::Cancelled => Commit::Fail(failed(failure, attempt)),
        (Outcome::Output(_) | Outcome::Replace(_) | Outcome::Failed(_), true) => {
            Commit::Fail(failed(Failure::new(Kind::Cancelled, "the task was cancelled"), attempt))
        }
        (Outcome::Output(output), false) => Commit::Succeed(output),
        (Outcome::Replace(flow), false) => Commit::Replace(flow),
    }
}

fn failed(failure: Failure, attempt: u32) -> Failure {
    Failure { attempt: Some(attempt), ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);
    const SEEN: Seen = Seen { attempt: 2, delivery: 2, recheck: false, shielded: false, expires: None };
    const NOTHING: Look = Look { outcome: None, cancel: None, end: None, retry: None };

    fn kind(verdict: &Verdict) -> Option<Kind> {
        match verdict {
            Verdict::Fail(failure) => {
                assert_eq!(failure.attempt, Some(2));
                Some(failure.kind)
            }
            Verdict::Run | Verdict::Drop => None,
        }
    }

    #[test]
    fn every_delivery_meets_every_journal() {
        let shielded = Seen { shielded: true, ..SEEN };
        let (run, drop) = (Verdict::Run, Verdict::Drop);
        let (outcome, cancel) = (Look { outcome: Some(9), ..NOTHING }, Look { cancel: Some(5), ..NOTHING });
        let end = Look { end: Some(7), ..NOTHING };
        for (seen, look, verdict) in [
            (SEEN, NOTHING, &run),
            (SEEN, outcome, &drop),
            (SEEN, cancel, &drop),
            (SEEN, end, &drop),
            (shielded, NOTHING, &run),
            (shielded, outcome, &drop),
            (shielded, cancel, &run),
            (shielded, end, &drop),
            // A retry takes up what was over before it, and nothing that came after it.
            (SEEN, Look { retry: Some(8), ..end }, &run),
            (SEEN, Look { retry: Some(6), ..end }, &drop),
            (SEEN, Look { retry: Some(8), ..cancel }, &run),
            (SEEN, Look { retry: Some(4), ..cancel }, &drop),
            (SEEN, Look { retry: Some(10), ..outcome }, &drop),
            (SEEN, Look { retry: Some(8), ..NOTHING }, &run),
        ] {
            assert_eq!(&on_delivery(&seen, &look, NOW), verdict, "{seen:?} {look:?}");
        }
    }

    #[test]
    fn a_lost_and_a_late_attempt_fail_unless_they_are_over() {
        let lost = Seen { delivery: DELIVERIES_MAX + 1, ..SEEN };
        let late = Seen { expires: Some(Timestamp::from_millis(999)), ..SEEN };
        let both = Seen { delivery: DELIVERIES_MAX + 1, ..late };
        for (seen, expected) in [(lost, Kind::HostLost), (late, Kind::Expired), (both, Kind::HostLost)] {
            assert_eq!(kind(&on_delivery(&seen, &NOTHING, NOW)), Some(expected), "{seen:?}");
            for over in [Look { outcome: Some(1), ..NOTHING }, Look { cancel: Some(1), ..NOTHING }] {
                assert_eq!(on_delivery(&seen, &over, NOW), Verdict::Drop, "{seen:?}");
            }
        }
        let in_time = Seen { expires: Some(NOW), ..SEEN };
        assert_eq!(on_delivery(&in_time, &NOTHING, NOW), Verdict::Run);
        assert_eq!(on_delivery(&Seen { delivery: DELIVERIES_MAX, ..SEEN }, &NOTHING, NOW), Verdict::Run);
    }

    #[test]
    fn only_a_first_delivery_of_a_first_dispatch_runs_unseen() {
        let first = Seen { delivery: 1, ..SEEN };
        assert!(!first.needs_look(), "whatever the number of its attempt");
        assert!(SEEN.needs_look());
        assert!(Seen { recheck: true, ..first }.needs_look());
    }

    #[test]
    fn an_attempt_commits_what_it_ended_with_unless_it_was_cancelled() {
        let commit = |outcome: &Outcome, cancelled| on_outcome(outcome.clone(), cancelled, 2);
        let (output, flow) = (Outcome::Output("1".into()), Outcome::Replace("{}".into()));
        assert_eq!(commit(&output, false), Commit::Succeed("1".into()));
        assert_eq!(commit(&flow, false), Commit::Replace("{}".into()));
        let failing = Outcome::Failed(Failure::new(Kind::Trap, "boo"));
        for (outcome, cancelled, expected) in [
            (&failing, false, Kind::Trap),
            (&failing, true, Kind::Cancelled),
            (&output, true, Kind::Cancelled),
            (&flow, true, Kind::Cancelled),
        ] {
            let Commit::Fail(failure) = commit(outcome, cancelled) else { panic!("{outcome:?} must fail") };
            assert_eq!((failure.kind, failure.attempt), (expected, Some(2)), "{outcome:?}");
        }
    }
}

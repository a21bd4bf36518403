//! The life of a task that belongs to no run: its states, its record, and every decision that a host takes about it.
//!
//! The record of a task is one message that is only ever replaced by compare-and-set:
//!
//! ```text
//!   (none) ──▶ Retrying(2) ──▶ Retrying(3) ──▶ ... ──▶ Settled
//!      └──────────────────────────────────────────────────┘
//! ```
//!
//! | the host owns | this module owns |
//! |---|---|
//! | reading the record, writing it, scheduling, acknowledging | which of these is to be done, and what is written |
//!
//! **Invariant:** a settled record is never replaced. **Invariant:** attempt numbers in a task's records only grow.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::signature::Options;
use super::{Failure, HostId, Kind, Outcome, Queue, TaskId, TaskRef, Timestamp, Value};

/// Deliveries of one attempt that were lost before the task ends as `host_lost`: a task that kills four hosts will kill the
/// fifth. Those that a host handed back when it was stopped do not count.
pub const DELIVERIES_MAX: u64 = 4;

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a time; put there by its submitter.
    Scheduled,
    /// Waits for a host; put there by its submitter, or by the mover when it is due.
    Queued,
    /// A host has it.
    Running,
    /// An attempt failed and the next one waits for its time; put there by the host.
    Retrying,
    /// It returned; put there by the host.
    Succeeded,
    /// Its last attempt failed; put there by the host.
    Failed,
    /// Someone cancelled it; put there by the one who did.
    Cancelled,
    /// It was delivered after the time until which it was wanted; put there by the host.
    Expired,
}

impl State {
    /// The word on the wire and on the screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the record of a task says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Attempt `next - 1` failed and attempt `next` is due at `due`.
    Retrying {
        /// The number of the attempt to come.
        next: u32,
        /// When it is due.
        due: Timestamp,
        /// What the last attempt failed with.
        failure: Failure,
        /// The attempts so far, the last one included.
        tried: Vec<Tried>,
    },
    /// The task has ended.
    Settled(Settled),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The end itself.
    pub end: End,
    /// What the last attempt took.
    pub usage: Usage,
}

/// The four ends of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// It returned this.
    Succeeded(Value),
    /// Its last attempt failed with this.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
    /// Nobody took it up in time.
    Expired,
}

impl Record {
    /// The attempts that failed before whatever the record says now.
    #[must_use]
    pub fn tried(&self) -> &[Tried] {
        match self {
            Self::Retrying { tried, .. } => tried,
            Self::Settled(settled) => &settled.usage.tried,
        }
    }
}

impl End {
    /// The state that this end is.
    #[must_use]
    pub const fn state(&self) -> State {
        match self {
            Self::Succeeded(_) => State::Succeeded,
            Self::Failed(_) => State::Failed,
            Self::Cancelled => State::Cancelled,
            Self::Expired => State::Expired,
        }
    }

    /// The failure that a caller sees; `None` for success.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Succeeded(_) => None,
            Self::Failed(failure) => Some(failure.clone()),
            Self::Cancelled => Some(Failure::new(Kind::Cancelled, "the task was cancelled")),
            Self::Expired => Some(Failure::new(Kind::Expired, "no host took the task up in time")),
        }
    }
}

/// What was called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The queue that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What the last attempt of a task took, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The attempt, from 1; 0 where none ran.
    pub attempt: u32,
    /// The delivery of that attempt, from 1; 0 where none ran.
    pub delivery: u64,
    /// The host that ran it.
    pub host: Option<HostId>,
    /// Units of fuel.
    pub fuel: u64,
    /// The most bytes of linear memory at a time.
    pub memory_bytes: u64,
    /// Microseconds in the sandbox.
    pub duration_us: u64,
    /// What was called; records of older hosts do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Box<About>>,
    /// The attempts before it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

/// Attempts that failed before the last one, of which a record tells: the newest ones.
pub const TRIED_MAX: usize = 10;

/// The longest message of an attempt that failed before the last one, in characters.
const TRIED_CHARS_MAX: usize = 200;

/// An attempt that failed and was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its number, from 1.
    pub attempt: u32,
    /// The host that ran it.
    pub host: HostId,
    /// When it failed.
    #[serde(with = "super::time::stamped")]
    pub at: Timestamp,
    /// The kind of its failure.
    pub kind: Kind,
    /// The beginning of its message.
    pub message: String,
}

impl Tried {
    /// The attempts of `earlier`, and the one that failed now.
    #[must_use]
    pub fn and(earlier: &[Self], host: &HostId, at: Timestamp, failure: &Failure) -> Vec<Self> {
        let message = failure.message.chars().take(TRIED_CHARS_MAX).collect();
        let attempt = failure.attempt.unwrap_or_default();
        let now = Self { attempt, host: host.clone(), at, kind: failure.kind, message };
        let left_out = earlier.len().saturating_add(1).saturating_sub(TRIED_MAX);
        earlier.iter().skip(left_out).cloned().chain([now]).collect()
    }
}

/// What a host knows of a delivery from its message alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The attempt that the message asks for, from 1.
    pub attempt: u32,
    /// How often the message has been delivered, from 1.
    pub delivery: u64,
    /// How many of the deliveries before this one were handed back; looked up where [`needs_hand_backs`](Self::needs_hand_backs).
    pub handed_back: u64,
    /// Whether the message is not a first submit.
    pub recheck: bool,
    /// Until when the task may be taken up.
    pub expires: Option<Timestamp>,
    /// When the task must have ended.
    pub timeout_at: Option<Timestamp>,
}

impl Seen {
    /// Whether the record must be read before the task runs. A first delivery of a first submit cannot have one.
    #[must_use]
    pub const fn needs_record(&self) -> bool {
        self.delivery > 1 || self.recheck || self.attempt > 1
    }

    /// Whether it must be known how many deliveries were handed back: it only matters once there were many.
    #[must_use]
    pub const fn needs_hand_backs(&self) -> bool {
        self.delivery > DELIVERIES_MAX
    }

    /// Whether too many hosts were lost with this message.
    const fn is_poison(&self) -> bool {
        self.delivery.saturating_sub(self.handed_back) > DELIVERIES_MAX
    }
}

/// How an attempt stands to the record of its task.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It is the current attempt: what it ends with may be committed.
    Current,
    /// It is over, and a later attempt is due: only that one's schedule may be missing.
    Superseded {
        /// The later attempt.
        next: u32,
        /// When it is due.
        due: Timestamp,
    },
    /// The task has ended.
    Over,
}

/// How attempt number `attempt` stands to the record.
#[must_use]
pub const fn standing(attempt: u32, record: Option<&Record>) -> Standing {
    match record {
        None => Standing::Current,
        Some(Record::Settled(_)) => Standing::Over,
        Some(Record::Retrying { next, due, .. }) if *next > attempt => Standing::Superseded { next: *next, due: *due },
        Some(Record::Retrying { .. }) => Standing::Current,
    }
}

/// What a host does with a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Run the attempt.
    Run,
    /// Commit this end without running.
    Settle(End),
    /// Publish the schedule of the later attempt again, and acknowledge.
    Reschedule {
        /// The later attempt.
        next: u32,
        /// When it is due.
        due: Timestamp,
    },
    /// Acknowledge: there is nothing left to do.
    Drop,
}

/// What to do with a delivery, given the record (where [`Seen::needs_record`] asked for it).
#[must_use]
pub fn on_delivery(seen: &Seen, record: Option<&Record>, now: Timestamp) -> Verdict {
    match standing(seen.attempt, record) {
        Standing::Over => Verdict::Drop,
        Standing::Superseded { next, due } => Verdict::Reschedule { next, due },
        Standing::Current if seen.is_poison() => {
            let message = format!("{DELIVERIES_MAX} hosts were lost while they ran this task");
            let mut failure = Failure::new(Kind::HostLost, message);
            failure.attempt = Some(seen.attempt);
            Verdict::Settle(End::Failed(failure))
        }
        Standing::Current if seen.expires.is_some_and(|expires| expires < now) => Verdict::Settle(End::Expired),
        Standing::Current if is_over(seen.timeout_at, now) => Verdict::Settle(End::Failed(overdue(record))),
        Standing::Current => Verdict::Run,
    }
}

fn is_over(timeout_at: Option<Timestamp>, now: Timestamp) -> bool {
    timeout_at.is_some_and(|end| end <= now)
}

/// The failure of a task whose time was over before its next attempt; it says what the last one failed with.
fn overdue(record: Option<&Record>) -> Failure {
    match record {
        Some(Record::Retrying { failure, .. }) => {
            let message = format!("the task's time was over before its next attempt, the last failed with {failure}");
            Failure { attempt: failure.attempt, ..Failure::new(Kind::Timeout, message) }
        }
        Some(Record::Settled(_)) | None => Failure::new(Kind::Timeout, "the task's time was over before it ran"),
    }
}

/// What a host commits after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Commit {
    /// The task ends with this output.
    Succeed(bytes::Bytes),
    /// The task ends so.
    Settle(End),
    /// Another attempt follows.
    Retry {
        /// Its number.
        next: u32,
        /// When it is due.
        due: Timestamp,
        /// What this attempt failed with.
        failure: Failure,
    },
}

/// What to commit when attempt number `attempt` of a task ended with `outcome`. No attempt follows that would be due when the
/// task must have ended.
#[must_use]
pub fn on_outcome(outcome: Outcome, options: &Options, id: &TaskId, attempt: u32, now: Timestamp) -> Commit {
    let mut failure = match outcome {
        Outcome::Output(output) => return Commit::Succeed(output),
        Outcome::Replace(_) => Failure::new(Kind::BadFlow, "a flow was handed back, which only a task of a run may do"),
        Outcome::Failed(failure) => failure,
    };
    failure.attempt = Some(attempt);
    if failure.kind == Kind::Cancelled {
        return Commit::Settle(End::Cancelled);
    }
    if failure.kind == Kind::Deadline && is_over(options.timeout_at, now) {
        let message = format!("attempt {attempt} still ran when the task's time was over");
        let failure = Failure { attempt: Some(attempt), ..Failure::new(Kind::Timeout, message) };
        return Commit::Settle(End::Failed(failure));
    }
    let due = options.retry.wait_after(&failure, id.as_str(), attempt).map(|wait| now.after(wait));
    match due.filter(|due| !is_over(options.timeout_at, *due)) {
        Some(due) => Commit::Retry { next: attempt.saturating_add(1), due, failure },
        None => Commit::Settle(End::Failed(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Policy;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn seen(attempt: u32, delivery: u64) -> Seen {
        Seen { attempt, delivery, handed_back: 0, recheck: attempt > 1, expires: None, timeout_at: None }
    }

    fn retrying(next: u32) -> Record {
        Record::Retrying {
            next,
            due: Timestamp::from_millis(5_000),
            failure: Failure::new(Kind::Returned, "no"),
            tried: Vec::new(),
        }
    }

    fn three_attempts() -> Options {
        Options { retry: Policy { attempts: 3, jitter: false, ..Policy::default() }, ..Options::default() }
    }

    fn settled() -> Record {
        Record::Settled(Settled { end: End::Cancelled, usage: Usage::default() })
    }

    #[test]
    fn every_attempt_meets_every_record() {
        let due = Timestamp::from_millis(5_000);
        let later = |next| Verdict::Reschedule { next, due };
        let table: [(Seen, Option<Record>, Verdict); 8] = [
            (seen(1, 1), None, Verdict::Run),
            (seen(1, 2), None, Verdict::Run),
            (seen(1, 2), Some(retrying(2)), later(2)),
            (seen(1, 1), Some(settled()), Verdict::Drop),
            (seen(2, 1), Some(retrying(2)), Verdict::Run),
            (seen(2, 3), Some(retrying(3)), later(3)),
            (seen(3, 1), Some(retrying(2)), Verdict::Run),
            (seen(2, 9), Some(settled()), Verdict::Drop),
        ];
        for (seen, record, verdict) in table {
            assert_eq!(on_delivery(&seen, record.as_ref(), NOW), verdict, "{seen:?} {record:?}");
        }
    }

    #[test]
    fn a_task_that_loses_its_hosts_ends() {
        let Verdict::Settle(End::Failed(failure)) = on_delivery(&seen(1, DELIVERIES_MAX + 1), None, NOW) else {
            panic!("it must end")
        };
        assert_eq!((failure.kind, failure.attempt), (Kind::HostLost, Some(1)));
    }

    #[test]
    fn what_was_handed_back_is_not_lost() {
        for (handed_back, lost) in [(0, true), (1, true), (2, false), (DELIVERIES_MAX + 1, false), (u64::MAX, false)] {
            let seen = Seen { handed_back, ..seen(1, DELIVERIES_MAX + 2) };
            assert!(seen.needs_hand_backs());
            assert_eq!(on_delivery(&seen, None, NOW) != Verdict::Run, lost, "{handed_back}");
        }
        assert!(!seen(1, DELIVERIES_MAX).needs_hand_backs());
    }

    #[test]
    fn a_late_task_expires_unless_it_is_over_or_superseded() {
        let late = Seen { expires: Some(Timestamp::from_millis(999)), ..seen(1, 1) };
        assert_eq!(on_delivery(&late, None, NOW), Verdict::Settle(End::Expired));
        assert_eq!(on_delivery(&late, Some(&settled()), NOW), Verdict::Drop);
        let in_time = Seen { expires: Some(NOW), ..seen(1, 1) };
        assert_eq!(on_delivery(&in_time, None, NOW), Verdict::Run);
    }

    #[test]
    fn only_a_first_delivery_of_a_first_submit_runs_unseen() {
        assert!(!seen(1, 1).needs_record());
        assert!(seen(1, 2).needs_record());
        assert!(seen(2, 1).needs_record());
        assert!(Seen { recheck: true, ..seen(1, 1) }.needs_record());
    }

    #[test]
    fn attempts_are_counted_exactly_and_end() {
        let (id, options) = ("t".parse().unwrap(), three_attempts());
        let fail =
            |attempt| on_outcome(Outcome::Failed(Failure::new(Kind::Returned, "no")), &options, &id, attempt, NOW);
        let Commit::Retry { next: 2, due, .. } = fail(1) else { panic!("a second attempt follows") };
        assert_eq!(due, NOW.after(std::time::Duration::from_secs(1)));
        assert!(matches!(fail(2), Commit::Retry { next: 3, .. }));
        let Commit::Settle(End::Failed(failure)) = fail(3) else { panic!("the third attempt was the last") };
        assert_eq!(failure.attempt, Some(3));
    }

    #[test]
    fn a_task_whose_time_is_over_fails_with_what_is_known() {
        let over = Seen { timeout_at: Some(NOW), ..seen(1, 1) };
        let message = |record: Option<Record>, seen: &Seen| {
            let verdict = on_delivery(seen, record.as_ref(), NOW);
            let Verdict::Settle(End::Failed(failure)) = verdict else { panic!("{verdict:?}") };
            assert_eq!(failure.kind, Kind::Timeout);
            (failure.message, failure.attempt)
        };
        assert_eq!(message(None, &over), ("the task's time was over before it ran".to_owned(), None));
        let mut failure = Failure::new(Kind::Returned, "no");
        failure.attempt = Some(1);
        let second = Seen { timeout_at: Some(NOW), ..seen(2, 1) };
        let record = Record::Retrying { next: 2, due: NOW, failure, tried: Vec::new() };
        let told = "the task's time was over before its next attempt, the last failed with returned: no";
        assert_eq!(message(Some(record), &second), (told.to_owned(), Some(1)));
        assert_eq!(on_delivery(&over, Some(&settled()), NOW), Verdict::Drop);
        let in_time = Seen { timeout_at: Some(Timestamp::from_millis(1_001)), ..seen(1, 1) };
        assert_eq!(on_delivery(&in_time, None, NOW), Verdict::Run);
        // Nobody took it up in time, and its time is over: the first says more.
        let both = Seen { expires: Some(Timestamp::default()), ..over };
        assert_eq!(on_delivery(&both, None, NOW), Verdict::Settle(End::Expired));
    }

    #[test]
    fn no_attempt_follows_when_the_task_must_have_ended() {
        let id = "t".parse().unwrap();
        let end = |kind, timeout_at: i64| {
            let options = Options { timeout_at: Some(Timestamp::from_millis(timeout_at)), ..three_attempts() };
            on_outcome(Outcome::Failed(Failure::new(kind, "no")), &options, &id, 1, NOW)
        };
        // The second attempt is due a second after the first.
        assert!(matches!(end(Kind::Returned, 2_001), Commit::Retry { next: 2, .. }));
        assert!(matches!(end(Kind::Deadline, 2_001), Commit::Retry { next: 2, .. }));
        for (kind, timeout_at, told) in [
            (Kind::Returned, 2_000, Kind::Returned),
            (Kind::Deadline, 2_000, Kind::Deadline),
            (Kind::Returned, 1_000, Kind::Returned),
            (Kind::Deadline, 1_000, Kind::Timeout),
        ] {
            let Commit::Settle(End::Failed(failure)) = end(kind, timeout_at) else { panic!("it was the last") };
            assert_eq!((failure.kind, failure.attempt), (told, Some(1)), "{kind} {timeout_at}");
        }
    }

    #[test]
    fn the_newest_attempts_are_told_briefly() {
        let host = "h1".parse().unwrap();
        let failed = |attempt| Failure { attempt: Some(attempt), ..Failure::new(Kind::Trap, "ü".repeat(500)) };
        let mut tried = Vec::new();
        for attempt in 1..=12 {
            tried = Tried::and(&tried, &host, Timestamp::from_millis(attempt.into()), &failed(attempt));
        }
        assert_eq!(tried.iter().map(|tried| tried.attempt).collect::<Vec<_>>(), Vec::from_iter(3..=12));
        let Tried { at, kind, message, .. } = &tried[9];
        assert_eq!((*at, *kind, message.as_str()), (Timestamp::from_millis(12), Kind::Trap, &*"ü".repeat(200)));
        let record = Record::Retrying { next: 13, due: NOW, failure: failed(12), tried: tried.clone() };
        assert_eq!(record.tried(), tried);
    }

    #[test]
    fn a_flow_outside_a_run_is_bad() {
        let commit = on_outcome(Outcome::Replace("{}".into()), &Options::default(), &"t".parse().unwrap(), 1, NOW);
        let Commit::Settle(End::Failed(failure)) = commit else { panic!("it must fail") };
        assert_eq!(failure.kind, Kind::BadFlow);
    }

    #[test]
    fn an_interrupted_attempt_of_a_cancelled_task_is_cancelled() {
        let outcome = Outcome::Failed(Failure::new(Kind::Cancelled, "interrupted"));
        let commit = on_outcome(outcome, &Options::default(), &"t".parse().unwrap(), 1, NOW);
        assert_eq!(commit, Commit::Settle(End::Cancelled));
    }
}

//! Schedules: what starts again and again, and when. The rules, how far one is, and every decision about it; no clock and no IO.

pub mod calendar;
mod turn;

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::written;
use super::{RunId, ScheduleName, Tenant, Timestamp, Word};
pub use calendar::{Calendar, Unfit, When};
pub use turn::{Course, Turn};

/// How late a slot may still start when nobody says otherwise: longer than any restart, shorter than most intervals.
pub const CATCH_UP_DEFAULT: Duration = Duration::from_secs(600);

/// Starts that a schedule remembers, the latest of them.
pub const RECENT_MAX: usize = 20;

/// Starts that wait in a schedule: a backfill of more is done in parts.
pub const WAITING_MAX: usize = 1_000;

/// What happens when a start is due while an earlier one has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The new one is left out.
    #[default]
    Skip,
    /// One waits for the end of the other; more are left out.
    Queue,
    /// They run beside each other.
    Allow,
    /// The earlier one is cancelled, and the new one starts when it has ended.
    Cancel,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Allow => "allow",
            Self::Cancel => "cancel",
        })
    }
}

impl FromStr for Overlap {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "skip" => Ok(Self::Skip),
            "queue" => Ok(Self::Queue),
            "allow" => Ok(Self::Allow),
            "cancel" => Ok(Self::Cancel),
            _ => Err("it takes skip, queue, allow or cancel"),
        }
    }
}

/// When a schedule starts something, and when it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Its slots.
    pub when: When,
    /// What happens when the start before has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// How late a slot may still start.
    #[serde(with = "written")]
    pub catch_up: Duration,
    /// Each slot starts up to this much later, by a delay that is always the same for the slot.
    #[serde(default, with = "written", skip_serializing_if = "Duration::is_zero")]
    pub jitter: Duration,
    /// No slot behind this time counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// That a schedule was paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paused {
    /// When.
    pub since: Timestamp,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Why something starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It was time.
    Slot,
    /// Somebody asked for it now.
    Trigger(Word),
    /// Somebody asked for a slot of the past.
    Backfill(Word),
}

/// One start: what tells it from all others of its schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The time that it stands for.
    pub at: Timestamp,
    /// Why it starts.
    pub cause: Cause,
}

impl Slot {
    /// The id of the task or run that it starts, always the same: derived from the schedule and the slot.
    #[must_use]
    pub fn id(&self, tenant: &Tenant, schedule: &ScheduleName, life: &Word) -> RunId {
        let (cause, ask) = match &self.cause {
            Cause::Slot => ("slot", ""),
            Cause::Trigger(ask) => ("trigger", ask.as_str()),
            Cause::Backfill(ask) => ("backfill", ask.as_str()),
        };
        let at = self.at.as_millis().to_string();
        RunId::derived(&["schedule", tenant.as_str(), schedule.as_str(), life.as_str(), cause, ask, &at])
    }
}

/// A start that waits for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which.
    pub slot: Slot,
    /// What happens when it is its turn and an earlier one has not ended.
    pub overlap: Overlap,
}

/// A start that was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Which.
    pub slot: Slot,
    /// When that was decided.
    pub decided: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far a start is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is to be submitted: the decision is written, and may be carried out more than once.
    Begin,
    /// It was submitted, and is not known to have ended.
    Open,
    /// It is to be cancelled, for a later one.
    Cancel,
    /// It was cancelled, and may still compensate: the later one waits for its end.
    Cancelling,
    /// It has ended.
    Ended,
    /// It could not be submitted, for this reason.
    Refused(String),
}

/// How far a schedule is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Every slot up to this time is decided.
    pub decided: Timestamp,
    /// Starts that wait, in their order.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub waiting: VecDeque<Waiting>,
    /// The latest starts, the last one last.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub recent: VecDeque<Begun>,
    /// How many there were.
    #[serde(default)]
    pub started: u64,
    /// Starts that were left out because an earlier one had not ended.
    #[serde(default)]
    pub skipped: u64,
    /// Slots that were over for longer than the catch-up window when they were seen; of many at once, the first thousand count.
    #[serde(default)]
    pub missed: u64,
}

impl Progress {
    /// That of a schedule whose first slot comes after `decided`.
    #[must_use]
    pub fn new(decided: Timestamp) -> Self {
        Self { decided, waiting: VecDeque::new(), recent: VecDeque::new(), started: 0, skipped: 0, missed: 0 }
    }

    /// Whether a start is under way, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.recent
            .iter()
            .any(|begun| matches!(begun.stage, Stage::Begin | Stage::Open | Stage::Cancel | Stage::Cancelling))
    }

    /// Whether something was decided that is not carried out yet.
    #[must_use]
    pub fn is_to_do(&self) -> bool {
        self.recent.iter().any(|begun| matches!(begun.stage, Stage::Begin | Stage::Cancel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_start_follows_from_all_that_tells_it_apart() {
        let slot = |at, cause| Slot { at: Timestamp::from_millis(at), cause };
        let id = |tenant: &str, name: &str, life: &str, slot: Slot| {
            slot.id(&tenant.parse().unwrap(), &name.parse().unwrap(), &life.parse().unwrap())
        };
        let one = id("t", "s", "1", slot(5, Cause::Slot));
        assert_eq!(one, id("t", "s", "1", slot(5, Cause::Slot)));
        let word = |text: &str| text.parse().unwrap();
        let others = [
            id("u", "s", "1", slot(5, Cause::Slot)),
            id("t", "r", "1", slot(5, Cause::Slot)),
            id("t", "s", "2", slot(5, Cause::Slot)),
            id("t", "s", "1", slot(6, Cause::Slot)),
            id("t", "s", "1", slot(5, Cause::Trigger(word("a")))),
            id("t", "s", "1", slot(5, Cause::Backfill(word("a")))),
            id("t", "s", "1", slot(5, Cause::Backfill(word("b")))),
            one,
        ];
        let different: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(different.len(), others.len());
    }

    #[test]
    fn policies_read_back() {
        for policy in [Overlap::Skip, Overlap::Queue, Overlap::Allow, Overlap::Cancel] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert!("both".parse::<Overlap>().unwrap_err().contains("skip, queue"));
    }
}

//! The identity of a timer: its step and what it is for.

use std::fmt;
use std::str::FromStr;

use crate::model::StepId;

/// A timer of a run. Two timers with the same identity are the same timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    /// The step; the root for those of the run itself.
    pub step: StepId,
    /// What it is for.
    pub purpose: Purpose,
    /// The run's retries before it: a timer of an earlier life is none of this one.
    pub generation: u32,
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Attempt so-and-so of a task with a `delay` is dispatched.
    Delay(u32),
    /// Attempt so-and-so follows a failed one.
    Backoff(u32),
    /// Attempt so-and-so was not taken up in time.
    Expires(u32),
    /// The node's `timeout` is over.
    Timeout,
    /// The node's `sleep` is over.
    Sleep,
    /// Iteration so-and-so of a poll begins.
    Poll(u32),
    /// Attempt so-and-so of a cancelled step with a compensation is not awaited any longer.
    Drain(u32),
    /// Look whether anything was lost.
    Watchdog(u32),
    /// A full queue may have room again.
    Room(u64),
}

impl fmt::Display for TimerId {
    /// The two tokens of its subject: `<step>.<purpose>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.", self.step)?;
        match self.purpose {
            Purpose::Delay(attempt) => write!(f, "delay{attempt}"),
            Purpose::Backoff(attempt) => write!(f, "backoff{attempt}"),
            Purpose::Expires(attempt) => write!(f, "expires{attempt}"),
            Purpose::Timeout => write!(f, "timeout0"),
            Purpose::Sleep => write!(f, "sleep0"),
            Purpose::Poll(iteration) => write!(f, "poll{iteration}"),
            Purpose::Drain(attempt) => write!(f, "drain{attempt}"),
            Purpose::Watchdog(number) => write!(f, "watchdog{number}"),
            Purpose::Room(number) => write!(f, "room{number}"),
        }?;
        if self.generation > 0 { write!(f, "-{}", self.generation) } else { Ok(()) }
    }
}

/// A text that names no timer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no timer")]
pub struct InvalidTimer(pub String);

impl FromStr for TimerId {
    type Err = InvalidTimer;

    fn from_str(text: &str) -> Result<Self, InvalidTimer> {
        let invalid = || InvalidTimer(text.chars().take(80).collect());
        let (step, rest) = text.split_once('.').ok_or_else(invalid)?;
        let (purpose, generation) = match rest.split_once('-') {
            Some((purpose, generation)) => (purpose, generation.parse().map_err(|_| invalid())?),
            None => (rest, 0),
        };
        let digits = purpose.find(|c: char| c.is_ascii_digit()).ok_or_else(invalid)?;
        let (word, number) = purpose.split_at(digits);
        let long: u64 = number.parse().map_err(|_| invalid())?;
        let short = || u32::try_from(long).map_err(|_| invalid());
        let purpose = match word {
            "delay" => Purpose::Delay(short()?),
            "backoff" => Purpose::Backoff(short()?),
            "expires" => Purpose::Expires(short()?),
            "timeout" => Purpose::Timeout,
            "sleep" => Purpose::Sleep,
            "poll" => Purpose::Poll(short()?),
            "drain" => Purpose::Drain(short()?),
            "watchdog" => Purpose::Watchdog(short()?),
            "room" => Purpose::Room(long),
            _ => return Err(invalid()),
        };
        let timer = Self { step: step.parse().map_err(|_| invalid())?, purpose, generation };
        // One text for each timer: `sleep7` would be a second name of `sleep0`.
        if timer.to_string() == text { Ok(timer) } else { Err(invalid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_reads_back_from_its_one_text() {
        for purpose in [
            Purpose::Delay(1),
            Purpose::Backoff(2),
            Purpose::Expires(1),
            Purpose::Timeout,
            Purpose::Sleep,
            Purpose::Poll(30),
            Purpose::Drain(4),
            Purpose::Watchdog(1),
            Purpose::Room(u64::MAX),
        ] {
            for generation in [0, 2] {
                let timer = TimerId { step: StepId::root().child(1), purpose, generation };
                assert_eq!(timer.to_string().parse(), Ok(timer.clone()), "{timer}");
            }
        }
        for bad in
            ["", "0", "0.", "0.sleep", "0.sleep7", "0.sleep0-0", "0.nap0", "0.poll-1", "x.sleep0", "0.poll99999999999"]
        {
            assert!(bad.parse::<TimerId>().is_err(), "{bad}");
        }
    }
}

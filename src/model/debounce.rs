//! Debounces: calls of a task, or of those with the same key, that follow each other within a period become one task with the last
//! input.
//!
//! ```text
//!   call 1 ─┐      call 2 ─┐     call 3 ──── period ────▶ one task, with the input of call 3
//!           └ < period     └ < period
//!   call 1 ────────────────── timeout ───────────────────▶ at the latest
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::{Timestamp, format_duration, written};

/// The shortest period: the broker's timers are a third of a second late.
pub const PERIOD_MIN: Duration = Duration::from_secs(1);

/// The longest period.
pub const PERIOD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest timeout.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// A period or timeout that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The period is too short or too long.
    #[error("invalid period {0} of a debounce: it takes 1s to 7d")]
    Period(String),
    /// The timeout is shorter than the period, or too long.
    #[error("invalid timeout {0} of a debounce: it takes its period to 30d")]
    Timeout(String),
}

/// When gathered calls become a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// So long after the last call.
    pub period: Duration,
    /// So long after the first call at the latest; without it, calls that never pause never become a task.
    pub timeout: Option<Duration>,
}

impl Timing {
    /// The timing, if it is within its bounds.
    ///
    /// # Errors
    /// What is wrong, and what it takes.
    pub fn checked(self) -> Result<Self, Unfit> {
        if !(PERIOD_MIN..=PERIOD_MAX).contains(&self.period) {
            return Err(Unfit::Period(format_duration(self.period)));
        }
        match self.timeout {
            Some(timeout) if !(self.period..=TIMEOUT_MAX).contains(&timeout) => {
                Err(Unfit::Timeout(format_duration(timeout)))
            }
            Some(_) | None => Ok(self),
        }
    }
}

/// The debounce that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debounce {
    /// Calls of the task with the same key are gathered; without one, all calls are.
    pub key: Option<String>,
    /// When they become a task.
    pub timing: Timing,
}

/// The debounce that a module declares for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// A template over the input: only calls with the same key are gathered. Without one, all calls are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// So long after the last call.
    #[serde(with = "written")]
    pub period: Duration,
    /// So long after the first call at the latest.
    #[serde(default, with = "maybe_written", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Declared {
    /// When gathered calls become a task.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        Timing { period: self.period, timeout: self.timeout }
    }
}

/// Calls that are gathered, as the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// When the first of them was made.
    pub first: Timestamp,
    /// When they become a task.
    pub due: Timestamp,
    /// Whether they are on their way to their queue: no more call joins them.
    pub going: bool,
}

impl Gathered {
    /// The first call.
    #[must_use]
    pub fn begin(now: Timestamp, timing: Timing) -> Self {
        Self { first: now, due: due(now, now, timing), going: false }
    }

    /// The same with one more call, which may be made by a clock that is behind.
    #[must_use]
    pub fn join(self, now: Timestamp, timing: Timing) -> Self {
        Self { due: due(self.first, now, timing), ..self }
    }
}

fn due(first: Timestamp, now: Timestamp, Timing { period, timeout }: Timing) -> Timestamp {
    let quiet = now.after(period);
    timeout.map_or(quiet, |timeout| quiet.min(first.after(timeout)))
}

mod maybe_written {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::written;

    #[derive(Deserialize)]
    struct Text(#[serde(with = "written")] Duration);

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => written::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Text>::deserialize(deserializer)?.map(|Text(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timing(period: u64, timeout: Option<u64>) -> Timing {
        Timing { period: Duration::from_secs(period), timeout: timeout.map(Duration::from_secs) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn each_call_puts_the_task_off_until_the_timeout() {
        let timing = timing(10, Some(25));
        let mut gathered = Gathered::begin(at(0), timing);
        let mut dues = vec![gathered.due];
        for now in [4, 12, 19, 24] {
            gathered = gathered.join(at(now), timing);
            dues.push(gathered.due);
        }
        assert_eq!(dues, [at(10), at(14), at(22), at(25), at(25)]);
        assert_eq!(gathered.first, at(0));
    }

    #[test]
    fn periods_and_timeouts_have_bounds() {
        assert_eq!(timing(1, Some(1)).checked(), Ok(timing(1, Some(1))));
        assert_eq!(timing(604_800, None).checked(), Ok(timing(604_800, None)));
        for (wrong, words) in [
            (timing(0, None), "it takes 1s to 7d"),
            (timing(604_801, None), "it takes 1s to 7d"),
            (timing(10, Some(9)), "it takes its period to 30d"),
            (timing(10, Some(2_592_001)), "it takes its period to 30d"),
        ] {
            let error = wrong.checked().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_declaration_is_written_as_people_do() {
        let declared = Declared {
            key: Some("${input.doc}".into()),
            period: Duration::from_secs(90),
            timeout: Some(Duration::from_secs(600)),
        };
        let golden = r#"{"key":"${input.doc}","period":"1m30s","timeout":"10m"}"#;
        assert_eq!(serde_json::to_string(&declared).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Declared>(golden).unwrap(), declared);
        let least: Declared = serde_json::from_str(r#"{"period":"2s"}"#).unwrap();
        assert_eq!((least.key, least.timeout), (None, None));
        for bad in ["{}", r#"{"period":2}"#, r#"{"period":"2s","timeout":"soon"}"#, r#"{"period":"2s","mode":"last"}"#]
        {
            assert!(serde_json::from_str::<Declared>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_task_comes_a_period_after_the_last_call_or_a_timeout_after_the_first(
            period in 1_u64..100, more in 0_u64..200, timed in any::<bool>(), calls in prop::collection::vec(0_i64..80, 1..20),
        ) {
            let timing = timing(period, timed.then_some(period + more)).checked().unwrap();
            let mut now = 0;
            let mut gathered = Gathered::begin(at(now), timing);
            for pause in calls {
                now += pause;
                gathered = gathered.join(at(now), timing);
                prop_assert!(gathered.due <= at(now).after(timing.period));
                if let Some(timeout) = timing.timeout {
                    prop_assert!(gathered.due <= at(0).after(timeout));
                } else {
                    prop_assert_eq!(gathered.due, at(now).after(timing.period));
                }
            }
        }
    }
}

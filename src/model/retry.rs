//! Retry policies: how often, after how long, and for which failures.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::outcome::{Failure, Kind, RetryClass};
use super::time::{DURATION_MAX, written};

/// The most attempts that a policy may ask for.
pub const ATTEMPTS_MAX: u32 = 1_000;

/// A retry policy. Written as a number of attempts or as a map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Attempts in all, the first included; 1 is "never again".
    pub attempts: u32,
    /// The wait before the second attempt.
    #[serde(with = "written")]
    pub backoff: Duration,
    /// How much longer each following wait is.
    pub factor: f64,
    /// The longest wait.
    #[serde(with = "written")]
    pub max: Duration,
    /// Whether waits vary between half and the whole of themselves, by the task's id.
    pub jitter: bool,
    /// The kinds that are retried; empty means those of [`RetryClass::Retry`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Kind>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(600),
            jitter: true,
            on: Vec::new(),
        }
    }
}

impl Policy {
    /// A policy of `attempts` attempts, else the default.
    #[must_use]
    pub fn of_attempts(attempts: u32) -> Self {
        Self { attempts: attempts.clamp(1, ATTEMPTS_MAX), ..Self::default() }
    }

    /// How long to wait after attempt number `attempt` (from 1) failed with `failure`; `None` if it was the last.
    ///
    /// Jitter comes from the id of the task or step and the attempt, so that two hosts that decide the same say the same.
    #[must_use]
    pub fn wait_after(&self, failure: &Failure, id: &str, attempt: u32) -> Option<Duration> {
        if attempt >= self.attempts || !self.covers(failure.kind) {
            return None;
        }
        if let Some(asked) = failure.retry_after_ms {
            return Some(Duration::from_millis(asked).min(DURATION_MAX));
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // A finite factor: nothing times infinity would be no number, and no back-off the longest one.
        let grown = self.backoff.as_secs_f64() * self.factor.powi(exponent).min(f64::MAX);
        let wait = Duration::try_from_secs_f64(grown).unwrap_or(self.max).min(self.max);
        Some(if self.jitter { wait.mul_f64(0.5 + 0.5 * fraction(id, attempt)) } else { wait })
    }

    fn covers(&self, kind: Kind) -> bool {
        if self.on.is_empty() { kind.retry_class() == RetryClass::Retry } else { self.on.contains(&kind) }
    }
}

/// A number in [0, 1) that is the same for the same id and attempt.
fn fraction(id: &str, attempt: u32) -> f64 {
    let hash = Sha256::new().chain_update(id).chain_update(attempt.to_le_bytes()).finalize();
    let bits = hash.iter().take(4).fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte));
    f64::from(bits) / 4_294_967_296.0
}

/// Reads the two written forms. A list of values by position, which serde would take for a map, is none of them.
struct Forms;

impl<'de> Visitor<'de> for Forms {
    type Value = Policy;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number of attempts or a map")
    }

    fn visit_u64<E: Error>(self, attempts: u64) -> Result<Policy, E> {
        let attempts = u32::try_from(attempts).map_err(E::custom)?;
        Ok(Policy { attempts, ..Policy::default() })
    }

    fn visit_i64<E: Error>(self, attempts: i64) -> Result<Policy, E> {
        self.visit_u64(u64::try_from(attempts).map_err(E::custom)?)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Policy, A::Error> {
        let written = WrittenPolicy::deserialize(MapAccessDeserializer::new(map))?;
        let WrittenPolicy { attempts, backoff, factor, max, jitter, on } = written;
        Ok(Policy { attempts, backoff, factor, max, jitter, on })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenPolicy {
    attempts: u32,
    #[serde(with = "written")]
    backoff: Duration,
    factor: f64,
    #[serde(with = "written")]
    max: Duration,
    jitter: bool,
    on: Vec<Kind>,
}

impl Default for WrittenPolicy {
    fn default() -> Self {
        let Policy { attempts, backoff, factor, max, jitter, on } = Policy::default();
        Self { attempts, backoff, factor, max, jitter, on }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let policy = deserializer.deserialize_any(Forms).map_err(|_| {
            D::Error::custom(
                "a retry policy is a number of attempts, or a map of attempts, backoff, factor, max, jitter and on",
            )
        })?;
        if !(1..=ATTEMPTS_MAX).contains(&policy.attempts) {
            return Err(D::Error::custom("attempts must be from 1 to 1000"));
        }
        if !(1.0..=100.0).contains(&policy.factor) {
            return Err(D::Error::custom("factor must be from 1 to 100"));
        }
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> &'static str {
        "t1"
    }

    fn plain() -> Policy {
        Policy { attempts: 5, jitter: false, max: Duration::from_secs(3), ..Policy::default() }
    }

    #[test]
    fn waits_grow_to_the_cap_and_end() {
        let failure = Failure::new(Kind::Returned, "no");
        let waits: Vec<Option<u64>> =
            (1..=5).map(|n| plain().wait_after(&failure, id(), n).map(|w| w.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(3), Some(3), None]);
    }

    #[test]
    fn only_kinds_that_may_fare_better_are_retried() {
        let policy = plain();
        assert!(policy.wait_after(&Failure::new(Kind::OutOfFuel, ""), id(), 1).is_none());
        let listed = Policy { on: vec![Kind::OutOfFuel], ..plain() };
        assert!(listed.wait_after(&Failure::new(Kind::OutOfFuel, ""), id(), 1).is_some());
        assert!(listed.wait_after(&Failure::new(Kind::Returned, ""), id(), 1).is_none());
    }

    #[test]
    fn a_guest_may_ask_for_its_own_wait() {
        let failure = Failure::new(Kind::Returned, "busy").after(Duration::from_millis(70));
        assert_eq!(plain().wait_after(&failure, id(), 1), Some(Duration::from_millis(70)));
    }

    #[test]
    fn jitter_is_derived_and_stays_within_half() {
        let policy = Policy { jitter: true, ..plain() };
        let failure = Failure::new(Kind::Returned, "no");
        let wait = policy.wait_after(&failure, id(), 1).unwrap();
        assert_eq!(policy.wait_after(&failure, id(), 1), Some(wait));
        assert!((500..=1000).contains(&wait.as_millis()));
    }

    #[test]
    fn policies_are_written_as_a_number_or_a_map() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        assert_eq!(read("4").unwrap(), Policy::of_attempts(4));
        assert_eq!(read(r#"{"attempts":2,"backoff":"10ms"}"#).unwrap().backoff, Duration::from_millis(10));
        for bad in ["0", "1001", r#"{"tries":2}"#, r#"{"factor":0.5}"#, r#"{"backoff":"soon"}"#, "\"3\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}

//! Rates as a virtual time (the generic cell rate algorithm of ATM networks): one number says all about the past.
//!
//! The number is when the next start is due if all starts were evenly spread. A start moves it on by one interval; it may run
//! ahead of the clock by a tolerance, which is the burst.
//!
//! **Invariant:** in any time `w`, at most `burst + w / interval` tasks start that did not wait, and at most
//! `burst + (w + LATENESS) / interval` in all.

use std::time::Duration;

use super::Rule;
use crate::model::Timestamp;

/// How late the broker's timers are: tasks that waited come in bunches of so much time, and may start so much early for it.
pub const LATENESS: Duration = Duration::from_millis(300);

/// A rate and how far it may run ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    interval_us: i64,
    tolerance_us: i64,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn clock(now: Timestamp) -> i64 {
    now.as_millis().saturating_mul(1_000)
}

impl Bucket {
    /// The bucket of a rule; `None` where it has no rate. Those that `waited` may start a little early.
    #[must_use]
    pub fn of(rule: &Rule, waited: bool) -> Option<Self> {
        // Rounded up: a rate is never passed, by however little.
        let interval_us = micros(rule.rate?.interval().saturating_add(Duration::from_nanos(999))).max(1);
        let burst = i64::from(rule.burst.unwrap_or(1).saturating_sub(1));
        let lateness = if waited { micros(LATENESS) } else { 0 };
        Some(Self { interval_us, tolerance_us: interval_us.saturating_mul(burst).saturating_add(lateness) })
    }

    /// The virtual time after a start now.
    ///
    /// # Errors
    /// When a start may be, if not now.
    pub fn start(&self, virtual_us: i64, now: Timestamp) -> Result<i64, Timestamp> {
        let now_us = clock(now);
        let early = virtual_us.saturating_sub(self.tolerance_us);
        if early > now_us {
            return Err(ceiling(early));
        }
        Ok(virtual_us.max(now_us).saturating_add(self.interval_us))
    }

    /// How many may start now, at once.
    #[must_use]
    pub fn room(&self, virtual_us: i64, now: Timestamp) -> usize {
        let ahead = virtual_us.max(clock(now)).saturating_sub(clock(now));
        let left = self.tolerance_us.saturating_sub(ahead);
        if left < 0 { 0 } else { usize::try_from(left / self.interval_us).unwrap_or(usize::MAX).saturating_add(1) }
    }

    /// When one more may start, if `others` start now.
    #[must_use]
    pub fn next(&self, virtual_us: i64, others: usize, now: Timestamp) -> Timestamp {
        let others = self.interval_us.saturating_mul(i64::try_from(others).unwrap_or(i64::MAX));
        ceiling(virtual_us.max(clock(now)).saturating_add(others).saturating_sub(self.tolerance_us)).max(now)
    }
}

/// The first millisecond that is not before.
fn ceiling(micros: i64) -> Timestamp {
    Timestamp::from_millis(micros.saturating_add(999).div_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(rate: &str, burst: u32) -> Rule {
        Rule { rate: Some(rate.parse().unwrap()), burst: Some(burst), concurrency: None }
    }

    #[test]
    fn starts_are_evenly_spread_after_the_burst() {
        let bucket = Bucket::of(&rule("10/s", 3), false).unwrap();
        let mut virtual_us = 0;
        for (now, start) in [
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Ok(())),
            (1_000, Err(1_100)),
            (1_099, Err(1_100)),
            (1_100, Ok(())),
        ] {
            let result = bucket.start(virtual_us, Timestamp::from_millis(now));
            virtual_us = result.unwrap_or(virtual_us);
            assert_eq!(result.map(drop).map_err(Timestamp::as_millis), start, "{now}");
        }
        assert_eq!(bucket.room(virtual_us, Timestamp::from_millis(1_100)), 0);
        assert_eq!(bucket.room(virtual_us, Timestamp::from_millis(9_000)), 3);
        assert_eq!(bucket.next(virtual_us, 1, Timestamp::from_millis(1_100)).as_millis(), 1_300);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_share(
            per_second in 1_u32..200,
            burst in 1_u32..20,
            waited in any::<bool>(),
            gaps in proptest::collection::vec(0_i64..400, 1..40),
        ) {
            let bucket = Bucket::of(&rule(&format!("{per_second}/s"), burst), waited).unwrap();
            let (mut now, mut virtual_us, mut starts) = (1_000_000_i64, 0, Vec::new());
            for gap in gaps {
                now += gap;
                for _ in 0..9 {
                    let Ok(next) = bucket.start(virtual_us, Timestamp::from_millis(now)) else { break };
                    virtual_us = next;
                    starts.push(now);
                }
            }
            let lateness = if waited { 0.3 } else { 0.0 };
            for (place, begin) in starts.iter().enumerate() {
                for (more, end) in starts[place..].iter().enumerate() {
                    let seconds = f64::from(i32::try_from(end - begin).unwrap()) / 1_000.0;
                    let most = f64::from(burst) + (seconds + lateness) * f64::from(per_second);
                    prop_assert!(f64::from(u32::try_from(more + 1).unwrap()) <= most + 0.01, "{more} in {seconds}");
                }
            }
        }

        #[test]
        fn what_is_said_of_the_future_holds(per_second in 1_u32..200, burst in 1_u32..20, starts in 0_usize..60, others in 0_usize..5) {
            let bucket = Bucket::of(&rule(&format!("{per_second}/s"), burst), true).unwrap();
            let now = Timestamp::from_millis(5_000);
            let mut virtual_us = 0;
            let room = bucket.room(virtual_us, now);
            for _ in 0..starts.min(room) {
                virtual_us = bucket.start(virtual_us, now).unwrap();
            }
            prop_assert_eq!(bucket.room(virtual_us, now), room - starts.min(room));
            let next = bucket.next(virtual_us, others, now);
            let with_others = virtual_us.max(clock(now)) + bucket.interval_us * i64::try_from(others).unwrap();
            prop_assert!(bucket.start(with_others, next).is_ok());
        }
    }
}

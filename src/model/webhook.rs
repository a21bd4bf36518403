//! Webhooks: whom to tell of which events, and how often it is tried.

use std::time::Duration;

/// Webhooks of one tenant: each costs a look at every event.
pub const WEBHOOKS_MAX: usize = 100;

/// Kinds of events of one webhook.
pub const KINDS_MAX: usize = 32;

/// The longest address.
pub const URL_LEN_MAX: usize = 2_000;

/// The shortest and the longest secret, in bytes, as Standard Webhooks asks for.
pub const SECRET_LEN: std::ops::RangeInclusive<usize> = 24..=64;

/// The pauses after each attempt that failed: eleven attempts over a day.
const PAUSES_SECONDS: [u64; 10] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800];

/// How long to wait after the `attempt`-th attempt, from 1, before the next one; `None` after the last.
#[must_use]
pub fn pause_after(attempt: u32) -> Option<Duration> {
    let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
    PAUSES_SECONDS.get(place).map(|seconds| Duration::from_secs(*seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_for_a_day() {
        let pauses: Vec<Duration> = (1..).map_while(pause_after).collect();
        let total: Duration = pauses.iter().sum();
        assert_eq!((pauses.len(), pause_after(0), pause_after(u32::MAX)), (10, None, None));
        assert!(
            pauses.is_sorted() && total > Duration::from_secs(23 * 3_600) && total < Duration::from_secs(25 * 3_600)
        );
    }
}

//! Idempotency keys: a second submit under the same key is the first one, for a window of days.
//!
//! The id of a task that was submitted under a key holds the digest of the key and the end of its window. So whoever has the id
//! knows, without looking anything up, until when the outcome is to be kept; and a new window never meets what an old one left.

use std::time::Duration;

use super::{Digest, TaskId, Timestamp};

/// The window of a key that names none: as long as results are kept.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// The shortest window: the broker counts whole seconds.
pub const WINDOW_MIN: Duration = Duration::from_secs(1);

/// The longest window: each key takes some hundred bytes of the broker's memory until its window ends.
pub const WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest key, in bytes.
pub const KEY_LEN_MAX: usize = 256;

/// Hexadecimal digits of a key's digest in names: 128 bits.
const DIGEST_LEN: usize = 32;

/// Hexadecimal digits of a window's end: milliseconds until the year 2527.
const UNTIL_LEN: usize = 11;

/// A key or a window that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The key is empty or too long.
    #[error("an idempotency key takes 1 to {KEY_LEN_MAX} bytes")]
    Key,
    /// The window is too short or too long.
    #[error("an idempotency window takes 1s to 30d")]
    Window,
}

/// Checks a key and a window.
///
/// # Errors
/// What is wrong with them, and what they take.
pub fn check(key: &str, window: Duration) -> Result<(), Unusable> {
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        Err(Unusable::Key)
    } else if !(WINDOW_MIN..=WINDOW_MAX).contains(&window) {
        Err(Unusable::Window)
    } else {
        Ok(())
    }
}

/// A key as one token of a subject: a key may hold any text.
#[must_use]
pub fn token(key: &str) -> String {
    Digest::of(key.as_bytes()).hex().chars().take(DIGEST_LEN).collect()
}

/// The id of the task that is submitted under `key` in the window that ends at `until`; `None` beyond the times that ids hold.
#[must_use]
pub fn task_id(key: &str, until: Timestamp) -> Option<TaskId> {
    let until = u64::try_from(until.as_millis()).ok()?;
    format!("k{}-{until:0width$x}", token(key), width = UNTIL_LEN).parse().ok()
}

/// Until when the outcome of the task is to be kept, if it was submitted under a key.
#[must_use]
pub fn until(id: &TaskId) -> Option<Timestamp> {
    let (digest, until) = id.as_str().strip_prefix('k')?.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if digest.len() != DIGEST_LEN || until.len() != UNTIL_LEN || !hex(digest) || !hex(until) {
        return None;
    }
    i64::from_str_radix(until, 16).ok().map(Timestamp::from_millis)
}

/// How long the outcome of a task is to be kept for its key; `None` where it has none, or where its window is over.
#[must_use]
pub fn keep_for(id: &TaskId, now: Timestamp) -> Option<Duration> {
    let left = until(id)?.since(now);
    // An id may come from anyone: no message is kept longer than the longest window.
    (!left.is_zero()).then(|| left.min(WINDOW_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_the_end_of_its_window() {
        let until_then = Timestamp::from_millis(1_795_000_000_123);
        let id = task_id("order 7/ä", until_then).unwrap();
        assert_eq!(until(&id), Some(until_then));
        assert_eq!(task_id("order 7/ä", until_then), Some(id.clone()));
        assert_ne!(task_id("order 8", until_then), Some(id.clone()));
        assert_ne!(task_id("order 7/ä", until_then.after(Duration::from_millis(1))), Some(id));
    }

    #[test]
    fn other_ids_have_no_window() {
        let foreign = format!("k{}-{}", "g".repeat(32), "0".repeat(11));
        for id in ["01jd0000000000000000000000", "k", "k-0", &format!("k{}-1", "0".repeat(32)), &foreign] {
            assert_eq!(until(&id.parse().unwrap()), None, "{id}");
        }
    }

    #[test]
    fn nothing_is_kept_longer_than_the_longest_window() {
        let id = task_id("k", Timestamp::from_millis(10_000)).unwrap();
        assert_eq!(keep_for(&id, Timestamp::from_millis(4_000)), Some(Duration::from_secs(6)));
        assert_eq!(keep_for(&id, Timestamp::from_millis(10_000)), None);
        let far = format!("k{}-{}", "0".repeat(32), "f".repeat(11)).parse().unwrap();
        assert_eq!(keep_for(&far, Timestamp::default()), Some(WINDOW_MAX));
    }

    #[test]
    fn keys_and_windows_have_bounds() {
        let day = WINDOW_DEFAULT;
        assert_eq!(check("k", day), Ok(()));
        for key in ["", &"x".repeat(KEY_LEN_MAX + 1)] {
            assert_eq!(check(key, day), Err(Unusable::Key));
        }
        for window in [Duration::ZERO, Duration::from_millis(999), WINDOW_MAX + Duration::from_millis(1)] {
            assert_eq!(check("k", window), Err(Unusable::Window));
        }
    }
}

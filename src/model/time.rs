//! Points in time in milliseconds since 1970 (UTC), and durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest duration that is accepted anywhere: a year. Longer ones are mistakes of unit.
pub const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Milliseconds since the Unix epoch, by the broker's clock where it comes from a stored message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The point in time `duration` later; the end of time where that would overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The point in time `duration` earlier; the beginning of time where that would overflow.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    /// Reads RFC 3339.
    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(|_| InvalidTime {
            text: text.chars().take(80).collect(),
            rule: "it takes RFC 3339, as in 2026-11-22T07:30:00Z",
        })
    }
}

/// A text that is not a time or a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid time {text:?}: {rule}")]
pub struct InvalidTime {
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Reads a duration as people write it: `100ms`, `5s`, `1h30m`, `2d`; units in falling order, each once. The last number may have
/// a fraction that comes to whole milliseconds, as in `1.5s`: expressions compute such ones.
///
/// # Errors
/// Anything else, and what is longer than [`DURATION_MAX`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidTime> {
    const RULE: &str = "it takes a duration such as 100ms, 5s, 1h30m or 2d, of a year at most";
    let invalid = || InvalidTime { text: text.chars().take(80).collect(), rule: RULE };
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut last_unit_ms = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(invalid()),
        };
        if unit_ms >= last_unit_ms {
            return Err(invalid());
        }
        last_unit_ms = unit_ms;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.contains('.') && (fraction.is_empty() || !tail.is_empty()) {
            return Err(invalid());
        }
        let whole: u64 = whole.parse().map_err(|_| invalid())?;
        let part_ms = fraction_of(fraction, unit_ms).ok_or_else(invalid)?;
        let ms = whole.checked_mul(unit_ms).and_then(|ms| ms.checked_add(part_ms));
        total_ms = ms.and_then(|ms| total_ms.checked_add(ms)).ok_or_else(invalid)?;
        rest = tail;
    }
    let total = Duration::from_millis(total_ms);
    if text.is_empty() || total > DURATION_MAX { Err(invalid()) } else { Ok(total) }
}

/// The milliseconds that the digits behind a point stand for; `None` if they are no whole ones.
fn fraction_of(digits: &str, unit_ms: u64) -> Option<u64> {
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10_u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let scaled = digits.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    scaled.is_multiple_of(scale).then(|| scaled / scale)
}

/// Reads a duration that is not zero.
///
/// # Errors
/// No duration, and none at all.
pub fn parse_span(text: &str) -> Result<Duration, InvalidTime> {
    let span = parse_duration(text)?;
    if span.is_zero() {
        return Err(InvalidTime { text: text.chars().take(80).collect(), rule: "it takes more than no time" });
    }
    Ok(span)
}

/// Writes a duration so that [`parse_duration`] reads it back, rounded down to milliseconds.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= unit_ms {
            text.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0ms".to_owned() } else { text }
}

/// Serde for a duration in the written form, for `#[serde(with = "model::time::written")]`.
pub mod written {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the form that [`parse_duration`](super::parse_duration) reads.
    ///
    /// # Errors
    /// What the serializer itself fails with.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// A text that is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

/// A time as people and other programs read it, RFC 3339, in serde's forms.
pub mod stamped {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Timestamp;

    /// Writes RFC 3339.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// A text that is no time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in
            [("100ms", 100), ("5s", 5_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0ms", 0), ("1m1ms", 60_001)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for (text, ms) in [
            ("1.5s", 1_500),
            ("0.001s", 1),
            ("1m0.5s", 60_500),
            ("2.0s", 2_000),
            ("0.25h", 900_000),
            ("1.10000s", 1_100),
        ] {
            let read = parse_duration(text).map(|read| read.as_millis()).unwrap_or_default();
            assert_eq!(read, ms, "{text}");
        }
        for bad in ["1.5h30m", "1.s", ".5s", "1.2.3s", "0.0001s", "1.5ms", "1.99999999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "+5s", "5x", "1m1h", "1s1s", "400d", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_shown_in_rfc_3339() {
        assert_eq!(Timestamp::from_millis(1_000).to_string(), "1970-01-01T00:00:01.000Z");
        assert_eq!("1970-01-01T00:00:01Z".parse::<Timestamp>().unwrap().as_millis(), 1_000);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(ms in 0..=u64::try_from(DURATION_MAX.as_millis()).unwrap()) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
    }
}

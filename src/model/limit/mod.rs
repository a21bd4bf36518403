//! Limits across the fleet: how often tasks may start, and how many may run at a time, whichever hosts run them.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | what a limit is, and how it is written |
//! | `bucket` | rates: when the next start may be |
//! | `ledger` | the record of a limit: who has a place, whether others wait, and every decision about it |
//!
//! A task may be under several limits. It takes them one after the other, in the order in which they stand in its message, the
//! narrowest first; at the first one that refuses it waits, and holds no slot of a host meanwhile.

pub mod bucket;
pub mod ledger;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, Queue};

/// The most limits of one task: its signature's, its task's, and its queue's, and one to spare.
pub const LIMITS_MAX: usize = 4;

/// The longest limit key, in bytes.
pub const KEY_LEN_MAX: usize = 256;

/// The most tasks that may run at a time under one limit: its record names each of them.
pub const CONCURRENCY_MAX: u32 = 1_000;

/// The largest burst.
pub const BURST_MAX: u32 = 1_000;

/// The shortest time between two starts: a faster rate than ten thousand a second limits nothing here.
const INTERVAL_MIN: Duration = Duration::from_micros(100);

/// Hexadecimal digits of the digest by which subjects name a limit: 128 bits.
const TOKEN_LEN: usize = 32;

/// A text or number that is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no rate.
    #[error(
        "invalid rate {0:?}: it takes a number from 1 on, a slash, and s, m, h or d, as in 10/s or 600/h, up to 10000/s"
    )]
    Rate(String),
    /// The burst is out of bounds, or has no rate.
    #[error("invalid burst {0}: it takes a number from 1 to {BURST_MAX}, beside a rate")]
    Burst(u32),
    /// The concurrency is out of bounds.
    #[error("invalid concurrency {0}: it takes a number from 1 to {CONCURRENCY_MAX}")]
    Concurrency(u32),
    /// Neither rate nor concurrency is given.
    #[error("a limit takes a rate, a concurrency, or both")]
    Nothing,
    /// The key is empty or too long.
    #[error("invalid limit key: it takes 1 to {KEY_LEN_MAX} bytes of text, not {0}")]
    Key(usize),
}

/// So many starts in such a time, evenly spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

impl Unit {
    const ALL: [(Self, &'static str, u64); 4] =
        [(Self::Second, "s", 1), (Self::Minute, "m", 60), (Self::Hour, "h", 3_600), (Self::Day, "d", 86_400)];

    fn row(self) -> (&'static str, u64) {
        let row = Self::ALL.iter().find(|(unit, _, _)| *unit == self);
        row.map_or(("s", 1), |(_, name, seconds)| (name, *seconds))
    }
}

impl Rate {
    /// The time between two starts.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs(self.unit.row().1) / self.count.max(1)
    }
}

impl FromStr for Rate {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit = || Unfit::Rate(text.chars().take(40).collect());
        let (count, per) = text.split_once('/').ok_or_else(unfit)?;
        let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| digits && *count > 0).ok_or_else(unfit)?;
        let unit = Unit::ALL.iter().find(|(_, name, _)| *name == per).ok_or_else(unfit)?.0;
        Some(Self { count, unit }).filter(|rate| rate.interval() >= INTERVAL_MIN).ok_or_else(unfit)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit.row().0)
    }
}

impl TryFrom<String> for Rate {
    type Error = Unfit;

    fn try_from(text: String) -> Result<Self, Unfit> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

/// What a limit allows. Without anything it allows all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// How often tasks start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many may start at once after a while without any; 1 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// How many run at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl Rule {
    /// The rule, if its numbers are within their bounds and it limits something.
    ///
    /// # Errors
    /// What is wrong, and what it takes.
    pub fn checked(self) -> Result<Self, Unfit> {
        if let Some(burst) = self.burst.filter(|burst| !(1..=BURST_MAX).contains(burst) || self.rate.is_none()) {
            return Err(Unfit::Burst(burst));
        }
        if let Some(concurrency) = self.concurrency.filter(|most| !(1..=CONCURRENCY_MAX).contains(most)) {
            return Err(Unfit::Concurrency(concurrency));
        }
        if self.rate.is_none() && self.concurrency.is_none() { Err(Unfit::Nothing) } else { Ok(self) }
    }

    /// Whether a place under the limit is held while the task runs, not only until it starts.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.concurrency.is_some()
    }
}

impl fmt::Display for Rule {
    /// `10/s, bursts of 5, 3 at a time`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.rate.map(|rate| rate.to_string());
        let burst = self.burst.filter(|burst| *burst > 1).map(|burst| format!("bursts of {burst}"));
        let concurrency = self.concurrency.map(|most| format!("{most} at a time"));
        let parts: Vec<String> = [rate, burst, concurrency].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "no limit".to_owned() } else { parts.join(", ") }.as_str())
    }
}

/// A limit that a task is under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What it is called: all tasks with a limit of the same name share it.
    pub name: String,
    /// What it allows.
    pub rule: Rule,
}

impl Limit {
    /// The limit of a queue.
    #[must_use]
    pub fn of_queue(queue: &Queue, rule: Rule) -> Self {
        Self { name: format!("queue {queue}"), rule }
    }

    /// The limit of a task, or, where it has a key, of those of its calls that have this key.
    ///
    /// # Errors
    /// A key that is empty or too long.
    pub fn of_task(task: &str, key: Option<&str>, rule: Rule) -> Result<Self, Unfit> {
        let of_key = key.map(|key| checked_key(key).map(|key| format!(" key {key}"))).transpose()?;
        Ok(Self { name: format!("task {task}{}", of_key.unwrap_or_default()), rule })
    }

    /// The limit of all calls that name the same key.
    ///
    /// # Errors
    /// A key that is empty or too long.
    pub fn of_key(key: &str, rule: Rule) -> Result<Self, Unfit> {
        Ok(Self { name: format!("key {}", checked_key(key)?), rule })
    }

    /// The limit as one token of a subject.
    #[must_use]
    pub fn token(&self) -> String {
        token(&self.name)
    }
}

/// The name of a limit as one token of a subject.
#[must_use]
pub fn token(name: &str) -> String {
    Digest::of(name.as_bytes()).hex().chars().take(TOKEN_LEN).collect()
}

/// A limit key within its bounds. It stands in a header and on screens: what is no text becomes a space.
fn checked_key(key: &str) -> Result<String, Unfit> {
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return Err(Unfit::Key(key.len()));
    }
    Ok(key.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_as_people_do() {
        for (text, micros) in [("10/s", 100_000), ("600/h", 6_000_000), ("1/d", 86_400_000_000), ("10000/s", 100)] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.interval()), (text, Duration::from_micros(micros)));
        }
        for bad in
            ["", "10", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "10/x", "10/", "10001/s", "99999999999/d", "1/s/s", " 1/s"]
        {
            let error = bad.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains("10/s or 600/h"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_rule_has_bounds_and_limits_something() {
        let rate = Some("10/s".parse().unwrap());
        let rule = Rule { rate, burst: Some(5), concurrency: Some(3) };
        assert_eq!(rule.checked(), Ok(rule));
        assert_eq!(rule.to_string(), "10/s, bursts of 5, 3 at a time");
        assert_eq!(serde_json::to_string(&rule).unwrap(), r#"{"rate":"10/s","burst":5,"concurrency":3}"#);
        let of = |rate, burst, concurrency| Rule { rate, burst, concurrency }.checked();
        assert_eq!(of(None, None, None), Err(Unfit::Nothing));
        assert_eq!(of(rate, Some(0), None), Err(Unfit::Burst(0)));
        assert_eq!(of(rate, Some(BURST_MAX + 1), None), Err(Unfit::Burst(BURST_MAX + 1)));
        assert_eq!(of(None, Some(2), Some(1)), Err(Unfit::Burst(2)), "a burst of no rate");
        assert_eq!(of(None, None, Some(0)), Err(Unfit::Concurrency(0)));
        assert_eq!(of(None, None, Some(CONCURRENCY_MAX + 1)), Err(Unfit::Concurrency(CONCURRENCY_MAX + 1)));
        assert!(serde_json::from_str::<Rule>(r#"{"rate":"0/s"}"#).is_err());
    }

    #[test]
    fn limits_are_shared_by_their_names() {
        let rule = Rule { concurrency: Some(1), ..Rule::default() };
        let names = [
            Limit::of_queue(&"images".parse().unwrap(), rule).name,
            Limit::of_task("m/t", None, rule).unwrap().name,
            Limit::of_task("m/t", Some("acme"), rule).unwrap().name,
            Limit::of_key("a\nb", rule).unwrap().name,
        ];
        assert_eq!(names, ["queue images", "task m/t", "task m/t key acme", "key a b"]);
        assert_eq!(token("queue images").len(), 32);
        for key in ["", &"x".repeat(KEY_LEN_MAX + 1)] {
            assert_eq!(Limit::of_key(key, rule), Err(Unfit::Key(key.len())));
        }
    }
}

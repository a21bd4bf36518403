//! Debounces on the wire: what a caller asks for in headers, the call that stands for all that were gathered, and its bell.
//!
//! The last call waits in the stream of limits, in a line of its own (`lvg.<t>.line.<token>.<queue>.<prio>.<id>`), as the task's
//! message with the header [`GATHERED`]: so all that looks for tasks finds it. Which task calls join is on
//! `lvg.<t>.debounce.<token>`.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::task::parsed;
use super::{Headers, Rejection, versioned};
use crate::model::call_key::KEY_LEN_MAX;
use crate::model::debounce::{Debounce, Gathered, Timing};
use crate::model::time::{format_duration, parse_duration};
use crate::model::{TaskId, Tenant, Timestamp};

/// The period of the debounce that a call is under, as in `30s`. A client sees to it, no host.
pub const DEBOUNCE: &str = "Lovage-Debounce";

/// Its key; all calls of the task where it is absent.
pub const DEBOUNCE_KEY: &str = "Lovage-Debounce-Key";

/// How long after the first call the task comes at the latest.
pub const DEBOUNCE_TIMEOUT: &str = "Lovage-Debounce-Timeout";

/// When the first call was made and when the task is due, as in `2026-01-01T00:00:00.000Z 2026-01-01T00:00:30.000Z`, then ` going`
/// once no more call joins it.
pub const GATHERED: &str = "Lovage-Gathered";

/// The version of the record that this code writes.
pub const SERIES_VERSION: u32 = 1;

/// How long gathered calls are kept beyond the time at which they are due, for a platform that is down that long.
pub const KEPT_BEYOND: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which task the calls under a name join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// The version of this form.
    pub v: u32,
    /// What gathers: `m/t key acme`.
    pub name: String,
    /// The task that they become.
    pub id: TaskId,
}

impl Series {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("record of a debounce", SERIES_VERSION, body)
    }
}

/// `lvg.<t>.debounce.<token>`: which task calls join.
#[must_use]
pub fn record(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.debounce.{token}")
}

/// `lvg.<t>.line.<token>.*.*.<id>`: the gathered calls that become this task.
#[must_use]
pub fn gathered_as(tenant: &Tenant, token: &str, id: &TaskId) -> String {
    format!("lvg.{tenant}.line.{token}.*.*.{id}")
}

/// `lvg.<t>.sched.~debounce.<token>`: the schedule that is the bell of a debounce; no key of a task has a `~` there.
#[must_use]
pub fn bell(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.sched.~debounce.{token}")
}

/// `lvg.<t>.fire.~debounce.<token>`: a bell that rings.
#[must_use]
pub fn ring(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.fire.~debounce.{token}")
}

/// Reads the subject of a bell that rings.
#[must_use]
pub fn read_ring(subject: &str) -> Option<(Tenant, String)> {
    let (tenant, token) = subject.strip_prefix("lvg.")?.split_once(".fire.~debounce.")?;
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some((tenant.parse().ok()?, Some(token.to_owned()).filter(|_| plain)?))
}

/// The value of [`GATHERED`].
#[must_use]
pub fn gathered(of: &Gathered) -> String {
    format!("{} {}{}", of.first, of.due, if of.going { " going" } else { "" })
}

/// Reads [`GATHERED`].
///
/// # Errors
/// A message without it, or of another form.
pub fn read_gathered(headers: &Headers) -> Result<Gathered, Rejection> {
    let wrong = || Rejection::new(GATHERED, "it takes two times, and may end with going");
    let mut parts = headers.value(GATHERED).ok_or_else(wrong)?.split(' ');
    let mut time = || parts.next().and_then(|text| text.parse::<Timestamp>().ok()).ok_or_else(wrong);
    let (first, due) = (time()?, time()?);
    match (parts.next(), parts.next()) {
        (None, _) => Ok(Gathered { first, due, going: false }),
        (Some("going"), None) => Ok(Gathered { first, due, going: true }),
        (Some(_), _) => Err(wrong()),
    }
}

/// Sets what a caller asks for.
pub fn encode(debounce: Option<&Debounce>, headers: &mut Headers) {
    let Some(Debounce { key, timing: Timing { period, timeout } }) = debounce else { return };
    headers.set(DEBOUNCE, format_duration(*period));
    if let Some(key) = key {
        headers.set(DEBOUNCE_KEY, key);
    }
    if let Some(timeout) = timeout {
        headers.set(DEBOUNCE_TIMEOUT, format_duration(*timeout));
    }
}

/// What a caller asked for.
///
/// # Errors
/// A key or times out of their bounds.
pub fn decode(headers: &Headers) -> Result<Option<Debounce>, Rejection> {
    let Some(period) = duration(headers, DEBOUNCE)? else { return Ok(None) };
    let timing = Timing { period, timeout: duration(headers, DEBOUNCE_TIMEOUT)? };
    let timing = timing.checked().map_err(|unfit| Rejection::new(DEBOUNCE, unfit))?;
    let key: Option<String> = parsed(headers, DEBOUNCE_KEY)?;
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_LEN_MAX => {
            Err(Rejection::new(DEBOUNCE_KEY, "it takes 1 to 256 bytes"))
        }
        key => Ok(Some(Debounce { key, timing })),
    }
}

fn duration(headers: &Headers, name: &'static str) -> Result<Option<Duration>, Rejection> {
    headers.value(name).map(|text| parse_duration(text).map_err(|error| Rejection::new(name, error))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_and_the_gathered_call_have_golden_forms() {
        let series = Series { v: 1, name: "m/t key acme".into(), id: "t".parse().unwrap() };
        let golden = r#"{"v":1,"name":"m/t key acme","id":"t"}"#;
        assert_eq!(series.encode(), golden);
        assert_eq!(Series::decode(&golden.into()), Ok(series));
        assert!(Series::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err().to_string().contains("update it"));
        let (first, due) = (Timestamp::from_millis(1_000), Timestamp::from_millis(31_000));
        for (going, golden) in [
            (false, "1970-01-01T00:00:01.000Z 1970-01-01T00:00:31.000Z"),
            (true, "1970-01-01T00:00:01.000Z 1970-01-01T00:00:31.000Z going"),
        ] {
            let whole = Gathered { first, due, going };
            assert_eq!(gathered(&whole), golden);
            assert_eq!(read_gathered(&Headers::new().with(GATHERED, golden)), Ok(whole));
        }
        for bad in ["", "1970-01-01T00:00:01.000Z", "a b", "1970-01-01T00:00:01Z 1970-01-01T00:00:31Z gone"] {
            assert!(read_gathered(&Headers::new().with(GATHERED, bad)).is_err(), "{bad}");
        }
        assert!(read_gathered(&Headers::new()).is_err());
    }

    #[test]
    fn what_a_caller_asks_for_is_in_headers() {
        let of = |key: Option<&str>, timeout| Debounce {
            key: key.map(str::to_owned),
            timing: Timing { period: Duration::from_secs(30), timeout },
        };
        for (debounce, count) in
            [(None, 0), (Some(of(None, None)), 1), (Some(of(Some("doc 7"), Some(Duration::from_secs(90)))), 3)]
        {
            let mut headers = Headers::new();
            encode(debounce.as_ref(), &mut headers);
            assert_eq!(headers.iter().count(), count);
            assert_eq!(decode(&headers), Ok(debounce));
        }
        let long = "x".repeat(KEY_LEN_MAX + 1);
        for (period, key, timeout, words) in [
            ("0s", "k", "1m", "1s to 7d"),
            ("soon", "k", "1m", "it takes a duration"),
            ("30s", "", "1m", "1 to 256 bytes"),
            ("30s", &long, "1m", "1 to 256 bytes"),
            ("30s", "k", "20s", "its period to 30d"),
        ] {
            let headers = Headers::new().with(DEBOUNCE, period).with(DEBOUNCE_KEY, key).with(DEBOUNCE_TIMEOUT, timeout);
            let error = decode(&headers).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn bells_read_back() {
        let tenant: Tenant = "acme".parse().unwrap();
        assert_eq!(read_ring(&ring(&tenant, "00ff")), Some((tenant.clone(), "00ff".to_owned())));
        assert_eq!(super::super::limit::read_ring(&ring(&tenant, "00ff")), None, "a limit has another bell");
        for bad in ["lvg.acme.fire.~debounce.", "lvg.acme.fire.~debounce.*", "lvg.acme.fire.~limit.00ff"] {
            assert_eq!(read_ring(bad), None, "{bad}");
        }
    }
}

//! Limits across the fleet on the wire: the record of a limit, the line of tasks that wait under it, and its bell.
//!
//! A waiting task is its own message, as it was queued, with the place in its queue in its subject. The line is in the order in
//! which the stream stored it.

use bytes::Bytes;

use super::subject::TaskSubject;
use super::{Headers, Rejection, versioned};
use crate::model::limit::ledger::{LEDGER_VERSION, Ledger};
use crate::model::limit::{LIMITS_MAX, Limit};
use crate::model::{Queue, RunId, TaskKey, Tenant};

/// The limits that a task is under, as JSON: `[{"name":"task m/t","rule":{"rate":"10/s","burst":5,"concurrency":3}}]`. It takes
/// them in this order.
pub const LIMITS: &str = "Lovage-Limits";

/// Tokens of the rates that a waiting task has passed already, separated by commas: it is not asked for them again.
pub const PASSED: &str = "Lovage-Passed";

/// The limits of a message.
///
/// # Errors
/// A header of another form, too many limits, and rules out of their bounds.
pub fn decode(headers: &Headers) -> Result<Vec<Limit>, Rejection> {
    let Some(text) = headers.value(LIMITS) else { return Ok(Vec::new()) };
    let limits: Vec<Limit> = serde_json::from_str(text).map_err(|error| Rejection::new(LIMITS, error))?;
    if limits.len() > LIMITS_MAX {
        return Err(Rejection::new(LIMITS, format!("it takes up to {LIMITS_MAX} limits")));
    }
    for limit in &limits {
        limit.rule.checked().map_err(|unfit| Rejection::new(LIMITS, unfit))?;
    }
    Ok(limits)
}

/// Sets the limits of a message.
pub fn encode(limits: &[Limit], headers: &mut Headers) {
    if !limits.is_empty() {
        headers.set(LIMITS, serde_json::to_string(limits).unwrap_or_default());
    }
}

/// The body of a limit's record.
#[must_use]
pub fn encode_ledger(ledger: &Ledger) -> Bytes {
    serde_json::to_vec(ledger).unwrap_or_default().into()
}

/// Reads the record of a limit.
///
/// # Errors
/// Anything that is not a record of a version that this code knows.
pub fn decode_ledger(body: &Bytes) -> Result<Ledger, Rejection> {
    versioned::read("record of a limit", LEDGER_VERSION, body)
}

/// `lvg.<t>.limit.<token>`: the record of a limit.
#[must_use]
pub fn record(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.limit.{token}")
}

/// `lvg.<t>.limit.*`: the records of all limits of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.limit.*")
}

/// `lvg.<t>.line.>`: all tasks of a tenant that wait under limits.
#[must_use]
pub fn lines(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.line.>")
}

/// `lvg.<t>.line.<token>.<queue>.<prio>.<key>`: a task that waits under a limit.
#[must_use]
pub fn line(token: &str, task: &TaskSubject) -> String {
    // All that its subject says of its place travels along.
    let queued = task.task();
    let place = queued.splitn(4, '.').nth(3).unwrap_or_default();
    format!("lvg.{}.line.{token}.{place}", task.tenant)
}

/// `lvg.<t>.line.<token>.>`: all tasks that wait under a limit.
#[must_use]
pub fn line_of(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.line.{token}.>")
}

/// `lvg.<t>.line.*.<queue>.>`: all tasks of a queue that wait under any limit.
#[must_use]
pub fn line_of_queue(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.line.*.{queue}.>")
}

/// `lvg.<t>.line.*.*.*.<key>`: a task under whatever limit it waits.
#[must_use]
pub fn line_anywhere(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.line.*.*.*.{}", key.into())
}

/// `lvg.<t>.line.*.*.*.<run>.>`: all attempts of a run's steps that wait under limits.
#[must_use]
pub fn run_lines_anywhere(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.line.*.*.*.{run}.>")
}

/// Reads the subject of a waiting task: the token of its limit, and where it waits to be queued.
#[must_use]
pub fn read_line(subject: &str) -> Option<(String, TaskSubject)> {
    let (tenant, rest) = subject.strip_prefix("lvg.")?.split_once('.')?;
    let (token, place) = rest.strip_prefix("line.")?.split_once('.')?;
    Some((token.to_owned(), TaskSubject::read(&format!("lvg.{tenant}.task.{place}"))?))
}

/// `lvg.<t>.sched.~limit.<token>`: the schedule that is a limit's bell; no key of a task has a `~` there.
#[must_use]
pub fn bell(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.sched.~limit.{token}")
}

/// `lvg.<t>.fire.~limit.<token>`: a bell that rings.
#[must_use]
pub fn ring(tenant: &Tenant, token: &str) -> String {
    format!("lvg.{tenant}.fire.~limit.{token}")
}

/// Reads the subject of a bell that rings.
#[must_use]
pub fn read_ring(subject: &str) -> Option<(Tenant, String)> {
    let (tenant, token) = subject.strip_prefix("lvg.")?.split_once(".fire.~limit.")?;
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some((tenant.parse().ok()?, Some(token.to_owned()).filter(|_| plain)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::limit::Rule;
    use crate::model::limit::ledger::Place;

    fn limit() -> Limit {
        let rule = Rule { rate: Some("10/s".parse().unwrap()), burst: Some(5), concurrency: Some(3) };
        Limit { name: "task m/t key acme".to_owned(), rule }
    }

    #[test]
    fn limits_have_a_golden_form_and_bounds() {
        let mut headers = Headers::new();
        encode(&[], &mut headers);
        assert!(headers.is_empty());
        encode(&[limit()], &mut headers);
        let golden = r#"[{"name":"task m/t key acme","rule":{"rate":"10/s","burst":5,"concurrency":3}}]"#;
        assert_eq!(headers.value(LIMITS), Some(golden));
        assert_eq!(decode(&headers), Ok(vec![limit()]));
        let many = serde_json::to_string(&vec![limit(); LIMITS_MAX + 1]).unwrap();
        for (bad, problem) in [
            ("{}", "expected"),
            (r#"[{"name":"a","rule":{}}]"#, "a rate, a concurrency, or both"),
            (r#"[{"name":"a","rule":{"rate":"0/s"}}]"#, "invalid rate"),
            (r#"[{"name":"a","rule":{"concurrency":0}}]"#, "invalid concurrency"),
            (many.as_str(), "up to 4 limits"),
        ] {
            let error = decode(&Headers::new().with(LIMITS, bad)).unwrap_err();
            assert!(error.place == LIMITS && error.problem.contains(problem), "{bad}: {error}");
        }
    }

    #[test]
    fn a_record_has_a_golden_form() {
        let mut ledger = Ledger::new(limit());
        ledger.virtual_us = 7;
        ledger.places.push(Place { task: "a".into(), since: Timestamp::from_millis(1), started: true });
        ledger.waiting = true;
        ledger.bell = Some(Timestamp::from_millis(2));
        let rule = r#"{"rate":"10/s","burst":5,"concurrency":3}"#;
        let golden = format!(
            r#"{{"v":1,"limit":{{"name":"task m/t key acme","rule":{rule}}},"virtual_us":7,"places":[{{"task":"a","since":1,"started":true}}],"waiting":true,"bell":2}}"#
        );
        assert_eq!(encode_ledger(&ledger), golden);
        assert_eq!(decode_ledger(&golden.into()), Ok(ledger));
        assert!(decode_ledger(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err().to_string().contains("update it"));
    }

    #[test]
    fn subjects_of_lines_and_bells_read_back() {
        for place in ["images.9.01jabc", "images.9.01jd0000000000000000000000.0-1_2~3.4"] {
            let task = TaskSubject::read(&format!("lvg.acme.task.{place}")).unwrap();
            let subject = line("00ff", &task);
            assert_eq!(read_line(&subject), Some(("00ff".to_owned(), task)));
        }
        let tenant: Tenant = "acme".parse().unwrap();
        assert_eq!(read_ring(&ring(&tenant, "00ff")), Some((tenant.clone(), "00ff".to_owned())));
        assert_eq!(TaskSubject::read(&ring(&tenant, "00ff")), None, "a bell is no task");
        for bad in ["lvg.acme.fire.~limit.", "lvg.acme.fire.~limit.*", "lvg.acme.fire.limit.00ff", "lvg.acme.line.a.b"]
        {
            assert_eq!((read_ring(bad), read_line(bad)), (None, None), "{bad}");
        }
    }
}

//! The record of a task on `lvg.<t>.res.<id>`: its state in a header, its output or failure as the body.

use bytes::Bytes;

use super::task::{ATTEMPT, decode_value, encode_value, parsed};
use super::{Headers, Rejection};
use crate::model::lifecycle::{End, Record, Settled, Usage};
use crate::model::{Failure, HostId, Timestamp};

/// The version of this form; a reader refuses one that it does not know.
pub const VERSION: &str = "Lovage-Version";
/// `retrying`, `succeeded`, `failed`, `cancelled` or `expired`.
pub const STATE: &str = "Lovage-State";
/// When the next attempt is due, RFC 3339; only with `retrying`, whose `Lovage-Attempt` is that next attempt.
pub const DUE: &str = "Lovage-Due";
/// The delivery of the attempt that ended the task. A caller that hears one above 1 reads the stored record to be sure.
pub const DELIVERY: &str = "Lovage-Delivery";
/// The host that ran the last attempt.
pub const HOST: &str = "Lovage-Host";
/// Units of fuel that the last attempt used.
pub const FUEL_USED: &str = "Lovage-Fuel-Used";
/// The most bytes of memory that it had.
pub const MEMORY_PEAK: &str = "Lovage-Memory-Peak";
/// Microseconds that it took in the sandbox.
pub const DURATION_US: &str = "Lovage-Duration-Us";

/// The version that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// Headers and body of a record.
#[must_use]
pub fn encode(record: &Record) -> (Headers, Bytes) {
    let mut headers = Headers::new().with(VERSION, RECORD_VERSION.to_string());
    match record {
        Record::Retrying { next, due, failure } => {
            headers.set(STATE, "retrying");
            headers.set(ATTEMPT, next.to_string());
            headers.set(DUE, due.to_string());
            (headers, failure_body(failure))
        }
        Record::Settled(Settled { end, usage }) => {
            headers.set(STATE, end.state().as_str());
            encode_usage(usage, &mut headers);
            let body = match end {
                End::Succeeded(value) => encode_value(value, &mut headers),
                End::Failed(failure) => failure_body(failure),
                End::Cancelled | End::Expired => Bytes::new(),
            };
            (headers, body)
        }
    }
}

/// Reads a record.
///
/// # Errors
/// A form that this code does not know.
pub fn decode(headers: &Headers, body: &Bytes) -> Result<Record, Rejection> {
    match parsed::<u32>(headers, VERSION)? {
        Some(RECORD_VERSION) => {}
        other => {
            let problem = format!("{other:?} is not version {RECORD_VERSION}, which this program reads: update it");
            return Err(Rejection::new(VERSION, problem));
        }
    }
    let state = headers.value(STATE).unwrap_or_default();
    if state == "retrying" {
        let missing = |name: &str| Rejection::new(name, "is missing");
        return Ok(Record::Retrying {
            next: parsed(headers, ATTEMPT)?.ok_or_else(|| missing(ATTEMPT))?,
            due: parsed::<Timestamp>(headers, DUE)?.ok_or_else(|| missing(DUE))?,
            failure: read_failure(body)?,
        });
    }
    let end = match state {
        "succeeded" => End::Succeeded(decode_value(headers, body)?),
        "failed" => End::Failed(read_failure(body)?),
        "cancelled" => End::Cancelled,
        "expired" => End::Expired,
        other => return Err(Rejection::new(STATE, format!("{other:?} is no state of a record"))),
    };
    Ok(Record::Settled(Settled { end, usage: decode_usage(headers)? }))
}

fn failure_body(failure: &Failure) -> Bytes {
    serde_json::to_vec(failure).unwrap_or_default().into()
}

fn read_failure(body: &Bytes) -> Result<Failure, Rejection> {
    serde_json::from_slice(body).map_err(|error| Rejection::new("failure", error))
}

fn encode_usage(usage: &Usage, headers: &mut Headers) {
    if usage.attempt == 0 {
        return;
    }
    headers.set(ATTEMPT, usage.attempt.to_string());
    headers.set(DELIVERY, usage.delivery.to_string());
    if let Some(host) = &usage.host {
        headers.set(HOST, host.as_str());
    }
    headers.set(FUEL_USED, usage.fuel.to_string());
    headers.set(MEMORY_PEAK, usage.memory_bytes.to_string());
    headers.set(DURATION_US, usage.duration_us.to_string());
}

fn decode_usage(headers: &Headers) -> Result<Usage, Rejection> {
    Ok(Usage {
        attempt: parsed(headers, ATTEMPT)?.unwrap_or(0),
        delivery: parsed(headers, DELIVERY)?.unwrap_or(0),
        host: parsed::<HostId>(headers, HOST)?,
        fuel: parsed(headers, FUEL_USED)?.unwrap_or(0),
        memory_bytes: parsed(headers, MEMORY_PEAK)?.unwrap_or(0),
        duration_us: parsed(headers, DURATION_US)?.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Kind, Value};

    fn usage() -> Usage {
        Usage {
            attempt: 2,
            delivery: 1,
            host: Some("h1".parse().unwrap()),
            fuel: 77,
            memory_bytes: 65_536,
            duration_us: 42,
        }
    }

    /// Every form that was ever written reads as it did.
    #[test]
    fn records_have_golden_forms() {
        let records = [
            Record::Retrying {
                next: 2,
                due: Timestamp::from_millis(1_500),
                failure: Failure { attempt: Some(1), ..Failure::new(Kind::Returned, "busy") },
            },
            Record::Settled(Settled { end: End::Succeeded(Value::Inline("[1]".into())), usage: usage() }),
            Record::Settled(Settled {
                end: End::Succeeded(Value::Stored { digest: Digest::of(b"abc"), size: 3 }),
                usage: usage(),
            }),
            Record::Settled(Settled {
                end: End::Failed(Failure::new(Kind::OutOfFuel, "no fuel left")),
                usage: usage(),
            }),
            Record::Settled(Settled { end: End::Cancelled, usage: Usage::default() }),
            Record::Settled(Settled { end: End::Expired, usage: Usage::default() }),
        ];
        let mut text = String::new();
        for record in &records {
            let (headers, body) = encode(record);
            for (name, value) in headers.iter() {
                text.push_str(&format!("{name}: {value}\n"));
            }
            text.push_str(&format!("\n{}\n---\n", String::from_utf8_lossy(&body)));
            assert_eq!(decode(&headers, &body).as_ref(), Ok(record));
        }
        assert_eq!(text, include_str!("../../tests/golden/record-v1.txt"));
    }

    #[test]
    fn a_newer_record_is_refused_and_says_so() {
        let headers = Headers::new().with(VERSION, "2").with(STATE, "succeeded");
        let error = decode(&headers, &Bytes::new()).unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
        assert!(decode(&Headers::new(), &Bytes::new()).is_err());
    }
}

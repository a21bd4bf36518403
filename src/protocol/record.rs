//! The record of a task on `lvg.<t>.res.<id>`: its state in a header, its output or failure as the body.

use bytes::Bytes;

use super::task::{ATTEMPT, decode_value, encode_value, parsed};
use super::{Headers, Rejection, usage};
use crate::model::lifecycle::{End, Record, Settled};
use crate::model::{Failure, Timestamp};

/// The version of this form; a reader refuses one that it does not know.
pub const VERSION: &str = "Lovage-Version";
/// `retrying`, `succeeded`, `failed`, `cancelled` or `expired`.
pub const STATE: &str = "Lovage-State";
/// When the next attempt is due, RFC 3339; only with `retrying`, whose `Lovage-Attempt` is that next attempt.
pub const DUE: &str = "Lovage-Due";
/// The version that this code writes.
pub const RECORD_VERSION: u32 = 2;

/// The first version, in which each number of [`USAGE`](usage::USAGE) had a header of its own. It is read like this one, which has its names.
const RECORD_VERSION_FIRST: u32 = 1;

/// Headers and body of a record.
#[must_use]
pub fn encode(record: &Record) -> (Headers, Bytes) {
    let mut headers = Headers::new().with(VERSION, RECORD_VERSION.to_string());
    match record {
        Record::Retrying { next, due, failure, tried } => {
            headers.set(STATE, "retrying");
            headers.set(ATTEMPT, next.to_string());
            headers.set(DUE, due.to_string());
            usage::encode_tried(tried, &mut headers);
            (headers, failure_body(failure))
        }
        Record::Settled(Settled { end, usage }) => {
            headers.set(STATE, end.state().as_str());
            usage::encode(usage, &mut headers);
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
        Some(RECORD_VERSION_FIRST | RECORD_VERSION) => {}
        other => {
            let problem =
                format!("{other:?} is not up to version {RECORD_VERSION}, which this program reads: update it");
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
            tried: usage::decode_tried(headers)?,
        });
    }
    let end = match state {
        "succeeded" => End::Succeeded(decode_value(headers, body)?),
        "failed" => End::Failed(read_failure(body)?),
        "cancelled" => End::Cancelled,
        "expired" => End::Expired,
        other => return Err(Rejection::new(STATE, format!("{other:?} is no state of a record"))),
    };
    Ok(Record::Settled(Settled { end, usage: usage::decode(headers)? }))
}

fn failure_body(failure: &Failure) -> Bytes {
    serde_json::to_vec(failure).unwrap_or_default().into()
}

fn read_failure(body: &Bytes) -> Result<Failure, Rejection> {
    serde_json::from_slice(body).map_err(|error| Rejection::new("failure", error))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::lifecycle::Usage;
    use crate::model::{Digest, Kind, Value};

    fn usage() -> Usage {
        Usage {
            attempt: 2,
            delivery: 1,
            host: Some("h1".parse().unwrap()),
            fuel: 77,
            memory_bytes: 65_536,
            duration_us: 42,
            ..Usage::default()
        }
    }

    fn records() -> [Record; 6] {
        [
            Record::Retrying {
                next: 2,
                due: Timestamp::from_millis(1_500),
                failure: Failure { attempt: Some(1), ..Failure::new(Kind::Returned, "busy") },
                tried: Vec::new(),
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
        ]
    }

    /// A message as a golden file shows it.
    pub(in crate::protocol) fn shown((headers, body): &(Headers, Bytes)) -> String {
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{head}\n{}\n---\n", String::from_utf8_lossy(body))
    }

    /// The messages of a golden file.
    pub(in crate::protocol) fn read(golden: &str) -> impl Iterator<Item = (Headers, Bytes)> {
        golden.split_terminator("\n---\n").map(|text| {
            let (head, body) = text.split_once("\n\n").unwrap();
            let headers = head.lines().map(|line| line.split_once(": ").unwrap()).collect();
            (headers, Bytes::copy_from_slice(body.as_bytes()))
        })
    }

    #[test]
    fn records_have_golden_forms() {
        let text: String = records().iter().map(|record| shown(&encode(record))).collect();
        assert_eq!(text, include_str!("../../tests/golden/record-v2.txt"));
    }

    #[test]
    fn every_form_that_was_ever_written_reads_as_it_did() {
        for golden in
            [include_str!("../../tests/golden/record-v1.txt"), include_str!("../../tests/golden/record-v2.txt")]
        {
            let read = read(golden).map(|(headers, body)| decode(&headers, &body).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), records());
        }
    }

    #[test]
    fn a_newer_record_is_refused_and_says_so() {
        let headers = Headers::new().with(VERSION, "3").with(STATE, "succeeded");
        let error = decode(&headers, &Bytes::new()).unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
        assert!(decode(&Headers::new(), &Bytes::new()).is_err());
    }
}

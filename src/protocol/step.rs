//! The record of an attempt of a step on `lvg.<t>.run.<p>.<run>.step.<step>.<attempt>`: how it ended in headers, its output,
//! failure or flow document as the body. There is one for every attempt of every step, so its headers are few.

use bytes::Bytes;

use super::record::{STATE, VERSION};
use super::task::{decode_value, encode_value, parsed};
use super::{Headers, Rejection, usage};
use crate::model::step_life::{StepEnd, StepOutcome};

/// The version that this code writes.
pub const STEP_VERSION: u32 = 2;

/// The first version, whose usage was written by position. It is read like this one.
const STEP_VERSION_FIRST: u32 = 1;

/// Headers and body of a record.
#[must_use]
pub fn encode(StepOutcome { end, usage }: &StepOutcome) -> (Headers, Bytes) {
    let mut headers = Headers::new().with(VERSION, STEP_VERSION.to_string()).with(STATE, end.as_str());
    usage::encode(usage, &mut headers);
    let body = match end {
        StepEnd::Succeeded(value) | StepEnd::Replaced(value) => encode_value(value, &mut headers),
        StepEnd::Failed(failure) => serde_json::to_vec(failure).unwrap_or_default().into(),
    };
    (headers, body)
}

/// Reads a record.
///
/// # Errors
/// A form that this code does not know.
pub fn decode(headers: &Headers, body: &Bytes) -> Result<StepOutcome, Rejection> {
    match parsed::<u32>(headers, VERSION)? {
        Some(STEP_VERSION_FIRST | STEP_VERSION) => {}
        other => {
            let problem = format!("{other:?} is not up to version {STEP_VERSION}, which this program reads: update it");
            return Err(Rejection::new(VERSION, problem));
        }
    }
    let end = match headers.value(STATE).unwrap_or_default() {
        "succeeded" => StepEnd::Succeeded(decode_value(headers, body)?),
        "replaced" => StepEnd::Replaced(decode_value(headers, body)?),
        "failed" => StepEnd::Failed(serde_json::from_slice(body).map_err(|error| Rejection::new("failure", error))?),
        other => return Err(Rejection::new(STATE, format!("{other:?} is no end of an attempt"))),
    };
    Ok(StepOutcome { end, usage: usage::decode(headers)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lifecycle::Usage;
    use crate::model::{Digest, Failure, Kind, Value};

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

    fn records() -> [StepOutcome; 5] {
        let failure = Failure { attempt: Some(2), ..Failure::new(Kind::OutOfFuel, "no fuel left") };
        let stored = Value::Stored { digest: Digest::of(b"abc"), size: 3 };
        [
            StepOutcome { end: StepEnd::Succeeded(Value::Inline("[1]".into())), usage: usage() },
            StepOutcome { end: StepEnd::Succeeded(stored), usage: usage() },
            StepOutcome { end: StepEnd::Failed(failure), usage: usage() },
            StepOutcome { end: StepEnd::Replaced(Value::Inline("[]".into())), usage: usage() },
            StepOutcome { end: StepEnd::Succeeded(Value::Inline("null".into())), usage: Usage::default() },
        ]
    }

    #[test]
    fn records_of_steps_have_golden_forms() {
        let text: String = records().iter().map(|record| super::super::record::tests::shown(&encode(record))).collect();
        assert_eq!(text, include_str!("../../tests/golden/step-v2.txt"));
    }

    #[test]
    fn every_form_that_was_ever_written_reads_as_it_did() {
        for golden in [include_str!("../../tests/golden/step-v1.txt"), include_str!("../../tests/golden/step-v2.txt")] {
            let read = super::super::record::tests::read(golden);
            let read = read.map(|(headers, body)| decode(&headers, &body).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), records());
        }
    }

    #[test]
    fn what_is_not_of_the_form_is_refused_by_name() {
        let (good, body) = encode(&StepOutcome { end: StepEnd::Replaced(Value::Inline("[]".into())), usage: usage() });
        for (name, value, problem) in [
            (VERSION, "3", "update it"),
            (STATE, "cancelled", "is no end of an attempt"),
            (usage::USAGE, "1 1 h1 1 1", "<microseconds>"),
            (usage::USAGE, "fuel=x", "invalid digit"),
        ] {
            let error = decode(&good.clone().with(name, value), &body).unwrap_err();
            assert_eq!(error.place, name);
            assert!(error.problem.contains(problem), "{error}");
        }
        assert!(decode(&Headers::new(), &body).is_err());
    }
}

//! The record of an attempt of a step on `lvg.<t>.run.<p>.<run>.step.<step>.<attempt>`: how it ended in headers, its output,
//! failure or flow document as the body. There is one for every attempt of every step, so its headers are few.

use bytes::Bytes;

use super::record::{STATE, VERSION};
use super::task::{decode_value, encode_value, parsed};
use super::{Headers, Rejection};
use crate::model::lifecycle::Usage;
use crate::model::step_life::{StepEnd, StepOutcome};

/// The version of this form; it is read with the other records of a journal.
pub const STEP_VERSION: u32 = 1;

/// `<attempt> <delivery> <host> <fuel> <memory> <microseconds>`, with `*` for no host.
pub const USAGE: &str = "Lovage-Usage";

/// Stands for the host where there was none: no host's name.
const NO_HOST: &str = "*";

/// Headers and body of a record.
#[must_use]
pub fn encode(StepOutcome { end, usage }: &StepOutcome) -> (Headers, Bytes) {
    let mut headers =
        Headers::new().with(VERSION, STEP_VERSION.to_string()).with(STATE, end.as_str()).with(USAGE, written(usage));
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
        Some(STEP_VERSION) => {}
        other => {
            let problem = format!("{other:?} is not version {STEP_VERSION}, which this program reads: update it");
            return Err(Rejection::new(VERSION, problem));
        }
    }
    let end = match headers.value(STATE).unwrap_or_default() {
        "succeeded" => StepEnd::Succeeded(decode_value(headers, body)?),
        "replaced" => StepEnd::Replaced(decode_value(headers, body)?),
        "failed" => StepEnd::Failed(serde_json::from_slice(body).map_err(|error| Rejection::new("failure", error))?),
        other => return Err(Rejection::new(STATE, format!("{other:?} is no end of an attempt"))),
    };
    let form = || Rejection::new(USAGE, "it takes <attempt> <delivery> <host> <fuel> <memory> <microseconds>");
    let usage = headers.value(USAGE).and_then(read).ok_or_else(form)?;
    Ok(StepOutcome { end, usage })
}

fn written(Usage { attempt, delivery, host, fuel, memory_bytes, duration_us }: &Usage) -> String {
    let host = host.as_ref().map_or(NO_HOST, |host| host.as_str());
    format!("{attempt} {delivery} {host} {fuel} {memory_bytes} {duration_us}")
}

fn read(text: &str) -> Option<Usage> {
    let mut parts = text.split(' ');
    let usage = Usage {
        attempt: parts.next()?.parse().ok()?,
        delivery: parts.next()?.parse().ok()?,
        host: match parts.next()? {
            NO_HOST => None,
            host => Some(host.parse().ok()?),
        },
        fuel: parts.next()?.parse().ok()?,
        memory_bytes: parts.next()?.parse().ok()?,
        duration_us: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Failure, Kind, Value};

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
    fn records_of_steps_have_golden_forms() {
        let failure = Failure { attempt: Some(2), ..Failure::new(Kind::OutOfFuel, "no fuel left") };
        let records = [
            StepOutcome { end: StepEnd::Succeeded(Value::Inline("[1]".into())), usage: usage() },
            StepOutcome {
                end: StepEnd::Succeeded(Value::Stored { digest: Digest::of(b"abc"), size: 3 }),
                usage: usage(),
            },
            StepOutcome { end: StepEnd::Failed(failure), usage: usage() },
            StepOutcome { end: StepEnd::Replaced(Value::Inline("[]".into())), usage: usage() },
            StepOutcome { end: StepEnd::Succeeded(Value::Inline("null".into())), usage: Usage::default() },
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
        assert_eq!(text, include_str!("../../tests/golden/step-v1.txt"));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused_by_name() {
        let (good, body) = encode(&StepOutcome { end: StepEnd::Replaced(Value::Inline("[]".into())), usage: usage() });
        for (name, value, problem) in [
            (VERSION, "2", "update it"),
            (STATE, "cancelled", "is no end of an attempt"),
            (USAGE, "1 1 h1 1 1", "<microseconds>"),
            (USAGE, "1 1 h1 1 1 1 1", "<microseconds>"),
            (USAGE, "1 1 H 1 1 1", "<microseconds>"),
        ] {
            let error = decode(&good.clone().with(name, value), &body).unwrap_err();
            assert_eq!(error.place, name);
            assert!(error.problem.contains(problem), "{error}");
        }
        assert!(decode(&Headers::new(), &body).is_err());
    }
}

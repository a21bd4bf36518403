//! The records of a journal as they are written: one name, one version header, one JSON body each.
//!
//! | file | what it holds |
//! |---|---|
//! | `name` | what a record is, by the end of its subject |
//! | `form` | the JSON forms, apart from the types that the core works with |
//! | `index` | what lists show of a run |
//!
//! **Invariant:** what was ever written is read the same for ever: `tests/golden/journal-v1` holds every form.
//! **Invariant:** a record of a newer version is refused by name, and whatever else a record may hold, reading it never panics.

mod form;
mod index;
mod name;

use std::sync::Arc;

use bytes::Bytes;

pub use super::state::RunState;
pub use index::{Entry, Fault};
pub use name::{RecordName, UnknownRecord, name, place, timer_subject};

use super::journal::{Event, Outcome};
use crate::model::Datum;
use crate::model::step_life::StepEnd;
use crate::protocol::record::VERSION;
use crate::protocol::{Headers, Rejection, step};

/// The version of the forms that this code writes, and the newest that it reads.
pub const JOURNAL_VERSION: u32 = 1;

/// The most bytes of one record: half of what a server takes by default, so that headers and a reader's batch fit beside it.
/// Values that would make a record larger stand elsewhere.
pub const RECORD_BYTES_MAX: usize = 512 << 10;

/// The most bytes that the values of one record may take together: what is left of [`RECORD_BYTES_MAX`] holds the rest.
pub const RECORD_VALUES_BYTES_MAX: usize = 384 << 10;

/// Headers and body of a record. `None` for an attempt's outcome, which hosts write ([`step`]).
#[must_use]
pub fn encode(event: &Event) -> Option<(Headers, Bytes)> {
    let body = match event {
        Event::Start(start) => form::start(start),
        Event::Decided { decision, .. } => form::decision(decision),
        Event::Child { end, .. } => form::child(end),
        Event::Signal { name, payload } => form::signal(name, payload),
        Event::End { end, .. } => form::end(end),
        Event::Timer(_) | Event::Cancel { .. } | Event::Pause | Event::Resume | Event::Retry => Bytes::new(),
        Event::Outcome { .. } => return None,
    };
    Some((headers(), body))
}

/// The headers of a record: its version. A timer's schedule carries them to the record that it produces.
#[must_use]
pub fn headers() -> Headers {
    Headers::new().with(VERSION, JOURNAL_VERSION.to_string())
}

/// Reads a record, which may come from anyone who may write to a journal.
///
/// # Errors
/// A newer version, named as such, and a body that is not of the record's form.
pub fn decode(name: &RecordName, headers: &Headers, body: &Bytes) -> Result<Event, Rejection> {
    // The record of an attempt has versions of its own, which its reader checks.
    if !matches!(name, RecordName::Step { .. }) {
        check_version(headers)?;
    }
    Ok(match name {
        RecordName::Start => Event::Start(Arc::new(form::read_start(body)?)),
        RecordName::Step { step, attempt } => {
            Event::Outcome { step: step.clone(), attempt: *attempt, outcome: read_outcome(headers, body)? }
        }
        RecordName::Timer(timer) => Event::Timer(timer.clone()),
        RecordName::Decided { step, question, generation } => Event::Decided {
            step: step.clone(),
            question: *question,
            decision: form::read_decision(body)?,
            generation: *generation,
        },
        RecordName::Child { step, generation } => {
            Event::Child { step: step.clone(), generation: *generation, end: form::read_child(body)? }
        }
        RecordName::Signal(_) => {
            let (name, payload) = form::read_signal(body)?;
            Event::Signal { name, payload }
        }
        RecordName::Cancel(generation) => Event::Cancel { generation: *generation },
        RecordName::Pause(_) => Event::Pause,
        RecordName::Resume(_) => Event::Resume,
        RecordName::Retry(_) => Event::Retry,
        RecordName::End(generation) => Event::End { generation: *generation, end: form::read_end(body)? },
    })
}

/// What a host wrote of an attempt.
fn read_outcome(headers: &Headers, body: &Bytes) -> Result<Outcome, Rejection> {
    let value = |value| Datum::of_value(&value).map_err(|error| Rejection::new("outcome", error));
    Ok(match step::decode(headers, body)?.end {
        StepEnd::Succeeded(output) => Outcome::Succeeded(value(output)?),
        StepEnd::Replaced(document) => Outcome::Replaced(value(document)?),
        StepEnd::Failed(failure) => Outcome::Failed(failure),
    })
}

/// Whether a rejection says that the record is of a version that this program does not know: an update helps, nothing else.
#[must_use]
pub fn is_newer(rejection: &Rejection) -> bool {
    rejection.place == VERSION
}

fn check_version(headers: &Headers) -> Result<(), Rejection> {
    let text = headers.value(VERSION).ok_or_else(|| Rejection::new("journal record", "its version is missing"))?;
    match text.parse::<u32>() {
        Ok(version) if (1..=JOURNAL_VERSION).contains(&version) => Ok(()),
        _ => {
            let problem = format!("{text:?} is not version {JOURNAL_VERSION}, which this program reads: update it");
            Err(Rejection::new(VERSION, problem))
        }
    }
}

/// The document of an event, which the core reads whole: what of it stands elsewhere is put in its place before the event is
/// folded.
pub fn document_mut(event: &mut Event) -> Option<&mut Datum> {
    form::document_mut(event)
}

/// The values that a record holds, so that those which are too large for it can be moved elsewhere.
pub fn values_mut(event: &mut Event) -> Vec<&mut Datum> {
    form::values_mut(event)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Digest, Failure, Kind, StepId};
    use crate::workflow::journal::{Decision, End, Ending, Parent, Pin, PinnedFlow, Pins, Question, RunLimits, Start};
    use crate::workflow::timer::{Purpose, TimerId};

    const RUN: &str = "01jd0000000000000000000007";

    fn json(text: &'static str) -> Datum {
        Datum::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    fn pin(version: &str) -> Pin {
        Pin { version: version.parse().unwrap(), digest: Digest::of(version.as_bytes()) }
    }

    fn pins() -> Pins {
        Pins {
            modules: [("thumbs".to_owned(), pin("3")), ("thumbs@1".to_owned(), pin("1"))].into(),
            flows: [("sub".to_owned(), PinnedFlow { pin: pin("2"), document: json(r#"{"flow": {"chain": []}}"#) })]
                .into(),
        }
    }

    fn composed() -> Datum {
        let stored = Datum::stored(Digest::of(b"abc"), 3);
        Datum::array([&json("1"), &stored, &json(r#"{"a":null}"#), &stored])
    }

    fn failure() -> Failure {
        Failure { step: Some("0-1".parse().unwrap()), attempt: Some(2), ..Failure::new(Kind::Returned, "no") }
    }

    fn small_start() -> Start {
        Start {
            core_version: 1,
            run: RUN.parse().unwrap(),
            flow: None,
            pin: None,
            document: json(r#"{"task":"thumbs/resize"}"#),
            input: None,
            pins: Pins::default(),
            labels: BTreeMap::new(),
            parent: None,
            limits: RunLimits::default(),
        }
    }

    /// One record of every form, under the name of its golden file.
    fn records() -> Vec<(&'static str, RecordName, Event)> {
        let step: StepId = "0-2_17".parse().unwrap();
        let parent = Parent { run: RUN.parse().unwrap(), step: step.clone(), generation: 1, depth: 2 };
        let full = Start {
            flow: Some("nightly".parse().unwrap()),
            pin: Some(pin("4")),
            input: Some(composed()),
            pins: pins(),
            labels: [("team".to_owned(), "a".to_owned())].into(),
            parent: Some(parent),
            ..small_start()
        };
        let decided = |question, decision| {
            let name = RecordName::Decided { step: step.clone(), question, generation: 0 };
            (name, Event::Decided { step: step.clone(), question, decision, generation: 0 })
        };
        let child = |end| {
            (
                RecordName::Child { step: step.clone(), generation: 1 },
                Event::Child { step: step.clone(), generation: 1, end },
            )
        };
        let end = |result, compensation_failures| {
            (RecordName::End(0), Event::End { generation: 0, end: End { result, compensation_failures } })
        };
        let timer = TimerId { step: step.clone(), purpose: Purpose::Sleep, generation: 0 };
        let signal = Event::Signal { name: "Go".parse().unwrap(), payload: json(r#"{"by":"me"}"#) };
        let plain = [
            ("start-small", (RecordName::Start, Event::Start(small_start().into()))),
            ("start-full", (RecordName::Start, Event::Start(full.into()))),
            ("timer", (RecordName::Timer(timer.clone()), Event::Timer(timer))),
            ("decided-value", decided(Question::Value, Decision::Value(composed()))),
            ("decided-holds", decided(Question::Again(3), Decision::Holds(true))),
            ("decided-branch", decided(Question::Branch, Decision::Branch(Some(1)))),
            ("decided-no-branch", decided(Question::Branch, Decision::Branch(None))),
            ("decided-millis", decided(Question::Duration, Decision::Millis(1_500))),
            ("decided-pins", decided(Question::Pins, Decision::Pins(pins().into()))),
            ("decided-failed", decided(Question::Input, Decision::Failed(failure()))),
            ("child-succeeded", child(Ok(Datum::stored(Digest::of(b"abc"), 3)))),
            ("child-failed", child(Err(failure()))),
            ("signal", (RecordName::Signal("s1".parse().unwrap()), signal)),
            ("cancel", (RecordName::Cancel(0), Event::Cancel { generation: 0 })),
            ("pause", (RecordName::Pause(0), Event::Pause)),
            ("resume", (RecordName::Resume(0), Event::Resume)),
            ("retry", (RecordName::Retry(0), Event::Retry)),
            ("end-succeeded", end(Ending::Succeeded(json("[1, 2]")), Vec::new())),
            ("end-failed", end(Ending::Failed(failure()), vec![failure()])),
            ("end-cancelled", end(Ending::Cancelled, Vec::new())),
        ];
        plain.into_iter().map(|(file, (name, event))| (file, name, event)).collect()
    }

    fn named(record: &str) -> RecordName {
        super::name(&format!("lvg.t.run.7.{RUN}.{record}")).unwrap()
    }

    fn golden_dir() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v1")
    }

    /// A record as its golden file shows it: its name, its headers, an empty line, its body.
    fn shown(name: &RecordName, headers: &Headers, body: &Bytes) -> String {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{name}\n{headers}\n{}\n", std::str::from_utf8(body).unwrap())
    }

    fn read_golden(text: &str) -> (RecordName, Headers, Bytes) {
        let (head, body) = text.split_once("\n\n").unwrap();
        let (name, headers) = head.split_once('\n').unwrap();
        let headers = headers.lines().filter_map(|line| line.split_once(": ")).collect();
        (named(name), headers, Bytes::from(body.trim_end_matches('\n').to_owned()))
    }

    /// `LOVAGE_GOLDEN=write` writes the files of forms that have none yet; what is there is never written again.
    #[test]
    fn every_form_that_was_ever_written_reads_as_it_did() {
        for (file, name, event) in records() {
            let path = golden_dir().join(file).with_extension("txt");
            let (headers, body) = encode(&event).unwrap();
            let text = shown(&name, &headers, &body);
            if !path.exists() && std::env::var_os("LOVAGE_GOLDEN").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{file} has no golden file"));
            assert_eq!(text, golden, "{file}");
            let (name, headers, body) = read_golden(&golden);
            assert_eq!(decode(&name, &headers, &body), Ok(event), "{file}");
        }
    }

    #[test]
    fn no_golden_file_is_left_unread() {
        let known: Vec<String> = records().iter().map(|(file, ..)| format!("{file}.txt")).collect();
        for entry in std::fs::read_dir(golden_dir()).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            assert!(file == "index.jsonl" || known.contains(&file), "{file} is read by no test");
        }
    }

    #[test]
    fn a_newer_record_is_refused_by_name() {
        let newer = Headers::new().with(VERSION, "2");
        for (file, name, event) in records() {
            let (_, body) = encode(&event).unwrap();
            let rejection = decode(&name, &newer, &body).unwrap_err();
            assert!(is_newer(&rejection) && rejection.problem.contains("update it"), "{file}: {rejection}");
            assert!(!is_newer(&decode(&name, &Headers::new(), &body).unwrap_err()), "{file}: no version is none");
        }
    }

    #[test]
    fn a_body_of_another_form_is_refused() {
        let headers = headers();
        for (name, body) in [
            ("start", ""),
            ("start", "{}"),
            ("start", "nul"),
            ("decided.0.value", "{\"value\":{\"json\":1},\"x\":1}"),
            (
                "decided.0.value",
                "{\"value\":{\"json\":1,\"elsewhere\":[{\"at\":9,\"digest\":\"sha256:\",\"size\":1}]}}",
            ),
            ("decided.0.value", "\"value\""),
            ("child.0", "{\"succeeded\":1}"),
            ("signal.a", "{\"name\":\"a.b\",\"payload\":{\"json\":1}}"),
            ("end", "{\"result\":\"lost\"}"),
        ] {
            let name = named(name);
            assert!(decode(&name, &headers, &Bytes::from_static(body.as_bytes())).is_err(), "{name} {body}");
        }
        // A reference where the text has no place for one.
        let digest = Digest::of(b"x");
        let misplaced = format!(r#"{{"value":{{"json":[1],"elsewhere":[{{"at":1,"digest":"{digest}","size":1}}]}}}}"#);
        assert!(decode(&named("decided.0.value"), &headers, &misplaced.into()).is_err());
    }

    #[test]
    fn values_nested_as_deep_as_they_like_are_read() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        let event = Event::Signal { name: "s".parse().unwrap(), payload: Datum::parse(&deep.into()).unwrap() };
        let (headers, body) = encode(&event).unwrap();
        assert_eq!(decode(&RecordName::Signal("a".parse().unwrap()), &headers, &body), Ok(event));
    }

    #[test]
    fn the_values_of_a_record_can_be_moved_elsewhere() {
        let counts: Vec<(&str, usize)> = records()
            .into_iter()
            .map(|(file, name, mut event)| {
                for value in values_mut(&mut event) {
                    *value = Datum::stored(Digest::of(b"moved"), 5);
                }
                let (headers, body) = encode(&event).unwrap();
                let mut read = decode(&name, &headers, &body).unwrap();
                assert!(values_mut(&mut read).iter().all(|value| value.is_stored()), "{file}");
                (file, values_mut(&mut read).len())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        let expected = [
            ("start-small", 1),
            ("start-full", 3),
            ("decided-value", 1),
            ("decided-pins", 1),
            ("child-succeeded", 1),
            ("signal", 1),
            ("end-succeeded", 1),
        ];
        assert_eq!(counts, expected);
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in "\\PC{0,200}", which in 0..20_usize) {
            let (_, name, _) = records().swap_remove(which);
            drop(decode(&name, &headers(), &body.into()));
        }

        #[test]
        fn no_change_of_a_byte_makes_the_reader_panic(which in 0..20_usize, at in any::<proptest::sample::Index>(), byte: u8) {
            let (_, name, event) = records().swap_remove(which);
            let (headers, body) = encode(&event).unwrap();
            let mut body = body.to_vec();
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
            drop(decode(&name, &headers, &body.into()));
        }

        #[test]
        fn no_name_makes_the_reader_panic(text in "\\PC{0,80}") {
            drop(super::name(&text));
            drop(super::name(&format!("lvg.t.run.7.{RUN}.{text}")));
            drop(place(&text));
            drop(place(&format!("lvg.t.run.7.{RUN}.{text}")));
        }
    }
}

//! Records of journals that are not as they should be: each is refused by the part that is wrong, and a newer one by its version.
#![cfg(test)]

use bytes::Bytes;
use lovage::model::{Datum, Failure, Kind, StepId};
use lovage::protocol::{Headers, Rejection};
use lovage::workflow::journal::{Decision, End, Ending, Event, Question};
use lovage::workflow::timer::{Purpose, TimerId};
use lovage::workflow::wire::{self, RecordName};

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn root() -> StepId {
    StepId::root()
}

fn decided() -> RecordName {
    RecordName::Decided { step: root(), question: Question::Value, generation: 0 }
}

fn child() -> RecordName {
    RecordName::Child { step: root(), generation: 0 }
}

fn signal() -> RecordName {
    RecordName::Signal("s".parse().unwrap())
}

fn read(name: &RecordName, body: &str) -> Result<Event, Rejection> {
    wire::decode(name, &wire::headers(), &Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn a_record_of_another_form_is_refused_by_its_kind() {
    let start = r#"{"core_version":1,"run":"01jd0000000000000000000007","document":{"json":{}},"limits":{}}"#;
    for (name, body, place, words) in [
        (RecordName::Start, "", "start record", "EOF"),
        (RecordName::Start, "{}", "start record", "missing field `core_version`"),
        (RecordName::Start, &start.replace("01jd", "01JD"), "start record", "invalid run id"),
        (RecordName::Start, &start.replace("\"run\"", "\"ran\""), "start record", "unknown field `ran`"),
        (RecordName::Start, &start.replace(":1,", ":-1,"), "start record", "invalid value"),
        (RecordName::Start, &start.replace("{\"json\":{}}", "{}"), "start record", "missing field `json`"),
        (decided(), "null", "decision", "expected"),
        (decided(), r#""holds""#, "decision", "expected"),
        (decided(), r#"{"holds":1}"#, "decision", "invalid type"),
        (decided(), r#"{"branch":-1}"#, "decision", "invalid value"),
        (decided(), r#"{"millis":1.5}"#, "decision", "invalid type"),
        (decided(), r#"{"holds":true,"millis":1}"#, "decision", "expected"),
        (decided(), r#"{"value":{"json":1,"more":2}}"#, "decision", "unknown field `more`"),
        (decided(), r#"{"guess":1}"#, "decision", "unknown variant `guess`"),
        (decided(), r#"{"pins":{"modules":{"m":{"version":"1"}}}}"#, "decision", "missing field `digest`"),
        (decided(), r#"{"failed":{"kind":"sad","message":""}}"#, "decision", "unknown variant `sad`"),
        (child(), r#"{"succeeded":{"json":}}"#, "end of a child run", "expected value"),
        (child(), r#"{"cancelled":null}"#, "end of a child run", "unknown variant `cancelled`"),
        (signal(), r#"{"name":"a.b","payload":{"json":1}}"#, "signal", "invalid signal name"),
        (signal(), r#"{"payload":{"json":1}}"#, "signal", "missing field `name`"),
        (RecordName::End(0), r#"{"result":"succeeded"}"#, "end record", "invalid type"),
        (RecordName::End(0), r#"{"result":{"cancelled":1}}"#, "end record", "invalid type"),
        (RecordName::End(0), r#"{"result":"cancelled"} "#, "", ""),
        (RecordName::End(0), r#"{"result":"cancelled"}x"#, "end record", "trailing characters"),
        (RecordName::End(0), r#"{"result":"cancelled","compensation_failures":[1]}"#, "end record", "invalid type"),
    ] {
        match read(&name, body) {
            Ok(_) => assert_eq!(place, "", "{name} {body}"),
            Err(told) => {
                assert_eq!(told.place, place, "{name} {body}: {told}");
                assert!(told.problem.contains(words), "{name} {body}: {told}");
                assert!(!wire::is_newer(&told), "an update helps nothing: {told}");
            }
        }
    }
}

#[test]
fn a_part_that_stands_elsewhere_has_its_place_in_the_value() {
    let value = |json: &str, at: usize| {
        format!(r#"{{"value":{{"json":{json},"elsewhere":[{{"at":{at},"digest":"{DIGEST}","size":3}}]}}}}"#)
    };
    let of = |body: &str| read(&decided(), body);
    let Ok(Event::Decided { decision: Decision::Value(datum), .. }) = of(&value("[1, null]", 4)) else {
        panic!("a decision");
    };
    assert_eq!((datum.text().as_ref(), datum.elsewhere().len()), (&b"[1, null]"[..], 1), "as it was written");
    for (json, at) in [("[1, null]", 3), ("[1, null]", 9), ("[1, 2]", 4), ("null", usize::MAX)] {
        let told = of(&value(json, at)).unwrap_err();
        assert_eq!(told.to_string(), "value: a reference stands where the text has no place for one", "{json} {at}");
    }
    let told = of(&value("null", 0).replace("sha256:", "md5:")).unwrap_err();
    assert!(told.to_string().starts_with("decision: invalid digest"), "{told}");
    // Blanks of another writer around a value are none of it.
    let Ok(Event::Signal { payload, .. }) =
        read(&signal(), "{ \"name\": \"Go\", \"payload\": { \"json\":  {\"a\":1}  } }")
    else {
        panic!("a signal");
    };
    assert_eq!(payload.text(), "{\"a\":1}");
}

#[test]
fn a_record_says_its_version_before_anything_else() {
    let of = |headers: &Headers| wire::decode(&RecordName::Start, headers, &Bytes::from_static(b"not JSON"));
    let missing = of(&Headers::new()).unwrap_err();
    assert_eq!(missing.to_string(), "journal record: its version is missing");
    assert!(!wire::is_newer(&missing));
    for version in ["2", "0", "-1", "1.0", "", "4294967296"] {
        let newer = of(&Headers::new().with("Lovage-Version", version)).unwrap_err();
        assert_eq!(
            newer.to_string(),
            format!("Lovage-Version: {version:?} is not version 1, which this program reads: update it")
        );
        assert!(wire::is_newer(&newer));
    }
    // Records without a body have a version, too.
    for name in [RecordName::Cancel(0), RecordName::Pause(0), RecordName::Resume(0), RecordName::Retry(0)] {
        assert!(wire::decode(&name, &wire::headers(), &Bytes::new()).is_ok(), "{name}");
        assert!(wire::decode(&name, &wire::headers().with("Lovage-Version", "2"), &Bytes::new()).is_err(), "{name}");
    }
}

#[test]
fn what_a_host_wrote_of_an_attempt_is_json() {
    let name = RecordName::Step { step: root(), attempt: 1 };
    let of = |state: &str, body: &'static str| {
        let headers = Headers::new().with("Lovage-Version", "2").with("Lovage-State", state);
        wire::decode(&name, &headers, &Bytes::from_static(body.as_bytes()))
    };
    assert!(of("succeeded", " [1] ").is_ok());
    for (state, body, told) in [
        ("succeeded", "", "outcome: it is not JSON: EOF while parsing a value at line 1 column 0"),
        ("succeeded", "[1", "outcome: it is not JSON: EOF while parsing a list at line 1 column 2"),
        ("replaced", "{]", "outcome: it is not JSON: key must be a string at line 1 column 2"),
        ("failed", "{}", "failure: missing field `kind` at line 1 column 2"),
        ("done", "1", "Lovage-State: \"done\" is no end of an attempt"),
    ] {
        assert_eq!(of(state, body).unwrap_err().to_string(), told);
    }
}

#[test]
fn values_of_a_record_are_found_so_that_they_can_be_moved() {
    let one = Datum::of_json(&serde_json::json!({"a": 1}));
    let failure = Failure::new(Kind::Returned, "no");
    let ended = |result| Event::End { generation: 0, end: End { result, compensation_failures: Vec::new() } };
    let decision = |decision| Event::Decided { step: root(), question: Question::Value, decision, generation: 0 };
    let timer = TimerId { step: root(), purpose: Purpose::Sleep, generation: 0 };
    for (mut event, values) in [
        (ended(Ending::Succeeded(one.clone())), 1),
        (ended(Ending::Failed(failure.clone())), 0),
        (ended(Ending::Cancelled), 0),
        (decision(Decision::Value(one.clone())), 1),
        (decision(Decision::Holds(true)), 0),
        (decision(Decision::Failed(failure.clone())), 0),
        (Event::Child { step: root(), generation: 0, end: Ok(one.clone()) }, 1),
        (Event::Child { step: root(), generation: 0, end: Err(failure) }, 0),
        (Event::Signal { name: "go".parse().unwrap(), payload: one.clone() }, 1),
        (Event::Timer(timer), 0),
        (Event::Cancel { generation: 1 }, 0),
        (Event::Pause, 0),
    ] {
        let found = wire::values_mut(&mut event);
        assert_eq!(found.len(), values);
        // What is put in a value's place is what is written.
        for value in found {
            *value = Datum::null();
        }
        let (_, body) = wire::encode(&event).unwrap();
        assert_eq!(String::from_utf8_lossy(&body).contains("{\"json\":null}"), values == 1, "{event:?}");
        assert!(!String::from_utf8_lossy(&body).contains("\"a\""), "{event:?}");
    }
}

#[test]
fn a_timer_of_a_retried_run_is_none_of_an_earlier_one() {
    let timer = |purpose, generation| TimerId { step: root().child(1), purpose, generation };
    for (timer, text) in [
        (timer(Purpose::Delay(1), 0), "0-1.delay1"),
        (timer(Purpose::Backoff(2), 1), "0-1.backoff2-1"),
        (timer(Purpose::Expires(3), 0), "0-1.expires3"),
        (timer(Purpose::Timeout, 2), "0-1.timeout0-2"),
        (timer(Purpose::Sleep, 0), "0-1.sleep0"),
        (timer(Purpose::Poll(u32::MAX), 0), "0-1.poll4294967295"),
        (timer(Purpose::Drain(1), 0), "0-1.drain1"),
        (timer(Purpose::Watchdog(7), 10), "0-1.watchdog7-10"),
        (timer(Purpose::Room(1 << 40), 0), "0-1.room1099511627776"),
    ] {
        assert_eq!(timer.to_string(), text);
        assert_eq!(text.parse(), Ok(timer));
    }
    for bad in [
        "0-1",
        "0-1.",
        "0-1.delay",
        "0-1.delay-1",
        "0-1.delay01",
        "0-1.delay1-0",
        "0-1.delay1-01",
        "0-1.delay1-",
        "0-1.delay1-1-1",
        "0-1.delay4294967296",
        "0-1.room18446744073709551616",
        "0-1.timeout1",
        "0-1.Delay1",
        "1.delay1",
        "0-1.1delay",
        "0-1.delay1.2",
        ".delay1",
    ] {
        let told = bad.parse::<TimerId>().unwrap_err().to_string();
        assert_eq!(told, format!("{bad:?} names no timer"));
    }
}

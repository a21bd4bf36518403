//! Messages from strangers: the bounds of each header to the byte, the exact words of a refusal, and what is read of lines of batches
//! and of values in parts.
#![cfg(test)]

use std::time::Duration;

use bytes::Bytes;
use lovage::model::datum::{self, Elsewhere};
use lovage::model::limits::{FuelWish, Off};
use lovage::model::signature::{InvalidOptions, LABEL_LEN_MAX, LABELS_MAX, Wanted};
use lovage::model::singleton::Mode;
use lovage::model::{Datum, Digest, Failure, Kind, Policy, TaskKey, Value};
use lovage::protocol::batch::Defaults;
use lovage::protocol::debounce::{DEBOUNCE, DEBOUNCE_KEY, DEBOUNCE_TIMEOUT};
use lovage::protocol::headers::Headers;
use lovage::protocol::limit::LIMITS;
use lovage::protocol::note::{LogLine, Progress, printable};
use lovage::protocol::singleton::{SINGLETON, SINGLETON_MODE};
use lovage::protocol::subject::Priority;
use lovage::protocol::task::TaskMessage;
use lovage::protocol::{Rejection, webhook};

const DURATION: &str = "it takes a duration such as 100ms, 5s, 1h30m or 2d, of a year at most";

fn with(name: &str, value: impl Into<String>) -> Result<TaskMessage, Rejection> {
    TaskMessage::decode(&Headers::new().with("Lovage-Task", "m/t").with(name, value), &Bytes::new())
}

/// A header, its value, and why it is refused.
type Row = (&'static str, String, String);

fn refused(rows: Vec<Row>) {
    for (header, value, told) in rows {
        let rejection = with(header, value).unwrap_err();
        assert_eq!((rejection.place.as_str(), rejection.problem.as_str()), (header, told.as_str()));
    }
}

#[test]
fn numbers_and_times_of_a_task_are_refused_in_these_words() {
    let name = "it takes 1 to 64 characters of a-z, 0-9, '_' and '-'";
    refused(vec![
        (
            "Lovage-Task",
            "m".to_owned(),
            "invalid task \"m\": it takes the form module/task or module@version/task".to_owned(),
        ),
        ("Lovage-Task", "M/t".to_owned(), format!("invalid module name \"M\": {name}")),
        ("Lovage-Attempt", "0".to_owned(), "it takes a number from 1 to 1000".to_owned()),
        ("Lovage-Attempt", "1001".to_owned(), "it takes a number from 1 to 1000".to_owned()),
        ("Lovage-Attempt", "1.0".to_owned(), "invalid digit found in string".to_owned()),
        ("Lovage-Attempt", "4294967296".to_owned(), "number too large to fit in target type".to_owned()),
        ("Lovage-Retry", "0".to_owned(), "attempts must be from 1 to 1000".to_owned()),
        (
            "Lovage-Retry",
            "[3]".to_owned(),
            "a retry policy is a number of attempts, or a map of attempts, backoff, factor, max, jitter and on"
                .to_owned(),
        ),
        ("Lovage-Retry", "3 4".to_owned(), "trailing characters at line 1 column 3".to_owned()),
        ("Lovage-Fuel", "on".to_owned(), "invalid digit found in string".to_owned()),
        ("Lovage-Fuel", String::new(), "cannot parse integer from empty string".to_owned()),
        ("Lovage-Memory", "1e6".to_owned(), "invalid digit found in string".to_owned()),
        ("Lovage-Attempt-Timeout", "60".to_owned(), format!("invalid time \"60\": {DURATION}")),
        ("Lovage-Cancel-Grace", "367d".to_owned(), format!("invalid time \"367d\": {DURATION}")),
    ]);
}

#[test]
fn labels_keys_and_limits_of_a_task_are_refused_in_these_words() {
    refused(vec![
        (
            "Lovage-Expires",
            "5m".to_owned(),
            "invalid time \"5m\": it takes RFC 3339, as in 2026-11-22T07:30:00Z".to_owned(),
        ),
        (
            "Lovage-Labels",
            "a=1,,b=2".to_owned(),
            "invalid label \"\": it takes the form key=value, up to 128 bytes without commas".to_owned(),
        ),
        (
            "Lovage-Requires",
            "=yes".to_owned(),
            "invalid label \"=yes\": it takes the form key=value, up to 128 bytes without commas".to_owned(),
        ),
        ("Lovage-Form", "Composed".to_owned(), "it takes composed".to_owned()),
        ("Lovage-Digest", "sha256:".to_owned(), "invalid digest: it takes sha256: and 64 hexadecimal digits".to_owned()),
        ("Lovage-Idempotency-Key", "k".repeat(257), "it takes up to 256 bytes".to_owned()),
        (SINGLETON, String::new(), "it takes 1 to 256 bytes".to_owned()),
        (SINGLETON, "ä".repeat(129), "it takes 1 to 256 bytes".to_owned()),
        (DEBOUNCE, "999ms".to_owned(), "invalid period 999ms of a debounce: it takes 1s to 7d".to_owned()),
        (DEBOUNCE, "8d".to_owned(), "invalid period 8d of a debounce: it takes 1s to 7d".to_owned()),
        (DEBOUNCE, "often".to_owned(), format!("invalid time \"often\": {DURATION}")),
        (LIMITS, "[]x".to_owned(), "trailing characters at line 1 column 3".to_owned()),
        (
            LIMITS,
            r#"[{"name":"a","rule":{"rate":"10/y"}}]"#.to_owned(),
            "invalid rate \"10/y\": it takes a number from 1 on, a slash, and s, m, h or d, as in 10/s or 600/h, up to 10000/s \
             at line 1 column 35"
                .to_owned(),
        ),
        (
            LIMITS,
            r#"[{"name":"a","rule":{"concurrency":2,"burst":3}}]"#.to_owned(),
            "invalid burst 3: it takes a number from 1 to 1000, beside a rate".to_owned(),
        ),
    ]);
    let digest = Digest::of(b"abc");
    for bad in [
        "",
        "abc 3",
        &format!("{digest}"),
        &format!("{digest} "),
        &format!("{digest} -1"),
        &format!("{digest}  3"),
        &format!("{digest} 3 4"),
    ] {
        let rejection = with("Lovage-Value", bad).unwrap_err();
        assert_eq!(rejection.to_string(), "Lovage-Value: it takes sha256:<digest> <size in bytes>", "{bad}");
    }
    let beside = |more: &str, value: &str| {
        let headers = Headers::new().with("Lovage-Task", "m/t").with(SINGLETON, "k").with(DEBOUNCE, "10s");
        TaskMessage::decode(&headers.with(more, value), &Bytes::new()).unwrap_err().to_string()
    };
    assert_eq!(
        beside(SINGLETON_MODE, "replace"),
        "Lovage-Singleton-Mode: invalid mode \"replace\" of a singleton: it takes skip or cancel"
    );
    assert_eq!(
        beside(DEBOUNCE_TIMEOUT, "9s"),
        "Lovage-Debounce: invalid timeout 9s of a debounce: it takes its period to 30d"
    );
    assert_eq!(beside(DEBOUNCE_KEY, ""), "Lovage-Debounce-Key: it takes 1 to 256 bytes");
}

#[test]
fn headers_of_a_task_are_read_up_to_their_bounds() {
    let options = |name: &str, value: &str| with(name, value).unwrap().signature.options;
    assert_eq!(with("Lovage-Attempt", " 1000 ").unwrap().attempt, 1_000, "white space around a number is none of it");
    assert_eq!(options("Lovage-Fuel", "off").limits.fuel, Some(FuelWish::Off(Off::Off)));
    assert_eq!(options("Lovage-Fuel", &u64::MAX.to_string()).limits.fuel, Some(FuelWish::Units(u64::MAX)));
    assert_eq!(options("Lovage-Retry", "1000").retry, Policy::of_attempts(1_000));
    assert_eq!(options("Lovage-Attempt-Timeout", "1.5s").limits.attempt_timeout_ms, Some(1_500));
    assert_eq!(options("lovage-cancel-grace", "0ms").limits.cancel_grace_ms, Some(0), "in any case of letters");
    assert_eq!(options("Lovage-Idempotency-Key", &"k".repeat(256)).idempotency_key.map(|key| key.len()), Some(256));
    assert_eq!(
        options(SINGLETON, &"k".repeat(256)).singleton.map(|one| (one.key.len(), one.mode)),
        Some((256, Mode::Skip))
    );
    let timing = options(DEBOUNCE, "7d").debounce.unwrap().timing;
    assert_eq!((timing.period, timing.timeout), (Duration::from_secs(604_800), None));
    // A mode or a timeout of nothing is nothing.
    assert_eq!(options(SINGLETON_MODE, "cancel").singleton, None);
    assert_eq!(options(DEBOUNCE_TIMEOUT, "1s").debounce, None);
    let labels = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
    assert_eq!(options("Lovage-Labels", &labels(LABELS_MAX)).labels.len(), LABELS_MAX);
    let told = with("Lovage-Labels", labels(LABELS_MAX + 1)).unwrap_err();
    assert_eq!(told.to_string(), "Lovage-Labels: it takes up to 16 labels");
    assert_eq!(
        options("Lovage-Requires", "a=,b==").requires,
        [("a".into(), String::new()), ("b".into(), "=".into())].into()
    );
    let long = |length: usize| with("Lovage-Labels", format!("a={}", "x".repeat(length - 2)));
    assert!(long(LABEL_LEN_MAX).is_ok() && long(LABEL_LEN_MAX + 1).is_err());
    // A trace context that is none is left out: it is no reason to refuse a task.
    let trace = |length: usize| with("traceparent", "0".repeat(length)).unwrap().traceparent.is_some();
    assert_eq!((trace(64), trace(65)), (true, false));
    let stored = with("Lovage-Value", format!("{} 18446744073709551615", Digest::of(b"abc"))).unwrap();
    assert_eq!(stored.signature.input, Value::Stored { digest: Digest::of(b"abc"), size: u64::MAX });
}

#[test]
fn of_two_headers_of_one_name_the_first_counts() {
    let headers: Headers = [("a", "1"), ("A", "2"), ("b", "3")].into_iter().collect();
    assert_eq!((headers.value("A"), headers.value("B"), headers.value("c")), (Some("1"), Some("3"), None));
    assert_eq!(headers.clone().with("A", "4").iter().collect::<Vec<_>>(), [("a", "4"), ("A", "2"), ("b", "3")]);
    let mut without = headers.clone();
    without.remove("A");
    assert_eq!(without.iter().collect::<Vec<_>>(), [("b", "3")], "all of that name");
    let sent = Headers::new().with("x", "\t a b \u{a0}").with("y", "").with("z", "c");
    let received: Vec<(String, String)> =
        sent.as_received().iter().map(|(name, value)| (name.into(), value.into())).collect();
    assert_eq!(received, [("x".into(), "a b".into()), ("y".into(), String::new()), ("z".into(), "c".into())]);
    assert!(Headers::new().is_empty() && !headers.is_empty());
    assert_eq!(webhook::attempt(&Headers::new()), 1);
    for (text, attempt) in [("7", 7), ("", 1), ("x", 1), ("-1", 1), ("4294967296", 1)] {
        assert_eq!(webhook::attempt(&Headers::new().with(webhook::DELIVERY_ATTEMPT, text)), attempt, "{text}");
    }
}

#[test]
fn a_refusal_echoes_no_more_than_a_bound() {
    let rejection = Rejection::new("ä".repeat(1_000), "ü".repeat(1_000));
    assert_eq!((rejection.place.chars().count(), rejection.problem.chars().count()), (400, 400));
    let told = with("Lovage-Labels", "x".repeat(7_000)).unwrap_err().to_string();
    assert_eq!(
        told,
        format!(
            "Lovage-Labels: invalid label {:?}: it takes the form key=value, up to 128 bytes without commas",
            "x".repeat(80)
        )
    );
    let failure = Failure::new(Kind::Trap, "€".repeat(2_000));
    assert_eq!(failure.message, format!("{}…", "€".repeat(1_365)), "cut between characters");
    assert_eq!(failure.to_string(), format!("trap: {}", failure.message));
    assert_eq!("Trap".parse::<Kind>().unwrap_err().to_string(), "unknown kind of failure \"Trap\"");
    let labels = InvalidOptions::Labels(17).to_string();
    assert_eq!(labels, "a task takes up to 16 labels, not 17");
}

#[test]
fn a_line_of_a_batch_is_refused_in_these_words() {
    let told = |line: &str| Defaults::default().read(line).unwrap_err();
    for (line, expected) in [
        ("null", "invalid type: null, expected struct Whole at line 1 column 4"),
        (r#"{"task":"m/t","task":"m/t"}"#, "duplicate field `task` at line 1 column 20"),
        (r#"{"task":"m/t","priority":10}"#, "priority: it takes a number from 0 to 9, 9 first"),
        (r#"{"task":"m/t","labels":{"a=b":"c"}}"#, "a label's name takes no =: \"a=b\""),
        (r#"{"task":"m/t","requires":{"a=b":"c"}}"#, "requires: a label's name takes no =: \"a=b\""),
        (
            r#"{"task":"m/t","labels":{"":"c"}}"#,
            "invalid label \"=c\": it takes the form key=value, up to 128 bytes without commas",
        ),
        (
            r#"{"task":"m/t","delay":"1y"}"#,
            "delay: invalid time \"1y\": it takes a duration such as 100ms, 5s, 1h30m or 2d, of a year at most",
        ),
    ] {
        assert_eq!(told(line), expected, "{line}");
    }
    assert!(told(r#"{"task":"m/t","priority":256}"#).starts_with("invalid value: integer `256`, expected u8"));
    let inputs = Defaults { task: Some("m/t".parse().unwrap()), ..Defaults::default() };
    assert_eq!(inputs.read("").unwrap_err(), "no JSON: EOF while parsing a value at line 1 column 0");
    assert_eq!(inputs.read("1 2").unwrap_err(), "no JSON: trailing characters at line 1 column 3");
    let wanted = |expires| Wanted { expires: Some(Duration::from_secs(expires)), timeout: None };
    // What a line says is in place of what the command says; labels are added to its own.
    let mut defaults = Defaults { priority: Priority::new(9), wanted: wanted(7), ..Defaults::default() };
    defaults.options.labels.insert("a".to_owned(), "1".to_owned());
    defaults.options.idempotency_key = Some("k".to_owned());
    let line = r#"{"task":"m/t","priority":0,"expires":"1s","idempotency_key":"l","labels":{"a":"2","b":"3"}}"#;
    let entry = defaults.read(line).unwrap();
    assert_eq!((entry.priority.number(), entry.wanted), (0, wanted(1)));
    let options = entry.signature.options;
    assert_eq!(
        (options.idempotency_key.as_deref(), options.labels.len(), options.labels["a"].as_str()),
        (Some("l"), 2, "2")
    );
    let entry = defaults.read(r#"{"task":"m/t"}"#).unwrap();
    assert_eq!((entry.priority.number(), entry.wanted), (9, wanted(7)));
    assert_eq!(entry.signature.options, defaults.options);
}

#[test]
fn a_value_in_parts_is_refused_where_a_part_has_no_place() {
    let part = |at: usize| Elsewhere { at, digest: Digest::of(b"x"), size: 1 };
    let of = |text: &'static str, parts: &[usize]| {
        Datum::of_parts(&Bytes::from_static(text.as_bytes()), parts.iter().copied().map(part).collect()).map(drop)
    };
    let misplaced = Err(datum::Error::Misplaced);
    for (text, parts, expected) in [
        ("null", &[][..], Ok(())),
        ("null", &[0], Ok(())),
        ("[null,null]", &[1, 6], Ok(())),
        ("[null,null]", &[6, 1], misplaced.clone()),
        ("[null,null]", &[1, 1], misplaced.clone()),
        ("[null]", &[2], misplaced.clone()),
        ("[1]", &[1], misplaced.clone()),
        ("null", &[1], misplaced.clone()),
        ("null", &[usize::MAX], misplaced.clone()),
    ] {
        assert_eq!(of(text, parts), expected, "{text} {parts:?}");
    }
    assert!(matches!(of("[null", &[1]), Err(datum::Error::NotJson(_))));
    for (text, what) in [
        ("{}", "an object"),
        ("\"[]\"", "a string"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        ("null", "null"),
        ("-1", "a number"),
    ] {
        let told = Datum::parse(&Bytes::from_static(text.as_bytes())).unwrap().items().unwrap_err().to_string();
        assert_eq!(told, format!("it is {what}, not an array"));
    }
    let stored = Datum::stored(Digest::of(b"x"), 7);
    assert!(stored.is_stored() && !Datum::null().is_stored());
    assert_eq!((stored.size(), stored.to_json(), Datum::null().to_json()), (11, None, Some(serde_json::Value::Null)));
    let object = Datum::object([("a", &stored), ("b", &Datum::null())]);
    assert_eq!((object.text().as_ref(), object.elsewhere()[0].at), (&b"{\"a\":null,\"b\":null}"[..], 5));
    assert_eq!(object.as_value(), None);
}

#[test]
fn what_guests_say_is_read_and_shown_without_their_tricks() {
    let line = r#"{"at":1,"attempt":2,"level":"error","message":"\u001b]0;x\u0007"}"#;
    let read: LogLine = serde_json::from_str(line).unwrap();
    assert_eq!(printable(&read.message), "\\u{1b}]0;x\\u{7}");
    for bad in
        [line.replace("error", "loud"), line.replace("\"attempt\":2,", ""), line.replace('2', "-2"), "[]".to_owned()]
    {
        assert!(serde_json::from_str::<LogLine>(&bad).is_err(), "{bad}");
    }
    let least: Progress = serde_json::from_str(r#"{"at":1,"attempt":1,"done":0.5}"#).unwrap();
    assert_eq!((least.total, least.note), (None, None));
    for (text, shown) in [
        ("", ""),
        ("a\tb", "a\tb"),
        ("a\r\nb", "a\\r\\nb"),
        ("\0\u{7f}\u{9b}31m", "\\u{0}\\u{7f}\\u{9b}31m"),
        ("\u{202a}\u{202e}\u{2066}\u{2069}", "\\u{202a}\\u{202e}\\u{2066}\\u{2069}"),
        // What is only unusual stays: soft hyphens, joiners, marks.
        ("e\u{301}\u{200d}\u{ad}👩\u{200d}🚀", "e\u{301}\u{200d}\u{ad}👩\u{200d}🚀"),
        ("\\u{1b}", "\\u{1b}"),
    ] {
        assert_eq!(printable(text), shown, "{text:?}");
    }
}

#[test]
fn a_key_of_a_task_is_written_in_one_way() {
    for number in ["0", "00", "01", "+1", "-1", "1e0", "1 ", "4294967296"] {
        assert_eq!(TaskKey::read(&format!("{}.0.{number}", "0".repeat(26))), None, "{number}");
    }
    let last = TaskKey::read(&format!("{}.0-1.4294967295", "0".repeat(26))).unwrap();
    assert!(matches!(last, TaskKey::Step(step) if step.attempt == u32::MAX && step.step.as_str() == "0-1"));
}

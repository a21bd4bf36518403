//! Every kind and field, and what they become.

use std::time::Duration;

use lovage::model::Policy;
use lovage::model::limits::{FuelWish, Off};
use lovage::workflow::flow::{Document, Kind, OnError, SleepFor, TaskOptions};

use crate::accepted;

/// The options of `{task: m/t, <fields>}`.
fn options(fields: &str) -> TaskOptions {
    accepted(&format!("{{task: m/t, {fields}}}")).flow.options
}

#[test]
fn a_file_is_a_node_or_a_document() {
    let bare = accepted("value: 1");
    assert_eq!((bare.name, bare.flow.place.as_str()), (None, ""));
    let document = accepted("name: nightly-etl\ninput: {type: object}\nflow:\n  chain:\n  - flow: child@2\n");
    assert_eq!(document.name.unwrap().as_str(), "nightly-etl");
    assert_eq!(document.input.unwrap(), serde_json::json!({"type": "object"}));
    let Kind::Chain(list) = document.flow.kind else { panic!("no chain") };
    assert_eq!(list[0].place, "/flow/chain/0");
    let Kind::Flow { name, version } = &list[0].kind else { panic!("no flow") };
    assert_eq!((name.as_str(), version.as_ref().unwrap().as_str()), ("child", "2"));
    assert!(matches!(accepted("flow: child").flow.kind, Kind::Flow { version: None, .. }));
}

#[test]
fn every_kind_is_read() {
    for (yaml, is) in [
        ("task: m@1/t", (|kind| matches!(kind, Kind::Task(_))) as fn(&Kind) -> bool),
        ("chain: []", |kind| matches!(kind, Kind::Chain(list) if list.is_empty())),
        ("group: [{value: 1}]", |kind| matches!(kind, Kind::Group(list) if list.len() == 1)),
        ("chord: {header: [], body: {value: 1}}", |kind| matches!(kind, Kind::Chord { .. })),
        ("{map: {value: 1}}", |kind| matches!(kind, Kind::Map { over: None, .. })),
        ("{starmap: {value: 1}, over: [[1]]}", |kind| matches!(kind, Kind::Starmap { over: Some(_), .. })),
        ("{chunks: {value: []}, size: 3, over: null}", |kind| {
            matches!(kind, Kind::Chunks { size: 3, over: Some(_), .. })
        }),
        (
            "{choose: [{when: true, then: {value: 1}}], else: {value: 2}}",
            |kind| matches!(kind, Kind::Choose { branches, otherwise: Some(_) } if branches[0].when.source() == "true"),
        ),
        ("{loop: {value: 1}, while: prev < 3, max: 5}", |kind| matches!(kind, Kind::Loop { max: 5, .. })),
        (
            "{poll: {value: 1}, every: 2s, until: prev > 1, timeout: 1m}",
            |kind| matches!(kind, Kind::Poll { every, .. } if *every == Duration::from_secs(2)),
        ),
        ("sleep: 0s", |kind| matches!(kind, Kind::Sleep(SleepFor::Fixed(Duration::ZERO)))),
        ("sleep: ${input.wait}", |kind| matches!(kind, Kind::Sleep(SleepFor::Template(_)))),
        ("wait: Go-on_1", |kind| matches!(kind, Kind::Wait(name) if name.as_str() == "Go-on_1")),
        ("value: {a: ['${prev}', null]}", |kind| matches!(kind, Kind::Value(_))),
    ] {
        assert!(is(&accepted(yaml).flow.kind), "{yaml}");
    }
}

#[test]
fn common_fields_are_read() {
    let node = accepted(
        "{group: [{value: 1}, {value: 2}], name: a_1, input: 5, on_error: collect, timeout: 1h30m, catch: {value: c},
          compensate: {value: u}, on_success: {value: s}, on_failure: {value: f}}",
    )
    .flow;
    assert_eq!(
        (node.name.unwrap().as_str(), node.on_error, node.timeout),
        ("a_1", Some(OnError::Collect), Some(Duration::from_secs(5_400)))
    );
    assert!(node.input.is_some());
    for (handler, place) in [
        (node.catch, "/catch"),
        (node.compensate, "/compensate"),
        (node.on_success, "/on_success"),
        (node.on_failure, "/on_failure"),
    ] {
        assert_eq!(handler.unwrap().place, place);
    }
    let map = accepted("{map: {value: 1}, need: 7, concurrency: 10000}").flow;
    assert_eq!((map.need, map.concurrency), (Some(7), Some(10_000)));
}

#[test]
fn what_only_a_task_has_is_read() {
    let node =
        accepted("{task: m/t, args: [1, '${prev}'], delay: 3s, limit_key: 'user-${input.id}', idempotency_key: k}")
            .flow;
    let Kind::Task(call) = node.kind else { panic!("no task") };
    assert_eq!(
        (call.task.to_string().as_str(), call.args.unwrap().len(), call.delay),
        ("m/t", 2, Some(Duration::from_secs(3)))
    );
    assert!(call.limit_key.is_some() && call.idempotency_key.is_some());
}

#[test]
fn options_are_read_on_a_task_and_on_what_holds_tasks() {
    let fields = "queue: slow, priority: 9, fuel: 1000, memory: 64MiB, expires: 1m, labels: {team: a}, requires: {gpu: 'yes'},
        retry: {attempts: 5, backoff: 100ms, factor: 1.5, max: 10s, jitter: false, on: [trap, deadline]}, attempt_timeout: 90s";
    let read = options(fields);
    assert_eq!(read.queue.as_ref().unwrap().as_str(), "slow");
    assert_eq!((read.priority, read.fuel, read.memory_bytes), (Some(9), Some(FuelWish::Units(1_000)), Some(64 << 20)));
    assert_eq!((read.expires, read.attempt_timeout), (Some(Duration::from_secs(60)), Some(Duration::from_secs(90))));
    assert_eq!((read.labels["team"].as_str(), read.requires["gpu"].as_str()), ("a", "yes"));
    let policy = read.retry.as_ref().unwrap();
    assert_eq!(
        serde_json::to_value(policy).unwrap(),
        serde_json::json!({"attempts": 5, "backoff": "100ms", "factor": 1.5, "max": "10s", "jitter": false, "on": ["trap", "deadline"]})
    );
    assert_eq!(accepted(&format!("{{chain: [], {fields}}}")).flow.options, read);
}

#[test]
fn options_have_short_forms() {
    assert_eq!(options("retry: 4").retry.unwrap(), Policy::of_attempts(4));
    assert_eq!(options("fuel: off").fuel, Some(FuelWish::Off(Off::Off)));
    for (text, bytes) in [
        ("1000", 1_000),
        ("1kB", 1_000),
        ("2 KiB", 2_048),
        ("1MB", 1_000_000),
        ("1GiB", 1 << 30),
        ("7B", 7),
        ("1GB", 1_000_000_000),
    ] {
        assert_eq!(options(&format!("memory: {text}")).memory_bytes, Some(bytes), "{text}");
    }
}

#[test]
fn json_and_yaml_are_read_the_same() {
    let yaml = "name: a\nflow:\n  chain:\n  - {task: m/t, args: [1.5, null, true, 'x'], retry: 2}\n  - sleep: 1s\n";
    let json = br#"{"name":"a","flow":{"chain":[{"task":"m/t","args":[1.5,null,true,"x"],"retry":2},{"sleep":"1s"}]}}"#;
    assert_eq!(format!("{:?}", accepted(yaml)), format!("{:?}", Document::parse_json(json).unwrap()));
}

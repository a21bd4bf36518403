//! Every problem of a document, with its exact text.

use lovage::workflow::flow::{Document, PROBLEMS_MAX};
use serde_json::{Value, json};

use crate::problems;

const KINDS: &str = "task, chain, group, chord, map, starmap, chunks, choose, loop, poll, sleep, wait, value, flow";
const OPTIONS_ON: &str = "task, chain, group, chord, map, starmap, chunks, choose, loop, poll";
const NAME: &str = "it takes 1 to 64 characters of a-z, 0-9, '_' and '-'";
const DURATION: &str = "it takes a duration such as 100ms, 5s, 1h30m or 2d, of a year at most";

/// Checks that each document has this one problem.
fn check(table: &[(&str, String)]) {
    for (yaml, expected) in table {
        assert_eq!(problems(yaml), std::slice::from_ref(expected), "{yaml}");
    }
}

fn own(table: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    table.iter().map(|(yaml, expected)| (*yaml, (*expected).to_owned())).collect()
}

#[test]
fn a_node_has_one_kind() {
    check(&[
        ("{}", format!("at the top: a node without a kind: it has one of {KINDS}")),
        ("{name: a, retry: 3}", format!("at the top: a node without a kind: it has one of {KINDS}")),
        ("{frobnicate: []}", format!("at the top: unknown kind \"frobnicate\": a node has one of {KINDS}")),
        ("{tsk: m/t}", "at the top: unknown field \"tsk\" (did you mean \"task\"?)".to_owned()),
        (
            "{flow: {chain: [{value: 1}, {value: 2}, {tsk: m/t}]}}",
            "at /flow/chain/2: unknown field \"tsk\" (did you mean \"task\"?)".to_owned(),
        ),
        ("{chain: [], group: []}", "at the top: \"chain\" and \"group\" in one node: it takes one kind".to_owned()),
        ("{map: {task: m/t, flow: x}}", "at /map: \"task\" and \"flow\" in one node: it takes one kind".to_owned()),
        ("[]", "at the top: a node is a map such as {task: module/task}, not a list".to_owned()),
        ("{chain: [m/t]}", "at /chain/0: a node is a map such as {task: module/task}, not a string".to_owned()),
        (
            "{chain: [{value: 1, catch: }]}",
            "at /chain/0/catch: a node is a map such as {task: module/task}, not null".to_owned(),
        ),
    ]);
}

#[test]
fn a_document_has_three_fields() {
    check(&[
        ("{flow: {value: 1}, nam: x}", "at the top: unknown field \"nam\" of a document (did you mean \"name\"?)".to_owned()),
        ("{flow: {value: 1}, retry: 3}", "at the top: unknown field \"retry\" of a document (it belongs into the node below \"flow\")".to_owned()),
        ("{flow: {value: 1}, name: 5}", "at /name: it takes a string, not a number".to_owned()),
        ("{flow: {value: 1}, name: A}", format!("at /name: invalid flow name \"A\": {NAME}")),
        ("{flow: {value: 1}, input: 5}", "at /input: it takes a JSON Schema, which is a map, not a number".to_owned()),
        ("{flow: [], name: x}", "at /flow: it takes the name of a stored flow (in a document, where it is a map, it stands at the top), not a list".to_owned()),
    ]);
}

#[test]
fn fields_belong_to_kinds() {
    check(&[
        ("{task: m/t, retries: 3}", "at the top: unknown field \"retries\"".to_owned()),
        ("{task: m/t, Retry: 3}", "at the top: unknown field \"Retry\" (did you mean \"retry\"?)".to_owned()),
        ("{task: m/t, on-error: stop}", "at the top: unknown field \"on-error\"".to_owned()),
        ("{chain: [], delay: 1s}", "at the top: \"delay\" does not go with \"chain\", only with task".to_owned()),
        (
            "{group: [], limit_key: x}",
            "at the top: \"limit_key\" does not go with \"group\", only with task".to_owned(),
        ),
        (
            "{sleep: 1s, idempotency_key: x}",
            "at the top: \"idempotency_key\" does not go with \"sleep\", only with task".to_owned(),
        ),
        ("{chain: [], args: []}", "at the top: \"args\" does not go with \"chain\", only with task".to_owned()),
        (
            "{chord: {header: [], body: {value: 1}}, on_error: stop}",
            "at the top: \"on_error\" does not go with \"chord\", only with group, map, starmap, chunks".to_owned(),
        ),
        (
            "{starmap: {value: 1}, need: 1}",
            "at the top: \"need\" does not go with \"starmap\", only with group, map".to_owned(),
        ),
        (
            "{group: [], concurrency: 1}",
            "at the top: \"concurrency\" does not go with \"group\", only with map, starmap, chunks".to_owned(),
        ),
        (
            "{group: [], over: []}",
            "at the top: \"over\" does not go with \"group\", only with map, starmap, chunks".to_owned(),
        ),
        ("{map: {value: 1}, size: 1}", "at the top: \"size\" does not go with \"map\", only with chunks".to_owned()),
        (
            "{chain: [], else: {value: 1}}",
            "at the top: \"else\" does not go with \"chain\", only with choose".to_owned(),
        ),
        ("{sleep: 1s, retry: 3}", format!("at the top: \"retry\" does not go with \"sleep\", only with {OPTIONS_ON}")),
        ("{flow: child, queue: q}", format!("at the top: \"queue\" does not go with \"flow\", only with {OPTIONS_ON}")),
    ]);
}

#[test]
fn what_a_kind_needs_has_to_be_there() {
    check(&own(&[
        ("{chunks: {value: []}}", "at the top: \"chunks\" needs \"size\""),
        ("{loop: {value: 1}, max: 3}", "at the top: \"loop\" needs \"while\""),
        ("{loop: {value: 1}, while: prev < 3}", "at the top: \"loop\" needs \"max\""),
        ("{poll: {value: 1}, every: 1s, until: prev > 1}", "at the top: \"poll\" needs \"timeout\""),
        ("{poll: {value: 1}, every: 1s, timeout: 1m}", "at the top: \"poll\" needs \"until\""),
        ("{poll: {value: 1}, until: prev > 1, timeout: 1m}", "at the top: \"poll\" needs \"every\""),
        ("{chord: {header: []}}", "at /chord: it needs \"body\""),
        ("{chord: {body: {value: 1}}}", "at /chord: it needs \"header\""),
        (
            "{chord: {heder: [], header: [], body: {value: 1}}}",
            "at /chord: unknown field \"heder\" (did you mean \"header\"?)",
        ),
        ("{choose: [{then: {value: 1}}]}", "at /choose/0: it needs \"when\""),
        ("{choose: [{when: 'true'}]}", "at /choose/0: it needs \"then\""),
        ("{choose: [{when: 'true', then: {value: 1}, els: 1}]}", "at /choose/0: unknown field \"els\""),
    ]));
}

#[test]
fn every_field_has_its_type() {
    check(&own(&[
        ("{task: 5}", "at /task: it takes a string, not a number"),
        ("{task: t}", "at /task: invalid task \"t\": it takes the form module/task or module@version/task"),
        ("{chain: {}}", "at /chain: it takes a list of nodes, not a map"),
        ("{group: x}", "at /group: it takes a list of nodes, not a string"),
        ("{chord: []}", "at /chord: it takes a map of header and body, not a list"),
        ("{chord: {header: 1, body: {value: 1}}}", "at /chord/header: it takes a list of nodes, not a number"),
        ("{chord: {header: [], body: []}}", "at /chord/body: a node is a map such as {task: module/task}, not a list"),
        ("{map: []}", "at /map: a node is a map such as {task: module/task}, not a list"),
        ("{choose: {}}", "at /choose: it takes a list of branches, not a map"),
        ("{choose: [1]}", "at /choose/0: a branch is a map of when and then, not a number"),
        (
            "{choose: [{when: 1, then: {value: 1}}]}",
            "at /choose/0/when: it takes an expression such as prev > 3, not a number",
        ),
        (
            "{choose: [{when: '${prev}', then: {value: 1}}]}",
            "at /choose/0/when: an expression stands here without ${ }",
        ),
        ("{loop: {value: 1}, while: [], max: 3}", "at /while: it takes an expression such as prev > 3, not a list"),
        (
            "{poll: {value: 1}, until: 5, every: 1s, timeout: 1m}",
            "at /until: it takes an expression such as prev > 3, not a number",
        ),
        ("{sleep: 5}", "at /sleep: it takes a duration such as 5s, not a number"),
        ("{wait: [go]}", "at /wait: it takes a string, not a list"),
        (
            "{wait: 'a b'}",
            "at /wait: invalid signal name \"a b\": it takes 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'",
        ),
        ("{flow: x@}", "at /flow: invalid version \"\": it takes 1 to 32 characters of a-z, 0-9, '.', '_' and '-'"),
        (
            "{value: 1, name: A}",
            "at /name: invalid step name \"A\": it takes 1 to 64 characters of a-z, 0-9 and '_', the first no digit",
        ),
        ("{value: 1, name: [a]}", "at /name: it takes a string, not a list"),
        ("{task: m/t, args: 5}", "at /args: it takes a list of arguments, not a number"),
        ("{group: [], on_error: halt}", "at /on_error: it takes stop, finish or collect, not \"halt\""),
        (
            "{group: [], on_error: finnish}",
            "at /on_error: it takes stop, finish or collect, not \"finnish\" (did you mean \"finish\"?)",
        ),
        ("{group: [], on_error: 1}", "at /on_error: it takes stop, finish or collect, not a number"),
        ("{task: m/t, limit_key: 5}", "at /limit_key: it takes a string, not a number"),
        ("{task: m/t, idempotency_key: {}}", "at /idempotency_key: it takes a string, not a map"),
        ("{task: m/t, queue: 5}", "at /queue: it takes a string, not a number"),
    ]));
    check(&[
        ("{task: m/t, queue: A}", format!("at /queue: invalid queue \"A\": {NAME}")),
        ("{flow: A}", format!("at /flow: invalid flow name \"A\": {NAME}")),
    ]);
}

#[test]
fn durations_are_written_with_units() {
    check(&[
        ("{sleep: soon}", format!("at /sleep: invalid time \"soon\": {DURATION}")),
        ("{value: 1, timeout: 5}", "at /timeout: it takes a duration such as 5s, not a number".to_owned()),
        ("{value: 1, timeout: 1x}", format!("at /timeout: invalid time \"1x\": {DURATION}")),
        ("{value: 1, timeout: 0s}", "at /timeout: it takes more than no time".to_owned()),
        ("{task: m/t, attempt_timeout: 0ms}", "at /attempt_timeout: it takes more than no time".to_owned()),
        ("{task: m/t, expires: -1s}", format!("at /expires: invalid time \"-1s\": {DURATION}")),
        ("{task: m/t, delay: 400d}", format!("at /delay: invalid time \"400d\": {DURATION}")),
        (
            "{poll: {value: 1}, every: 0s, until: 'true', timeout: 1m}",
            "at /every: it takes more than no time".to_owned(),
        ),
    ]);
}

#[test]
fn numbers_stay_within_their_bounds() {
    check(&own(&[
        ("{chunks: {value: []}, size: 0}", "at /size: it takes a whole number from 1, not 0"),
        ("{chunks: {value: []}, size: 1.5}", "at /size: it takes a whole number from 1, not 1.5"),
        ("{chunks: {value: []}, size: '5'}", "at /size: it takes a whole number from 1, not a string"),
        ("{loop: {value: 1}, while: 'true', max: 0}", "at /max: it takes a whole number from 1, not 0"),
        (
            "{loop: {value: 1}, while: 'true', max: 5000000000}",
            "at /max: it takes a whole number from 1, not 5000000000",
        ),
        ("{map: {value: 1}, concurrency: 0}", "at /concurrency: it takes a whole number from 1 to 10000, not 0"),
        (
            "{map: {value: 1}, concurrency: 10001}",
            "at /concurrency: it takes a whole number from 1 to 10000, not 10001",
        ),
        ("{map: {value: 1}, need: -1}", "at /need: it takes a whole number from 1, not -1"),
        ("{group: [{value: 1}], need: 2}", "at /need: it needs 2 members to succeed, and the group has 1"),
        ("{task: m/t, priority: 10}", "at /priority: it takes a whole number from 0 to 9, not 10"),
        ("{task: m/t, priority: high}", "at /priority: it takes a whole number from 0 to 9, not a string"),
        ("{task: m/t, fuel: 0}", "at /fuel: it takes a whole number from 1, or off, not 0"),
        ("{task: m/t, fuel: 'on'}", "at /fuel: it takes a whole number from 1, or off, not a string"),
        ("{task: m/t, memory: 0}", "at /memory: it takes a number of bytes, or one with a unit such as 128MiB, not 0"),
        (
            "{task: m/t, memory: 12 XB}",
            "at /memory: it takes a number of bytes, or one with a unit such as 128MiB, not \"12 XB\"",
        ),
        (
            "{task: m/t, memory: 99999999999999GiB}",
            "at /memory: it takes a number of bytes, or one with a unit such as 128MiB, not \"99999999999999GiB\"",
        ),
    ]));
}

#[test]
fn retries_and_labels_have_their_forms() {
    check(&own(&[
        ("{task: m/t, retry: 0}", "at /retry: it takes a whole number from 1 to 1000, not 0"),
        ("{task: m/t, retry: 1001}", "at /retry: it takes a whole number from 1 to 1000, not 1001"),
        (
            "{task: m/t, retry: often}",
            "at /retry: it takes a number of attempts or a map of attempts, backoff, factor, max, jitter, on, not a string",
        ),
        ("{task: m/t, retry: {atempts: 3}}", "at /retry: unknown field \"atempts\" (did you mean \"attempts\"?)"),
        ("{task: m/t, retry: {attempts: 0}}", "at /retry: attempts: it takes a whole number from 1 to 1000, not 0"),
        ("{task: m/t, retry: {backoff: 5}}", "at /retry: backoff: it takes a duration such as 5s, not a number"),
        ("{task: m/t, retry: {max: []}}", "at /retry: max: it takes a duration such as 5s, not a list"),
        ("{task: m/t, retry: {factor: 0.5}}", "at /retry: factor: it takes a number from 1 to 100, not 0.5"),
        ("{task: m/t, retry: {jitter: 1}}", "at /retry: jitter: it takes true or false, not a number"),
        ("{task: m/t, retry: {on: trap}}", "at /retry: on: it takes a list of kinds of failures, not a string"),
        (
            "{task: m/t, retry: {on: [trp]}}",
            "at /retry: on: there is no kind of failure \"trp\" (did you mean \"trap\"?)",
        ),
        ("{task: m/t, retry: {on: [5]}}", "at /retry: on: it takes kinds of failures, not a number"),
        ("{task: m/t, labels: [a]}", "at /labels: it takes a map of strings, not a list"),
        (
            "{task: m/t, labels: {gpu: true}}",
            "at /labels: the label \"gpu\" takes a string, not a boolean: write it in quotes",
        ),
        ("{task: m/t, requires: {'a=b': c}}", "at /requires: a label's name takes no =: \"a=b\""),
        (
            "{task: m/t, requires: {a: 'b,c'}}",
            "at /requires: invalid label \"a=b,c\": it takes the form key=value, up to 128 bytes without commas",
        ),
        (
            "{task: m/t, labels: {a: '', b: '', c: '', d: '', e: '', f: '', g: '', h: '', i: '', j: '', k: '', l: '', m: '', n: '', o: '', p: '', q: ''}}",
            "at /labels: it takes up to 16 labels, not 17",
        ),
    ]));
}

#[test]
fn some_fields_do_not_go_together() {
    check(&own(&[
        ("{task: m/t, args: [1], input: 2}", "at the top: \"args\" and \"input\" do not go together"),
        ("{group: [{value: 1}], on_error: stop, need: 1}", "at the top: \"on_error\" and \"need\" do not go together"),
    ]));
}

#[test]
fn all_problems_are_told_at_once_with_line_and_column() {
    let yaml = "name: etl\nflow:\n  chain:\n    - task: m/t\n      tmeout: 5s\n    - sleep: soon\n    - {value: 1,\n       retry: 3}\n";
    let told: Vec<String> = Document::parse_yaml(yaml).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "at /flow/chain/0 (5:7): unknown field \"tmeout\" (did you mean \"timeout\"?)".to_owned(),
            format!("at /flow/chain/1/sleep (6:7): invalid time \"soon\": {DURATION}"),
            format!("at /flow/chain/2 (8:8): \"retry\" does not go with \"value\", only with {OPTIONS_ON}"),
        ]
    );
}

#[test]
fn the_first_fifty_problems_are_enough() {
    let nodes: Vec<_> = (0..1_000).map(|_| json!({"chain": 1, "x": 2})).collect();
    assert_eq!(Document::from_json(&json!({"group": nodes})).unwrap_err().len(), PROBLEMS_MAX);
}

/// Labels are merged on their way in: what each node may have, a task may not have of all of them.
#[test]
fn labels_of_nodes_around_a_task_count_too() {
    let labels = |from: usize, count: usize| {
        let map: serde_json::Map<String, Value> =
            (from..from + count).map(|n| (format!("k{n:02}"), json!("v"))).collect();
        Value::Object(map)
    };
    let of = |field: &str, outer: Value, inner: Value| {
        let task = json!({"task": "m/t", field: inner});
        let flow = json!({"chain": [{"group": [{"value": 1}, task]}], field: outer});
        Document::from_json(&flow).map(drop).map_err(|problems| problems[0].to_string())
    };
    for field in ["labels", "requires"] {
        assert_eq!(of(field, labels(0, 10), labels(10, 6)), Ok(()), "sixteen in all");
        assert_eq!(of(field, labels(0, 16), labels(0, 16)), Ok(()), "the same ones");
        let place = "at /chain/0/group/1: with those of the nodes around it";
        let told = format!("{place} \"{field}\" has 17 labels; it takes up to 16");
        assert_eq!(of(field, labels(0, 10), labels(10, 7)), Err(told));
    }
    // A handler is inside of its node.
    let catch = json!({"task": "m/t", "labels": labels(16, 1)});
    let problems = Document::from_json(&json!({"chain": [{"value": 1}], "labels": labels(0, 16), "catch": catch}));
    assert_eq!(problems.map(drop).unwrap_err()[0].place, "/catch");
}

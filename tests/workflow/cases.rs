//! The pinned cases of flows that need nothing but the core.

use lovage::model::Kind;
use lovage::workflow::journal::Ending;
use serde_json::{Value, json};

use crate::world::World;

fn task(name: &str) -> Value {
    json!({"task": format!("canvas/{name}")})
}

/// A call that ignores what it receives.
fn call(name: &str, input: Value) -> Value {
    json!({"task": format!("canvas/{name}"), "input": input})
}

fn add(a: i64, b: i64) -> Value {
    call("add", json!([a, b]))
}

fn plus(n: i64) -> Value {
    json!({"task": "canvas/add", "args": [n]})
}

fn id(n: impl Into<Value>) -> Value {
    call("id", n.into())
}

fn chain(nodes: &[Value]) -> Value {
    json!({"chain": nodes})
}

fn group(nodes: &[Value]) -> Value {
    json!({"group": nodes})
}

fn chord(header: &[Value], body: Value) -> Value {
    json!({"chord": {"header": header, "body": body}})
}

fn replaced_by(flow: &Value) -> Value {
    json!({"task": "canvas/replace", "args": [flow]})
}

fn fail() -> Value {
    call("fail", json!({"kind": "refused"}))
}

fn ids(count: i64) -> Vec<Value> {
    (0..count).map(id).collect()
}

enum Expected {
    Output(Value),
    Fails(Kind),
}

fn yields(value: Value) -> Expected {
    Expected::Output(value)
}

fn table() -> Vec<(&'static str, Value, Expected)> {
    let inner = |a: i64, b: i64| group(&[id(a), id(b)]);
    let append = |n: i64| json!({"task": "canvas/append", "args": [n]});
    let nested = |before: Value, n: i64| chain(&[before, chord(&[task("id")], append(n))]);
    let twice = |flow: Value| chain(&[replaced_by(&flow)]);
    vec![
        ("a chain of partials", chain(&[add(4, 4), plus(8), plus(16)]), yields(json!(32))),
        ("a failing chain", chain(&[add(1, 2), fail(), add(3, 4)]), Expected::Fails(Kind::Refused)),
        ("a group of one", group(&[id(42)]), yields(json!([42]))),
        ("a group of one in a chain", chain(&[id(1), group(&[id(42)]), task("id")]), yields(json!([42]))),
        ("an empty group in a chain", chain(&[add(1, 1), group(&[]), task("sum")]), yields(json!(0))),
        (
            "nested groups stay nested",
            group(&[add(1, 10), group(&[add(1, 100), group(&[add(1, 1000), add(1, 2000)])])]),
            yields(json!([11, [101, [1001, 2001]]])),
        ),
        ("1000 members keep their order", group(&ids(1000)), yields((0..1000).collect())),
        (
            "collect",
            json!({"group": [id(1), fail(), id(3)], "on_error": "collect"}),
            yields(json!([1, {"error": {"kind": "refused", "message": "it was told to"}}, 3])),
        ),
        (
            "a group with a chain into a group",
            group(&[id(1), id(2), chain(&[id(5), inner(3, 4)])]),
            yields(json!([1, 2, [3, 4]])),
        ),
        (
            "a chain into a group with a chain",
            chain(&[add(5, 6), group(&[chain(&[plus(1), plus(2)]), plus(3)])]),
            yields(json!([14, 14])),
        ),
        ("a chord", chord(&ids(10), task("id")), yields((0..10).collect())),
        ("an empty chord", chord(&[], task("sum")), yields(json!(0))),
        ("a chord of a thousand", chord(&ids(1000), task("sum")), yields(json!(499_500))),
        ("a chord with a nested group", chord(&[id(1), inner(2, 3)], task("id")), yields(json!([1, [2, 3]]))),
        (
            "a chord with a chain into a group",
            chord(&[id(1), inner(2, 3), chain(&[id(0), inner(4, 5)])], task("id")),
            yields(json!([1, [2, 3], [4, 5]])),
        ),
        ("a chord into a group", chord(&[id(42)], group(&[task("id"), task("id")])), yields(json!([[42], [42]]))),
        (
            "a chord whose header ends in a group",
            chord(&[chain(&[id(42), group(&[task("id"), task("id")])])], task("id")),
            yields(json!([[42, 42]])),
        ),
        (
            "four joins of one member",
            nested(nested(nested(nested(add(1, 2), 3), 4), 5), 6),
            yields(json!([[[[3, 3], 4], 5], 6])),
        ),
        ("a chord whose header fails", chord(&[fail()], task("id")), Expected::Fails(Kind::Refused)),
        (
            "a group whose member fails in a chain",
            chain(&[group(&[id(1), chain(&[fail(), inner(2, 3), task("id")])]), task("id")]),
            Expected::Fails(Kind::Refused),
        ),
        (
            "a replacement in a chain",
            chain(&[id(1), replaced_by(&chain(&[plus(1), plus(10)])), plus(100)]),
            yields(json!(112)),
        ),
        (
            "replacements keep their order",
            group(&[twice(group(&[id(2), id(1)])), twice(group(&[id(4), id(3)]))]),
            yields(json!([[2, 1], [4, 3]])),
        ),
        ("an empty chain as replacement", replaced_by(&chain(&[])), Expected::Fails(Kind::BadFlow)),
        ("retries inside a group", group(&[task("flaky"), id(1)]), yields(json!([7, 1]))),
    ]
}

fn check(name: &str, flow: &Value, expected: &Expected, seed: u64, faults: u32) {
    let mut world = World::new(seed).with_faults(faults);
    world.start(flow, None, &[]);
    world.play();
    let at = || format!("{name}, seed {seed}");
    let Some(end) = world.end() else {
        panic!("{}: it has no end, and waits for {:?}", at(), world.run().waiting());
    };
    match (expected, end.result) {
        (Expected::Output(value), Ending::Succeeded(output)) => {
            assert_eq!(output.to_json().as_ref(), Some(value), "{}", at());
        }
        (Expected::Fails(kind), Ending::Failed(failure)) => assert_eq!(failure.kind, *kind, "{}: {failure}", at()),
        (_, other) => panic!("{}: {other:?}", at()),
    }
}

#[test]
fn pinned_cases_hold_in_any_order_and_with_faults() {
    for (name, flow, expected) in table() {
        for seed in 0..8 {
            check(name, &flow, &expected, seed, if seed < 3 { 0 } else { 6 });
        }
    }
}

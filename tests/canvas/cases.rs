//! The pinned cases. `add(8)` alone is a partial: it receives the previous value first.

use lovage::model::Kind;
use serde_json::{Value, json};

use crate::case::Check::{Attempts, AttemptsOf, Log, Skipped, TookAtLeast, Was};
use crate::case::{Case, Expected};

fn task(name: &str) -> String {
    format!("{{task: canvas/{name}}}")
}

/// A call that ignores what it receives.
fn call(name: &str, input: &str) -> String {
    format!("{{task: canvas/{name}, input: {input}}}")
}

/// A call that puts this behind what it receives.
fn partial(name: &str, arg: &str) -> String {
    format!("{{task: canvas/{name}, args: [{arg}]}}")
}

fn add(a: i64, b: i64) -> String {
    call("add", &format!("[{a}, {b}]"))
}

fn plus(n: i64) -> String {
    partial("add", &n.to_string())
}

fn id(n: i64) -> String {
    call("id", &n.to_string())
}

fn fail() -> String {
    call("fail", "refused")
}

fn chain<S: AsRef<str>>(nodes: impl IntoIterator<Item = S>) -> String {
    format!("{{chain: [{}]}}", joined(nodes))
}

fn group<S: AsRef<str>>(nodes: impl IntoIterator<Item = S>) -> String {
    format!("{{group: [{}]}}", joined(nodes))
}

fn chord<S: AsRef<str>>(header: impl IntoIterator<Item = S>, body: &str) -> String {
    format!("{{chord: {{header: [{}], body: {body}}}}}", joined(header))
}

fn joined<S: AsRef<str>>(nodes: impl IntoIterator<Item = S>) -> String {
    nodes.into_iter().map(|node| node.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

/// The node with further fields.
fn with(node: &str, fields: &str) -> String {
    format!("{}, {fields}}}", node.strip_suffix('}').unwrap())
}

fn replaced_by(flow: &str) -> String {
    partial("replace", flow)
}

/// Writes a line, and is replaced.
fn says(line: &str, flow: &str) -> String {
    call("replace", &format!("[{line}, {flow}]"))
}

fn mark(line: &str) -> String {
    call("mark", line)
}

fn yields(value: Value) -> Expected {
    Expected::Output(value)
}

/// All of them.
pub(crate) fn table() -> Vec<Case> {
    [chains_and_groups(), chords(), failures(), replacements(), times()].into_iter().flatten().collect()
}

fn chains_and_groups() -> Vec<Case> {
    let inner = group([id(3), id(4)]);
    let nested = group([add(1, 10), group([add(1, 100), group([add(1, 1000), add(1, 2000)])])]);
    let fans = chain([add(5, 6), group([chain([plus(1), plus(2)]), plus(3)])]);
    let refused = json!({"error": {"kind": "refused", "message": "it was told to"}});
    vec![
        Case::new("a chain of partials", chain([add(4, 4), plus(8), plus(16)]), yields(json!(32))),
        Case::new("a failing chain", chain([add(1, 2), fail(), add(3, 4)]), Expected::Fails(Kind::Refused))
            .check(Attempts("0-1", 1))
            .check(Skipped(&["0-2"])),
        Case::new("a group of one", group([id(42)]), yields(json!([42]))),
        Case::new("a group of one in a chain", chain([id(1), group([id(42)]), task("id")]), yields(json!([42]))),
        Case::new("an empty group", chain([add(1, 1), group([""; 0]), task("sum")]), yields(json!(0))),
        Case::new("nested groups stay nested", nested, yields(json!([11, [101, [1001, 2001]]]))),
        Case::new("1000 members keep their order", group((0..1000).map(id)), yields((0..1000).collect())),
        Case::new(
            "a failure is collected",
            with(&group([id(1), fail(), id(3)]), "on_error: collect"),
            yields(json!([1, refused, 3])),
        ),
        Case::new(
            "a slow first member",
            group([call("slow", "[50, first]"), call("id", "second")]),
            yields(json!(["first", "second"])),
        ),
        Case::new(
            "a chain into a group as a member",
            group([id(1), id(2), chain([id(5), inner])]),
            yields(json!([1, 2, [3, 4]])),
        ),
        Case::new("a group with a chain as a member", fans, yields(json!([14, 14]))),
    ]
}

fn chords() -> Vec<Case> {
    let inner = group([id(2), id(3)]);
    let spread = chain([id(42), group([task("id"), task("id")])]);
    let nested =
        [4, 5, 6].into_iter().fold(chain([add(1, 2), chord([task("id")], &partial("append", "3"))]), |before, n| {
            chain([before, chord([task("id")], &partial("append", &n.to_string()))])
        });
    let deep = [id(1), inner.clone(), chain([id(0), group([id(4), id(5)])])];
    vec![
        Case::new("a chord", chord((0..10).map(id), &task("id")), yields((0..10).collect())).check(Attempts("0-1", 1)),
        Case::new("an empty chord", chord([""; 0], &task("sum")), yields(json!(0))).check(Attempts("0-1", 1)),
        Case::new("a chord of a thousand", chord((0..1000).map(id), &task("sum")), yields(json!(499_500)))
            .check(Attempts("0-1", 1)),
        Case::new("a group in a header", chord([id(1), inner], &task("id")), yields(json!([1, [2, 3]]))),
        Case::new("a chain into a group in a header", chord(deep, &task("id")), yields(json!([1, [2, 3], [4, 5]]))),
        Case::new("a header that ends in a group", chord([spread], &task("id")), yields(json!([[42, 42]]))),
        Case::new("four joins of one member", nested, yields(json!([[[[3, 3], 4], 5], 6]))),
        Case::new(
            "a chord whose header fails",
            with(&chord([fail()], &task("id")), &format!("on_failure: {}", mark("failed"))),
            Expected::Fails(Kind::Refused),
        )
        .check(Attempts("0-1", 0))
        .check(Attempts("0-f", 1))
        .check(Log(&["failed"])),
    ]
}

fn failures() -> Vec<Case> {
    let members = |handler: &str| {
        let good = (0..24).map(id);
        good.chain((0..42).map(|_| with(&fail(), handler))).collect::<Vec<_>>()
    };
    let observed = format!("on_failure: {}", mark("failed"));
    let at_once = "retry: {attempts: 4, backoff: 1ms, jitter: false}";
    let returned = with(&call("fail", "returned"), at_once);
    let flaky = with(&task("flaky"), at_once);
    let in_group = format!("on_error: finish, {observed}");
    vec![
        Case::new(
            "66 members, a handler of the group",
            chain([with(&group(members("labels: {}")), &in_group), id(1)]),
            Expected::Fails(Kind::Refused),
        )
        .check(AttemptsOf("", 67))
        .check(Attempts("0-1", 0))
        .check(Attempts("0-0-f", 1)),
        Case::new(
            "66 members, a handler of each",
            with(&group(members(&observed)), "on_error: finish"),
            Expected::Fails(Kind::Refused),
        )
        .check(AttemptsOf("-f", 42)),
        Case::new("a handler of a task that recovers", with(&flaky, &observed), yields(json!(7)))
            .check(Attempts("0", 3))
            .check(Attempts("0-f", 0)),
        Case::new("a handler of a task that exhausts", with(&returned, &observed), Expected::Fails(Kind::Returned))
            .check(Attempts("0", 4))
            .check(Attempts("0-f", 1)),
        Case::new(
            "a member that fails in a chain",
            chain([group([id(1), chain([fail(), group([id(2), id(3)]), id(4)])]), task("id")]),
            Expected::Fails(Kind::Refused),
        )
        .check(Attempts("0-1", 0)),
        Case::new("retries in a header", chord([flaky, id(1)], &task("id")), yields(json!([7, 1])))
            .check(Attempts("0-1", 1)),
        Case {
            cancel_at: Some("slow"),
            real_time: true,
            ..Case::new(
                "a cancel while the first step runs",
                chain([call("slow", "[60000, 1]"), task("id"), task("id")]),
                Expected::Cancelled,
            )
        }
        .check(Attempts("0-0", 0))
        .check(Was("0-0", &["running", "queued", "cancelled"]))
        .check(Skipped(&["0-1", "0-2"])),
    ]
}

fn replacements() -> Vec<Case> {
    let pairs = |n: usize| {
        let one = |a: i64, b: i64| replaced_by(&group([id(a), id(b)]));
        group((0..n).flat_map(|_| [one(2, 1), one(4, 3)]))
    };
    let twenty: Value = (0..10).flat_map(|_| [json!([2, 1]), json!([4, 3])]).collect();
    let b = says("In B", &chain([mark("C"), mark("Out B")]));
    let a = says("In A", &chain([b, mark("Out A")]));
    vec![
        Case::new(
            "a replacement in a chain",
            chain([id(1), replaced_by(&chain([plus(1), plus(10)])), plus(100)]),
            yields(json!(112)),
        ),
        Case::new("replacements keep their order", pairs(10), yields(twenty)),
        Case::new("a replacement of a replacement", a, yields(json!("Out A")))
            .check(Log(&["In A", "In B", "C", "Out B", "Out A"])),
        Case::new("an empty chain as replacement", replaced_by(&chain([""; 0])), Expected::Fails(Kind::BadFlow)),
        Case::new("what is no flow as replacement", replaced_by("{chian: []}"), Expected::Fails(Kind::BadFlow)),
    ]
}

fn times() -> Vec<Case> {
    let busy = call("slow", "[1500, 1]");
    let late = with(&id(2), "expires: 1s");
    vec![
        Case::new("a delay", chain([with(&id(1), "delay: 3s"), plus(1)]), yields(json!(2)))
            .check(TookAtLeast(3000))
            .check(Was("0-0", &["running", "scheduled", "queued", "succeeded"])),
        Case {
            real_time: true,
            concurrency: 1,
            ..Case::new(
                "a member that expires behind a full queue",
                chord([busy, late], &task("id")),
                Expected::Fails(Kind::Expired),
            )
        }
        .check(Attempts("0-0-1", 0))
        .check(Skipped(&["0-1"])),
        Case::new(
            "a timer longer than any lease",
            "{chain: [{sleep: 2h}, {task: canvas/mark, input: woke}]}",
            yields(json!("woke")),
        )
        .check(Attempts("0-1", 1))
        .check(Log(&["woke"]))
        .check(TookAtLeast(7_200_000)),
    ]
}

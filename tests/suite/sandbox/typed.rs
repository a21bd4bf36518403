//! The typed contract: functions of any component are tasks, and JSON crosses as the values of their types.

use bytes::Bytes;
use lovage::model::{Contract, Kind, Limits, Outcome};
use lovage::sandbox::{Error, Rejection, Report, inspect};
use serde_json::{Value, json};

use super::{Call, Rig, code, failure, output};
use crate::support::seed::{Dice, seed};

/// A component whose core module has this memory, these functions and a `cabi_realloc` that never frees.
fn component(core: &str, rest: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
        (core module $m
            (memory (export "memory") 4)
            (global $free (mut i32) (i32.const 1024))
            (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (loop $grow (if (i32.gt_u (global.get $free) (i32.mul (memory.size) (i32.const 65536)))
                    (then (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $grow))))
                (local.get $at))
            (func (export "pair") (param i32 i32) (result i32)
                (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
            {core})
        (core instance $i (instantiate $m))
        {rest})"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const LIFT: &str = r#"(memory (core memory $i "memory")) (realloc (core func $i "realloc"))"#;

/// Adds, divides, and repeats what it is given.
fn calculator() -> Vec<u8> {
    component(
        r#"(func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (data (i32.const 100) "no division by zero")
        (func (export "divide") (param i32 i32) (result i32)
            (if (i32.eqz (local.get 1)) (then
                (i32.store8 (i32.const 32) (i32.const 1))
                (i32.store (i32.const 36) (i32.const 100)) (i32.store (i32.const 40) (i32.const 19))
                (return (i32.const 32))))
            (i32.store8 (i32.const 32) (i32.const 0))
            (i32.store (i32.const 36) (i32.div_u (local.get 0) (local.get 1))) (i32.const 32))
        (func (export "nothing"))
        (func (export "spin") (loop $again (br $again)))
        (func (export "trap") unreachable)"#,
        &format!(
            r#"(func $add (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add")))
            (func $divide (param "number" u32) (param "by" u32) (result (result u32 (error string)))
                (canon lift (core func $i "divide") {LIFT}))
            (func $nothing (canon lift (core func $i "nothing")))
            (func $spin (canon lift (core func $i "spin")))
            (func $trap (canon lift (core func $i "trap")))
            (func $text (param "text" string) (result string) (canon lift (core func $i "pair") {LIFT}))
            (func $bytes (param "data" (list u8)) (result (list u8)) (canon lift (core func $i "pair") {LIFT}))
            (instance $interface (export "divide" (func $divide)) (export "echo" (func $text)))
            (export "add" (func $add))
            (export "nothing" (func $nothing))
            (export "spin" (func $spin))
            (export "trap" (func $trap))
            (export "echo" (func $bytes))
            (export "acme:desk/calculator@1.2.0" (instance $interface))"#
        ),
    )
}

fn call(task: &'static str, input: &Value) -> Call {
    Call { task, input: Bytes::from(input.to_string()), ..Call::default() }
}

fn returned(report: &Report) -> Value {
    serde_json::from_str(output(report)).unwrap()
}

#[tokio::test]
async fn every_exported_function_is_a_task() {
    let rig = Rig::new();
    let module = rig.load(&calculator()).await;
    assert_eq!(module.contract(), Contract::Typed);
    let tasks = rig.sandbox.describe(&module).await.unwrap();
    let said: Vec<(&str, &str)> = tasks.iter().map(|task| (task.name.as_str(), task.summary.as_str())).collect();
    assert_eq!(
        said,
        [
            ("add", "add(a: s32, b: s32) -> s32"),
            ("nothing", "nothing()"),
            ("spin", "spin()"),
            ("trap", "trap()"),
            ("echo", "echo(data: list<u8>) -> list<u8>"),
            ("divide", "acme:desk/calculator@1.2.0.divide(number: u32, by: u32) -> result<u32, string>"),
            ("calculator_echo", "acme:desk/calculator@1.2.0.echo(text: string) -> string"),
        ]
    );
    let input = tasks[0].input_schema.as_ref().unwrap();
    assert_eq!(input["anyOf"][0]["required"], json!(["a", "b"]));
    assert_eq!(tasks[5].output_schema, Some(json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})));
}

#[tokio::test]
async fn arguments_come_by_name_or_by_position_and_results_are_json() {
    let rig = Rig::new();
    for (task, input, expected) in [
        ("add", json!([20, 22]), json!(42)),
        ("add", json!({"b": -2, "a": 1}), json!(-1)),
        ("divide", json!({"number": 7, "by": 2}), json!(3)),
        ("nothing", json!(null), json!(null)),
        ("calculator_echo", json!("grüße 🌿"), json!("grüße 🌿")),
        ("calculator_echo", json!({"text": ""}), json!("")),
        ("echo", json!("AAEC/w=="), json!("AAEC/w==")),
        ("echo", json!([0, 1, 2, 255]), json!("AAEC/w==")),
    ] {
        let report = rig.report(&calculator(), call(task, &input)).await;
        assert_eq!(returned(&report), expected, "{task} {input}");
    }
    let large = json!("é".repeat(1 << 19));
    let report = rig.report(&calculator(), call("calculator_echo", &large)).await;
    assert_eq!(returned(&report), large);
    assert!(report.fuel_used > 0);
}

#[tokio::test]
async fn an_input_that_does_not_fit_is_bad_and_its_place_is_named() {
    let rig = Rig::new();
    let mut input = call("add", &json!([1, 3_000_000_000_u32]));
    let report = rig.report(&calculator(), input).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, Kind::BadInput);
    assert_eq!(failed.message, "/1: 3000000000 is no s32: a whole number from -2147483648 to 2147483647");
    assert_eq!((&failed.detail, report.fuel_used), (&Some(json!({"pointer": "/1"})), 0), "the guest never ran");
    input = Call { task: "add", input: Bytes::from_static(b"{\"a\":1"), ..Call::default() };
    let report = rig.report(&calculator(), input).await;
    assert_eq!(failure(&report).kind, Kind::BadInput);
    let report = rig.report(&calculator(), call("multiply", &json!([1, 2]))).await;
    assert_eq!(failure(&report).kind, Kind::TaskMissing);
}

#[tokio::test]
async fn errors_and_traps_are_failures() {
    let rig = Rig::new();
    let report = rig.report(&calculator(), call("divide", &json!([1, 0]))).await;
    let failed = failure(&report);
    assert_eq!((failed.kind, failed.message.as_str()), (Kind::Returned, "no division by zero"));
    let report = rig.report(&calculator(), call("trap", &json!(null))).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, "unreachable"));
    let limits = Limits { fuel: Some(1_000_000), ..Limits::default() };
    let report = rig.report(&calculator(), Call { limits, ..call("spin", &json!(null)) }).await;
    assert_eq!((failure(&report).kind, report.fuel_used), (Kind::OutOfFuel, 1_000_000));
}

#[tokio::test]
async fn the_output_is_limited_as_json_and_as_values() {
    let rig = Rig::new();
    let limits = Limits { output_bytes: 10, ..Limits::default() };
    let report = rig.report(&calculator(), Call { limits, ..call("calculator_echo", &json!("nine char")) }).await;
    assert_eq!(failure(&report).kind, Kind::OutputLimit);
    let report = rig.report(&calculator(), Call { limits, ..call("calculator_echo", &json!("eight ch")) }).await;
    assert_eq!(returned(&report), json!("eight ch"));
    // 1 MiB of bytes is 40 MiB of values, of which the host takes 16 where the output may be small.
    let large = Value::String("AAAA".repeat(350_000));
    let report = rig.report(&calculator(), Call { limits, ..call("echo", &large) }).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::OutputLimit, "host_call"));
}

#[tokio::test]
async fn functions_that_no_json_can_call_are_left_out() {
    let exports = |more: &str| {
        component(
            r#"(func (export "drop") (param i32)) (func (export "make") (result i32) (i32.const 1))"#,
            &format!(
                r#"(type $r' (resource (rep i32)))
                (export $r "thing" (type $r'))
                (func $make (result (own $r)) (canon lift (core func $i "make")))
                (export "make" (func $make)) {more}"#
            ),
        )
    };
    let rig = Rig::new();
    let error = async |upload: &[u8]| {
        let module = rig.load(upload).await;
        rig.sandbox.describe(&module).await.unwrap_err()
    };
    let none = error(&exports("")).await;
    assert!(
        matches!(&none, Error::Rejected(Rejection::BadDescription { message }) if message.contains("make: it takes or returns a resource")),
        "{none}"
    );
    let one = r#"(func $text (param "text" string) (result string) (canon lift (core func $i "pair")
        (memory (core memory $i "memory")) (realloc (core func $i "realloc")))) (export "text" (func $text))"#;
    let module = rig.load(&exports(one)).await;
    let tasks = rig.sandbox.describe(&module).await.unwrap();
    assert_eq!(tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(), ["text"]);
}

/// A function whose type is a pair of pairs of pairs: twice the parts at each level, in a few bytes each.
fn grown(levels: u32) -> Vec<u8> {
    let mut types = "(type $t0 (tuple u8 u8))".to_owned();
    for level in 1..levels {
        let before = level - 1;
        types.push_str(&format!("(type $t{level} (tuple (list $t{before}) (list $t{before})))"));
    }
    let last = levels - 1;
    component(
        r#"(func (export "take") (param i32 i32 i32 i32))"#,
        &format!(
            r#"{types} (func $f (param "x" $t{last}) (canon lift (core func $i "take") {LIFT})) (export "f" (func $f))"#
        ),
    )
}

#[tokio::test]
async fn types_that_grow_like_a_tree_are_refused_in_time() {
    let rig = Rig::new();
    let module = rig.load(&grown(12)).await;
    let error = rig.sandbox.describe(&module).await.unwrap_err();
    assert!(error.to_string().contains("f: its types have more than 2000 parts"), "{error}");
    let module = rig.load(&grown(8)).await;
    assert_eq!(rig.sandbox.describe(&module).await.unwrap().len(), 1);
    // 2^60 parts: the parser's own bound comes first.
    assert!(matches!(inspect(&grown(60)), Err(Rejection::Invalid { .. })));
}

#[test]
fn the_contract_is_found_by_what_is_exported() {
    assert_eq!(inspect(&calculator()).unwrap().contract, Contract::Typed);
    // Functions of these names alone make no module of the SDK.
    let alike = component(
        r#"(func (export "f") (result i32) (i32.const 7))"#,
        r#"(func $f (result u32) (canon lift (core func $i "f"))) (export "run" (func $f)) (export "describe" (func $f))"#,
    );
    assert_eq!(inspect(&alike).unwrap().contract, Contract::Typed);
    let nothing = wat::parse_str(r#"(component (instance $i) (export "a:b/c" (instance $i)))"#).unwrap();
    assert!(matches!(inspect(&nothing), Err(Rejection::NoContract { .. })));
}

/// A type in the text of a component, and a value of it as JSON, as the host writes it.
#[derive(Clone, Debug)]
struct Typed {
    text: String,
    /// Records, variants, enums and flags can be passed only under an exported name.
    needs_name: bool,
    json: Value,
}

fn leaf(text: &str, json: Value) -> Typed {
    Typed { text: text.to_owned(), needs_name: false, json }
}

fn named(text: &str, json: Value) -> Typed {
    Typed { text: text.to_owned(), needs_name: true, json }
}

/// A random type around simple ones.
fn random(dice: &mut Dice, depth: u32) -> Typed {
    if depth == 0 || dice.below(3) == 0 {
        let leaves = [
            leaf("bool", json!(true)),
            leaf("s8", json!(-128)),
            leaf("u8", json!(255)),
            leaf("s16", json!(-32768)),
            leaf("u16", json!(65535)),
            leaf("s32", json!(i32::MIN)),
            leaf("u32", json!(u32::MAX)),
            leaf("s64", json!(i64::MIN.to_string())),
            leaf("s64", json!(-9_007_199_254_740_991_i64)),
            leaf("u64", json!(u64::MAX.to_string())),
            leaf("f32", json!(0.5)),
            leaf("f64", json!(1e300)),
            leaf("f64", json!("Infinity")),
            leaf("char", json!("🌿")),
            leaf("string", json!("grüße \"")),
            leaf("(list u8)", json!("AAEC/w==")),
        ];
        return leaves[dice.below(leaves.len())].clone();
    }
    let inner = random(dice, depth - 1);
    let (text, json) = (&inner.text, &inner.json);
    match dice.below(4) {
        0 if text == "u8" => leaf("(list u8)", json!("/w==")),
        0 => leaf(&format!("(list {text})"), json!([json, json])),
        1 if text.starts_with("(option") => leaf(&format!("(option {text})"), json!({ "some": json })),
        1 => leaf(&format!("(option {text})"), json.clone()),
        2 => leaf(&format!("(result {text} (error string))"), json!({ "ok": json })),
        _ => leaf(&format!("(tuple u8 {text})"), json!([7, json])),
    }
}

/// Records, variants, enums and flags over other types.
fn named_types() -> Vec<Typed> {
    vec![
        named(
            r#"(record (field "a" u8) (field "long-name" (option string)) (field "c" (list f64)))"#,
            json!({"a": 1, "long-name": "x", "c": [1.5, -0.25]}),
        ),
        named(
            r#"(record (field "a" u64) (field "b" (option (option u8))))"#,
            json!({"a": "18446744073709551615", "b": {"some": null}}),
        ),
        named(
            r#"(variant (case "none") (case "text" string) (case "pair" (tuple u8 char)))"#,
            json!({"pair": [3, "é"]}),
        ),
        named(r#"(variant (case "none") (case "text" string))"#, json!("none")),
        named(r#"(enum "red" "green" "dark-blue")"#, json!("dark-blue")),
        named(r#"(flags "read" "write" "share")"#, json!(["read", "share"])),
    ]
}

/// A component with `echo: func(x: list<T>) -> list<T>`.
fn echo(typed: &Typed) -> Vec<u8> {
    let text = &typed.text;
    let (definition, name) = if typed.needs_name {
        (format!(r#"(type $t' {text}) (export $t "t" (type $t'))"#), "$t")
    } else {
        (String::new(), text.as_str())
    };
    component(
        "",
        &format!(
            r#"{definition} (func $echo (param "x" (list {name})) (result (list {name})) (canon lift (core func $i "pair") {LIFT}))
            (export "echo" (func $echo))"#
        ),
    )
}

#[tokio::test]
async fn values_of_all_types_cross_and_come_back() {
    let rig = Rig::new();
    let mut dice = Dice(seed());
    let mut all = named_types();
    all.extend((0..24).map(|_| random(&mut dice, 4)));
    for typed in all {
        let input = json!({"x": [typed.json, typed.json]});
        // A list of u8 is bytes, in which form they come back.
        let expected = if typed.text == "u8" { json!("//8=") } else { input["x"].clone() };
        let report = rig.report(&echo(&typed), call("echo", &input)).await;
        assert!(matches!(report.outcome, Outcome::Output(_)), "{typed:?} {:?}", report.outcome);
        assert_eq!(returned(&report), expected, "{typed:?}");
    }
}

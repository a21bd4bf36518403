#![cfg(test)]
//! `#[task]` from the outside: what a function reads, returns and tells of itself, from JSON to
//! JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use lovage_guest::__private::{Entry, call};
use lovage_guest::{Bytes, Description, Encoded, Failure, Flow, Outcome, Task, data, task};
use serde_json::{Value, json};

/// A photo to make smaller.
#[data]
struct Resize {
    photo: Bytes,
    width: u32,
}

/// Adds two numbers.
#[task]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Greets somebody,
/// politely.
#[task(name = "say-hello")]
fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

#[task]
fn sum(numbers: Vec<i64>) -> i64 {
    numbers.iter().sum()
}

#[task]
fn measure(resize: Resize) -> Result<usize, Failure> {
    if resize.width == 0 {
        return Err(Failure::permanent("no width").detail(json!({ "width": 0 })));
    }
    Ok(resize.photo.len() / resize.width as usize)
}

#[task]
fn ping() {}

#[task]
fn page(number: u32, _size: Option<u32>, filters: Option<BTreeMap<String, String>>) -> String {
    format!("{number} {_size:?} {}", filters.unwrap_or_default().len())
}

#[task]
fn count_down(from: u32) -> Outcome<String> {
    match from {
        0 => Outcome::Value("lift-off".to_owned()),
        _ => Outcome::Replace(Flow(json!({ "task": "test/count_down", "input": from - 1 }))),
    }
}

#[task]
fn parse(text: String) -> Result<u8, std::num::ParseIntError> {
    text.parse()
}

#[task(media_type = "text/plain")]
fn plain(text: String) -> String {
    text
}

#[task]
fn pair((left, right): (u8, u8)) -> u8 {
    left + right
}

lovage_guest::export!(add, greet, sum, measure, ping, page, count_down, parse, plain, pair);

fn value<T: Task>(input: &str) -> Value {
    match T::call(input.as_bytes()) {
        Ok(Encoded::Value(json)) => serde_json::from_slice(&json).unwrap(),
        other => panic!("{}: {input}: {other:?}", T::NAME),
    }
}

/// The message of the permanent failure that an input ends with, without the line and column.
fn refusal<T: Task>(input: &str) -> String {
    let failure = T::call(input.as_bytes()).unwrap_err();
    assert!(!failure.is_retryable(), "{failure:?}");
    failure.message().split(" at line ").next().unwrap().to_owned()
}

fn schema(document: Option<String>) -> Value {
    serde_json::from_str(&document.unwrap()).unwrap()
}

#[test]
fn several_arguments_come_by_position_or_by_name() {
    assert_eq!(value::<add>("[2, 3]"), json!(5));
    assert_eq!(value::<add>(r#" {"b": 3, "a": 2} "#), json!(5));
}

#[test]
fn a_refused_argument_is_named() {
    assert_eq!(refusal::<add>("[2]"), "argument `b`: missing");
    assert_eq!(refusal::<add>(r#"{"a": 2}"#), "argument `b`: missing");
    assert_eq!(refusal::<add>(""), "argument `a`: missing");
    assert_eq!(refusal::<add>("[1, 2, 3]"), "the input does not fit: too many arguments: expected at most 2 (a, b)");
    assert_eq!(refusal::<add>(r#"{"a": 1, "c": 2}"#), "the input does not fit: unknown argument `c`: expected a, b");
    assert_eq!(refusal::<add>(r#"{"a": 1, "a": 2}"#), "the input does not fit: argument `a` is there twice");
    assert_eq!(refusal::<add>(r#"[1, "x"]"#), "argument `b`: invalid type: string \"x\", expected i64");
    assert_eq!(
        refusal::<add>("7"),
        "the input does not fit: invalid type: integer `7`, expected the arguments (a, b) as an array or an object"
    );
}

#[test]
fn one_argument_is_the_whole_input_or_the_one_item_of_an_array() {
    assert_eq!(value::<greet>(r#""Ada""#), json!("Hello, Ada!"));
    assert_eq!(value::<greet>(r#"["Ada"]"#), json!("Hello, Ada!"));
    assert_eq!(value::<sum>("[1]"), json!(1));
    assert_eq!(value::<sum>("[[1, 2]]"), json!(3));
    assert_eq!(value::<pair>("[1, 2]"), json!(3));
    assert_eq!(value::<measure>(r#"{"photo": "AAAA", "width": 3}"#), json!(1));
    assert_eq!(value::<measure>(r#"[{"photo": "AAAA", "width": 3}]"#), json!(1));
}

#[test]
fn the_place_of_a_misfit_is_told() {
    assert_eq!(
        refusal::<measure>(r#"{"photo": "AAAA", "width": "x"}"#),
        "the input does not fit: width: invalid type: string \"x\", expected u32"
    );
    assert_eq!(
        refusal::<measure>(r#"{"photo": "?", "width": 3}"#),
        "the input does not fit: photo: invalid value: text that is not base64, expected bytes as a base64 string"
    );
    assert_eq!(refusal::<sum>(r#"[1, 2, "x"]"#).split(':').nth(1), Some(" [2]"));
}

#[test]
fn what_is_not_json_is_refused() {
    for refusal in [refusal::<greet>("Ada"), refusal::<add>("[1, 2"), refusal::<add>("[1, 2] 3"), refusal::<ping>("{")]
    {
        assert!(refusal.starts_with("the input does not fit: "), "{refusal}");
    }
    assert!(refusal::<greet>("\u{0}").contains("not JSON"));
    assert!(greet::call(b"\"\xff\"").is_err());
}

#[test]
fn no_argument_takes_only_empty_inputs() {
    for input in ["null", "[]", "{}", "", " \n"] {
        assert_eq!(value::<ping>(input), Value::Null);
    }
    assert_eq!(refusal::<ping>("[1]"), "the input does not fit: too many arguments: expected at most 0 ()");
    assert!(refusal::<ping>(r#"{"a": 1}"#).contains("unknown argument `a`: expected none"));
    assert!(refusal::<ping>("7").contains("expected no argument: `null`, `[]` or `{}`"));
}

#[test]
fn optional_arguments_may_be_missing() {
    assert_eq!(value::<page>("[1]"), json!("1 None 0"));
    assert_eq!(value::<page>("[1, null, {\"a\": \"b\"}]"), json!("1 None 1"));
    assert_eq!(value::<page>(r#"{"number": 1, "size": 20}"#), json!("1 Some(20) 0"));
    assert_eq!(refusal::<page>("{}"), "argument `number`: missing");
}

#[test]
fn failures_reach_the_platform_as_they_are() {
    let failure = measure::call(br#"{"photo": "", "width": 0}"#).unwrap_err();
    assert_eq!(failure, Failure::permanent("no width").detail(json!({ "width": 0 })));
    let failure = parse::call(br#""x""#).unwrap_err();
    assert_eq!(failure, Failure::retryable("invalid digit found in string"));
    assert_ne!(failure.clone().after(Duration::from_secs(1)), failure);
}

#[test]
fn a_task_may_hand_back_a_flow() {
    assert_eq!(value::<count_down>("0"), json!("lift-off"));
    let Ok(Encoded::Replace(flow)) = count_down::call(b"3") else { panic!("no flow") };
    assert_eq!(serde_json::from_str::<Value>(&flow).unwrap(), json!({ "task": "test/count_down", "input": 2 }));
}

#[test]
fn a_media_type_leaves_the_bytes_as_they_are() {
    assert_eq!(plain::call(br#""as it is""#), Ok(Encoded::Value(b"as it is".to_vec())));
    let Description { output_schema, media_type, .. } = plain::description();
    assert_eq!((output_schema, media_type), (None, Some("text/plain")));
}

#[test]
fn a_module_finds_its_tasks_by_name() {
    const TASKS: &[Entry] = &[Entry::of::<add>(), Entry::of::<greet>()];
    assert_eq!(call(TASKS, "add", b"[1, 1]"), Ok(Encoded::Value(b"2".to_vec())));
    assert_eq!(call(TASKS, "say-hello", b"\"A\""), Ok(Encoded::Value(b"\"Hello, A!\"".to_vec())));
    let failure = call(TASKS, "greet", b"\"A\"").unwrap_err();
    assert_eq!(failure, Failure::permanent("no task `greet`: this module has add, say-hello"));
}

#[test]
fn a_task_is_described_by_its_doc_comment_and_types() {
    let description = greet::description();
    assert_eq!((description.name, description.summary), ("say-hello", "Greets somebody,\npolitely."));
    assert_eq!(schema(description.input_schema)["type"], "string");
    assert_eq!(schema(description.output_schema)["type"], "string");

    let input = schema(measure::description().input_schema);
    assert_eq!(input["title"], "Resize");
    assert_eq!(input["description"], "A photo to make smaller.");
    assert_eq!(input["properties"]["photo"], json!({ "type": "string", "contentEncoding": "base64" }));
    assert_eq!(input["required"], json!(["photo", "width"]));
    assert_eq!(count_down::description().output_schema, String::description());
}

#[test]
fn one_schema_describes_several_arguments_in_both_forms() {
    let schema = schema(page::description().input_schema);
    assert_eq!(schema["type"], json!(["object", "array"]));
    assert_eq!(schema["required"], json!(["number"]));
    assert_eq!(schema["minItems"], 1);
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(
        schema["prefixItems"],
        json!([
            { "$ref": "#/properties/number" }, { "$ref": "#/properties/size" }, { "$ref": "#/properties/filters" },
        ])
    );
    assert_eq!(schema["properties"]["size"]["type"], json!(["integer", "null"]));
}

/// The schema of a type as a task's output.
trait Described {
    fn description() -> Option<String>;
}

impl<T: lovage_guest::Output> Described for T {
    fn description() -> Option<String> {
        T::schema()
    }
}

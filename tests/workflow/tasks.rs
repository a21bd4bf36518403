//! The tasks of the module `canvas`, as closures: what examples/guests/canvas does in Wasm.

use lovage::model::{Failure, Kind};
use serde_json::{Value, json};

/// What a call of a task ends with.
pub(crate) enum Called {
    Output(Value),
    Failed(Failure),
    Flow(Value),
}

fn failed(kind: Kind, message: &str) -> Called {
    Called::Failed(Failure::new(kind, message))
}

/// Calls `canvas/<name>`.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
pub(crate) fn call(mended: bool, name: &str, input: &Value, attempt: u32) -> Called {
    let argument = |at: usize, field: &str| match input {
        Value::Array(items) => items.get(at).cloned().unwrap_or(Value::Null),
        Value::Object(fields) => fields.get(field).cloned().unwrap_or(Value::Null),
        other if at == 0 => other.clone(),
        _ => Value::Null,
    };
    match name {
        "add" => match (argument(0, "a").as_i64(), argument(1, "b").as_i64()) {
            (Some(a), Some(b)) => Called::Output(json!(a + b)),
            _ => failed(Kind::BadInput, &format!("add takes two numbers, and got {input}")),
        },
        "append" => match argument(0, "list") {
            Value::Array(mut items) => {
                items.push(argument(1, "x"));
                Called::Output(Value::Array(items))
            }
            other => failed(Kind::BadInput, &format!("append takes a list, and got {other}")),
        },
        "id" => Called::Output(input.clone()),
        "sum" => match input.as_array() {
            Some(items) => Called::Output(json!(items.iter().filter_map(Value::as_i64).sum::<i64>())),
            None => failed(Kind::BadInput, "sum takes a list"),
        },
        "pair" => Called::Output(json!([argument(0, "a"), argument(1, "b")])),
        "fail" => {
            let kind = argument(0, "kind").as_str().and_then(|kind| kind.parse().ok()).unwrap_or(Kind::Refused);
            failed(kind, "it was told to")
        }
        "flaky" if attempt < 3 => failed(Kind::Returned, "not yet"),
        "flaky" => Called::Output(json!(7)),
        // Its last argument is the flow that takes its place.
        "replace" => Called::Flow(input.as_array().and_then(|all| all.last().cloned()).unwrap_or(Value::Null)),
        "mark" => Called::Output(argument(1, "x")),
        "mended" if mended => Called::Output(json!("mended")),
        "mended" => failed(Kind::Refused, "not mended yet"),
        "again" => Called::Flow(json!({"task": "canvas/again"})),
        other => panic!("canvas has no task {other}"),
    }
}

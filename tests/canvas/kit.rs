//! The driver of `lovage::testing`: the tasks of `canvas` are closures, time is a number.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lovage::testing::{Answer, Call, Failed, Flow, Kind, Report};
use serde_json::{Value, json};

use crate::case::{Case, Expected, Seen};
use crate::cases::table;

/// What examples/guests/canvas does in Wasm.
fn canvas(flow: Flow, log: &Arc<Mutex<Vec<String>>>) -> Flow {
    let at = |call: &Call, place: usize| call.input.get(place).cloned().unwrap_or_default();
    let number =
        |value: &Value| value.as_i64().ok_or_else(|| Failed::new(Kind::Refused, format!("{value} is no number")));
    let noted = Arc::clone(log);
    let note = move |value: &Value| {
        let line = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        noted.lock().unwrap().push(line);
    };
    let note_too = note.clone();
    flow.task("canvas/add", move |call| Ok(json!(number(&at(call, 0))? + number(&at(call, 1))?)))
        .task("canvas/id", |call| Ok(call.input.clone()))
        .task("canvas/sum", move |call| {
            let items = call.input.as_array().into_iter().flatten();
            Ok(json!(items.map(number).sum::<Result<i64, _>>()?))
        })
        .task("canvas/append", move |call| {
            let mut list = at(call, 0).as_array().cloned().unwrap_or_default();
            list.push(at(call, 1));
            Ok(Value::Array(list))
        })
        .task("canvas/pair", move |call| Ok(json!([at(call, 0), at(call, 1)])))
        .task("canvas/fail", |call| -> Result<Value, _> {
            let kind = call.input.as_str().and_then(|kind| kind.parse().ok()).unwrap_or(Kind::Refused);
            Err(Failed::new(kind, "it was told to"))
        })
        .task("canvas/mark", move |call| {
            let last = call.input.as_array().and_then(|all| all.last()).unwrap_or(&call.input);
            note(last);
            Ok(last.clone())
        })
        .task("canvas/flaky", |call| match call.attempt {
            1 | 2 => Err(Failed::new(Kind::Returned, "not yet")),
            _ => Ok(json!(7)),
        })
        .task("canvas/slow", move |call| {
            call.takes(Duration::from_millis(at(call, 0).as_u64().unwrap()));
            Ok(at(call, 1))
        })
        .task("canvas/replace", move |call| {
            let all = call.input.as_array().unwrap();
            if let [.., line @ Value::String(_), _] = all.as_slice() {
                note_too(line);
            }
            Ok(Answer::Flow(all.last().unwrap().clone()))
        })
}

fn seen(report: &Report, log: Vec<String>) -> Seen {
    let details = report.details();
    let journal = details.runs[&details.run].journal.clone();
    Seen { ending: details.end.result.clone(), journal, log: Some(log), took_ms: report.took().as_millis() }
}

fn play(case: &Case) {
    let log = Arc::default();
    let mut flow = canvas(Flow::new(case.flow.as_str()), &log).concurrency(case.concurrency);
    if let Some(input) = &case.input {
        flow = flow.input(input.clone());
    }
    if case.cancel_at.is_some() {
        flow = flow.cancel_after(Duration::from_millis(1));
    }
    let report = flow.try_run().unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let log = log.lock().unwrap().clone();
    case.assert(&seen(&report, log));
}

#[test]
fn every_case_holds_with_closures() {
    table().iter().for_each(play);
}

#[test]
fn a_case_that_does_not_hold_is_told() {
    let wrong = Case::new("wrong", "{value: 1}", Expected::Output(json!(2)));
    assert!(std::panic::catch_unwind(|| play(&wrong)).is_err());
}

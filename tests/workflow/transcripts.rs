//! Golden transcripts: for each kind of node, every record of a run and what followed from it.
//!
//! `LOVAGE_GOLDEN=write` writes them anew; the difference is to be read before it is committed.

use lovage::model::Datum;
use lovage::workflow::effect::Effect;
use lovage::workflow::journal::{Decision, End, Ending, Event, Outcome, Record};
use lovage::workflow::run::Run;
use serde_json::{Value, json};

use crate::kinds::flow;
use crate::world::{World, root_id};

fn datum(value: &Datum) -> String {
    let parts = value.elsewhere().iter().map(|part| format!(" + {} bytes elsewhere", part.size));
    format!("{}{}", String::from_utf8_lossy(value.text()), parts.collect::<String>())
}

fn ending(end: &End) -> String {
    let undone: Vec<String> = end.compensation_failures.iter().map(ToString::to_string).collect();
    let undone = if undone.is_empty() { String::new() } else { format!(", not undone: {}", undone.join("; ")) };
    match &end.result {
        Ending::Succeeded(output) => format!("succeeded {}{undone}", datum(output)),
        Ending::Failed(failure) => format!("failed {failure}{undone}"),
        Ending::Cancelled => format!("cancelled{undone}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
fn decision(decision: &Decision) -> String {
    match decision {
        Decision::Value(value) => datum(value),
        Decision::Failed(failure) => format!("failed {failure}"),
        Decision::Pins(pins) => format!("pins {:?}", pins.modules.keys().collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Start(start) => format!("start {}", start.input.as_ref().map_or("without input".to_owned(), datum)),
        Event::Outcome { step, attempt, outcome } => match outcome {
            Outcome::Succeeded(output) => format!("step {step} attempt {attempt} succeeded {}", datum(output)),
            Outcome::Failed(failure) => format!("step {step} attempt {attempt} failed {failure}"),
            Outcome::Replaced(document) => format!("step {step} attempt {attempt} replaced {}", datum(document)),
        },
        Event::Timer(timer) => format!("timer {timer}"),
        Event::Decided { step, question, decision: answer, .. } => {
            format!("decided {step} {question:?}: {}", decision(answer))
        }
        Event::Child { step, end, .. } => match end {
            Ok(output) => format!("child {step} succeeded {}", datum(output)),
            Err(failure) => format!("child {step} failed {failure}"),
        },
        Event::Signal { name, payload } => format!("signal {name} {}", datum(payload)),
        Event::Cancel { .. } => "cancel".to_owned(),
        Event::Pause => "pause".to_owned(),
        Event::Resume => "resume".to_owned(),
        Event::Retry => "retry".to_owned(),
        Event::End { end, .. } => format!("end {}", ending(end)),
    }
}

/// What is asked for, with times counted from the start.
fn effect(effect: &Effect, start: i64) -> Option<String> {
    Some(match effect {
        Effect::Dispatch(task) => format!(
            "dispatch {} attempt {}: {}({}){}",
            task.step,
            task.attempt,
            task.task,
            datum(&task.input),
            if task.shielded { ", shielded" } else { "" },
        ),
        // Every run has its watchdog, which says nothing of its kind.
        Effect::StartTimer { timer, .. } if timer.to_string().contains("watchdog") => return None,
        Effect::StartTimer { timer, due } => format!("start timer {timer} at {} ms", due.as_millis() - start),
        Effect::StopTimer(timer) => format!("stop timer {timer}"),
        Effect::Interrupt { step, attempt } => format!("interrupt {step} attempt {attempt}"),
        Effect::Expire { step, attempt } => format!("expire {step} attempt {attempt}"),
        Effect::Decide { step, question, decision: answer, .. } => {
            format!("decide {step} {question:?}: {}", decision(answer))
        }
        Effect::Pin { step, tasks, .. } => {
            format!("pin {step}: {:?}", tasks.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        Effect::Load(part) => format!("load {} bytes", part.size),
        Effect::StartChild(child) => format!("start child {} of {}", child.flow, child.parent.step),
        Effect::CancelChild { .. } => "cancel child".to_owned(),
        Effect::End { end, .. } => format!("end {}", ending(end)),
        Effect::Close { .. } => "close".to_owned(),
    })
}

/// Folds a journal again and writes down what followed from each record.
fn transcript(journal: &[Record]) -> String {
    let Event::Start(start) = &journal[0].event else { panic!("it begins with its start") };
    let mut run = Run::new(start).unwrap();
    let began = journal[0].time.as_millis();
    let mut text = String::new();
    for record in journal {
        text.push_str(&format!("{:6} ms  {}\n", record.time.as_millis() - began, event(&record.event)));
        for asked in run.apply(record).unwrap() {
            if let Some(line) = effect(&asked, began) {
                text.push_str(&format!("             -> {line}\n"));
            }
        }
    }
    text
}

fn flows() -> Vec<(&'static str, Value, Option<Value>)> {
    let bare = |text: &str| (flow(text), None);
    let with = |text: &str, input: Value| (flow(text), Some(input));
    let all = [
        ("task", with("{task: canvas/add, args: ['${prev * 2}'], retry: {attempts: 2}}", json!(3))),
        ("task-retried", bare("{task: canvas/flaky, retry: {attempts: 3, jitter: false}}")),
        ("task-delayed-expiring", bare("{task: canvas/id, delay: 3s, expires: 10s}")),
        ("chain", with("chain: [{task: canvas/add, args: [1]}, {value: '${prev + 1}'}]", json!(1))),
        ("group", bare("{group: [{task: canvas/id, input: 1}, {task: canvas/fail, input: {}}, {task: canvas/id}]}")),
        (
            "group-collect",
            bare("{group: [{task: canvas/id, input: 1}, {task: canvas/fail, input: {}}], on_error: collect}"),
        ),
        ("group-need", bare("{group: [{task: canvas/id, input: 1}, {sleep: 1h}], need: 1}")),
        (
            "chord",
            bare(
                "chord: {header: [{task: canvas/id, input: 1}, {task: canvas/id, input: 2}], body: {task: canvas/sum}}",
            ),
        ),
        ("map", with("{map: {task: canvas/add, args: ['${index}']}, concurrency: 2}", json!([1, 2, 3]))),
        ("starmap", with("{starmap: {task: canvas/add}}", json!([[1, 2], [3, 4]]))),
        ("chunks", with("{chunks: {task: canvas/id}, size: 2}", json!([1, 2, 3]))),
        ("choose", with("choose: [{when: 'prev > 1', then: {task: canvas/id}}]", json!(2))),
        ("loop", with("{loop: {task: canvas/add, args: [1]}, while: 'prev < 3', max: 5}", json!(1))),
        ("poll", bare("{poll: {task: canvas/id, input: '${index}'}, every: 5s, until: 'prev == 1', timeout: 1m}")),
        ("sleep", bare("chain: [{sleep: 5s}, {sleep: '${\"1s\"}'}]")),
        ("wait", bare("{wait: go, timeout: 5s, catch: {value: late}}")),
        ("value", with("value: {twice: '${input * 2}', text: 'n is ${input}'}", json!(4))),
        ("flow", with("flow: child", json!(1))),
        ("replacement", with("{task: canvas/replace, args: [{chain: [{task: canvas/add, args: [1]}]}]}", json!(1))),
        (
            "catch-and-observers",
            bare(
                "{task: canvas/fail, input: {}, on_failure: {task: canvas/id}, catch: {value: '${error.kind}', on_success: {task: canvas/id}}}",
            ),
        ),
        (
            "compensation",
            bare("chain: [{task: canvas/id, input: 1, compensate: {task: canvas/id}}, {task: canvas/fail, input: {}}]"),
        ),
        ("timeout", bare("{chain: [{task: canvas/flaky}], timeout: 500ms}")),
    ];
    all.into_iter().map(|(name, (flow, input))| (name, flow, input)).collect()
}

#[test]
fn each_kind_of_node_has_its_golden_transcript() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/run");
    let write = std::env::var_os("LOVAGE_GOLDEN").is_some();
    for (name, document, input) in flows() {
        let mut world = World::new(0);
        world.start(&document, input.as_ref(), &[("child", flow("{task: canvas/add, args: [1]}"))]);
        world.play();
        let text = format!("{document}\n\n{}", transcript(&world.lives[&root_id()].journal));
        let file = folder.join(format!("{name}.txt"));
        if write {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, golden, "{name}: LOVAGE_GOLDEN=write writes it anew");
    }
}

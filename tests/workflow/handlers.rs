//! Observers and compensations: who is told of what, and how often.

use lovage::model::Kind;
use lovage::workflow::journal::Ending;
use serde_json::{Value, json};

use crate::kinds::flow;
use crate::world::World;

/// Plays a flow in several orders, with or without faults, and gives the worlds at their ends.
fn worlds(text: &str, faults: u32) -> Vec<World> {
    let play = |seed| {
        let mut world = World::new(seed).with_faults(faults);
        world.start(&flow(text), None, &[]);
        world.play();
        assert!(world.end().is_some(), "seed {seed}: {:?}", world.run().waiting());
        world
    };
    (0..8).map(play).collect()
}

/// How often `canvas/mark` was called with this word.
fn marks(world: &World, word: &str) -> usize {
    world.outcomes(&format!("mark({})", json!(["log", word])))
}

#[test]
fn on_failure_is_called_once_for_a_node_and_once_for_each_child_that_has_it() {
    let member = |at: usize| match at % 66 {
        at if at < 24 => format!("{{task: canvas/id, input: {at}}}"),
        _ => "{task: canvas/fail, input: {}}".to_owned(),
    };
    let members: Vec<String> = (0..66).map(member).collect();
    let observer = "{task: canvas/mark, input: [log, told]}";
    let group = format!(
        "{{chain: [{{group: [{}], on_error: finish, on_failure: {observer}}}, {{task: canvas/mark, input: [log, body]}}]}}",
        members.join(", ")
    );
    for world in worlds(&group, 0) {
        assert!(matches!(world.end().unwrap().result, Ending::Failed(failure) if failure.kind == Kind::Refused));
        assert_eq!((marks(&world, "told"), marks(&world, "body")), (1, 0));
        let called = world.log.iter().filter(|call| call.starts_with("fail") || call.starts_with("id")).count();
        assert_eq!(called, 66, "all run");
    }
    let text = members_with_observers();
    for world in worlds(&text, 0) {
        assert_eq!(marks(&world, "told"), 42);
    }
}

/// The same members, each with the observer.
fn members_with_observers() -> String {
    let observer = json!({"task": "canvas/mark", "input": ["log", "told"]});
    let member = |at: usize| {
        let mut node: Value = if at < 24 {
            json!({"task": "canvas/id", "input": at})
        } else {
            json!({"task": "canvas/fail", "input": {}})
        };
        node["on_failure"] = observer.clone();
        node
    };
    json!({"group": (0..66).map(member).collect::<Vec<_>>(), "on_error": "finish"}).to_string()
}

#[test]
fn observers_see_what_happened_and_change_nothing() {
    let text = "
chain:
  - task: canvas/id
    input: 5
    on_success: {chain: [{task: canvas/mark, args: [good]}, {task: canvas/fail, input: {}}]}
    on_failure: {task: canvas/mark, input: [log, never]}
  - {task: canvas/add, args: [1]}";
    for world in worlds(text, 3) {
        let Ending::Succeeded(output) = world.end().unwrap().result else { panic!("observers change nothing") };
        assert_eq!(output.to_json(), Some(json!(6)));
        assert_eq!(world.outcomes("mark([5,\"good\"])"), 1);
        assert_eq!(marks(&world, "never"), 0);
    }
}

#[test]
fn on_failure_waits_for_the_last_attempt() {
    let observed = |task: &str| {
        format!(
            "{{task: canvas/{task}, input: {{kind: returned}}, retry: 4, on_failure: {{task: canvas/mark, input: [log, told]}}}}"
        )
    };
    for world in worlds(&observed("flaky"), 2) {
        assert_eq!(marks(&world, "told"), 0);
    }
    for world in worlds(&observed("fail"), 2) {
        assert_eq!((marks(&world, "told"), world.outcomes("fail({\"kind\":\"returned\"})")), (1, 4));
    }
}

#[test]
fn on_failure_sees_the_failure_that_catch_takes() {
    let text = "
task: canvas/fail
input: {}
on_failure: {task: canvas/mark, args: ['${error.kind}']}
catch: {value: caught}";
    for world in worlds(text, 0) {
        let Ending::Succeeded(output) = world.end().unwrap().result else { panic!("it is caught") };
        assert_eq!(output.to_json(), Some(json!("caught")));
        assert_eq!(
            world.log.iter().filter(|call| call.starts_with("mark") && call.ends_with("\"refused\"])")).count(),
            1
        );
    }
}

const SAGA: &str = "
chain:
  - {task: canvas/id, input: 1, compensate: {task: canvas/mark, args: [undo1]}}
  - group:
      - {task: canvas/id, input: 2, compensate: {task: canvas/mark, args: [undo2]}}
  - {task: canvas/fail, input: {}}";

#[test]
fn compensations_run_in_reverse_order_and_see_input_and_output() {
    for faults in [0, 4] {
        for world in worlds(SAGA, faults) {
            assert!(matches!(world.end().unwrap().result, Ending::Failed(_)));
            let undone: Vec<&String> = world.effective.iter().filter(|call| call.contains("undo")).collect();
            assert_eq!(
                undone,
                ["mark([{\"input\":2,\"output\":2},\"undo2\"])", "mark([{\"input\":1,\"output\":1},\"undo1\"])"]
            );
        }
    }
}

#[test]
fn a_compensation_that_fails_is_reported_and_the_others_run() {
    let text = "
chain:
  - {task: canvas/id, input: 1, compensate: {task: canvas/mark, args: [undo1]}}
  - {task: canvas/id, input: 2, compensate: {task: canvas/fail, input: {kind: returned}}}
  - {task: canvas/fail, input: {}}";
    for world in worlds(text, 0) {
        let end = world.end().unwrap();
        assert_eq!(end.compensation_failures.len(), 1);
        assert_eq!(end.compensation_failures[0].step.as_ref().unwrap().as_str(), "0-1-u");
        assert_eq!(
            world.log.iter().filter(|call| call.starts_with("fail({\"kind\":\"returned\"")).count(),
            3,
            "retried"
        );
        assert_eq!(world.log.iter().filter(|call| call.contains("undo1")).count(), 1);
    }
}

#[test]
fn a_run_that_succeeds_undoes_nothing() {
    let text = "{task: canvas/id, input: 1, compensate: {task: canvas/mark, args: [undo1]}}";
    for world in worlds(text, 0) {
        assert!(matches!(world.end().unwrap().result, Ending::Succeeded(_)));
        assert!(!world.log.iter().any(|call| call.contains("undo")));
    }
}

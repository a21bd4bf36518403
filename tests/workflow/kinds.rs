//! Each kind of node and each common field, by what it yields; every case in several orders, with faults, and with values that
//! stand elsewhere.

use lovage::model::Kind;
use lovage::workflow::flow::Document;
use lovage::workflow::journal::{End, Ending};
use serde_json::{Value, json};

use crate::world::World;

pub(crate) fn flow(text: &str) -> Value {
    Document::parse_yaml(text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}")).to_json()
}

/// Plays a flow in many ways and gives its end, which must always be the same.
pub(crate) fn end(text: &str, input: Option<Value>) -> End {
    let document = flow(text);
    let mut first: Option<End> = None;
    for seed in 0..12 {
        let mut world = World::new(seed).with_faults(if seed < 4 { 0 } else { 5 });
        world.inline_max = if seed % 2 == 0 { usize::MAX } else { 1 };
        world.start(&document, input.as_ref(), &[]);
        world.play();
        let waiting = world.run().waiting();
        let end = world.end().unwrap_or_else(|| panic!("seed {seed}: no end, waits for {waiting:?}\n{text}"));
        let end = world.whole(end);
        if let Some(first) = &first {
            assert_eq!(first.result, end.result, "seed {seed}: another end\n{text}");
        }
        first.get_or_insert(end);
    }
    first.unwrap()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
pub(crate) fn output(text: &str, input: Option<Value>) -> Value {
    match end(text, input).result {
        Ending::Succeeded(output) => output.to_json().unwrap(),
        other => panic!("{other:?}\n{text}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
pub(crate) fn failure(text: &str, input: Option<Value>) -> (Kind, String) {
    match end(text, input).result {
        Ending::Failed(failure) => (failure.kind, failure.message),
        other => panic!("{other:?}\n{text}"),
    }
}

#[test]
fn map_runs_its_body_for_each_item_in_order() {
    let text = "map: {task: canvas/add, args: ['${index}']}";
    assert_eq!(output(text, Some(json!([10, 20, 30]))), json!([10, 21, 32]));
    assert_eq!(output("map: {task: canvas/id}\nover: '${input.list}'", Some(json!({"list": ["a"]}))), json!(["a"]));
    assert_eq!(output("map: {task: canvas/id}\nover: [1, 2]\nconcurrency: 1", None), json!([1, 2]));
    assert_eq!(output("map: {task: canvas/id}", Some(json!([]))), json!([]));
    let nested = "map: {map: {value: '${item + index}'}}";
    assert_eq!(output(nested, Some(json!([[1], [2, 3]]))), json!([[1], [2, 4]]));
    let (kind, message) = failure("map: {task: canvas/id}", Some(json!({"a": 1})));
    assert_eq!((kind, message.contains("not an array")), (Kind::BadExpression, true), "{message}");
}

#[test]
fn starmap_spreads_items_over_arguments() {
    assert_eq!(output("starmap: {task: canvas/add}", Some(json!([[1, 2], [3, 4]]))), json!([3, 7]));
    assert_eq!(output("starmap: {task: canvas/add, args: [5]}", Some(json!([[1], [2]]))), json!([6, 7]));
    assert_eq!(failure("starmap: {task: canvas/add}", Some(json!([[1, 2], 3]))).0, Kind::BadExpression);
}

#[test]
fn chunks_are_arrays_and_their_outputs_are_put_together() {
    let text = "chunks: {map: {task: canvas/add, args: [1]}}\nsize: 2";
    assert_eq!(output(text, Some(json!([1, 2, 3, 4, 5]))), json!([2, 3, 4, 5, 6]));
    assert_eq!(output("chunks: {task: canvas/id}\nsize: 3", Some(json!([]))), json!([]));
    assert_eq!(failure("chunks: {task: canvas/sum}\nsize: 2", Some(json!([1, 2]))).0, Kind::BadExpression);
}

#[test]
fn choose_takes_the_first_branch_that_holds() {
    let text = "
choose:
  - {when: 'input.n > 10', then: {value: many}}
  - {when: 'input.n > 1', then: {value: some}}
else: {value: few}";
    for (n, word) in [(11, "many"), (2, "some"), (0, "few")] {
        assert_eq!(output(text, Some(json!({ "n": n }))), json!(word));
    }
    let no_else = "choose: [{when: 'prev == 1', then: {value: one}}]";
    assert_eq!(output(no_else, Some(json!(5))), json!(5));
    assert_eq!(
        failure("choose: [{when: 'input.x.y', then: {value: 1}}]", Some(json!({"x": {}}))).0,
        Kind::BadExpression
    );
}

#[test]
fn loop_asks_before_each_iteration() {
    let text = "loop: {task: canvas/add, args: [3]}\nwhile: 'prev < 10'\nmax: 5";
    assert_eq!(output(text, Some(json!(1))), json!(10));
    assert_eq!(output(text, Some(json!(50))), json!(50));
    let never = "loop: {task: canvas/id}\nwhile: 'true'\nmax: 3";
    assert_eq!(failure(never, Some(json!(0))).0, Kind::LoopLimit);
    let index = "loop: {task: canvas/add, args: ['${index}']}\nwhile: 'index < 4'\nmax: 4";
    assert_eq!(output(index, Some(json!(0))), json!(6));
}

#[test]
fn poll_runs_again_until_it_holds() {
    let text = "poll: {value: '${index}'}\nevery: 10s\nuntil: 'prev == 3'\ntimeout: 1h";
    assert_eq!(output(text, None), json!(3));
    let never = "poll: {value: 1}\nevery: 10s\nuntil: 'prev == 3'\ntimeout: 1m";
    assert_eq!(failure(never, None).0, Kind::Timeout);
}

#[test]
fn sleep_yields_what_it_received() {
    assert_eq!(output("chain: [{sleep: 5s}, {task: canvas/add, args: [1]}]", Some(json!(1))), json!(2));
    assert_eq!(output("sleep: '${input.wait}'", Some(json!({"wait": "1h30m"}))), json!({"wait": "1h30m"}));
    assert_eq!(failure("sleep: '${input}'", Some(json!("soon"))).0, Kind::BadExpression);
    assert_eq!(failure("sleep: '${input}'", Some(json!(5))).0, Kind::BadExpression);
}

#[test]
fn values_and_names_reach_later_steps() {
    let text = "
chain:
  - {task: canvas/id, name: a, input: {x: 20}}
  - group:
      - {value: '${steps.a.x + input.y}', name: b}
      - {task: canvas/id, input: ['${prev.x}', 'x is ${steps.a.x}!']}
  - {value: {sum: '${steps.b}', all: '${prev}', run: '${size(run.id)}'}}";
    let wanted = json!({"sum": 22, "all": [22, [20, "x is 20!"]], "run": 26});
    assert_eq!(output(text, Some(json!({"y": 2}))), wanted);
}

#[test]
fn input_replaces_what_every_member_receives() {
    let text = "chain: [{value: 1}, {group: [{task: canvas/id}, {task: canvas/add, args: [1]}], input: '${prev + 4}'}]";
    assert_eq!(output(text, None), json!([5, 6]));
}

#[test]
fn catch_takes_the_place_of_a_failed_node() {
    let text = "
chain:
  - task: canvas/fail
    input: {kind: refused}
    catch: {value: {kind: '${error.kind}', same: '${prev.error.kind}', input: '${prev.input.kind}'}}
  - {task: canvas/id}";
    assert_eq!(output(text, None), json!({"kind": "refused", "same": "refused", "input": "refused"}));
    let again = "{chain: [{task: canvas/fail, input: {}}], catch: {task: canvas/fail, input: {kind: bad_input}}}";
    assert_eq!(failure(again, None).0, Kind::BadInput);
}

#[test]
fn members_fail_by_the_rule_of_their_group() {
    let members = "[{task: canvas/id, input: 1}, {task: canvas/fail, input: {}}, {task: canvas/id, input: 3}]";
    assert_eq!(failure(&format!("{{group: {members}}}"), None).0, Kind::Refused);
    assert_eq!(failure(&format!("{{group: {members}, on_error: finish}}"), None).0, Kind::Refused);
    let collected = output(&format!("{{group: {members}, on_error: collect}}"), None);
    assert_eq!(collected[1]["error"]["kind"], "refused");
    assert_eq!(failure(&format!("{{group: {members}, need: 3}}"), None).0, Kind::Refused);
    // Two of three succeed in any order; which two are in the array is told by their order alone.
    assert_eq!(output(&format!("{{group: {members}, need: 2}}"), None), json!([1, 3]));
    let map = "{map: {task: canvas/id}, need: 3}";
    assert_eq!(failure(map, Some(json!([1, 2]))).0, Kind::BadExpression);
}

#[test]
fn the_first_failure_in_declaration_order_is_that_of_a_group_that_finishes() {
    let text =
        "{group: [{task: canvas/fail, input: {kind: bad_input}}, {task: canvas/fail, input: {}}], on_error: finish}";
    assert_eq!(failure(text, None).0, Kind::BadInput);
}

#[test]
fn a_failure_names_its_step_and_task() {
    let Ending::Failed(failure) = end("chain: [{value: 1}, {group: [{task: canvas/fail, input: {}}]}]", None).result
    else {
        panic!("it must fail")
    };
    assert_eq!(failure.step.unwrap().as_str(), "0-1-0");
    assert_eq!((failure.task.unwrap().to_string(), failure.attempt), ("canvas/fail".to_owned(), Some(1)));
}

#[test]
fn an_expression_that_fails_names_itself_and_its_place() {
    let (kind, message) = failure("chain: [{task: canvas/id}, {value: '${prev.total}'}]", Some(json!({"a": 1})));
    assert_eq!(kind, Kind::BadExpression);
    assert!(message.contains("/chain/1") && message.contains("total"), "{message}");
}

#[test]
fn a_result_above_16_mib_exceeds_a_limit_and_is_no_bad_expression() {
    let copies = vec!["'x${input}'"; 170].join(", ");
    let (kind, message) = failure(&format!("value: [{copies}]"), Some(json!("x".repeat(100_000))));
    assert_eq!(kind, Kind::Limit, "{message}");
    assert!(
        message.starts_with("/flow: ") && message.ends_with("the result takes more than 16777216 bytes"),
        "{message}"
    );
}

#[test]
fn a_template_of_the_wrong_type_fails_its_node_and_says_what_it_takes() {
    let mut wrong = Vec::new();
    for (text, takes) in [
        ("{sleep: '${7}'}", "a sleep takes a duration"),
        ("{sleep: '${prev}s'}", "it takes a duration such as"),
        ("{map: {task: canvas/id}, over: '${7}'}", "array"),
        ("{starmap: {task: canvas/add}, over: [1]}", "array"),
        ("{chunks: {value: 7}, size: 2, over: [1, 2, 3]}", "array"),
        ("{choose: [{when: '7', then: {value: 1}}]}", "true or false"),
        ("{loop: {value: 1}, while: 'prev', max: 2}", "true or false"),
        ("{poll: {value: 1}, every: 1s, until: '7', timeout: 1m}", "true or false"),
    ] {
        let (kind, message) = failure(text, Some(json!({"not": "a number"})));
        if kind != Kind::BadExpression || !message.contains(takes) {
            wrong.push(format!("{text}: {kind}: {message}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_sleep_may_be_computed_with_a_fraction() {
    assert_eq!(output("{sleep: '${prev}s'}", Some(json!(0.5))), json!(0.5));
    assert_eq!(output("{sleep: '1.5s'}", Some(json!(1))), json!(1));
}

#[test]
fn without_input_tasks_receive_null_and_arguments_alone() {
    assert_eq!(output("task: canvas/id", None), json!(null));
    assert_eq!(output("{task: canvas/pair, args: [1, 2]}", None), json!([1, 2]));
    assert_eq!(output("{task: canvas/pair, args: [2]}", Some(json!(null))), json!([null, 2]));
    assert_eq!(output("chain: []", None), json!(null));
}

#[test]
fn a_timeout_cancels_what_runs_in_the_node() {
    assert_eq!(failure("{wait: never, timeout: 5s}", None).0, Kind::Timeout);
    let caught = "{chain: [{sleep: 1h}], timeout: 5s, catch: {value: late}}";
    assert_eq!(output(caught, None), json!("late"));
    assert_eq!(output("{chain: [{sleep: 1s}], timeout: 5s}", Some(json!(1))), json!(1));
}

#[test]
fn a_delayed_task_waits() {
    let mut world = World::new(0);
    let before = world.now;
    world.start(&flow("{task: canvas/id, delay: 3s}"), Some(&json!(1)), &[]);
    world.play();
    assert!(world.end().is_some() && world.now >= before + 3_000);
}

#[test]
fn replacements_go_on_to_the_depth_limit() {
    // The flow that it hands back is itself such a task, three levels deep and then a value.
    let mut document = json!({"value": "deep"});
    for _ in 0..3 {
        document = json!({"task": "canvas/replace", "args": [document]});
    }
    assert_eq!(output(&document.to_string(), None), json!("deep"));
    assert_eq!(failure("task: canvas/again", None).0, Kind::Limit, "one that recurses for ever");
}

#[test]
fn tasks_of_a_replacement_that_the_run_did_not_pin_are_pinned() {
    let text = "{task: canvas/replace, args: [{task: extra/id, input: 4}]}";
    assert_eq!(output(text, None), json!(4));
    let (kind, message) = failure("{task: canvas/replace, args: [{task: unknown/id}]}", None);
    assert_eq!((kind, message.contains("unknown/id")), (Kind::BadFlow, true), "{message}");
    assert_eq!(failure("{task: canvas/replace, args: [{task: 5}]}", None).0, Kind::BadFlow);
}

#[test]
fn a_stored_flow_is_a_child_run() {
    let child = flow("chain: [{task: canvas/add, args: [1]}, {task: canvas/add, args: [1]}]");
    for seed in 0..6 {
        let mut world = World::new(seed).with_faults(4);
        let parent = flow("chain: [{flow: twice}, {flow: twice}]");
        world.start(&parent, Some(&json!(1)), &[("twice", child.clone())]);
        world.play();
        assert_eq!(world.lives.len(), 3);
        let Some(Ending::Succeeded(output)) = world.end().map(|end| end.result) else { panic!("it must end") };
        assert_eq!(output.to_json(), Some(json!(5)));
    }
}

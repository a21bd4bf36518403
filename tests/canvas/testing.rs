//! What `lovage::testing` promises beside running flows: what it tells of them, and how it says what is wrong.

use std::time::Duration;

use lovage::chain;
use lovage::testing::{Answer, Error, Failed, Flow, Kind};
use lovage::workflow::flow::build::{task, wait};
use serde_json::{Value, json};

fn echo(call: &lovage::testing::Call) -> Result<Value, Failed> {
    Ok(call.input.clone())
}

#[test]
fn calls_tell_their_inputs_attempts_and_times() {
    let report = Flow::new("{task: m/busy, retry: {attempts: 3, backoff: 2s, jitter: false}}")
        .input(json!(5))
        .task("m/busy", |call| match call.attempt {
            3 => Ok(json!("done")),
            n => Err(Failed::retryable(format!("busy {n}"))),
        })
        .run();
    assert_eq!(report.output(), "done");
    assert_eq!(report.inputs("m/busy"), [json!(5), json!(5), json!(5)]);
    let attempts: Vec<(u32, u64)> =
        report.log().iter().map(|call| (call.attempt, call.now.since(lovage::testing::BEGINS).as_secs())).collect();
    assert_eq!(attempts, [(1, 0), (2, 2), (3, 6)]);
    assert_eq!(report.took(), Duration::from_secs(6));
}

#[test]
fn a_flow_from_the_builder_waits_for_its_signal_and_is_skipped_where_it_fails() {
    let flow = || chain![task("m/a").name("first"), wait("go"), task("m/b").name("then"), task("m/a").name("last")];
    let broken = Flow::new(flow())
        .task("m/a", echo)
        .task("m/b", |_| Err::<Value, _>(Failed::permanent("never")))
        .signal_after(Duration::from_secs(60), "go", json!("went"))
        .run();
    assert_eq!(broken.failure().kind, Kind::Refused);
    assert_eq!((broken.inputs("m/b"), broken.skipped()), (vec![json!("went")], vec!["last".to_owned()]));
    assert_eq!(broken.took(), Duration::from_secs(60));
    let good = Flow::new(flow()).task("m/a", echo).task("m/b", echo).signal("go", json!(1)).run();
    assert_eq!((good.output(), good.step("then"), good.skipped()), (json!(1), Some(json!(1)), vec![]));
}

#[test]
fn a_flow_that_cannot_end_says_what_it_waits_for() {
    let stuck = Flow::new("{group: [{wait: go}, {task: m/a}]}").task("m/a", echo).try_run().unwrap_err();
    let Error::Stuck(message) = stuck else { panic!("{stuck}") };
    for words in ["step 0-0 waits for the signal go, which nobody sends", "add .signal(\"go\", ...)"] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_is_missing_is_named_before_anything_runs() {
    let missing = Flow::new("{chain: [{task: m/a}, {task: m/b}, {flow: other}]}")
        .task("m/a", |_| -> Result<Value, _> { panic!("it ran") });
    let message = missing.try_run().unwrap_err().to_string();
    for words in ["add .task(\"m/b\", |call| ...)", "add .flow(\"other\", ...)"] {
        assert!(message.contains(words), "{message}");
    }
    let message = Flow::new("{chian: []}").try_run().unwrap_err().to_string();
    assert!(message.contains("chain"), "{message}");
    let message = Flow::new("{value: 1}").signal("Not A Name", json!(1)).try_run().unwrap_err().to_string();
    assert!(message.contains("Not A Name"), "{message}");
}

#[test]
fn a_task_may_hand_back_a_flow_or_a_value() {
    let report = Flow::new("{chain: [{task: m/plan, input: 2}, {task: m/plan}]}")
        .task("m/plan", |call| {
            Ok(match call.input.as_i64() {
                Some(2) => Answer::from(chain![task("m/double"), task("m/double")]),
                _ => Answer::Output(call.input.clone()),
            })
        })
        .task("m/double", |call| Ok(json!(call.input.as_i64().unwrap_or_default() * 2)))
        .run();
    assert_eq!(report.output(), 8);
}

#[test]
fn child_runs_are_flows_with_histories_of_their_own() {
    let flow = Flow::new("{flow: twice, name: child}")
        .flow("twice", "{chain: [{task: m/inc}, {sleep: 1h}, {task: m/inc}]}")
        .task("m/inc", |call| Ok(json!(call.input.as_i64().unwrap_or_default() + 1)))
        .input(json!(40));
    let report = flow.clone().run();
    assert_eq!((report.output(), report.details().runs.len()), (json!(42), 2));
    assert_eq!(report.took(), Duration::from_secs(3600));
    let cancelled = flow.cancel_after(Duration::from_secs(10)).run();
    assert!(cancelled.is_cancelled());
    assert_eq!((cancelled.calls("m/inc").len(), cancelled.cancelled().contains(&"child".to_owned())), (1, true));
}

#[test]
fn a_timeout_passes_while_a_task_takes_its_time() {
    let flow = Flow::new("{chain: [{task: m/slow}], timeout: 5s, catch: {value: late}}");
    let slow = |seconds| {
        move |call: &lovage::testing::Call| {
            call.takes(Duration::from_secs(seconds));
            Ok(json!("in time"))
        }
    };
    assert_eq!(flow.clone().task("m/slow", slow(4)).run().output(), "in time");
    let late = flow.task("m/slow", slow(6)).run();
    assert_eq!((late.output(), late.took()), (json!("late"), Duration::from_secs(5)));
}

#[test]
fn compensations_run_backwards_and_their_failures_are_told() {
    let report = Flow::new(
        "chain:
        - {task: m/do, input: 1, compensate: {task: m/undo}}
        - {task: m/do, input: 2, compensate: {task: m/undo}}
        - {task: m/fail}",
    )
    .task("m/do", echo)
    .task("m/undo", |call| match call.input["input"].as_i64() {
        Some(1) => Err(Failed::permanent("stuck")),
        _ => Ok(json!(null)),
    })
    .task("m/fail", |_| Err::<Value, _>(Failed::permanent("no")))
    .run();
    let undone: Vec<Value> = report.inputs("m/undo").iter().map(|input| input["input"].clone()).collect();
    assert_eq!(undone, [json!(2), json!(1)]);
    assert_eq!(report.compensation_failures().len(), 1);
    assert_eq!(report.failure().message, "no");
}

#[test]
#[should_panic(expected = "the run failed at step 0: refused: no")]
fn a_test_that_expects_an_output_fails_with_the_failure() {
    let report = Flow::new("{task: m/a}").task("m/a", |_| Err::<Value, _>(Failed::permanent("no"))).run();
    drop(report.output());
}

#[test]
fn a_polls_waits_and_a_year_of_sleep_pass_at_once() {
    let report =
        Flow::new("{chain: [{poll: {task: m/count}, every: 1m, until: 'prev > 2', timeout: 1h}, {sleep: 360d}]}")
            .task("m/count", |call| Ok(json!((call.now.since(lovage::testing::BEGINS)).as_secs() / 60 + 1)))
            .run();
    assert_eq!((report.output(), report.took()), (json!(3), Duration::from_secs(120 + 360 * 86_400)));
}

#[test]
fn a_signal_reaches_every_flow_that_waits_for_it_whenever_that_begins() {
    let parent = "chain: [{group: [{flow: asks}, {wait: go}]}, {sleep: 1h}, {flow: asks}]";
    let report = Flow::new(parent).flow("asks", "{wait: go}").signal("go", json!(7)).run();
    assert_eq!(report.output(), json!(7), "also a child run that begins an hour later");
    let late = Flow::new(parent).flow("asks", "{wait: go}").signal_after(Duration::from_secs(60), "go", json!(8)).run();
    assert_eq!(late.output(), json!(8));
    let replaced = Flow::new("{task: m/dynamic}")
        .task("m/dynamic", |_| Ok(Answer::Flow(json!({"chain": [{"wait": "go"}, {"wait": "go"}]}))))
        .signal("go", json!(1))
        .signal("go", json!(2))
        .run();
    assert_eq!(replaced.output(), json!(2), "a flow that takes the place of a step gets them too, each once");
}

#[test]
fn a_signal_that_nothing_can_wait_for_is_refused_with_those_that_are_awaited() {
    let wrong = Flow::new("{wait: go}").signal("og", json!(1)).try_run().unwrap_err().to_string();
    assert!(wrong.contains("waits for the signal og (there is go)"), "{wrong}");
    let nobody = Flow::new("{value: 1}").signal("og", json!(1)).try_run().unwrap_err().to_string();
    assert!(nobody.contains("waits for the signal og") && !nobody.contains("there is"), "{nobody}");
    // A task may hand back a flow that waits for it: only when it runs can that be known.
    let kept = Flow::new("{task: m/a}").task("m/a", |_| Ok(json!(1))).signal("og", json!(1)).run();
    assert_eq!(kept.output(), json!(1));
}

//! Signals, cancel, pause and resume, expiry, limits and retries of runs.

use lovage::model::{Datum, Kind, StepId};
use lovage::workflow::effect::Effect;
use lovage::workflow::journal::{Ending, Event, RunLimits};
use lovage::workflow::run::{RunState, Stop, Waiting};
use serde_json::{Value, json};

use crate::kinds::flow;
use crate::world::{World, root_id};

fn world(text: &str, seed: u64) -> World {
    let mut world = World::new(seed);
    world.start(&flow(text), None, &[]);
    world
}

fn signal(world: &mut World, id: &str, name: &str, payload: &Value) {
    let event = Event::Signal { name: name.parse().unwrap(), payload: Datum::of_json(payload) };
    assert!(world.record(&root_id(), &format!("signal.{id}"), event));
}

fn output(world: &World) -> Value {
    match world.end().map(|end| end.result) {
        Some(Ending::Succeeded(output)) => output.to_json().unwrap(),
        other => panic!("{other:?}, waits for {:?}", world.run().waiting()),
    }
}

#[test]
fn a_signal_that_came_before_the_wait_is_kept() {
    for early in [true, false] {
        let mut world = world("chain: [{sleep: 5s}, {wait: go}, {task: canvas/add, args: [1]}]", 0);
        if early {
            signal(&mut world, "a", "go", &json!(41));
        }
        world.play();
        if !early {
            assert_eq!(world.run().waiting().last().unwrap().2, Waiting::Signal("go".parse().unwrap()));
            signal(&mut world, "a", "go", &json!(41));
            world.play();
        }
        assert_eq!(output(&world), json!(42));
    }
}

#[test]
fn two_waits_take_two_signals_in_their_order() {
    let mut world = world("group: [{wait: go}, {wait: go}]", 0);
    world.play();
    signal(&mut world, "a", "go", &json!(1));
    signal(&mut world, "b", "go", &json!(2));
    signal(&mut world, "c", "other", &json!(3));
    world.play();
    assert_eq!(output(&world), json!([1, 2]));
}

#[test]
fn signals_above_the_limit_are_not_taken() {
    let mut world = World::new(0);
    let limits = RunLimits { signals_max: 1, ..RunLimits::default() };
    world.start_with(&flow("chain: [{wait: go}, {wait: go, timeout: 5s}]"), None, &[], limits);
    signal(&mut world, "a", "go", &json!(1));
    signal(&mut world, "b", "go", &json!(2));
    world.play();
    assert!(matches!(world.end().unwrap().result, Ending::Failed(failure) if failure.kind == Kind::Timeout));
}

fn cancel(world: &mut World) {
    world.record(&root_id(), "cancel.0", Event::Cancel { generation: 0 });
}

#[test]
fn a_cancelled_run_ends_with_every_step_in_a_final_state() {
    for seed in 0..8 {
        let mut world = world("chain: [{task: canvas/id, input: 1}, {wait: never}, {task: canvas/id, input: 2}]", seed);
        world.play();
        cancel(&mut world);
        world.play();
        assert_eq!(world.end().unwrap().result, Ending::Cancelled);
        assert!(world.run().waiting().is_empty());
        assert_eq!(world.run().state(), RunState::Cancelled);
        assert_eq!(world.log.len(), 1, "the last step never ran");
    }
}

#[test]
fn a_running_step_with_a_compensation_is_awaited_and_undone() {
    let text = "{task: canvas/id, input: 1, compensate: {task: canvas/mark, args: [undo]}}";
    let (mut awaited, mut interrupted) = (0, 0);
    for seed in 0..30 {
        let mut world = world(text, seed);
        world.play_until(World::has_task);
        cancel(&mut world);
        world.play();
        assert_eq!(world.end().unwrap().result, Ending::Cancelled, "seed {seed}");
        let ran = world.log.iter().any(|call| call.starts_with("id"));
        let undone = world.log.iter().any(|call| call.contains("undo"));
        assert_eq!(ran, undone, "seed {seed}: what was done is undone");
        if ran { awaited += 1 } else { interrupted += 1 }
    }
    assert!(awaited > 0, "{interrupted} were interrupted");
}

#[test]
fn an_outcome_that_never_comes_is_not_awaited_for_ever() {
    let text = "{task: canvas/id, input: 1, attempt_timeout: 5s, compensate: {task: canvas/mark, args: [undo]}}";
    let mut world = world(text, 0);
    world.play_until(World::has_task);
    world.lose_tasks();
    let before = world.now;
    cancel(&mut world);
    world.play();
    assert_eq!(world.end().unwrap().result, Ending::Cancelled);
    assert!(world.now >= before + 35_000 && world.now < before + 60_000, "{}", world.now - before);
}

#[test]
fn compensations_are_immune_to_cancel() {
    let text = "
chain:
  - {task: canvas/id, input: 1, compensate: {chain: [{sleep: 5s}, {task: canvas/mark, args: [undo]}]}}
  - {task: canvas/fail, input: {}}";
    let mut world = world(text, 0);
    assert!(world.play_until(|world| world.run_if_any().is_some_and(|run| run.state() == RunState::Compensating)));
    cancel(&mut world);
    world.play();
    assert!(matches!(world.end().unwrap().result, Ending::Failed(_)), "it had failed before");
    assert_eq!(world.log.iter().filter(|call| call.contains("undo")).count(), 1);
}

#[test]
fn cancelling_a_parent_cancels_its_child() {
    let mut world = World::new(0);
    world.start(&flow("flow: waiting"), None, &[("waiting", flow("wait: never"))]);
    world.play();
    cancel(&mut world);
    world.play();
    assert!(world.lives.values().all(|life| life.end().unwrap().result == Ending::Cancelled));
}

#[test]
fn a_paused_run_queues_nothing_until_it_is_resumed() {
    for seed in 0..6 {
        let mut world = world("chain: [{sleep: 5s}, {task: canvas/id, input: 1}]", seed);
        world.record(&root_id(), "pause.0", Event::Pause);
        world.play();
        assert_eq!(world.run().state(), RunState::Paused);
        assert_eq!(world.run().waiting().last().unwrap().2, Waiting::Paused);
        assert!(world.log.is_empty());
        world.crash();
        world.play();
        assert!(world.log.is_empty(), "nor after a take-over");
        world.record(&root_id(), "resume.0", Event::Resume);
        world.play();
        assert_eq!(output(&world), json!(1));
    }
}

#[test]
fn a_paused_run_can_be_cancelled() {
    let mut world = world("chain: [{sleep: 5s}, {task: canvas/id, input: 1}]", 0);
    world.record(&root_id(), "pause.0", Event::Pause);
    world.play();
    cancel(&mut world);
    world.play();
    assert_eq!(world.end().unwrap().result, Ending::Cancelled);
}

#[test]
fn a_step_that_no_host_takes_up_expires() {
    let mut world = world("{group: [{task: canvas/id, input: 1, expires: 1s}], catch: {value: '${error.kind}'}}", 0);
    world.play_until(World::has_task);
    world.lose_tasks();
    world.play();
    assert_eq!(output(&world), json!("expired"));
    assert!(world.log.is_empty());
}

#[test]
fn a_watchdog_asks_again_for_what_was_lost() {
    let mut world = world("chain: [{task: canvas/id, input: 1}]", 0);
    world.play_until(World::has_task);
    world.lose_tasks();
    world.play();
    assert_eq!(output(&world), json!(1));
    assert!(world.now > 600_000);
}

#[test]
fn limits_end_a_run() {
    let steps = RunLimits { steps_max: 10, ..RunLimits::default() };
    let journal = RunLimits { journal_bytes_max: 500, ..RunLimits::default() };
    let text = "{map: {task: canvas/id}, over: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}";
    for limits in [steps, journal] {
        let mut world = World::new(0);
        world.start_with(&flow(text), None, &[], limits);
        world.play();
        assert!(matches!(world.end().unwrap().result, Ending::Failed(failure) if failure.kind == Kind::Limit));
    }
}

#[test]
fn a_retry_runs_what_failed_and_recalls_what_succeeded() {
    let text = "
chain:
  - {task: canvas/id, name: first, input: 1}
  - group:
      - {task: canvas/add, args: [10], name: second}
      - {task: canvas/mended}
  - {value: ['${steps.first}', '${steps.second}', '${prev[1]}']}";
    for seed in 0..10 {
        let mut world = world(text, seed);
        world.play();
        assert!(matches!(world.end().unwrap().result, Ending::Failed(_)), "seed {seed}");
        world.mended = true;
        world.record(&root_id(), "retry.0", Event::Retry);
        world.play();
        assert_eq!(output(&world), json!([1, 11, "mended"]), "seed {seed}");
        let calls = |start: &str| world.effective.iter().filter(|call| call.starts_with(start)).count();
        assert_eq!((calls("id"), calls("add") >= 1, calls("mended")), (1, true, 2), "seed {seed}");
        let attempts: Vec<u32> = world.attempts("0-1-1");
        assert_eq!(attempts, [1, 2], "attempt numbers go on");
    }
}

#[test]
fn a_retry_does_again_what_was_undone() {
    let text = "
chain:
  - {task: canvas/id, input: 1, compensate: {task: canvas/mark, args: [undo]}}
  - {task: canvas/mended}";
    let mut world = world(text, 0);
    world.play();
    world.mended = true;
    world.record(&root_id(), "retry.0", Event::Retry);
    world.play();
    assert_eq!(output(&world), json!("mended"));
    assert_eq!(world.attempts("0-0"), [1, 2]);
    assert_eq!(world.log.iter().filter(|call| call.contains("undo")).count(), 1);
}

#[test]
fn a_run_that_succeeded_is_not_retried() {
    let mut world = world("value: 1", 0);
    world.play();
    world.record(&root_id(), "retry.0", Event::Retry);
    world.play();
    assert_eq!(output(&world), json!(1));
    assert_eq!(world.run().generation(), 0);
}

#[test]
fn what_cannot_be_in_a_journal_breaks_the_run_by_name() {
    let mut world = world("wait: never", 0);
    world.play();
    let mut run = world.run().clone();
    let mut record = world.lives[&root_id()].journal.last().unwrap().clone();
    record.sequence += 1;
    record.event = Event::Start(run.start().clone());
    assert!(matches!(run.apply(&record), Err(Stop::Broken(reason)) if reason.starts_with("starts_once")));
    let end = lovage::workflow::journal::End { result: Ending::Cancelled, compensation_failures: Vec::new() };
    record.event = Event::End { generation: 0, end };
    assert!(matches!(run.apply(&record), Err(Stop::Broken(reason)) if reason.starts_with("ends_when_finished")));
    assert_eq!(run.folded(), record.sequence - 1, "nothing has changed");
}

#[test]
fn what_is_outstanding_is_asked_for_again_and_again_the_same() {
    let mut world = world("group: [{task: canvas/id, input: 1}, {sleep: 5s}, {value: '${1 + 1}'}, {wait: x}]", 0);
    world.play_until(World::has_task);
    let mut run = world.run().clone();
    let first = run.outstanding();
    assert_eq!(run.outstanding(), first);
    let has = |wanted: &dyn Fn(&Effect) -> bool| first.iter().any(wanted);
    let step = StepId::root().child(0);
    assert!(has(&|effect| matches!(effect, Effect::Dispatch(task) if task.step == step)));
    assert!(has(&|effect| matches!(effect, Effect::StartTimer { .. })));
}

#[test]
fn steps_that_never_began_are_skipped() {
    let mut world = world("chain: [{task: canvas/fail, input: {}}, {group: [{task: canvas/id}]}]", 0);
    world.play();
    let begun = ["0", "0-0"];
    let skipped = world.run().skipped(&|step| begun.contains(&step.as_str()));
    let skipped: Vec<(&str, &str)> = skipped.iter().map(|step| (step.step.as_str(), step.label.as_str())).collect();
    assert_eq!(skipped, [("0-1", "group"), ("0-1-0", "canvas/id")]);
}

#[test]
fn a_run_of_a_newer_core_is_left_to_others() {
    let mut world = world("value: 1", 0);
    world.play();
    let mut start = (**world.run().start()).clone();
    start.core_version += 1;
    let stop = lovage::workflow::Run::new(&std::sync::Arc::new(start)).unwrap_err();
    assert_eq!(stop, Stop::Newer(lovage::workflow::journal::CORE_VERSION + 1));
    assert!(stop.to_string().contains("update it"), "{stop}");
}

#[test]
fn a_document_that_is_no_flow_breaks_its_run_and_says_why() {
    let mut world = world("value: 1", 0);
    world.play();
    let mut start = (**world.run().start()).clone();
    for (document, problem) in [(json!({"tsk": "a/b"}), "tsk"), (json!(5), "start record")] {
        start.document = Datum::of_json(&document);
        match lovage::workflow::Run::new(&std::sync::Arc::new(start.clone())) {
            Err(Stop::Broken(reason)) => assert!(reason.contains(problem), "{reason}"),
            other => panic!("{document}: {other:?}"),
        }
    }
}

#[test]
fn a_run_is_retried_as_often_as_it_fails() {
    let mut world = world("chain: [{task: canvas/id, input: 1}, {task: canvas/mended}]", 0);
    world.play();
    for retry in 0..3 {
        assert!(matches!(world.end().unwrap().result, Ending::Failed(_)));
        world.mended = retry == 2;
        world.record(&root_id(), &format!("retry.{retry}"), Event::Retry);
        world.play();
    }
    assert_eq!(output(&world), json!("mended"));
    assert_eq!((world.attempts("0-1"), world.attempts("0-0")), (vec![1, 2, 3, 4], vec![1]));
    assert_eq!(world.run().generation(), 3);
}

#[test]
fn a_word_of_an_attempt_that_is_over_changes_nothing() {
    use lovage::model::Failure;
    use lovage::workflow::journal::Outcome;
    let mut world = world("chain: [{task: canvas/flaky, retry: {attempts: 3, jitter: false}}, {wait: go}]", 0);
    world.play();
    let (before, waiting) = (world.run().outstanding_of(), world.run().waiting());
    for (attempt, outcome) in
        [(1, Outcome::Succeeded(Datum::null())), (9, Outcome::Failed(Failure::new(Kind::Trap, "from nowhere")))]
    {
        let step = StepId::root().child(0);
        let event = Event::Outcome { step, attempt, outcome };
        assert!(world.record(&root_id(), &format!("late.{attempt}"), event));
        world.play();
    }
    assert_eq!((world.run().outstanding_of(), world.run().waiting()), (before, waiting));
    signal(&mut world, "a", "go", &json!(7));
    world.play();
    assert_eq!(output(&world), json!(7));
}

/// What a run asks for, without changing it.
trait OutstandingOf {
    fn outstanding_of(&self) -> Vec<Effect>;
}

impl OutstandingOf for lovage::workflow::Run {
    fn outstanding_of(&self) -> Vec<Effect> {
        // The watchdog moves with each look at it, and says nothing of a step.
        let timer = |effect: &Effect| matches!(effect, Effect::StartTimer { .. });
        self.clone().outstanding().into_iter().filter(|effect| !timer(effect)).collect()
    }
}

#[test]
fn the_time_of_a_run_never_goes_back() {
    let mut world = world("chain: [{wait: go}, {sleep: 5s}]", 0);
    world.play();
    let begun = world.now;
    // As from a broker whose clock was set back, or from another one.
    world.now = 1_000;
    signal(&mut world, "a", "go", &json!(7));
    let due = |world: &World| {
        world.run().waiting().into_iter().find_map(|(_, _, waiting)| {
            let Waiting::Until(due) = waiting else { return None };
            Some(due.as_millis())
        })
    };
    assert!(world.play_until(|world| due(world).is_some()));
    // The last record may be a moment older than the world.
    assert!(due(&world).is_some_and(|due| due > begun && due <= begun + 5_000), "{:?} after {begun}", due(&world));
    world.play();
    assert_eq!(output(&world), json!(7));
}

#[test]
fn a_timer_of_an_earlier_life_is_none_of_this_one() {
    let mut world = world("chain: [{sleep: 5s}, {task: canvas/mended}]", 0);
    world.play();
    world.mended = true;
    world.record(&root_id(), "retry.0", Event::Retry);
    let timer: lovage::workflow::timer::TimerId = "0-0.sleep0".parse().unwrap();
    world.record(&root_id(), "timer.again", Event::Timer(timer));
    world.play();
    assert_eq!(output(&world), json!("mended"));
    assert_eq!(world.run().generation(), 1);
}

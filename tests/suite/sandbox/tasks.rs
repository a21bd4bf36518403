//! The SDK contract: a core module with its component type is turned into a component, describes itself and runs.

use bytes::Bytes;
use lovage::model::{Kind, Level, Limits, Outcome};
use lovage::sandbox::{Error, Note, Rejection};
use serde_json::json;

use super::{Call, Rig, code, failure, guests, output};

#[tokio::test]
async fn a_module_describes_its_tasks() {
    let rig = Rig::new();
    let module = rig.load(&guests::task("", guests::ECHO)).await;
    let tasks = rig.sandbox.describe(&module).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].name.as_str(), tasks[0].summary.as_str()), ("sum", "adds up."));
    assert_eq!((&tasks[0].input_schema, &tasks[0].output_schema), (&Some(json!({})), &None));
    let command = rig.load(&guests::spins()).await;
    assert!(rig.sandbox.describe(&command).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_module_that_describes_nonsense_is_refused() {
    let rig = Rig::new();
    for (at, byte, fault) in [(500, 0x20, "invalid task name"), (528, 0x41, "schema"), (204, 0, "names 0 tasks")] {
        let start = format!("(func $spoil (i32.store8 (i32.const {at}) (i32.const {byte}))) (start $spoil)");
        let module = rig.load(&guests::task(&start, guests::ECHO)).await;
        let error = rig.sandbox.describe(&module).await.unwrap_err();
        assert!(
            matches!(&error, Error::Rejected(Rejection::BadDescription { message }) if message.contains(fault)),
            "{error}"
        );
    }
    let spins = rig.load(&guests::task("(func $spin (loop $a (br $a))) (start $spin)", guests::ECHO)).await;
    let error = rig.sandbox.describe(&spins).await.unwrap_err();
    assert!(error.to_string().contains("out_of_fuel"), "{error}");
}

#[tokio::test]
async fn a_value_is_the_output_as_it_is() {
    let input = Bytes::from_static(b"\x00not json\xff");
    let call = Call { task: "sum", input: input.clone(), ..Call::default() };
    let report = Rig::new().report(&guests::task("", guests::ECHO), call).await;
    assert_eq!(report.outcome, Outcome::Output(input));
}

#[tokio::test]
async fn outcomes_keep_their_meaning() {
    let rig = Rig::new();
    let replace = "(i32.store8 (i32.const 20) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 528)) (i32.store (i32.const 28) (i32.const 2)) (i32.const 16)";
    let report = rig.report(&guests::task("", replace), Call::default()).await;
    assert_eq!(report.outcome, Outcome::Replace("{}".to_owned()));

    let retryable = "(i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 512)) (i32.store (i32.const 28) (i32.const 8))
        (i32.store8 (i32.const 32) (i32.const 1))
        (i32.store (i32.const 36) (i32.const 528)) (i32.store (i32.const 40) (i32.const 2))
        (i32.store8 (i32.const 44) (i32.const 1)) (i32.store (i32.const 48) (i32.const 1500)) (i32.const 16)";
    let report = rig.report(&guests::task("", retryable), Call::default()).await;
    let failed = failure(&report);
    assert_eq!((failed.kind, failed.message.as_str(), failed.retry_after_ms), (Kind::Returned, "adds up.", Some(1500)));
    assert_eq!(failed.detail, Some(json!({})));

    let permanent = "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1))
        (i32.store (i32.const 24) (i32.const 512)) (i32.store (i32.const 28) (i32.const 8))
        (i32.store8 (i32.const 32) (i32.const 1))
        (i32.store (i32.const 36) (i32.const 500)) (i32.store (i32.const 40) (i32.const 3)) (i32.const 16)";
    let report = rig.report(&guests::task("", permanent), Call::default()).await;
    let failed = failure(&report);
    assert_eq!(
        (failed.kind, &failed.detail),
        (Kind::Refused, &Some(json!("sum"))),
        "a detail that is no JSON is a text"
    );
}

#[tokio::test]
async fn the_output_is_limited() {
    let limits = Limits { output_bytes: 10, ..Limits::default() };
    let call = Call { input: Bytes::from_static(b"eleven byte"), ..Call::with_limits(limits) };
    let rig = Rig::new();
    let report = rig.report(&guests::task("", guests::ECHO), call).await;
    assert_eq!(failure(&report).kind, Kind::OutputLimit);
    // So much that it is not even taken over: 20 MiB where 16 are copied at most.
    let run = "(drop (memory.grow (i32.const 400))) (i32.store (i32.const 28) (i32.const 20971520)) (i32.const 16)";
    let report = rig.report(&guests::task("", run), Call::with_limits(limits)).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::OutputLimit, "host_call"));
}

#[tokio::test]
async fn logs_and_progress_are_heard() {
    let run = format!(
        "(call $log (i32.const 3) (i32.const 512) (i32.const 8))
        (call $progress (f64.const 1) (i32.const 1) (f64.const 4) (i32.const 1) (i32.const 500) (i32.const 3))
        (call $progress (f64.const 2) (i32.const 0) (f64.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) {}",
        guests::ECHO
    );
    let (_, notes) = Rig::new().report_with_notes(&guests::task("", &run), Call::default()).await;
    assert!(matches!(&notes[0], Note::Log { level: Level::Warn, message, .. } if message == "adds up."));
    assert_eq!(notes[1], Note::Progress { done: 1.0, total: Some(4.0), note: Some("sum".to_owned()) });
    assert_eq!(notes[2], Note::Progress { done: 2.0, total: None, note: None });
}

#[tokio::test]
async fn a_task_knows_its_attempt() {
    // The record of 84 bytes at 600: the task id's text, then the attempt's number after four strings... as JSON by hand.
    let run = "(call $attempt (i32.const 600))
        (i32.store (i32.const 24) (i32.load (i32.const 600))) (i32.store (i32.const 28) (i32.load (i32.const 604)))
        (if (i32.ne (i32.load (i32.const 624)) (i32.const 3)) (then unreachable)) (i32.const 16)";
    let report = Rig::new().report(&guests::task("", run), Call::default()).await;
    assert_eq!(output(&report), "t-1");
}

#[tokio::test]
async fn what_is_not_granted_says_so() {
    // kv.get: 1 is an error, 0 in it is not-granted; secrets.get: 0 is none.
    let run = format!(
        "(call $kv_get (i32.const 500) (i32.const 3) (i32.const 500) (i32.const 3) (i32.const 800))
        (if (i32.ne (i32.load8_u (i32.const 800)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.const 808)) (i32.const 0)) (then unreachable))
        (call $secret (i32.const 500) (i32.const 3) (i32.const 900))
        (if (i32.ne (i32.load8_u (i32.const 900)) (i32.const 0)) (then unreachable)) {}",
        guests::ECHO
    );
    assert_eq!(output(&Rig::new().report(&guests::task("", &run), Call::default()).await), "{}");
}

#[tokio::test]
async fn traps_and_limits_are_named_as_in_commands() {
    let rig = Rig::new();
    let report = rig.report(&guests::task("", "unreachable"), Call::default()).await;
    assert_eq!((failure(&report).kind, code(&report)), (Kind::Trap, "unreachable"));
    let spins = guests::task("", "(loop $again (br $again)) (i32.const 16)");
    let limits = Limits { fuel: Some(1_000_000), ..Limits::default() };
    assert_eq!(failure(&rig.report(&spins, Call::with_limits(limits)).await).kind, Kind::OutOfFuel);
    let limits = Limits { memory_bytes: 1 << 16, ..Limits::default() };
    assert_eq!(failure(&rig.report(&spins, Call::with_limits(limits)).await).kind, Kind::MemoryLimit);
}

#[tokio::test]
async fn a_guest_that_floods_its_host_with_logs_ends_at_its_deadline() {
    let run = "(loop $again (call $log (i32.const 2) (i32.const 4096) (i32.const 196608)) (br $again)) (i32.const 16)";
    let limits = Limits { fuel: None, attempt_timeout: std::time::Duration::from_millis(50), ..Limits::default() };
    let report = Rig::new().report(&guests::task("", run), Call::with_limits(limits)).await;
    assert_eq!(failure(&report).kind, Kind::Deadline);
    assert!(report.duration < std::time::Duration::from_millis(250), "{:?}", report.duration);
}

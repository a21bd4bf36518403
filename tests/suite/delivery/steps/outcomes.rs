//! What is committed of an attempt.

use bytes::Bytes;
use lovage::model::step_life::StepEnd;
use lovage::model::{Digest, Kind, Tenant, Value};
use lovage::protocol::{Headers, subject};
use serde_json::json;

use super::{LINE, RUN, Steps, attempt, failure, first, output};

pub(super) async fn an_attempt_commits_what_it_returns(steps: Steps) {
    let _host = steps.host("host-1").await;
    for number in [1, 2] {
        let step = attempt("0-1_2~1", number);
        let outcome = steps.run(&step, &first("chatty", LINE)).await;
        assert_eq!(output(&outcome), "1");
        let usage = &outcome.usage;
        assert_eq!((usage.attempt, usage.delivery), (number, 1));
        assert_eq!(usage.host.as_ref().unwrap().as_str(), "host-1");
        assert!(usage.fuel > 0 && usage.memory_bytes > 0);
        assert_eq!((steps.records(&step).await, steps.runs(&step).await), (1, 1));
    }
    steps.until_idle().await;
}

pub(super) async fn a_guest_knows_its_run_and_step(steps: Steps) {
    let _host = steps.host("host-1").await;
    let info = async |number| {
        let outcome = steps.run(&attempt("0-1", number), &first("info", "null")).await;
        serde_json::from_str::<serde_json::Value>(output(&outcome)).unwrap()
    };
    let (one, two) = (info(1).await, info(2).await);
    assert_eq!((&one["run_id"], &one["step"]), (&json!(RUN), &json!("0-1")));
    assert_eq!((&one["number"], &two["number"]), (&json!(1), &json!(2)));
    for field in ["task_id", "idempotency_key"] {
        assert_eq!(one[field], json!(format!("{RUN}/0-1")), "{field}");
        assert_eq!(one[field], two[field], "{field}");
    }
}

pub(super) async fn a_failure_is_committed_and_left_to_others(steps: Steps) {
    let _host = steps.host("host-1").await;
    let outcome = steps.run(&attempt("0", 3), &first("flaky", r#"{"until":9}"#)).await;
    let failure = failure(&outcome);
    assert_eq!((failure.kind, failure.attempt, failure.message.as_str()), (Kind::Returned, Some(3), "attempt 3 of 9"));
    steps.until_idle().await;
}

pub(super) async fn a_flow_that_is_handed_back_is_the_outcome(steps: Steps) {
    let _host = steps.host("host-1").await;
    let outcome = steps.run(&attempt("0", 1), &first("replace", r#"{"chain":[]}"#)).await;
    assert_eq!(outcome.end, StepEnd::Replaced(Value::Inline(r#"{"chain":[]}"#.into())));
}

pub(super) async fn a_message_that_cannot_be_read_is_an_outcome_too(steps: Steps) {
    let _host = steps.host("host-1").await;
    let step = attempt("0", 2);
    steps.publish(&step, Headers::new().with("Lovage-Task", "resize"), Bytes::new()).await;
    let outcome = steps.outcome(&step).await;
    assert_eq!((failure(&outcome).kind, failure(&outcome).attempt), (Kind::BadInput, Some(2)));
    steps.until_idle().await;
}

pub(super) async fn a_module_other_than_the_pinned_one_does_not_run(steps: Steps) {
    let _host = steps.host("host-1").await;
    let mut message = first("echo", "1");
    message.digest = Some(steps.client.module(&"probe".parse().unwrap(), None).await.unwrap().digest);
    assert_eq!(output(&steps.run(&attempt("0", 1), &message).await), "1");
    message.digest = Some(Digest::of(b"another"));
    let outcome = steps.run(&attempt("0", 2), &message).await;
    assert_eq!(failure(&outcome).kind, Kind::ModuleMissing);
    let text = &failure(&outcome).message;
    assert!(text.starts_with("module probe@1 has the digest sha256:"), "{text}");
}

pub(super) async fn an_interrupted_attempt_is_cancelled_whatever_it_says(steps: Steps) {
    let _host = steps.host("host-1").await;
    let step = attempt("0", 1);
    steps.dispatch(&step, &first("wait_cancel", "null")).await;
    steps.until_running(&step).await;
    let word = subject::cancel(&Tenant::default_tenant(), step.clone());
    steps.broker.bus.send(&word, Headers::new(), Bytes::new()).await.unwrap();
    let outcome = steps.outcome(&step).await;
    assert_eq!((failure(&outcome).kind, failure(&outcome).attempt), (Kind::Cancelled, Some(1)));
    steps.until_idle().await;
}

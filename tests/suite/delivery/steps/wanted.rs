//! Which attempts are run at all.

use lovage::model::{Kind, Timestamp};
use lovage::protocol::subject::RecordName;
use lovage::protocol::task::TaskMessage;

use super::{LINE, Steps, again, attempt, failure, first, output};

pub(super) async fn what_was_committed_does_not_run_again(steps: Steps) {
    let _host = steps.host("host-1").await;
    let step = attempt("0", 1);
    steps.run(&step, &first("chatty", LINE)).await;
    steps.until_idle().await;
    steps.dispatch(&step, &again("chatty", LINE)).await;
    steps.until_idle().await;
    assert_eq!((steps.records(&step).await, steps.runs(&step).await), (1, 1));
}

pub(super) async fn a_cancelled_run_is_left_alone_but_for_what_is_shielded(steps: Steps) {
    steps.write(RecordName::Cancel(0)).await;
    let _host = steps.host("host-1").await;
    let (step, compensation) = (attempt("0-1", 1), attempt("0-1-u", 1));
    steps.dispatch(&step, &again("chatty", LINE)).await;
    let shielded = TaskMessage { shielded: true, ..again("chatty", LINE) };
    assert_eq!(output(&steps.run(&compensation, &shielded).await), "1");
    steps.until_idle().await;
    assert_eq!((steps.records(&step).await, steps.runs(&step).await), (0, 0));
}

pub(super) async fn an_ended_run_is_left_alone_until_it_is_retried(steps: Steps) {
    let _host = steps.host("host-1").await;
    let dropped = async |number| {
        let step = attempt("0", number);
        steps.dispatch(&step, &TaskMessage { shielded: true, ..again("chatty", LINE) }).await;
        steps.until_idle().await;
        assert_eq!((steps.records(&step).await, steps.runs(&step).await), (0, 0), "attempt {number}");
    };
    steps.write(RecordName::End(0)).await;
    dropped(1).await;
    steps.write(RecordName::Retry(1)).await;
    assert_eq!(output(&steps.run(&attempt("0", 2), &again("chatty", LINE)).await), "1");
    steps.write(RecordName::End(1)).await;
    dropped(3).await;
    steps.write(RecordName::Retry(2)).await;
    assert_eq!(output(&steps.run(&attempt("0", 4), &again("chatty", LINE)).await), "1");
    steps.write(RecordName::Cancel(2)).await;
    steps.dispatch(&attempt("0", 5), &again("chatty", LINE)).await;
    steps.until_idle().await;
    assert_eq!(steps.records(&attempt("0", 5)).await, 0);
}

pub(super) async fn nobody_in_time_means_expired(steps: Steps) {
    let mut late = first("chatty", LINE);
    late.signature.options.expires = Some(Timestamp::from_millis(1_000));
    let _host = steps.host("host-1").await;
    let step = attempt("0", 1);
    let outcome = steps.run(&step, &late).await;
    assert_eq!((failure(&outcome).kind, failure(&outcome).attempt), (Kind::Expired, Some(1)));
    assert_eq!(steps.runs(&step).await, 0);
}

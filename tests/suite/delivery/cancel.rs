//! Cancelling a task wherever it is.

use std::time::{Duration, Instant};

use lovage::client::Error;
use lovage::model::lifecycle::{End, State};

use super::{Rig, call, output, retried_in_an_hour};

#[tokio::test]
async fn a_queued_task_that_is_cancelled_never_runs() {
    let rig = Rig::new().await;
    let id = rig.submit(call("chatty", r#"{"lines":1}"#)).await;
    rig.client.cancel(&id).await.unwrap();
    rig.until_idle().await;
    let _host = rig.host("host-1").await;
    assert_eq!(rig.wait(&id).await.end, End::Cancelled);
    assert_eq!(rig.log_lines(&id).await, 0);
}

#[tokio::test]
async fn a_running_task_stops_within_a_tenth_of_a_second() {
    let (rig, _host) = Rig::with_host().await;
    let mut spin = call("burn", r#"{"units":1000000}"#);
    spin.options.limits.attempt_timeout_ms = Some(30_000);
    let id = rig.submit(spin).await;
    rig.until(&id, State::Running).await;
    let asked = Instant::now();
    rig.client.cancel(&id).await.unwrap();
    assert_eq!(rig.wait(&id).await.end, End::Cancelled);
    rig.until_idle().await;
    // The slot is free again: with all four taken this call would wait for them.
    for _ in 0..4 {
        assert_eq!(output(&rig.client.call(call("echo", "1")).await.unwrap()), "1");
    }
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_guest_that_watches_ends_tidily_and_is_cancelled_all_the_same() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(call("wait_cancel", "null")).await;
    rig.until(&id, State::Running).await;
    rig.client.cancel(&id).await.unwrap();
    assert_eq!(rig.wait(&id).await.end, End::Cancelled);
    rig.until_idle().await;
    assert_eq!(rig.record_sequence(&id).await, 1);
}

#[tokio::test]
async fn a_task_that_waits_for_its_next_attempt_is_cancelled() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(retried_in_an_hour()).await;
    rig.until(&id, State::Retrying).await;
    rig.client.cancel(&id).await.unwrap();
    rig.until_idle().await;
    assert_eq!(rig.state(&id).await, State::Cancelled);
}

#[tokio::test]
async fn an_ended_or_unknown_task_cannot_be_cancelled() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(call("echo", "1")).await;
    rig.wait(&id).await;
    let ended = rig.client.cancel(&id).await.unwrap_err();
    assert!(matches!(ended, Error::Ended { state: State::Succeeded, .. }), "{ended}");
    let unknown = rig.client.cancel(&"nothing".parse().unwrap()).await.unwrap_err();
    assert!(matches!(unknown, Error::NotFound(_)), "{unknown}");
    assert!(rig.record(&"nothing".parse().unwrap()).await.is_none(), "an unknown id gets no record");
}

#[tokio::test]
async fn a_cancel_that_loses_the_race_says_how_the_task_ended() {
    let (rig, _host) = Rig::with_host().await;
    for _ in 0..20 {
        let id = rig.submit(call("echo", "1")).await;
        let cancelled = rig.client.cancel(&id).await;
        let end = rig.wait(&id).await.end;
        match cancelled {
            Ok(()) => assert_eq!(end, End::Cancelled),
            Err(Error::Ended { state, .. }) => assert_eq!((state, end.state()), (State::Succeeded, State::Succeeded)),
            Err(error) => panic!("{error}"),
        }
    }
    rig.until_idle().await;
}

//! Submits under an idempotency key: one task, whoever asks how often, until the window of the key is over.

use std::time::Duration;

use futures::future::join_all;
use lovage::broker::memory::Memory;
use lovage::client::{Error, Place, Submitted};
use lovage::model::lifecycle::{End, State};
use lovage::model::once::{WINDOW_DEFAULT, WINDOW_MAX, WINDOW_MIN};
use lovage::model::{Signature, Tenant, Value, once};
use lovage::protocol::once::{CLAIM_VERSION, Claim, call as digest_of, kept, subject};

use super::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

async fn once(rig: &Rig, signature: &Signature, key: &str, window: Duration) -> Result<Submitted, Error> {
    rig.client.submit_once(signature.clone(), &Place::default(), (key, window)).await
}

#[tokio::test]
async fn a_hundred_submits_under_one_key_are_one_task() {
    let (rig, _host) = Rig::with_host().await;
    let signature = call("chatty", r#"{"lines":3}"#);
    let all = join_all((0..100).map(|_| once(&rig, &signature, "order-7", WEEK))).await;
    let all: Vec<Submitted> = all.into_iter().map(Result::unwrap).collect();
    let id = all[0].id().clone();
    assert!(all.iter().all(|submitted| *submitted.id() == id));
    assert_eq!(all.iter().filter(|submitted| matches!(submitted, Submitted::New(_))).count(), 1);
    assert!(matches!(rig.wait(&id).await.end, End::Succeeded(_)));
    rig.until_idle().await;
    assert_eq!(rig.log_lines(&id).await, 3, "it ran once");
}

#[tokio::test]
async fn the_outcome_is_there_for_days_after_the_result_is_gone_and_the_key_is_free_after_its_window() {
    let (rig, _host) = Rig::with_host().await;
    let signature = call("chatty", r#"{"lines":1}"#);
    let first = once(&rig, &signature, "k", WEEK).await.unwrap();
    let ended = rig.wait(first.id()).await;
    rig.until_idle().await;
    tokio::time::pause();
    tokio::time::advance(WEEK - Duration::from_secs(60)).await;
    let result = lovage::protocol::subject::result(&Tenant::default_tenant(), first.id());
    assert!(rig.broker.streams.last(&result).await.unwrap().is_none(), "the result is gone");
    assert_eq!(once(&rig, &signature, "k", WEEK).await.unwrap(), Submitted::Known(first.id().clone()));
    assert_eq!(rig.wait(first.id()).await.end, ended.end);
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let second = once(&rig, &signature, "k", WEEK).await.unwrap();
    assert!(matches!(&second, Submitted::New(id) if id != first.id()), "{second:?}");
    rig.wait(second.id()).await;
    assert!(matches!(rig.client.state(first.id()).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn another_input_or_task_under_a_key_is_refused_and_named() {
    let (rig, _host) = Rig::with_host().await;
    let first = once(&rig, &call("chatty", r#"{"lines":1}"#), "k", WINDOW_DEFAULT).await.unwrap();
    for other in [call("chatty", r#"{"lines":2}"#), call("echo", "1")] {
        let error = once(&rig, &other, "k", WINDOW_DEFAULT).await.unwrap_err().to_string();
        for part in ["\"k\"", first.id().as_str(), "another task or input"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_submitted_leaves_the_key_free() {
    let rig = Rig::new().await;
    let unknown = Signature::new("probe/nothing".parse().unwrap(), "1");
    assert!(matches!(once(&rig, &unknown, "k", WEEK).await, Err(Error::TaskMissing { .. })));
    for window in [Duration::ZERO, WINDOW_MIN - Duration::from_millis(1), WINDOW_MAX + Duration::from_secs(1)] {
        let error = once(&rig, &call("echo", "1"), "k", window).await.unwrap_err();
        assert!(error.to_string().contains("1s to 30d"), "{error}");
    }
    for key in ["", &"k".repeat(257)] {
        let error = once(&rig, &call("echo", "1"), key, WEEK).await.unwrap_err();
        assert!(error.to_string().contains("1 to 256 bytes"), "{error}");
    }
    assert!(matches!(once(&rig, &call("echo", "1"), "k", WEEK).await.unwrap(), Submitted::New(_)));
}

#[tokio::test]
async fn a_claim_whose_submitter_died_is_completed_by_the_next_one() {
    let (rig, _host) = Rig::with_host().await;
    let (signature, tenant) = (call("echo", "5"), Tenant::default_tenant());
    let until = rig.broker.clock.now().after(WEEK);
    let id = once::task_id("k", until).unwrap();
    let claim = Claim { v: CLAIM_VERSION, key: "k".into(), id: id.clone(), call: digest_of(&signature), until };
    rig.broker.streams.publish(Publish::new(subject(&tenant, "k"), claim.encode())).await.unwrap();
    assert!(matches!(rig.client.state(&id).await, Err(Error::NotFound(_))));
    let again = join_all((0..8).map(|_| once(&rig, &signature, "k", WEEK))).await;
    for submitted in again {
        assert_eq!(submitted.unwrap(), Submitted::Known(id.clone()));
    }
    assert!(matches!(rig.wait(&id).await.end, End::Succeeded(Value::Inline(output)) if output == "5"));
}

#[tokio::test]
async fn failures_and_cancels_are_kept_for_their_key_too() {
    let (rig, host) = Rig::with_host().await;
    let refused = once(&rig, &call("fail", r#"{"kind":"permanent","message":"no"}"#), "a", WEEK).await.unwrap();
    assert!(matches!(rig.wait(refused.id()).await.end, End::Failed(_)));
    rig.until_idle().await;
    host.stop().await;
    let cancelled = once(&rig, &call("echo", "1"), "b", WEEK).await.unwrap();
    rig.client.cancel(cancelled.id()).await.unwrap();
    let again = once(&rig, &call("echo", "1"), "b", WEEK).await.unwrap();
    assert_eq!(again, Submitted::Known(cancelled.id().clone()));
    assert_eq!(rig.state(again.id()).await, State::Cancelled);
    for id in [refused.id(), cancelled.id()] {
        let kept = rig.broker.streams.last(&kept(&Tenant::default_tenant(), id)).await.unwrap();
        assert!(kept.is_some(), "{id}");
    }
}

#[tokio::test]
async fn keys_of_two_tenants_are_two_keys() {
    let memory = Memory::new();
    let mut ids = Vec::new();
    for tenant in ["one", "two"] {
        let client = Client::new(memory.broker(), tenant.parse().unwrap());
        modules::push(&client, "probe").await;
        let submitted = client.submit_once(call("echo", "1"), &Place::default(), ("k", WEEK)).await.unwrap();
        ids.push(matches!(submitted, Submitted::New(_)));
    }
    assert_eq!(ids, [true, true]);
}

//! Dead letters: what is kept of tasks that have failed for good, and what is sent again.

use std::time::Duration;

use futures::TryStreamExt as _;
use lovage::broker::Error as BrokerError;
use lovage::client::{Edit, Error, LetterFilter, Place, REPLAY_LABEL};
use lovage::model::lifecycle::{End, State};
use lovage::model::{Kind, Policy, Signature, TaskId};
use lovage::protocol::dead::Letter;

use super::{Rig, call};
use crate::support::eventually::eventually;

fn fails() -> Signature {
    let mut signature = call("flaky", r#"{"until":9}"#);
    signature.options.retry = Policy::of_attempts(1);
    signature.options.labels = [("team".to_owned(), "a".to_owned())].into();
    signature
}

async fn letter(rig: &Rig, id: &TaskId) -> Letter {
    eventually("the letter", || async { rig.client.letter(id).await.ok() }).await
}

async fn letters(rig: &Rig, filter: LetterFilter) -> Vec<String> {
    let letters: Vec<Letter> = rig.client.letters(filter).await.unwrap().try_collect().await.unwrap();
    letters.into_iter().map(|letter| letter.id.to_string()).collect()
}

#[tokio::test]
async fn a_task_that_fails_for_good_leaves_a_letter_and_no_other_does() {
    let (rig, _host) = Rig::with_host().await;
    let failed = rig.submit(fails()).await;
    let letter = letter(&rig, &failed).await;
    assert_eq!((letter.failure.kind, letter.usage.attempt, letter.queue.as_str()), (Kind::Returned, 1, "default"));
    assert_eq!(letter.message.unwrap().signature.options.labels["team"], "a");
    let fine = rig.submit(call("echo", "1")).await;
    rig.wait(&fine).await;
    let mut late = call("echo", "1");
    late.options.expires = Some(lovage::model::Timestamp::from_millis(1));
    let late = rig.submit(late).await;
    rig.wait(&late).await;
    let mut retried = fails();
    retried.options.retry = Policy { attempts: 2, backoff: std::time::Duration::from_millis(1), ..Policy::default() };
    let retried = rig.submit(retried).await;
    rig.wait(&retried).await;
    rig.until_idle().await;
    assert_eq!(letters(&rig, LetterFilter::default()).await, [failed.to_string(), retried.to_string()]);
    let none = |filter| async { letters(&rig, filter).await.is_empty() };
    assert!(none(LetterFilter { kind: Some(Kind::Trap), ..LetterFilter::default() }).await);
    assert!(none(LetterFilter { queue: Some("other".parse().unwrap()), ..LetterFilter::default() }).await);
    assert!(none(LetterFilter { task: Some("echo".parse().unwrap()), ..LetterFilter::default() }).await);
    let labels = [("team".to_owned(), "b".to_owned())].into();
    assert!(none(LetterFilter { labels, ..LetterFilter::default() }).await);
    let module = Some("probe".parse().unwrap());
    assert_eq!(letters(&rig, LetterFilter { module, ..LetterFilter::default() }).await.len(), 2);
}

#[tokio::test]
async fn a_letter_is_kept_although_its_host_dies_before() {
    let rig = Rig::new().await;
    rig.faults.refuse_publishes("lvg.default.dead.>", 3, BrokerError::Unavailable("cut off".to_owned()));
    let first = rig.host("host-1").await;
    let id = rig.submit(fails()).await;
    rig.until(&id, State::Failed).await;
    first.kill();
    assert!(matches!(rig.client.letter(&id).await, Err(Error::LetterNotFound(_))));
    let _second = rig.host("host-2").await;
    rig.faults.expire_leases();
    let letter = letter(&rig, &id).await;
    assert_eq!(letter.usage.host.unwrap().as_str(), "host-1");
    rig.until_idle().await;
}

#[tokio::test]
async fn what_is_sent_again_is_a_new_task_that_names_the_old_one() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(fails()).await;
    let letter = letter(&rig, &id).await;
    let edit = Edit { input: Some(r#"{"until":1}"#.into()), ..Edit::default() };
    let new = rig.client.replay(&letter, &edit).await.unwrap();
    assert_ne!(new, id);
    let End::Succeeded(_) = rig.wait(&new).await.end else { panic!("the new input is fine") };
    assert!(matches!(rig.client.letter(&id).await, Err(Error::LetterNotFound(_))));
    // Somebody else does the same with a letter that they had read before: it is one task.
    assert_eq!(rig.client.replay(&letter, &edit).await.unwrap(), new);
    rig.until_idle().await;
    // It fails again: its letter names the first one.
    let again = rig.submit(fails()).await;
    let letter = self::letter(&rig, &again).await;
    let new = rig.client.replay(&letter, &Edit::default()).await.unwrap();
    let second = self::letter(&rig, &new).await;
    let labels = second.message.clone().unwrap().signature.options.labels;
    assert_eq!(labels.get(REPLAY_LABEL).map(String::as_str), Some(again.as_str()));
    rig.client.drop_letter(&second).await.unwrap();
    assert!(letters(&rig, LetterFilter::default()).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_again_says_why_and_is_kept() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.submit(fails()).await;
    let gone = letter(&rig, &id).await;
    let version = gone.message.clone().unwrap().signature.task.version.unwrap();
    rig.client.remove_module(&"probe".parse().unwrap(), &version).await.unwrap();
    // What was looked up is believed for a moment.
    let error =
        eventually("the module is gone", || async { rig.client.replay(&gone, &Edit::default()).await.err() }).await;
    assert!(error.to_string().contains("find module probe@"), "{error}");
    let stranger = rig.publish("stranger", &[("Lovage-Task", "nonsense")], "1").await;
    let broken = letter(&rig, &stranger).await;
    assert_eq!(broken.failure.kind, Kind::BadInput);
    let error = rig.client.replay(&broken, &Edit::default()).await.unwrap_err().to_string();
    assert!(error.contains("cannot be sent again: Lovage-Task"), "{error}");
    assert!(rig.client.letter(&stranger).await.is_ok());
    assert!(matches!(rig.client.letter(&"nobody".parse().unwrap()).await, Err(Error::LetterNotFound(_))));
}

#[tokio::test]
async fn a_large_input_is_kept_as_long_as_its_letter_or_its_delay() {
    const DAY: Duration = Duration::from_secs(86_400);
    let (rig, host) = Rig::with_host().await;
    let kind = |kind: &str| format!(r#"{{"kind":"{kind}","message":"{}"}}"#, "x".repeat(200_000));
    let id = rig.submit(call("fail", &kind("permanent"))).await;
    letter(&rig, &id).await;
    rig.until_idle().await;
    let due = |days: u32| Some(rig.broker.clock.now().after(DAY * days));
    let delayed = |days| (call("echo", &kind("delayed")), Place { due: due(days), ..Place::default() });
    let (signature, place) = delayed(13);
    let waits = rig.client.submit(signature, &place).await.unwrap();
    let (signature, place) = delayed(15);
    let error = rig.client.submit(signature, &place).await.unwrap_err().to_string();
    assert!(error.contains("a delay of two weeks at most"), "{error}");
    host.stop().await;
    tokio::time::pause();
    tokio::time::advance(DAY * 13 + Duration::from_secs(60)).await;
    tokio::time::resume();
    let _host = rig.host("host-2").await;
    let letter = letter(&rig, &id).await;
    let new = rig.client.replay(&letter, &Edit::default()).await.unwrap();
    let End::Failed(failure) = rig.wait(&new).await.end else { panic!("it fails again") };
    assert_eq!(failure.kind, Kind::Refused, "{failure:?}");
    assert!(matches!(rig.wait(&waits).await.end, End::Succeeded(_)));
}

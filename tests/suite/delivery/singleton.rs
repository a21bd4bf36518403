//! Singletons: at most one call with the same key is under way, whoever submits, dies or is slow.

use futures::future::join_all;
use lovage::client::{Error, Submitted};
use lovage::model::limit::{Limit, Rule};
use lovage::model::singleton::{Mode, Singleton};
use lovage::protocol::batch::Defaults;
use lovage::protocol::singleton::{HOLDER_VERSION, Holder, subject};
use lovage::protocol::stream::RESULT_TTL;
use lovage::protocol::subject::task_anywhere;

use super::*;
use crate::support::nats::TestServer;

const NAME: &str = "probe/wait_cancel key acme";

fn single(task: &str, input: &str, mode: Mode) -> Signature {
    let mut signature = call(task, input);
    signature.options.singleton = Some(Singleton { key: "acme".into(), mode });
    signature
}

/// A call that goes on until it is cancelled.
fn endless(mode: Mode) -> Signature {
    single("wait_cancel", "null", mode)
}

impl Rig {
    async fn told(&self, signature: &Signature) -> Submitted {
        self.client.submit_told(signature.clone(), &Place::default()).await.unwrap()
    }

    /// A claim whose submitter died before it could publish, or is slow.
    async fn claim(&self, name: &str, id: &str, queue: &str) -> TaskId {
        let (id, since): (TaskId, _) = (id.parse().unwrap(), self.broker.clock.now());
        let queue = queue.parse().unwrap();
        let holder = Holder { v: HOLDER_VERSION, name: name.to_owned(), id: id.clone(), since, queue, priority: 5 };
        let publish = Publish::new(subject(&Tenant::default_tenant(), name), holder.encode());
        self.broker.streams.publish(publish).await.unwrap();
        id
    }
}

/// All submits at the same time by clients of their own; the one that is new.
async fn race(broker: &Broker, count: usize, signature: &Signature) -> TaskId {
    let submit = || {
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        let signature = signature.clone();
        async move { client.submit_told(signature, &Place::default()).await.unwrap() }
    };
    let all = join_all((0..count).map(|_| submit())).await;
    let id = all[0].id().clone();
    assert!(all.iter().all(|submitted| *submitted.id() == id), "{all:?}");
    let new = all.iter().filter(|submitted| matches!(submitted, Submitted::New(_))).count();
    assert_eq!(new, 1, "{all:?}");
    id
}

#[tokio::test]
async fn of_many_submits_at_once_one_is_under_way_and_the_next_comes_when_it_has_ended() {
    let (rig, _host) = Rig::with_host().await;
    let id = race(&rig.broker, 50, &endless(Mode::Skip)).await;
    rig.until(&id, State::Running).await;
    assert_eq!(rig.told(&endless(Mode::Skip)).await, Submitted::UnderWay(id.clone()));
    let other = single("echo", "1", Mode::Skip);
    assert!(matches!(rig.told(&other).await, Submitted::New(_)), "keys are a task's own");
    rig.client.cancel(&id).await.unwrap();
    let next = rig.told(&endless(Mode::Skip)).await;
    assert!(matches!(&next, Submitted::New(new) if *new != id), "{next:?}");
    rig.client.cancel(next.id()).await.unwrap();
    rig.until_idle().await;
}

#[tokio::test]
async fn on_a_real_broker_one_of_many_submits_is_under_way() {
    let server = TestServer::start(lovage::broker::Settings::default()).await;
    let broker = server.nats.broker();
    let client = Client::new(broker.clone(), Tenant::default_tenant());
    modules::push(&client, "probe").await;
    let id = race(&broker, 16, &endless(Mode::Skip)).await;
    assert_eq!(client.state(&id).await.unwrap().state, State::Queued);
    let next = client.submit_told(endless(Mode::Cancel), &Place::default()).await.unwrap();
    assert_eq!(client.state(&id).await.unwrap().state, State::Cancelled);
    assert_eq!(client.state(next.id()).await.unwrap().state, State::Queued);
}

#[tokio::test]
async fn a_task_that_waits_anywhere_has_its_singleton() {
    let (rig, _host) = Rig::with_host().await;
    let skip = single("flaky", r#"{"until":2}"#, Mode::Skip);
    let mut failing = retried_in_an_hour();
    failing.options.singleton.clone_from(&skip.options.singleton);
    let retrying = rig.submit(failing).await;
    rig.until(&retrying, State::Retrying).await;
    assert_eq!(rig.told(&skip).await, Submitted::UnderWay(retrying));

    let due = Some(rig.broker.clock.now().after(Duration::from_secs(3_600)));
    let later = Place { due, ..Place::default() };
    let delayed = rig.client.submit_told(single("echo", "1", Mode::Skip), &later).await.unwrap();
    assert_eq!(rig.told(&single("echo", "2", Mode::Skip)).await, Submitted::UnderWay(delayed.id().clone()));

    let mut limited = endless(Mode::Skip);
    limited.options.fleet = vec![Limit::of_key("narrow", Rule { concurrency: Some(1), ..Rule::default() }).unwrap()];
    let mut first = limited.clone();
    first.options.singleton = None;
    let first = rig.submit(first).await;
    rig.until(&first, State::Running).await;
    let waits = rig.submit(limited.clone()).await;
    rig.until(&waits, State::Scheduled).await;
    assert_eq!(rig.told(&limited).await, Submitted::UnderWay(waits));
}

#[tokio::test]
async fn a_new_one_cancels_the_one_under_way_and_of_many_at_once_one_is_left() {
    let (rig, _host) = Rig::with_host().await;
    let first = rig.told(&endless(Mode::Skip)).await.id().clone();
    rig.until(&first, State::Running).await;
    let second = rig.told(&endless(Mode::Cancel)).await;
    assert!(matches!(&second, Submitted::New(id) if *id != first), "{second:?}");
    assert_eq!(rig.state(&first).await, State::Cancelled);
    rig.until(second.id(), State::Running).await;
    let cancelling = endless(Mode::Cancel);
    let all = join_all((0..12).map(|_| rig.told(&cancelling))).await;
    let mut left = Vec::new();
    for submitted in &all {
        if rig.state(submitted.id()).await != State::Cancelled {
            left.push(submitted.id().clone());
        }
    }
    assert_eq!(left.len(), 1, "{all:?}");
    assert_eq!(rig.state(second.id()).await, State::Cancelled);
    rig.until(&left[0], State::Running).await;
    rig.client.cancel(&left[0]).await.unwrap();
    rig.until_idle().await;
}

#[tokio::test]
async fn a_claim_whose_submitter_died_is_completed_where_it_was_made() {
    let (rig, _host) = Rig::with_host().await;
    let name = "probe/chatty key acme";
    let claimed = rig.claim(name, "claimed", "default").await;
    assert!(matches!(rig.client.state(&claimed).await, Err(Error::NotFound(_))));
    let elsewhere = Place { queue: "elsewhere".parse().unwrap(), ..Place::default() };
    let signature = single("chatty", r#"{"lines":2}"#, Mode::Skip);
    let all = join_all((0..8).map(|_| rig.client.submit_told(signature.clone(), &elsewhere))).await;
    for submitted in all {
        assert_eq!(*submitted.unwrap().id(), claimed);
    }
    rig.wait(&claimed).await;
    // He was only slow, and publishes now.
    let slow = Place::default();
    rig.client.submit_again(&claimed, call("chatty", r#"{"lines":2}"#), &slow).await.unwrap();
    rig.until_idle().await;
    assert_eq!(rig.log_lines(&claimed).await, 2, "it ran once");
    assert!(matches!(rig.told(&signature).await, Submitted::New(_)));
}

#[tokio::test]
async fn a_claim_without_a_task_is_cancelled_by_one_that_takes_its_place() {
    let (rig, _host) = Rig::with_host().await;
    let claimed = rig.claim(NAME, "claimed", "default").await;
    let next = rig.told(&endless(Mode::Cancel)).await;
    assert!(matches!(&next, Submitted::New(id) if *id != claimed), "{next:?}");
    // Who had claimed it publishes after all: what was cancelled never runs.
    rig.client.submit_again(&claimed, call("echo", "1"), &Place::default()).await.unwrap();
    assert_eq!(rig.wait(&claimed).await.end, End::Cancelled);
    rig.client.cancel(next.id()).await.unwrap();
    rig.until_idle().await;
}

#[tokio::test]
async fn lost_acknowledgements_of_claim_and_task_leave_one_task() {
    let (rig, _host) = Rig::with_host().await;
    let signature = single("chatty", r#"{"lines":1}"#, Mode::Skip);
    for (filter, lines) in [("lvg.default.single.>", 1), ("lvg.default.task.>", 2)] {
        rig.faults.lose_acknowledgements(filter, 1);
        let lost = rig.client.submit_told(signature.clone(), &Place::default()).await;
        assert!(matches!(lost, Err(Error::Broker(_))), "{lost:?}");
        let again = rig.told(&signature).await;
        rig.wait(again.id()).await;
        rig.until_idle().await;
        let holder = rig.broker.streams.last(&subject(&Tenant::default_tenant(), "probe/chatty key acme")).await;
        let holder = Holder::decode(&holder.unwrap().unwrap().payload).unwrap();
        // Where the task was stored, it may have ended before the second submit, which is another one then.
        assert_eq!(holder.id, *again.id());
        assert!(rig.log_lines(again.id()).await <= lines);
    }
}

#[tokio::test]
async fn a_singleton_whose_result_is_gone_is_free() {
    let (rig, host) = Rig::with_host().await;
    let first = rig.told(&single("echo", "1", Mode::Skip)).await.id().clone();
    rig.wait(&first).await;
    rig.until_idle().await;
    host.stop().await;
    tokio::time::pause();
    tokio::time::advance(RESULT_TTL + Duration::from_secs(60)).await;
    for mode in [Mode::Skip, Mode::Cancel] {
        let next = rig.told(&single("echo", "2", mode)).await;
        assert!(matches!(&next, Submitted::New(id) if *id != first), "{next:?}");
        rig.client.cancel(next.id()).await.unwrap();
    }
    assert!(matches!(rig.client.state(&first).await, Err(Error::NotFound(_))), "nothing is said of the old one");
}

#[tokio::test]
async fn callers_of_a_singleton_hear_the_same_end() {
    let (rig, _host) = Rig::with_host().await;
    let signature = single("burn", r#"{"units":200}"#, Mode::Skip);
    let (one, two) = tokio::join!(rig.client.call(signature.clone()), rig.client.call(signature));
    assert_eq!(one.unwrap(), two.unwrap());
}

#[tokio::test]
async fn what_needs_a_task_of_its_own_takes_no_singleton() {
    let rig = Rig::new().await;
    let signature = endless(Mode::Skip);
    let once = rig.client.submit_once(signature.clone(), &Place::default(), ("k", Duration::from_secs(60))).await;
    let error = once.unwrap_err().to_string();
    assert!(error.contains("asks for a singleton, and an idempotency key names one task"), "{error}");
    let defaults = Defaults { options: signature.options.clone(), ..Defaults::default() };
    let error = rig.client.check_batch("1\n".into(), defaults, "").await.unwrap_err().to_string();
    assert!(error.contains("a batch takes no singleton"), "{error}");
    for key in ["", &"k".repeat(257)] {
        let mut signature = endless(Mode::Skip);
        signature.options.singleton = Some(Singleton { key: key.to_owned(), mode: Mode::Skip });
        let error = rig.client.submit(signature, &Place::default()).await.unwrap_err().to_string();
        assert!(error.contains("singleton key of probe/wait_cancel: a key takes 1 to 256 bytes"), "{error}");
    }
    assert!(rig.broker.streams.last("lvg.default.single.>").await.unwrap().is_none(), "nothing was claimed");
    // With an id of the caller's, that another task has the singleton is an error that names it.
    let first = rig.submit(endless(Mode::Skip)).await;
    let other = rig.client.submit_as(&"mine".parse().unwrap(), endless(Mode::Skip), &Place::default()).await;
    assert!(matches!(other, Err(Error::UnderWay(id)) if id == first));
    assert!(
        rig.broker
            .streams
            .last(&task_anywhere(&Tenant::default_tenant(), &"mine".parse::<TaskId>().unwrap()))
            .await
            .unwrap()
            .is_none()
    );
}

//! Tasks that are not plain: priorities, and labels that are required of hosts. On both brokers.

use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::memory::Memory;
use lovage::broker::{Broker, Settings, Start};
use lovage::client::{Client, Place};
use lovage::model::lifecycle::State;
use lovage::model::{Labels, Queue, Signature, TaskId, Tenant};
use lovage::protocol::subject::Priority;

use super::{Running, call, mover, retried, serve};
use crate::support::eventually::{PATIENCE, eventually};
use crate::support::modules;
use crate::support::nats::TestServer;

/// A broker with the guest `probe` and a mover.
struct Rig {
    broker: Broker,
    client: Client,
    _mover: Running,
    _server: Option<TestServer>,
}

impl Rig {
    async fn over(broker: Broker, server: Option<TestServer>) -> Self {
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        modules::push(&client, "probe").await;
        let mover = mover(&broker).await;
        Self { broker, client, _mover: mover, _server: server }
    }

    async fn memory() -> Self {
        Self::over(Memory::new().broker(), None).await
    }

    async fn nats() -> Self {
        let server = TestServer::start(Settings::default()).await;
        Self::over(server.nats.broker(), Some(server)).await
    }

    /// A host of one slot with labels.
    async fn host(&self, id: &str, labels: &[(&str, &str)]) -> Running {
        serve(&self.broker, id, |config| {
            config.concurrency = 1;
            config.labels = pairs(labels);
        })
        .await
    }

    async fn submit(&self, priority: u8, signature: Signature) -> TaskId {
        let place = Place { priority: Priority::new(priority).unwrap(), ..Place::default() };
        self.client.submit(signature, &place).await.unwrap()
    }

    async fn end(&self, id: &TaskId) -> State {
        let mut ignore = |_| {};
        let settled = tokio::time::timeout(PATIENCE, self.client.wait(id, &mut ignore)).await.expect("it must end");
        settled.unwrap().end.state()
    }

    async fn until(&self, id: &TaskId, state: State) {
        eventually(state.as_str(), || async { (self.client.state(id).await.unwrap().state == state).then_some(()) })
            .await;
    }

    /// The tasks that have ended, in the order in which they did.
    async fn ended(&self, count: usize) -> Vec<String> {
        eventually("all ends", || async {
            let records = self.broker.streams.read("lvg.default.res.>", Start::Sequence(1), false).await.unwrap();
            let records: Vec<_> = records.try_collect().await.unwrap();
            (records.len() == count).then_some(records)
        })
        .await
        .into_iter()
        .map(|record| record.subject.rsplit('.').next().unwrap().to_owned())
        .collect()
    }
}

fn pairs(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn requiring(mut signature: Signature, labels: &[(&str, &str)]) -> Signature {
    signature.options.requires = pairs(labels);
    signature
}

fn endless() -> Signature {
    let mut signature = call("wait_cancel", "null");
    signature.options.limits.fuel = Some(lovage::model::limits::FuelWish::Off(lovage::model::limits::Off::Off));
    signature
}

macro_rules! on_both_brokers {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Rig::memory().await).await;
            })+
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Rig::nats().await).await;
            })+
        }
    };
}

on_both_brokers!(
    what_waits_is_taken_by_priority,
    a_flood_of_urgent_tasks_lets_others_through,
    an_idle_host_takes_what_is_not_plain,
    a_slot_is_given_out_once,
    a_task_goes_to_a_host_that_has_its_labels,
    a_queue_goes_to_hosts_that_have_its_labels,
    what_a_killed_host_had_is_taken_again,
    all_priorities_at_once_are_each_delivered_once,
);

async fn what_waits_is_taken_by_priority(rig: Rig) {
    let mut ids = Vec::new();
    for priority in [0, 5, 9, 4, 5, 9, 0, 7] {
        ids.push((9 - priority, rig.submit(priority, call("echo", "1")).await.to_string()));
    }
    ids.sort_by_key(|(rank, _)| *rank);
    let _host = rig.host("host-1", &[]).await;
    let expected: Vec<String> = ids.into_iter().map(|(_, id)| id).collect();
    assert_eq!(rig.ended(expected.len()).await, expected);
}

async fn a_flood_of_urgent_tasks_lets_others_through(rig: Rig) {
    let last = rig.submit(0, call("echo", "1")).await;
    let plain = rig.submit(5, call("echo", "1")).await;
    for _ in 0..60 {
        rig.submit(9, call("echo", "1")).await;
    }
    let _host = rig.host("host-1", &[]).await;
    let ended = rig.ended(62).await;
    let place = |id: &TaskId| ended.iter().position(|ended| *ended == id.as_str()).unwrap();
    assert!((8..=10).contains(&place(&plain)), "{}", place(&plain));
    assert!((9..=20).contains(&place(&last)), "{}", place(&last));
}

async fn an_idle_host_takes_what_is_not_plain(rig: Rig) {
    let _host = rig.host("host-1", &[("gpu", "yes")]).await;
    for round in 0..5 {
        for priority in [0, 5, 9] {
            let id = rig.submit(priority, call("echo", "1")).await;
            assert_eq!(rig.end(&id).await, State::Succeeded, "{round} {priority}");
            let id = rig.submit(priority, requiring(call("echo", "1"), &[("gpu", "yes")])).await;
            assert_eq!(rig.end(&id).await, State::Succeeded, "{round} {priority} with a label");
        }
    }
    // The next attempt keeps its priority and its host.
    let id = rig.submit(9, requiring(retried("flaky", r#"{"until":3}"#, 3), &[("gpu", "yes")])).await;
    assert_eq!(rig.end(&id).await, State::Succeeded);
    let consumers: Vec<String> = rig
        .broker
        .queues
        .backlogs(&lovage::protocol::Stream::Task(Tenant::default_tenant()))
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(consumers.len(), 6, "one for each band that was used: {consumers:?}");
}

/// A slot that a task has which is not plain is not kept for a plain one too.
async fn a_slot_is_given_out_once(rig: Rig) {
    let _first = rig.host("host-1", &[]).await;
    let urgent = rig.submit(9, endless()).await;
    rig.until(&urgent, State::Running).await;
    // What was allowed for a plain task before is recalled soon: then a host that comes later has it, not one that is full.
    let waits = eventually("a task that is left alone", || async {
        let id = rig.submit(5, call("echo", "1")).await;
        let mut ignore = |_| {};
        let soon = std::time::Duration::from_millis(100);
        let ended = tokio::time::timeout(soon, rig.client.wait(&id, &mut ignore)).await;
        (ended.is_err() && rig.client.state(&id).await.unwrap().state == State::Queued).then_some(id)
    })
    .await;
    let _second = rig.host("host-2", &[]).await;
    assert_eq!(rig.end(&waits).await, State::Succeeded);
    rig.client.cancel(&urgent).await.unwrap();
    rig.end(&urgent).await;
    let id = rig.submit(5, call("echo", "1")).await;
    assert_eq!(rig.end(&id).await, State::Succeeded);
}

async fn a_task_goes_to_a_host_that_has_its_labels(rig: Rig) {
    let _bare = rig.host("bare", &[("region", "eu")]).await;
    let waits = rig.submit(5, requiring(call("echo", "1"), &[("gpu", "yes")])).await;
    let plain = rig.submit(5, call("echo", "1")).await;
    assert_eq!(rig.end(&plain).await, State::Succeeded);
    let snapshot = rig.client.state(&waits).await.unwrap();
    assert_eq!((snapshot.state, snapshot.waits_for), (State::Queued, Some("a host with gpu=yes".to_owned())));
    let queue = Queue::default_queue();
    let view = rig.client.queue(&queue).await.unwrap();
    assert_eq!((view.waiting, view.hosts.len(), view.bands.len()), (1, 1, 1));
    let band = &view.bands[0];
    assert_eq!((band.waiting, band.served, &band.requires), (1, false, &pairs(&[("gpu", "yes")])));
    let _other = rig.host("other", &[("gpu", "no")]).await;
    let able = rig.host("able", &[("gpu", "yes"), ("region", "us")]).await;
    assert_eq!(rig.end(&waits).await, State::Succeeded);
    let host = rig.client.state(&waits).await.unwrap().record;
    let lovage::model::lifecycle::Record::Settled(settled) = host.unwrap() else { panic!("it has ended") };
    assert_eq!(settled.usage.host.unwrap().as_str(), "able");
    // Two labels are another requirement, and this host meets only one of them.
    let waits = rig.submit(9, requiring(call("echo", "1"), &[("gpu", "yes"), ("region", "eu")])).await;
    let plain = rig.submit(0, requiring(call("echo", "1"), &[("gpu", "yes")])).await;
    assert_eq!(rig.end(&plain).await, State::Succeeded);
    assert_eq!(rig.client.state(&waits).await.unwrap().state, State::Queued);
    able.stop().await;
    let _able = rig.host("both", &[("gpu", "yes"), ("region", "eu")]).await;
    assert_eq!(rig.end(&waits).await, State::Succeeded);
}

async fn a_queue_goes_to_hosts_that_have_its_labels(rig: Rig) {
    let queue = Queue::default_queue();
    rig.client.require_of_queue(&queue, &pairs(&[("gpu", "yes")])).await.unwrap();
    let bare = rig.host("bare", &[]).await;
    let id = rig.submit(5, call("echo", "1")).await;
    let urgent = rig.submit(9, call("echo", "1")).await;
    let view = rig.client.queue(&queue).await.unwrap();
    assert_eq!((view.waiting, view.hosts.len(), &view.requires), (2, 0, &pairs(&[("gpu", "yes")])));
    let able = rig.host("able", &[("gpu", "yes")]).await;
    assert_eq!((rig.end(&id).await, rig.end(&urgent).await), (State::Succeeded, State::Succeeded));
    able.stop().await;
    let id = rig.submit(5, call("echo", "1")).await;
    assert_eq!(rig.client.state(&id).await.unwrap().state, State::Queued);
    // Whoever is there takes it when it is required no more.
    rig.client.require_of_queue(&queue, &Labels::new()).await.unwrap();
    assert_eq!(rig.end(&id).await, State::Succeeded);
    bare.stop().await;
    let many: Labels = (0..17).map(|n| (format!("k{n}"), "v".to_owned())).collect();
    assert!(rig.client.require_of_queue(&queue, &many).await.is_err());
}

async fn what_a_killed_host_had_is_taken_again(rig: Rig) {
    let short = std::time::Duration::from_secs(1);
    let first = serve(&rig.broker, "host-1", |config| config.lease = short).await;
    let id = rig.submit(9, requiring(endless(), &[])).await;
    rig.until(&id, State::Running).await;
    first.kill();
    let _second = serve(&rig.broker, "host-2", |config| config.lease = short).await;
    eventually("the second host has it", || async {
        let host = rig.client.state(&id).await.unwrap().host;
        host.is_some_and(|host| host.as_str() == "host-2").then_some(())
    })
    .await;
    rig.client.cancel(&id).await.unwrap();
    assert_eq!(rig.end(&id).await, State::Cancelled);
}

/// Bands fall calm and become lively again all the time here, and plain tasks come and go between them: nothing that is on its way
/// to a host may be lost until its lease runs out.
async fn all_priorities_at_once_are_each_delivered_once(rig: Rig) {
    const TASKS: u64 = 400;
    const CALLERS: usize = 12;
    let _host = serve(&rig.broker, "h", |config| config.concurrency = 8).await;
    let calls = futures::stream::iter(0..TASKS).map(|n| {
        let place = Place { priority: Priority::new(u8::try_from(n % 10).unwrap()).unwrap(), ..Place::default() };
        let client = rig.client.clone();
        async move { client.call_at(call("echo", &n.to_string()), &place).await.unwrap() }
    });
    let ended: Vec<_> =
        tokio::time::timeout(PATIENCE, calls.buffer_unordered(CALLERS).collect()).await.expect("all end");
    assert_eq!(ended.len() as u64, TASKS);
    for settled in ended {
        assert_eq!((settled.end.state(), settled.usage.delivery), (State::Succeeded, 1));
    }
}

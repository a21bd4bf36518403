//! Tasks that are moved from one queue to another: none is lost, and none runs twice.

use std::time::Duration;

use bytes::Bytes;
use lovage::broker::{Error as BrokerError, Settings};
use lovage::client::{Client, Error, MoveFilter, Place};
use lovage::model::lifecycle::{End, State};
use lovage::model::{Labels, Queue, Signature, TaskId, Tenant};
use lovage::protocol::batch::Defaults;
use lovage::protocol::subject::Priority;

use super::steps::{Steps, attempt};
use super::{Rig, Running, call, mover, retried_in_an_hour};
use crate::support::eventually::eventually;
use crate::support::modules;
use crate::support::nats::TestServer;

const OLD: &str = "lvg.default.task.old.>";
const NEW: &str = "lvg.default.task.new.>";

fn queue(name: &str) -> Queue {
    name.parse().unwrap()
}

async fn submit(rig: &Rig, name: &str, priority: u8, signature: Signature) -> TaskId {
    let place = Place { queue: queue(name), priority: Priority::new(priority).unwrap(), due: None };
    rig.client.submit(signature, &place).await.unwrap()
}

/// A task that writes one line each time it runs.
fn line() -> Signature {
    call("chatty", r#"{"lines":1}"#)
}

async fn move_all(rig: &Rig) -> Result<u64, Error> {
    let moved = rig.client.move_queue(&queue("old"), &queue("new"), &MoveFilter::default()).await;
    moved.map_err(|stopped| stopped.error)
}

async fn host(rig: &Rig, id: &str, name: &str) -> Running {
    rig.host_with(id, |config| config.queues = vec![(queue(name), 1)]).await
}

async fn all_ran_once(rig: &Rig, ids: &[TaskId]) {
    for id in ids {
        let settled = rig.wait(id).await;
        assert!(matches!(settled.end, End::Succeeded(_)), "{settled:?}");
        assert_eq!(rig.log_lines(id).await, 1, "{id}");
    }
    rig.until_idle().await;
}

#[tokio::test]
async fn what_waits_is_moved_as_it_is() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for n in 0..100_u8 {
        ids.push(submit(&rig, "old", n % 10, line()).await);
    }
    let mut marked = line();
    marked.options.requires = Labels::from([("gpu".to_owned(), "yes".to_owned())]);
    marked.options.labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    let marked = submit(&rig, "old", 5, marked).await;
    let elsewhere = submit(&rig, "other", 5, line()).await;
    assert_eq!(move_all(&rig).await.unwrap(), 101);
    assert!(matches!(move_all(&rig).await, Err(Error::QueueNotFound(_))), "nothing is left");
    let view = rig.client.queue(&queue("new")).await.unwrap();
    assert_eq!((view.waiting, view.running), (101, 0));
    let bands: Vec<(u8, u64)> = view.bands.iter().map(|band| (band.priority.number(), band.waiting)).collect();
    assert_eq!(
        bands,
        [(9, 10), (8, 10), (7, 10), (6, 10), (5, 1), (5, 10), (4, 10), (3, 10), (2, 10), (1, 10), (0, 10)]
    );
    assert_eq!(rig.state(&elsewhere).await, State::Queued);
    let _host = host(&rig, "host-1", "new").await;
    for id in &ids {
        assert!(matches!(rig.wait(id).await.end, End::Succeeded(_)));
        assert_eq!(rig.log_lines(id).await, 1);
    }
    assert_eq!(rig.client.state(&marked).await.unwrap().waits_for, Some("a host with gpu=yes".to_owned()));
}

#[tokio::test]
async fn some_are_moved_urgent_ones_first() {
    let rig = Rig::new().await;
    for priority in [0, 5, 9, 5, 9] {
        submit(&rig, "old", priority, line()).await;
    }
    let only = |count_max, priority| MoveFilter { count_max, priority: Priority::new(priority) };
    let moved = async |filter| rig.client.move_queue(&queue("old"), &queue("new"), &filter).await.unwrap();
    assert_eq!(moved(MoveFilter { count_max: Some(3), priority: None }).await, 3);
    let waiting = async |name| {
        let view = rig.client.queue(&queue(name)).await.unwrap();
        view.bands.iter().map(|band| (band.priority.number(), band.waiting)).collect::<Vec<_>>()
    };
    assert_eq!((waiting("new").await, waiting("old").await), (vec![(9, 2), (5, 1)], vec![(5, 1), (0, 1)]));
    assert_eq!(moved(only(None, 9)).await, 0);
    assert_eq!(moved(only(Some(5), 0)).await, 1);
    assert_eq!(waiting("new").await, [(9, 2), (5, 1), (0, 1)]);
    let itself = rig.client.move_queue(&queue("old"), &queue("old"), &MoveFilter::default()).await.unwrap_err();
    assert!(itself.error.to_string().contains("to itself"), "{}", itself.error);
}

#[tokio::test]
async fn a_move_that_stops_anywhere_neither_loses_nor_doubles() {
    // What fails, and how often: everything that a move asks of the broker.
    for fault in ["refused", "unacknowledged", "unfinished"] {
        for count in [1, 2, 3, 4, 7] {
            let rig = Rig::new().await;
            let mut ids = Vec::new();
            for n in 0..6_u8 {
                ids.push(submit(&rig, "old", [5, 9][usize::from(n % 2)], line()).await);
            }
            let away = || BrokerError::Unavailable("switched off".to_owned());
            match fault {
                "refused" => rig.faults.refuse_publishes(NEW, count, away()),
                "unacknowledged" => rig.faults.lose_acknowledgements(NEW, count),
                _ => rig.faults.lose_finishes(OLD, count),
            }
            let first = move_all(&rig).await;
            assert_eq!(first.is_err(), fault != "unfinished", "{fault} {count}: {first:?}");
            // Hosts serve both; what the move left behind in its hands comes back when its leases are over.
            let _old = host(&rig, "host-1", "old").await;
            let _new = host(&rig, "host-2", "new").await;
            rig.faults.expire_leases();
            drop(move_all(&rig).await);
            rig.faults.expire_leases();
            all_ran_once(&rig, &ids).await;
        }
    }
}

#[tokio::test]
async fn a_task_that_is_in_both_queues_runs_in_the_new_one() {
    let rig = Rig::new().await;
    let id = submit(&rig, "old", 5, line()).await;
    // As if the move was killed before its acknowledgement.
    rig.faults.lose_finishes(OLD, 100);
    assert_eq!(move_all(&rig).await.unwrap(), 1);
    rig.faults.expire_leases();
    let old = host(&rig, "host-1", "old").await;
    rig.faults.expire_leases();
    assert_eq!(rig.state(&id).await, State::Queued);
    old.kill();
    let _new = host(&rig, "host-2", "new").await;
    rig.wait(&id).await;
    assert_eq!(rig.log_lines(&id).await, 1);
}

#[tokio::test]
async fn a_full_queue_stops_a_move_and_leaves_the_rest() {
    let rig = Rig::new().await;
    for _ in 0..5 {
        submit(&rig, "old", 5, line()).await;
    }
    rig.faults.refuse_publishes(NEW, 2, BrokerError::Full { subject: NEW.to_owned() });
    let stopped = rig.client.move_queue(&queue("old"), &queue("new"), &MoveFilter::default()).await.unwrap_err();
    assert_eq!(stopped.moved, 3);
    assert!(matches!(stopped.error, Error::Broker(BrokerError::Full { .. })), "{:?}", stopped.error);
    assert_eq!(move_all(&rig).await.unwrap(), 2);
    assert_eq!(rig.client.queue(&queue("new")).await.unwrap().waiting, 5);
}

#[tokio::test]
async fn what_runs_is_left_and_later_attempts_go_to_the_new_queue() {
    let rig = Rig::new().await;
    let id = submit(&rig, "old", 5, retried_in_an_hour()).await;
    assert_eq!(move_all(&rig).await.unwrap(), 1);
    let _new = host(&rig, "host-1", "new").await;
    rig.until(&id, State::Retrying).await;
    let schedule = rig.broker.streams.last("lvg.default.sched.>").await.unwrap().unwrap();
    assert!(schedule.subject.ends_with(id.as_str()));
    let running = submit(&rig, "new", 5, call("wait_cancel", "null")).await;
    rig.until(&running, State::Running).await;
    let back = rig.client.move_queue(&queue("new"), &queue("old"), &MoveFilter::default()).await.unwrap();
    assert_eq!(back, 0, "what runs is left");
    rig.client.cancel(&running).await.unwrap();
}

#[tokio::test]
async fn an_attempt_of_a_step_is_moved_too() {
    let memory = lovage::broker::memory::Memory::new();
    let steps = Steps::over(memory.broker(), None).await;
    let client = lovage::client::Client::new(memory.broker(), lovage::model::Tenant::default_tenant());
    let step = attempt("0-1", 1);
    steps.dispatch(&step, &lovage::protocol::task::TaskMessage::first(line())).await;
    let default = Queue::default_queue();
    memory.faults().lose_finishes("lvg.default.task.default.>", 100);
    assert_eq!(client.move_queue(&default, &queue("new"), &MoveFilter::default()).await.unwrap(), 1);
    memory.faults().expire_leases();
    let _old = steps.host("host-1").await;
    let _new = super::serve(&memory.broker(), "host-2", |config| config.queues = vec![(queue("new"), 1)]).await;
    steps.outcome(&step).await;
    assert_eq!((steps.records(&step).await, steps.runs(&step).await), (1, 1));
}

/// What a server stores of a message is sent on by none of ours: its id above all, by which it would be taken for one that was
/// seen, acknowledged, and dropped.
#[tokio::test]
async fn tasks_of_a_batch_wait_and_are_moved_on_a_server_too() {
    let server = TestServer::start(Settings::default()).await;
    let broker = server.nats.broker();
    let client = Client::new(broker.clone(), Tenant::default_tenant());
    modules::push(&client, "probe").await;
    let _mover = mover(&broker).await;
    for delay in [None, Some(Duration::from_millis(200))] {
        let task = Some("probe/echo".parse().unwrap());
        let defaults = Defaults { task, queue: Some(queue("old")), delay, ..Defaults::default() };
        let batch = client.check_batch(Bytes::from_static(b"1\n2\n3\n"), defaults, "").await.unwrap().unwrap();
        client.send_batch(&batch, &mut |_| {}).await.unwrap();
    }
    let queued = async |filter: &str| broker.queues.occupied(filter, 99).await.unwrap().len();
    eventually("all are queued", || async { (queued(OLD).await == 6).then_some(()) }).await;
    let moved = client.move_queue(&queue("old"), &queue("new"), &MoveFilter::default()).await;
    assert_eq!(moved.map_err(|stopped| stopped.error).unwrap(), 6);
    assert_eq!((queued(OLD).await, queued(NEW).await), (0, 6), "none is lost");
}

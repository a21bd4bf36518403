//! Debounces: calls that follow each other within a period are one task with the last input, and none that was acknowledged is lost.
//! In simulated time, and on a real broker.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::future::join_all;
use lovage::broker::Settings;
use lovage::broker::{Error as BrokerError, Start};
use lovage::client::{Error, Submitted, Upload};
use lovage::model::call_key::token;
use lovage::model::debounce::{Debounce, Declared, Gathered, Timing};
use lovage::model::module::Manifest;
use lovage::model::singleton::{Mode, Singleton};
use lovage::model::{Contract, TaskDescription, Timestamp};
use lovage::protocol::limit::line;
use lovage::protocol::task::TaskMessage;
use lovage::store::debounce::{ring, waiting};

use super::*;
use crate::support::nats::TestServer;
use crate::support::seed::{Dice, seed};

/// The broker's timers are a third of a second late, and so may be a mover that was just begun.
const LATE: Duration = Duration::from_millis(700);

/// A broker with the module `m`, of which nothing runs: what is queued stays.
struct World {
    broker: Broker,
    client: Client,
    faults: Option<Faults>,
    mover: Option<Running>,
    _server: Option<TestServer>,
}

impl World {
    async fn over(broker: Broker, faults: Option<Faults>, server: Option<TestServer>) -> Self {
        let client = Client::new(broker.clone(), Tenant::default_tenant());
        push(&client, Manifest::default()).await;
        let mover = Some(mover(&broker).await);
        Self { broker, client, faults, mover, _server: server }
    }

    async fn memory() -> Self {
        let memory = Memory::new();
        Self::over(memory.broker(), Some(memory.faults()), None).await
    }

    async fn nats() -> Self {
        let server = TestServer::start(Settings::default()).await;
        Self::over(server.nats.broker(), None, Some(server)).await
    }

    fn now(&self) -> Timestamp {
        self.broker.clock.now()
    }

    async fn told(&self, signature: &Signature) -> Result<Submitted, Error> {
        self.client.submit_told(signature.clone(), &Place::default()).await
    }

    /// What is queued: the task, its input, and when it was queued.
    async fn queued(&self) -> BTreeMap<String, (String, Timestamp)> {
        let tasks = self.broker.streams.read("lvg.default.task.>", Start::Sequence(1), false).await.unwrap();
        let tasks: Vec<_> = tasks.try_collect().await.unwrap();
        let read = |message: &lovage::broker::Message| {
            assert!(TaskMessage::decode(&message.headers, &message.payload).is_ok(), "{message:?}");
            assert!(message.headers.value("Lovage-Gathered").is_none(), "{message:?}");
            let id = message.subject.rsplit('.').next().unwrap().to_owned();
            (id, (String::from_utf8(message.payload.to_vec()).unwrap(), message.time))
        };
        tasks.iter().map(read).collect()
    }

    async fn until_queued(&self, count: usize) -> BTreeMap<String, (String, Timestamp)> {
        eventually("what is due is queued", || async {
            let queued = self.queued().await;
            (queued.len() >= count).then_some(queued)
        })
        .await
    }

    /// Waits until nothing is gathered any more.
    async fn until_all_went(&self) {
        for _ in 0..10_000 {
            if self.broker.streams.last("lvg.default.line.>").await.unwrap().is_none() {
                return;
            }
            pass(Duration::from_millis(100)).await;
        }
        panic!("something is still gathered");
    }
}

async fn push(client: &Client, manifest: Manifest) {
    let task = |name: &str| TaskDescription {
        name: name.parse().unwrap(),
        summary: String::new(),
        input_schema: None,
        output_schema: None,
        media_type: None,
    };
    let upload = Upload {
        name: "m".parse().unwrap(),
        version: None,
        bytes: Bytes::from_static(b"a stand-in"),
        source_digest: None,
        contract: Contract::Task,
        tasks: vec![task("t"), task("u")],
        manifest,
    };
    client.push(upload).await.unwrap();
}

/// Lets time pass, which in a test with a paused clock takes none.
async fn pass(duration: Duration) {
    tokio::time::timeout(duration, std::future::pending::<()>()).await.unwrap_err();
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn after(key: &str, input: &str, period: u64, timeout: Option<u64>) -> Signature {
    let mut signature = Signature::new("m/t".parse().unwrap(), input.to_owned());
    let timing = Timing { period: seconds(period), timeout: timeout.map(seconds) };
    signature.options.debounce = Some(Debounce { key: Some(key.to_owned()), timing });
    signature
}

#[tokio::test(start_paused = true)]
async fn calls_within_a_period_are_one_task_with_the_last_input() {
    let world = World::memory().await;
    let first = world.told(&after("k", "1", 10, None)).await.unwrap();
    assert!(matches!(first, Submitted::New(_)));
    let snapshot = world.client.state(first.id()).await.unwrap();
    assert_eq!(snapshot.state, State::Scheduled);
    let waits_for = snapshot.waits_for.unwrap();
    assert!(waits_for.contains("more calls under its debounce until 2026-01-01T00:00:10"), "{waits_for}");
    for input in ["2", "3"] {
        pass(seconds(9)).await;
        let joined = world.told(&after("k", input, 10, None)).await.unwrap();
        assert_eq!(joined, Submitted::Joined(first.id().clone()));
    }
    let due = world.now().after(seconds(10));
    let other = world.told(&after("other", "9", 10, None)).await.unwrap();
    assert_ne!(other.id(), first.id());
    assert!(world.queued().await.is_empty());
    pass(seconds(10) + LATE).await;
    let queued = world.queued().await;
    let (input, at) = &queued[first.id().as_str()];
    assert!(input == "3" && *at >= due && at.since(due) <= LATE, "{queued:?}");
    assert_eq!(queued[other.id().as_str()].0, "9");
    let next = world.told(&after("k", "4", 10, None)).await.unwrap();
    assert!(matches!(&next, Submitted::New(id) if id != first.id()), "{next:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_never_pause_come_at_their_timeout() {
    let world = World::memory().await;
    let begin = world.now();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(world.told(&after("k", &n.to_string(), 10, Some(25))).await.unwrap().id().clone());
        pass(seconds(4)).await;
    }
    let queued = world.queued().await;
    let (input, at) = &queued[ids[0].as_str()];
    assert_eq!(input, "6", "the one at 24 s was the last before 25 s");
    assert!(at.since(begin) >= seconds(25) && at.since(begin) <= seconds(25) + LATE, "{at}");
    assert!(ids[..7].iter().all(|id| *id == ids[0]) && ids[7] != ids[0], "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_debounce_that_goes_on_for_weeks_stays_one_task() {
    let world = World::memory().await;
    let first = world.told(&after("k", "0", 604_800, None)).await.unwrap();
    for n in 1..8 {
        pass(seconds(500_000)).await;
        let joined = world.told(&after("k", &n.to_string(), 604_800, None)).await.unwrap();
        assert_eq!(joined, Submitted::Joined(first.id().clone()), "call {n}");
    }
    pass(seconds(604_801)).await;
    assert_eq!(world.queued().await[first.id().as_str()].0, "7");
}

#[tokio::test(start_paused = true)]
async fn a_task_declares_its_debounce_which_schedules_and_callers_ids_pass_by() {
    let world = World::memory().await;
    let declared = |period, key: &str| Declared { key: Some(key.to_owned()), period: seconds(period), timeout: None };
    let debounce = [("t".parse().unwrap(), declared(5, "${input.doc}"))].into();
    let singleton = [("u".parse().unwrap(), lovage::model::singleton::Declared::default())].into();
    push(&world.client, Manifest { debounce, singleton, ..Manifest::default() }).await;
    pass(seconds(2)).await;
    let call = |task: &str, input: &str| Signature::new(format!("m/{task}").parse().unwrap(), input.to_owned());
    let one = world.told(&call("t", r#"{"doc":1,"v":1}"#)).await.unwrap();
    let two = world.told(&call("t", r#"{"doc":2}"#)).await.unwrap();
    let again = world.told(&call("t", r#"{"doc":1,"v":2}"#)).await.unwrap();
    assert_eq!(again, Submitted::Joined(one.id().clone()));
    assert_ne!(one.id(), two.id());
    let own = "own".parse().unwrap();
    world.client.submit_as(&own, call("t", r#"{"doc":1}"#), &Place::default()).await.unwrap();
    assert_eq!(world.client.state(&own).await.unwrap().state, State::Queued, "what has an id comes at once");
    let error = world.told(&call("t", "{}")).await.unwrap_err().to_string();
    assert!(error.contains("debounce key of m/t") && error.contains("doc"), "{error}");
    let error = world.told(&call("t", r#"{"doc":[]}"#)).await.unwrap_err().to_string();
    assert!(error.contains("yields a list or an object"), "{error}");
    let once = world.client.submit_once(call("t", r#"{"doc":1}"#), &Place::default(), ("k", seconds(60))).await;
    let error = once.unwrap_err().to_string();
    assert!(error.contains("its task declares a debounce"), "{error}");
    let defaults = lovage::protocol::batch::Defaults { task: Some("m/t".parse().unwrap()), ..Default::default() };
    let bad = world.client.check_batch(r#"{"doc":1}"#.into(), defaults, "").await.unwrap().unwrap_err();
    assert!(bad.0[0].1.contains("declares a debounce, and a batch sends each line"), "{bad:?}");
    let mut both = call("u", "1");
    both.options.debounce = after("k", "1", 5, None).options.debounce;
    let error = world.told(&both).await.unwrap_err().to_string();
    assert!(error.contains("not both"), "{error}");
    pass(seconds(5) + LATE).await;
    let queued = world.queued().await;
    assert_eq!(queued[one.id().as_str()].0, r#"{"doc":1,"v":2}"#);
    let first = world.told(&call("u", "1")).await.unwrap();
    assert_eq!(world.told(&call("u", "2")).await.unwrap(), Submitted::UnderWay(first.id().clone()));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_gathered_is_refused() {
    let world = World::memory().await;
    for (period, timeout, words) in
        [(0, None, "it takes 1s to 7d"), (604_801, None, "it takes 1s to 7d"), (5, Some(4), "its period to 30d")]
    {
        let error = world.told(&after("k", "1", period, timeout)).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for key in ["", &"k".repeat(257)] {
        let error = world.told(&after(key, "1", 5, None)).await.unwrap_err().to_string();
        assert!(error.contains("debounce key of m/t: a key takes 1 to 256 bytes"), "{error}");
    }
    let due = Place { due: Some(world.now().after(seconds(60))), ..Place::default() };
    let error = world.client.submit_told(after("k", "1", 5, None), &due).await.unwrap_err().to_string();
    assert!(error.contains("takes no delay"), "{error}");
    let mut short = after("k", "1", 5, None);
    short.options.expires = Some(world.now().after(seconds(4)));
    let error = world.told(&short).await.unwrap_err().to_string();
    assert!(error.contains("expired when it is due"), "{error}");
    let mut both = after("k", "1", 5, None);
    both.options.singleton = Some(Singleton { key: "k".into(), mode: Mode::Skip });
    let error = world.told(&both).await.unwrap_err().to_string();
    assert!(error.contains("not both"), "{error}");
    world.told(&after("k", "1", 5, None)).await.unwrap();
    let mut picky = after("k", "2", 5, None);
    picky.options.requires = [("gpu".to_owned(), "yes".to_owned())].into();
    let error = world.told(&picky).await.unwrap_err().to_string();
    assert!(error.contains("it requires other labels"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_pending_task_is_cancelled_and_the_next_call_begins_anew() {
    let world = World::memory().await;
    let first = world.told(&after("k", "1", 10, None)).await.unwrap();
    world.client.cancel(first.id()).await.unwrap();
    assert_eq!(world.client.state(first.id()).await.unwrap().state, State::Cancelled);
    let second = world.told(&after("k", "2", 10, None)).await.unwrap();
    assert!(matches!(&second, Submitted::New(id) if id != first.id()), "{second:?}");
    pass(seconds(10) + LATE).await;
    let queued = world.queued().await;
    assert_eq!((queued.len(), queued[second.id().as_str()].0.as_str()), (1, "2"));
}

#[tokio::test(start_paused = true)]
async fn of_many_first_calls_at_once_all_join_one() {
    let world = World::memory().await;
    let calls: Vec<Signature> = (0..40).map(|n| after("k", &n.to_string(), 10, None)).collect();
    let all = join_all(calls.iter().map(|call| world.told(call))).await;
    let all: Vec<Submitted> = all.into_iter().map(Result::unwrap).collect();
    assert!(all.iter().all(|submitted| submitted.id() == all[0].id()), "{all:?}");
    assert_eq!(all.iter().filter(|submitted| matches!(submitted, Submitted::New(_))).count(), 1);
    pass(seconds(10) + LATE).await;
    assert_eq!(world.queued().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_first_call_whose_submitter_died_becomes_a_task_alone() {
    let world = World::memory().await;
    let (tenant, now, token) = (Tenant::default_tenant(), world.now(), token("m/t key k"));
    let gathered = Gathered::begin(now, Timing { period: seconds(10), timeout: None });
    let id: TaskId = "lonely".parse().unwrap();
    let (headers, payload) = TaskMessage { recheck: true, ..TaskMessage::first(after("k", "0", 10, None)) }.encode();
    let subject = line(&token, &place(&id));
    world.broker.streams.publish(waiting(subject, headers, payload, (&gathered, now), 0)).await.unwrap();
    ring(&world.broker, &tenant, &token, gathered.due).await.unwrap();
    pass(seconds(1)).await;
    let next = world.told(&after("k", "1", 10, None)).await.unwrap();
    assert!(matches!(&next, Submitted::New(new) if *new != id), "{next:?}");
    pass(seconds(20)).await;
    let queued = world.queued().await;
    assert_eq!((queued["lonely"].0.as_str(), queued[next.id().as_str()].0.as_str()), ("0", "1"));
    world.until_all_went().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_call_whose_record_was_written_unheard_is_joined() {
    let world = World::memory().await;
    world.faults.as_ref().unwrap().lose_acknowledgements("lvg.default.debounce.>", 1);
    world.told(&after("k", "1", 10, None)).await.unwrap_err();
    let joined = world.told(&after("k", "2", 10, None)).await.unwrap();
    assert!(matches!(joined, Submitted::Joined(_)), "{joined:?}");
    pass(seconds(10) + LATE).await;
    let queued = world.queued().await;
    assert_eq!((queued.len(), queued[joined.id().as_str()].0.as_str()), (1, "2"));
}

#[tokio::test(start_paused = true)]
async fn gathered_calls_wait_while_their_queue_is_full() {
    let world = World::memory().await;
    let faults = world.faults.as_ref().unwrap();
    let full = BrokerError::Full { subject: "lvg.default.task.>".to_owned() };
    faults.refuse_publishes("lvg.default.task.>", 20, full);
    let first = world.told(&after("k", "1", 5, None)).await.unwrap();
    pass(seconds(6)).await;
    // It is on its way: nobody joins it.
    let next = world.told(&after("k", "2", 5, None)).await.unwrap();
    assert_ne!(next.id(), first.id());
    pass(seconds(30)).await;
    let queued = world.queued().await;
    assert_eq!((queued[first.id().as_str()].0.as_str(), queued[next.id().as_str()].0.as_str()), ("1", "2"));
    world.until_all_went().await;
}

/// A strike of the simulation.
async fn strike(world: &mut World, dice: &mut Dice) {
    let faults = world.faults.clone().unwrap();
    let filters = ["lvg.default.line.>", "lvg.default.debounce.>", "lvg.default.sched.>", "lvg.default.task.>"];
    match dice.below(8) {
        0 => faults.lose_acknowledgements(dice.pick(&filters), 1),
        1 => faults.refuse_publishes(dice.pick(&filters), 1, BrokerError::Unavailable("struck".to_owned())),
        2 => {
            // As `kill -9`, and another one a while later.
            world.mover.take().unwrap().kill();
            world.mover = Some(mover(&world.broker).await);
        }
        3 => faults.repeat_deliveries("lvg.*.fire.>", 1),
        4 => faults.lose_finishes("lvg.*.fire.>", 1),
        _ => {}
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_lost_each_task_has_the_last_input_that_was_acknowledged_for_it() {
    let seed = seed();
    for round in 0..60 {
        let mut dice = Dice(seed.wrapping_add(round));
        let mut world = World::memory().await;
        // The inputs of a task: those that were acknowledged, and behind the last of them any that may have been stored.
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut calls: BTreeMap<String, Timestamp> = BTreeMap::new();
        for n in 0..40 {
            strike(&mut world, &mut dice).await;
            let (key, period) = (dice.pick(&["a", "b"]), 2);
            let timeout = (key == "b").then_some(5);
            let input = n.to_string();
            match world.told(&after(key, &input, period, timeout)).await {
                Ok(submitted) => {
                    calls.insert(submitted.id().to_string(), world.now());
                    wanted.insert(submitted.id().to_string(), vec![input]);
                }
                // It may have joined what waits under its key, or not.
                Err(_) => wanted.values_mut().for_each(|inputs| inputs.push(input.clone())),
            }
            pass(Duration::from_millis(dice.roll() % 2_600)).await;
        }
        // A first call that was not acknowledged may lack its bell: the next call under its key sets it.
        for key in ["a", "b"] {
            eventually("a call without faults", || async { world.told(&after(key, "last", 2, None)).await.ok() }).await;
        }
        world.until_all_went().await;
        let queued = world.queued().await;
        for (id, inputs) in &wanted {
            let (input, at) = queued.get(id).unwrap_or_else(|| panic!("round {round}: {id} is lost"));
            let last = || inputs.contains(input) || input == "last";
            assert!(last(), "round {round}: {id} has {input}, not one of {inputs:?}");
            assert!(at.since(calls[id]) <= seconds(60), "round {round}: {id} is late");
        }
    }
}

#[tokio::test]
async fn on_a_real_broker_each_task_has_the_last_input_that_was_acknowledged_for_it() {
    let world = World::nats().await;
    let world = &world;
    let dice = Dice(seed());
    // Calls that come about when the one before them becomes a task.
    let keys = (0..8_u64).map(|key| {
        let mut dice = Dice(dice.0.wrapping_add(key));
        async move {
            let mut last = BTreeMap::new();
            for n in 0..6 {
                let input = format!("{n}");
                let submitted = world.told(&after(&format!("key {key}"), &input, 1, None)).await.unwrap();
                last.insert(submitted.id().to_string(), input);
                pass(Duration::from_millis(900 + dice.roll() % 500)).await;
            }
            last
        }
    });
    let wanted: BTreeMap<String, String> = join_all(keys).await.into_iter().flatten().collect();
    let queued = world.until_queued(wanted.len()).await;
    let inputs: BTreeMap<String, String> = queued.into_iter().map(|(id, (input, _))| (id, input)).collect();
    assert_eq!(inputs, wanted);
    world.until_all_went().await;
}

#[tokio::test]
async fn on_a_real_broker_many_calls_at_once_are_one_task() {
    let world = World::nats().await;
    let calls: Vec<Signature> = (0..24).map(|n| after("k", &n.to_string(), 1, Some(2))).collect();
    let all: Vec<_> = futures::stream::iter(&calls).map(|call| world.told(call)).buffer_unordered(8).collect().await;
    let ids: std::collections::BTreeSet<String> =
        all.into_iter().map(|submitted| submitted.unwrap().id().to_string()).collect();
    let queued = world.until_queued(ids.len()).await;
    assert!(ids.len() <= 2, "they took less than two seconds: {ids:?}");
    assert_eq!(queued.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids);
}

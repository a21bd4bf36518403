//! Runs as a client sees them before any coordinator: what is refused, where steps are, what their guests say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use lovage::broker::Publish;
use lovage::client::{Error, Order, StepNote, Watch, Whereabouts};
use lovage::model::key::StepAttempt;
use lovage::model::limit::ledger::Ledger;
use lovage::model::limit::{Limit, Rule};
use lovage::model::{HostId, Level, Queue, RunId, StepId, TaskKey, Tenant, Timestamp};
use lovage::protocol::Headers;
use lovage::protocol::host::{self, Capacity, HostDetail, HostRecord, HostState, HostTask};
use lovage::protocol::limit::{encode_ledger, line, record as limit_record};
use lovage::protocol::note::{LogLine, Progress};
use lovage::protocol::subject::{PRIORITY_DEFAULT, TaskSubject};
use lovage::workflow::flow::{Document, PROBLEMS_MAX};
use lovage::workflow::journal::Event;
use serde_json::{Value, json};

use super::Rig;

fn order(document: &Value) -> Order {
    Order::new(Document::from_json(document).unwrap_or_else(|problems| panic!("{problems:?}")))
}

fn keyed(document: &Value, input: &str) -> Order {
    let key = Some("k".to_owned());
    Order { idempotency_key: key, ..order(document).with_input(input.to_owned()) }
}

fn step(text: &str) -> StepId {
    text.parse().unwrap()
}

fn record(id: &str, queues: &[&str], labels: &[(&str, &str)]) -> HostRecord {
    HostRecord {
        v: host::VERSION,
        id: id.parse().unwrap(),
        tenant: Tenant::default_tenant(),
        name: "machine".to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        queues: queues.iter().map(|queue| (queue.parse::<Queue>().unwrap(), 1)).collect(),
        state: HostState::Serving,
        slots: 4,
        running: 1,
        reserved: 0,
        version: "0".to_owned(),
        started: Timestamp::default(),
        memory_bytes: 0,
    }
}

/// What a host has in hand of a run, by step, and whether its guest runs.
fn in_hand(run: &RunId, tenant: &str, steps: &[(&str, bool)]) -> Vec<HostTask> {
    let task = |(step, running): &(&str, bool)| HostTask {
        id: format!("{run}.{step}.1"),
        task: "m/t".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        queue: Queue::default_queue(),
        attempt: 1,
        since: Timestamp::from_millis(7),
        running: *running,
        memory_bytes: 0,
    };
    steps.iter().map(task).collect()
}

impl Rig {
    /// Lets a host be listed.
    async fn beats(&self, record: &HostRecord) {
        let publish = Publish::new(host::heartbeat(&record.id), host::encode(record));
        self.broker.streams.publish(publish).await.unwrap();
    }

    /// Where the steps of a run are, while these hosts answer what they have in hand.
    async fn places(&self, run: &RunId, answering: &[(HostRecord, Vec<HostTask>)]) -> BTreeMap<StepId, Whereabouts> {
        let mut words = Vec::new();
        for (record, _) in answering {
            self.beats(record).await;
            words.push(self.broker.bus.listen(&host::words(&record.id)).await.unwrap());
        }
        let answers = answering.iter().zip(words).map(|((record, tasks), mut words)| async move {
            let capacity = Capacity {
                slots_free: 0,
                cores: 1,
                task_memory_bytes_max: 0,
                attempt_timeout_ms_max: 0,
                hot_modules: 0,
                hot_bytes: 0,
            };
            let (host, tasks) = (record.clone(), tasks.clone());
            let detail =
                HostDetail { host, tasks, tasks_left_out: 0, loading: Vec::new(), done: BTreeMap::new(), capacity };
            while let Some(word) = words.next().await {
                let reply = word.reply.unwrap();
                self.broker.bus.send(&reply, Headers::new(), host::encode(&detail)).await.unwrap();
            }
        });
        let view = self.client.view_run(run).await.unwrap();
        tokio::select! {
            places = self.client.whereabouts(&view) => places,
            _ = futures::future::join_all(answers), if !answering.is_empty() => panic!("hosts answer for ever"),
        }
    }

    async fn says(&self, subject: String, body: Bytes) {
        self.broker.streams.publish(Publish::new(subject, body)).await.unwrap();
    }
}

/// Four tasks: two plain ones, one in a queue of its own, and one that requires a label.
async fn four_tasks(rig: &Rig) -> RunId {
    let members = json!([
        {"task": "m/t"}, {"task": "m/t"}, {"task": "m/t", "queue": "own"}, {"task": "m/t", "requires": {"gpu": "yes"}},
    ]);
    rig.client.start(order(&json!({"group": members}))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn steps_are_where_hosts_say_and_others_say_what_they_lack() {
    let rig = Rig::new().await;
    let run = four_tasks(&rig).await;
    assert_eq!(rig.places(&run, &[]).await.into_values().collect::<Vec<_>>().len(), 4, "no host is an answer, too");
    let (plain, other) = (record("h1", &["default"], &[]), record("h2", &["default", "rest"], &[("gpu", "no")]));
    let hosts = [(plain, in_hand(&run, "default", &[("0-0", true)])), (other, in_hand(&run, "else", &[("0-1", true)]))];
    let places = rig.places(&run, &hosts).await;
    let (host, since): (HostId, _) = ("h1".parse().unwrap(), Timestamp::from_millis(7));
    assert_eq!(places[&step("0-0")], Whereabouts::On { host, since, running: true });
    assert_eq!(places[&step("0-1")], Whereabouts::Free, "a task of another tenant is no task of ours");
    assert_eq!(places[&step("0-2")], Whereabouts::Unserved("own".parse().unwrap()));
    let gpu = BTreeMap::from([("gpu".to_owned(), "yes".to_owned())]);
    assert_eq!(places[&step("0-3")], Whereabouts::Required(gpu));
    assert_eq!(places.len(), 4, "the group itself is nowhere");
}

#[tokio::test(start_paused = true)]
async fn steps_that_are_held_say_by_what() {
    let rig = Rig::new().await;
    let run = four_tasks(&rig).await;
    let (own, plain): (Queue, Queue) = ("own".parse().unwrap(), Queue::default_queue());
    rig.client.pause_queue(&own, "the disk is full").await.unwrap();
    rig.client.require_of_queue(&plain, &BTreeMap::from([("disk".to_owned(), "ssd".to_owned())])).await.unwrap();
    let limit = Limit::of_key("k", Rule { concurrency: Some(1), ..Rule::default() }).unwrap();
    let key = TaskKey::Step(StepAttempt { run: run.clone(), step: step("0-1"), attempt: 1 });
    let task =
        TaskSubject { tenant: Tenant::default_tenant(), queue: plain, priority: PRIORITY_DEFAULT, mark: None, key };
    rig.says(line(&limit.token(), &task), Bytes::new()).await;
    let places = rig.places(&run, &[(record("h1", &["default", "own"], &[("gpu", "yes")]), Vec::new())]).await;
    let ssd = |more: &[(&str, &str)]| {
        let labels = more.iter().chain(&[("disk", "ssd")]);
        Whereabouts::Required(labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    assert_eq!(places[&step("0-0")], ssd(&[]), "as its queue requires");
    assert_eq!(places[&step("0-1")], Whereabouts::Limited(limit.token()), "a limit that nobody keeps has no name");
    assert_eq!(places[&step("0-2")], Whereabouts::Paused(own));
    assert_eq!(places[&step("0-3")], ssd(&[("gpu", "yes")]));
    let ledger = Ledger::new(limit);
    let publish = Publish::new(limit_record(&Tenant::default_tenant(), &ledger.limit.token()), encode_ledger(&ledger));
    rig.broker.streams.publish(publish).await.unwrap();
    let places = rig.places(&run, &[]).await;
    assert_eq!(places[&step("0-1")], Whereabouts::Limited("key k".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_is_not_waited_for_and_may_run_anything() {
    let rig = Rig::new().await;
    let run = four_tasks(&rig).await;
    rig.beats(&record("silent", &["default"], &[("gpu", "yes")])).await;
    let began = tokio::time::Instant::now();
    let answering = [(record("h1", &["default"], &[]), in_hand(&run, "default", &[("0-1", false)]))];
    let places = rig.places(&run, &answering).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(matches!(&places[&step("0-1")], Whereabouts::On { running: false, .. }), "{places:?}");
    let known: Vec<&str> = places.keys().map(StepId::as_str).collect();
    assert_eq!(known, ["0-1", "0-2"], "of the others nothing is known but that no host serves the queue of one");
}

#[tokio::test(start_paused = true)]
async fn of_many_hosts_those_with_the_most_are_asked() {
    let rig = Rig::new().await;
    let run = four_tasks(&rig).await;
    // They would be asked for half a second each, if one after the other.
    for number in 0..40 {
        rig.beats(&record(&format!("idle-{number}"), &["default"], &[])).await;
    }
    let busy = HostRecord { running: 9, ..record("busy", &["default"], &[]) };
    let began = tokio::time::Instant::now();
    let places = rig.places(&run, &[(busy, in_hand(&run, "default", &[("0-0", true)]))]).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(matches!(&places[&step("0-0")], Whereabouts::On { running: true, .. }), "{places:?}");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_lives_while_its_heartbeats_come() {
    let rig = Rig::new().await;
    let lives = || rig.client.has_coordinator(Duration::from_secs(3));
    let beat = || Publish::new("lvg.ctl.coordinator.c1", Bytes::from_static(br#"{"v":1,"number":1}"#));
    assert!(!lives().await.unwrap(), "there was never one");
    rig.broker.streams.publish(beat()).await.unwrap();
    assert!(!lives().await.unwrap(), "what one left behind that was killed is no sign of life");
    let beats = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.broker.streams.publish(beat()).await.unwrap();
    };
    assert!(tokio::join!(lives(), beats).0.unwrap());
}

#[tokio::test]
async fn a_run_that_no_coordinator_has_begun_says_so() {
    let rig = Rig::new().await;
    let run = rig.client.start(order(&json!({"task": "m/t"}))).await.unwrap();
    let entry = rig.client.run(&run).await.unwrap();
    assert!(!entry.is_listed() && entry.reason.unwrap().contains("waits for a coordinator"));
    assert!(rig.client.has_run(&run).await.unwrap());
    assert!(!rig.client.has_run(&rig.client.new_run_id()).await.unwrap());
}

#[tokio::test]
async fn the_logs_of_steps_are_told_apart_and_heard_with_their_progress() {
    let rig = Rig::new().await;
    let (run, other) = (rig.client.new_run_id(), rig.client.new_run_id());
    let line = |message: &str| LogLine {
        at: Timestamp::from_millis(1),
        attempt: 1,
        level: Level::Info,
        message: message.to_owned(),
    };
    let mut notes = rig.client.run_notes(&run).await.unwrap();
    for (run, step, attempt, message) in
        [(&run, "0-0", 1, "a"), (&other, "0-0", 1, "b"), (&run, "0-1", 1, "c"), (&run, "0-0", 2, "d")]
    {
        let subject = format!("lvg.default.log.{run}.{step}.{attempt}");
        rig.says(subject, serde_json::to_vec(&line(message)).unwrap().into()).await;
    }
    rig.says(format!("lvg.default.log.{run}.0-0.1"), Bytes::from_static(b"no line")).await;
    let progress = Progress { at: Timestamp::from_millis(1), attempt: 1, done: 1.0, total: None, note: None };
    let body = serde_json::to_vec(&progress).unwrap();
    rig.says(format!("lvg.default.ev.progress.{run}.0-1.1"), body.into()).await;
    let first = step("0-0");
    for (of, expected) in [
        (None, vec!["0-0.1 a", "0-1.1 c", "0-0.2 d"]),
        (Some((&first, None)), vec!["0-0.1 a", "0-0.2 d"]),
        (Some((&first, Some(2))), vec!["0-0.2 d"]),
        (Some((&first, Some(3))), vec![]),
    ] {
        let lines = rig.client.run_logs(&run, of, false).await.unwrap();
        let shown = lines.map_ok(|said| format!("{}.{} {}", said.by.step, said.by.attempt, said.line.message));
        assert_eq!(shown.try_collect::<Vec<String>>().await.unwrap(), expected);
    }
    let mut heard = BTreeSet::new();
    for _ in 0..4 {
        let StepNote { by, note } = notes.next().await.unwrap();
        assert_eq!(by.run, run);
        heard.insert(match note {
            Watch::Log(line) => line.message,
            Watch::Progress(progress) => format!("{} {}", by.step, progress.done),
            Watch::Retrying { .. } => panic!("steps are retried by their run"),
        });
    }
    assert_eq!(heard, ["0-1 1", "a", "c", "d"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_key_takes_one_flow_and_one_input_also_where_they_are_large() {
    let rig = Rig::new().await;
    let large = |letter: &str| json!(letter.repeat(300_000)).to_string();
    let flow = json!({"value": "${input}"});
    let first = rig.client.start(keyed(&flow, &large("a"))).await.unwrap();
    assert_eq!(rig.client.start(keyed(&flow, &large("a"))).await.unwrap(), first, "it stands in the object store");
    for (document, input, other) in [
        (&flow, large("b"), "input"),
        (&json!({"value": 1}), large("a"), "flow"),
        (&json!({"value": 1}), "1".to_owned(), "flow and input"),
    ] {
        match rig.client.start(keyed(document, &input)).await {
            Err(Error::RunKeyTaken { key, run, other: told }) => {
                assert_eq!((&*key, run, told), ("k", first.clone(), other))
            }
            refused => panic!("{refused:?}"),
        }
    }
    assert_ne!(rig.client.start(order(&flow)).await.unwrap(), first, "without a key each start is a run");
}

#[tokio::test]
async fn a_later_version_of_a_stored_flow_is_the_same_flow_under_a_key() {
    let rig = Rig::new().await;
    let name = "nightly".parse().unwrap();
    let key = || Some("k".to_owned());
    let push = async |value: u32| {
        let document = Document::from_json(&json!({"value": value})).unwrap();
        rig.client.push_flow(&name, None, &document).await.unwrap();
        let found = rig.client.order(&name, Some(&value.to_string().parse().unwrap())).await.unwrap();
        rig.client.start(Order { idempotency_key: key(), ..found }).await
    };
    let first = push(1).await.unwrap();
    assert_eq!(push(2).await.unwrap(), first);
    let bare = Order { idempotency_key: key(), ..order(&json!({"value": 2})) };
    assert!(matches!(rig.client.start(bare).await, Err(Error::RunKeyTaken { other: "flow", .. })));
}

#[tokio::test]
async fn the_labels_of_a_run_are_those_of_its_document_and_of_its_order_which_win() {
    let rig = Rig::new().await;
    let document = json!({"chain": [{"value": 1}], "labels": {"team": "a", "zone": "x"}});
    let labels = BTreeMap::from([("zone".to_owned(), "y".to_owned())]);
    let run = rig.client.start(Order { labels, ..order(&document) }).await.unwrap();
    let mut records = rig.client.run_records(&run, false).await.unwrap();
    let Event::Start(start) = records.next().await.unwrap().unwrap().record.event else { panic!("no start") };
    let told: Vec<String> = start.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(told, ["team=a", "zone=y"]);
}

#[tokio::test]
async fn all_that_is_missing_is_named_with_its_place_in_the_order_of_the_document() {
    let rig = Rig::new().await;
    let inner = Document::from_json(&json!({"chain": [{"task": "m/t"}, {"task": "m/lost"}]})).unwrap();
    rig.client.push_flow(&"inner".parse().unwrap(), None, &inner).await.unwrap();
    let document = json!({"chain": [
        {"flow": "inner@7"}, {"task": "m/lost"}, {"flow": "inner"}, {"task": "m@9/t"}, {"task": "z/t"},
        {"map": {"task": "m/lost"}, "on_failure": {"flow": "outer"}},
    ]});
    let Err(Error::Unknown(unknown)) = rig.client.start(order(&document)).await else { panic!("it was started") };
    let told: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "at /chain/0: there is no flow inner@7 (there is inner@1)",
            "at /chain/1: there is no task lost of module m@1 (there is t)",
            "at /chain/3: there is no module m@9 (there is m@1)",
            "at /chain/4: there is no module z (there is m)",
            "at /chain/5/map: there is no task lost of module m@1 (there is t)",
            "at /chain/5/on_failure: there is no flow outer (there is inner)",
            "the flow inner, at /flow/chain/1: there is no task lost of module m@1 (there is t)",
        ]
    );
    let many: Vec<Value> = (0..200).map(|number| json!({"task": format!("m{number}/t")})).collect();
    let Err(Error::Unknown(unknown)) = rig.client.start(order(&json!({"group": many}))).await else {
        panic!("it was started")
    };
    assert_eq!(unknown.len(), PROBLEMS_MAX, "what follows from the first fifty is seldom worth reading");
    assert!(rig.broker.streams.last("lvg.*.run.>").await.unwrap().is_none(), "nothing was started");
}

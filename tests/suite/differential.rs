//! The broker in memory against a real server: the same random operations, and the same answers.
//!
//! `LOVAGE_SEED` replays a run. Only what has one right answer is drawn: a message is handed back only while no other waits,
//! and taken again at once, since a server may hand out either first.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use lovage::broker::memory::Memory;
use lovage::broker::{Broker, Consumer, Deliveries, Delivery, Error, Message, Publish, Settings, Start};
use lovage::model::Tenant;
use lovage::protocol::{Headers, Stream};

use crate::conformance::soon;
use crate::support::nats::TestServer;
use crate::support::seed::{Dice, seed};

/// Operations of one run.
const OPERATIONS: usize = 600;

/// Few enough that the queue is often full.
const QUEUED_MAX: u64 = 3;

const TASKS: &str = "lvg.default.task.>";

/// Few, so that they meet.
const SUBJECTS: [&str; 10] = [
    "lvg.default.task.q.5.a",
    "lvg.default.task.q.5.b",
    "lvg.default.task.q.9.a",
    "lvg.default.task.r.5.c",
    "lvg.default.res.a",
    "lvg.default.res.b",
    "lvg.other.res.a",
    "lvg.default.log.a",
    "lvg.default.module.m.1",
    "lvg.default.nothing.a",
];

const FILTERS: [&str; 7] = [
    "lvg.default.task.*.*.a",
    "lvg.default.task.q.>",
    "lvg.default.res.*",
    "lvg.default.res.>",
    "lvg.default.log.>",
    "lvg.default.module.m.*",
    "lvg.default.nothing.>",
];

/// What is done to both brokers.
#[derive(Debug)]
enum Operation {
    Publish(Publish),
    Last(&'static str),
    Purge(&'static str),
    Read(&'static str, Start),
    Take,
    Finish(usize),
    /// Hands back what is held, and takes it again.
    HandBack(usize),
}

/// One of the two, and what was taken from it.
struct Side {
    broker: Broker,
    deliveries: Box<dyn Deliveries>,
    held: Vec<Delivery>,
}

impl Side {
    async fn new(broker: Broker) -> Self {
        let lease = Duration::from_secs(600);
        let (stream, filter) = (Stream::Task(Tenant::default_tenant()), TASKS.to_owned());
        let consumer = Consumer { stream, name: "tasks".to_owned(), filter, lease, deliveries_max: None };
        let deliveries = broker.queues.consume(&consumer).await.unwrap();
        Self { broker, deliveries, held: Vec::new() }
    }

    async fn answer(&mut self, operation: &Operation) -> String {
        let streams = &self.broker.streams;
        match operation {
            Operation::Publish(publish) => said(streams.publish(publish.clone()).await),
            Operation::Last(filter) => said(streams.last(filter).await.map(|message| message.as_ref().map(told))),
            Operation::Purge(filter) => said(streams.purge(filter).await),
            Operation::Read(filter, start) => match streams.read(filter, *start, false).await {
                Ok(reading) => said(Ok(reading.map(|message| told(&message.unwrap())).collect::<Vec<_>>().await)),
                Err(error) => said::<()>(Err(error)),
            },
            Operation::Take => self.take().await,
            Operation::Finish(held) => said(self.held.remove(*held).lease.finish().await),
            Operation::HandBack(held) => {
                let answer = said(self.held.remove(*held).lease.hand_back(Duration::ZERO).await);
                format!("{answer}, then {}", self.take().await)
            }
        }
    }
}

impl Side {
    async fn take(&mut self) -> String {
        self.deliveries.allow(1);
        let delivery = soon(self.deliveries.next()).await.unwrap();
        let answer = format!("{} {}", told(&delivery.message), delivery.count);
        self.held.push(delivery);
        answer
    }
}

/// An answer without what differs by nature: times, and the texts of errors.
fn said<T: std::fmt::Debug>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{error:?}").chars().take_while(char::is_ascii_alphabetic).collect(),
    }
}

/// A message without the server's own headers.
fn told(message: &Message) -> String {
    let mut headers: Vec<_> = message.headers.iter().filter(|(name, _)| !name.starts_with("Nats-")).collect();
    headers.sort_unstable();
    format!("{} {} {:?} {headers:?}", message.sequence, message.subject, message.payload)
}

/// Draws operations; knows the sequences that were given, so that expectations are often right.
struct Player {
    dice: Dice,
    drawn: u64,
}

impl Player {
    fn publish(&mut self, last: impl Fn(&str) -> u64) -> Operation {
        self.drawn += 1;
        let subject = self.dice.pick(&SUBJECTS);
        let expect = match self.dice.below(6) {
            0 => Some(0),
            1 | 2 => Some(last(subject)),
            3 => Some(self.dice.roll() % 20),
            _ => None,
        };
        // An id belongs to what is published once and repeated; each pool of ids is used up soon.
        let message_id = (self.dice.below(4) == 0).then(|| format!("id-{}", self.drawn / 8));
        let headers = Headers::new().with("Lovage-Task", format!("m/t{}", self.drawn)).with("Odd", "a: b;\u{e4}");
        Operation::Publish(Publish { headers, expect, message_id, ..Publish::new(subject, self.drawn.to_string()) })
    }

    fn filter(&mut self) -> &'static str {
        if self.dice.below(2) == 0 { self.dice.pick(&FILTERS) } else { self.dice.pick(&SUBJECTS) }
    }

    fn read(&mut self) -> Operation {
        let first = self.dice.roll() % 40;
        let start = if self.dice.below(2) == 0 { Start::LastPerSubject } else { Start::Sequence(first) };
        Operation::Read(self.filter(), start)
    }
}

/// Sequences of what is stored in the twin.
async fn stored(broker: &Broker, filter: &str) -> Vec<u64> {
    let reading = broker.streams.read(filter, Start::Sequence(1), false).await;
    let Ok(reading) = reading else { return Vec::new() };
    reading.map(|message| message.unwrap().sequence).collect().await
}

async fn draw(player: &mut Player, memory: &Side) -> Operation {
    let held: Vec<u64> = memory.held.iter().map(|delivery| delivery.message.sequence).collect();
    let queued = stored(&memory.broker, TASKS).await;
    let waiting = queued.iter().filter(|sequence| !held.contains(sequence)).count();
    // What was purged while it was held never comes again.
    let backs: Vec<usize> = (0..held.len()).filter(|at| queued.contains(&held[*at])).collect();
    match player.dice.below(10) {
        0 => Operation::Last(player.filter()),
        1 if player.dice.below(3) == 0 => match player.filter() {
            // Handing back after a purge beside it is not the same on both yet: a server may not hand it out again soon.
            filter if filter.contains(".task.") && !held.is_empty() => Operation::Last(filter),
            filter => Operation::Purge(filter),
        },
        1 | 2 => player.read(),
        3 | 4 if waiting > 0 => Operation::Take,
        5 if !held.is_empty() => Operation::Finish(player.dice.below(held.len())),
        6 if !backs.is_empty() && waiting == 0 => Operation::HandBack(player.dice.pick(&backs)),
        _ => {
            let lasts: Vec<(&str, u64)> = SUBJECTS
                .iter()
                .map(|subject| {
                    (*subject, stored(&memory.broker, subject).now_or_never().unwrap().last().copied().unwrap_or(0))
                })
                .collect();
            player.publish(|subject| lasts.iter().find(|(of, _)| *of == subject).map_or(0, |(_, last)| *last))
        }
    }
}

#[tokio::test]
async fn the_twin_answers_as_a_server_does() {
    let settings = Settings { queued_max: QUEUED_MAX, ..Settings::default() };
    let (server, twin) = (TestServer::start(settings).await, Memory::new());
    twin.provision(&Tenant::default_tenant(), &settings);
    let (mut memory, mut nats) = (Side::new(twin.broker()).await, Side::new(server.nats.broker()).await);
    let mut player = Player { dice: Dice(seed()), drawn: 0 };
    let mut history = Vec::new();
    for number in 0..OPERATIONS {
        let operation = draw(&mut player, &memory).await;
        let (expected, answer) = (nats.answer(&operation).await, memory.answer(&operation).await);
        history.push(format!("{operation:?}\n    {answer}"));
        let told = || history.iter().rev().take(30).rev().cloned().collect::<Vec<_>>().join("\n");
        assert_eq!(answer, expected, "operation {number}, the twin differs from the server after\n{}", told());
    }
    for kind in [
        "Publish",
        "Last",
        "Purge",
        "Read",
        "Take",
        "Finish",
        "HandBack",
        "Conflict",
        "Occupied",
        "Full",
        "duplicate: true",
    ] {
        assert!(history.iter().any(|line| line.contains(kind)), "{kind} never came up");
    }
}

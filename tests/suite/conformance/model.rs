//! The work queue of the broker in memory against a model of a few lines: random operations by several takers while time passes.
//! What one seed finds `LOVAGE_SEED` replays.
//!
//! The model knows no order but what is promised: what was handed out before comes before what is new, and new messages come in
//! the order in which they were stored.

use std::collections::BTreeMap;
use std::time::Duration;

use lovage::broker::memory::Memory;
use lovage::broker::{Consumer, Delivery, Error, Publish, Settings, Visit, Visits};
use lovage::model::{Tenant, Timestamp};
use lovage::protocol::Stream;

use super::tasks;
use crate::support::seed::{Dice, seed};

const SEEDS: u64 = 60;
const OPERATIONS: usize = 150;
const QUEUED_MAX: u64 = 6;
const LEASE: Duration = Duration::from_secs(10);

const SUBJECTS: [&str; 8] = [
    "lvg.default.task.q.5.a",
    "lvg.default.task.q.5.b",
    "lvg.default.task.q.5.c",
    "lvg.default.task.q.9.a",
    "lvg.default.task.q.0.a",
    "lvg.default.task.r.5.a",
    "lvg.default.task.r.5.b",
    "lvg.default.task.r.5.c",
];

/// What the model knows of a message that is stored.
struct Known {
    subject: &'static str,
    /// How often it was handed out.
    count: u64,
    /// Until when it is nobody else's; it waits where there is no such time.
    until: Option<Timestamp>,
}

struct World {
    memory: Memory,
    consumer: Consumer,
    takers: Vec<Box<dyn Visits>>,
    known: BTreeMap<u64, Known>,
    held: Vec<Delivery>,
    /// The sequence of the last message that was stored.
    last: u64,
    dice: Dice,
}

impl World {
    async fn new(seed: u64) -> Self {
        let memory = Memory::new();
        let settings = Settings { queued_max: QUEUED_MAX, ..Settings::default() };
        memory.provision(&Tenant::default_tenant(), &settings);
        let deliveries_max = (seed.is_multiple_of(2)).then_some(3);
        let consumer = Consumer { deliveries_max, ..tasks("lvg.default.task.>", LEASE) };
        let mut takers = Vec::new();
        for _ in 0..2 {
            takers.push(memory.broker().queues.visit(&consumer).await.unwrap());
        }
        Self { memory, consumer, takers, known: BTreeMap::new(), held: Vec::new(), last: 0, dice: Dice(seed) }
    }

    fn waits(&self, known: &Known) -> bool {
        known.until.is_none_or(|until| until <= self.memory.now())
    }

    /// Messages that were handed out and are not finished: a consumer has a bound for them.
    fn begun(&self) -> u64 {
        self.known.values().filter(|known| known.count > 0).count() as u64
    }

    async fn publish(&mut self) {
        let subject = self.dice.pick(&SUBJECTS);
        let answer = self.memory.broker().streams.publish(Publish::new(subject, "x")).await;
        if self.known.values().any(|known| known.subject == subject) {
            assert!(matches!(answer, Err(Error::Occupied { .. })), "{answer:?}");
        } else if self.known.len() as u64 >= QUEUED_MAX {
            assert!(matches!(answer, Err(Error::Full { .. })), "{answer:?}");
        } else {
            self.last += 1;
            assert_eq!(answer.unwrap().sequence, self.last);
            self.known.insert(self.last, Known { subject, count: 0, until: None });
        }
    }

    async fn take(&mut self) {
        let (taker, count) = (self.dice.below(self.takers.len()), self.dice.below(4));
        let now = self.memory.now();
        let room = self.consumer.deliveries_max.map_or(u64::MAX, |max| max.saturating_sub(self.begun()));
        let ready: Vec<(u64, bool)> = self
            .known
            .iter()
            .filter(|(_, known)| self.waits(known))
            .map(|(at, known)| (*at, known.count == 0))
            .collect();
        let again = ready.iter().filter(|(_, new)| !new).count();
        let new: Vec<u64> = ready.iter().filter(|(_, new)| *new).map(|(at, _)| *at).collect();
        let new_expected = usize::try_from(room).unwrap_or(usize::MAX).min(new.len()).min(count.saturating_sub(again));
        let Visit { deliveries: taken, left } = self.takers[taker].take(count).await.unwrap();
        let unseen = self.known.values().filter(|known| known.count == 0).count() - new_expected;
        assert_eq!(left, if taken.is_empty() { 0 } else { unseen as u64 });
        assert_eq!(taken.len(), again.min(count) + new_expected, "{ready:?}");
        let mut fresh = Vec::new();
        for delivery in taken {
            let (sequence, given) = (delivery.message.sequence, delivery.count);
            assert!(ready.iter().any(|(at, _)| *at == sequence), "{sequence} was not to be had");
            let known = self.known.get_mut(&sequence).unwrap();
            known.count += 1;
            known.until = Some(now.after(LEASE));
            assert_eq!((delivery.message.subject.as_str(), given), (known.subject, known.count));
            match given {
                1 => fresh.push(sequence),
                _ => assert!(fresh.is_empty(), "what was handed out before comes first"),
            }
            self.held.push(delivery);
        }
        assert_eq!(fresh, new[..new_expected], "new ones come in their order");
    }

    async fn let_go_of_one(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.dice.below(self.held.len());
        let now = self.memory.now();
        let (sequence, count) = (self.held[at].message.sequence, self.held[at].count);
        let delay = Duration::from_secs(self.dice.roll() % 4);
        // Whoever holds an old delivery may finish it; only the last one is handed back.
        let leased = self.known.get(&sequence).is_some_and(|known| !self.waits(known));
        match self.dice.below(3) {
            0 => {
                self.held.remove(at).lease.finish().await.unwrap();
                self.known.remove(&sequence);
            }
            1 => {
                self.held[at].lease.extend().await.unwrap();
                if let Some(known) = self.known.get_mut(&sequence).filter(|_| leased) {
                    known.until = Some(now.after(LEASE));
                }
            }
            _ => {
                self.held.remove(at).lease.hand_back(delay).await.unwrap();
                if let Some(known) = self.known.get_mut(&sequence).filter(|known| leased && known.count == count) {
                    known.until = Some(now.after(delay));
                }
            }
        }
    }

    async fn purge(&mut self) {
        let subject = self.dice.pick(&SUBJECTS);
        let purged = self.memory.broker().streams.purge(subject).await.unwrap();
        let before = self.known.len();
        self.known.retain(|_, known| known.subject != subject);
        assert_eq!(purged, (before - self.known.len()) as u64);
    }

    async fn look(&self) {
        let broker = self.memory.broker();
        let stream = Stream::Task(Tenant::default_tenant());
        assert_eq!(broker.queues.stored(&stream).await.unwrap(), self.known.len() as u64);
        let backlogs = broker.queues.backlogs(&stream).await.unwrap();
        let [(_, backlog)] = backlogs.as_slice() else { panic!("one consumer") };
        let fresh = self.known.values().filter(|known| known.count == 0).count() as u64;
        assert_eq!((backlog.waiting, backlog.out), (fresh, self.begun()), "each waits or is out, and not both");
    }

    async fn step(&mut self) {
        match self.dice.below(12) {
            0..=3 => self.publish().await,
            4..=6 => self.take().await,
            7 | 8 => self.let_go_of_one().await,
            9 if self.dice.below(3) == 0 => self.purge().await,
            _ => tokio::time::advance(Duration::from_millis(self.dice.roll() % 6_000)).await,
        }
        self.look().await;
    }

    /// Nothing that was stored is lost: what nobody finished is handed out once the leases are over.
    async fn finish_all(&mut self) {
        self.held.clear();
        while !self.known.is_empty() {
            tokio::time::advance(LEASE).await;
            for delivery in self.takers[0].take(100).await.unwrap().deliveries {
                assert!(self.known.remove(&delivery.message.sequence).is_some());
                delivery.lease.finish().await.unwrap();
            }
        }
        self.look().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_work_queue_does_what_its_model_does() {
    let first = seed();
    for seed in first..first + SEEDS {
        println!("seed {seed}");
        let mut world = World::new(seed).await;
        for _ in 0..OPERATIONS {
            world.step().await;
        }
        world.finish_all().await;
    }
}

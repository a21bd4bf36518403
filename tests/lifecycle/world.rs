//! What there is of one task in a broker and in hosts, and every step that one of them may take.
//!
//! Decisions are the library's; only the broker and the places between two of its calls are modelled. Two abstractions keep the
//! world finite: an expected sequence is "fresh" until somebody writes the record, and numbers are kept as far as they matter.

use lovage::model::lifecycle::{
    Commit, DELIVERIES_MAX, End, Record, Seen, Settled, Standing, Usage, Verdict, on_delivery, on_outcome, standing,
};
use lovage::model::signature::Options;
use lovage::model::{Failure, Kind, Outcome, Policy, TaskId, Timestamp, Value};

/// Attempts are numbered from 1; a policy here has at most three.
pub(crate) const ATTEMPTS_MAX: usize = 3;

/// Fired messages of one attempt that are told apart; more are as good as so many.
const FIRED_MAX: u8 = 2;

/// The task is wanted until then.
const EXPIRES: Timestamp = Timestamp::from_millis(10);

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ending {
    Succeeded,
    Failed,
    Lost,
    Cancelled,
    Expired,
}

/// The record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rec {
    None,
    Retrying(u8),
    Settled(Ending),
}

/// The message in the queue: its subject holds one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Queued {
    attempt: u8,
    recheck: bool,
    deliveries: u8,
    /// Whether it is under a lease.
    out: bool,
}

/// Where a host is with its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Point {
    /// It has the message and has not looked at the record.
    Took { attempt: u8, recheck: bool, delivery: u8 },
    /// It runs the attempt; `fresh` if nobody has written the record since it looked.
    Runs { attempt: u8, fresh: bool },
    /// It is about to write; where that is not fresh the write is refused, and it looks again.
    Commits { attempt: u8, write: Rec, fresh: bool },
    /// It is about to publish the schedule of an attempt.
    Schedules { next: u8 },
    /// It is about to acknowledge.
    Finishes,
}

/// A host: idle, or at a point with a message that is still in the queue or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Host {
    Idle,
    At { point: Point, holds: bool },
}

/// One who cancels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Canceller {
    Away,
    Read {
        fresh: bool,
    },
    /// It is about to purge the schedule, then what fired, then the queue.
    Purges(u8),
    Done,
}

/// All there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) record: Rec,
    queue: Option<Queued>,
    /// The attempt whose schedule is stored.
    schedule: Option<u8>,
    /// Fired messages by attempt, and whether the broker remembers that they were queued.
    fired: [[u8; 2]; ATTEMPTS_MAX],
    hosts: [Host; 2],
    canceller: Canceller,
    /// Whether the submitter has submitted the task once more.
    resubmitted: bool,
    /// Faults that may still happen; `None` is "any number".
    faults_left: Option<u8>,
}

/// One step: who did what, whether that is a fault (or a stranger's doing), and the world after it.
pub(crate) struct Step {
    pub(crate) what: &'static str,
    pub(crate) fault: bool,
    pub(crate) after: World,
}

/// The policy, and what the library's decisions are asked with.
pub(crate) struct Rules {
    pub(crate) attempts: u8,
    options: Options,
    id: TaskId,
}

impl Rules {
    pub(crate) fn new(attempts: u8) -> Self {
        let retry = Policy { attempts: attempts.into(), jitter: false, ..Policy::default() };
        let options = Options { retry, ..Options::default() };
        Self { attempts, options, id: "t".parse().unwrap() }
    }
}

impl Rec {
    /// The attempt that may run now; none after the end.
    fn attempt(self) -> u8 {
        match self {
            Self::None => 1,
            Self::Retrying(next) => next,
            Self::Settled(_) => u8::MAX,
        }
    }

    fn read(self) -> Option<Record> {
        let settled = |end| Some(Record::Settled(Settled { end, usage: Usage::default() }));
        let failed = |kind| settled(End::Failed(Failure::new(kind, "")));
        match self {
            Self::None => None,
            Self::Retrying(next) => {
                let failure = Failure::new(Kind::Returned, "");
                Some(Record::Retrying { next: next.into(), due: Timestamp::default(), failure, tried: Vec::new() })
            }
            Self::Settled(Ending::Succeeded) => settled(End::Succeeded(Value::Inline("1".into()))),
            Self::Settled(Ending::Failed) => failed(Kind::Returned),
            Self::Settled(Ending::Lost) => failed(Kind::HostLost),
            Self::Settled(Ending::Cancelled) => settled(End::Cancelled),
            Self::Settled(Ending::Expired) => settled(End::Expired),
        }
    }
}

fn settled(end: &End) -> Rec {
    Rec::Settled(match end {
        End::Succeeded(_) => Ending::Succeeded,
        End::Failed(failure) if failure.kind == Kind::HostLost => Ending::Lost,
        End::Failed(_) => Ending::Failed,
        End::Cancelled => Ending::Cancelled,
        End::Expired => Ending::Expired,
    })
}

fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap()
}

impl World {
    /// A task that was just submitted.
    pub(crate) fn submitted() -> Self {
        Self {
            record: Rec::None,
            queue: Some(Queued { attempt: 1, recheck: false, deliveries: 0, out: false }),
            schedule: None,
            fired: [[0; 2]; ATTEMPTS_MAX],
            hosts: [Host::Idle; 2],
            canceller: Canceller::Away,
            resubmitted: false,
            faults_left: None,
        }
    }

    /// A task that as many hosts have lost as may.
    pub(crate) fn often_lost() -> Self {
        let deliveries = small(u32::try_from(DELIVERIES_MAX).unwrap());
        Self { queue: Some(Queued { attempt: 1, recheck: false, deliveries, out: true }), ..Self::submitted() }
    }

    /// A task that was just submitted for later.
    pub(crate) fn delayed() -> Self {
        Self { queue: None, schedule: Some(1), ..Self::submitted() }
    }

    /// The same world, in which so many faults may happen.
    pub(crate) fn with_faults(self, left: Option<u8>) -> Self {
        Self { faults_left: left, ..self }
    }

    /// Whether any message or any host has something left to do.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = self.queue.is_some() || self.schedule.is_some() || self.has_fired();
        !waits && self.hosts == [Host::Idle; 2]
    }

    /// What is wrong with a step from `before` to this world.
    pub(crate) fn wrong_after(&self, before: &Self, rules: &Rules) -> Option<&'static str> {
        if matches!(before.record, Rec::Settled(_)) && self.record != before.record {
            return Some("a settled record changed");
        }
        if self.record != before.record && self.record.attempt() <= before.record.attempt() {
            return Some("the attempt in the record did not grow");
        }
        let number = |point: &Point| match point {
            Point::Took { attempt, .. } | Point::Runs { attempt, .. } | Point::Commits { attempt, .. } => *attempt,
            Point::Schedules { next } => *next,
            Point::Finishes => 0,
        };
        let points =
            || self.hosts.iter().filter_map(|host| if let Host::At { point, .. } = host { Some(point) } else { None });
        let recorded = if let Rec::Retrying(next) = self.record { next } else { 0 };
        let queued = self.queue.map_or(0, |queued| queued.attempt);
        let known = points().map(number).chain([recorded, queued, self.schedule.unwrap_or(0)]).max();
        if known > Some(rules.attempts) {
            return Some("an attempt is beyond the policy");
        }
        if points().any(|point| matches!(point, Point::Runs { attempt, .. } if *attempt > self.record.attempt())) {
            return Some("an attempt runs ahead of its record");
        }
        if self.is_idle() && !matches!(self.record, Rec::Settled(_)) {
            return Some("nothing is left to do and the task has not ended");
        }
        None
    }

    /// All steps from here.
    pub(crate) fn steps(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = Steps { from: *self, taken: Vec::new() };
        steps.of_the_broker();
        steps.of_the_mover();
        steps.of_the_canceller();
        for at in 0..self.hosts.len() {
            // Two hosts at the same point take the same steps.
            if at == 0 || self.hosts[at] != self.hosts[at - 1] {
                steps.of_host(at, rules);
            }
        }
        steps.taken
    }

    fn has_fired(&self) -> bool {
        self.fired != [[0; 2]; ATTEMPTS_MAX]
    }

    /// Writes the record: whatever anyone expected is not what is there any more.
    fn write(&mut self, record: Rec) {
        self.record = record;
        for host in &mut self.hosts {
            if let Host::At { point: Point::Runs { fresh, .. } | Point::Commits { fresh, .. }, .. } = host {
                *fresh = false;
            }
        }
        if let Canceller::Read { fresh } = &mut self.canceller {
            *fresh = false;
        }
    }

    /// Removes the message from the queue: whoever had it holds nothing now.
    fn unqueue(&mut self) {
        self.queue = None;
        for host in &mut self.hosts {
            match host {
                // Its acknowledgement changes nothing.
                Host::At { point: Point::Finishes, .. } => *host = Host::Idle,
                Host::At { holds, .. } => *holds = false,
                Host::Idle => {}
            }
        }
    }
}

/// The steps from one world.
struct Steps {
    from: World,
    taken: Vec<Step>,
}

impl Steps {
    fn add(&mut self, what: &'static str, fault: bool, change: impl FnOnce(&mut World)) {
        let mut after = self.from;
        if fault && let Some(left) = &mut after.faults_left {
            let Some(fewer) = left.checked_sub(1) else { return };
            *left = fewer;
        }
        change(&mut after);
        // Hosts are told apart by nothing but what they do.
        after.hosts.sort_unstable();
        if after != self.from {
            self.taken.push(Step { what, fault, after });
        }
    }

    fn of_the_broker(&mut self) {
        let World { queue, schedule, hosts, resubmitted, .. } = self.from;
        if let Some(attempt) = schedule {
            self.add("the schedule fires", false, |world| {
                world.schedule = None;
                let [fired, _] = &mut world.fired[usize::from(attempt) - 1];
                *fired = FIRED_MAX.min(*fired + 1);
            });
        }
        if let Some(queued) = queue.filter(|queued| queued.out) {
            let held = hosts.iter().any(|host| matches!(host, Host::At { holds: true, .. }));
            let what = if held { "the lease of a host that lives runs out" } else { "a lease runs out" };
            self.add(what, held, |world| world.queue = Some(Queued { out: false, ..queued }));
        }
        if queue.is_none() && !resubmitted {
            self.add("the task is submitted again", true, |world| {
                world.resubmitted = true;
                world.queue = World::submitted().queue;
            });
        }
    }

    fn of_the_mover(&mut self) {
        for (index, [new, moved]) in self.from.fired.into_iter().enumerate() {
            if new > 0 && self.from.queue.is_none() {
                self.add("the mover queues what fired", false, |world| {
                    world.fired[index] = [new - 1, FIRED_MAX.min(moved + 1)];
                    let attempt = small(u32::try_from(index).unwrap() + 1);
                    world.queue = Some(Queued { attempt, recheck: true, deliveries: 0, out: false });
                });
            }
            if moved > 0 {
                self.add("the mover acknowledges what fired", false, |world| world.fired[index] = [new, moved - 1]);
                self.add("the broker forgets the message id of what fired", true, |world| {
                    world.fired[index] = [FIRED_MAX.min(new + 1), moved - 1];
                });
            }
        }
    }

    fn of_the_canceller(&mut self) {
        let World { record, queue, schedule, canceller, .. } = self.from;
        let known = record != Rec::None || queue.is_some() || schedule.is_some() || self.from.has_fired();
        match canceller {
            Canceller::Away if known && !matches!(record, Rec::Settled(_)) => {
                self.add("a canceller reads the record", true, |world| {
                    world.canceller = Canceller::Read { fresh: true }
                });
            }
            Canceller::Read { fresh: true } => self.add("the canceller commits", false, |world| {
                world.write(Rec::Settled(Ending::Cancelled));
                world.canceller = Canceller::Purges(0);
            }),
            Canceller::Read { fresh: false } => {
                self.add("the canceller is refused", false, |world| {
                    let ended = matches!(record, Rec::Settled(_));
                    world.canceller = if ended { Canceller::Done } else { Canceller::Read { fresh: true } };
                });
            }
            Canceller::Purges(done) => self.add("the canceller purges", false, |world| {
                match done {
                    0 => world.schedule = None,
                    1 => world.fired = [[0; 2]; ATTEMPTS_MAX],
                    _ => world.unqueue(),
                }
                world.canceller = if done < 2 { Canceller::Purges(done + 1) } else { Canceller::Done };
            }),
            Canceller::Away | Canceller::Done => {}
        }
        if matches!(canceller, Canceller::Read { .. } | Canceller::Purges(_)) {
            self.add("the canceller goes away", true, |world| world.canceller = Canceller::Done);
        }
    }

    fn of_host(&mut self, at: usize, rules: &Rules) {
        let Host::At { point, holds } = self.from.hosts[at] else { return self.take(at) };
        self.add("a host crashes", true, |world| world.hosts[at] = Host::Idle);
        match point {
            Point::Took { attempt, recheck, delivery } => self.decide(at, holds, attempt, (recheck, delivery)),
            Point::Runs { attempt, fresh } => self.end(at, holds, (attempt, fresh), rules),
            Point::Commits { attempt, write, fresh } => self.commit(at, holds, attempt, write, fresh),
            Point::Schedules { next } => {
                self.add("a host schedules", false, |world| {
                    world.schedule = Some(next);
                    world.go(at, holds, Point::Finishes);
                });
                self.add("a host schedules and does not hear of it", true, |world| world.schedule = Some(next));
            }
            Point::Finishes => self.add("a host acknowledges", false, World::unqueue),
        }
    }

    fn take(&mut self, at: usize) {
        let Some(queued) = self.from.queue.filter(|queued| !queued.out) else { return };
        self.add("a host takes the message", false, |world| {
            let lost = small(u32::try_from(DELIVERIES_MAX).unwrap()) + 1;
            let deliveries = lost.min(queued.deliveries + 1);
            world.queue = Some(Queued { deliveries, out: true, ..queued });
            // Deliveries between the second and the last are alike.
            let delivery = if deliveries > 1 && deliveries < lost { 2 } else { deliveries };
            let Queued { attempt, recheck, .. } = queued;
            world.go(at, true, Point::Took { attempt, recheck, delivery });
        });
    }

    fn decide(&mut self, at: usize, holds: bool, attempt: u8, (recheck, delivery): (bool, u8)) {
        let seen = Seen {
            attempt: attempt.into(),
            delivery: delivery.into(),
            handed_back: 0,
            recheck,
            expires: Some(EXPIRES),
            timeout_at: None,
        };
        let looked = seen.needs_record();
        let record = if looked { self.from.record.read() } else { None };
        let fresh = looked || self.from.record == Rec::None;
        for (what, now) in [("a host decides", 0), ("a host decides too late", 11)] {
            let point = match on_delivery(&seen, record.as_ref(), Timestamp::from_millis(now)) {
                Verdict::Run => Point::Runs { attempt, fresh },
                Verdict::Settle(end) => Point::Commits { attempt, write: settled(&end), fresh },
                Verdict::Reschedule { next, .. } => Point::Schedules { next: small(next) },
                Verdict::Drop => Point::Finishes,
            };
            self.add(what, now > 0, |world| world.go(at, holds, point));
        }
    }

    fn end(&mut self, at: usize, holds: bool, (attempt, fresh): (u8, bool), rules: &Rules) {
        let failed = |kind| Outcome::Failed(Failure::new(kind, ""));
        let cancelled = (self.from.record == Rec::Settled(Ending::Cancelled)).then_some(failed(Kind::Cancelled));
        let outcomes = [Outcome::Output("1".into()), failed(Kind::Returned), failed(Kind::Refused)];
        for outcome in outcomes.into_iter().chain(cancelled) {
            let write = match on_outcome(outcome, &rules.options, &rules.id, attempt.into(), Timestamp::default()) {
                Commit::Succeed(_) => Rec::Settled(Ending::Succeeded),
                Commit::Settle(end) => settled(&end),
                Commit::Retry { next, .. } => Rec::Retrying(small(next)),
            };
            self.add("an attempt ends", false, |world| world.go(at, holds, Point::Commits { attempt, write, fresh }));
            // After a stall a host looks before it writes.
            let late = Point::Commits { attempt, write, fresh: false };
            self.add("an attempt ends late", true, |world| world.go(at, holds, late));
        }
    }

    fn commit(&mut self, at: usize, holds: bool, attempt: u8, write: Rec, fresh: bool) {
        if fresh {
            self.add("a host commits", false, |world| {
                world.write(write);
                let retries = if let Rec::Retrying(next) = write { Some(Point::Schedules { next }) } else { None };
                world.go(at, holds, retries.unwrap_or(Point::Finishes));
            });
            return self.add("a host commits and does not hear of it", true, |world| world.write(write));
        }
        let point = match standing(attempt.into(), self.from.record.read().as_ref()) {
            Standing::Current => Point::Commits { attempt, write, fresh: true },
            Standing::Superseded { next, .. } => Point::Schedules { next: small(next) },
            Standing::Over => Point::Finishes,
        };
        self.add("a host that was refused looks", false, |world| world.go(at, holds, point));
    }
}

impl World {
    /// Brings a host to its next point; where there is nothing to acknowledge it is idle.
    fn go(&mut self, at: usize, holds: bool, point: Point) {
        let done = point == Point::Finishes && !holds;
        self.hosts[at] = if done { Host::Idle } else { Host::At { point, holds } };
    }
}

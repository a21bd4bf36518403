//! Performs effects: each is one or a few publishes that may be repeated.
//!
//! **Invariant:** a broker that is away is waited for; what it refuses because it was there already is done.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::warn;

use super::Shared;
use crate::broker::patience::Patience;
use crate::broker::{Error, Publish, Schedule};
use crate::model::datum::Elsewhere;
use crate::model::step_life::StepEnd;
use crate::model::{Datum, Failure, Kind, RunId, StepAttempt, StepId, Tenant, Timestamp};
use crate::protocol::{Headers, limit, subject};
use crate::store::journal::{self, Written};
use crate::store::run_values;
use crate::store::values::Missing;
use crate::workflow::effect::StartChild;
use crate::workflow::journal::{CORE_VERSION, Decision, End, Ending, Parent, Pins, Question, RunLimits, Start};
use crate::workflow::timer::{Purpose, TimerId};
use crate::workflow::wire::{self, Entry, RecordName};
use crate::workflow::{Effect, Event};

mod dispatch;
mod pin;

/// How soon a full queue is tried again.
const ROOM_AFTER: Duration = Duration::from_secs(1);

/// How long hosts have to say that they run a task.
const FIND_PATIENCE: Duration = Duration::from_millis(200);

/// Something to do for a run.
#[derive(Debug)]
pub(super) enum Work {
    /// What the core asked for.
    Effect(Effect),
    /// The run's entry in lists, in place of the one with this sequence where that is known.
    List(Box<Entry>, Option<u64>),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Performed {
    /// It is done.
    Done,
    /// The value, or that there is none.
    Loaded(Elsewhere, Option<Bytes>),
    /// The queue is full: to be tried again later.
    Full {
        /// The run's retries before it.
        generation: u32,
    },
    /// The entry stands at this sequence.
    Listed(u64),
}

impl Work {
    /// Whether it comes after all that was asked for before it is done: what takes something back, and what ends the run.
    pub(super) const fn is_late(&self) -> bool {
        match self {
            Self::Effect(effect) => match effect {
                Effect::StopTimer(_)
                | Effect::Interrupt { .. }
                | Effect::Expire { .. }
                | Effect::CancelChild { .. }
                | Effect::End { .. }
                | Effect::Close { .. } => true,
                Effect::Dispatch(_)
                | Effect::StartTimer { .. }
                | Effect::Decide { .. }
                | Effect::Pin { .. }
                | Effect::Load(_)
                | Effect::StartChild(_) => false,
            },
            Self::List(..) => false,
        }
    }
}

/// Does what one run asks for. Cheap to clone.
#[derive(Clone)]
pub(super) struct Performer {
    pub(super) shared: Arc<Shared>,
    pub(super) tenant: Tenant,
    pub(super) run: RunId,
    /// What the run may call, for the children that it starts.
    pub(super) pins: Arc<Pins>,
    /// The bounds of the run, which are those of its children.
    pub(super) limits: RunLimits,
}

impl Performer {
    /// Does one thing. With `recheck` it may have been done before.
    pub(super) async fn perform(self, work: Work, recheck: bool) -> Performed {
        // A closed semaphore is none of ours: it lives as long as the process.
        let _permit = self.shared.effects.acquire().await;
        self.shared.metrics.effects.inc();
        match work {
            Work::List(entry, expected) => self.list(&entry, expected).await,
            Work::Effect(effect) => self.effect(effect, recheck).await,
        }
    }

    async fn effect(&self, effect: Effect, recheck: bool) -> Performed {
        match effect {
            Effect::Dispatch(dispatch) => return self.dispatch(&dispatch, recheck).await,
            Effect::Load(part) => return Performed::Loaded(part, self.load(&part).await),
            Effect::StartTimer { timer, due } => self.start_timer(&timer, due).await,
            Effect::StopTimer(timer) => self.purge(wire::timer_subject(&self.tenant, &self.run, &timer)).await,
            Effect::Interrupt { step, attempt } => self.interrupt(step, attempt).await,
            Effect::Expire { step, attempt } => self.expire(step, attempt).await,
            Effect::Decide { step, question, decision, generation } => {
                self.decide(step, question, decision, generation).await;
            }
            Effect::Pin { step, tasks, flows, generation } => {
                let decision = self.pin(&tasks, &flows).await;
                self.decide(step, Question::Pins, decision, generation).await;
            }
            Effect::StartChild(child) => self.start_child(*child).await,
            Effect::CancelChild { run } => {
                let event = Event::Cancel { generation: 0 };
                drop(self.write(&run, &RecordName::Cancel(0), event).await);
            }
            Effect::End { generation, end } => self.end(generation, end).await,
            Effect::Close { parent, end } => self.close(parent, &end).await,
        }
        Performed::Done
    }

    /// The value of a part that stands elsewhere; `None` if it cannot be had.
    pub(super) async fn load(&self, part: &Elsewhere) -> Option<Bytes> {
        let load = || run_values::get(&self.shared.broker, &self.tenant, &self.run, part);
        match insist("load a value", load).await {
            Ok(bytes) => Some(bytes),
            Err(missing) => {
                warn!(run = %self.run, %missing, "a value cannot be had");
                None
            }
        }
    }

    /// A value with all its parts in place; `None` where it cannot be had.
    pub(super) async fn whole(&self, value: &Datum) -> Option<Datum> {
        let load = || run_values::whole(&self.shared.broker, &self.tenant, &self.run, value);
        let text = insist("load a document", load).await.ok()?;
        Datum::parse(&text).ok()
    }

    /// Stores a timer's schedule, in place of the one that is there.
    pub(super) async fn start_timer(&self, timer: &TimerId, due: Timestamp) {
        let target = RecordName::Timer(timer.clone()).subject(&self.tenant, &self.run);
        let publish = Publish {
            subject: wire::timer_subject(&self.tenant, &self.run, timer),
            headers: wire::headers(),
            schedule: Some(Schedule { at: due, target }),
            ..Publish::default()
        };
        let store = || self.shared.broker.streams.publish(publish.clone());
        // A schedule takes the place of one that is there: neither a conflict nor an occupied subject can be the answer.
        drop(Patience::default().insist("start a timer", store).await);
    }

    /// Asks to be reminded of a full queue. `number` makes the timer one of its own.
    pub(super) async fn remind(&self, number: u64, generation: u32) {
        let timer = TimerId { step: StepId::root(), purpose: Purpose::Room(number), generation };
        self.start_timer(&timer, self.shared.broker.clock.now().after(ROOM_AFTER)).await;
    }

    async fn purge(&self, filter: String) {
        let purge = || self.shared.broker.streams.purge(&filter);
        drop(Patience::default().insist("remove what is left", purge).await);
    }

    async fn interrupt(&self, step: StepId, attempt: u32) {
        let key = StepAttempt { run: self.run.clone(), step, attempt };
        self.purge(subject::task_anywhere(&self.tenant, key.clone())).await;
        let word = subject::cancel(&self.tenant, key);
        let send = || self.shared.broker.bus.send(&word, Headers::new(), Bytes::new());
        drop(Patience::default().insist("interrupt an attempt", send).await);
    }

    /// What no host has taken up in time is removed from its queue and has failed. A host that takes it up in between finds
    /// that its outcome was written.
    async fn expire(&self, step: StepId, attempt: u32) {
        let key = StepAttempt { run: self.run.clone(), step, attempt };
        let word = subject::find(&self.tenant, key.clone());
        let ask = || self.shared.broker.bus.ask(&word, Bytes::new(), FIND_PATIENCE, 1);
        let answers = Patience::default().insist("ask who runs an attempt", ask).await;
        if answers.is_ok_and(|answers| !answers.is_empty()) {
            return;
        }
        self.purge(subject::task_anywhere(&self.tenant, key.clone())).await;
        let failure = Failure::new(Kind::Expired, "no host took it up before it expired");
        self.commit(&key, StepEnd::Failed(Failure { attempt: Some(attempt), ..failure })).await;
    }

    async fn decide(&self, step: StepId, question: Question, decision: Decision, generation: u32) {
        let name = RecordName::Decided { step: step.clone(), question, generation };
        let event = Event::Decided { step: step.clone(), question, decision, generation };
        if let Err(missing) = self.write(&self.run, &name, event).await {
            let decision = Decision::Failed(Failure::new(Kind::Limit, missing.to_string()));
            drop(self.write(&self.run, &name, Event::Decided { step, question, decision, generation }).await);
        }
    }

    async fn start_child(&self, child: StartChild) {
        let StartChild { run, parent, flow, document, input } = child;
        let (step, generation) = (parent.step.clone(), parent.generation);
        let start = Start {
            core_version: CORE_VERSION,
            run: run.clone(),
            flow: Some(flow),
            pin: Some(document.pin),
            document: document.document,
            input,
            pins: (*self.pins).clone(),
            labels: std::collections::BTreeMap::new(),
            parent: Some(parent),
            limits: self.limits,
        };
        let written = async {
            let event = self.carried(&run, Event::Start(Arc::new(start))).await?;
            self.write(&run, &RecordName::Start, event).await
        };
        // A child that cannot have its values has failed before it began.
        if let Err(missing) = written.await {
            let end = Err(Failure::new(Kind::BadInput, missing.to_string()));
            let name = RecordName::Child { step: step.clone(), generation };
            drop(self.write(&self.run, &name, Event::Child { step, generation, end }).await);
        }
    }

    async fn end(&self, generation: u32, end: End) {
        let name = RecordName::End(generation);
        if let Err(missing) = self.write(&self.run, &name, Event::End { generation, end: end.clone() }).await {
            let result = Ending::Failed(Failure::new(Kind::Limit, missing.to_string()));
            drop(self.write(&self.run, &name, Event::End { generation, end: End { result, ..end } }).await);
        }
    }

    /// Tells the parent, and removes what is left of timers and queued tasks.
    async fn close(&self, parent: Option<Parent>, end: &End) {
        if let Some(Parent { run, step, generation, .. }) = parent {
            let end = match &end.result {
                Ending::Succeeded(output) => Ok(output.clone()),
                Ending::Failed(failure) => Err(failure.clone()),
                Ending::Cancelled => Err(Failure::new(Kind::Cancelled, "the child run was cancelled")),
            };
            self.tell(&run, step, generation, end).await;
        }
        self.purge(subject::run_timers(&self.tenant, &self.run)).await;
        self.purge(limit::run_lines_anywhere(&self.tenant, &self.run)).await;
        self.purge(subject::run_tasks_anywhere(&self.tenant, &self.run)).await;
    }

    async fn tell(&self, parent: &RunId, step: StepId, generation: u32, end: Result<Datum, Failure>) {
        let name = RecordName::Child { step: step.clone(), generation };
        let told = async {
            let event = Event::Child { step: step.clone(), generation, end };
            let event = self.carried(parent, event).await?;
            self.write(parent, &name, event).await
        };
        if let Err(missing) = told.await {
            let end = Err(Failure::new(Kind::BadInput, missing.to_string()));
            drop(self.write(parent, &name, Event::Child { step, generation, end }).await);
        }
    }

    /// The event, whose values have been copied to another run.
    async fn carried(&self, to: &RunId, mut event: Event) -> Result<Event, Missing> {
        for value in wire::values_mut(&mut event) {
            let value = &*value;
            let carry = || run_values::carry(&self.shared.broker, &self.tenant, (&self.run, to), value);
            insist("copy a value", carry).await?;
        }
        Ok(event)
    }

    /// Writes a record, for as long as it takes.
    async fn write(&self, run: &RunId, name: &RecordName, event: Event) -> Result<Written, Missing> {
        let write = || journal::write(&self.shared.broker, &self.tenant, run, name, event.clone());
        insist("write a record", write).await
    }

    async fn list(&self, entry: &Entry, expected: Option<u64>) -> Performed {
        let list = || journal::list(&self.shared.broker, &self.tenant, entry, expected);
        let listed = Patience::default().insist("list a run", list).await;
        listed.map_or(Performed::Done, Performed::Listed)
    }
}

/// Repeats `operation` until the broker does it. What is missing is missing.
async fn insist<T, F, Fut>(what: &str, operation: F) -> Result<T, Missing>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Missing>>,
{
    let mut patience = Patience::default();
    loop {
        match operation().await {
            Err(Missing::Broker(Error::TooLarge { size, .. })) => {
                return Err(Missing::TooLarge(u64::try_from(size).unwrap_or(u64::MAX)));
            }
            Err(Missing::Broker(error)) => {
                warn!(%error, "failed to {what}, trying again");
                patience.wait().await;
            }
            result => return result,
        }
    }
}

//! One run in memory: folds its records in stream order and does what follows.
//!
//! **Invariant:** a record is done only when what follows from it is published. **Invariant:** a run that cannot go on is
//! paused with the reason and leaves all other runs alone.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Shared;
use super::checkpoint::Checkpoint;
use super::doorbell::Door;
use super::listing::Listing;
use super::perform::{Performed, Performer, Work};
use crate::broker::Message;
use crate::model::{RunId, Tenant, Timestamp};
use crate::workflow::journal::{Decision, Pins, RunLimits};
use crate::workflow::run::Stop;
use crate::workflow::timer::{Purpose, TimerId};
use crate::workflow::wire::{self, RecordName};
use crate::workflow::{Effect, Event, Record, Run};

mod replay;

/// Records that are folded before what follows from them is done: together they take one round trip to the broker.
const BATCH_MAX: usize = 256;

/// Effects of one run that are on their way at a time.
const EFFECTS_AT_ONCE: usize = 128;

/// How long a run that is over stays in memory: outcomes of interrupted attempts still come.
const LINGER: Duration = Duration::from_secs(2);

/// How often one record may ask for further values before its run counts as broken.
const NEEDS_MAX: usize = 64;

/// Why a run does not go on.
#[derive(Debug, thiserror::Error)]
enum Halt {
    /// A record or a core of a newer version: an update helps.
    #[error("{0}")]
    Newer(String),
    /// It never goes on by itself.
    #[error("{0}")]
    Broken(String),
}

/// What is in memory of a run.
enum State {
    /// Nothing: its records are to be read.
    Unknown,
    /// All.
    Live(Box<Run>),
    /// It cannot go on.
    Halted,
}

/// A run's actor.
pub(super) struct Actor {
    performer: Performer,
    checkpoint: Checkpoint,
    state: State,
    listing: Listing,
    /// Records up to this one may have been acted upon by another coordinator.
    head: u64,
    /// When the run was begun.
    begun: Option<Timestamp>,
    /// A watchdog that is stored only if the run lives so long, and records that are not done before it is.
    watchdog: Option<(TimerId, Timestamp)>,
    held: Vec<u64>,
}

impl Actor {
    pub(super) fn new(shared: Arc<Shared>, checkpoint: Checkpoint, tenant: Tenant, run: RunId, head: u64) -> Self {
        let listing = Listing::default();
        let (pins, limits) = (Arc::<Pins>::default(), RunLimits::default());
        let performer = Performer { shared, tenant, run, pins, limits };
        let state = State::Unknown;
        Self { performer, checkpoint, state, listing, head, begun: None, watchdog: None, held: Vec::new() }
    }

    /// Takes records until the door is closed or nothing has come for a while.
    pub(super) async fn live(mut self, mut door: Door) {
        let shared = Arc::clone(&self.performer.shared);
        shared.metrics.in_memory.inc();
        let mut batch = Vec::new();
        let mut last = Instant::now();
        // Heard while the door waits for records.
        let behind = Arc::clone(&door.missed);
        loop {
            let idle = self.idle_after(&shared);
            let wake = self.watchdog_in().map_or(last + idle, |wait| (Instant::now() + wait).min(last + idle));
            tokio::select! {
                count = door.receive(&mut batch, BATCH_MAX) => {
                    if count == 0 && door.is_closed() {
                        break;
                    }
                }
                () = behind.rung() => {}
                () = tokio::time::sleep_until(wake) => {
                    if self.watchdog_in().is_some_and(|wait| wait.is_zero()) {
                        self.store_watchdog().await;
                    } else if last.elapsed() >= idle {
                        // What was rung already is still taken.
                        door.close();
                    }
                    continue;
                }
            }
            last = Instant::now();
            let missed = behind.take();
            self.take_safely(std::mem::take(&mut batch), missed).await;
        }
        let missed = door.missed.take();
        if !missed.is_empty() {
            self.take_safely(Vec::new(), missed).await;
        }
        self.store_watchdog().await;
        shared.metrics.in_memory.dec();
    }

    fn idle_after(&self, shared: &Shared) -> Duration {
        match &self.state {
            State::Live(run) if run.is_over() => LINGER,
            State::Live(_) | State::Halted => shared.config.idle_after,
            State::Unknown => LINGER,
        }
    }

    /// A panic of the core is a broken invariant of one run.
    async fn take_safely(&mut self, batch: Vec<Message>, missed: Vec<u64>) {
        let sequences: Vec<u64> = batch.iter().map(|record| record.sequence).chain(missed.iter().copied()).collect();
        let taken = AssertUnwindSafe(self.take(batch, &missed)).catch_unwind().await;
        if taken.is_err() {
            let last = sequences.last().copied().unwrap_or(0);
            self.halt(&Halt::Broken("a broken invariant made the program panic: report it".to_owned()), last).await;
        }
        let held = self.watchdog.is_some() && self.held.is_empty();
        if held { self.held = sequences } else { self.checkpoint.done(sequences) }
    }

    async fn take(&mut self, batch: Vec<Message>, missed: &[u64]) {
        let Some(first) = batch.first().map(|record| record.sequence).or(missed.first().copied()) else { return };
        let last = batch.last().map_or(0, |record| record.sequence).max(missed.last().copied().unwrap_or(0));
        if matches!(self.state, State::Halted) && batch.iter().any(is_resume) {
            self.state = State::Unknown;
        }
        let taken = match &self.state {
            State::Halted => Ok(()),
            State::Unknown if missed.is_empty() && self.is_fresh(&batch) => self.begin(batch).await,
            State::Unknown => self.read_all(first, false).await,
            State::Live(run) if missed.is_empty() => {
                let folded = run.folded();
                let batch = batch.into_iter().filter(|record| record.sequence > folded).collect();
                self.fold(batch).await
            }
            State::Live(run) => {
                let from = run.folded().saturating_add(1);
                self.read_on(from).await
            }
        };
        let taken = match taken {
            Err(Folding::Replay) => self.read_all(first, true).await,
            other => other,
        };
        match taken {
            Ok(()) => {}
            Err(Folding::Halt(halt)) => self.halt(&halt, last).await,
            Err(Folding::Replay) => {
                self.halt(&Halt::Broken("a replay asks for a replay".to_owned()), last).await;
            }
        }
        if matches!(&self.state, State::Live(run) if run.is_over()) {
            self.watchdog = None;
        }
        if self.watchdog.is_none() {
            self.checkpoint.done(std::mem::take(&mut self.held));
        }
    }

    /// Whether the first of these records is the first of its run, which nobody has acted upon: then nothing is to be read. A
    /// child may have been cancelled before it was started.
    fn is_fresh(&self, batch: &[Message]) -> bool {
        batch.first().is_some_and(|record| {
            record.sequence > self.head && matches!(wire::name(&record.subject), Ok(RecordName::Start))
        })
    }

    async fn begin(&mut self, batch: Vec<Message>) -> Result<(), Folding> {
        let Some(first) = batch.first() else { return Ok(()) };
        let (event, first) = (decode(first)?, first.sequence);
        if !matches!(&event, Event::Start(start) if start.parent.is_none()) {
            return self.read_all(first, false).await;
        }
        let run = self.new_run(event, false).await?;
        self.state = State::Live(Box::new(run));
        self.fold(batch).await
    }

    /// A run from its start record.
    async fn new_run(&mut self, event: Event, remembering: bool) -> Result<Run, Folding> {
        let Event::Start(start) = self.with_document(event).await? else {
            return Err(broken("the journal does not begin with its start"));
        };
        if start.run != self.performer.run {
            return Err(broken("the start record names another run"));
        }
        self.performer.pins = Arc::new(start.pins.clone());
        self.performer.limits = start.limits;
        let run = if remembering { Run::remembering(&start) } else { Run::new(&start) };
        run.map_err(|stop| halted(&stop))
    }

    /// The event with its document, which the core reads in memory.
    async fn with_document(&self, mut event: Event) -> Result<Event, Folding> {
        if let Some(document) = wire::document_mut(&mut event)
            && !document.elsewhere().is_empty()
        {
            *document = self.performer.whole(document).await.ok_or_else(|| broken("its document is gone"))?;
        }
        Ok(event)
    }

    /// Folds records that follow those that were folded, and does what follows from them.
    async fn fold(&mut self, batch: Vec<Message>) -> Result<(), Folding> {
        let mut work: Vec<(Work, bool)> = Vec::new();
        let mut result = Ok(());
        for message in batch {
            match self.fold_one(&message, true).await {
                Ok((effects, again)) => {
                    self.listing.count(&self.performer.shared.metrics);
                    work.extend(effects.into_iter().map(|effect| (Work::Effect(effect), again)));
                }
                Err(stop) => {
                    result = Err(stop);
                    break;
                }
            }
        }
        if let Some((entry, expected)) = self.listing.take() {
            work.insert(0, (Work::List(entry, expected), false));
        }
        // What was folded before a record that cannot be is done all the same.
        self.perform(work).await;
        result
    }

    /// Folds one record. Says what follows from it, and whether that may have been done before.
    async fn fold_one(&mut self, message: &Message, ask: bool) -> Result<(Vec<Effect>, bool), Folding> {
        let event = self.with_document(decode(message)?).await?;
        let bytes = message.payload.len().saturating_add(message.subject.len());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let record = Record { sequence: message.sequence, time: message.time, bytes, event };
        let again = matches!(
            &record.event,
            Event::Timer(TimerId { purpose: Purpose::Watchdog(_) | Purpose::Room(_), .. }) | Event::Resume
        );
        let mut effects = Vec::new();
        for _ in 0..NEEDS_MAX {
            let State::Live(run) = &mut self.state else { return Ok((effects, again)) };
            let applied = if ask { run.apply(&record) } else { run.replay(&record).map(|()| Vec::new()) };
            match applied {
                Ok(more) => {
                    effects.extend(more);
                    self.note(&record);
                    return Ok((effects, again));
                }
                Err(Stop::Needs(parts)) => {
                    for part in parts {
                        let bytes = self.performer.load(&part).await;
                        let State::Live(run) = &mut self.state else { break };
                        effects.extend(match &bytes {
                            Some(bytes) => run.provide(part.digest, bytes),
                            None => run.cannot_provide(part.digest),
                        });
                    }
                }
                Err(stop) => return Err(halted(&stop)),
            }
        }
        Err(broken("a record asks for values again and again"))
    }

    /// What a record means beside the core.
    fn note(&mut self, record: &Record) {
        self.performer.shared.metrics.folded.inc();
        let State::Live(run) = &self.state else { return };
        self.listing.note(record, run);
        if matches!(&record.event, Event::Start(_)) {
            self.begun = Some(record.time);
        }
        if let Event::Decided { decision: Decision::Pins(found), .. } = &record.event {
            let pins = Arc::make_mut(&mut self.performer.pins);
            for (name, pin) in &found.modules {
                pins.modules.entry(name.clone()).or_insert_with(|| pin.clone());
            }
            for (name, flow) in &found.flows {
                pins.flows.entry(name.clone()).or_insert_with(|| flow.clone());
            }
        }
    }

    /// Does all of this, in stages: what takes something back comes after what was asked for before it.
    async fn perform(&mut self, work: Vec<(Work, bool)>) {
        let mut work = VecDeque::from(work);
        while let Some((first, _)) = work.front() {
            let late = first.is_late();
            let mut stage = Vec::new();
            while let Some((next, again)) = work.pop_front_if(|(next, _)| next.is_late() == late) {
                if let Some(next) = self.postponed(next) {
                    stage.push((next, again));
                }
            }
            // What doing one takes is some KiB, which only those under way need.
            let performer = self.performer.clone();
            let begun = stage.into_iter().map(|(next, again)| performer.clone().perform(next, again));
            let mut under_way = futures::stream::iter(begun).buffer_unordered(EFFECTS_AT_ONCE);
            let mut full = None;
            while let Some(performed) = under_way.next().await {
                match performed {
                    Performed::Done => {}
                    Performed::Listed(sequence) => self.listing.stands_at(sequence),
                    Performed::Full { generation } => full = Some(generation),
                    Performed::Loaded(part, bytes) => {
                        let State::Live(run) = &mut self.state else { continue };
                        let more = match &bytes {
                            Some(bytes) => run.provide(part.digest, bytes),
                            None => run.cannot_provide(part.digest),
                        };
                        work.extend(more.into_iter().map(|effect| (Work::Effect(effect), false)));
                    }
                }
            }
            drop(under_way);
            if let (Some(generation), State::Live(run)) = (full, &self.state) {
                info!(run = %self.performer.run, "a queue is full, trying again soon");
                self.performer.remind(run.folded(), generation).await;
            }
        }
    }

    /// The work, unless it is a watchdog of a young run, which most runs never need.
    fn postponed(&mut self, work: Work) -> Option<Work> {
        let Work::Effect(Effect::StartTimer { timer: TimerId { purpose: Purpose::Watchdog(_), .. }, .. }) = &work
        else {
            return Some(work);
        };
        let Work::Effect(Effect::StartTimer { timer, due }) = work else { return None };
        self.watchdog = Some((timer, due));
        if self.watchdog_in().is_some_and(|wait| !wait.is_zero()) {
            return None;
        }
        let (timer, due) = self.watchdog.take()?;
        Some(Work::Effect(Effect::StartTimer { timer, due }))
    }

    /// How long until the watchdog is stored.
    fn watchdog_in(&self) -> Option<Duration> {
        self.watchdog.as_ref()?;
        let shared = &self.performer.shared;
        let age = self.begun.map_or(Duration::MAX, |begun| shared.broker.clock.now().since(begun));
        Some(shared.config.watchdog_after.saturating_sub(age))
    }

    async fn store_watchdog(&mut self) {
        if let Some((timer, due)) = self.watchdog.take() {
            self.performer.start_timer(&timer, due).await;
        }
        self.checkpoint.done(std::mem::take(&mut self.held));
    }

    /// Pauses the run with the reason.
    async fn halt(&mut self, halt: &Halt, sequence: u64) {
        let run = &self.performer.run;
        match halt {
            Halt::Newer(_) => warn!(%run, %halt, "left a run alone"),
            Halt::Broken(_) => error!(%run, %halt, "paused a run that cannot go on"),
        }
        self.performer.shared.metrics.broken.inc();
        self.state = State::Halted;
        self.watchdog = None;
        self.listing.halted(&self.performer.run, halt.to_string(), sequence);
        if let Some((entry, expected)) = self.listing.take() {
            drop(self.performer.clone().perform(Work::List(entry, expected), false).await);
        }
    }
}

/// Why records were not folded to their end.
enum Folding {
    /// The run stops here.
    Halt(Halt),
    /// It must be read again, remembering all.
    Replay,
}

fn broken(reason: &str) -> Folding {
    Folding::Halt(Halt::Broken(reason.to_owned()))
}

fn halted(stop: &Stop) -> Folding {
    match stop {
        Stop::Replay => Folding::Replay,
        Stop::Newer(_) => Folding::Halt(Halt::Newer(stop.to_string())),
        Stop::Needs(_) | Stop::Broken(_) => Folding::Halt(Halt::Broken(stop.to_string())),
    }
}

fn decode(message: &Message) -> Result<Event, Folding> {
    let newer = |reason: String| Folding::Halt(Halt::Newer(reason));
    let name = wire::name(&message.subject).map_err(|unknown| newer(unknown.to_string()))?;
    wire::decode(&name, &message.headers, &message.payload).map_err(|rejection| {
        let reason = format!("the record {name} at {}: {rejection}", message.sequence);
        if wire::is_newer(&rejection) { newer(reason) } else { broken(&reason) }
    })
}

fn is_resume(message: &Message) -> bool {
    matches!(wire::name(&message.subject), Ok(RecordName::Resume(_)))
}

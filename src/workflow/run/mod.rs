//! One run: its journal in, effects out.
//!
//! | this module owns | its driver owns |
//! |---|---|
//! | order, failure, joins, retries, cancellation, compensation: what follows from each record | reading records in stream order, doing what effects say, as often as needed |
//!
//! The driver folds every record of the run, in the order of the stream, with [`Run::apply`], and does the effects that it gets.
//! After a replay, and whenever something may have been lost, it does those of [`Run::outstanding`] again.
//!
//! What a driver owes a run, and what it may rely on, each with a test that bites where it is not kept:
//!
//! 1. An effect is done only for records that are in the journal, and may be done again: its identity is `run/step/attempt`.
//!    `what_is_outstanding_is_asked_for_again_and_again_the_same`, `two_who_hold_the_same_partitions_do_no_harm`
//! 2. A delivery is a doorbell: whoever takes a run over, or has it not in memory, reads its records and folds them in stream order.
//!    `a_restarted_coordinator_goes_on_from_its_checkpoint`, `a_run_that_left_memory_comes_back`
//! 3. A record for a step that has ended, or for an attempt that is not the current one, changes nothing.
//!    `a_word_of_an_attempt_that_is_over_changes_nothing`
//! 4. The run alone decides the next attempt of a step: hosts commit the outcome of every attempt, failures too.
//!    `a_failure_is_committed_and_left_to_others`
//! 5. A record is done with only when its effects are published; a full queue is tried again by a timer, and stalls no other run.
//!    `a_checkpoint_waits_for_the_oldest_record_in_work`, `a_full_queue_delays_its_run_and_no_other`
//! 6. A run with work outstanding has a watchdog: no message that was lost hangs it.
//!    `a_watchdog_asks_again_for_what_was_lost`, `a_lost_task_is_queued_again_by_the_watchdog`
//! 7. The time of a run is the largest timestamp that it has folded, and never goes back; a timer's record is the proof that it is
//!    due. `the_time_of_a_run_never_goes_back`, `a_timer_of_an_earlier_life_is_none_of_this_one`
//! 8. A cancel is a record first. What runs and can be undone is awaited, within bounds; what undoes is immune to it.
//!    `a_running_step_with_a_compensation_is_awaited_and_undone`, `an_outcome_that_never_comes_is_not_awaited_for_ever`,
//!    `compensations_are_immune_to_cancel`
//! 9. The start record freezes flow and versions; an older journal is folded to the same effects, a newer one is left to others.
//!    `an_upload_changes_nothing_of_a_run_under_way`, `each_kind_of_node_has_its_golden_transcript`,
//!    `a_run_of_a_newer_core_is_left_to_others`
//! 10. What breaks a run pauses that run, with its reason, and no other.
//!     `a_corrupted_record_pauses_its_run_with_the_reason_and_no_other`
//!
//! **Invariant:** the same records lead to the same state, whoever folds them and whenever.
//! **Invariant:** nothing is decided but by a record; effects are only ever asked for.

mod begin;
mod cancel;
mod decide;
mod effects;
mod finish;
mod frame;
mod invariant;
mod join;
mod legality;
mod outcome;
mod retry;
mod scope;
mod settle;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::effect::Effect;
use super::flow::Document;
use super::journal::{CORE_VERSION, Event, Pins, Question, Record, Start};
use super::plan::Plan;
use super::timer::{Purpose, TimerId};
use crate::model::datum::Elsewhere;
use crate::model::{Datum, Digest, Failure, SignalName, StepId, Timestamp};

use finish::{Finish, Undo};
use frame::{Frame, Key};
use legality::{Ruling, Stage};
use retry::Memory;
use scope::Scopes;

pub use super::state::RunState;
pub use view::{Change, Skipped, StepState, Waiting};

/// The first watchdog looks after so long, each further one after twice as long.
const WATCHDOG_FIRST: Duration = Duration::from_secs(600);

/// The longest time between two looks of the watchdog.
const WATCHDOG_MAX: Duration = Duration::from_secs(3600);

/// Why a record was not folded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// Values must be provided first; nothing has changed, and the record is to be applied again.
    #[error("values must be loaded first")]
    Needs(Vec<Elsewhere>),
    /// The run must be replayed from its start by [`Run::remembering`]; nothing has changed.
    #[error("the run must be replayed from its start")]
    Replay,
    /// The journal is of a newer core: another coordinator can go on with it.
    #[error("the run is of core version {0}, newer than this program's {CORE_VERSION}: update it")]
    Newer(u32),
    /// The run cannot go on: it stays where it is, with this reason.
    #[error("{0}")]
    Broken(String),
}

/// A run. See the module's documentation for what its driver owes it.
#[derive(Clone, Debug)]
pub struct Run {
    start: Arc<Start>,
    plan: Arc<Plan>,
    pins: Pins,
    stage: Stage,
    generation: u32,
    paused: bool,
    time: Timestamp,
    started: Timestamp,
    folded: u64,
    journal_bytes: u64,
    steps: u64,
    signals: u64,
    watchdog: (u32, Timestamp),

    frames: BTreeMap<Key, Frame>,
    by_step: BTreeMap<StepId, Key>,
    next_key: Key,
    scopes: Scopes,
    kept_signals: BTreeMap<SignalName, VecDeque<Datum>>,
    waiting: BTreeMap<SignalName, VecDeque<Key>>,
    /// Child runs that were cancelled and have not ended, so far as is known.
    cancelled_children: BTreeSet<crate::model::RunId>,

    undo: Vec<Undo>,
    finish: Finish,
    memory: Option<Memory>,

    /// Values that were provided, for as long as a frame looks into them.
    loaded: BTreeMap<Digest, Option<Bytes>>,

    agenda: VecDeque<Job>,
    /// What was begun by this record: what it asks for is said when the record is folded.
    fresh: BTreeSet<(Key, effects::Aspect)>,
    emitted: Vec<Effect>,
    changes: Option<Vec<Change>>,
}

/// Something to do before a record is folded to its end: what would be a recursion without bound.
#[derive(Clone, Debug)]
enum Job {
    /// A frame begins.
    Begin(Key),
    /// What a frame runs has ended.
    Settle(Key, Result<Datum, Failure>),
}

impl Run {
    /// A run before its first record, which is its start record: fold it first.
    ///
    /// # Errors
    /// A document that is no flow, or of a newer core.
    pub fn new(start: &Arc<Start>) -> Result<Self, Stop> {
        if start.core_version > CORE_VERSION {
            return Err(Stop::Newer(start.core_version));
        }
        let plan = plan(&start.document).map_err(|problem| Stop::Broken(format!("the start record: {problem}")))?;
        Ok(Self {
            start: Arc::clone(start),
            plan: Arc::new(plan),
            pins: start.pins.clone(),
            stage: Stage::Fresh,
            generation: 0,
            paused: false,
            time: Timestamp::default(),
            started: Timestamp::default(),
            folded: 0,
            journal_bytes: 0,
            steps: 0,
            signals: 0,
            watchdog: (0, Timestamp::default()),
            frames: BTreeMap::new(),
            by_step: BTreeMap::new(),
            next_key: 0,
            scopes: Scopes::default(),
            kept_signals: BTreeMap::new(),
            waiting: BTreeMap::new(),
            cancelled_children: BTreeSet::new(),
            undo: Vec::new(),
            finish: Finish::default(),
            memory: None,
            loaded: BTreeMap::new(),
            agenda: VecDeque::new(),
            fresh: BTreeSet::new(),
            emitted: Vec::new(),
            changes: None,
        })
    }

    /// The same, remembering all that succeeds, so that a retry can be folded: takes memory for every step.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn remembering(start: &Arc<Start>) -> Result<Self, Stop> {
        Ok(Self { memory: Some(Memory::default()), ..Self::new(start)? })
    }

    /// Says from now on what becomes of each step ([`Self::take_changes`]): for those who show runs.
    pub fn watch(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// Folds a record and says what is to be done. Records come in the order of the stream; those that were folded already
    /// change nothing.
    ///
    /// # Errors
    /// [`Stop`]
    pub fn apply(&mut self, record: &Record) -> Result<Vec<Effect>, Stop> {
        self.fold(record)?;
        Ok(self.take_effects())
    }

    /// Folds a record without asking for anything: what is outstanding at the end of a replay is asked for then.
    ///
    /// # Errors
    /// [`Stop`]
    pub fn replay(&mut self, record: &Record) -> Result<(), Stop> {
        self.fold(record)?;
        self.fresh.clear();
        self.emitted.clear();
        Ok(())
    }

    fn fold(&mut self, record: &Record) -> Result<(), Stop> {
        if record.sequence <= self.folded {
            return Ok(());
        }
        match legality::rule(self.stage, &record.event, self.generation) {
            Ruling::Fold => {}
            Ruling::Ignore => {
                self.pass(record);
                return Ok(());
            }
            Ruling::Break(reason) => return Err(Stop::Broken(reason.to_owned())),
        }
        self.ready_for(&record.event)?;
        self.pass(record);
        self.take(&record.event)?;
        self.work_off();
        if self.journal_bytes > self.start.limits.journal_bytes_max && self.stage == Stage::Running {
            self.fail_run(&format!("the journal has more than {} bytes", self.start.limits.journal_bytes_max));
            self.work_off();
        }
        self.advance();
        self.check()
    }

    /// Time, place and size go on with every record.
    fn pass(&mut self, record: &Record) {
        self.folded = record.sequence;
        self.time = self.time.max(record.time);
        self.journal_bytes = self.journal_bytes.saturating_add(record.bytes);
    }

    fn take(&mut self, event: &Event) -> Result<(), Stop> {
        match event {
            Event::Start(_) => self.begin_run(),
            Event::Outcome { step, attempt, outcome } => self.take_outcome(step, *attempt, outcome),
            Event::Timer(timer) => self.take_timer(timer),
            Event::Decided { step, question, decision, generation } => {
                // What an earlier life asked may have been about another value.
                if *generation == self.generation {
                    self.take_decision(step, *question, decision)?;
                }
            }
            Event::Child { step, generation, end } => self.take_child(step, *generation, end),
            Event::Signal { name, payload } => self.take_signal(name, payload),
            Event::Cancel { .. } => self.cancel_run(),
            Event::Pause => self.paused = true,
            Event::Resume => self.resume(),
            Event::Retry => self.begin_again()?,
            Event::End { end, .. } => self.take_end(end),
        }
        Ok(())
    }

    fn work_off(&mut self) {
        while let Some(job) = self.agenda.pop_front() {
            match job {
                Job::Begin(key) => self.begin(key),
                Job::Settle(key, result) => self.settle(key, result),
            }
        }
    }

    fn resume(&mut self) {
        self.paused = false;
        self.release_held();
    }

    /// Takes a value that [`Effect::Load`] or [`Stop::Needs`] asked for; its bytes are JSON, or the value counts as lost.
    pub fn provide(&mut self, digest: Digest, bytes: &Bytes) -> Vec<Effect> {
        let whole = Datum::parse(bytes).ok().map(|datum| datum.text().clone());
        self.loaded.insert(digest, whole);
        self.look_again()
    }

    /// A value cannot be had: the steps that look into it fail.
    pub fn cannot_provide(&mut self, digest: Digest) -> Vec<Effect> {
        self.loaded.insert(digest, None);
        self.look_again()
    }

    /// The sequence of the last record that was folded.
    #[must_use]
    pub const fn folded(&self) -> u64 {
        self.folded
    }

    /// Whether its end record was folded, and no retry after it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Succeeded | Stage::Ended)
    }

    /// Core time: the largest timestamp seen so far.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The run's retries so far.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// What the run is from its beginning.
    #[must_use]
    pub const fn start(&self) -> &Arc<Start> {
        &self.start
    }

    fn timer(&self, step: &StepId, purpose: Purpose) -> TimerId {
        TimerId { step: step.clone(), purpose, generation: self.generation }
    }
}

/// The plan of a document's JSON.
fn plan(document: &Datum) -> Result<Plan, String> {
    let json = document.to_json().ok_or("the document is not whole")?;
    match Document::from_json(&json) {
        Ok(document) => Ok(Plan::new(&document)),
        Err(problems) => Err(problems.first().map_or_else(String::new, ToString::to_string)),
    }
}

//! Schedules: made, changed and asked by people; what they start is started here too.
//!
//! **Invariant:** a schedule is one message, and every change of it expects the one before: nothing that was decided is lost.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use super::{Client, Error, Place};
use crate::broker::{self, Message, Publish, Start as From};
use crate::model::schedule::{Cause, Overlap, Paused, Progress, Rules, Slot, WAITING_MAX, Waiting};
use crate::model::signature::LABELS_MAX;
use crate::model::{RunId, ScheduleName, TaskId, Timestamp, Value, Word};
use crate::protocol::schedule::{Call, INPUT_BYTES_MAX, SCHEDULE_LABEL, SLOT_LABEL, Schedule, Stored, What};
use crate::protocol::subject;
use crate::store::catalogue::Unresolved;
use crate::store::values::Missing;

/// How often a change is tried again when others change the schedule at the same time.
const TRIES_MAX: u32 = 32;

/// How long the mark of a removed schedule stays, so that whoever knows the schedule hears that it is gone.
const REMOVED_TTL: Duration = Duration::from_secs(24 * 3600);

/// The longest note of a pause, in bytes.
pub const NOTE_LEN_MAX: usize = 400;

/// A schedule that is to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: ScheduleName,
    /// When it starts something.
    pub rules: Rules,
    /// What it starts.
    pub what: What,
    /// Slots count from this time on; from now where it is not given.
    pub from: Option<Timestamp>,
    /// Whether it takes the place of one that is there: what that has started stays known.
    pub replace: bool,
}

/// A schedule and its place in the stream.
type Seen = Option<(Schedule, u64)>;

impl Client {
    /// Makes a schedule, once all that it names was found.
    ///
    /// # Errors
    /// Rules without a slot to come, an unknown task or flow, a schedule of this name, and what the broker fails with.
    pub async fn create_schedule(&self, draft: Draft) -> Result<Schedule, Error> {
        let Draft { name, rules, what, from, replace } = draft;
        self.check_what(&what).await?;
        let now = self.broker.clock.now();
        let decided = from.map_or(now, |from| Timestamp::from_millis(from.as_millis().saturating_sub(1)));
        let progress = Progress::new(decided);
        let life = self.new_word();
        let mut schedule = Schedule { name, life, created: now, rules, what, paused: None, progress };
        let calendar = schedule.calendar()?;
        let course = schedule.course(&calendar);
        if course.next(decided).is_none() {
            return Err(course.never(decided).into());
        }
        for _ in 0..TRIES_MAX {
            let (before, sequence) = self.look_at(&schedule.name).await?;
            if let Some(before) = before {
                if !replace {
                    return Err(Error::ScheduleThere(schedule.name));
                }
                schedule.life = before.life;
                schedule.created = before.created;
                schedule.paused = before.paused;
                schedule.progress = Progress { decided, ..before.progress };
            }
            if self.write_schedule(&schedule, sequence).await?.is_some() {
                return Ok(schedule);
            }
        }
        Err(self.contended(&schedule.name))
    }

    /// A schedule.
    ///
    /// # Errors
    /// That there is none, and what the broker fails with.
    pub async fn schedule(&self, name: &ScheduleName) -> Result<Schedule, Error> {
        self.look_at(name).await?.0.ok_or_else(|| Error::ScheduleNotFound(name.clone()))
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// What the broker fails with, and a record that cannot be read.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        let all = subject::all_recurring(&self.tenant);
        let mut messages = self.broker.streams.read(&all, From::LastPerSubject, false).await?;
        let mut schedules = Vec::new();
        while let Some(message) = messages.next().await {
            if let Some((schedule, _)) = read(&message?)? {
                schedules.push(schedule);
            }
        }
        schedules.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(schedules)
    }

    /// Pauses a schedule: its slots pass until it is resumed. One that is paused takes the new note.
    ///
    /// # Errors
    /// An unknown schedule, a note that is too long, and what the broker fails with.
    pub async fn pause_schedule(&self, name: &ScheduleName, note: &str) -> Result<(), Error> {
        if note.len() > NOTE_LEN_MAX {
            return Err(Error::Refused(format!("a note takes up to {NOTE_LEN_MAX} bytes")));
        }
        let now = self.broker.clock.now();
        let pause = |schedule: &mut Schedule| {
            let since = schedule.paused.as_ref().map_or(now, |paused| paused.since);
            schedule.paused = Some(Paused { since, note: note.to_owned() });
            Ok(())
        };
        self.change_schedule(name, pause).await
    }

    /// Resumes a schedule with its next slot; those that passed meanwhile do not start (a backfill starts them).
    ///
    /// # Errors
    /// An unknown schedule, and what the broker fails with.
    pub async fn resume_schedule(&self, name: &ScheduleName) -> Result<(), Error> {
        let now = self.broker.clock.now();
        let resume = |schedule: &mut Schedule| {
            if schedule.paused.take().is_some() {
                schedule.progress.decided = schedule.progress.decided.max(now);
            }
            Ok(())
        };
        self.change_schedule(name, resume).await
    }

    /// Asks for a start now, also of a paused schedule: the slot, whose id tells what becomes of it.
    ///
    /// # Errors
    /// An unknown schedule, too many starts that wait, and what the broker fails with.
    pub async fn trigger_schedule(
        &self,
        name: &ScheduleName,
        overlap: Option<Overlap>,
    ) -> Result<(RunId, Slot), Error> {
        let slot = Slot { at: self.broker.clock.now(), cause: Cause::Trigger(self.new_word()) };
        let ids = self.ask_schedule(name, std::slice::from_ref(&slot), overlap).await?;
        let id = ids.into_iter().next().unwrap_or_else(|| unreachable!("there is an id for each slot"));
        Ok((id, slot))
    }

    /// Asks for the starts of all slots of the past from `from` to `to`, both included; what `overlap` says holds between them.
    ///
    /// # Errors
    /// An unknown schedule, a range without slots, with too many or of the future, and what the broker fails with.
    pub async fn backfill_schedule(
        &self,
        name: &ScheduleName,
        from: Timestamp,
        to: Timestamp,
        overlap: Overlap,
    ) -> Result<Vec<(RunId, Timestamp)>, Error> {
        let refused = |why: String| Err(Error::Refused(why));
        if to > self.broker.clock.now() {
            return refused("a backfill is of the past: the slots to come start by themselves".to_owned());
        }
        let calendar = self.schedule(name).await?.calendar()?;
        let times = calendar.between(from, to, WAITING_MAX + 1);
        if times.is_empty() {
            return refused(format!("there is no slot from {from} to {to}"));
        }
        if times.len() > WAITING_MAX {
            return refused(format!("there are more than {WAITING_MAX} slots from {from} to {to}: do it in parts"));
        }
        let word = self.new_word();
        let slots: Vec<Slot> = times.iter().map(|at| Slot { at: *at, cause: Cause::Backfill(word.clone()) }).collect();
        let ids = self.ask_schedule(name, &slots, Some(overlap)).await?;
        Ok(ids.into_iter().zip(times).collect())
    }

    /// Removes a schedule. What it started goes on.
    ///
    /// # Errors
    /// An unknown schedule, and what the broker fails with.
    pub async fn remove_schedule(&self, name: &ScheduleName) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            let (Some(_), sequence) = self.look_at(name).await? else {
                return Err(Error::ScheduleNotFound(name.clone()));
            };
            let publish = Publish {
                expect: Some(sequence),
                ttl: Some(REMOVED_TTL),
                ..Publish::new(subject::recurring(&self.tenant, name), Stored::removed())
            };
            match self.broker.streams.publish(publish).await {
                Ok(_) => return Ok(()),
                Err(broker::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.contended(name))
    }

    async fn ask_schedule(
        &self,
        name: &ScheduleName,
        slots: &[Slot],
        overlap: Option<Overlap>,
    ) -> Result<Vec<RunId>, Error> {
        let ask = |schedule: &mut Schedule| {
            if schedule.progress.waiting.len() + slots.len() > WAITING_MAX {
                return Err(Error::Refused(format!("more than {WAITING_MAX} starts wait in the schedule")));
            }
            let overlap = overlap.unwrap_or(schedule.rules.overlap);
            schedule.progress.waiting.extend(slots.iter().map(|slot| Waiting { slot: slot.clone(), overlap }));
            Ok(slots.iter().map(|slot| schedule.id(&self.tenant, slot)).collect())
        };
        self.change_schedule(name, ask).await
    }

    async fn change_schedule<T>(
        &self,
        name: &ScheduleName,
        change: impl Fn(&mut Schedule) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..TRIES_MAX {
            let (Some(mut schedule), sequence) = self.look_at(name).await? else {
                return Err(Error::ScheduleNotFound(name.clone()));
            };
            let changed = change(&mut schedule)?;
            if self.write_schedule(&schedule, sequence).await?.is_some() {
                return Ok(changed);
            }
        }
        Err(self.contended(name))
    }

    /// The schedule, and the sequence that a change of it expects.
    ///
    /// # Errors
    /// What the broker fails with, and a record that cannot be read.
    pub async fn look_at(&self, name: &ScheduleName) -> Result<(Option<Schedule>, u64), Error> {
        let Some(message) = self.broker.streams.last(&subject::recurring(&self.tenant, name)).await? else {
            return Ok((None, 0));
        };
        Ok((read(&message)?.map(|(schedule, _)| schedule), message.sequence))
    }

    /// Writes a schedule in place of the one at `expected`; where that is not the last one, nothing, and `None`.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn write_schedule(&self, schedule: &Schedule, expected: u64) -> Result<Option<u64>, Error> {
        let publish = Publish {
            expect: Some(expected),
            ..Publish::new(subject::recurring(&self.tenant, &schedule.name), schedule.encode())
        };
        match self.broker.streams.publish(publish).await {
            Ok(stored) => Ok(Some(stored.sequence)),
            Err(broker::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Starts what a slot of a schedule stands for. It may be asked for again: there is one start of each slot.
    ///
    /// # Errors
    /// What a submit or the start of a run fails with.
    pub async fn start_slot(&self, schedule: &Schedule, slot: &Slot) -> Result<(), Error> {
        let id = schedule.id(&self.tenant, slot);
        let own = [(SCHEDULE_LABEL, schedule.name.to_string()), (SLOT_LABEL, slot.at.to_string())];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        match &schedule.what {
            What::Task(call) => {
                let Call { mut signature, wanted, queue, priority } = call.as_ref().clone();
                wanted.stamp(&mut signature.options, self.broker.clock.now(), None);
                signature.options.labels.extend(own);
                let id = task_id(&id);
                // It may have been submitted before by one who could not say so, and may have ended since.
                if self.record(&id).await?.is_some() {
                    return Ok(());
                }
                match self.submit_again(&id, signature, &Place { queue, priority, due: None }).await {
                    // Where its singleton is under way, the slot starts nothing.
                    Ok(()) | Err(Error::Occupied(_) | Error::UnderWay(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            What::Flow { name, version, input, labels } => {
                let mut order = self.order(name, version.as_ref()).await?;
                order.input.clone_from(input);
                order.labels.clone_from(labels);
                order.labels.extend(own);
                self.start_as(id, order).await.map(drop)
            }
        }
    }

    /// Cancels what a slot has started; it is no error if that has ended.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn cancel_slot(&self, schedule: &Schedule, slot: &Slot) -> Result<(), Error> {
        let id = schedule.id(&self.tenant, slot);
        let cancelled = match &schedule.what {
            What::Task(_) => self.cancel(&task_id(&id)).await,
            What::Flow { .. } => self.cancel_run(&id).await,
        };
        match cancelled {
            Err(Error::NotFound(_) | Error::Ended { .. } | Error::RunNotFound(_) | Error::RunEnded { .. }) => Ok(()),
            other => other,
        }
    }

    /// Whether what a slot has started is over, or no longer known.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn slot_has_ended(&self, schedule: &Schedule, slot: &Slot) -> Result<bool, Error> {
        Ok(matches!(
            self.slot_state(schedule, slot).await?.as_str(),
            "succeeded" | "failed" | "cancelled" | "expired" | "forgotten"
        ))
    }

    /// The state of what a slot has started: that of the task or the run, or `forgotten`.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn slot_state(&self, schedule: &Schedule, slot: &Slot) -> Result<String, Error> {
        use crate::workflow::journal::Ending;
        let id = schedule.id(&self.tenant, slot);
        match &schedule.what {
            What::Task(_) => match self.state(&task_id(&id)).await {
                Ok(snapshot) => Ok(snapshot.state.to_string()),
                Err(Error::NotFound(_)) => Ok("forgotten".to_owned()),
                Err(error) => Err(error),
            },
            What::Flow { .. } => match self.end(&id).await {
                Ok(None) => Ok("running".to_owned()),
                Ok(Some(end)) => Ok(match end.result {
                    Ending::Succeeded(_) => "succeeded",
                    Ending::Failed(_) => "failed",
                    Ending::Cancelled => "cancelled",
                }
                .to_owned()),
                Err(Error::RunNotFound(_)) => Ok("forgotten".to_owned()),
                Err(error) => Err(error),
            },
        }
    }

    /// Returns when what a slot has started is over, or not known.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn slot_ends(&self, schedule: &Schedule, slot: &Slot) -> Result<(), Error> {
        let id = schedule.id(&self.tenant, slot);
        let ended = match &schedule.what {
            What::Task(_) => self.wait(&task_id(&id), &mut |_| {}).await.map(drop),
            What::Flow { .. } => self.wait_run(&id).await.map(drop),
        };
        match ended {
            Err(Error::NotFound(_) | Error::RunNotFound(_)) => Ok(()),
            other => other,
        }
    }

    async fn check_what(&self, what: &What) -> Result<(), Error> {
        let labels = match what {
            What::Task(call) => &call.signature.options.labels,
            What::Flow { labels, .. } => labels,
        };
        let own = [SCHEDULE_LABEL, SLOT_LABEL];
        let others = labels.keys().filter(|key| !own.contains(&key.as_str())).count();
        if others + own.len() > LABELS_MAX {
            let most = LABELS_MAX - own.len();
            return Err(Error::Refused(format!("what a schedule starts takes up to {most} labels")));
        }
        let size = match what {
            What::Task(call) => {
                self.resolve(&call.signature.task).await?;
                match &call.signature.input {
                    Value::Inline(bytes) => bytes.len(),
                    Value::Stored { .. } => usize::MAX,
                }
            }
            What::Flow { name, version, input, .. } => {
                let mut order = self.order(name, version.as_ref()).await?;
                order.input.clone_from(input);
                self.check_order(&order).await?;
                input.as_ref().map_or(0, Bytes::len)
            }
        };
        if size > INPUT_BYTES_MAX {
            return Err(Error::InputTooLarge { size: size as u64, max: INPUT_BYTES_MAX as u64 });
        }
        Ok(())
    }

    fn new_word(&self) -> Word {
        self.new_id().as_str().parse().unwrap_or_else(|_| unreachable!("a ULID is a word"))
    }

    fn contended(&self, name: &ScheduleName) -> Error {
        broker::Error::Conflict { subject: subject::recurring(&self.tenant, name) }.into()
    }
}

impl Error {
    /// Whether the same may work later: the broker is away, or a queue is full.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let passing = |error: &broker::Error| error.is_transient() || matches!(error, broker::Error::Full { .. });
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others say what is wrong with what was asked")]
        match self {
            Self::Broker(error) | Self::Missing(Missing::Broker(error)) => passing(error),
            Self::Unresolved(unresolved) => matches!(&**unresolved, Unresolved::Broker(error) if passing(error)),
            _ => false,
        }
    }
}

/// The id of a task that a schedule starts.
#[must_use]
pub fn task_id(id: &RunId) -> TaskId {
    id.as_str().parse().unwrap_or_else(|_| unreachable!("the id of a run is a name"))
}

fn read(message: &Message) -> Result<Seen, Error> {
    match Stored::decode(&message.payload) {
        Ok(Stored::There(schedule)) => Ok(Some((*schedule, message.sequence))),
        Ok(Stored::Removed) => Ok(None),
        Err(rejection) => Err(Error::Unreadable { subject: message.subject.clone(), rejection }),
    }
}

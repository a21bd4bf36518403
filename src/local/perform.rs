//! What the core asks for, done in this process.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::driver::Driver;
use super::{Error, check};
use crate::model::{Datum, Failure, Kind, RunId, StepAttempt, StepId};
use crate::workflow::Effect;
use crate::workflow::effect::{Dispatch, StartChild};
use crate::workflow::journal::{CORE_VERSION, Decision, End, Ending, Event, Outcome, Parent, Pins, Question, Start};
use crate::workflow::timer::Purpose;
use crate::workflow::wire::RecordName;

/// The priority of a task that names none.
const PRIORITY_DEFAULT: u8 = 5;

impl Driver<'_> {
    pub(super) fn perform(&mut self, run: &RunId, effect: Effect) -> Result<(), Error> {
        match effect {
            Effect::Dispatch(task) => self.dispatch(run, task),
            Effect::StartTimer { timer, due } => match timer.purpose {
                // Nothing is lost in one process: there is nothing to look after.
                Purpose::Watchdog(_) | Purpose::Room(_) => {}
                Purpose::Delay(_)
                | Purpose::Backoff(_)
                | Purpose::Expires(_)
                | Purpose::Timeout
                | Purpose::Sleep
                | Purpose::Poll(_)
                | Purpose::Drain(_) => {
                    let fired = RecordName::Timer(timer.clone());
                    if self.lives.get(run).is_some_and(|life| !life.names.contains(&fired)) {
                        self.agenda.set(run, timer, due);
                    }
                }
            },
            Effect::StopTimer(timer) => self.agenda.stop(run, &timer),
            Effect::Interrupt { step, attempt } => self.interrupt(&StepAttempt { run: run.clone(), step, attempt }),
            Effect::Expire { step, attempt } => return self.expire(run, step, attempt),
            Effect::Decide { step, question, decision, generation } => {
                return self.decide(run, (step, question, generation), decision);
            }
            Effect::Pin { step, tasks, flows, generation } => {
                let decision = match check::pins(&self.setup.flows, self.executor, (&tasks, &flows)) {
                    Ok(pins) => Decision::Pins(Box::new(pins)),
                    Err(refusals) => {
                        let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
                        Decision::Failed(Failure::new(Kind::BadFlow, all.join("; ")))
                    }
                };
                return self.decide(run, (step, Question::Pins, generation), decision);
            }
            Effect::Load(part) => {
                let effects = self.lives.get_mut(run).map(|life| life.run.cannot_provide(part.digest));
                self.effects.extend(effects.unwrap_or_default().into_iter().map(|effect| (run.clone(), effect)));
            }
            Effect::StartChild(child) => return self.start_child(run, *child),
            Effect::CancelChild { run } => {
                return self.record(&run, RecordName::Cancel(0), Event::Cancel { generation: 0 });
            }
            Effect::End { generation, end } => {
                return self.record(run, RecordName::End(generation), Event::End { generation, end });
            }
            Effect::Close { parent, end } => return self.close(run, parent, end),
        }
        Ok(())
    }

    fn dispatch(&mut self, run: &RunId, task: Box<Dispatch>) {
        let attempt = StepAttempt { run: run.clone(), step: task.step.clone(), attempt: task.attempt };
        let name = RecordName::Step { step: task.step.clone(), attempt: task.attempt };
        let ended = self.lives.get(run).is_none_or(|life| life.names.contains(&name));
        if ended || self.queued.contains_key(&attempt) || self.under_way.contains_key(&attempt) {
            return;
        }
        self.arrived = self.arrived.saturating_add(1);
        let place = (Reverse(task.options.priority.unwrap_or(PRIORITY_DEFAULT)), self.arrived);
        self.queued.insert(attempt, place);
        self.queue.insert(place, (run.clone(), task));
    }

    /// Takes an attempt out of the queue, or stops it.
    fn interrupt(&mut self, attempt: &StepAttempt) {
        if let Some(place) = self.queued.remove(attempt) {
            self.queue.remove(&place);
        }
        match self.taking.remove(attempt) {
            Some(place) => {
                self.agenda.remove(place);
                self.under_way.remove(attempt);
            }
            None => {
                if let Some(cancel) = self.under_way.get(attempt) {
                    cancel.cancel();
                }
            }
        }
    }

    fn expire(&mut self, run: &RunId, step: StepId, attempt: u32) -> Result<(), Error> {
        let Some(place) = self.queued.remove(&StepAttempt { run: run.clone(), step: step.clone(), attempt }) else {
            return Ok(());
        };
        self.queue.remove(&place);
        let name = RecordName::Step { step: step.clone(), attempt };
        let outcome = Outcome::Failed(Failure::new(Kind::Expired, "it was not taken up in time"));
        self.record(run, name, Event::Outcome { step, attempt, outcome })
    }

    fn decide(
        &mut self,
        run: &RunId,
        (step, question, generation): (StepId, Question, u32),
        decision: Decision,
    ) -> Result<(), Error> {
        let name = RecordName::Decided { step: step.clone(), question, generation };
        self.record(run, name, Event::Decided { step, question, decision, generation })
    }

    fn start_child(&mut self, parent: &RunId, child: StartChild) -> Result<(), Error> {
        let pins = self.lives.get(parent).map_or_else(Pins::default, |life| life.run.start().pins.clone());
        self.begin(Start {
            core_version: CORE_VERSION,
            run: child.run,
            flow: Some(child.flow),
            pin: Some(child.document.pin),
            document: child.document.document,
            input: child.input,
            pins,
            labels: BTreeMap::new(),
            parent: Some(child.parent),
            limits: self.setup.limits,
        })
    }

    fn close(&mut self, run: &RunId, parent: Option<Parent>, end: End) -> Result<(), Error> {
        self.agenda.stop_all(run);
        let left: Vec<StepAttempt> = self.under_way.keys().filter(|attempt| attempt.run == *run).cloned().collect();
        left.iter().for_each(|attempt| self.interrupt(attempt));
        let Some(parent) = parent else { return Ok(()) };
        let end: Result<Datum, Failure> = match end.result {
            Ending::Succeeded(output) => Ok(output),
            Ending::Failed(failure) => Err(failure),
            Ending::Cancelled => Err(Failure::new(Kind::Cancelled, "the child run was cancelled")),
        };
        let Parent { run, step, generation, .. } = parent;
        let name = RecordName::Child { step: step.clone(), generation };
        self.record(&run, name, Event::Child { step, generation, end })
    }
}

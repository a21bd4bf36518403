//! Subjects of runs: the records of their journals, the timers that produce some of those, and what they have queued.

use std::fmt;

use crate::model::key::{counted, numbered};
use crate::model::{RunId, SignalId, StepAttempt, StepId, Tenant, Word};

/// A record of a run's journal, by its place. Each is written once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordSubject {
    /// Whose run it is.
    pub tenant: Tenant,
    /// The run.
    pub run: RunId,
    /// What of it.
    pub record: RecordName,
}

/// What a record says, by the end of its subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordName {
    /// `start`: the run begins. Written by whoever starts it.
    Start,
    /// `step.<step>.<attempt>`: an attempt ended. Written by its host.
    Step {
        /// The step.
        step: StepId,
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// `timer.<step>.<what>`: a time has come. Produced by the broker.
    Timer {
        /// The step that waited for it.
        step: StepId,
        /// Which of its timers.
        what: Word,
    },
    /// `decided.<step>.<what>`: what an expression came to. Written by the coordinator.
    Decided {
        /// The step that asked.
        step: StepId,
        /// Which of its expressions.
        what: Word,
    },
    /// `child.<step>`, and `child.<step>.<n>` after the run's n-th retry: the run that this step started has ended. Written by
    /// the coordinator of that run.
    Child {
        /// The step.
        step: StepId,
        /// The run's retries before it.
        generation: u32,
    },
    /// `signal.<id>`: somebody sent a signal. Written by whoever sends it.
    Signal(SignalId),
    /// `cancel`, and `cancel.<n>` after the n-th retry: somebody cancelled the run. Written by whoever does.
    Cancel(u32),
    /// `pause.<n>`: the n-th pause. Written by whoever pauses the run.
    Pause(u32),
    /// `resume.<n>`: the end of the n-th pause. Written by whoever resumes the run.
    Resume(u32),
    /// `retry.<n>`: a run that has ended goes on for the n-th time. Written by whoever retries it.
    Retry(u32),
    /// `end`, and `end.<n>` after the n-th retry: the run has ended. Written by the coordinator.
    End(u32),
}

impl RecordSubject {
    /// The record of an attempt's outcome.
    #[must_use]
    pub fn outcome(tenant: &Tenant, StepAttempt { run, step, attempt }: &StepAttempt) -> Self {
        let record = RecordName::Step { step: step.clone(), attempt: *attempt };
        Self { tenant: tenant.clone(), run: run.clone(), record }
    }

    /// Reads the subject of a record.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("lvg.")?.splitn(5, '.');
        let (tenant, "run", partition, run, record) =
            (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?)
        else {
            return None;
        };
        let (tenant, run): (Tenant, RunId) = (tenant.parse().ok()?, run.parse().ok()?);
        // In another partition's place it would be another subject of the same record.
        let own = partition.chars().eq([run.partition()]);
        own.then(|| RecordName::read(record)).flatten().map(|record| Self { tenant, run, record })
    }
}

/// `lvg.<t>.run.<p>.<run>.<record>`
impl fmt::Display for RecordSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, run, record } = self;
        write!(f, "lvg.{tenant}.run.{}.{run}.{record}", run.partition())
    }
}

impl RecordName {
    fn read(text: &str) -> Option<Self> {
        let mut tokens = text.split('.');
        let (kind, first, second) = (tokens.next()?, tokens.next(), tokens.next());
        if tokens.next().is_some() {
            return None;
        }
        // No retry before it is said by leaving it out.
        let generation = |token: Option<&str>| token.map_or(Some(0), counted);
        Some(match (kind, first, second) {
            ("start", None, None) => Self::Start,
            ("step", Some(step), Some(attempt)) => Self::Step { step: step.parse().ok()?, attempt: counted(attempt)? },
            ("timer", Some(step), Some(what)) => Self::Timer { step: step.parse().ok()?, what: what.parse().ok()? },
            ("decided", Some(step), Some(what)) => Self::Decided { step: step.parse().ok()?, what: what.parse().ok()? },
            ("child", Some(step), after) => Self::Child { step: step.parse().ok()?, generation: generation(after)? },
            ("signal", Some(id), None) => Self::Signal(id.parse().ok()?),
            ("cancel", after, None) => Self::Cancel(generation(after)?),
            ("pause", Some(number), None) => Self::Pause(numbered(number)?),
            ("resume", Some(number), None) => Self::Resume(numbered(number)?),
            ("retry", Some(number), None) => Self::Retry(numbered(number)?),
            ("end", after, None) => Self::End(generation(after)?),
            _ => return None,
        })
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Step { step, attempt } => write!(f, "step.{step}.{attempt}"),
            Self::Timer { step, what } => write!(f, "timer.{step}.{what}"),
            Self::Decided { step, what } => write!(f, "decided.{step}.{what}"),
            Self::Child { step, generation: 0 } => write!(f, "child.{step}"),
            Self::Child { step, generation } => write!(f, "child.{step}.{generation}"),
            Self::Signal(id) => write!(f, "signal.{id}"),
            Self::Cancel(0) => f.write_str("cancel"),
            Self::Cancel(generation) => write!(f, "cancel.{generation}"),
            Self::Pause(number) => write!(f, "pause.{number}"),
            Self::Resume(number) => write!(f, "resume.{number}"),
            Self::Retry(number) => write!(f, "retry.{number}"),
            Self::End(0) => f.write_str("end"),
            Self::End(generation) => write!(f, "end.{generation}"),
        }
    }
}

/// `lvg.<t>.run.<p>.<run>.>`: the journal of a run.
#[must_use]
pub fn run_records(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.run.{}.{run}.>", run.partition())
}

/// `lvg.<t>.run.<p>.<run>.retry.*`: the retries of a run.
#[must_use]
pub fn run_retries(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.run.{}.{run}.retry.*", run.partition())
}

/// `lvg.<t>.run.<p>.<run>.cancel.*`: the cancels of a run after its retries.
#[must_use]
pub fn later_cancels(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.run.{}.{run}.cancel.*", run.partition())
}

/// `lvg.<t>.run.<p>.<run>.end.*`: the ends of a run after its retries.
#[must_use]
pub fn later_ends(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.run.{}.{run}.end.*", run.partition())
}

/// `lvg.*.run.<p>.>`: the journals of all runs of a partition, whose ever they are.
#[must_use]
pub fn partition_records(partition: char) -> String {
    format!("lvg.*.run.{partition}.>")
}

/// `lvg.<t>.log.<run>.>`: the logs of a run's steps; those of one step, or of one attempt of it.
#[must_use]
pub fn step_logs(tenant: &Tenant, run: &RunId, step: Option<(&StepId, Option<u32>)>) -> String {
    match step {
        None => format!("lvg.{tenant}.log.{run}.>"),
        Some((step, None)) => format!("lvg.{tenant}.log.{run}.{step}.*"),
        Some((step, Some(attempt))) => format!("lvg.{tenant}.log.{run}.{step}.{attempt}"),
    }
}

/// `lvg.<t>.ev.progress.<run>.>`: the progress of a run's steps.
#[must_use]
pub fn step_progress(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.ev.progress.{run}.>")
}

/// `lvg.<t>.timer.<p>.<run>.<step>.<what>`: the schedule of the record `timer.<step>.<what>`.
#[must_use]
pub fn timer(tenant: &Tenant, run: &RunId, step: &StepId, what: &Word) -> String {
    format!("lvg.{tenant}.timer.{}.{run}.{step}.{what}", run.partition())
}

/// `lvg.<t>.timer.<p>.<run>.<step>.*`: the timers of a step.
#[must_use]
pub fn step_timers(tenant: &Tenant, run: &RunId, step: &StepId) -> String {
    format!("lvg.{tenant}.timer.{}.{run}.{step}.*", run.partition())
}

/// `lvg.<t>.timer.<p>.<run>.>`: the timers of a run.
#[must_use]
pub fn run_timers(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.timer.{}.{run}.>", run.partition())
}

/// `lvg.<t>.task.*.*.<run>.<step>.*`: all attempts of a step, wherever they are queued.
#[must_use]
pub fn step_tasks_anywhere(tenant: &Tenant, run: &RunId, step: &StepId) -> String {
    format!("lvg.{tenant}.task.*.*.{run}.{step}.*")
}

/// `lvg.<t>.task.*.*.<run>.>`: all that a run has queued.
#[must_use]
pub fn run_tasks_anywhere(tenant: &Tenant, run: &RunId) -> String {
    format!("lvg.{tenant}.task.*.*.{run}.>")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "01jd000000000000000000000z";

    fn read(record: &str) -> Option<RecordName> {
        let subject = format!("lvg.acme.run.z.{RUN}.{record}");
        let read = RecordSubject::read(&subject)?;
        assert_eq!(read.to_string(), subject);
        Some(read.record)
    }

    #[test]
    fn every_record_reads_back() {
        let step: StepId = "0-2_17~1".parse().unwrap();
        let what: Word = "delay-3".parse().unwrap();
        for (text, record) in [
            ("start", RecordName::Start),
            ("step.0-2_17~1.12", RecordName::Step { step: step.clone(), attempt: 12 }),
            ("timer.0-2_17~1.delay-3", RecordName::Timer { step: step.clone(), what: what.clone() }),
            ("decided.0-2_17~1.delay-3", RecordName::Decided { step: step.clone(), what }),
            ("child.0-2_17~1", RecordName::Child { step: step.clone(), generation: 0 }),
            ("child.0-2_17~1.2", RecordName::Child { step, generation: 2 }),
            ("signal.01jabc", RecordName::Signal("01jabc".parse().unwrap())),
            ("cancel", RecordName::Cancel(0)),
            ("cancel.1", RecordName::Cancel(1)),
            ("pause.0", RecordName::Pause(0)),
            ("pause.1", RecordName::Pause(1)),
            ("resume.2", RecordName::Resume(2)),
            ("retry.3", RecordName::Retry(3)),
            ("end", RecordName::End(0)),
            ("end.3", RecordName::End(3)),
        ] {
            assert_eq!(read(text), Some(record), "{text}");
        }
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        for bad in [
            "",
            "starts",
            "start.1",
            "step.0",
            "step.0.0",
            "step.0.01",
            "step.x.1",
            "pause",
            "pause.00",
            "end.",
            "end.0",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for bad in [
            format!("lvg.acme.run.y.{RUN}.start"),
            format!("lvg.ctl.run.z.{RUN}.start"),
            format!("lvg.acme.timer.z.{RUN}.start"),
            format!("lvg.acme.run.z.{RUN}"),
            format!("lvg.*.run.z.{RUN}.start"),
        ] {
            assert_eq!(RecordSubject::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timer_and_its_record_differ_in_one_token() {
        let (tenant, run): (Tenant, RunId) = ("acme".parse().unwrap(), RUN.parse().unwrap());
        let (step, what): (StepId, Word) = (StepId::root(), "delay".parse().unwrap());
        let timer = timer(&tenant, &run, &step, &what);
        let record = RecordSubject { tenant, run, record: RecordName::Timer { step, what } };
        assert_eq!(timer, format!("lvg.acme.timer.z.{RUN}.0.delay"));
        assert_eq!(record.to_string(), format!("lvg.acme.run.z.{RUN}.timer.0.delay"));
    }
}

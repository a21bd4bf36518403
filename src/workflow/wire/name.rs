//! What a record is, by the end of its subject: [`protocol`](crate::protocol::subject)'s names, with the words in them read.

use std::fmt;

use crate::model::{RunId, SignalId, StepId, Tenant, Word};
use crate::protocol::subject::{self, RecordSubject};
use crate::workflow::journal::Question;
use crate::workflow::timer::TimerId;

/// A record of a journal. Two records of a run never share a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordName {
    /// The run begins; by whoever starts it.
    Start,
    /// An attempt of a step ended; by the host that ran it.
    Step {
        /// The step.
        step: StepId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// A time has come; by the broker.
    Timer(TimerId),
    /// What an expression came to; by the coordinator.
    Decided {
        /// The step.
        step: StepId,
        /// What was asked.
        question: Question,
        /// The run's retries before it: what could not be decided may be decided by a retry.
        generation: u32,
    },
    /// A child run ended; by the child's coordinator.
    Child {
        /// The step that is the child.
        step: StepId,
        /// The parent's retries before it.
        generation: u32,
    },
    /// A signal; by whoever sends it, under an id that makes sending it twice the same as once.
    Signal(SignalId),
    /// A cancel, with the run's retries before it; by a client, or by the parent's coordinator.
    Cancel(u32),
    /// A pause, from 0; by a client.
    Pause(u32),
    /// A resume, from 0; by a client.
    Resume(u32),
    /// A retry, from 0; by a client.
    Retry(u32),
    /// The end, with the run's retries before it; by the coordinator.
    End(u32),
}

/// A name that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} names no record that this program knows: update it")]
pub struct UnknownRecord(pub String);

impl RecordName {
    /// The subject of the record.
    #[must_use]
    pub fn subject(&self, tenant: &Tenant, run: &RunId) -> String {
        RecordSubject { tenant: tenant.clone(), run: run.clone(), record: self.plain() }.to_string()
    }

    /// Reads the words in a name.
    ///
    /// # Errors
    /// A word that this version does not know.
    pub fn read(record: &subject::RecordName) -> Result<Self, UnknownRecord> {
        use subject::RecordName as Plain;
        let unknown = || UnknownRecord(record.to_string().chars().take(80).collect());
        let name = match record {
            Plain::Start => Self::Start,
            Plain::Step { step, attempt } => Self::Step { step: step.clone(), attempt: *attempt },
            Plain::Timer { step, what } => Self::Timer(format!("{step}.{what}").parse().map_err(|_| unknown())?),
            Plain::Decided { step, what } => {
                let (asked, generation) = what.as_str().split_once('-').unwrap_or((what.as_str(), "0"));
                let generation = generation.parse().map_err(|_| unknown())?;
                Self::Decided { step: step.clone(), question: question(asked).ok_or_else(unknown)?, generation }
            }
            Plain::Child { step, generation } => Self::Child { step: step.clone(), generation: *generation },
            Plain::Signal(id) => Self::Signal(id.clone()),
            Plain::Cancel(generation) => Self::Cancel(*generation),
            Plain::Pause(number) => Self::Pause(*number),
            Plain::Resume(number) => Self::Resume(*number),
            Plain::Retry(number) => Self::Retry(*number),
            Plain::End(generation) => Self::End(*generation),
        };
        // One name for each record: `input-0` would be a second one of `input`.
        if name.plain() == *record { Ok(name) } else { Err(unknown()) }
    }

    fn plain(&self) -> subject::RecordName {
        use subject::RecordName as Plain;
        match self {
            Self::Start => Plain::Start,
            Self::Step { step, attempt } => Plain::Step { step: step.clone(), attempt: *attempt },
            Self::Timer(timer) => Plain::Timer { step: timer.step.clone(), what: what(timer) },
            Self::Decided { step, question, generation } => {
                Plain::Decided { step: step.clone(), what: asked(*question, *generation) }
            }
            Self::Child { step, generation } => Plain::Child { step: step.clone(), generation: *generation },
            Self::Signal(id) => Plain::Signal(id.clone()),
            Self::Cancel(generation) => Plain::Cancel(*generation),
            Self::Pause(number) => Plain::Pause(*number),
            Self::Resume(number) => Plain::Resume(*number),
            Self::Retry(number) => Plain::Retry(*number),
            Self::End(generation) => Plain::End(*generation),
        }
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain().fmt(f)
    }
}

/// The subject of a timer's schedule.
#[must_use]
pub fn timer_subject(tenant: &Tenant, run: &RunId, timer: &TimerId) -> String {
    subject::timer(tenant, run, &timer.step, &what(timer))
}

/// Whose record a subject names, and the rest of it, which a newer version may have given a meaning that this one does not know.
#[must_use]
pub fn place(subject: &str) -> Option<(Tenant, RunId, &str)> {
    let mut tokens = subject.strip_prefix("lvg.")?.splitn(5, '.');
    let (tenant, "run", partition, run, rest) =
        (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?)
    else {
        return None;
    };
    let (tenant, run): (Tenant, RunId) = (tenant.parse().ok()?, run.parse().ok()?);
    partition.chars().eq([run.partition()]).then_some((tenant, run, rest))
}

/// The name of a subject's record.
///
/// # Errors
/// A subject that names none which this version knows.
pub fn name(subject: &str) -> Result<RecordName, UnknownRecord> {
    match RecordSubject::read(subject) {
        Some(read) => RecordName::read(&read.record),
        None => Err(UnknownRecord(subject.chars().take(200).collect())),
    }
}

/// The word of a timer: what its text says behind the step.
fn what(timer: &TimerId) -> Word {
    let text = timer.to_string();
    let word = text.rsplit('.').next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| unreachable!("a purpose is a word of letters and digits"))
}

fn asked(question: Question, generation: u32) -> Word {
    let word = match question {
        Question::Input => "input".to_owned(),
        Question::Branch => "branch".to_owned(),
        Question::Items => "items".to_owned(),
        Question::Again(iteration) => format!("again{iteration}"),
        Question::Enough(output) => format!("enough{output}"),
        Question::Duration => "duration".to_owned(),
        Question::Value => "value".to_owned(),
        Question::Pins => "pins".to_owned(),
    };
    let word = if generation > 0 { format!("{word}-{generation}") } else { word };
    word.parse().unwrap_or_else(|_| unreachable!("a question is a word of letters and digits"))
}

fn question(text: &str) -> Option<Question> {
    let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (word, number) = text.split_at_checked(digits)?;
    let number = || number.parse().ok();
    Some(match word {
        "input" => Question::Input,
        "branch" => Question::Branch,
        "items" => Question::Items,
        "again" => Question::Again(number()?),
        "enough" => Question::Enough(number()?),
        "duration" => Question::Duration,
        "value" => Question::Value,
        "pins" => Question::Pins,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::timer::Purpose;

    const RUN: &str = "01jd000000000000000000000z";

    fn read(record: &str) -> Result<RecordName, UnknownRecord> {
        name(&format!("lvg.acme.run.z.{RUN}.{record}"))
    }

    #[test]
    fn every_record_has_one_name() {
        let step: StepId = "0-2_17~1".parse().unwrap();
        let decided = |question, generation| RecordName::Decided { step: step.clone(), question, generation };
        let timer = TimerId { step: step.clone(), purpose: Purpose::Backoff(3), generation: 1 };
        for (text, name) in [
            ("start", RecordName::Start),
            ("step.0-2_17~1.12", RecordName::Step { step: step.clone(), attempt: 12 }),
            ("timer.0-2_17~1.backoff3-1", RecordName::Timer(timer)),
            ("decided.0-2_17~1.input", decided(Question::Input, 0)),
            ("decided.0-2_17~1.branch", decided(Question::Branch, 0)),
            ("decided.0-2_17~1.items-1", decided(Question::Items, 1)),
            ("decided.0-2_17~1.again7-2", decided(Question::Again(7), 2)),
            ("decided.0-2_17~1.enough0", decided(Question::Enough(0), 0)),
            ("decided.0-2_17~1.duration", decided(Question::Duration, 0)),
            ("decided.0-2_17~1.value", decided(Question::Value, 0)),
            ("decided.0-2_17~1.pins", decided(Question::Pins, 0)),
            ("child.0-2_17~1", RecordName::Child { step: step.clone(), generation: 0 }),
            ("signal.01jabc", RecordName::Signal("01jabc".parse().unwrap())),
            ("cancel", RecordName::Cancel(0)),
            ("pause.1", RecordName::Pause(1)),
            ("resume.2", RecordName::Resume(2)),
            ("retry.3", RecordName::Retry(3)),
            ("end.4", RecordName::End(4)),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(read(text), Ok(name), "{text}");
        }
    }

    #[test]
    fn what_names_no_record_is_refused() {
        for bad in [
            "",
            "starts",
            "start.0",
            "step.0",
            "step.0.0",
            "step.0.01",
            "step.x.1",
            "timer.0.nap0",
            "decided.0.input7",
            "decided.0.again",
            "decided.0.value-0",
            "child.0.0",
            "signal.",
            "signal.A",
            "signal.a.b",
            "cancel.0",
            "cancel.01",
            "end.-1",
            "pause.4294967296",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_names_its_run_even_where_its_record_is_unknown() {
        let (tenant, run): (Tenant, RunId) = ("acme".parse().unwrap(), RUN.parse().unwrap());
        let subject = RecordName::Cancel(0).subject(&tenant, &run);
        assert_eq!(subject, "lvg.acme.run.z.01jd000000000000000000000z.cancel");
        assert_eq!(place(&subject), Some((tenant.clone(), run.clone(), "cancel")));
        let newer = subject.replace("cancel", "splice.0.1.2");
        assert_eq!(place(&newer), Some((tenant, run, "splice.0.1.2")));
        for bad in [
            subject.replace(".z.", ".y."),
            subject.replace(".run.", ".timer."),
            subject.replace("01jd", "01JD"),
            subject.replace("lvg.acme", "lvg.*"),
            subject.replace(".cancel", ""),
        ] {
            assert_eq!(place(&bad), None, "{bad}");
        }
    }
}

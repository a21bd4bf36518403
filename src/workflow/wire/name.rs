//! What a record is, by the end of its subject.

use std::fmt;
use std::str::FromStr;

use crate::model::{RunId, StepId, Tenant};
use crate::workflow::journal::Question;
use crate::workflow::timer::TimerId;

/// The longest id of a signal, in bytes: it is a token of a subject.
const SIGNAL_ID_LEN_MAX: usize = 64;

/// The end of a record's subject. Two records of a run never share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordName {
    /// `start`; by whoever starts the run.
    Start,
    /// `step.<step>.<attempt>`; by the host that ran the attempt.
    Step {
        /// The step.
        step: StepId,
        /// The number of the attempt.
        attempt: u32,
    },
    /// `timer.<step>.<purpose>`; by the broker.
    Timer(TimerId),
    /// `decided.<step>.<question>`; by the coordinator.
    Decided {
        /// The step.
        step: StepId,
        /// What was asked.
        question: Question,
        /// The run's retries before it: what could not be decided may be decided by a retry.
        generation: u32,
    },
    /// `child.<step>.<generation>`; by the child's coordinator.
    Child {
        /// The step that is the child.
        step: StepId,
        /// The parent's retries before it.
        generation: u32,
    },
    /// `signal.<id>`; by whoever sends it, under an id that makes sending it twice the same as once.
    Signal(String),
    /// `cancel.<generation>`; by a client, or by the parent's coordinator.
    Cancel(u32),
    /// `pause.<n>`, from 0; by a client.
    Pause(u32),
    /// `resume.<n>`, from 0; by a client.
    Resume(u32),
    /// `retry.<n>`, from 0; by a client.
    Retry(u32),
    /// `end.<generation>`; by the coordinator.
    End(u32),
}

impl RecordName {
    /// `lvg.<t>.run.<p>.<run>.<record>`
    #[must_use]
    pub fn subject(&self, tenant: &Tenant, run: &RunId) -> String {
        format!("lvg.{tenant}.run.{}.{run}.{self}", run.partition())
    }
}

/// Whose record a subject names, and the rest of it, which a newer version may have given a meaning that this one does not know.
#[must_use]
pub fn place(subject: &str) -> Option<(Tenant, RunId, &str)> {
    let mut tokens = subject.strip_prefix("lvg.")?.splitn(5, '.');
    let (Some(tenant), Some("run"), Some(partition), Some(run), Some(rest)) =
        (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
    else {
        return None;
    };
    let run: RunId = run.parse().ok()?;
    let own = partition.chars().eq([run.partition()]);
    own.then(|| Some((tenant.parse().ok()?, run, rest)))?
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Step { step, attempt } => write!(f, "step.{step}.{attempt}"),
            Self::Timer(timer) => write!(f, "timer.{timer}"),
            Self::Decided { step, question, generation } => {
                write!(f, "decided.{step}.")?;
                match question {
                    Question::Input => f.write_str("input"),
                    Question::Branch => f.write_str("branch"),
                    Question::Items => f.write_str("items"),
                    Question::Again(iteration) => write!(f, "again{iteration}"),
                    Question::Enough(output) => write!(f, "enough{output}"),
                    Question::Duration => f.write_str("duration"),
                    Question::Value => f.write_str("value"),
                    Question::Pins => f.write_str("pins"),
                }?;
                if *generation > 0 { write!(f, "-{generation}") } else { Ok(()) }
            }
            Self::Child { step, generation } => write!(f, "child.{step}.{generation}"),
            Self::Signal(id) => write!(f, "signal.{id}"),
            Self::Cancel(generation) => write!(f, "cancel.{generation}"),
            Self::Pause(number) => write!(f, "pause.{number}"),
            Self::Resume(number) => write!(f, "resume.{number}"),
            Self::Retry(number) => write!(f, "retry.{number}"),
            Self::End(generation) => write!(f, "end.{generation}"),
        }
    }
}

/// The end of a subject that names no record of this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no record that this program knows")]
pub struct UnknownRecord(pub String);

impl FromStr for RecordName {
    type Err = UnknownRecord;

    fn from_str(text: &str) -> Result<Self, UnknownRecord> {
        // One text for each record: `cancel.00` would be a second subject of `cancel.0`.
        let known = read(text).filter(|name| name.to_string() == text);
        known.ok_or_else(|| UnknownRecord(text.chars().take(80).collect()))
    }
}

fn read(text: &str) -> Option<RecordName> {
    let (kind, rest) = text.split_once('.').unwrap_or((text, ""));
    let number = || rest.parse::<u32>().ok();
    Some(match kind {
        "start" => RecordName::Start,
        "step" => {
            let (step, attempt) = rest.split_once('.')?;
            let attempt = attempt.parse().ok().filter(|attempt| *attempt > 0)?;
            RecordName::Step { step: step.parse().ok()?, attempt }
        }
        "timer" => RecordName::Timer(rest.parse().ok()?),
        "decided" => {
            let (step, asked) = rest.split_once('.')?;
            let (asked, generation) = match asked.split_once('-') {
                Some((asked, generation)) => (asked, generation.parse().ok()?),
                None => (asked, 0),
            };
            RecordName::Decided { step: step.parse().ok()?, question: question(asked)?, generation }
        }
        "child" => {
            let (step, generation) = rest.split_once('.')?;
            RecordName::Child { step: step.parse().ok()?, generation: generation.parse().ok()? }
        }
        "signal" => RecordName::Signal(signal_id(rest)?),
        "cancel" => RecordName::Cancel(number()?),
        "pause" => RecordName::Pause(number()?),
        "resume" => RecordName::Resume(number()?),
        "retry" => RecordName::Retry(number()?),
        "end" => RecordName::End(number()?),
        _ => return None,
    })
}

fn question(text: &str) -> Option<Question> {
    let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (word, number) = text.split_at(digits);
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

fn signal_id(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    ((1..=SIGNAL_ID_LEN_MAX).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::timer::Purpose;

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
            ("child.0-2_17~1.0", RecordName::Child { step: step.clone(), generation: 0 }),
            ("signal.01jabc", RecordName::Signal("01jabc".to_owned())),
            ("cancel.0", RecordName::Cancel(0)),
            ("pause.1", RecordName::Pause(1)),
            ("resume.2", RecordName::Resume(2)),
            ("retry.3", RecordName::Retry(3)),
            ("end.4", RecordName::End(4)),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name), "{text}");
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
            "child.0",
            "signal.",
            "signal.A",
            "signal.a.b",
            "cancel",
            "cancel.00",
            "end.-1",
            "pause.4294967296",
        ] {
            assert!(bad.parse::<RecordName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_names_its_run_even_where_its_record_is_unknown() {
        let (tenant, run): (Tenant, RunId) = ("acme".parse().unwrap(), "01jd000000000000000000000z".parse().unwrap());
        let subject = RecordName::Cancel(0).subject(&tenant, &run);
        assert_eq!(subject, "lvg.acme.run.z.01jd000000000000000000000z.cancel.0");
        assert_eq!(place(&subject), Some((tenant.clone(), run.clone(), "cancel.0")));
        let newer = subject.replace("cancel.0", "splice.0.1.2");
        assert_eq!(place(&newer), Some((tenant, run, "splice.0.1.2")));
        for bad in [
            subject.replace(".z.", ".y."),
            subject.replace(".run.", ".timer."),
            subject.replace("01jd", "01JD"),
            subject.replace("lvg.acme", "lvg.*"),
            subject.replace(".cancel.0", ""),
        ] {
            assert_eq!(place(&bad), None, "{bad}");
        }
    }
}

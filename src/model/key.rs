//! The key of a queued task: the id of a single task, or an attempt of a step.

use std::fmt;

use super::{RunId, StepId, TaskId};

/// What a queued task is. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKey {
    /// A task that belongs to no run: its host decides about its next attempt.
    Single(TaskId),
    /// An attempt of a step: the coordinator of its run decides about the next one.
    Step(StepAttempt),
}

/// One attempt of a step of a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepAttempt {
    /// The run.
    pub run: RunId,
    /// The step in it.
    pub step: StepId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
}

impl TaskKey {
    /// Reads what [`Display`](fmt::Display) writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None => Some(Self::Single(text.parse().ok()?)),
            Some((run, rest)) => {
                let (step, attempt) = rest.split_once('.')?;
                Some(Self::Step(StepAttempt::read(run, step, attempt)?))
            }
        }
    }
}

impl StepAttempt {
    /// Reads the parts of a subject.
    #[must_use]
    pub fn read(run: &str, step: &str, attempt: &str) -> Option<Self> {
        Some(Self { run: run.parse().ok()?, step: step.parse().ok()?, attempt: counted(attempt)? })
    }

    /// `<run>/<step>`: what a guest knows its task by, the same for all attempts.
    #[must_use]
    pub fn task_id(&self) -> String {
        format!("{}/{}", self.run, self.step)
    }
}

/// A number in its only form: `01` and `+1` would be further subjects of the same thing.
#[must_use]
pub fn numbered(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

/// The same, from 1.
#[must_use]
pub fn counted(text: &str) -> Option<u32> {
    numbered(text).filter(|number| *number > 0)
}

impl From<TaskId> for TaskKey {
    fn from(id: TaskId) -> Self {
        Self::Single(id)
    }
}

impl From<&TaskId> for TaskKey {
    fn from(id: &TaskId) -> Self {
        Self::Single(id.clone())
    }
}

impl From<StepAttempt> for TaskKey {
    fn from(step: StepAttempt) -> Self {
        Self::Step(step)
    }
}

impl From<&Self> for TaskKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// The tokens of a subject that name the task: `<id>`, or `<run>.<step>.<attempt>`.
impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(id) => write!(f, "{id}"),
            Self::Step(StepAttempt { run, step, attempt }) => write!(f, "{run}.{step}.{attempt}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_name_or_three_tokens() {
        for good in ["a", "01jabc", "01jd0000000000000000000000.0-2_17-1~3.12"] {
            assert_eq!(TaskKey::read(good).unwrap().to_string(), good);
        }
        let run = "01jd0000000000000000000000";
        for bad in ["", "A", "a.b", "a.0.1", &format!("{run}.0"), &format!("{run}.1.1"), &format!("{run}.0.1.1")] {
            assert_eq!(TaskKey::read(bad), None, "{bad}");
        }
        for number in ["0", "01", "+1", "", "4294967296", "x", "1."] {
            assert_eq!(TaskKey::read(&format!("{run}.0.{number}")), None, "{number}");
        }
    }

    #[test]
    fn all_attempts_of_a_step_are_one_task_to_its_guest() {
        let attempt = |number| StepAttempt::read("01jd0000000000000000000000", "0-1", number).unwrap().task_id();
        assert_eq!(attempt("1"), "01jd0000000000000000000000/0-1");
        assert_eq!(attempt("1"), attempt("2"));
    }
}

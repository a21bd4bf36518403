//! What the guests of a run say: their log lines, kept for a while, and their progress while they run.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{Client, Error, Watch};
use crate::broker::{Message, Start};
use crate::model::key::StepAttempt;
use crate::model::{RunId, StepId, TaskKey};
use crate::protocol::note::LogLine;
use crate::protocol::subject;

/// A line of the log of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLine {
    /// Who wrote it.
    pub by: StepAttempt,
    /// What.
    pub line: LogLine,
}

/// What is heard of a guest while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNote {
    /// Whose guest it is.
    pub by: StepAttempt,
    /// A line of its log, or how far it is.
    pub note: Watch,
}

impl Client {
    /// The logs of a run's steps, of one step or of one attempt, in the order in which they were written; with `follow` also what
    /// they will say.
    ///
    /// # Errors
    /// What the broker fails with. A run without a log has no lines.
    pub async fn run_logs(
        &self,
        run: &RunId,
        step: Option<(&StepId, Option<u32>)>,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<StepLine, Error>>, Error> {
        let filter = subject::step_logs(&self.tenant, run, step);
        let lines = self.broker.streams.read(&filter, Start::Sequence(1), follow).await?;
        let line = |message: Message| async move {
            let line = serde_json::from_slice(&message.payload).ok();
            Ok(line.and_then(|line| Some(StepLine { by: speaker(&message.subject)?, line })))
        };
        Ok(lines.map_err(Error::from).try_filter_map(line).boxed())
    }

    /// What the guests of a run say from now on. It has no end, and what nobody hears is lost; of lines, [`run_logs`](Self::run_logs)
    /// has those that were.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn run_notes(&self, run: &RunId) -> Result<BoxStream<'static, StepNote>, Error> {
        let (logs, progress) = (subject::step_logs(&self.tenant, run, None), subject::step_progress(&self.tenant, run));
        let (logs, progress) = futures::try_join!(self.broker.bus.listen(&logs), self.broker.bus.listen(&progress))?;
        let note = |message: Message| async move {
            // A note that cannot be read is a stranger's: notes are no part of a step's outcome.
            let note = if message.subject.split('.').nth(2) == Some("log") {
                serde_json::from_slice(&message.payload).map(Watch::Log)
            } else {
                serde_json::from_slice(&message.payload).map(Watch::Progress)
            };
            Some(StepNote { by: speaker(&message.subject)?, note: note.ok()? })
        };
        Ok(futures::stream::select(logs, progress).filter_map(note).boxed())
    }
}

/// The attempt whose guest writes on a subject: its last three tokens.
fn speaker(subject: &str) -> Option<StepAttempt> {
    let mut tokens = subject.rsplitn(4, '.');
    let (attempt, step, run) = (tokens.next()?, tokens.next()?, tokens.next()?);
    match TaskKey::read(&format!("{run}.{step}.{attempt}"))? {
        TaskKey::Step(attempt) => Some(attempt),
        TaskKey::Single(_) => None,
    }
}

//! `lovage logs`: what the guests of a task, or of a run's steps, wrote.

use std::time::Duration;

use clap::Args;
use futures::TryStreamExt as _;
use futures::stream::{BoxStream, StreamExt as _};
use serde_json::json;

use super::screen::shown;
use super::task::run_of;
use super::{Connect, Fault, output};
use crate::client::{Client, Error, RunView};
use crate::model::time::parse_duration;
use crate::model::{Level, RunId, StepId, TaskId, TaskKey, Timestamp};
use crate::protocol::note::LogLine;
use crate::workflow::run::StepState;

/// `lovage logs`.
#[derive(Args)]
pub(super) struct Logs {
    /// A task; or a run (all its steps), RUN.STEP, or RUN.STEP.ATTEMPT, which is the id that `lovage hosts show` prints.
    #[arg(value_name = "ID", value_parser = Subject::read)]
    id: Subject,

    /// Go on with what it will say, until it has ended.
    #[arg(long, short)]
    follow: bool,

    /// Only lines that were written within this time, as in 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,

    /// Only lines that are at least so grave.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,

    /// One JSON object a line; those of a run's steps have the step in `step`.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Whose log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// A task's, or that of all steps of a run: their ids look the same.
    Task(TaskId),
    /// Of a run's steps; of one of them, or of one attempt.
    Run(RunId, Option<(StepId, Option<u32>)>),
}

impl Subject {
    fn read(text: &str) -> Result<Self, String> {
        let Some((run, step)) = text.split_once('.') else {
            return text.parse().map(Self::Task).map_err(|error: crate::model::name::Invalid| error.to_string());
        };
        let none = || "it takes a task, a run, RUN.STEP or RUN.STEP.ATTEMPT".to_owned();
        if let Some(TaskKey::Step(attempt)) = TaskKey::read(text) {
            return Ok(Self::Run(attempt.run, Some((attempt.step, Some(attempt.attempt)))));
        }
        let (run, step) = (run.parse().map_err(|_| none())?, step.parse().map_err(|_| none())?);
        Ok(Self::Run(run, Some((step, None))))
    }
}

/// A line, and the step whose guest wrote it.
type Line = (Option<StepId>, LogLine);

impl Logs {
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        if let Subject::Task(id) = &self.id
            && let Some(run) = run_of(&client, id.as_str()).await
        {
            self.id = Subject::Run(run, None);
        }
        let earliest = self.since.map(|since| client.broker().clock.now().before(since));
        if self.follow {
            let printed = self.print_until_ended(&client, earliest).await?;
            // What it said last may still have been on its way; it is stored by now, behind what was printed.
            return self.print_stored(&client, printed, earliest).await.map(drop);
        }
        if self.print_stored(&client, 0, earliest).await? == 0 {
            // No line may mean that there is no such thing.
            self.is_there(&client).await?;
        }
        Ok(())
    }

    async fn is_there(&self, client: &Client) -> Result<(), Fault> {
        let (run, step) = match &self.id {
            Subject::Task(id) => return Ok(client.state(id).await.map(drop)?),
            Subject::Run(run, step) => (run, step),
        };
        let view = client.view_run(run).await?;
        match step {
            Some((step, _)) if view.step(step).is_none() => {
                let fault = Fault::usage(format!("step {step} has not begun in run {run}"));
                Err(fault.hint(format!("`lovage runs show {run} --json` lists the steps with their ids")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Prints what is said until whoever says it has ended; how many lines that were.
    async fn print_until_ended(&self, client: &Client, earliest: Option<Timestamp>) -> Result<usize, Fault> {
        let mut printed = 0;
        let follow = async {
            let mut lines = self.lines(client, true).await?;
            while let Some(line) = lines.try_next().await? {
                self.print(&line, earliest)?;
                printed += 1;
            }
            Ok::<_, Fault>(())
        };
        tokio::select! {
            result = follow => result?,
            ended = Box::pin(self.ended(client)) => ended?,
        }
        Ok(printed)
    }

    async fn ended(&self, client: &Client) -> Result<(), Error> {
        match &self.id {
            Subject::Task(id) => client.wait(id, &mut |_| {}).await.map(drop),
            Subject::Run(run, step) => {
                let mut on = |view: &RunView, _: &[_]| !step.as_ref().is_some_and(|step| is_over(view, step));
                client.watch_run(run, &mut on).await.map(drop)
            }
        }
    }

    async fn lines(&self, client: &Client, follow: bool) -> Result<BoxStream<'static, Result<Line, Error>>, Error> {
        Ok(match &self.id {
            Subject::Task(id) => client.logs(id, follow).await?.map_ok(|line| (None, line)).boxed(),
            Subject::Run(run, step) => {
                let step = step.as_ref().map(|(step, attempt)| (step, *attempt));
                client.run_logs(run, step, follow).await?.map_ok(|said| (Some(said.by.step), said.line)).boxed()
            }
        })
    }

    /// Prints the stored lines behind the first `skipped`; how many those were.
    async fn print_stored(&self, client: &Client, skipped: usize, earliest: Option<Timestamp>) -> Result<usize, Fault> {
        let mut lines = self.lines(client, false).await?;
        let mut count = 0;
        while let Some(line) = lines.try_next().await? {
            count += 1;
            if count > skipped {
                self.print(&line, earliest)?;
            }
        }
        Ok(count.saturating_sub(skipped))
    }

    fn print(&self, (step, line): &Line, earliest: Option<Timestamp>) -> Result<(), Fault> {
        if earliest.is_some_and(|earliest| line.at < earliest) || self.level.is_some_and(|level| line.level < level) {
            return Ok(());
        }
        match step {
            None if self.json => output::json(line),
            None => output::line(&shown(line)),
            Some(step) if self.json => {
                let mut whole = json!(line);
                if let Some(fields) = whole.as_object_mut() {
                    fields.insert("step".to_owned(), json!(step));
                }
                output::json(&whole)
            }
            Some(step) => output::line(&format!("{step} {}", shown(line))),
        }
    }
}

/// Whether nothing more is said by a step, or by an attempt of it.
fn is_over(view: &RunView, (step, attempt): &(StepId, Option<u32>)) -> bool {
    view.step(step).is_some_and(|view| {
        let later = |attempt: &u32| {
            view.attempt.is_some_and(|now| now > *attempt) || matches!(view.state, StepState::Retrying { .. })
        };
        view.state.is_final() || attempt.as_ref().is_some_and(later)
    })
}

fn level(text: &str) -> Result<Level, String> {
    let known = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    known
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or_else(|| "it takes trace, debug, info, warn or error".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_of_a_task_a_run_a_step_or_an_attempt() {
        let run = "01jd0000000000000000000007";
        assert_eq!(
            Subject::read(run),
            Ok(Subject::Task(run.parse().unwrap())),
            "which of the two it is the broker knows"
        );
        let step = || (run.parse::<RunId>().unwrap(), "0-2_17".parse::<StepId>().unwrap());
        let of = |attempt| Subject::Run(step().0, Some((step().1, attempt)));
        assert_eq!(Subject::read(&format!("{run}.0-2_17")), Ok(of(None)));
        assert_eq!(Subject::read(&format!("{run}.0-2_17.3")), Ok(of(Some(3))));
        for bad in ["", "A", ".", "a.b", &format!("{run}."), &format!("{run}.0.0"), &format!("{run}.0.1.1")] {
            assert!(Subject::read(bad).is_err(), "{bad}");
        }
    }
}

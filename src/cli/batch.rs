//! `lovage send --batch` and `lovage batch`: many tasks from one file.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::bar::bar;
use super::submit::How;
use super::{Connect, Fault, Listing, output};
use crate::client::{BATCH_BYTES_MAX, BadLines, Client};
use crate::model::lifecycle::State;
use crate::model::signature::Options;
use crate::model::{Failure, Kind, RunId, TaskRef};
use crate::protocol::batch::Defaults;
use crate::protocol::note::printable;

/// How often the bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// List batches, and show how far they are.
#[derive(Subcommand)]
pub(super) enum Batches {
    /// List batches, in the order in which they were begun.
    Ls(Listing),
    /// Show how many tasks of a batch were sent, and how many have ended in which state.
    Show(Show),
    /// Wait until all tasks of a batch have ended; exits with 1 if one did not succeed.
    Wait(One),
    /// Cancel all tasks of a batch that have not ended.
    Cancel(One),
}

/// Show how far a batch is.
#[derive(Args)]
pub(super) struct Show {
    /// The batch.
    id: RunId,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A command about one batch.
#[derive(Args)]
pub(super) struct One {
    /// The batch.
    id: RunId,

    #[command(flatten)]
    connect: Connect,
}

impl Batches {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(listing) => ls(listing).await,
            Self::Show(show) => show.run().await,
            Self::Wait(one) => {
                let (_nats, client) = one.connect.client().await?;
                wait(&client, &one.id).await
            }
            Self::Cancel(one) => {
                let (_nats, client) = one.connect.client().await?;
                let cancelled = client.cancel_batch(&one.id).await?;
                output::told(&format!("cancelled {cancelled} tasks of"), &one.id)
            }
        }
    }
}

async fn ls(listing: Listing) -> Result<(), Fault> {
    let (_nats, client) = listing.connect.client().await?;
    let batches = client.batches().await?;
    if listing.json {
        return batches.iter().try_for_each(output::json);
    }
    let rows: Vec<Vec<String>> = batches
        .iter()
        .map(|record| {
            let [tasks, sent] = [record.tasks, record.sent].map(|number| number.to_string());
            vec![record.id.to_string(), record.begun.to_string(), tasks, sent]
        })
        .collect();
    output::table(&["BATCH", "BEGUN", "TASKS", "SENT"], &rows)
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let (record, states) = client.batch(&self.id).await?;
        if self.json {
            let (tasks, sent, begun) = (record.tasks, record.sent, record.begun.to_string());
            return output::json(
                &json!({"batch": record.id, "begun": begun, "tasks": tasks, "sent": sent, "states": states}),
            );
        }
        output::line(&format!("{}: {} of {} tasks were sent", record.id, record.sent, record.tasks))?;
        states.iter().try_for_each(|(state, count)| output::line(&format!("{count} {state}")))
    }
}

/// Waits for the end of a batch, and says how its tasks ended.
pub(super) async fn wait(client: &Client, id: &RunId) -> Result<(), Fault> {
    let mut drawn = Bar::new();
    let states = client.wait_batch(id, &mut |ended, of| drawn.draw(ended, of)).await;
    drawn.clear();
    let states = states?;
    let told: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    eprintln!("{}", told.join(", "));
    if states.keys().all(|state| state == State::Succeeded.as_str()) {
        return Ok(());
    }
    let failure = Failure::new(Kind::Returned, format!("not all tasks of batch {id} have succeeded"));
    Err(Fault::failed(&failure).hint("`lovage dead ls` lists those that failed"))
}

/// Sends the tasks of a file, and prints the id of the batch.
pub(super) async fn send(
    client: &Client,
    path: &Path,
    task: Option<TaskRef>,
    how: &How,
    key: &str,
) -> Result<RunId, Fault> {
    if how.idempotency_window.is_some() {
        return Err(Fault::usage(
            "--idempotency-window goes with one task: a batch is sent once however often that is begun",
        ));
    }
    let text = read(path)?;
    let now = client.broker().clock.now();
    let defaults = Defaults {
        task,
        options: Options { debounce: how.debounce.debounce()?, ..how.options.options()? },
        wanted: how.options.wanted(),
        queue: Some(how.options.queue.clone()),
        priority: Some(how.options.priority),
        delay: how.delay,
        due: how.due(now)?.filter(|_| how.delay.is_none()),
    };
    let batch = match client.check_batch(text.into(), defaults, key).await? {
        Ok(batch) => batch,
        Err(BadLines(bad)) => {
            for (number, problem) in &bad {
                eprintln!("line {number}: {}", printable(problem));
            }
            let first = bad.first().map_or(0, |(number, _)| *number);
            return Err(Fault::usage(format!("line {first} of {} is no task: nothing was sent", path.display())));
        }
    };
    let (begin, total) = (Instant::now(), batch.len() as u64);
    let mut drawn = Bar::new();
    let sent = client.send_batch(&batch, &mut |count| drawn.draw(count, total)).await;
    drawn.clear();
    let sent = sent.map_err(|error| Fault::from(error).hint("the same command goes on where it stopped"))?;
    let new = sent.tasks.saturating_sub(sent.before);
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole tasks")]
    let rate = new as f64 / begin.elapsed().as_secs_f64().max(0.001);
    if sent.before > 0 {
        eprintln!("{} of {total} tasks were sent before", sent.before);
    }
    eprintln!("sent {new} tasks, {rate:.0} a second");
    output::line(batch.id.as_str())?;
    Ok(batch.id)
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |error| Fault::usage(format!("failed to read the batch {}: {error}", path.display()));
    let mut text = Vec::new();
    let limit = BATCH_BYTES_MAX as u64 + 1;
    std::fs::File::open(path).map_err(failed)?.take(limit).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// How much is done, in one line of a terminal.
struct Bar {
    shown: bool,
    begin: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), begin: Instant::now(), drawn: None }
    }

    fn draw(&mut self, done: u64, of: u64) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAWN_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        eprint!("\r\x1b[K{} {done} of {of} {:.0?}", bar(done, of), self.begin.elapsed());
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

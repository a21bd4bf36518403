//! `lovage send --batch` and `lovage batch`: many tasks from one file.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::submit::How;
use super::{Connect, Fault, output};
use crate::client::{BATCH_BYTES_MAX, BadLines, Client};
use crate::model::{RunId, TaskRef};
use crate::protocol::batch::Defaults;
use crate::protocol::note::printable;

/// How often the bar is drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(100);

/// The cells of the bar.
const BAR_WIDTH: u64 = 30;

/// List batches, and show how far they are.
#[derive(Subcommand)]
pub(super) enum Batches {
    /// List batches, in the order in which they were begun.
    Ls(Ls),
    /// Show how many tasks of a batch were sent, and how many have ended in which state.
    Show(Show),
}

/// List batches.
#[derive(Args)]
pub(super) struct Ls {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
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

impl Batches {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
        }
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let batches = client.batches().await?;
        if self.json {
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

/// Sends the tasks of a file, and prints the id of the batch.
pub(super) async fn send(
    client: &Client,
    path: &Path,
    task: Option<TaskRef>,
    how: &How,
    key: &str,
) -> Result<(), Fault> {
    if how.idempotency_window.is_some() {
        return Err(Fault::usage(
            "--idempotency-window goes with one task: a batch is sent once however often that is begun",
        ));
    }
    let text = read(path)?;
    let now = client.broker().clock.now();
    let defaults = Defaults {
        task,
        options: how.options.options()?,
        expires: how.options.expires,
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
    let mut bar = Bar::new(total);
    let sent = client.send_batch(&batch, &mut |count| bar.draw(count)).await;
    bar.clear();
    let sent = sent.map_err(|error| Fault::from(error).hint("the same command goes on where it stopped"))?;
    let new = sent.tasks.saturating_sub(sent.before);
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown in whole tasks")]
    let rate = new as f64 / begin.elapsed().as_secs_f64().max(0.001);
    if sent.before > 0 {
        eprintln!("{} of {total} tasks were sent before", sent.before);
    }
    eprintln!("sent {new} tasks, {rate:.0} a second");
    output::line(batch.id.as_str())
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
    total: u64,
    shown: bool,
    begin: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    fn new(total: u64) -> Self {
        Self { total, shown: std::io::stderr().is_terminal(), begin: Instant::now(), drawn: None }
    }

    fn draw(&mut self, done: u64) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAWN_EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        eprint!("\r\x1b[K{} {:.0?}", bar(done, self.total), self.begin.elapsed());
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(done: u64, total: u64) -> String {
    let cells = done.saturating_mul(BAR_WIDTH).checked_div(total).unwrap_or(BAR_WIDTH).min(BAR_WIDTH);
    let full = "#".repeat(usize::try_from(cells).unwrap_or(0));
    format!("[{full:<30}] {done} of {total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_from_left_to_right() {
        assert_eq!(bar(0, 10), format!("[{}] 0 of 10", " ".repeat(30)));
        assert_eq!(bar(5, 10), format!("[{}{}] 5 of 10", "#".repeat(15), " ".repeat(15)));
        assert_eq!(bar(10, 10), format!("[{}] 10 of 10", "#".repeat(30)));
        assert_eq!(bar(0, 0), format!("[{}] 0 of 0", "#".repeat(30)));
    }
}

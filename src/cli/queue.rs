//! `lovage queue`: what waits in queues, and what hosts may take.

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::limits::RuleArgs;
use super::{Connect, Fault, output};
use crate::client::QueueView;
use crate::model::Queue as Name;
use crate::model::time::format_duration;
use crate::protocol::note::printable;

/// See and control queues.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// List queues, with what waits in them.
    Ls(Ls),
    /// Show a queue.
    Show(Show),
    /// Let hosts take nothing from a queue; what runs goes on, and tasks can be sent to it.
    Pause(Pause),
    /// Let hosts take tasks from a queue again.
    Resume(One),
    /// Limit how many of a queue's tasks start and run, over all hosts; without an option, not any more.
    Limit(LimitArgs),
    /// Cancel all tasks of a queue, those that run too.
    Purge(Purge),
}

/// List queues.
#[derive(Args)]
pub(super) struct Ls {
    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Show a queue.
#[derive(Args)]
pub(super) struct Show {
    /// The queue.
    queue: Name,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Let hosts take nothing from a queue.
#[derive(Args)]
pub(super) struct Pause {
    /// The queue.
    queue: Name,

    /// Why, for people.
    #[arg(long, default_value = "")]
    note: String,

    #[command(flatten)]
    connect: Connect,
}

/// Cancel all tasks of a queue.
#[derive(Args)]
pub(super) struct Purge {
    /// The queue.
    queue: Name,

    /// Without this nothing is cancelled, and it is said how many tasks there are.
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Limit a queue.
#[derive(Args)]
pub(super) struct LimitArgs {
    /// The queue.
    queue: Name,

    #[command(flatten)]
    rule: RuleArgs,

    #[command(flatten)]
    connect: Connect,
}

/// A command about one queue.
#[derive(Args)]
pub(super) struct One {
    /// The queue.
    queue: Name,

    #[command(flatten)]
    connect: Connect,
}

impl Queue {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
            Self::Pause(pause) => {
                let (_nats, client) = pause.connect.client().await?;
                client.pause_queue(&pause.queue, &pause.note).await?;
                told("paused", &pause.queue)
            }
            Self::Resume(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.resume_queue(&one.queue).await?;
                told("resumed", &one.queue)
            }
            Self::Limit(limit) => {
                let rule = limit.rule.rule()?;
                let (_nats, client) = limit.connect.client().await?;
                client.limit_queue(&limit.queue, rule).await?;
                eprintln!("{}: {}", limit.queue, rule.unwrap_or_default());
                Ok(())
            }
            Self::Purge(purge) => purge.run().await,
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last line of commands that can fail")]
fn told(what: &str, queue: &Name) -> Result<(), Fault> {
    eprintln!("{what} {queue}");
    Ok(())
}

/// Where a queue is, in a word.
fn state(view: &QueueView) -> &'static str {
    match (&view.paused, view.served) {
        (Some(_), _) => "paused",
        (None, true) => "open",
        (None, false) => "unserved",
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let views = client.queues().await?;
        if self.json {
            return views.iter().try_for_each(|view| output::json(&whole(view)));
        }
        let row = |view: &QueueView| {
            let oldest = view.oldest.map_or_else(|| "-".to_owned(), format_duration);
            let note = view.paused.as_ref().map(|paused| paused.note.clone()).unwrap_or_default();
            let [waiting, running] = [view.waiting, view.running].map(|number| number.to_string());
            vec![view.queue.to_string(), waiting, running, oldest, state(view).to_owned(), note]
        };
        let rows: Vec<Vec<String>> = views.iter().map(row).collect();
        output::table(&["QUEUE", "WAITING", "RUNNING", "OLDEST", "STATE", "NOTE"], &rows)
    }
}

fn whole(view: &QueueView) -> Json {
    json!({
        "queue": view.queue,
        "state": state(view),
        "waiting": view.waiting,
        "running": view.running,
        "oldest_ms": view.oldest.map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        "paused": view.paused.as_ref().map(|paused| json!({"since": paused.since.to_string(), "note": paused.note})),
    })
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let view = client.queue(&self.queue).await?;
        if self.json {
            return output::json(&whole(&view));
        }
        output::line(&format!("{}: {}, {} wait, {} run", view.queue, state(&view), view.waiting, view.running))?;
        if let Some(oldest) = view.oldest {
            output::line(&format!("the oldest has been there for {}", format_duration(oldest)))?;
        }
        if let Some(paused) = &view.paused {
            output::line(&format!("paused since {}: {}", paused.since, printable(&paused.note)))?;
        }
        if !view.served {
            output::line("no host has ever served it")?;
        }
        Ok(())
    }
}

impl Purge {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        if !self.yes {
            let view = client.queue(&self.queue).await?;
            let message = format!("{} tasks wait in {} and {} run", view.waiting, view.queue, view.running);
            return Err(Fault::usage(message).hint("cancel all of them with --yes"));
        }
        let purged = client.purge_queue(&self.queue).await?;
        eprintln!("cancelled {}", purged.cancelled);
        if purged.steps > 0 {
            eprintln!("left {} attempts of steps: cancel their runs with `lovage runs cancel`", purged.steps);
        }
        Ok(())
    }
}

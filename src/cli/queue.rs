//! `lovage queue`: what waits in queues, and what hosts may take.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::limits::RuleArgs;
use super::{Connect, Fault, Listing, output};
use crate::client::{BandView, MoveFilter, MoveStopped, QueueView};
use crate::model::signature::parse_label;
use crate::model::time::format_duration;
use crate::model::{Labels, Queue as Name, requirement};
use crate::protocol::note::printable;
use crate::protocol::subject::Priority;

/// The time between two looks at a queue, by which is seen how fast it is.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// See and control queues.
#[derive(Subcommand)]
pub(super) enum Queue {
    /// List queues, with what waits in them.
    Ls(Listing),
    /// Show a queue: what waits and what it waits for, who serves it, and how many hosts it wants.
    Show(Show),
    /// Let hosts take nothing from a queue; what runs goes on, and tasks can be sent to it.
    Pause(Pause),
    /// Let hosts take tasks from a queue again.
    Resume(One),
    /// Limit how many of a queue's tasks start and run, over all hosts; without an option, not any more.
    Limit(LimitArgs),
    /// Let only hosts take from a queue that have certain labels.
    Require(Require),
    /// Move tasks that wait to another queue: they keep their ids, attempts, inputs and priorities.
    Move(Move),
    /// Cancel all tasks of a queue, those that run too.
    Purge(Purge),
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

/// Let only hosts take from a queue that have certain labels.
#[derive(Args)]
pub(super) struct Require {
    /// The queue.
    queue: Name,

    /// Labels that a host must have, as in gpu=yes; they take the place of those required before.
    #[arg(value_name = "K=V", value_parser = parse_label, required_unless_present = "none")]
    labels: Vec<(String, String)>,

    /// Require nothing any more.
    #[arg(long, conflicts_with = "labels")]
    none: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Move tasks that wait to another queue.
#[derive(Args)]
pub(super) struct Move {
    /// The queue that they are in.
    from: Name,

    /// The queue that they go to.
    to: Name,

    /// At most so many, urgent ones first; all where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Only those with this priority.
    #[arg(long, value_name = "N")]
    priority: Option<Priority>,

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
            Self::Ls(listing) => ls(listing).await,
            Self::Show(show) => show.run().await,
            Self::Pause(pause) => {
                let (_nats, client) = pause.connect.client().await?;
                client.pause_queue(&pause.queue, &pause.note).await?;
                output::told("paused", &pause.queue)
            }
            Self::Resume(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.resume_queue(&one.queue).await?;
                output::told("resumed", &one.queue)
            }
            Self::Limit(limit) => {
                let rule = limit.rule.rule()?;
                let (_nats, client) = limit.connect.client().await?;
                client.limit_queue(&limit.queue, rule).await?;
                eprintln!("{}: {}", limit.queue, rule.unwrap_or_default());
                Ok(())
            }
            Self::Require(require) => require.run().await,
            Self::Move(moved) => moved.run().await,
            Self::Purge(purge) => purge.run().await,
        }
    }
}

/// Where a queue is, in a word.
fn state(view: &QueueView) -> &'static str {
    if view.paused.is_some() {
        "paused"
    } else if view.hosts.is_empty() {
        "unserved"
    } else {
        "open"
    }
}

/// What waits by priority, as in `9:4 5:10`; nothing where all is plain.
fn priorities(bands: &[BandView]) -> String {
    let mut parts: Vec<(Priority, u64)> = Vec::new();
    for band in bands.iter().filter(|band| band.waiting > 0) {
        match parts.last_mut().filter(|(priority, _)| *priority == band.priority) {
            Some((_, waiting)) => *waiting = waiting.saturating_add(band.waiting),
            None => parts.push((band.priority, band.waiting)),
        }
    }
    let parts: Vec<String> = parts.into_iter().map(|(priority, waiting)| format!("{priority}:{waiting}")).collect();
    parts.join(" ")
}

async fn ls(listing: Listing) -> Result<(), Fault> {
    let (_nats, client) = listing.connect.client().await?;
    let views = client.queues().await?;
    if listing.json {
        return views.iter().try_for_each(|view| output::json(&whole(view)));
    }
    let row = |view: &QueueView| {
        let oldest = view.oldest.map_or_else(|| "-".to_owned(), format_duration);
        let note = view.paused.as_ref().map(|paused| paused.note.clone()).unwrap_or_default();
        let [waiting, running] = [view.waiting, view.running].map(|number| number.to_string());
        let (hosts, bands) = (view.hosts.len().to_string(), priorities(&view.bands));
        vec![view.queue.to_string(), waiting, running, oldest, state(view).to_owned(), hosts, bands, note]
    };
    let rows: Vec<Vec<String>> = views.iter().map(row).collect();
    output::table(&["QUEUE", "WAITING", "RUNNING", "OLDEST", "STATE", "HOSTS", "PRIO", "NOTE"], &rows)?;
    // Those are in no queue: they come back to one when it is their turn.
    let limited: u64 = client.limits().await?.iter().map(|limit| limit.waiting).sum();
    if limited > 0 {
        eprintln!("{limited} more wait under limits: lovage limits ls");
    }
    Ok(())
}

fn whole(view: &QueueView) -> Json {
    let bands = view.bands.iter().map(|band| {
        let BandView { priority, requires, waiting, running, served } = band;
        json!({
            "priority": priority.number(), "requires": requires, "waiting": waiting, "running": running, "served": served,
        })
    });
    let hosts =
        view.hosts.iter().map(|(host, slots)| json!({"host": host.host, "labels": host.labels, "slots": slots}));
    json!({
        "queue": view.queue,
        "state": state(view),
        "waiting": view.waiting,
        "running": view.running,
        "oldest_ms": view.oldest.map(|oldest| u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX)),
        "paused": view.paused.as_ref().map(|paused| json!({"since": paused.since.to_string(), "note": paused.note})),
        "requires": view.requires,
        "served_before": view.served,
        "bands": bands.collect::<Vec<_>>(),
        "hosts": hosts.collect::<Vec<_>>(),
    })
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let (view, rate, wanted) = client.queue_with_signal(&self.queue, BETWEEN_LOOKS).await?;
        if self.json {
            let mut whole = whole(&view);
            if let Some(whole) = whole.as_object_mut() {
                whole.insert("taken_per_second".to_owned(), json!((rate * 10.0).round() / 10.0));
                whole.insert("hosts_wanted".to_owned(), json!(wanted));
            }
            return output::json(&whole);
        }
        output::line(&format!("{}: {}, {} wait, {} run", view.queue, state(&view), view.waiting, view.running))?;
        if let Some(oldest) = view.oldest {
            output::line(&format!("the oldest has been there for {}", format_duration(oldest)))?;
        }
        if let Some(paused) = &view.paused {
            output::line(&format!("paused since {}: {}", paused.since, printable(&paused.note)))?;
        }
        if !view.requires.is_empty() {
            output::line(&format!("only for hosts with {}", printable(&requirement::text(&view.requires))))?;
        }
        for band in &view.bands {
            output::line(&told_of(band))?;
        }
        let slots: u64 = view.hosts.iter().map(|(_, slots)| slots).sum();
        let hosts = view.hosts.len();
        output::line(&format!("hosts: {hosts} with {slots} slots, {rate:.1} tasks taken a second"))?;
        output::line(&format!("hosts wanted: {wanted}"))?;
        if !view.served {
            output::line("no host has ever served it")?;
        }
        Ok(())
    }
}

/// A band in a line.
fn told_of(band: &BandView) -> String {
    let BandView { priority, requires, waiting, running, served } = band;
    let requires = printable(&requirement::text(requires));
    let waits = match (served, requires.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!(", for hosts with {requires}"),
        (false, true) => ", for a host".to_owned(),
        (false, false) => format!(", for a host with {requires}: there is none"),
    };
    format!("priority {priority}: {waiting} wait{waits}, {running} run")
}

impl Require {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let labels: Labels = self.labels.into_iter().collect();
        client.require_of_queue(&self.queue, &labels).await?;
        let serving = client.serving().await?;
        let met = serving.iter().any(|host| requirement::is_met(&host.labels, &labels));
        match labels.is_empty() {
            true => eprintln!("{} is for all hosts", self.queue),
            false => eprintln!("{} is for hosts with {}", self.queue, printable(&requirement::text(&labels))),
        }
        if !met {
            eprintln!("no host has these labels now: what is sent to {} waits for one", self.queue);
        }
        Ok(())
    }
}

impl Move {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let filter = MoveFilter { count_max: self.limit, priority: self.priority };
        match client.move_queue(&self.from, &self.to, &filter).await {
            Ok(moved) => {
                eprintln!("moved {moved} from {} to {}", self.from, self.to);
                Ok(())
            }
            Err(MoveStopped { moved: 0, error }) => Err(error.into()),
            Err(MoveStopped { moved, error }) => {
                let fault = Fault::from(error);
                Err(fault.hint(format!("{moved} were moved before: the same command goes on with the rest")))
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_by_priority() {
        let band = |priority: u8, waiting, requires: &[(&str, &str)], served| BandView {
            priority: Priority::new(priority).unwrap(),
            requires: requires.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            waiting,
            running: 1,
            served,
        };
        let bands = [
            band(9, 4, &[("gpu", "yes")], false),
            band(9, 1, &[], true),
            band(5, 0, &[], true),
            band(0, 7, &[], false),
        ];
        assert_eq!(priorities(&bands), "9:5 0:7");
        assert_eq!(priorities(&[]), "");
        assert_eq!(
            bands.map(|band| told_of(&band)),
            [
                "priority 9: 4 wait, for a host with gpu=yes: there is none, 1 run",
                "priority 9: 1 wait, 1 run",
                "priority 5: 0 wait, 1 run",
                "priority 0: 7 wait, for a host, 1 run",
            ]
        );
    }
}

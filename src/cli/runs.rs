//! `lovage runs`: lists, shows and controls runs.

mod show;

use clap::{Args, Subcommand};
use futures::TryStreamExt as _;

use super::follow::{self, How};
use super::interrupt::OnInterrupt;
use super::run::label;
use super::{Connect, Fault, input, output};
use crate::client::{RUNS_SHOWN_DEFAULT, RunFilter};
use crate::model::time::{format_duration, parse_duration};
use crate::model::{Datum, FlowName, RunId, SignalId, SignalName, Timestamp};
use crate::workflow::wire::{Entry, RunState};
use show::Show;

/// List, show and control runs.
#[derive(Subcommand)]
pub(super) enum Runs {
    /// List runs, the latest first.
    Ls(Ls),
    /// Show the steps of a run, and what each one waits for.
    Show(Show),
    /// Follow a run to its end.
    Watch(Watch),
    /// Cancel a run: what runs is interrupted, what succeeded is undone.
    Cancel(One),
    /// Send a signal to a run.
    Signal(Signal),
    /// Let a run that failed or was cancelled go on from its failed steps.
    Retry(One),
    /// Begin nothing more in a run until it is resumed.
    Pause(One),
    /// Let a paused run go on.
    Resume(One),
    /// Print the journal of a run as it stands, one JSON object a line (see the page "protocol").
    Export(One),
}

/// A command about one run.
#[derive(Args)]
pub(super) struct One {
    /// The run.
    run: RunId,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage runs ls`.
#[derive(Args)]
pub(super) struct Ls {
    /// Only runs in this state: running, compensating, paused, succeeded, failed or cancelled.
    #[arg(long)]
    state: Option<RunState>,

    /// Only runs of this flow.
    #[arg(long)]
    flow: Option<FlowName>,

    /// Only runs with this label.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Only runs that were started within this time, as in 2h, or since then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,

    /// Only children of this run.
    #[arg(long, value_name = "RUN")]
    parent: Option<RunId>,

    /// Runs to show.
    #[arg(long, default_value_t = RUNS_SHOWN_DEFAULT)]
    limit: usize,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage runs watch`.
#[derive(Args)]
pub(super) struct Watch {
    #[command(flatten)]
    one: One,

    /// Print how the run ended as JSON, in place of its output alone.
    #[arg(long)]
    json: bool,
}

/// `lovage runs signal`.
#[derive(Args)]
pub(super) struct Signal {
    /// The run.
    run: RunId,

    /// The signal.
    name: SignalName,

    /// What it carries: JSON, - for stdin, or @FILE; null where it is not given.
    payload: Option<String>,

    /// Sending a signal with the same id again changes nothing.
    #[arg(long)]
    id: Option<SignalId>,

    #[command(flatten)]
    connect: Connect,
}

impl Runs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
            Self::Watch(watch) => {
                let Watch { one, json } = watch;
                let (_nats, client) = one.connect.client().await?;
                let how = How { on_interrupt: Some(OnInterrupt::Detach), quiet: json, json };
                let notes = follow::notes(&client, &one.run, json).await?;
                follow::follow(&client, &one.run, notes, how).await
            }
            Self::Cancel(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.cancel_run(&one.run).await?;
                output::told("cancelled", &one.run)
            }
            Self::Signal(signal) => signal.run().await,
            Self::Retry(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.retry_run(&one.run).await?;
                output::told("retrying", &one.run)
            }
            Self::Pause(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.pause_run(&one.run).await?;
                output::told("paused", &one.run)
            }
            Self::Resume(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.resume_run(&one.run).await?;
                output::told("resumed", &one.run)
            }
            Self::Export(one) => {
                let (_nats, client) = one.connect.client().await?;
                let mut records = client.export_run(&one.run).await?;
                while let Some(record) = records.try_next().await? {
                    output::json(&record)?;
                }
                Ok(())
            }
        }
    }
}

impl Signal {
    async fn run(self) -> Result<(), Fault> {
        let bytes = input::read(self.payload.as_deref())?;
        Datum::parse(&bytes).map_err(|error| Fault::usage(format!("the payload of the signal: {error}")))?;
        let (_nats, client) = self.connect.client().await?;
        client.signal(&self.run, &self.name, &bytes, self.id).await?;
        output::told("signalled", &self.run)
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let now = client.broker().clock.now();
        let since = self.since.as_deref().map(|text| since(text, now)).transpose()?;
        let filter = RunFilter {
            state: self.state,
            flow: self.flow,
            labels: self.labels.into_iter().collect(),
            since,
            parent: self.parent,
            count_max: self.limit,
            ..RunFilter::default()
        };
        let runs = client.runs(&filter).await?;
        if runs.is_empty() {
            eprintln!("no run fits; a run is listed once a coordinator has begun it");
        }
        if self.json {
            return runs.iter().try_for_each(|entry| output::json(&whole(entry)));
        }
        let rows: Vec<Vec<String>> = runs
            .iter()
            .map(|entry| {
                let took = entry.ended.unwrap_or(now).since(entry.started);
                let why = entry.failure.as_ref().map(|fault| format!("{}: {}", fault.kind, fault.message));
                vec![
                    entry.run.to_string(),
                    entry.flow.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                    entry.state.to_string(),
                    entry.started.to_string(),
                    format_duration(took),
                    why.or_else(|| entry.reason.clone()).unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["RUN", "FLOW", "STATE", "STARTED", "TOOK", "WHY"], &rows)
    }
}

/// An entry as JSON, with its times as people and other commands write them.
fn whole(entry: &Entry) -> serde_json::Value {
    let mut whole = serde_json::json!(entry);
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("started".to_owned(), entry.started.to_string().into());
        fields.extend(entry.ended.map(|ended| ("ended".to_owned(), ended.to_string().into())));
    }
    whole
}

pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    match parse_duration(text) {
        Ok(ago) => {
            let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Ok(Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
        }
        Err(_) => text.parse().map_err(|error| Fault::usage(format!("--since: {error}, or a duration such as 2h"))),
    }
}

//! `lovage runs`: lists, shows and controls runs.

use clap::{Args, Subcommand};
use futures::TryStreamExt as _;
use serde_json::json;

use super::run::{follow, label};
use super::{Connect, Fault, input, output, tree};
use crate::client::{Client, RUNS_SHOWN_DEFAULT, RunFilter, RunView};
use crate::model::time::{format_duration, parse_duration};
use crate::model::{Datum, FlowName, RunId, SignalId, SignalName, Timestamp};
use crate::workflow::run::StepState;
use crate::workflow::wire::RunState;

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
    /// Print the journal of a run, one JSON object a line.
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

/// `lovage runs show`.
#[derive(Args)]
pub(super) struct Show {
    /// The run.
    run: RunId,

    /// Print JSON, with inputs and outputs.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// `lovage runs watch`.
#[derive(Args)]
pub(super) struct Watch {
    /// The run.
    run: RunId,

    /// Print how the run ended as JSON, in place of its output alone.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
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
                let (_nats, client) = watch.connect.client().await?;
                follow(&client, &watch.run, watch.json, watch.json).await
            }
            Self::Cancel(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.cancel_run(&one.run).await?;
                told("cancelled", &one.run)
            }
            Self::Signal(signal) => signal.run().await,
            Self::Retry(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.retry_run(&one.run).await?;
                told("retrying", &one.run)
            }
            Self::Pause(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.pause_run(&one.run).await?;
                told("paused", &one.run)
            }
            Self::Resume(one) => {
                let (_nats, client) = one.connect.client().await?;
                client.resume_run(&one.run).await?;
                told("resumed", &one.run)
            }
            Self::Export(one) => {
                let (_nats, client) = one.connect.client().await?;
                let records = client.view_run(&one.run).await.map(drop).err();
                // A run that cannot be folded can still be exported; one that is not there cannot.
                if let Some(error @ crate::client::Error::RunNotFound(_)) = records {
                    return Err(error.into());
                }
                let records: Vec<_> = client.run_records(&one.run, false).await?.try_collect().await?;
                records.iter().try_for_each(|record| output::json(&record.to_json()))
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the last line of commands that can fail")]
fn told(what: &str, run: &RunId) -> Result<(), Fault> {
    eprintln!("{what} {run}");
    Ok(())
}

impl Signal {
    async fn run(self) -> Result<(), Fault> {
        let bytes = input::read(self.payload.as_deref())?;
        Datum::parse(&bytes).map_err(|error| Fault::usage(format!("the payload of the signal: {error}")))?;
        let (_nats, client) = self.connect.client().await?;
        client.signal(&self.run, &self.name, &bytes, self.id).await?;
        told("signalled", &self.run)
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
        if self.json {
            return runs.iter().try_for_each(output::json);
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

pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, Fault> {
    match parse_duration(text) {
        Ok(ago) => {
            let millis = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
            Ok(Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
        }
        Err(_) => text.parse().map_err(|error| Fault::usage(format!("--since: {error}, or a duration such as 2h"))),
    }
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let view = client.view_run(&self.run).await?;
        let entry = client.run(&self.run).await?;
        if self.json {
            return output::json(&report(&client, &view).await);
        }
        let (started, ended) = view.times();
        let flow = view.start().flow.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        output::line(&format!("run      {}", self.run))?;
        output::line(&format!("flow     {flow}"))?;
        output::line(&format!("state    {}", view.state().as_str()))?;
        if let Some(reason) = entry.reason {
            output::line(&format!("reason   {reason}"))?;
        }
        output::line(&format!("started  {started}"))?;
        if let Some(ended) = ended {
            output::line(&format!("ended    {ended} after {}", format_duration(ended.since(started))))?;
        }
        output::line("")?;
        for line in tree::tree(&view, usize::MAX) {
            output::line(&line)?;
        }
        Ok(())
    }
}

/// Everything that is known of a run.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
async fn report(client: &Client, view: &RunView) -> serde_json::Value {
    let start = view.start();
    let waiting = view.waiting();
    let (started, ended) = view.times();
    let mut steps = Vec::new();
    for step in view.steps() {
        let mut shown = json!({
            "step": step.step, "label": step.label, "kind": step.kind, "state": tree::word(&step.state),
            "began": step.began.to_string(), "changed": step.changed.to_string(),
        });
        let Some(fields) = shown.as_object_mut() else { continue };
        if let Some(attempt) = step.attempt {
            fields.insert("attempt".to_owned(), json!(attempt));
        }
        if let Some(waits) = waiting.get(&step.step).and_then(tree::waits) {
            fields.insert("waits".to_owned(), json!(waits));
        }
        match &step.state {
            StepState::Succeeded(output) => {
                fields.insert("output".to_owned(), value(client, start.run.clone(), output).await);
            }
            StepState::Failed(failure) | StepState::Catching(failure) | StepState::Retrying { failure, .. } => {
                fields.insert("failure".to_owned(), json!(failure));
            }
            _ => {}
        }
        steps.push(shown);
    }
    for skipped in view.skipped() {
        steps.push(json!({"step": skipped.step, "label": skipped.label, "kind": skipped.kind, "state": "skipped"}));
    }
    let input = match &start.input {
        Some(input) => value(client, start.run.clone(), input).await,
        None => serde_json::Value::Null,
    };
    json!({
        "run": start.run, "flow": start.flow, "state": view.state().as_str(), "labels": start.labels,
        "started": started.to_string(), "ended": ended.map(|time| time.to_string()), "input": input, "steps": steps,
    })
}

/// A value as JSON; one that is large or gone is told by its size.
async fn value(client: &Client, run: RunId, value: &Datum) -> serde_json::Value {
    const SHOWN_BYTES_MAX: u64 = 1 << 20;
    if value.size() > SHOWN_BYTES_MAX {
        return json!({"$bytes": value.size()});
    }
    let bytes = client.run_value(&run, value).await.ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_else(|| json!({"$bytes": value.size()}))
}

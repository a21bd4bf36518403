//! `lovage runs show`: a run with its steps, a page at a time.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::One;
use crate::cli::{Fault, output, tree};
use crate::client::{Client, RunView, StepView, Whereabouts};
use crate::model::time::format_duration;
use crate::model::{Datum, RunId, StepId, Timestamp};
use crate::protocol::note::printable;
use crate::workflow::run::{StepState, Waiting};
use crate::workflow::wire::Entry;

/// Steps on a page when nobody says otherwise: what fits a terminal's memory, and a reader's.
const STEPS_SHOWN_DEFAULT: usize = 1_000;

/// The largest value that is shown, and what the values of a page may take together; of others, the size is told.
const VALUE_SHOWN_BYTES_MAX: u64 = 1 << 20;
const VALUES_SHOWN_BYTES_MAX: u64 = 16 << 20;

/// What a run waits for whose start alone is written.
const NOT_BEGUN: &str = "for a coordinator to begin the run";

/// `lovage runs show`.
#[derive(Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    one: One,

    /// Print JSON, with inputs and outputs.
    #[arg(long)]
    json: bool,

    /// Steps to show at most. A tree leaves out members that succeeded before it is cut.
    #[arg(long, value_name = "N", default_value_t = STEPS_SHOWN_DEFAULT)]
    limit: usize,

    /// With --json: only steps that come after this one, in the order of their beginnings.
    #[arg(long, value_name = "STEP", requires = "json")]
    after: Option<StepId>,
}

impl Show {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.one.connect.client().await?;
        let run = &self.one.run;
        let view = client.view_run(run).await?;
        let entry = client.run(run).await?;
        let seen = entry.is_listed();
        // Where no coordinator has begun it, nothing of it is anywhere.
        let places = if seen { client.whereabouts(&view).await } else { BTreeMap::new() };
        if self.json {
            let Some(page) = page(&view, self.after.as_ref(), self.limit) else {
                let after = self.after.as_ref().map(StepId::as_str).unwrap_or_default();
                return Err(Fault::usage(format!("--after: step {after:?} has not begun in run {run}")));
            };
            return output::json(&report(&client, (&view, &entry, &places), page).await);
        }
        let (started, ended) = view.times();
        let flow = view.start().flow.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        output::line(&format!("run      {run}"))?;
        output::line(&format!("flow     {flow}"))?;
        output::line(&format!("state    {}", view.state().as_str()))?;
        if let Some(reason) = entry.reason {
            output::line(&format!("reason   {}", printable(&reason)))?;
        }
        output::line(&format!("started  {started}"))?;
        if let Some(ended) = ended {
            output::line(&format!("ended    {ended} after {}", format_duration(ended.since(started))))?;
        }
        output::line("")?;
        let now = client.broker().clock.now();
        let place = |step: &StepId| match places.get(step) {
            Some(place) => Some(tree::whereabouts(place, now)),
            None => (!seen).then(|| format!("waits {NOT_BEGUN}")),
        };
        let notes: tree::Notes =
            view.waiting().into_keys().filter_map(|step| Some((step.clone(), place(&step)?))).collect();
        tree::tree(&view, &notes, self.limit).iter().try_for_each(|line| output::line(line))
    }
}

/// Some of a run's steps.
struct Page<'v> {
    steps: Vec<&'v StepView>,
    /// There are more behind the last of them.
    more: bool,
}

/// The steps behind `after`; `None` if that has not begun.
fn page<'v>(view: &'v RunView, after: Option<&StepId>, limit: usize) -> Option<Page<'v>> {
    let mut steps = view.steps();
    if let Some(after) = after {
        steps.find(|step| step.step == *after)?;
    }
    // A page without steps would look like the last one.
    let page = steps.by_ref().take(limit.max(1)).collect();
    Some(Page { steps: page, more: steps.next().is_some() })
}

/// What is known of a run, with the steps of a page. Skipped ones are on the last page.
async fn report(
    client: &Client,
    (view, entry, places): (&RunView, &Entry, &BTreeMap<StepId, Whereabouts>),
    page: Page<'_>,
) -> Value {
    let start = view.start();
    let waiting = view.waiting();
    let (started, ended) = view.times();
    let mut values = Values { client, run: &start.run, left: VALUES_SHOWN_BYTES_MAX };
    let input = match &start.input {
        Some(input) => values.shown(input).await,
        None => Value::Null,
    };
    let mut steps = Vec::new();
    for step in &page.steps {
        let mut shown = values.step(step).await;
        let waits = waiting.get(&step.step).filter(|_| !step.state.is_final());
        if let (Some(waits), Some(fields)) = (waits, shown.as_object_mut()) {
            fields.extend(waits_json(waits, places.get(&step.step), entry));
        }
        steps.push(shown);
    }
    let next = page.steps.last().filter(|_| page.more).map(|step| &step.step);
    if next.is_none() {
        steps.extend(view.skipped().into_iter().map(
            |skipped| json!({"step": skipped.step, "label": skipped.label, "kind": skipped.kind, "state": "skipped"}),
        ));
    }
    let mut report = json!({
        "run": start.run, "flow": start.flow, "state": view.state().as_str(), "labels": start.labels,
        "started": started.to_string(), "ended": ended.map(|time| time.to_string()), "input": input, "steps": steps,
    });
    if let Some(fields) = report.as_object_mut() {
        fields.extend(entry.reason.as_ref().map(|reason| ("reason".to_owned(), json!(reason))));
        fields.extend(next.map(|next| ("next".to_owned(), json!(next))));
    }
    report
}

/// What a step waits for, or where it runs.
fn waits_json(waits: &Waiting, place: Option<&Whereabouts>, entry: &Entry) -> Vec<(String, Value)> {
    if !entry.is_listed() {
        return vec![("waits".to_owned(), json!(NOT_BEGUN))];
    }
    let waits = match (waits, place) {
        (Waiting::Host { .. }, Some(Whereabouts::On { host, since, running })) => {
            let mut on = vec![("host".to_owned(), json!(host)), ("since".to_owned(), json!(since.to_string()))];
            on.extend(running.then(|| ("state".to_owned(), json!("running"))));
            return on;
        }
        (Waiting::Host { .. }, Some(place)) => {
            let text = tree::whereabouts(place, Timestamp::default());
            Some(text.strip_prefix("waits ").unwrap_or(&text).to_owned())
        }
        (waits, _) => tree::waits(waits),
    };
    waits.map(|waits| ("waits".to_owned(), json!(waits))).into_iter().collect()
}

/// The values of a page, within a bound.
struct Values<'c> {
    client: &'c Client,
    run: &'c RunId,
    left: u64,
}

impl Values<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    async fn step(&mut self, step: &StepView) -> Value {
        let mut shown = json!({
            "step": step.step, "label": step.label, "kind": step.kind, "state": tree::word(&step.state),
            "began": step.began.to_string(), "changed": step.changed.to_string(),
        });
        let Some(fields) = shown.as_object_mut() else { return shown };
        if let Some(attempt) = step.attempt {
            fields.insert("attempt".to_owned(), json!(attempt));
        }
        match &step.state {
            StepState::Succeeded(output) => {
                fields.insert("output".to_owned(), self.shown(output).await);
            }
            StepState::Failed(failure) | StepState::Catching(failure) | StepState::Retrying { failure, .. } => {
                fields.insert("failure".to_owned(), json!(failure));
            }
            _ => {}
        }
        shown
    }

    /// A value as JSON; one that is large or gone is told by its size.
    async fn shown(&mut self, value: &Datum) -> Value {
        let told = json!({"$bytes": value.size()});
        let left = self.left.checked_sub(value.size());
        let Some(left) = left.filter(|_| value.size() <= VALUE_SHOWN_BYTES_MAX) else { return told };
        self.left = left;
        let bytes = self.client.run_value(self.run, value).await.ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(told)
    }
}

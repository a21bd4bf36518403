//! `lovage run`: starts a run and shows it live.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::follow::{self, How};
use super::interrupt::OnInterrupt;
use super::{Connect, Fault, flow, input, output, tree};
use crate::client::{Client, Error, Order, RunView};
use crate::model::signature::parse_label;
use crate::model::{Failure, FlowName, Kind, Version};
use crate::protocol::note::printable;
use crate::workflow::journal::{End, Ending};
use crate::workflow::run::StepState;

/// `lovage run`.
#[derive(Args)]
pub(super) struct RunArgs {
    /// A flow document (a file, or - for stdin), or the name of a stored flow: NAME or NAME@VERSION.
    flow: String,

    /// Its input: JSON, - for stdin, or @FILE. Without it the run receives nothing.
    input: Option<String>,

    /// Print the run's id and do not wait for its end.
    #[arg(long)]
    detach: bool,

    /// Two runs with the same key are one run; the key with another flow or input is refused.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// For people and searches.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Print how the run ended as JSON, in place of its output alone.
    #[arg(long)]
    json: bool,

    /// Do not show the steps.
    #[arg(long, short)]
    quiet: bool,

    /// What ctrl-c does; without this whoever sits at a terminal is asked, and elsewhere the run goes on.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterrupt>,

    #[command(flatten)]
    connect: Connect,
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    parse_label(text).map_err(|error| error.to_string())
}

impl RunArgs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        if self.flow == "-" && self.input.as_deref() == Some("-") {
            return Err(Fault::usage("the flow and its input cannot both come from stdin"));
        }
        let file = if is_file(&self.flow) { Some(flow::read_text(&self.flow)?) } else { None };
        let given: Option<Bytes> = self.input.as_deref().map(|text| input::read(Some(text))).transpose()?;
        let (_nats, client) = self.connect.client().await?;
        let (order, yaml) = match file {
            Some((document, yaml)) => (Order::new(document), yaml),
            None => (stored(&client, &self.flow).await?, None),
        };
        let refused = |error: Error| {
            let Error::Unknown(unknown) = error else { return error.into() };
            flow::unknown(&self.flow, yaml.as_deref(), &unknown)
        };
        let labels: BTreeMap<String, String> = self.labels.into_iter().collect();
        let order = Order { input: given, labels, idempotency_key: self.idempotency_key, ..order };
        if self.detach {
            return output::line(client.start(order).await.map_err(refused)?.as_str());
        }
        // Who listens before the start misses nothing.
        let run = client.run_id(&order);
        let notes = follow::notes(&client, &run, self.quiet).await?;
        client.start_as(run.clone(), order).await.map_err(refused)?;
        let how = How { on_interrupt: self.on_interrupt, quiet: self.quiet, json: self.json };
        follow::follow(&client, &run, notes, how).await
    }
}

/// A path has a dot or a slash, which no name of a flow has; `NAME@1.2` has one behind its `@`.
pub(super) fn is_file(flow: &str) -> bool {
    let name = flow.split_once('@').map_or(flow, |(name, _)| name);
    flow == "-" || name.contains(['.', '/', '\\'])
}

/// The stored flow of NAME or NAME@VERSION, ready to be started.
pub(super) async fn stored(client: &Client, flow: &str) -> Result<Order, Fault> {
    let (name, version) = match flow.split_once('@') {
        Some((name, version)) => (name, Some(version.parse::<Version>()?)),
        None => (flow, None),
    };
    let name: FlowName = name.parse()?;
    Ok(client.order(&name, version.as_ref()).await?)
}

/// Prints how a run ended; a failure is the command's own.
pub(super) async fn print_end(client: &Client, view: &RunView, end: &End, as_json: bool) -> Result<(), Fault> {
    let run = &view.start().run;
    for failure in &end.compensation_failures {
        not_undone(failure, label_of(view, failure));
    }
    if as_json {
        let state = match &end.result {
            Ending::Succeeded(_) => "succeeded",
            Ending::Failed(_) => "failed",
            Ending::Cancelled => "cancelled",
        };
        let mut report = json!({"run": run, "state": state});
        if let (Ending::Failed(failure), Some(fields)) = (&end.result, report.as_object_mut()) {
            fields.insert("failure".to_owned(), json!(failure));
        }
        if let (Ending::Succeeded(value), Some(fields)) = (&end.result, report.as_object_mut()) {
            let bytes = client.run_value(run, value).await?;
            let value = serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null);
            fields.insert("output".to_owned(), value);
        }
        output::json(&report)?;
    }
    match &end.result {
        Ending::Succeeded(_) if as_json => Ok(()),
        Ending::Succeeded(value) => output::value(&client.run_value(run, value).await?),
        Ending::Failed(failure) => Err(Fault::failed(failure).at(tree::place(failure, label_of(view, failure)))),
        Ending::Cancelled => Err(Fault::failed(&Failure::new(Kind::Cancelled, "the run was cancelled"))),
    }
}

/// What the step is called that failed so; a failure may be one of a child run, whose steps have other names.
fn label_of<'v>(view: &'v RunView, failure: &Failure) -> Option<&'v str> {
    let step = view.step(failure.step.as_ref()?)?;
    let own = matches!(&step.state, StepState::Failed(other) | StepState::Catching(other) if other == failure);
    own.then_some(step.label.as_str())
}

/// Says that a compensation failed.
pub(super) fn not_undone(failure: &Failure, label: Option<&str>) {
    let place = tree::place(failure, label).map(|place| format!(" {place}")).unwrap_or_default();
    let detail = failure.detail.as_ref().map(|detail| format!(", detail: {detail}")).unwrap_or_default();
    eprintln!("not undone{place}: {}", printable(&format!("{failure}{detail}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_name() {
        for file in ["-", "a.yaml", "./nightly", "flows/nightly", "a.b@c"] {
            assert!(is_file(file), "{file}");
        }
        for name in ["nightly", "nightly@3", "nightly@1.2", "night-ly"] {
            assert!(!is_file(name), "{name}");
        }
    }
}

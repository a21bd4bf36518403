//! `call`, `send`, `result` and `cancel`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::interrupt::{Interrupts, OnInterrupt};
use super::screen::{Awaited, Screen};
use super::submit::{How, Submit};
use super::{Connect, Fault, batch, output};
use crate::client::{CancelledAll, Client, Submitted};
use crate::model::lifecycle::{End, Record, Settled, State};
use crate::model::signature::parse_label;
use crate::model::{RunId, TaskId, TaskRef, Value};
use crate::protocol::note::printable;

/// `lovage call`.
#[derive(Args)]
pub(super) struct Call {
    #[command(flatten)]
    submit: Submit,

    /// Print how the task ended as JSON, in place of its output alone.
    #[arg(long)]
    json: bool,

    /// Write neither states nor progress nor logs.
    #[arg(long, short)]
    quiet: bool,

    /// What ctrl-c does; without this whoever sits at a terminal is asked, and elsewhere the task goes on.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterrupt>,
}

impl Call {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.submit.connect.client().await?;
        let (signature, place) = self.submit.signature(client.broker().clock.now())?;
        let screen = Screen::new(self.quiet, Some(signature.options.retry.attempts));
        let awaited = Awaited::new(&client, screen);
        let interrupts = Interrupts::listen(self.on_interrupt)?;
        // It is told once.
        let told = |submitted: &Submitted| {
            tell(submitted);
            drop(awaited.id.set(submitted.id().clone()));
        };
        let mut show = |watch| awaited.show(&watch);
        let call = Box::pin(async {
            let Some(once) = self.submit.how.once() else {
                return client.call_watched(signature, &place, told, &mut show).await;
            };
            let submitted = client.submit_once(signature, &place, once).await?;
            told(&submitted);
            client.wait(submitted.id(), &mut show).await
        });
        let settled = awaited.end(interrupts, call).await?;
        let id = awaited.id.get().map(TaskId::to_string).unwrap_or_default();
        print(&client, &id, settled, self.json).await
    }
}

/// `lovage send`.
#[derive(Args)]
pub(super) struct Send {
    /// The task: module/task or module@version/task. With --batch, every line is an input for it; without, a whole task.
    #[arg(required_unless_present = "batch")]
    task: Option<TaskRef>,

    /// Its input: JSON, - for stdin, or @FILE; null where it is not given.
    #[arg(conflicts_with = "batch")]
    input: Option<String>,

    /// A task for each line of this file: all are looked at first, and what was interrupted is resumed by the same command.
    #[arg(long, value_name = "FILE.ndjson")]
    batch: Option<PathBuf>,

    /// The same file with another key is another batch.
    #[arg(long, value_name = "KEY", default_value = "", requires = "batch")]
    batch_key: String,

    /// Wait until all tasks of the batch have ended.
    #[arg(long, requires = "batch")]
    wait: bool,

    #[command(flatten)]
    how: How,

    #[command(flatten)]
    connect: Connect,
}

impl Send {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let Some(task) = self.task.clone().filter(|_| self.batch.is_none()) else {
            let path = self.batch.unwrap_or_default();
            let id = batch::send(&client, &path, self.task, &self.how, &self.batch_key).await?;
            return if self.wait { batch::wait(&client, &id).await } else { Ok(()) };
        };
        let (signature, place) = self.how.signature(task, self.input.as_deref(), client.broker().clock.now())?;
        let Some(once) = self.how.once() else {
            let submitted = client.submit_told(signature, &place).await?;
            tell(&submitted);
            return output::line(submitted.id().as_str());
        };
        let submitted = client.submit_once(signature, &place, once).await?;
        tell(&submitted);
        output::line(submitted.id().as_str())
    }
}

/// Says where a submit is no task of its own.
fn tell(submitted: &Submitted) {
    match submitted {
        Submitted::New(_) => {}
        Submitted::Known(_) => eprintln!("submitted before under this key"),
        Submitted::UnderWay(id) => eprintln!("{id} is under way under this singleton key: nothing was submitted"),
        Submitted::Joined(id) => eprintln!("{id} waits under this debounce: it takes this input"),
    }
}

/// `lovage result`.
#[derive(Args)]
pub(super) struct ResultArgs {
    /// The task.
    id: TaskId,

    /// Wait until it has ended, showing progress and logs.
    #[arg(long)]
    wait: bool,

    /// What ctrl-c does while it is awaited; without this whoever sits at a terminal is asked, and elsewhere the task goes on.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterrupt>,

    /// Print the task's state and how it ended as JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

impl ResultArgs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        if let Some(run) = run_of(&client, self.id.as_str()).await {
            return Err(no_task(
                &run,
                &format!("`lovage runs show {run}`, or wait for it with `lovage runs watch {run}`"),
            ));
        }
        if self.wait {
            let awaited = Awaited::new(&client, Screen::new(self.json, None));
            let interrupts = Interrupts::listen(self.on_interrupt)?;
            drop(awaited.id.set(self.id.clone()));
            let mut show = |watch| awaited.show(&watch);
            let settled = awaited.end(interrupts, client.wait(&self.id, &mut show)).await?;
            return print(&client, self.id.as_str(), settled, self.json).await;
        }
        let snapshot = client.state(&self.id).await?;
        let (state, id) = (snapshot.state, &self.id);
        match snapshot.record {
            Some(Record::Settled(settled)) => print(&client, id.as_str(), settled, self.json).await,
            Some(Record::Retrying { next, due, failure, tried }) if self.json => {
                let next = json!({"attempt": next, "due": due.to_string()});
                output::json(&json!({
                    "id": id, "state": state, "next": next, "failure": failure, "tried": tried, "host": snapshot.host,
                }))
            }
            _ if self.json => {
                let mut whole = json!({"id": id, "state": state, "host": snapshot.host});
                if let (Some(waits), Some(whole)) = (snapshot.waits_for, whole.as_object_mut()) {
                    whole.insert("waits_for".to_owned(), json!(waits));
                }
                output::json(&whole)
            }
            _ => {
                let waits = snapshot.waits_for.map(|waits| format!(", waiting for {}", printable(&waits)));
                let place = snapshot.host.map(|host| format!(" on {host}")).or(waits).unwrap_or_default();
                let fault = Fault::platform(format!("{state}: the task has not ended{place}"));
                Err(fault.hint(format!("wait for it with `lovage result {id} --wait`")))
            }
        }
    }
}

/// `lovage cancel`.
#[derive(Args)]
pub(super) struct Cancel {
    /// The tasks.
    #[arg(required_unless_present = "labels", conflicts_with = "labels")]
    ids: Vec<TaskId>,

    /// All tasks and runs with this label, wherever they are; repeat it for those that have several.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,

    #[command(flatten)]
    connect: Connect,
}

impl Cancel {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        if !self.labels.is_empty() {
            let CancelledAll { tasks, runs } = client.cancel_labelled(&self.labels.into_iter().collect()).await?;
            eprintln!("cancelled {tasks} tasks and {runs} runs");
            return Ok(());
        }
        for id in &self.ids {
            match client.cancel(id).await {
                Ok(()) => eprintln!("cancelled {id}"),
                Err(error) => match run_of(&client, id.as_str()).await {
                    Some(run) => return Err(no_task(&run, &format!("`lovage runs cancel {run}`"))),
                    None => return Err(error.into()),
                },
            }
        }
        Ok(())
    }
}

/// The id of a run was given for that of a task: they look the same.
fn no_task(run: &RunId, instead: &str) -> Fault {
    Fault::usage(format!("{run} is a run, and no task")).hint(format!("use {instead}"))
}

/// The run of this id, if there is one. Where that cannot be seen there is none.
pub(super) async fn run_of(client: &Client, id: &str) -> Option<RunId> {
    let run: RunId = id.parse().ok()?;
    client.has_run(&run).await.ok()?.then_some(run)
}

/// Prints how a task ended.
async fn print(client: &Client, id: &str, settled: Settled, whole: bool) -> Result<(), Fault> {
    if whole {
        print_whole(client, id, &settled).await?;
    }
    match settled.end.failure() {
        Some(failure) => Err(Fault::failed(&failure)),
        None if whole => Ok(()),
        None => output::value(&client.output(&settled).await?),
    }
}

async fn print_whole(client: &Client, id: &str, settled: &Settled) -> Result<(), Fault> {
    let output = match &settled.end {
        End::Succeeded(Value::Inline(bytes)) => serde_json::from_slice(bytes).ok(),
        End::Succeeded(stored) => serde_json::from_slice(&client.bytes(stored).await?).ok(),
        End::Failed(_) | End::Cancelled | End::Expired => None,
    };
    let state: State = settled.end.state();
    let output: Option<serde_json::Value> = output;
    let mut whole = json!({"id": id, "state": state, "output": output, "usage": settled.usage});
    if let (Some(failure), Some(whole)) = (settled.end.failure(), whole.as_object_mut()) {
        whole.insert("failure".to_owned(), json!(failure));
    }
    output::json(&whole)
}

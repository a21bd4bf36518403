//! `call`, `send`, `result`, `cancel` and `logs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::TryStreamExt as _;
use serde_json::json;

use super::interrupt::{Interrupts, OnInterrupt};
use super::screen::{Awaited, Screen, shown};
use super::submit::{How, Submit};
use super::{Connect, Fault, batch, output};
use crate::client::{CancelledAll, Client, Submitted};
use crate::model::lifecycle::{End, Record, Settled, State};
use crate::model::signature::parse_label;
use crate::model::time::parse_duration;
use crate::model::{Level, TaskId, TaskRef, Timestamp, Value};
use crate::protocol::note::{LogLine, printable};

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
            client.cancel(id).await?;
            eprintln!("cancelled {id}");
        }
        Ok(())
    }
}

/// `lovage logs`.
#[derive(Args)]
pub(super) struct Logs {
    /// The task.
    id: TaskId,

    /// Go on with what it will say, until it has ended.
    #[arg(long, short)]
    follow: bool,

    /// Only lines that were written within this time, as in 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<Duration>,

    /// Only lines that are at least so grave.
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Logs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let earliest = self.since.map(|since| client.broker().clock.now().before(since));
        if self.follow {
            let printed = self.print_until_ended(&client, earliest).await?;
            // What it said last may still have been on its way; it is stored by now, behind what was printed.
            return self.print_stored(&client, printed, earliest).await.map(drop);
        }
        if self.print_stored(&client, 0, earliest).await? == 0 {
            // No line may mean no task.
            client.state(&self.id).await?;
        }
        Ok(())
    }

    /// Prints what the task says until it has ended; how many lines that were.
    async fn print_until_ended(&self, client: &Client, earliest: Option<Timestamp>) -> Result<usize, Fault> {
        let mut printed = 0;
        let follow = async {
            let mut lines = client.logs(&self.id, true).await?;
            while let Some(line) = lines.try_next().await? {
                self.print(&line, earliest)?;
                printed += 1;
            }
            Ok::<_, Fault>(())
        };
        let mut ignore = |_| {};
        let ended = client.wait(&self.id, &mut ignore);
        tokio::select! {
            result = follow => result?,
            ended = ended => drop(ended?),
        }
        Ok(printed)
    }

    /// Prints the stored lines behind the first `skipped`; how many those were.
    async fn print_stored(&self, client: &Client, skipped: usize, earliest: Option<Timestamp>) -> Result<usize, Fault> {
        let mut lines = client.logs(&self.id, false).await?;
        let mut count = 0;
        while let Some(line) = lines.try_next().await? {
            count += 1;
            if count > skipped {
                self.print(&line, earliest)?;
            }
        }
        Ok(count.saturating_sub(skipped))
    }

    fn print(&self, line: &LogLine, earliest: Option<Timestamp>) -> Result<(), Fault> {
        if earliest.is_some_and(|earliest| line.at < earliest) || self.level.is_some_and(|level| line.level < level) {
            return Ok(());
        }
        if self.json { output::json(line) } else { output::line(&shown(line)) }
    }
}

fn level(text: &str) -> Result<Level, String> {
    let known = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    known
        .into_iter()
        .find(|level| level.as_str() == text)
        .ok_or_else(|| "it takes trace, debug, info, warn or error".to_owned())
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

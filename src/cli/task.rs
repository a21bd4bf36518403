//! `call`, `send`, `result`, `cancel` and `logs`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use futures::TryStreamExt as _;
use serde_json::json;

use super::submit::{How, Submit};
use super::{Connect, Fault, batch, output};
use crate::client::{CancelledAll, Client, Watch};
use crate::model::lifecycle::{End, Record, Settled, State};
use crate::model::signature::parse_label;
use crate::model::{TaskId, TaskRef, Value};
use crate::protocol::note::{LogLine, printable};

/// `lovage call`.
#[derive(Args)]
pub(super) struct Call {
    #[command(flatten)]
    submit: Submit,

    /// Print how the task ended as JSON, in place of its output alone.
    #[arg(long)]
    json: bool,

    /// Write neither progress nor logs.
    #[arg(long, short)]
    quiet: bool,
}

impl Call {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.submit.connect.client().await?;
        let (signature, place) = self.submit.signature(client.broker().clock.now())?;
        let mut screen = Screen::new(self.quiet);
        let mut submitted = None;
        let told = |id: &TaskId| submitted = Some(id.clone());
        let settled = client.call_watched(signature, &place, told, &mut |watch| screen.show(watch)).await?;
        screen.clear();
        let id = submitted.map(|id| id.to_string()).unwrap_or_default();
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
        let id = client.submit(signature, &place).await?;
        output::line(id.as_str())
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
            let mut screen = Screen::new(self.json);
            let settled = client.wait(&self.id, &mut |watch| screen.show(watch)).await?;
            screen.clear();
            return print(&client, self.id.as_str(), settled, self.json).await;
        }
        let snapshot = client.state(&self.id).await?;
        let (state, id) = (snapshot.state, &self.id);
        match snapshot.record {
            Some(Record::Settled(settled)) => print(&client, id.as_str(), settled, self.json).await,
            Some(Record::Retrying { next, due, failure }) if self.json => {
                let next = json!({"attempt": next, "due": due.to_string()});
                output::json(
                    &json!({"id": id, "state": state, "next": next, "failure": failure, "host": snapshot.host}),
                )
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

    /// One JSON object a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Logs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        if self.follow {
            let printed = self.print_until_ended(&client).await?;
            // What it said last may still have been on its way; it is stored by now, behind what was printed.
            return self.print_stored(&client, printed).await.map(drop);
        }
        if self.print_stored(&client, 0).await? == 0 {
            // No line may mean no task.
            client.state(&self.id).await?;
        }
        Ok(())
    }

    /// Prints what the task says until it has ended; how many lines that were.
    async fn print_until_ended(&self, client: &Client) -> Result<usize, Fault> {
        let mut printed = 0;
        let follow = async {
            let mut lines = client.logs(&self.id, true).await?;
            while let Some(line) = lines.try_next().await? {
                self.print(&line)?;
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
    async fn print_stored(&self, client: &Client, skipped: usize) -> Result<usize, Fault> {
        let mut lines = client.logs(&self.id, false).await?;
        let mut count = 0;
        while let Some(line) = lines.try_next().await? {
            count += 1;
            if count > skipped {
                self.print(&line)?;
            }
        }
        Ok(count.saturating_sub(skipped))
    }

    fn print(&self, line: &LogLine) -> Result<(), Fault> {
        if self.json { output::json(line) } else { output::line(&shown(line)) }
    }
}

fn shown(line: &LogLine) -> String {
    format!("{} {:5} [{}] {}", line.at, line.level.as_str(), line.attempt, printable(&line.message))
}

/// What is told of a task while it is awaited, on stderr.
struct Screen {
    quiet: bool,
    terminal: bool,
    progress_shown: bool,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), progress_shown: false }
    }

    fn show(&mut self, watch: Watch) {
        if self.quiet {
            return;
        }
        match watch {
            Watch::Log(line) => {
                self.clear();
                eprintln!("{}", shown(&line));
            }
            Watch::Retrying { next, failure } => {
                self.clear();
                eprintln!("attempt {} failed, trying again: {}", next - 1, printable(&failure.to_string()));
            }
            Watch::Progress(progress) => {
                let of = progress.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let note = progress.note.map(|note| format!("  {}", printable(&note))).unwrap_or_default();
                if self.terminal {
                    eprint!("\r\x1b[K{}{of}{note}", progress.done);
                    self.progress_shown = true;
                } else {
                    eprintln!("progress {}{of}{note}", progress.done);
                }
            }
        }
    }

    /// Takes the progress line off the screen.
    fn clear(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            eprint!("\r\x1b[K");
        }
    }
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

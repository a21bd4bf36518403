//! `lovage dead`: tasks after their last failure.

use std::collections::VecDeque;

use clap::{Args, Subcommand};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value as Json, json};

use super::run::label;
use super::runs::since;
use super::{Connect, Fault, input, output};
use crate::client::{Client, Edit, LETTERS_SHOWN_DEFAULT, LetterFilter};
use crate::model::lifecycle::Tried;
use crate::model::{Kind, ModuleName, Queue, TaskId, TaskName, Value};
use crate::protocol::dead::Letter;
use crate::protocol::note::printable;

/// Letters that are sent again or dropped at a time.
const AT_ONCE: usize = 64;

/// Lines of the log that `show` ends with.
const LOG_LINES_SHOWN: usize = 20;

/// Letters that one command sends again or drops: more are the next one's.
const LETTERS_MAX: usize = 100_000;

/// List, send again and drop tasks that have failed for good.
#[derive(Subcommand)]
pub(super) enum Dead {
    /// List dead letters, the latest first.
    Ls(Ls),
    /// Show a dead letter: its input, its failure, its attempts and its log.
    Show(Show),
    /// Send tasks again; print the new ids.
    Replay(Replay),
    /// Drop dead letters.
    Rm(Rm),
}

/// Which dead letters.
#[derive(Args)]
struct Which {
    /// Only those of this queue.
    #[arg(long)]
    queue: Option<Queue>,

    /// Only those of this module, or of this task of it: module or module/task.
    #[arg(long, value_name = "MODULE[/TASK]")]
    task: Option<String>,

    /// Only those that failed so, as in trap or out_of_fuel.
    #[arg(long)]
    kind: Option<Kind>,

    /// Only those with this label; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Only those that died within this time, as in 2h, or since then (RFC 3339).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// List dead letters.
#[derive(Args)]
pub(super) struct Ls {
    #[command(flatten)]
    which: Which,

    /// Letters to show.
    #[arg(long, default_value_t = LETTERS_SHOWN_DEFAULT)]
    limit: usize,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Show a dead letter.
#[derive(Args)]
pub(super) struct Show {
    /// The task.
    id: TaskId,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Send tasks again.
#[derive(Args)]
pub(super) struct Replay {
    /// The tasks; or --all.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<TaskId>,

    /// All that fit the filters.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    which: Which,

    /// Another input for each of them: JSON, - for stdin, or @FILE.
    #[arg(long)]
    input: Option<String>,

    /// Another queue.
    #[arg(long, value_name = "QUEUE")]
    to: Option<Queue>,

    /// Run the latest version of the module, in place of the one that failed.
    #[arg(long)]
    latest: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Drop dead letters.
#[derive(Args)]
pub(super) struct Rm {
    /// The tasks; or --all.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<TaskId>,

    /// All that fit the filters.
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    connect: Connect,
}

impl Dead {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
            Self::Replay(replay) => replay.run().await,
            Self::Rm(rm) => rm.run().await,
        }
    }
}

impl Which {
    fn filter(&self, client: &Client) -> Result<LetterFilter, Fault> {
        let now = client.broker().clock.now();
        let (module, task) = match self.task.as_deref() {
            None => (None, None),
            Some(text) => match text.split_once('/') {
                Some((module, task)) => (Some(module.parse::<ModuleName>()?), Some(task.parse::<TaskName>()?)),
                None => (Some(text.parse::<ModuleName>()?), None),
            },
        };
        Ok(LetterFilter {
            queue: self.queue.clone(),
            module,
            task,
            kind: self.kind,
            labels: self.labels.iter().cloned().collect(),
            since: self.since.as_deref().map(|text| since(text, now)).transpose()?,
            // What dies from now on is not what was asked for, above all not what is sent again here.
            until: Some(now),
        })
    }

    fn is_empty(&self) -> bool {
        self.queue.is_none()
            && self.task.is_none()
            && self.kind.is_none()
            && self.labels.is_empty()
            && self.since.is_none()
    }
}

/// The letters that a command is about.
async fn chosen(client: &Client, ids: &[TaskId], which: &Which) -> Result<Vec<Letter>, Fault> {
    if ids.is_empty() {
        let letters = client.letters(which.filter(client)?).await?;
        return Ok(letters.take(LETTERS_MAX).try_collect().await?);
    }
    if !which.is_empty() {
        return Err(Fault::usage("filters go with --all, not with ids"));
    }
    let mut letters = Vec::new();
    for id in ids {
        letters.push(client.letter(id).await?);
    }
    Ok(letters)
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let mut letters = client.letters(self.which.filter(&client)?).await?;
        let mut latest = VecDeque::new();
        while let Some(letter) = letters.try_next().await? {
            latest.push_front(letter);
            latest.truncate(self.limit);
        }
        if self.json {
            return latest.iter().try_for_each(|letter| output::json(&summary(letter)));
        }
        let row = |letter: &Letter| {
            let failure = format!("{}: {}", letter.failure.kind, letter.failure.message);
            let failure: String = failure.chars().take(80).collect();
            let attempts = letter.usage.attempt.to_string();
            vec![
                letter.id.to_string(),
                task(letter),
                letter.queue.to_string(),
                letter.died.to_string(),
                attempts,
                failure,
            ]
        };
        let rows: Vec<Vec<String>> = latest.iter().map(row).collect();
        output::table(&["ID", "TASK", "QUEUE", "DIED", "ATTEMPTS", "FAILURE"], &rows)
    }
}

fn task(letter: &Letter) -> String {
    letter.message.as_ref().map_or_else(|_| "?".to_owned(), |message| message.signature.task.to_string())
}

fn summary(letter: &Letter) -> Json {
    let Letter { id, queue, priority, died, failure, usage, message, .. } = letter;
    let labels = message.as_ref().ok().map(|message| &message.signature.options.labels);
    json!({
        "id": id, "task": task(letter), "queue": queue, "priority": priority.number(), "died": died.to_string(),
        "attempts": usage.attempt, "host": usage.host, "failure": failure, "tried": usage.tried, "labels": labels,
    })
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let letter = client.letter(&self.id).await?;
        let mut lines: VecDeque<_> = VecDeque::new();
        let mut log = client.logs(&self.id, false).await?;
        while let Some(line) = log.try_next().await? {
            lines.push_back(line);
            if lines.len() > LOG_LINES_SHOWN {
                lines.pop_front();
            }
        }
        let input = match &letter.message {
            Ok(message) => match &message.signature.input {
                Value::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Value::Stored { digest, size } => format!("{digest}, {}", output::size(*size)),
            },
            Err(rejection) => format!("unreadable: {rejection}"),
        };
        if self.json {
            let mut whole = summary(&letter);
            if let Some(fields) = whole.as_object_mut() {
                fields.insert("input".to_owned(), Json::String(input));
                fields.insert("log".to_owned(), json!(lines));
            }
            return output::json(&whole);
        }
        let Letter { id, queue, died, failure, usage, .. } = &letter;
        let host = usage.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        output::line(&format!("{id}: {} in queue {queue}", task(&letter)))?;
        for Tried { attempt, host, at, kind, message } in &usage.tried {
            output::line(&format!("tried {at}, attempt {attempt} on {host}: {kind}: {}", printable(message)))?;
        }
        output::line(&format!("died {died}, attempt {}{host}", usage.attempt))?;
        output::line(&format!("failure {}", printable(&failure.to_string())))?;
        if let Some(detail) = &failure.detail {
            output::line(&format!("detail {}", printable(&detail.to_string())))?;
        }
        output::line(&format!("input {}", printable(&input)))?;
        lines.iter().try_for_each(|line| {
            output::line(&format!(
                "{} {:5} [{}] {}",
                line.at,
                line.level.as_str(),
                line.attempt,
                printable(&line.message)
            ))
        })
    }
}

impl Replay {
    async fn run(self) -> Result<(), Fault> {
        let input = self.input.as_deref().map(|text| input::read(Some(text))).transpose()?;
        let (_nats, client) = self.connect.client().await?;
        let edit = Edit { input, queue: self.to, latest: self.latest };
        let letters = chosen(&client, &self.ids, &self.which).await?;
        let (count, mut refused, mut last) = (letters.len(), 0, None);
        let mut sent = futures::stream::iter(letters)
            .map(|letter| {
                let (client, edit) = (&client, &edit);
                async move { client.replay(&letter, edit).await }
            })
            .buffered(AT_ONCE);
        while let Some(result) = sent.next().await {
            match result {
                Ok(id) => output::line(id.as_str())?,
                // The broker is what the rest needs too; what is wrong with one letter is not wrong with the others.
                Err(error) if error.is_passing() => return Err(error.into()),
                Err(error) => {
                    refused += 1;
                    eprintln!("failed to {}", printable(&error.to_string()));
                    last = Some(error);
                }
            }
        }
        match last {
            None => Ok(()),
            Some(error) if count == 1 => {
                let gone = matches!(error, crate::client::Error::ModuleMissing { .. });
                let fault: Fault = error.into();
                Err(if gone { fault.hint("send it to the latest version with --latest") } else { fault })
            }
            Some(_) => {
                Err(Fault::usage(format!("{refused} of {count} tasks were not sent again; their letters are kept"))
                    .hint("where a module is gone, --latest sends to its latest version"))
            }
        }
    }
}

impl Rm {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let letters = chosen(&client, &self.ids, &self.which).await?;
        let count = letters.len();
        let drop = |letter: Letter| {
            let client = &client;
            async move { client.drop_letter(&letter).await }
        };
        futures::stream::iter(letters).map(drop).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        eprintln!("dropped {count}");
        Ok(())
    }
}

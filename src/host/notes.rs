//! Guests' log lines and progress, on their way to the broker while the guest runs.

use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::debug;

use crate::broker::Broker;
use crate::model::{Level, ModuleRecord};
use crate::protocol::Headers;
use crate::protocol::note::{LogLine, Progress, Running};
use crate::protocol::subject::{self, TaskSubject};
use crate::sandbox::{Note, Report};

/// Notes of one guest that wait to be sent; what exceeds them is dropped and counted, so that no guest waits for the broker.
pub(super) const NOTES_MAX: usize = 256;

/// What is kept of an output after a cancel, in characters: a log is for words.
const TIDY_CHARS_MAX: usize = 4_000;

/// Drives the invocation and sends its notes, all of them before this returns.
pub(super) async fn forward(
    broker: &Broker,
    task: &TaskSubject,
    attempt: u32,
    mut notes: mpsc::Receiver<Note>,
    invocation: impl Future<Output = Report>,
) -> Report {
    let mut invocation = pin!(invocation);
    let report = loop {
        tokio::select! {
            biased;
            Some(note) = notes.recv() => send(broker, task, attempt, note).await,
            report = &mut invocation => break report,
        }
    };
    while let Ok(note) = notes.try_recv() {
        send(broker, task, attempt, note).await;
    }
    report
}

/// Keeps, in the log, what a guest returned after it was cancelled: its record says `cancelled`, and nothing else.
pub(super) async fn ended_tidily(broker: &Broker, task: &TaskSubject, attempt: u32, output: &Bytes) {
    let output: String = String::from_utf8_lossy(output).chars().take(TIDY_CHARS_MAX).collect();
    let message = format!("ended tidily after the cancel: {output}");
    let at = broker.clock.now();
    send(broker, task, attempt, Note::Log { level: Level::Info, message, at }).await;
}

/// Says, in the log of a task that waits for it, that its module is fetched and compiled.
pub(super) async fn loading(broker: &Broker, task: &TaskSubject, attempt: u32, module: &ModuleRecord) {
    let ModuleRecord { name, version, size, .. } = module;
    let message =
        format!("waiting for its module: {name}@{version}, {size} bytes, is compiled, which this host does once");
    let at = broker.clock.now();
    send(broker, task, attempt, Note::Log { level: Level::Info, message, at }).await;
}

/// Says that a guest begins.
pub(super) async fn running(broker: &Broker, task: &TaskSubject, running: Running) {
    let subject = subject::running(&task.tenant, &task.key);
    if let Err(error) = broker.bus.send(&subject, Headers::new(), json(&running)).await {
        debug!(%error, "that a guest begins was not heard");
    }
}

async fn send(broker: &Broker, task: &TaskSubject, attempt: u32, note: Note) {
    let (subject, body) = match note {
        Note::Log { level, message, at } => {
            (subject::log(&task.tenant, &task.key), json(&LogLine { at, attempt, level, message }))
        }
        Note::Progress { done, total, note } => {
            let at = broker.clock.now();
            (subject::progress(&task.tenant, &task.key), json(&Progress { at, attempt, done, total, note }))
        }
    };
    // A log line is not worth holding up a task for.
    if let Err(error) = broker.bus.send(&subject, Headers::new(), body).await {
        debug!(%error, "a note of the guest was lost");
    }
}

fn json(note: &impl Serialize) -> Bytes {
    serde_json::to_vec(note).unwrap_or_default().into()
}

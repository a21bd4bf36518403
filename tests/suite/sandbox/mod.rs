//! The sandbox against guests written in WAT: each limit is hit, and how it is reported is checked.

mod cache;
mod cancel;
mod commands;
mod compiler;
mod exceptions;
mod grants;
mod guests;
mod http;
mod languages;
mod limits;
mod metering;
mod mutations;
mod tasks;
mod traps;
mod typed;
mod uploads;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage::model::module::Manifest;
use lovage::model::{Digest, Failure, Limits, Outcome, Tenant, Timestamp};
use lovage::sandbox::{Attempt, Cancel, Compiler, Config, Invocation, Module, Note, Reach, Report, Sandbox, inspect};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Notes that a test may leave unread.
const NOTES_MAX: usize = 1_000;

/// A sandbox with a cache of its own, which goes with it.
struct Rig {
    sandbox: Sandbox,
    dir: TempDir,
}

/// What a test varies of an invocation.
struct Call {
    task: &'static str,
    input: Bytes,
    limits: Limits,
    manifest: Manifest,
    reach: Reach,
    cancel: Cancel,
}

impl Default for Call {
    fn default() -> Self {
        let limits = Limits { attempt_timeout: Duration::from_secs(20), ..Limits::default() };
        Self {
            task: "run",
            input: Bytes::from_static(b"{}"),
            limits,
            manifest: Manifest::default(),
            reach: Reach::default(),
            cancel: Cancel::default(),
        }
    }
}

impl Call {
    fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn invocation(self) -> (Invocation, mpsc::Receiver<Note>) {
        let (notes, heard) = mpsc::channel(NOTES_MAX);
        let attempt = Attempt {
            task_id: "t-1".to_owned(),
            task: self.task.parse().unwrap(),
            tenant: Tenant::default_tenant(),
            attempt: 3,
            idempotency_key: "key-1".to_owned(),
            run_id: None,
            step: Some("resize".to_owned()),
            labels: vec![("region".to_owned(), "eu".to_owned())],
        };
        let invocation = Invocation {
            attempt,
            input: self.input,
            limits: self.limits,
            manifest: Arc::new(self.manifest),
            reach: self.reach,
            now: Timestamp::from_millis(1_700_000_000_000),
            notes,
            cancel: self.cancel,
        };
        (invocation, heard)
    }
}

fn config(dir: &TempDir) -> Config {
    let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
    Config::new(4, 2, dir.path().to_owned(), compiler)
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().unwrap();
        let mut config = config(&dir);
        change(&mut config);
        Self { sandbox: Sandbox::new(config).unwrap(), dir }
    }

    /// Uploads as a host does: inspects, then loads what is to be stored.
    async fn load(&self, upload: &[u8]) -> Arc<Module> {
        let stored = Bytes::from(inspect(upload).unwrap().stored.into_owned());
        self.sandbox.load(&Digest::of(&stored), stored).await.unwrap()
    }

    async fn report(&self, upload: &[u8], call: Call) -> Report {
        self.report_with_notes(upload, call).await.0
    }

    async fn report_with_notes(&self, upload: &[u8], call: Call) -> (Report, Vec<Note>) {
        let module = self.load(upload).await;
        let (invocation, mut heard) = call.invocation();
        let report = self.sandbox.invoke(module, invocation).await;
        let mut notes = Vec::new();
        while let Ok(note) = heard.try_recv() {
            notes.push(note);
        }
        (report, notes)
    }
}

/// The output of a report that has one.
fn output(report: &Report) -> &str {
    let Outcome::Output(bytes) = &report.outcome else { panic!("{report:?}") };
    std::str::from_utf8(bytes).unwrap()
}

/// The failure of a report that has one.
fn failure(report: &Report) -> &Failure {
    let Outcome::Failed(failure) = &report.outcome else { panic!("{report:?}") };
    failure
}

/// The code in a failure's detail.
fn code(report: &Report) -> &str {
    failure(report).detail.as_ref().unwrap()["code"].as_str().unwrap()
}

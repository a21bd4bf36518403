//! The driver of `lovage exec`: the guest `canvas` in the sandbox, in this process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lovage::exec::{Guest, Guests};
use lovage::local::{self, Clock, Setup, Word};
use lovage::model::{Datum, Digest, RunId, Version};
use lovage::sandbox::{Compiler, Config, Note, Sandbox, inspect};
use lovage::workflow::flow::Document;
use lovage::workflow::run::Change;
use tempfile::TempDir;

use crate::case::{Case, Seen};
use crate::cases::table;

/// A sandbox with the guest in it.
pub(crate) struct Rig {
    pub(crate) sandbox: Sandbox,
    pub(crate) guest: Guest,
    pub(crate) stored: Bytes,
    _dir: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guests/canvas.wasm");
        let upload = std::fs::read(&file);
        let upload = upload.unwrap_or_else(|_| panic!("{} is not there: run scripts/build-guests", file.display()));
        let stored = Bytes::from(inspect(&upload).unwrap().stored.into_owned());
        let dir = TempDir::new().unwrap();
        let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
        let sandbox = Sandbox::new(Config::new(64, 2, dir.path().to_owned(), compiler)).unwrap();
        let digest = Digest::of(&stored);
        let code = sandbox.load(&digest, stored.clone()).await.unwrap();
        let tasks = sandbox.describe(&code).await.unwrap();
        let version = Version::next_after([]);
        let guest = Guest { version, digest, code, tasks, manifest: Arc::default() };
        Self { sandbox, guest, stored, _dir: dir }
    }

    pub(crate) async fn play(&self, case: &Case) -> Seen {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&log);
        let modules = BTreeMap::from([("canvas".parse().unwrap(), self.guest.clone())]);
        let (say, words) = tokio::sync::mpsc::channel(1);
        let cancel_at = case.cancel_at;
        let guests = Guests::new(self.sandbox.clone(), modules).heard_by(move |_, note| {
            if let Note::Log { message, .. } = note {
                if cancel_at == Some(message.as_str()) {
                    say.try_send(Word::Cancel).unwrap();
                }
                noted.lock().unwrap().push(message);
            }
        });
        let document =
            Document::parse(case.flow.as_bytes()).unwrap_or_else(|problems| panic!("{}: {problems:?}", case.name));
        let setup = Setup {
            input: case.input.as_ref().map(Datum::of_json),
            clock: if case.real_time { Clock::Real } else { Clock::Fast },
            concurrency: case.concurrency,
            ..Setup::new(document, lovage::testing::BEGINS)
        };
        let mut view = |_: &RunId, _: &Change| {};
        let report = local::run(setup, &guests, &mut view, Some(words)).await;
        let report = report.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let journal = report.runs[&report.run].journal.clone();
        let log = Some(log.lock().unwrap().clone());
        Seen { ending: report.end.result, journal, log, took_ms: report.took.as_millis() }
    }
}

#[tokio::test]
async fn every_case_holds_in_the_sandbox() {
    let rig = Rig::new().await;
    for case in table() {
        let began = std::time::Instant::now();
        case.assert(&rig.play(&case).await);
        println!("{:7.1} ms  {}", began.elapsed().as_secs_f64() * 1e3, case.name);
    }
}

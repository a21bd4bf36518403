//! Every language does the same: the guests under `examples/guests/table`, held to one table.

use std::path::Path;

use bytes::Bytes;
use lovage::model::module::Manifest;
use lovage::model::{Contract, Digest, EngineClass, Failure, Kind, Outcome};
use lovage::sandbox::{Note, Report, inspect};
use serde_json::{Value, json};

use super::{Call, failure};
use crate::support::guests::built;
use crate::support::modules::sandbox;

/// A language as the table sees it.
struct Language {
    guest: &'static str,
    /// The text that the guest interprets, below `examples/guests/table`.
    script: Option<&'static str>,
    contract: Contract,
    /// How a crash ends: a trap, or an exit code of the language's own.
    panic: Kind,
    /// What is said of a crash, in the log or as the failure's message; empty where the toolchain says nothing.
    last_words: &'static str,
}

impl Language {
    /// A command of preview 1 whose crash is a trap about which nothing is said.
    const COMMAND: Self =
        Self { guest: "", script: None, contract: Contract::Command, panic: Kind::Trap, last_words: "" };
    const TYPED: Self = Self { contract: Contract::Typed, ..Self::COMMAND };

    const fn script(guest: &'static str, script: &'static str, last_words: &'static str) -> Self {
        Self { guest, script: Some(script), panic: Kind::Returned, last_words, ..Self::COMMAND }
    }
}

const LANGUAGES: [Language; 15] = [
    Language { guest: "table-c", ..Language::COMMAND },
    // The same module as a command of preview 2.
    Language { guest: "table-c", contract: Contract::CommandComponent, ..Language::COMMAND },
    Language { guest: "table-cpp", ..Language::COMMAND },
    Language { guest: "table-go", panic: Kind::Returned, last_words: "panic: as asked", ..Language::COMMAND },
    Language { guest: "table-zig", last_words: "panic: as asked", ..Language::COMMAND },
    Language { guest: "table-assemblyscript", last_words: "as asked", ..Language::COMMAND },
    Language { guest: "table-rust-command", last_words: "as asked", ..Language::COMMAND },
    Language { guest: "table-javascript", ..Language::TYPED },
    Language { guest: "table-typescript", ..Language::TYPED },
    Language { guest: "table-python", last_words: "RuntimeError: as asked", ..Language::TYPED },
    Language { guest: "table-rust", ..Language::TYPED },
    Language { guest: "table-sdk", contract: Contract::Task, last_words: "as asked", ..Language::COMMAND },
    Language::script("script", "script-javascript/table.js", "'asAsked' of null"),
    Language::script("script-lua", "script-lua/table.lua", "attempt to call a nil value (local 'asked')"),
    Language::script("script-python", "script-python/table.py", "'NoneType' object has no attribute 'as_asked'"),
];

impl Language {
    /// Runs one of its tasks; the report, and what it said.
    async fn run(&self, task: &'static str, input: &Value) -> (Report, Vec<Note>) {
        let mut upload = std::fs::read(built(self.guest)).unwrap();
        if self.contract == Contract::CommandComponent {
            upload = as_component(&upload);
        }
        let inspection = inspect(&upload).unwrap();
        let class = EngineClass { exceptions: inspection.exceptions, ..EngineClass::default() };
        let stored = Bytes::from(inspection.stored.into_owned());
        let module = sandbox().of_class(class).load(&Digest::of(&stored), stored).await.unwrap();
        assert_eq!(module.contract(), self.contract, "{}", self.guest);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guests/table");
        let script = self.script.map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
        let manifest = Manifest { script, ..Manifest::default() };
        let (invocation, mut heard) =
            Call { task, input: Bytes::from(input.to_string()), manifest, ..Call::default() }.invocation();
        let report = sandbox().invoke(module, invocation).await;
        let mut notes = Vec::new();
        while let Ok(note) = heard.try_recv() {
            notes.push(note);
        }
        (report, notes)
    }

    async fn returns(&self, task: &'static str, input: &Value) -> Value {
        let (report, _) = self.run(task, input).await;
        let Outcome::Output(output) = &report.outcome else { panic!("{} {task}: {report:?}", self.guest) };
        serde_json::from_slice(output).unwrap()
    }

    async fn fails(&self, task: &'static str, input: &Value) -> Failure {
        let (report, _) = self.run(task, input).await;
        failure(&report).clone()
    }

    /// Whether its exit codes arrive: `wasi:cli/exit` knows success and failure, and nothing else.
    fn has_exit_codes(&self) -> bool {
        self.contract == Contract::Command
    }

    fn is_command(&self) -> bool {
        matches!(self.contract, Contract::Command | Contract::CommandComponent)
    }

    /// Whether it writes its output and chooses its exit code itself: scripts in JavaScript have no way to.
    fn ends_by_itself(&self) -> bool {
        self.is_command() && self.guest != "script"
    }
}

/// A component that exports `wasi:cli/run`, of a command of preview 1 and the adapter that comes with wasmtime: what
/// `wasm-tools component new --adapt` makes.
fn as_component(command: &[u8]) -> Vec<u8> {
    let mut encoder = wit_component::ComponentEncoder::default().validate(true).module(command).unwrap();
    let name = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
    encoder = encoder.adapter(name, adapter).unwrap();
    encoder.encode().unwrap()
}

fn logged(notes: &[Note]) -> Vec<&str> {
    let mut lines = Vec::new();
    for note in notes {
        if let Note::Log { message, .. } = note {
            lines.push(message.as_str());
        }
    }
    lines
}

#[tokio::test]
async fn every_language_adds_and_echoes() {
    for language in &LANGUAGES {
        let sum = language.returns("sum", &json!([1, 2, 3.5, -10])).await;
        assert_eq!(sum.as_f64(), Some(-3.5), "{}", language.guest);
        let sum = language.returns("sum", &json!([])).await;
        assert_eq!(sum.as_f64(), Some(0.0), "{}", language.guest);
        for text in ["", "grüße 🌿 \u{7ff}\u{ffff}", "\"\\\n\u{0}\u{1f}", &"é🌿x".repeat(150_000)] {
            let echo = language.returns("echo", &json!(text)).await;
            assert!(echo == json!(text), "{}: {} bytes", language.guest, text.len());
        }
    }
}

#[tokio::test]
async fn every_language_fails_for_now_or_for_good() {
    for language in &LANGUAGES {
        let busy = language.fails("busy", &Value::Null).await;
        assert_eq!((busy.kind, busy.message.as_str()), (Kind::Returned, "try again"), "{}", language.guest);
        let never = language.fails("never", &Value::Null).await;
        let is_for_good = !language.is_command() || language.has_exit_codes();
        let kind = if is_for_good { Kind::Refused } else { Kind::Returned };
        assert_eq!((never.kind, never.message.as_str()), (kind, "never again"), "{}", language.guest);
    }
}

#[tokio::test]
async fn every_language_logs() {
    for language in &LANGUAGES {
        let (report, notes) = language.run("say", &Value::Null).await;
        assert!(matches!(&report.outcome, Outcome::Output(output) if output.trim_ascii() == b"3"), "{report:?}");
        assert_eq!(logged(&notes), ["line 1: grüße", "line 2: grüße", "line 3: grüße"], "{}", language.guest);
    }
}

#[tokio::test]
async fn every_language_with_imports_reports_progress() {
    for language in LANGUAGES.iter().filter(|language| !language.is_command()) {
        let (_, notes) = language.run("steps", &json!(3)).await;
        let step = |done| Note::Progress { done, total: Some(3.0), note: Some("step".to_owned()) };
        assert_eq!(notes, [step(1.0), step(2.0), step(3.0)], "{}", language.guest);
    }
}

#[tokio::test]
async fn every_command_says_how_it_ended() {
    for language in LANGUAGES.iter().filter(|language| language.ends_by_itself()) {
        let babble = language.fails("babble", &Value::Null).await;
        assert_eq!(babble.kind, Kind::Returned, "{}", language.guest);
        assert!(babble.message.starts_with("stdout is not JSON"), "{}: {babble}", language.guest);
        for code in [1, 7, 125] {
            let quit = language.fails("quit", &json!(code)).await;
            let code = if language.has_exit_codes() { code } else { 1 };
            assert_eq!((quit.kind, quit.detail), (Kind::Returned, Some(json!({ "exit_code": code }))));
            assert_eq!(quit.message, format!("exit code {code}"), "{}", language.guest);
        }
        let for_good = if language.has_exit_codes() { Kind::Refused } else { Kind::Returned };
        assert_eq!(language.fails("quit", &json!(65)).await.kind, for_good, "{}", language.guest);
        assert_eq!(language.returns("quit", &json!(0)).await, Value::Null, "{}", language.guest);
    }
}

#[tokio::test]
async fn a_crash_in_any_language_is_a_failure_of_its_task_alone() {
    for language in &LANGUAGES {
        let (report, notes) = language.run("panic", &Value::Null).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, language.panic, "{}: {failed}", language.guest);
        let said = [logged(&notes).join("\n"), failed.message.clone()].join("\n");
        assert!(said.contains(language.last_words), "{}: {said}", language.guest);
        assert_eq!(language.returns("echo", &json!("fine")).await, "fine", "{}", language.guest);
    }
}

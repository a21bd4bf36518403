//! Modules in the broker of a test, and the sandbox that runs them.

use std::path::PathBuf;
use std::sync::OnceLock;

use bytes::Bytes;
use lovage::client::{Client, Upload};
use lovage::model::module::Manifest;
use lovage::model::{Contract, Digest, ModuleRecord, TaskDescription, TaskName};
use lovage::sandbox::{Compiler, Config, Sandbox, inspect};

/// One sandbox for all tests that do not test the sandbox: each module is compiled once.
pub(crate) fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let open = || {
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("artifacts");
        let compiler = Compiler::new(PathBuf::from(env!("CARGO_BIN_EXE_lovage")));
        Sandbox::new(Config::new(64, 2, cache, compiler)).unwrap()
    };
    SANDBOX.get_or_init(open).clone()
}

/// Uploads a guest under examples/guests by its name, as `lovage module push` does.
pub(crate) async fn push(client: &Client, name: &str) -> ModuleRecord {
    push_bytes(client, name, &std::fs::read(super::guests::built(name)).unwrap()).await
}

/// The same with a module that a test made.
pub(crate) async fn push_bytes(client: &Client, name: &str, bytes: &[u8]) -> ModuleRecord {
    let sandbox = sandbox();
    let inspection = inspect(bytes).unwrap();
    let contract = inspection.contract;
    let stored = Bytes::from(inspection.stored.into_owned());
    let tasks = match contract {
        Contract::Task | Contract::Typed => {
            let code = sandbox.load(&Digest::of(&stored), stored.clone()).await.unwrap();
            sandbox.describe(&code).await.unwrap()
        }
        Contract::Command | Contract::CommandComponent => vec![TaskDescription {
            name: TaskName::run(),
            summary: String::new(),
            input_schema: None,
            output_schema: None,
            media_type: None,
        }],
    };
    let upload = Upload {
        name: name.parse().unwrap(),
        version: None,
        bytes: stored,
        source_digest: None,
        contract,
        tasks,
        manifest: Manifest::default(),
    };
    client.push(upload).await.unwrap()
}

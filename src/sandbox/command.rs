//! The command contracts: input on stdin, output on stdout, logs on stderr, the outcome by the exit code.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use serde_json::value::RawValue;
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::guest::Guest;
use crate::model::{Failure, Kind, Outcome};

/// The exit code of a task that refuses its input for good: EX_DATAERR of sysexits.h.
const EXIT_REFUSED: i32 = 65;

/// Runs a preview 1 core module to its exit code.
pub(super) async fn call_core(pre: &InstancePre<Guest>, store: &mut Store<Guest>) -> wasmtime::Result<i32> {
    let ended = async {
        let instance = pre.instantiate_async(&mut *store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        start.call_async(&mut *store, ()).await
    };
    exit_code(ended.await.map(|()| 0))
}

/// Runs a `wasi:cli/run` component to its exit code.
pub(super) async fn call_component(pre: &CommandPre<Guest>, store: &mut Store<Guest>) -> wasmtime::Result<i32> {
    let ended = async {
        let command = pre.instantiate_async(&mut *store).await?;
        command.wasi_cli_run().call_run(&mut *store).await
    };
    exit_code(ended.await.map(|result| i32::from(result.is_err())))
}

fn exit_code(ended: wasmtime::Result<i32>) -> wasmtime::Result<i32> {
    ended.or_else(|error| match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(code)) => Ok(*code),
        None => Err(error),
    })
}

/// The outcome of a command that ended by itself.
pub(super) fn outcome(code: i32, guest: &Guest, flows: bool) -> Outcome {
    if code == 0 {
        return output(guest, flows);
    }
    let line = guest.notes.telling_line();
    let said = if line.is_empty() { format!("exit code {code}") } else { line };
    let kind = if code == EXIT_REFUSED { Kind::Refused } else { Kind::Returned };
    Outcome::Failed(Failure::new(kind, said).with_detail(json!({ "exit_code": code })))
}

fn output(guest: &Guest, flows: bool) -> Outcome {
    let written = guest.output.take();
    let text = written.trim_ascii();
    if text.is_empty() {
        return Outcome::Output(bytes::Bytes::from_static(b"null"));
    }
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(text) {
        let message = format!("stdout is not JSON: {error}");
        return Outcome::Failed(Failure::new(Kind::Returned, message).with_detail(json!({ "exit_code": 0 })));
    }
    if flows && let Ok(Replacement { flow }) = serde_json::from_slice(text) {
        return Outcome::Replace(flow.get().to_owned());
    }
    Outcome::Output(written.slice_ref(text))
}

/// An output that is a flow to take the task's place: this key and no other.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement<'a> {
    #[serde(rename = "$flow", borrow)]
    flow: &'a RawValue,
}

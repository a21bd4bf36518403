//! The SDK contract, the world `lovage:task`: what the host offers to a guest, and what its outcome means.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::Store;

use super::guest::Guest;
use super::notes::cut;
use super::rejection::Rejection;
use super::trap;
use crate::model::Level;
use crate::model::module::TASKS_MAX;
use crate::model::{Failure, Kind, Outcome, TaskDescription};
use bindings::lovage::task::{host, types};

pub(super) use bindings::TaskPre;
pub(super) use types::{Failure as TaskFailure, Outcome as TaskOutcome};

/// Generated from the contract itself.
pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "guest-sdk/wit",
        world: "task",
        imports: {
            "lovage:task/kv": async | trappable,
            "lovage:task/blob": async | trappable,
            "lovage:task/secrets": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

/// Text of one summary.
const SUMMARY_BYTES_MAX: usize = 4 << 10;

/// Runs a task of the module.
pub(super) async fn call(
    pre: &TaskPre<Guest>,
    store: &mut Store<Guest>,
    input: &Bytes,
) -> wasmtime::Result<Result<types::Outcome, types::Failure>> {
    let task = store.data().attempt.task.clone();
    let instance = pre.instantiate_async(&mut *store).await?;
    instance.call_run(&mut *store, task.as_str(), input).await
}

/// Asks the module for its tasks.
pub(super) async fn call_describe(
    pre: &TaskPre<Guest>,
    store: &mut Store<Guest>,
) -> wasmtime::Result<Vec<types::TaskDescription>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    instance.call_describe(&mut *store).await
}

/// Adds the interfaces of `lovage:task` to a linker.
pub(super) fn link(linker: &mut wasmtime::component::Linker<Guest>) -> wasmtime::Result<()> {
    bindings::Task::add_to_linker::<_, wasmtime::component::HasSelf<_>>(linker, |guest| guest)
}

/// The outcome of a task that returned.
pub(super) fn outcome(returned: Result<types::Outcome, types::Failure>, output_bytes_max: u64) -> Outcome {
    let exceeds = |bytes: usize| bytes as u64 > output_bytes_max;
    match returned {
        Ok(types::Outcome::Value(bytes)) if exceeds(bytes.len()) => {
            Outcome::Failed(trap::output_limit(output_bytes_max))
        }
        Ok(types::Outcome::Replace(flow)) if exceeds(flow.len()) => {
            Outcome::Failed(trap::output_limit(output_bytes_max))
        }
        Ok(types::Outcome::Value(bytes)) => Outcome::Output(Bytes::from(bytes)),
        Ok(types::Outcome::Replace(flow)) => Outcome::Replace(flow),
        Err(types::Failure::Permanent(reason)) => Outcome::Failed(failure(Kind::Refused, reason)),
        Err(types::Failure::Retryable(types::Retry { reason, delay_ms })) => {
            let failure = failure(Kind::Returned, reason);
            Outcome::Failed(match delay_ms {
                Some(delay_ms) => failure.after(Duration::from_millis(delay_ms.into())),
                None => failure,
            })
        }
    }
}

/// Detail that is not JSON is kept as a text; what is too long for a failure is left out.
fn failure(kind: Kind, reason: types::Reason) -> Failure {
    let failure = Failure::new(kind, reason.message);
    match reason.detail {
        Some(detail) if detail.len() <= DETAIL_BYTES_MAX => {
            failure.with_detail(serde_json::from_str(&detail).unwrap_or(serde_json::Value::String(detail)))
        }
        Some(_) | None => failure,
    }
}

/// A failure travels in one message, with its detail.
const DETAIL_BYTES_MAX: usize = 64 << 10;

/// Checks what a module says of its tasks.
pub(super) fn descriptions(described: Vec<types::TaskDescription>) -> Result<Vec<TaskDescription>, Rejection> {
    let bad = |message: String| Rejection::BadDescription { message };
    if described.is_empty() || described.len() > TASKS_MAX {
        return Err(bad(format!("it names {} tasks, and 1 to {TASKS_MAX} are accepted", described.len())));
    }
    let mut tasks: Vec<TaskDescription> = Vec::with_capacity(described.len());
    for task in described {
        let name = task.name.parse().map_err(|error| bad(format!("{error}")))?;
        if tasks.iter().any(|other| other.name == name) {
            return Err(bad(format!("it names task {name} twice")));
        }
        let schema = |which: &str, text: Option<String>| {
            text.map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|error| bad(format!("the {which} schema of task {name} is not JSON: {error}")))
        };
        let (input_schema, output_schema) =
            (schema("input", task.input_schema)?, schema("output", task.output_schema)?);
        let summary = cut(&task.summary, SUMMARY_BYTES_MAX).to_owned();
        tasks.push(TaskDescription { name, summary, input_schema, output_schema, media_type: task.media_type });
    }
    Ok(tasks)
}

impl types::Host for Guest {}

impl host::Host for Guest {
    fn attempt(&mut self) -> wasmtime::Result<host::AttemptInfo> {
        let attempt = &self.attempt;
        let left = self.attempt_timeout;
        Ok(host::AttemptInfo {
            task_id: attempt.task_id.as_str().to_owned(),
            task: attempt.task.as_str().to_owned(),
            tenant: attempt.tenant.as_str().to_owned(),
            attempt: attempt.attempt,
            idempotency_key: attempt.idempotency_key.clone(),
            run_id: attempt.run_id.clone(),
            step: attempt.step.clone(),
            deadline_ms: Some(left.as_secs_f64() * 1_000.0),
            labels: attempt.labels.clone(),
        })
    }

    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            host::Level::Trace => Level::Trace,
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        self.notes.say(level, &message);
        Ok(())
    }

    fn progress(&mut self, done: f64, total: Option<f64>, note: Option<String>) -> wasmtime::Result<()> {
        self.notes.progress(done, total, note.as_deref());
        Ok(())
    }

    fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.cancel.ask())
    }
}

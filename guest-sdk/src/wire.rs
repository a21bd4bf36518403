//! The component's imports and exports, and this crate's types turned into theirs.
//!
//! **Invariant:** the only file that names the generated bindings; it holds no decision that a
//! native test would miss.

use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

pub use self::bindings::Guest;
use self::bindings::lovage::task as imports;
use self::bindings::lovage::task::types;
use crate::failure::Retry;
use crate::kv::Revision;
use crate::task::Entry;
use crate::{Attempt, Encoded, Failure, Level, blob, kv};

/// What `wit-bindgen` makes of `wit/task.wit`.
#[expect(missing_docs, reason = "generated; the contract's file has the words")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "task",
        pub_export_macro: true,
        generate_unused_types: true,
    });
}

/// What `describe` answers with.
pub type Descriptions = Vec<types::TaskDescription>;
/// The name that `run` is called with.
pub type Name = String;
/// The input that `run` is called with.
pub type Input = Vec<u8>;
/// What `run` answers with.
pub type Ending = Result<types::Outcome, types::Failure>;

/// The longest delay that the contract can carry, 49 days.
const DELAY_MS_MAX: u32 = u32::MAX;

/// Answers the platform's `describe`.
pub fn describe(tasks: &[Entry]) -> Descriptions {
    log_panics();
    let describe = |task: &Entry| {
        let description = task.description();
        types::TaskDescription {
            name: description.name.to_owned(),
            summary: description.summary.to_owned(),
            input_schema: description.input_schema,
            output_schema: description.output_schema,
            media_type: description.media_type.map(str::to_owned),
        }
    };
    tasks.iter().map(describe).collect()
}

/// Answers the platform's `run`.
pub fn run(tasks: &[Entry], task: &str, input: &[u8]) -> Ending {
    log_panics();
    match crate::task::call(tasks, task, input) {
        Ok(Encoded::Value(value)) => Ok(types::Outcome::Value(value)),
        Ok(Encoded::Replace(flow)) => Ok(types::Outcome::Replace(flow)),
        Err(failure) => Err(ended(failure)),
    }
}

fn ended(failure: Failure) -> types::Failure {
    let (message, detail, retry) = failure.into_parts();
    let reason = types::Reason { message, detail };
    match retry {
        Retry::Never => types::Failure::Permanent(reason),
        Retry::AsPolicySays => types::Failure::Retryable(types::Retry { reason, delay_ms: None }),
        Retry::After(delay) => types::Failure::Retryable(types::Retry { reason, delay_ms: Some(delay_ms(delay)) }),
    }
}

fn delay_ms(delay: Duration) -> u32 {
    u32::try_from(delay.as_millis()).unwrap_or(DELAY_MS_MAX)
}

/// A trap tells its kind and no more, so the message of a panic goes to the log before.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| log(Level::Error, &panic.to_string())));
    });
}

pub(crate) fn attempt() -> Attempt {
    let info = imports::host::attempt();
    Attempt {
        task_id: info.task_id,
        task: info.task,
        tenant: info.tenant,
        number: info.attempt,
        idempotency_key: info.idempotency_key,
        run_id: info.run_id,
        step: info.step,
        deadline_ms: info.deadline_ms,
        labels: info.labels,
    }
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => imports::host::Level::Trace,
        Level::Debug => imports::host::Level::Debug,
        Level::Info => imports::host::Level::Info,
        Level::Warn => imports::host::Level::Warn,
        Level::Error => imports::host::Level::Error,
    };
    imports::host::log(level, message);
}

pub(crate) fn progress(done: f64, total: Option<f64>, note: Option<&str>) {
    imports::host::progress(done, total, note);
}

pub(crate) fn is_cancelled() -> bool {
    imports::host::is_cancelled()
}

pub(crate) fn kv_get(bucket: &str, key: &str) -> Result<Option<kv::Entry>, kv::Error> {
    let entry = imports::kv::get(bucket, key).map_err(kv_error)?;
    Ok(entry.map(|entry| kv::Entry { value: entry.value, revision: Revision(entry.revision) }))
}

pub(crate) fn kv_set(bucket: &str, key: &str, value: &[u8]) -> Result<Revision, kv::Error> {
    imports::kv::set(bucket, key, value).map(Revision).map_err(kv_error)
}

pub(crate) fn kv_compare_and_set(bucket: &str, key: &str, value: &[u8], at: Revision) -> Result<Revision, kv::Error> {
    imports::kv::compare_and_set(bucket, key, value, at.0).map(Revision).map_err(kv_error)
}

pub(crate) fn kv_delete(bucket: &str, key: &str) -> Result<(), kv::Error> {
    imports::kv::delete(bucket, key).map_err(kv_error)
}

pub(crate) fn kv_keys(bucket: &str, prefix: &str, limit: u32) -> Result<Vec<String>, kv::Error> {
    imports::kv::keys(bucket, prefix, limit).map_err(kv_error)
}

fn kv_error(error: imports::kv::Error) -> kv::Error {
    match error {
        imports::kv::Error::NotGranted => kv::Error::NotGranted,
        imports::kv::Error::TooLarge => kv::Error::TooLarge,
        imports::kv::Error::Conflict => kv::Error::Conflict,
        imports::kv::Error::Unavailable(reason) => kv::Error::Unavailable(reason),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the contract has no 64-bit integers; objects are far below 2^53 bytes")]
pub(crate) fn blob_read(bucket: &str, name: &str, offset: u64, len: u32) -> Result<Vec<u8>, blob::Error> {
    imports::blob::read(bucket, name, offset as f64, len).map_err(blob_error)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size is a whole number of bytes")]
pub(crate) fn blob_size(bucket: &str, name: &str) -> Result<u64, blob::Error> {
    imports::blob::size(bucket, name).map(|size| size as u64).map_err(blob_error)
}

pub(crate) fn blob_write(bucket: &str, name: &str, data: &[u8]) -> Result<(), blob::Error> {
    imports::blob::write(bucket, name, data).map_err(blob_error)
}

fn blob_error(error: imports::blob::Error) -> blob::Error {
    match error {
        imports::blob::Error::NotGranted => blob::Error::NotGranted,
        imports::blob::Error::NotFound => blob::Error::NotFound,
        imports::blob::Error::TooLarge => blob::Error::TooLarge,
        imports::blob::Error::Unavailable(reason) => blob::Error::Unavailable(reason),
    }
}

pub(crate) fn secret(name: &str) -> Option<String> {
    imports::secrets::get(name)
}

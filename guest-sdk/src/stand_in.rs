//! The host outside of WebAssembly: enough to test a guest's functions as plain Rust.
//!
//! **Invariant:** it grants nothing, so that a test which passes does not rest on a grant.

use crate::kv::Revision;
use crate::{Attempt, Level, blob, kv};

pub(crate) fn attempt() -> Attempt {
    Attempt {
        task_id: "test".to_owned(),
        task: "test".to_owned(),
        tenant: "test".to_owned(),
        number: 1,
        idempotency_key: "test".to_owned(),
        run_id: None,
        step: None,
        deadline_ms: None,
        labels: Vec::new(),
    }
}

pub(crate) fn log(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

pub(crate) fn progress(done: f64, total: Option<f64>, note: Option<&str>) {
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    eprintln!("progress: {done}{total} {}", note.unwrap_or_default());
}

pub(crate) fn is_cancelled() -> bool {
    false
}

pub(crate) fn kv_get(_bucket: &str, _key: &str) -> Result<Option<kv::Entry>, kv::Error> {
    Err(kv::Error::NotGranted)
}

pub(crate) fn kv_set(_bucket: &str, _key: &str, _value: &[u8]) -> Result<Revision, kv::Error> {
    Err(kv::Error::NotGranted)
}

pub(crate) fn kv_compare_and_set(_bucket: &str, _key: &str, _value: &[u8], _: Revision) -> Result<Revision, kv::Error> {
    Err(kv::Error::NotGranted)
}

pub(crate) fn kv_delete(_bucket: &str, _key: &str) -> Result<(), kv::Error> {
    Err(kv::Error::NotGranted)
}

pub(crate) fn kv_keys(_bucket: &str, _prefix: &str, _limit: u32) -> Result<Vec<String>, kv::Error> {
    Err(kv::Error::NotGranted)
}

pub(crate) fn blob_read(_bucket: &str, _name: &str, _offset: u64, _len: u32) -> Result<Vec<u8>, blob::Error> {
    Err(blob::Error::NotGranted)
}

pub(crate) fn blob_size(_bucket: &str, _name: &str) -> Result<u64, blob::Error> {
    Err(blob::Error::NotGranted)
}

pub(crate) fn blob_write(_bucket: &str, _name: &str, _data: &[u8]) -> Result<(), blob::Error> {
    Err(blob::Error::NotGranted)
}

pub(crate) fn secret(_name: &str) -> Option<String> {
    None
}

//! What the error of a `result` means as a failure.

use std::time::Duration;

use serde_json::Value;
use wasmtime::component::Val;

use super::shape::Shape;
use super::write::write;
use crate::model::{Failure, Kind};

/// The case of an error that no further attempt can mend, as in the SDK's contract.
const PERMANENT: &str = "permanent";

/// The case that another attempt may mend; every error that is not permanent is taken as such, too.
const RETRYABLE: &str = "retryable";

/// The fields of a record whose text is the message of the failure.
const MESSAGES: [&str; 2] = ["message", "reason"];

/// The field that asks for a wait before the next attempt, in milliseconds.
const DELAY: &str = "delay-ms";

/// A failure travels in one message, with its detail.
const DETAIL_BYTES_MAX: usize = 64 << 10;

/// How deep a message is looked for.
const MESSAGE_DEPTH_MAX: u32 = 4;

/// The failure of a function that returned an error; with the error itself as its detail, where that is not too large.
pub(super) fn failure(error: Option<(&Shape, &Val)>) -> Failure {
    let Some((shape, value)) = error else { return Failure::new(Kind::Returned, "the task failed") };
    let json = write(shape, value, DETAIL_BYTES_MAX).ok();
    let detail: Option<Value> = json.as_deref().and_then(|text| serde_json::from_slice(text).ok());
    let (case, payload) = match value {
        Val::Variant(case, payload) => (Some(case.as_str()), payload.as_deref()),
        Val::Enum(case) => (Some(case.as_str()), None),
        other => (None, Some(other)),
    };
    let is_ours = case == Some(PERMANENT) || case == Some(RETRYABLE);
    let kind = if case == Some(PERMANENT) { Kind::Refused } else { Kind::Returned };
    let said = payload.and_then(|payload| message(payload, MESSAGE_DEPTH_MAX));
    let said = match (case, said) {
        (Some(case), Some(said)) if !is_ours => format!("{case}: {said}"),
        (Some(case), None) => case.to_owned(),
        (_, Some(said)) => said,
        (None, None) => {
            json.map_or_else(|| "the task failed".to_owned(), |text| String::from_utf8_lossy(&text).into_owned())
        }
    };
    let failure = Failure::new(kind, said);
    // A detail that only repeats the message says nothing.
    let failure = match detail {
        Some(Value::String(text)) if text == failure.message => failure,
        Some(detail) => failure.with_detail(detail),
        None => failure,
    };
    match payload.and_then(delay).filter(|_| case == Some(RETRYABLE)) {
        Some(delay) => failure.after(delay),
        None => failure,
    }
}

fn message(value: &Val, depth_left: u32) -> Option<String> {
    let depth_left = depth_left.checked_sub(1)?;
    match value {
        Val::String(text) => Some(text.clone()),
        Val::Record(fields) => {
            let field = |wanted: &&str| fields.iter().find(|(name, _)| name == wanted);
            MESSAGES.iter().find_map(field).and_then(|(_, value)| message(value, depth_left))
        }
        Val::Option(Some(value)) => message(value, depth_left),
        Val::Enum(case) => Some(case.clone()),
        Val::Variant(case, None) => Some(case.clone()),
        Val::Variant(case, Some(payload)) => {
            Some(message(payload, depth_left).map_or_else(|| case.clone(), |said| format!("{case}: {said}")))
        }
        _ => None,
    }
}

fn delay(payload: &Val) -> Option<Duration> {
    let Val::Record(fields) = payload else { return None };
    let (_, value) = fields.iter().find(|(name, _)| name == DELAY)?;
    let value = if let Val::Option(inner) = value { inner.as_deref()? } else { value };
    match value {
        Val::U32(millis) => Some(Duration::from_millis((*millis).into())),
        Val::U64(millis) => Some(Duration::from_millis(*millis)),
        _ => None,
    }
}

//! JSON records that carry their version in `v`: read only where the version is one that this program knows.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Rejection;

/// Reads a record of version 1 up to `newest`; `what` names it in a rejection.
///
/// # Errors
/// A version that this program does not know, named as such, and what is not of the record's form.
pub(crate) fn read<T: DeserializeOwned>(what: &'static str, newest: u32, body: &[u8]) -> Result<T, Rejection> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    let wrong = |error| Rejection::new(what, error);
    let Versioned { v } = serde_json::from_slice(body).map_err(wrong)?;
    if !(1..=newest).contains(&v) {
        return Err(Rejection::new(what, format!("{v} is not version {newest}, which this program reads: update it")));
    }
    serde_json::from_slice(body).map_err(wrong)
}

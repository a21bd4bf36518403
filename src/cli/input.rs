//! The input of a task: a text on the command line, `-` for stdin, `@FILE` for a file.

use std::io::Read as _;

use bytes::Bytes;

use super::Fault;
use crate::store::values::VALUE_BYTES_MAX;

/// Reads an input; none is `null`.
pub(super) fn read(input: Option<&str>) -> Result<Bytes, Fault> {
    match input {
        None => Ok(Bytes::from_static(b"null")),
        Some("-") => bounded("stdin", std::io::stdin().lock()),
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| Fault::usage(format!("failed to read the input file {path:?}: {error}")))?;
                bounded(path, file)
            }
            None => Ok(Bytes::copy_from_slice(text.as_bytes())),
        },
    }
}

fn bounded(name: &str, reader: impl std::io::Read) -> Result<Bytes, Fault> {
    let mut bytes = Vec::new();
    reader
        .take(VALUE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::usage(format!("failed to read {name}: {error}")))?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        return Err(Fault::usage(format!(
            "the input {name} is larger than the {VALUE_BYTES_MAX} bytes that are allowed"
        )));
    }
    Ok(bytes.into())
}

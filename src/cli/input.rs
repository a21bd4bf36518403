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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_text_a_file_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        std::fs::write(&path, b"\xff\n").unwrap();
        assert_eq!(read(None).unwrap(), "null");
        assert_eq!(read(Some("")).unwrap(), "");
        assert_eq!(read(Some("{\"a\":1}")).unwrap(), "{\"a\":1}");
        assert_eq!(read(Some(&format!("@{}", path.display()))).unwrap(), &b"\xff\n"[..]);
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let fault = format!("{:?}", read(Some("@/nowhere/input.json")).unwrap_err());
        assert!(fault.contains("code: 2") && fault.contains("/nowhere/input.json"), "{fault}");
    }

    #[test]
    fn an_input_is_read_up_to_its_bound() {
        let endless = || std::io::repeat(b' ');
        let most = bounded("stdin", endless().take(VALUE_BYTES_MAX)).unwrap();
        assert_eq!(most.len() as u64, VALUE_BYTES_MAX);
        let fault = format!("{:?}", bounded("stdin", endless()).unwrap_err());
        assert!(fault.contains("code: 2") && fault.contains(&VALUE_BYTES_MAX.to_string()), "{fault}");
    }
}

//! An output as the next step of a flow receives it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::model::Datum;
use crate::model::outcome::VALUE_BYTES_MAX;

/// An output that is larger as JSON than a value may be.
#[derive(Debug, thiserror::Error)]
#[error("the output has {0} bytes as base64, more than the {VALUE_BYTES_MAX} of a value")]
pub struct TooLarge(usize);

/// An output as a flow passes it on: JSON as it is, other bytes as a JSON string of their base64, nothing as `null`. What is
/// described as no JSON is a string even if its bytes happen to be JSON, so that who receives it need not guess.
///
/// # Errors
/// An output that grows past the bound of values.
pub fn json(output: &Bytes, binary: bool) -> Result<Bytes, TooLarge> {
    if !binary {
        if output.is_empty() {
            return Ok(Datum::null().text().clone());
        }
        if let Ok(json) = Datum::parse(output) {
            return Ok(json.text().clone());
        }
    }
    let text = format!("\"{}\"", BASE64_STANDARD.encode(output));
    if text.len() as u64 > VALUE_BYTES_MAX { Err(TooLarge(text.len())) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_json_whatever_it_was() {
        for (output, binary, expected) in [
            (&b" [1] "[..], false, "[1]"),
            (b"", false, "null"),
            (b"\xff\x00", false, "\"/wA=\""),
            (b"hello", false, "\"aGVsbG8=\""),
            (b"", true, "\"\""),
            (b"12", true, "\"MTI=\""),
        ] {
            assert_eq!(json(&Bytes::from_static(output), binary).unwrap(), expected, "{output:?}");
        }
    }

    #[test]
    fn an_output_that_grows_past_the_bound_of_values_fails() {
        let most = usize::try_from(VALUE_BYTES_MAX).unwrap() / 4 * 3;
        assert!(json(&vec![0xff; most].into(), false).is_err());
        assert!(json(&vec![0xff; most - 3].into(), false).is_ok());
    }
}

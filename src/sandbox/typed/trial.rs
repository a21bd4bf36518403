//! A trial of the mapping, for fuzzing: a signature with every kind of type, and JSON from a stranger.

use super::arguments;
use super::shape::{Integer, Shape, Signature};
use super::write::write;

/// Reads an input as the arguments of a function that takes every kind of type. Says whether it fits; what does is written
/// and read again.
///
/// # Errors
/// A value that does not read back as it was written: a fault of the mapping.
#[doc(hidden)]
pub fn typed_trial(input: &[u8]) -> Result<bool, String> {
    let Signature { params, .. } = signature();
    let Ok(arguments) = arguments::read(&params, input) else { return Ok(false) };
    let mut texts = Vec::new();
    for ((_, shape), value) in params.iter().zip(&arguments) {
        let text = write(shape, value, usize::MAX).map_err(|error| error.to_string())?;
        texts.push(String::from_utf8(text).map_err(|error| error.to_string())?);
    }
    let written = format!("[{}]", texts.join(","));
    let again = arguments::read(&params, written.as_bytes()).map_err(|mismatch| format!("{written}: {mismatch}"))?;
    // The engine takes NaN for equal to NaN.
    if again == arguments { Ok(true) } else { Err(format!("{written} reads as something else")) }
}

fn signature() -> Signature {
    let names = |names: [&str; 3]| names.map(str::to_owned).to_vec();
    let integer = Shape::Integer;
    let all = [Integer::S8, Integer::U8, Integer::S16, Integer::U16, Integer::S32, Integer::U32];
    let record = Shape::Record(vec![
        ("long-name".to_owned(), Shape::Option(Box::new(Shape::Float64))),
        ("char".to_owned(), Shape::Char),
        ("text".to_owned(), Shape::String),
    ]);
    let variant = Shape::Variant(vec![
        ("none".to_owned(), None),
        ("some".to_owned(), Some(record.clone())),
        ("wide".to_owned(), Some(Shape::Tuple(vec![integer(Integer::S64), integer(Integer::U64)]))),
    ]);
    let result = Shape::Result { ok: Some(Box::new(Shape::Bytes)), err: None };
    let params = vec![
        ("integers".to_owned(), Shape::Tuple(all.map(Shape::Integer).to_vec())),
        ("floats".to_owned(), Shape::List(Box::new(Shape::Float32))),
        ("variants".to_owned(), Shape::List(Box::new(variant))),
        ("flags".to_owned(), Shape::Flags(names(["a", "b", "c"]))),
        ("enum".to_owned(), Shape::Option(Box::new(Shape::Enum(names(["x", "y", "z"]))))),
        ("nested".to_owned(), Shape::Option(Box::new(Shape::Option(Box::new(Shape::Bool))))),
        ("result".to_owned(), Shape::Option(Box::new(result))),
    ];
    Signature { params, result: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_fits_reads_back() {
        let fits = r#"[[-1, 2, -3, 4, -5, 6], [0.5, "NaN"], ["none", {"wide": [-1, "18446744073709551615"]},
            {"some": {"char": "é", "text": "", "long-name": -1e-300}}], ["c", "a"], "y", {"some": null}, {"ok": "AAE="}]"#;
        assert_eq!(typed_trial(fits.as_bytes()), Ok(true));
        assert_eq!(typed_trial(b"[]"), Ok(false));
    }
}

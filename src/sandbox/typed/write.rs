//! From values to JSON text, which stops growing at the bound of outputs.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use wasmtime::component::Val;

use super::shape::{ERR, OK, SAFE_MAX, SOME, Shape};

/// Why a value was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritten {
    /// The text grew past its bound.
    #[error("the output is too large")]
    TooLarge,
    /// The value is not of the shape: a fault of ours, or of the engine.
    #[error("a value is not of its type")]
    OtherShape,
}

/// The JSON text of a value.
///
/// # Errors
/// A text of more than `bytes_max` bytes.
pub(super) fn write(shape: &Shape, value: &Val, bytes_max: usize) -> Result<Vec<u8>, Unwritten> {
    let mut text = Text { bytes: Vec::new(), bytes_max };
    text.value(shape, value)?;
    Ok(text.bytes)
}

struct Text {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Text {
    fn value(&mut self, shape: &Shape, value: &Val) -> Result<(), Unwritten> {
        match (shape, value) {
            (Shape::Bool, Val::Bool(value)) => self.json(value),
            (Shape::Integer(_), value) => self.integer(value),
            (Shape::Float32, Val::Float32(value)) if value.is_finite() => self.json(value),
            (Shape::Float32, Val::Float32(value)) => self.json(&not_finite(f64::from(*value))),
            (Shape::Float64, Val::Float64(value)) if value.is_finite() => self.json(value),
            (Shape::Float64, Val::Float64(value)) => self.json(&not_finite(*value)),
            (Shape::Char, Val::Char(value)) => self.json(value),
            (Shape::String, Val::String(value)) => self.json(value),
            (Shape::Bytes, Val::List(values)) => self.base64(values),
            (Shape::List(element), Val::List(values)) => self.array(values.iter().map(|value| (&**element, value))),
            (Shape::Tuple(shapes), Val::Tuple(values)) if shapes.len() == values.len() => {
                self.array(shapes.iter().zip(values))
            }
            (Shape::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
                self.record(fields.iter().zip(values).map(|((name, shape), (_, value))| (name, shape, value)))
            }
            (Shape::Variant(cases), Val::Variant(case, payload)) => {
                let shape = cases.iter().find(|(name, _)| name == case).map(|(_, shape)| shape);
                match (shape, payload) {
                    (Some(None), None) => self.json(case),
                    (Some(Some(shape)), Some(value)) => self.keyed(case, Some((shape, value))),
                    _ => Err(Unwritten::OtherShape),
                }
            }
            (Shape::Enum(_), Val::Enum(name)) => self.json(name),
            (Shape::Flags(_), Val::Flags(names)) => self.json(names),
            (Shape::Option(_), Val::Option(None)) => self.raw("null"),
            (Shape::Option(inner), Val::Option(Some(value))) if inner.takes_null() => {
                self.keyed(SOME, Some((inner, value)))
            }
            (Shape::Option(inner), Val::Option(Some(value))) => self.value(inner, value),
            (Shape::Result { ok, err }, Val::Result(value)) => {
                let (key, shape, value) = match value {
                    Ok(value) => (OK, ok, value),
                    Err(value) => (ERR, err, value),
                };
                self.keyed(key, shape.as_deref().zip(value.as_deref()))
            }
            _ => Err(Unwritten::OtherShape),
        }
    }

    /// Beyond 53 bits as a string: readers of JSON that hold numbers as doubles would change it without a word.
    fn integer(&mut self, value: &Val) -> Result<(), Unwritten> {
        let value = match value {
            Val::S8(value) => i128::from(*value),
            Val::U8(value) => i128::from(*value),
            Val::S16(value) => i128::from(*value),
            Val::U16(value) => i128::from(*value),
            Val::S32(value) => i128::from(*value),
            Val::U32(value) => i128::from(*value),
            Val::S64(value) => i128::from(*value),
            Val::U64(value) => i128::from(*value),
            _ => return Err(Unwritten::OtherShape),
        };
        let text = value.to_string();
        if (-SAFE_MAX..=SAFE_MAX).contains(&value) { self.raw(&text) } else { self.json(&text) }
    }

    fn base64(&mut self, values: &[Val]) -> Result<(), Unwritten> {
        if values.len() / 3 * 4 > self.bytes_max {
            return Err(Unwritten::TooLarge);
        }
        let byte = |value: &Val| if let Val::U8(byte) = value { Some(*byte) } else { None };
        let bytes: Option<Vec<u8>> = values.iter().map(byte).collect();
        self.json(&BASE64_STANDARD.encode(bytes.ok_or(Unwritten::OtherShape)?))
    }

    fn array<'a>(&mut self, values: impl Iterator<Item = (&'a Shape, &'a Val)>) -> Result<(), Unwritten> {
        let mut before = "[";
        for (shape, value) in values {
            self.raw(before)?;
            self.value(shape, value)?;
            before = ",";
        }
        self.raw(if before == "[" { "[]" } else { "]" })
    }

    fn record<'a>(&mut self, fields: impl Iterator<Item = (&'a String, &'a Shape, &'a Val)>) -> Result<(), Unwritten> {
        let mut before = "{";
        for (name, shape, value) in fields {
            self.raw(before)?;
            self.json(name)?;
            self.raw(":")?;
            self.value(shape, value)?;
            before = ",";
        }
        self.raw(if before == "{" { "{}" } else { "}" })
    }

    /// An object of one key; no value is `null`.
    fn keyed(&mut self, key: &str, value: Option<(&Shape, &Val)>) -> Result<(), Unwritten> {
        self.raw("{")?;
        self.json(key)?;
        self.raw(":")?;
        match value {
            Some((shape, value)) => self.value(shape, value)?,
            None => self.raw("null")?,
        }
        self.raw("}")
    }

    fn raw(&mut self, text: &str) -> Result<(), Unwritten> {
        io::Write::write_all(self, text.as_bytes()).map_err(|_| Unwritten::TooLarge)
    }

    fn json<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritten> {
        serde_json::to_writer(self, value).map_err(|_| Unwritten::TooLarge)
    }
}

/// JSON has no numbers for these; the names are those of JavaScript and of JSON in protocol buffers.
pub(super) const NOT_FINITE: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

fn not_finite(value: f64) -> &'static str {
    let same = |other: f64| value == other || (value.is_nan() && other.is_nan());
    NOT_FINITE.iter().find(|(_, other)| same(*other)).map_or("NaN", |(name, _)| name)
}

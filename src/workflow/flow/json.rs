//! Reads JSON text more strictly than `serde_json` alone: no field twice, and a bound on nesting that suits flows.
//!
//! `serde_json` gives up at 128 levels, which a flow of 64 nodes may need more than. Below each hundredth level the text is
//! therefore taken as it is and read by a fresh reader; reading stays bounded by [`LEVELS_MAX`].

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::problem::{Problem, quoted};

/// The most levels of lists and maps: 64 nodes of three levels each, and what their templates hold.
pub const LEVELS_MAX: usize = 256;

/// What is said of more.
pub(super) const TOO_DEEP: &str = "lists and maps are nested more than 256 levels deep";

/// Levels that one reader is asked for: below the 128 of `serde_json`.
const LEVELS_OF_A_READER: usize = 100;

/// Reads one JSON value.
pub(super) fn read(text: &[u8]) -> Result<Value, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { level: 0, left: LEVELS_OF_A_READER }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let message = message(&error);
        // It is found in a piece of the text, by a reader that does not know where the piece stands.
        if message == TOO_DEEP { Problem::top(message) } else { Problem::text((error.line(), error.column()), message) }
    })
}

/// The error without its line and column.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let bare = text.strip_suffix(&position).unwrap_or(&text);
    if error.is_syntax() || error.is_eof() { format!("it is not JSON: {bare}") } else { bare.to_owned() }
}

/// Reads a value that stands at `level`.
#[derive(Clone, Copy)]
struct Strict {
    level: usize,
    left: usize,
}

impl Strict {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.level >= LEVELS_MAX {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self { level: self.level + 1, left: self.left.saturating_sub(1) })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.left > 0 {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        let mut reader = serde_json::Deserializer::from_str(raw.get());
        let fresh = Self { left: LEVELS_OF_A_READER, ..self };
        fresh.deserialize(&mut reader).map_err(|error| D::Error::custom(message(&error)))
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(below)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the field {} is written twice", quoted(&key))));
            }
            map.insert(key, access.next_value_seed(below)?);
        }
        Ok(Value::Object(map))
    }
}

/// Whether a value is nested more than [`LEVELS_MAX`] levels deep.
pub(super) fn is_too_deep(value: &Value) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, level)) = open.pop() {
        let inner: &mut dyn Iterator<Item = &Value> = match value {
            Value::Array(list) => &mut list.iter(),
            Value::Object(map) => &mut map.values(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => continue,
        };
        if level >= LEVELS_MAX {
            return true;
        }
        open.extend(inner.map(|value| (value, level + 1)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [
            r#"{"a": [1, -2, 2.5, 1e400, "x\u0041\ud83d\ude00", null, true, {}], "b": 18446744073709551615}"#,
            "3",
            " [] ",
        ] {
            let expected = serde_json::from_str::<Value>(text).ok();
            assert_eq!(read(text.as_bytes()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_by_our_own_bound() {
        for levels in [1, 99, 100, 101, 127, 128, 200, 201, LEVELS_MAX] {
            let value = read(nested(levels).as_bytes()).unwrap();
            assert_eq!(value.to_string(), nested(levels));
            assert!(!is_too_deep(&value));
        }
        for levels in [LEVELS_MAX + 1, 10_000, 500_000] {
            let problem = read(nested(levels).as_bytes()).unwrap_err();
            assert_eq!(problem.to_string(), format!("at the top: {TOO_DEEP}"), "{levels}");
        }
    }

    #[test]
    fn what_is_no_json_says_where() {
        for (text, expected) in [
            ("", "at 1:0: it is not JSON: EOF while parsing a value"),
            ("[1,\n}", "at 2:1: it is not JSON: expected value"),
            (r#"{"a": 1, "a": 2}"#, "at 1:12: the field \"a\" is written twice"),
            ("1 2", "at 1:3: it is not JSON: trailing characters"),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), expected, "{text}");
        }
        assert!(read(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_value_that_code_made_too_deep_is_seen() {
        let value = (0..=LEVELS_MAX).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert!(is_too_deep(&value));
    }
}

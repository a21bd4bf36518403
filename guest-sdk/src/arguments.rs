//! Reads a task's arguments from its input.
//!
//! **Invariant:** whatever the input is, the answer is the arguments or a permanent failure that
//! names the place.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::Error as PlainError;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::Failure;

/// Reads the input of a task that takes no argument.
pub fn no_argument(input: &[u8]) -> Result<(), Failure> {
    let arguments = Arguments::read(input, &[])?;
    drop(arguments);
    Ok(())
}

/// Reads the input of a task that takes one argument: the whole input, or the one item of an array.
pub fn one_argument<T: DeserializeOwned>(input: &[u8]) -> Result<T, Failure> {
    let input = or_null(input);
    let failure = match decode(input) {
        Ok(value) => return Ok(value),
        Err(failure) => failure,
    };
    if let Ok([item]) = serde_json::from_slice::<[&RawValue; 1]>(input)
        && let Ok(value) = decode(item.get().as_bytes())
    {
        return Ok(value);
    }
    Err(Failure::permanent(format_args!("the input does not fit: {failure}")))
}

/// The arguments of a task that takes several, each still as JSON.
pub struct Arguments<'i> {
    names: &'static [&'static str],
    values: RefCell<Vec<Option<&'i RawValue>>>,
}

impl<'i> Arguments<'i> {
    /// Tells the arguments of an array or object apart; `null` has none.
    pub fn read(input: &'i [u8], names: &'static [&'static str]) -> Result<Self, Failure> {
        let mut json = serde_json::Deserializer::from_slice(or_null(input));
        let values = Names(names)
            .deserialize(&mut json)
            .and_then(|values| json.end().map(|()| values))
            .map_err(|error| Failure::permanent(format_args!("the input does not fit: {error}")))?;
        Ok(Self { names, values: RefCell::new(values) })
    }

    /// Decodes the argument of that name. One that is missing is `None` if it is optional.
    pub fn take<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, Failure> {
        let position = self.names.iter().position(|known| *known == name);
        let value = position.and_then(|position| self.values.borrow_mut().get_mut(position)?.take());
        let decoded = match value {
            Some(value) => decode(value.get().as_bytes()),
            None => T::deserialize(Missing).map_err(|error| error.to_string()),
        };
        decoded.map_err(|error| Failure::permanent(format_args!("argument `{name}`: {}", without_position(&error))))
    }
}

/// Whether an argument of that type may be missing.
pub(crate) fn is_optional<T: DeserializeOwned>() -> bool {
    T::deserialize(Missing).is_ok()
}

/// A message without a body is an input of `null`.
fn or_null(input: &[u8]) -> &[u8] {
    if input.trim_ascii().is_empty() { b"null" } else { input }
}

/// Decodes JSON; only where it does not fit, again in a way that notes the place, since noting
/// costs time.
fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| {
        if !error.is_data() {
            return format!("not JSON: {error}");
        }
        let mut json = serde_json::Deserializer::from_slice(json);
        match serde_path_to_error::deserialize::<_, T>(&mut json) {
            Ok(_) => error.to_string(),
            Err(placed) => placed.to_string(),
        }
    })
}

/// The error without serde_json's line and column, which would count from the start of the
/// argument.
fn without_position(error: &str) -> &str {
    error.rsplit_once(" at line ").map_or(error, |(error, _)| error)
}

/// Reads an array by position or an object by name into as many places as there are names.
struct Names(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Vec<Option<&'de RawValue>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Vec<Option<&'de RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no argument: `null`, `[]` or `{}`"),
            names => write!(f, "the arguments ({}) as an array or an object", names.join(", ")),
        }
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(vec![None; self.0.len()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::with_capacity(self.0.len());
        while let Some(value) = items.next_element()? {
            if values.len() == self.0.len() {
                return Err(serde::de::Error::custom(format_args!(
                    "too many arguments: expected at most {} ({})",
                    self.0.len(),
                    self.0.join(", ")
                )));
            }
            values.push(Some(value));
        }
        values.resize(self.0.len(), None);
        Ok(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut values = vec![None; self.0.len()];
        while let Some(name) = entries.next_key::<String>()? {
            let position = self.0.iter().position(|known| *known == name);
            let Some(place) = position.and_then(|position| values.get_mut(position)) else {
                return Err(serde::de::Error::custom(format_args!(
                    "unknown argument `{name}`: expected {}",
                    if self.0.is_empty() { "none".to_owned() } else { self.0.join(", ") }
                )));
            };
            if place.replace(entries.next_value()?).is_some() {
                return Err(serde::de::Error::custom(format_args!("argument `{name}` is there twice")));
            }
        }
        Ok(values)
    }
}

/// Stands for an argument that was not given: an `Option` takes it as `None`, other types refuse
/// it.
struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = PlainError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, PlainError> {
        Err(serde::de::Error::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

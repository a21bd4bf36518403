//! The arguments of a call, from its input: an object by the names of the parameters, an array by their order, or, where
//! there is one parameter, its value itself.
//!
//! Which of them an input is follows from the type alone. An object or array that may be the value of the only parameter is
//! taken as that, so that no value is ever taken for something else.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use wasmtime::component::Val;

use super::read::{Mismatch, Reading, Seed};
use super::shape::Shape;

/// The arguments that an input stands for; an empty one is `null`.
///
/// # Errors
/// Whatever does not fit the parameters, with its place.
pub(super) fn read(params: &[(String, Shape)], input: &[u8]) -> Result<Vec<Val>, Mismatch> {
    let input = if input.trim_ascii().is_empty() { b"null" } else { input };
    let reading = Reading::default();
    let mut source = serde_json::Deserializer::from_slice(input);
    let arguments = match params {
        [(name, shape)] if is_bare(name, shape, input) => {
            Seed { shape, reading: &reading }.deserialize(&mut source).map(|value| vec![value])
        }
        _ => Arguments { params, reading: &reading }.deserialize(&mut source),
    };
    arguments.and_then(|arguments| source.end().map(|()| arguments)).map_err(|error| reading.mismatch(&error))
}

/// Whether an input is the value of the only parameter itself.
fn is_bare(name: &str, shape: &Shape, input: &[u8]) -> bool {
    match input.trim_ascii_start().first() {
        Some(b'[') => shape.takes_arrays(),
        Some(b'{') if shape.takes_key(name) => true,
        Some(b'{') => shape.takes_objects() && !first_key_is(name, input),
        _ => true,
    }
}

/// Whether an object begins with this key. Nothing after it is read.
fn first_key_is(name: &str, input: &[u8]) -> bool {
    struct First<'a>(&'a str, &'a Cell<bool>);

    impl<'de> Visitor<'de> for First<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let key = map.next_key::<Cow<'de, str>>()?;
            self.1.set(key.is_some_and(|key| key == self.0));
            Err(A::Error::custom("enough"))
        }
    }

    let is = Cell::new(false);
    // It always ends with an error, by what the visitor returns or by what is no object.
    drop(serde_json::Deserializer::from_slice(input).deserialize_map(First(name, &is)));
    is.get()
}

struct Arguments<'a> {
    params: &'a [(String, Shape)],
    reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl Arguments<'_> {
    fn neither<E: serde::de::Error>(&self, found: &str) -> E {
        let names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        self.reading.stop(format!("{found} where an object or array of {} is wanted", names.join(", ")))
    }
}

impl<'de> Visitor<'de> for Arguments<'_> {
    type Value = Vec<Val>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of arguments")
    }

    /// Nothing is an argument list of nothing.
    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        if !self.params.iter().all(|(_, shape)| shape.takes_null()) {
            return Err(self.neither("null"));
        }
        Ok(self.params.iter().map(|_| Val::Option(None)).collect())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(self.neither("a truth value"))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(self.neither("a number"))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(self.neither("a number"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(self.neither("a number"))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(self.neither("a string"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.reading.items(self.params.iter().map(|(_, shape)| shape), true, items)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.reading.fields(self.params, "parameter", "the function", map)
    }
}

//! From JSON text to values, guided by the shape: nothing is built that the type does not ask for.
//!
//! **Invariant:** at most [`VALUES_MAX`] values are made of one input.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use wasmtime::component::Val;

use super::shape::{ERR, Integer, OK, SOME, Shape};
use super::write::NOT_FINITE;

/// Values of one input. The engine hands each to the guest in 32 to 40 bytes, so that an input takes 80 MB at most while
/// it crosses; the engine itself bounds outputs alike. Larger bytes are for the other contracts, which take them as they are.
pub(super) const VALUES_MAX: usize = 2 << 20;

/// What a field of a record takes besides its value: its name is made anew for each.
const FIELD_WEIGHT: usize = 2;

/// How much of a wrong text is shown.
const SHOWN_CHARS: usize = 40;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An input that is not of its type, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", place(pointer))]
pub(super) struct Mismatch {
    /// JSON pointer (RFC 6901) to the value; empty for the whole.
    pub(super) pointer: String,
    /// What is wrong with it.
    pub(super) message: String,
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { "the input: ".to_owned() } else { format!("{pointer}: ") }
}

/// Where a reading is, what is left of its budget, and what it stopped at.
#[derive(Debug)]
pub(super) struct Reading {
    path: RefCell<Vec<Step>>,
    stopped: RefCell<Option<Mismatch>>,
    values_left: Cell<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Default for Reading {
    fn default() -> Self {
        Self { path: RefCell::default(), stopped: RefCell::default(), values_left: Cell::new(VALUES_MAX) }
    }
}

impl Reading {
    /// Stops here.
    pub(super) fn stop<E: serde::de::Error>(&self, message: impl Into<String>) -> E {
        self.stopped.borrow_mut().get_or_insert_with(|| {
            let mut pointer = String::new();
            for step in self.path.borrow().iter() {
                pointer.push('/');
                match step {
                    Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
                    Step::Index(index) => pointer.push_str(&index.to_string()),
                }
            }
            Mismatch { pointer, message: message.into() }
        });
        E::custom("")
    }

    /// What it stopped at: what was said here, or what the JSON itself is wrong about.
    pub(super) fn mismatch(&self, error: &serde_json::Error) -> Mismatch {
        let said = self.stopped.borrow_mut().take();
        said.unwrap_or_else(|| Mismatch { pointer: String::new(), message: format!("not JSON: {error}") })
    }

    fn take<E: serde::de::Error>(&self, values: usize) -> Result<(), E> {
        let left = self.values_left.get().checked_sub(values);
        self.values_left.set(left.ok_or_else(|| self.stop::<E>(format!("more than {VALUES_MAX} values in all")))?);
        Ok(())
    }

    /// Reads what is below a key or an index. Where it stops, the path stays.
    fn below<T, E>(&self, step: Step, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.path.borrow_mut().push(step);
        let value = read()?;
        self.path.borrow_mut().pop();
        Ok(value)
    }

    /// Reads the values of named places from an object, in the order of the names; those that may be null may be missing.
    /// `what` says what a name is, and `owner` who has it.
    pub(super) fn fields<'de, A: MapAccess<'de>>(
        &self,
        fields: &[(String, Shape)],
        what: &str,
        owner: &str,
        mut map: A,
    ) -> Result<Vec<Val>, A::Error> {
        let mut found: Vec<Option<Val>> = vec![None; fields.len()];
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let place = fields.iter().zip(&mut found).find(|((name, _), _)| *name == key);
            let Some(((name, shape), slot)) = place else {
                let known = || fields.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                let known = if fields.is_empty() { "none".to_owned() } else { known() };
                return Err(self.stop(format!("no {what} {:?}: {owner} has {known}", shown(&key))));
            };
            if slot.is_some() {
                return Err(self.stop(format!("{what} {name:?} is there twice")));
            }
            let read = || map.next_value_seed(Seed { shape, reading: self });
            *slot = Some(self.below(Step::Key(name.clone()), read)?);
        }
        let or_none = |((name, shape), value): (&(String, Shape), Option<Val>)| match value {
            Some(value) => Ok(value),
            None if shape.takes_null() => Ok(Val::Option(None)),
            None => Err(self.stop(format!("{what} {name:?} is missing"))),
        };
        fields.iter().zip(found).map(or_none).collect()
    }

    /// Reads one value for each shape from an array; the last ones may be missing where they may be null.
    pub(super) fn items<'de, 's, A: SeqAccess<'de>>(
        &self,
        shapes: impl ExactSizeIterator<Item = &'s Shape>,
        may_end_early: bool,
        mut items: A,
    ) -> Result<Vec<Val>, A::Error> {
        let (wanted, mut values) = (shapes.len(), Vec::with_capacity(shapes.len()));
        let many = |found: usize| format!("{found} values where {wanted} are wanted");
        for (index, shape) in shapes.enumerate() {
            let read = || items.next_element_seed(Seed { shape, reading: self });
            match self.below(Step::Index(index), read)? {
                Some(value) => values.push(value),
                None if may_end_early && shape.takes_null() => values.push(Val::Option(None)),
                None => return Err(self.stop(many(index))),
            }
        }
        if items.next_element::<serde::de::IgnoredAny>()?.is_some() {
            return Err(self.stop(format!("more than the {wanted} values that are wanted")));
        }
        Ok(values)
    }
}

/// Reads one value.
#[cfg(test)]
pub(super) fn read(shape: &Shape, json: &[u8]) -> Result<Val, Mismatch> {
    let reading = Reading::default();
    let mut source = serde_json::Deserializer::from_slice(json);
    let read = Seed { shape, reading: &reading }.deserialize(&mut source);
    read.and_then(|value| source.end().map(|()| value)).map_err(|error| reading.mismatch(&error))
}

/// What reads one value of a shape.
#[derive(Clone, Copy)]
pub(super) struct Seed<'a> {
    pub(super) shape: &'a Shape,
    pub(super) reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Val;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Val, D::Error> {
        self.reading.take(1)?;
        if self.is_float() {
            let text: &'de RawValue = serde::Deserialize::deserialize(source)?;
            return self.float(text.get());
        }
        source.deserialize_any(self)
    }
}

/// A value that need not be there.
struct Payload<'a> {
    shape: Option<&'a Shape>,
    reading: &'a Reading,
}

impl<'de> DeserializeSeed<'de> for Payload<'_> {
    type Value = Option<Box<Val>>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        let Some(shape) = self.shape else {
            let nothing: Option<serde::de::IgnoredAny> = serde::Deserialize::deserialize(source)?;
            return if nothing.is_none() { Ok(None) } else { Err(self.reading.stop("a value where null is wanted")) };
        };
        Seed { shape, reading: self.reading }.deserialize(source).map(|value| Some(Box::new(value)))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Val;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wanted())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Val, E> {
        if self.shape.takes_null() { Ok(Val::Option(None)) } else { Err(self.unlike("null")) }
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Val, E> {
        match self.shape {
            Shape::Bool => Ok(Val::Bool(value)),
            Shape::Option(inner) if !inner.takes_null() => some(self.inside(inner).visit_bool(value)),
            _ => Err(self.unlike("a truth value")),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Val, E> {
        self.whole(i128::from(value), E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Val, E> {
        self.whole(i128::from(value), E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Val, E> {
        match self.shape {
            Shape::Float64 => Ok(Val::Float64(value)),
            Shape::Float32 => self.single(value),
            Shape::Integer(_) if value.fract() == 0.0 && value.abs() <= WHOLE_MAX => {
                self.whole(as_whole(value), E::custom)
            }
            Shape::Integer(integer) => Err(self.out_of(*integer, &value.to_string())),
            Shape::Option(inner) if !inner.takes_null() => some(self.inside(inner).visit_f64(value)),
            _ => Err(self.unlike("a number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Val, E> {
        let stop = |message: String| Err(self.reading.stop(message));
        match self.shape {
            Shape::String => Ok(Val::String(text.to_owned())),
            Shape::Char => {
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(only), None) => Ok(Val::Char(only)),
                    _ => stop(format!("{:?} where a string of one character is wanted", shown(text))),
                }
            }
            Shape::Bytes => self.base64(text),
            Shape::Integer(integer) if integer.is_wide() => match text.parse::<i128>() {
                Ok(value) => self.whole(value, E::custom),
                Err(_) => Err(self.out_of(*integer, &format!("{:?}", shown(text)))),
            },
            Shape::Float32 | Shape::Float64 => match NOT_FINITE.iter().find(|(name, _)| *name == text) {
                Some((_, value)) if *self.shape == Shape::Float64 => Ok(Val::Float64(*value)),
                #[expect(clippy::cast_possible_truncation, reason = "neither infinities nor NaN lose anything")]
                Some((_, value)) => Ok(Val::Float32(*value as f32)),
                None => Err(self.unlike("a string")),
            },
            Shape::Enum(names) if names.iter().any(|name| name == text) => Ok(Val::Enum(text.to_owned())),
            Shape::Enum(names) => stop(format!("no case {:?}: there is {}", shown(text), names.join(", "))),
            Shape::Variant(cases) => match cases.iter().find(|(name, _)| name == text) {
                Some((name, None)) => Ok(Val::Variant(name.clone(), None)),
                Some((name, Some(_))) => stop(format!("case {name:?} has a value: write {{{name:?}: ...}}")),
                None => Err(self.no_case(text)),
            },
            Shape::Option(inner) if !inner.takes_null() => some(self.inside(inner).visit_str(text)),
            _ => Err(self.unlike("a string")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::List(element) => self.list(element, items).map(Val::List),
            Shape::Bytes => self.list(&Shape::Integer(Integer::U8), items).map(Val::List),
            Shape::Tuple(shapes) => self.reading.items(shapes.iter(), false, items).map(Val::Tuple),
            Shape::Flags(names) => {
                let mut set: Vec<String> = Vec::new();
                while let Some(name) = items.next_element::<Cow<'de, str>>().map_err(|_| self.unlike("no string"))? {
                    let index = set.len();
                    let stop = |message: String| {
                        self.reading.below(Step::Index(index), || Err(self.reading.stop::<A::Error>(message)))
                    };
                    if !names.iter().any(|known| *known == name) {
                        return stop(format!("no flag {:?}: there is {}", shown(&name), names.join(", ")));
                    }
                    if set.iter().any(|other| *other == name) {
                        return stop(format!("flag {name:?} is there twice"));
                    }
                    set.push(name.into_owned());
                }
                // The engine takes them in any order; a value has one form all the same.
                set.sort_by_key(|flag| names.iter().position(|name| name == flag));
                Ok(Val::Flags(set))
            }
            Shape::Option(inner) if !inner.takes_null() => some(self.inside(inner).visit_seq(items)),
            _ => Err(self.unlike("an array")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Val, A::Error> {
        match self.shape {
            Shape::Record(fields) => {
                self.reading.take(fields.len().saturating_mul(FIELD_WEIGHT))?;
                let values = self.reading.fields(fields, "field", "the record", map)?;
                Ok(Val::Record(fields.iter().map(|(name, _)| name.clone()).zip(values).collect()))
            }
            Shape::Variant(cases) => {
                let payload = |key: &str| match cases.iter().find(|(name, _)| name == key) {
                    Some((_, payload)) => Ok(payload.as_ref()),
                    None => Err(self.no_case(key)),
                };
                self.sole(map, payload).map(|(name, payload)| Val::Variant(name, payload))
            }
            Shape::Result { ok, err } => {
                let payload = |key: &str| match key {
                    OK => Ok(ok.as_deref()),
                    ERR => Ok(err.as_deref()),
                    _ => Err(self.reading.stop(format!("no {:?} in a result: there is {OK}, {ERR}", shown(key)))),
                };
                let (key, value) = self.sole(map, payload)?;
                Ok(Val::Result(if key == OK { Ok(value) } else { Err(value) }))
            }
            Shape::Option(inner) if inner.takes_null() => {
                let payload = |key: &str| match key {
                    SOME => Ok(Some(&**inner)),
                    _ => Err(self.reading.stop(format!("{:?} where {SOME:?} is wanted", shown(key)))),
                };
                self.sole(map, payload).map(|(_, value)| Val::Option(value))
            }
            Shape::Option(inner) => some(self.inside(inner).visit_map(map)),
            _ => Err(self.unlike("an object")),
        }
    }
}

/// Doubles up to here hold every whole number; those beyond it mean a number that was rounded.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

#[expect(clippy::cast_possible_truncation, reason = "at most WHOLE_MAX")]
const fn as_whole(value: f64) -> i128 {
    value as i128
}

fn some<E>(value: Result<Val, E>) -> Result<Val, E> {
    value.map(|value| Val::Option(Some(Box::new(value))))
}

/// As much of a text as a message shows.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl Seed<'_> {
    const fn inside<'a>(&self, shape: &'a Shape) -> Seed<'a>
    where
        Self: 'a,
    {
        Seed { shape, reading: self.reading }
    }

    /// A value of another kind than the type's.
    fn unlike<E: serde::de::Error>(&self, found: &str) -> E {
        self.reading.stop(format!("{found} where {} is wanted", self.wanted()))
    }

    fn out_of<E: serde::de::Error>(&self, integer: Integer, found: &str) -> E {
        let (name, min, max) = integer.range();
        self.reading.stop(format!("{found} is no {name}: a whole number from {min} to {max}"))
    }

    fn no_case<E: serde::de::Error>(&self, found: &str) -> E {
        let names = match self.shape {
            Shape::Variant(cases) => cases.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
            _ => String::new(),
        };
        self.reading.stop(format!("no case {:?}: there is {names}", shown(found)))
    }

    fn wanted(&self) -> String {
        match self.shape {
            Shape::Bool => "true or false",
            Shape::Integer(integer) => {
                let (name, min, max) = integer.range();
                return format!("a whole number from {min} to {max} ({name})");
            }
            Shape::Float32 | Shape::Float64 => "a number",
            Shape::Char => "a string of one character",
            Shape::String => "a string",
            Shape::Bytes => "base64 or an array of bytes",
            Shape::List(_) | Shape::Tuple(_) => "an array",
            Shape::Record(_) => "an object",
            Shape::Variant(_) => "the name of a case, or an object of one,",
            Shape::Enum(_) => "the name of a case",
            Shape::Flags(_) => "an array of names",
            Shape::Option(inner) => return format!("null or {}", self.inside(inner).wanted()),
            Shape::Result { .. } => "an object with ok or err",
        }
        .to_owned()
    }

    fn whole<E: serde::de::Error>(&self, value: i128, _: impl FnOnce(&'static str) -> E) -> Result<Val, E> {
        match self.shape {
            Shape::Integer(integer) => {
                integer_value(*integer, value).ok_or_else(|| self.out_of(*integer, &value.to_string()))
            }
            #[expect(clippy::cast_precision_loss, reason = "a number that is read as a double is rounded to one")]
            Shape::Float64 => Ok(Val::Float64(value as f64)),
            #[expect(clippy::cast_precision_loss, reason = "a number that is read as a float is rounded to one")]
            Shape::Float32 => Ok(Val::Float32(value as f32)),
            Shape::Option(inner) if !inner.takes_null() => some(self.inside(inner).whole(value, E::custom)),
            _ => Err(self.unlike("a number")),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "what is out of its range becomes infinite, and is refused")]
    fn single<E: serde::de::Error>(&self, value: f64) -> Result<Val, E> {
        let single = value as f32;
        if single.is_finite() {
            Ok(Val::Float32(single))
        } else {
            Err(self.reading.stop(format!("{value} is out of the range of f32")))
        }
    }

    fn is_float(&self) -> bool {
        match self.shape {
            Shape::Float32 | Shape::Float64 => true,
            Shape::Option(inner) => self.inside(inner).is_float(),
            _ => false,
        }
    }

    /// Reads a number of any length; one that no double can hold is named.
    fn float<E: serde::de::Error>(&self, text: &str) -> Result<Val, E> {
        // What JSON calls a number has no other spelling here: strings have quotes, and `inf` is no JSON.
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => self.visit_f64(value),
            Ok(_) => Err(self.reading.stop(format!("{} is out of the range of f64", shown(text)))),
            Err(_) => serde_json::Deserializer::from_str(text).deserialize_any(*self).map_err(E::custom),
        }
    }

    fn base64<E: serde::de::Error>(&self, text: &str) -> Result<Val, E> {
        self.reading.take(text.len() / 4 * 3)?;
        match BASE64.decode(text) {
            Ok(bytes) => Ok(Val::List(bytes.into_iter().map(Val::U8).collect())),
            Err(error) => Err(self.reading.stop(format!("not base64: {error}"))),
        }
    }

    fn list<'de, A: SeqAccess<'de>>(&self, element: &Shape, mut items: A) -> Result<Vec<Val>, A::Error> {
        let mut values = Vec::new();
        loop {
            let read = || items.next_element_seed(self.inside(element));
            match self.reading.below(Step::Index(values.len()), read)? {
                Some(value) => values.push(value),
                None => return Ok(values),
            }
        }
    }

    /// Reads an object of one key, whose value has the shape that `payload` finds for the key.
    fn sole<'de, 's, A: MapAccess<'de>>(
        &self,
        mut map: A,
        payload: impl FnOnce(&str) -> Result<Option<&'s Shape>, A::Error>,
    ) -> Result<(String, Option<Box<Val>>), A::Error> {
        let one = || format!("an object of one key is wanted: {}", self.wanted());
        let Some(key) = map.next_key::<String>()? else { return Err(self.reading.stop(one())) };
        let payload = Payload { shape: payload(&key)?, reading: self.reading };
        let value = self.reading.below(Step::Key(key.clone()), || map.next_value_seed(payload))?;
        if map.next_key::<serde::de::IgnoredAny>()?.is_some() {
            return Err(self.reading.stop(one()));
        }
        Ok((key, value))
    }
}

fn integer_value(integer: Integer, value: i128) -> Option<Val> {
    Some(match integer {
        Integer::S8 => Val::S8(value.try_into().ok()?),
        Integer::U8 => Val::U8(value.try_into().ok()?),
        Integer::S16 => Val::S16(value.try_into().ok()?),
        Integer::U16 => Val::U16(value.try_into().ok()?),
        Integer::S32 => Val::S32(value.try_into().ok()?),
        Integer::U32 => Val::U32(value.try_into().ok()?),
        Integer::S64 => Val::S64(value.try_into().ok()?),
        Integer::U64 => Val::U64(value.try_into().ok()?),
    })
}

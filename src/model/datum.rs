//! A value of a flow: JSON text in which some values stand elsewhere, in the object store.
//!
//! **Invariant:** a value is composed and taken apart without loading what stands elsewhere.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Digest, Value};

/// What stands in the text where a value is elsewhere.
const PLACEHOLDER: &[u8] = b"null";

/// A value that stands elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// Where its placeholder begins in the text.
    pub at: usize,
    /// The digest of its JSON, which is its name in the object store.
    pub digest: Digest,
    /// Bytes of its JSON.
    pub size: u64,
}

/// JSON, of which parts may stand elsewhere. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum {
    text: Bytes,
    /// In the order of their places.
    elsewhere: Option<Arc<[Elsewhere]>>,
}

/// Bytes that are no JSON, or not the JSON that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They cannot be read.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// They are no array.
    #[error("it is {0}, not an array")]
    NotArray(&'static str),
    /// A reference points outside of the text.
    #[error("a reference stands where the text has no place for one")]
    Misplaced,
}

impl Datum {
    /// `null`
    #[must_use]
    pub fn null() -> Self {
        Self::plain(Bytes::from_static(PLACEHOLDER))
    }

    const fn plain(text: Bytes) -> Self {
        Self { text, elsewhere: None }
    }

    /// Reads JSON text. Blanks around it are taken off.
    ///
    /// # Errors
    /// Bytes that are not JSON.
    pub fn parse(text: &Bytes) -> Result<Self, Error> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|error| Error::NotJson(error.to_string()))?;
        Ok(Self::plain(text.slice_ref(raw.get().as_bytes())))
    }

    /// The text of a JSON value.
    #[must_use]
    pub fn of_json(value: &serde_json::Value) -> Self {
        Self::plain(value.to_string().into())
    }

    /// A value as messages carry it.
    ///
    /// # Errors
    /// Inline bytes that are not JSON.
    pub fn of_value(value: &Value) -> Result<Self, Error> {
        match value {
            Value::Inline(bytes) => Self::parse(bytes),
            Value::Stored { digest, size } => Ok(Self::stored(*digest, *size)),
        }
    }

    /// A value that stands elsewhere as a whole.
    #[must_use]
    pub fn stored(digest: Digest, size: u64) -> Self {
        let elsewhere = Some([Elsewhere { at: 0, digest, size }].into());
        Self { text: Bytes::from_static(PLACEHOLDER), elsewhere }
    }

    /// A text and what stands elsewhere in it.
    ///
    /// # Errors
    /// A text that is not JSON, or a reference without its placeholder.
    pub fn of_parts(text: &Bytes, elsewhere: Vec<Elsewhere>) -> Result<Self, Error> {
        let datum = Self::parse(text)?;
        let mut from = 0;
        for part in &elsewhere {
            let end = part.at.checked_add(PLACEHOLDER.len()).ok_or(Error::Misplaced)?;
            if part.at < from || datum.text.get(part.at..end) != Some(PLACEHOLDER) {
                return Err(Error::Misplaced);
            }
            from = end;
        }
        Ok(Self { text: datum.text, elsewhere: (!elsewhere.is_empty()).then(|| elsewhere.into()) })
    }

    /// The text, with `null` for each part that stands elsewhere.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// The parts that stand elsewhere.
    #[must_use]
    pub fn elsewhere(&self) -> &[Elsewhere] {
        self.elsewhere.as_deref().unwrap_or_default()
    }

    /// The value as a message can carry it: itself, or the one reference that it is; `None` for a text with references inside.
    #[must_use]
    pub fn as_value(&self) -> Option<Value> {
        match self.elsewhere() {
            [] => Some(Value::Inline(self.text.clone())),
            [one] if self.text.len() == PLACEHOLDER.len() => Some(Value::Stored { digest: one.digest, size: one.size }),
            _ => None,
        }
    }

    /// Bytes of the whole, with all that stands elsewhere.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.elsewhere().iter().fold(self.text.len() as u64, |sum, part| sum.saturating_add(part.size))
    }

    /// The JSON value, where nothing of it stands elsewhere.
    #[must_use]
    pub fn to_json(&self) -> Option<serde_json::Value> {
        self.elsewhere.is_none().then(|| serde_json::from_slice(&self.text).ok()).flatten()
    }

    /// The whole, with each part put in its place; the digest of a part that `part` does not have is the error.
    ///
    /// # Errors
    /// The first part that is missing.
    pub fn whole<'a>(&self, part: impl Fn(&Digest) -> Option<&'a Bytes>) -> Result<Self, Elsewhere> {
        if self.elsewhere.is_none() {
            return Ok(self.clone());
        }
        let mut text = BytesMut::new();
        let mut from = 0;
        for place in self.elsewhere() {
            text.extend_from_slice(self.text.get(from..place.at).unwrap_or_default());
            text.extend_from_slice(part(&place.digest).ok_or(*place)?);
            from = place.at.saturating_add(PLACEHOLDER.len());
        }
        text.extend_from_slice(self.text.get(from..).unwrap_or_default());
        Ok(Self::plain(text.freeze()))
    }

    /// `[a, b, ...]`
    #[must_use]
    pub fn array<'a>(members: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut composer = Composer::default();
        composer.push(b"[");
        for (position, member) in members.into_iter().enumerate() {
            if position > 0 {
                composer.push(b",");
            }
            composer.put(member);
        }
        composer.push(b"]");
        composer.finish()
    }

    /// `{"a": ..., "b": ...}`
    #[must_use]
    pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Self)>) -> Self {
        let mut composer = Composer::default();
        composer.push(b"{");
        for (position, (name, value)) in fields.into_iter().enumerate() {
            if position > 0 {
                composer.push(b",");
            }
            composer.push(serde_json::Value::from(name).to_string().as_bytes());
            composer.push(b":");
            composer.put(value);
        }
        composer.push(b"}");
        composer.finish()
    }

    /// The items of an array.
    ///
    /// # Errors
    /// What is no array; what stands elsewhere as a whole must be loaded first.
    pub fn items(&self) -> Result<Vec<Self>, Error> {
        let items: Vec<&RawValue> =
            serde_json::from_slice(&self.text).map_err(|_| Error::NotArray(what(&self.text)))?;
        let start = self.text.as_ptr() as usize;
        let mut parts = self.elsewhere();
        let items = items.into_iter().map(|item| {
            let text = self.text.slice_ref(item.get().as_bytes());
            let from = (text.as_ptr() as usize).saturating_sub(start);
            let until = from.saturating_add(text.len());
            let own = parts.partition_point(|part| part.at < until);
            let (own, rest) = parts.split_at(own);
            parts = rest;
            let own: Vec<Elsewhere> =
                own.iter().map(|part| Elsewhere { at: part.at.saturating_sub(from), ..*part }).collect();
            Self { text, elsewhere: (!own.is_empty()).then(|| own.into()) }
        });
        Ok(items.collect())
    }

    /// Whether the whole stands elsewhere.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.elsewhere.is_some() && self.text.len() == PLACEHOLDER.len()
    }
}

/// What a JSON text is, for people.
fn what(text: &[u8]) -> &'static str {
    match text.first() {
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Builds JSON text from pieces and values.
#[derive(Default)]
pub struct Composer {
    text: BytesMut,
    elsewhere: Vec<Elsewhere>,
}

impl Composer {
    /// Adds a piece of JSON text.
    pub fn push(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Adds a value.
    pub fn put(&mut self, value: &Datum) {
        let from = self.text.len();
        self.text.extend_from_slice(&value.text);
        let shifted = value.elsewhere().iter().map(|part| Elsewhere { at: part.at.saturating_add(from), ..*part });
        self.elsewhere.extend(shifted);
    }

    /// The value; what was pushed must be JSON together.
    #[must_use]
    pub fn finish(self) -> Datum {
        let Self { text, elsewhere } = self;
        Datum { text: text.freeze(), elsewhere: (!elsewhere.is_empty()).then(|| elsewhere.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Datum {
        Datum::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn arrays_and_objects_are_composed_and_taken_apart() {
        let array = Datum::array([&json("1"), &json(r#"{"a": [2]}"#), &json(r#""x""#)]);
        assert_eq!(array.text(), r#"[1,{"a": [2]},"x"]"#);
        assert_eq!(array.items().unwrap(), [json("1"), json(r#"{"a": [2]}"#), json(r#""x""#)]);
        assert_eq!(Datum::array([]).text(), "[]");
        assert_eq!(Datum::object([("a\"", &json("1")), ("b", &json("[]"))]).text(), r#"{"a\"":1,"b":[]}"#);
        assert_eq!(json("{}").items(), Err(Error::NotArray("an object")));
    }

    #[test]
    fn what_stands_elsewhere_keeps_its_place() {
        let (digest, bytes) = (Digest::of(b"[9]"), Bytes::from_static(b"[9]"));
        let stored = Datum::stored(digest, 3);
        let array = Datum::array([&json("1"), &Datum::array([&stored, &json("2")]), &stored]);
        assert_eq!(array.text(), "[1,[null,2],null]");
        let items = array.items().unwrap();
        assert_eq!(items[2], stored);
        assert_eq!(Datum::array(&items), array);
        assert_eq!(array.whole(|_| Some(&bytes)).unwrap().text(), "[1,[[9],2],[9]]");
        assert_eq!(array.whole(|_| None).unwrap_err().digest, digest);
        assert_eq!(array.size(), 17 + 6);
        assert_eq!(stored.as_value(), Some(Value::Stored { digest, size: 3 }));
        assert_eq!(array.as_value(), None);
        let parts = array.elsewhere().to_vec();
        assert_eq!(Datum::of_parts(array.text(), parts.clone()).unwrap(), array);
        let wrong = vec![Elsewhere { at: 1, ..parts[0] }];
        assert_eq!(Datum::of_parts(array.text(), wrong), Err(Error::Misplaced));
    }

    #[test]
    fn bytes_that_are_no_json_are_refused() {
        for bad in ["", "{", "1 2", "nul", "\u{1}"] {
            assert!(Datum::parse(&Bytes::from_static(bad.as_bytes())).is_err(), "{bad:?}");
        }
        assert_eq!(json(" [1] ").text(), "[1]");
    }
}

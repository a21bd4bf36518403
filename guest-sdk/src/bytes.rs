//! Binary data in JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

/// Bytes, as a base64 string in JSON (the standard alphabet, padded).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

/// Tells the length alone: such data does not belong in a log.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Base64)
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as a base64 string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Bytes(bytes)),
            // The text is not repeated: it may be long, or a secret.
            Err(_) => Err(E::invalid_value(Unexpected::Other("text that is not base64"), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64_in_json() {
        let bytes = Bytes(vec![0, 255, 7, 8]);
        let json = serde_json::to_string(&bytes).unwrap();
        assert_eq!(json, r#""AP8HCA==""#);
        assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), bytes);
    }

    #[test]
    fn a_slash_may_be_escaped_in_json() {
        assert_eq!(serde_json::from_str::<Bytes>(r#""\/\/79""#).unwrap().0, [255, 254, 253]);
    }

    #[test]
    fn text_that_is_not_base64_is_refused_without_repeating_it() {
        let error = serde_json::from_str::<Bytes>(r#""secret!!""#).unwrap_err().to_string();
        assert!(error.contains("not base64") && !error.contains("secret"), "{error}");
        assert!(serde_json::from_str::<Bytes>("[1]").is_err());
    }
}

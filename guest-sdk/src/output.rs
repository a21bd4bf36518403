//! What a task returns.

use schemars::JsonSchema;
use serde::Serialize;

use crate::Failure;
use crate::schema::schema_of_output;

/// A flow document that takes the task's place: the run goes on with it, and its output becomes the
/// task's.
///
/// The document is JSON as in a flow file, such as `{"chain": [{"task": "media/resize"}, {"task":
/// "media/store"}]}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow(pub serde_json::Value);

/// For a task that answers some calls with a value and others with a [`Flow`].
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// The output of the task.
    Value(T),
    /// The flow that takes its place.
    Replace(Flow),
}

/// An output as it leaves the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded {
    /// The output: JSON, unless the task has a media type of its own.
    Value(Vec<u8>),
    /// A flow document in JSON.
    Replace(String),
}

/// What a task may return, by itself or in a `Result`: anything that serde can write, [`Flow`], or
/// [`Outcome`].
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    note = "return a type with `#[lovage_guest::data]`, a `Flow`, an `Outcome<_>`, or a `Result` of those"
)]
pub trait Output {
    /// Encodes it.
    ///
    /// # Errors
    /// A permanent failure where the value cannot be JSON, such as a map whose keys are not
    /// strings.
    fn encode(self) -> Result<Encoded, Failure>;

    /// The JSON Schema of the value; none where a flow decides it.
    fn schema() -> Option<String>;
}

impl<T: Serialize + JsonSchema> Output for T {
    fn encode(self) -> Result<Encoded, Failure> {
        match serde_json::to_vec(&self) {
            Ok(json) => Ok(Encoded::Value(json)),
            Err(error) => Err(Failure::permanent(format_args!("the output cannot be JSON: {error}"))),
        }
    }

    fn schema() -> Option<String> {
        Some(schema_of_output::<T>())
    }
}

impl Output for Flow {
    fn encode(self) -> Result<Encoded, Failure> {
        Ok(Encoded::Replace(self.0.to_string()))
    }

    fn schema() -> Option<String> {
        None
    }
}

impl<T: Serialize + JsonSchema> Output for Outcome<T> {
    fn encode(self) -> Result<Encoded, Failure> {
        match self {
            Self::Value(value) => value.encode(),
            Self::Replace(flow) => flow.encode(),
        }
    }

    fn schema() -> Option<String> {
        T::schema()
    }
}

/// Sees the value's type in a `Result`, also through an alias.
pub trait Fallible {
    /// The type beside the error.
    type Value;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
}

/// Encodes an output as JSON or flow.
pub fn encode(output: impl Output) -> Result<Encoded, Failure> {
    output.encode()
}

/// Encodes the output of a task that has a media type.
pub fn encode_bytes(output: impl Into<Vec<u8>>) -> Result<Encoded, Failure> {
    Ok(Encoded::Value(output.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_json() {
        assert_eq!(encode(("a", 1)), Ok(Encoded::Value(br#"["a",1]"#.to_vec())));
        assert_eq!(encode(()), Ok(Encoded::Value(b"null".to_vec())));
    }

    #[test]
    fn a_flow_takes_the_place_of_a_value() {
        let flow = Flow(json!({ "chain": [] }));
        let replace = Ok(Encoded::Replace(r#"{"chain":[]}"#.to_owned()));
        assert_eq!(encode(flow.clone()), replace);
        assert_eq!(encode(Outcome::<u8>::Replace(flow)), replace);
        assert_eq!(encode(Outcome::Value(7)), Ok(Encoded::Value(b"7".to_vec())));
    }

    #[test]
    fn what_cannot_be_json_is_a_permanent_failure() {
        let failure = encode(BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert!(!failure.is_retryable());
        assert_eq!(failure.message(), "the output cannot be JSON: key must be a string");
    }

    #[test]
    fn only_values_have_a_schema() {
        assert_eq!(Flow::schema(), None);
        assert_eq!(Outcome::<u8>::schema(), u8::schema());
    }
}

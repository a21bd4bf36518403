//! JSON Schemas of inputs and outputs, for the dashboard's forms, for `module show` and for
//! callers.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::arguments::is_optional;

/// The schema of a task's one argument.
pub fn schema_of_input<T: JsonSchema>() -> Option<String> {
    let generator = SchemaSettings::draft2020_12().into_generator();
    Some(generator.into_root_schema_for::<T>().to_value().to_string())
}

/// The schema of a task's output, which may differ from the input's where fields have defaults.
pub(crate) fn schema_of_output<T: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<T>().to_value().to_string()
}

/// The schema of no argument.
pub fn schema_of_nothing() -> Option<String> {
    ArgumentsSchema::new().finish()
}

/// The schema of several arguments, by position or by name.
///
/// A schema's keywords each speak of one JSON type, so that one flat schema describes both forms,
/// and a form made from it finds the `properties` where it looks for them.
pub struct ArgumentsSchema {
    generator: SchemaGenerator,
    names: Vec<&'static str>,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
    items_min: usize,
}

impl ArgumentsSchema {
    #[expect(clippy::new_without_default, reason = "written by the macro alone, as the head of a chain")]
    /// The schema of no argument so far.
    pub fn new() -> Self {
        Self {
            generator: SchemaSettings::draft2020_12().into_generator(),
            names: Vec::new(),
            properties: Map::new(),
            required: Vec::new(),
            items_min: 0,
        }
    }

    /// Adds the next argument.
    #[must_use]
    pub fn argument<T: DeserializeOwned + JsonSchema>(mut self, name: &'static str) -> Self {
        let schema = self.generator.subschema_for::<T>().to_value();
        self.properties.insert(name.to_owned(), schema);
        self.names.push(name);
        if !is_optional::<T>() {
            self.required.push(name);
            self.items_min = self.names.len();
        }
        self
    }

    /// The schema document.
    pub fn finish(mut self) -> Option<String> {
        let by_position: Vec<_> =
            self.names.iter().map(|name| json!({ "$ref": format!("#/properties/{}", pointer_token(name)) })).collect();
        let types =
            if self.required.is_empty() { json!(["object", "array", "null"]) } else { json!(["object", "array"]) };
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": types,
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
            "items": false,
            "minItems": self.items_min,
        });
        if let Some(schema) = schema.as_object_mut() {
            if !by_position.is_empty() {
                schema.insert("prefixItems".to_owned(), Value::Array(by_position));
            }
            let definitions = self.generator.take_definitions(true);
            if !definitions.is_empty() {
                schema.insert("$defs".to_owned(), Value::Object(definitions));
            }
        }
        Some(schema.to_string())
    }
}

/// A name as part of a JSON pointer in a URI fragment: Rust allows letters there that a URI does
/// not.
fn pointer_token(name: &str) -> Cow<'_, str> {
    if name.is_ascii() {
        return Cow::Borrowed(name);
    }
    name.bytes()
        .map(|byte| if byte.is_ascii() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

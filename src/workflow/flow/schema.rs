//! The JSON Schema of flow documents, from the table that the parser reads: editors complete and explain by it.
//!
//! It accepts what the parser accepts, and a little more: expressions, names and references of steps are beyond a schema.

use serde_json::{Map, Value, json};

use super::field::{FIELDS, FieldRow, KINDS, KindRow, Shape};
use crate::model::Kind;
use crate::model::retry::ATTEMPTS_MAX;
use crate::model::signature::LABELS_MAX;

const NAME: &str = "[a-z0-9_-]{1,64}";
const VERSION: &str = "[a-z0-9._-]{1,32}";
const DURATION: &str = r"^(?=.)([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?([0-9]+(\.[0-9]+)?ms)?$";

/// The schema, in the dialect of 2020-12.
#[must_use]
pub fn schema() -> Value {
    let mut defs: Map<String, Value> = KINDS.iter().map(|kind| (kind.name.to_owned(), kind_schema(kind))).collect();
    let kinds: Vec<Value> = KINDS.iter().map(|kind| reference(kind.name)).collect();
    defs.insert("node".to_owned(), json!({"oneOf": kinds}));
    defs.insert("document".to_owned(), document());
    defs.insert(
        "duration".to_owned(),
        json!({"type": "string", "pattern": DURATION, "examples": ["100ms", "5s", "1h30m"]}),
    );
    defs.insert("retry".to_owned(), retry());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Lovage flow",
        "description": "A workflow: a node, or a document around one.",
        "oneOf": [reference("document"), reference("node")],
        "$defs": defs,
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn document() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": format!("^{NAME}$"), "description": "The name under which it is stored."},
            "input": {"type": ["object", "boolean"], "description": "A JSON Schema, checked when a run starts."},
            "flow": {"type": "object", "description": "The root.", "$ref": "#/$defs/node"},
        },
        "required": ["flow"],
        "additionalProperties": false,
    })
}

fn kind_schema(kind: &KindRow) -> Value {
    let mut properties = Map::new();
    properties.insert(kind.name.to_owned(), described(kind.shape, kind.about));
    let fields: Vec<&FieldRow> = FIELDS.iter().filter(|field| field.on.allows(kind.name)).collect();
    properties.extend(fields.iter().map(|field| (field.name.to_owned(), described(field.shape, field.about))));
    let required: Vec<&str> = std::iter::once(kind.name).chain(kind.required.iter().copied()).collect();
    let mut schema = json!({
        "type": "object",
        "description": kind.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    let pairs = super::field::APART.iter().filter(|(one, other)| has(one) && has(other));
    let pairs: Vec<Value> = pairs.map(|(one, other)| json!({"not": {"required": [one, other]}})).collect();
    if let (Value::Object(schema), false) = (&mut schema, pairs.is_empty()) {
        schema.insert("allOf".to_owned(), pairs.into());
    }
    schema
}

fn described(shape: Shape, about: &str) -> Value {
    let mut schema = shape_schema(shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), about.into());
    }
    schema
}

fn shape_schema(shape: Shape) -> Value {
    let text = |pattern: String| json!({"type": "string", "pattern": pattern});
    match shape {
        Shape::Task => text(format!("^{NAME}(@{VERSION})?/[a-zA-Z0-9_-]{{1,64}}$")),
        Shape::Node => reference("node"),
        Shape::Nodes => json!({"type": "array", "items": reference("node")}),
        Shape::Chord => json!({
            "type": "object",
            "properties": {
                "header": {"type": "array", "items": reference("node"), "description": "The members."},
                "body": {"$ref": "#/$defs/node", "description": "What receives their outputs."},
            },
            "required": ["header", "body"],
            "additionalProperties": false,
        }),
        Shape::Branches => json!({"type": "array", "items": {
            "type": "object",
            "properties": {
                "when": {"type": ["string", "boolean"], "description": "A CEL expression."},
                "then": {"$ref": "#/$defs/node", "description": "Taken where it is true."},
            },
            "required": ["when", "then"],
            "additionalProperties": false,
        }}),
        Shape::Template => json!({}),
        Shape::Templates => json!({"type": "array"}),
        Shape::TextTemplate => json!({"type": "string"}),
        Shape::Expression => json!({"type": ["string", "boolean"]}),
        Shape::Duration | Shape::Span => reference("duration"),
        Shape::Sleep => json!({"anyOf": [reference("duration"), text("\\$\\{".to_owned())]}),
        Shape::Number(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::OnError => json!({"enum": ["stop", "finish", "collect"]}),
        Shape::Retry => reference("retry"),
        Shape::Fuel => json!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "off"}]}),
        Shape::Bytes => {
            json!({"anyOf": [{"type": "integer", "minimum": 1}, text("^[0-9]+ *([KMG]iB|[kMG]?B)$".to_owned())]})
        }
        Shape::Labels => {
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": LABELS_MAX})
        }
        Shape::StepName => text("^[a-z_][a-z0-9_]{0,63}$".to_owned()),
        Shape::Queue => text(format!("^{NAME}$")),
        Shape::Signal => text("^[a-zA-Z0-9_-]{1,64}$".to_owned()),
        Shape::Flow => text(format!("^{NAME}(@{VERSION})?$")),
    }
}

fn retry() -> Value {
    let attempts = json!({"type": "integer", "minimum": 1, "maximum": ATTEMPTS_MAX, "description": "Attempts in all, the first included."});
    let wait = |about: &str| json!({"$ref": "#/$defs/duration", "description": about});
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    let policy = json!({
        "type": "object",
        "properties": {
            "attempts": attempts,
            "backoff": wait("The wait before the second attempt."),
            "factor": {"type": "number", "minimum": 1, "maximum": 100, "description": "How much longer each following wait is."},
            "max": wait("The longest wait."),
            "jitter": {"type": "boolean", "description": "Whether waits vary."},
            "on": {"type": "array", "items": {"enum": kinds}, "description": "The kinds of failures that it is for."},
        },
        "additionalProperties": false,
    });
    json!({"anyOf": [attempts, policy]})
}

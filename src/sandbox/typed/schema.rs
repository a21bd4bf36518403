//! The JSON Schema (2020-12) of a shape: it accepts what the reader accepts, and describes what the writer writes.

use serde_json::{Map, Value, json};

use super::shape::{ERR, Integer, OK, SOME, Shape, Signature};
use super::write::NOT_FINITE;

/// Which way a value goes: the reader takes more than the writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// The schema of the input of a function.
pub(super) fn input(signature: &Signature) -> Value {
    let reference = |name: &String| json!({ "$ref": format!("#/$defs/{name}") });
    let definitions: Map<String, Value> =
        signature.params.iter().map(|(name, shape)| (name.clone(), of(shape, Way::In))).collect();
    let properties: Map<String, Value> =
        signature.params.iter().map(|(name, _)| (name.clone(), reference(name))).collect();
    let required: Vec<&String> =
        signature.params.iter().filter(|(_, shape)| !shape.takes_null()).map(|(name, _)| name).collect();
    let by_name = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    let items: Vec<Value> = signature.params.iter().map(|(name, _)| reference(name)).collect();
    let optional_at_end = signature.params.iter().rev().take_while(|(_, shape)| shape.takes_null()).count();
    let by_position = tuple(&items, items.len().saturating_sub(optional_at_end));
    let forms = match signature.params.as_slice() {
        [] => vec![json!({"type": "null"}), by_name, by_position],
        [(name, shape)] => {
            let mut forms = vec![reference(name)];
            if !shape.takes_key(name) {
                forms.push(by_name);
            }
            if !shape.takes_arrays() {
                forms.push(by_position);
            }
            forms
        }
        _ => vec![by_name, by_position],
    };
    json!({ "$defs": definitions, "anyOf": forms })
}

/// The schema of the output of a function: errors are failures, so that they are no part of it.
pub(super) fn output(signature: &Signature) -> Value {
    match &signature.result {
        Some(Shape::Result { ok, .. }) => payload(ok.as_deref(), Way::Out),
        other => payload(other.as_ref(), Way::Out),
    }
}

fn payload(shape: Option<&Shape>, way: Way) -> Value {
    shape.map_or_else(|| json!({"type": "null"}), |shape| of(shape, way))
}

fn of(shape: &Shape, way: Way) -> Value {
    match shape {
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Integer(kind) => integer(*kind),
        Shape::Float32 | Shape::Float64 => {
            let names: Vec<&str> = NOT_FINITE.iter().map(|(name, _)| *name).collect();
            json!({"anyOf": [{"type": "number"}, {"enum": names}]})
        }
        Shape::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
        Shape::String => json!({"type": "string"}),
        Shape::Bytes => {
            let text = json!({"type": "string", "contentEncoding": "base64"});
            match way {
                Way::In => json!({"anyOf": [text, {"type": "array", "items": integer(Integer::U8)}]}),
                Way::Out => text,
            }
        }
        Shape::List(element) => json!({"type": "array", "items": of(element, way)}),
        Shape::Tuple(shapes) => {
            let items: Vec<Value> = shapes.iter().map(|shape| of(shape, way)).collect();
            tuple(&items, items.len())
        }
        Shape::Record(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|(name, shape)| (name.clone(), of(shape, way))).collect();
            let may_miss = |shape: &Shape| way == Way::In && shape.takes_null();
            let required: Vec<&String> =
                fields.iter().filter(|(_, shape)| !may_miss(shape)).map(|(name, _)| name).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
        Shape::Variant(cases) => {
            let bare: Vec<&String> =
                cases.iter().filter(|(_, payload)| payload.is_none()).map(|(name, _)| name).collect();
            let mut forms = Vec::new();
            if !bare.is_empty() {
                forms.push(json!({ "enum": bare }));
            }
            let keys = cases.iter().filter(|(_, payload)| way == Way::In || payload.is_some());
            forms.extend(keys.map(|(name, shape)| keyed(name, &payload(shape.as_ref(), way))));
            json!({ "anyOf": forms })
        }
        Shape::Enum(names) => json!({ "enum": names }),
        Shape::Flags(names) => json!({"type": "array", "items": {"enum": names}, "uniqueItems": true}),
        Shape::Option(inner) if inner.takes_null() => {
            json!({"anyOf": [{"type": "null"}, keyed(SOME, &of(inner, way))]})
        }
        Shape::Option(inner) => json!({"anyOf": [{"type": "null"}, of(inner, way)]}),
        Shape::Result { ok, err } => json!({
            "anyOf": [keyed(OK, &payload(ok.as_deref(), way)), keyed(ERR, &payload(err.as_deref(), way))],
        }),
    }
}

fn integer(integer: Integer) -> Value {
    let (name, min, max) = integer.range();
    // No integer of WIT is wider than these two.
    let number = |value: i128| i64::try_from(value).map_or_else(|_| json!(u64::MAX), |value| json!(value));
    let whole = json!({"type": "integer", "minimum": number(min), "maximum": number(max)});
    if integer.is_wide() {
        let digits = if min == 0 { "^[0-9]+$" } else { "^-?[0-9]+$" };
        json!({"anyOf": [whole, {"type": "string", "pattern": digits}], "description": format!("{name}; beyond 53 bits as a string")})
    } else {
        whole
    }
}

fn tuple(items: &[Value], min: usize) -> Value {
    if items.is_empty() {
        return json!({"type": "array", "maxItems": 0});
    }
    json!({"type": "array", "prefixItems": items, "minItems": min, "maxItems": items.len()})
}

fn keyed(name: &str, schema: &Value) -> Value {
    json!({"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": false})
}

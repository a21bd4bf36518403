//! The schema accepts what the parser accepts, and refuses what is wrong by its form alone.

use lovage::workflow::flow::{Document, schema};
use serde_json::{Value, json};

/// The keywords that the schema uses, patterns left out: a validator for this schema and no other.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
fn valid(schema: &Value, value: &Value, root: &Value) -> bool {
    schema.as_object().is_none_or(|keywords| {
        keywords.iter().all(|(keyword, rule)| match keyword.as_str() {
            "$ref" => valid(root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(), value, root),
            "oneOf" => rule.as_array().unwrap().iter().filter(|one| valid(one, value, root)).count() == 1,
            "anyOf" => rule.as_array().unwrap().iter().any(|one| valid(one, value, root)),
            "allOf" => rule.as_array().unwrap().iter().all(|one| valid(one, value, root)),
            "not" => !valid(rule, value, root),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| is(value, one.as_str().unwrap())),
                one => is(value, one.as_str().unwrap()),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "items" => value.as_array().is_none_or(|list| list.iter().all(|item| valid(rule, item, root))),
            "required" => value.as_object().is_none_or(|map| {
                rule.as_array().unwrap().iter().all(|field| map.contains_key(field.as_str().unwrap()))
            }),
            "properties" => value.as_object().is_none_or(|map| {
                map.iter().all(|(field, value)| rule.get(field).is_none_or(|rule| valid(rule, value, root)))
            }),
            "additionalProperties" => value.as_object().is_none_or(|map| {
                let known = schema.get("properties");
                let others = map.iter().filter(|(field, _)| known.and_then(|known| known.get(field)).is_none());
                others.into_iter().all(|(_, value)| *rule != json!(false) && valid(rule, value, root))
            }),
            "maxProperties" => value.as_object().is_none_or(|map| map.len() as u64 <= rule.as_u64().unwrap()),
            "$schema" | "$defs" | "title" | "description" | "examples" | "pattern" => true,
            other => panic!("this test does not know {other}"),
        })
    })
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("this test does not know {other}"),
    }
}

fn accepts(value: &Value) -> bool {
    let schema = schema();
    valid(&schema, value, &schema)
}

#[test]
fn every_example_is_valid() {
    for (name, text) in crate::EXAMPLES {
        let document = Document::parse_yaml(text).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        assert!(accepts(&document.to_json()), "{name}");
    }
    for bare in [json!({"flow": "child"}), json!({"task": "m/t", "retry": 3, "memory": "1MiB"}), json!({"chain": []})] {
        assert!(accepts(&bare), "{bare}");
    }
}

#[test]
fn what_is_wrong_by_its_form_is_invalid() {
    for bad in [
        json!({}),
        json!([]),
        json!({"tsk": "m/t"}),
        json!({"chain": [], "group": []}),
        json!({"task": "m/t", "args": [1], "input": 2}),
        json!({"group": [], "on_error": "stop", "need": 1}),
        json!({"group": [], "on_error": "halt"}),
        json!({"chain": [], "delay": "1s"}),
        json!({"chunks": {"value": 1}}),
        json!({"chunks": {"value": 1}, "size": 0}),
        json!({"map": {"value": 1}, "concurrency": 10_001}),
        json!({"task": "m/t", "retry": {"tries": 3}}),
        json!({"task": "m/t", "labels": {"a": 1}}),
        json!({"flow": {"value": 1}, "retry": 3}),
        json!({"flow": {"chain": [{"value": 1, "catch": []}]}}),
    ] {
        assert!(!accepts(&bad), "{bad}");
        assert!(Document::from_json(&bad).is_err(), "{bad}");
    }
}

#[test]
fn everything_is_explained() {
    let schema = schema();
    let kinds = schema["$defs"]["node"]["oneOf"].as_array().unwrap();
    assert_eq!(kinds.len(), 14);
    for kind in kinds {
        let name = kind["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        let own = &schema["$defs"][name];
        assert_eq!(own["required"][0], name);
        for (field, rule) in own["properties"].as_object().unwrap() {
            assert!(rule["description"].as_str().is_some_and(|about| about.ends_with('.')), "{name}: {field}");
        }
    }
}

//! Whether an input fits the JSON Schema of a document, and whether that is one.
//!
//! **Invariant:** nothing is fetched: a schema that refers to another document is refused. **Invariant:** a check ends within
//! the bounds of `bounds`, whatever the schema and the input are.

mod bounds;

use boon::{CompileError, Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

use super::problem::{Problem, Problems};
use super::{Document, yaml};
use bounds::{Wrong, within_budget};

/// The most reasons that are told.
const REASONS_MAX: usize = 10;

/// The largest input that is checked: what is larger takes seconds. A flow for such inputs has no schema.
pub const INPUT_CHECKED_BYTES_MAX: usize = 4 << 20;

/// What the schema is called while it is compiled.
const PLACE: &str = "lovage:///input";

/// Why a check was given up.
const TOO_LONG: &str = "the schema takes too many steps to check it";

struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("it refers to {url}, and nothing is fetched").into())
    }
}

/// Checks an input; `null` is what a run without input is checked with.
///
/// # Errors
/// Why it does not fit, as one line; also a schema that is none, and an input above [`INPUT_CHECKED_BYTES_MAX`].
pub fn fits(schema: &Value, input: &Value) -> Result<(), String> {
    if is_larger(input, INPUT_CHECKED_BYTES_MAX) {
        return Err("it is larger than the 4 MiB that are checked by a schema".to_owned());
    }
    let check = || {
        let (schemas, index) = compile(schema).map_err(|(_, why)| format!("the schema is none: {why}"))?;
        schemas.validate(input, index).map_err(|error| {
            let mut reasons = Vec::new();
            leaves(&error, &mut reasons);
            reasons.join("; ")
        })
    };
    within_budget(check).unwrap_or_else(|| Err(TOO_LONG.to_owned()))
}

/// What is wrong with the schema of a document, with its line and column where the document was read from YAML text.
#[must_use]
pub fn schema_problems(document: &Document, yaml: Option<&str>) -> Vec<Problem> {
    let Some(schema) = &document.input else { return Vec::new() };
    let wrong = within_budget(|| compile(schema).err()).unwrap_or_else(|| Some((String::new(), TOO_LONG.to_owned())));
    let Some((place, why)) = wrong else { return Vec::new() };
    let mut problems = Problems::default();
    problems.push(&format!("/input{place}"), format!("the schema is none: {why}"));
    let tree = yaml.and_then(|text| yaml::read(text).ok());
    problems.located(|spot| tree.as_ref().and_then(|tree| tree.locate(spot)))
}

/// The schema, ready to check by, or what is wrong with it and where in it.
fn compile(schema: &Value) -> Result<(Schemas, SchemaIndex), Wrong> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(NothingElse));
    compiler.register_format(bounds::format());
    compiler.enable_format_assertions();
    let schema = bounds::metered(schema)?;
    let compiled = compiler.add_resource(PLACE, schema).and_then(|()| compiler.compile(PLACE, &mut schemas));
    let index = compiled.map_err(|error| wrong(&error))?;
    Ok((schemas, index))
}

/// Where the compiler found what it says.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other variants tell no place in the schema")]
fn wrong(error: &CompileError) -> Wrong {
    match error {
        CompileError::ValidationError { src, .. } => {
            let first = deepest(src);
            (first.instance_location.to_string(), one_line(&first.kind.to_string()))
        }
        CompileError::InvalidRegex { url, regex, .. } => {
            let place = url.split_once('#').map_or("", |(_, place)| place);
            (place.to_owned(), format!("{} is no pattern", super::problem::quoted(regex)))
        }
        other => (String::new(), one_line(&other.to_string())),
    }
}

/// The first reason at the bottom.
fn deepest<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    error.causes.first().map_or(error, deepest)
}

/// Whether the JSON of a value is longer than this, without writing it.
fn is_larger(value: &Value, max: usize) -> bool {
    let (mut size, mut open) = (0_usize, vec![value]);
    while let Some(value) = open.pop() {
        size = size.saturating_add(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 2,
            Value::String(text) => text.len().saturating_add(3),
            Value::Array(list) => {
                open.extend(list);
                2
            }
            Value::Object(map) => {
                open.extend(map.values());
                map.keys().fold(2_usize, |sum, key| sum.saturating_add(key.len()).saturating_add(4))
            }
        });
        if size > max {
            return true;
        }
    }
    false
}

/// The reasons at the bottom: what is above them only says that something below does not fit.
fn leaves(error: &ValidationError<'_, '_>, reasons: &mut Vec<String>) {
    if reasons.len() >= REASONS_MAX {
        return;
    }
    if error.causes.is_empty() {
        let at = error.instance_location.to_string();
        let place = if at.is_empty() { String::new() } else { format!("{at}: ") };
        reasons.push(one_line(&format!("{place}{}", error.kind)));
    }
    error.causes.iter().for_each(|cause| leaves(cause, reasons));
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_input_fits_or_is_told_why_not() {
        let schema = json!({
            "type": "object",
            "required": ["pages"],
            "properties": {"pages": {"type": "array", "items": {"type": "string", "pattern": "^https?://"}}}
        });
        assert_eq!(fits(&schema, &json!({"pages": ["https://example.org"]})), Ok(()));
        let told = |input| fits(&schema, &input).unwrap_err();
        assert!(told(json!({})).contains("pages"), "{}", told(json!({})));
        assert!(told(json!({"pages": ["x"]})).starts_with("/pages/0: "), "{}", told(json!({"pages": ["x"]})));
        assert!(told(Value::Null).contains("object"), "{}", told(Value::Null));
        assert_eq!(fits(&json!(true), &Value::Null), Ok(()));
    }

    #[test]
    fn reasons_are_bounded() {
        let schema = json!({"items": {"type": "string"}});
        let told = fits(&schema, &(0..1000).collect()).unwrap_err();
        assert_eq!(told.split("; ").count(), REASONS_MAX);
    }

    #[test]
    fn a_schema_that_is_none_or_stands_elsewhere_is_refused() {
        for schema in [
            json!({"type": "strange"}),
            json!({"$ref": "file:///etc/hostname"}),
            json!({"$ref": "https://example.org/schema.json"}),
            json!({"pattern": "("}),
        ] {
            assert!(fits(&schema, &json!("x")).unwrap_err().starts_with("the schema is none"), "{schema}");
        }
    }

    /// The first problem of a document with this schema.
    fn problem(schema: &str) -> String {
        let text = format!("input: {schema}\nflow: {{value: 1}}\n");
        let document = Document::parse_yaml(&text).unwrap();
        schema_problems(&document, Some(&text)).first().map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_a_schema_is_told_with_its_place() {
        for (schema, expected) in [
            (
                "{type: object, properties: {a: {type: strin}}}",
                "at /input/properties/a/type (1:40): the schema is none: value must be one of",
            ),
            ("{properties: {a: {minimum: x}}}", "at /input/properties/a/minimum (1:26): the schema is none: "),
            ("{items: {pattern: '('}}", "at /input/items/pattern (1:17): the schema is none: '(' is not valid regex"),
            ("{items: {$ref: 'other.json'}}", "it refers to \"other.json\", and nothing is fetched"),
            (
                "{items: {$ref: '#/$defs/no'}}",
                "at /input/items/$ref (1:17): the schema is none: it refers to \"#/$defs/no\"",
            ),
            ("{items: {$id: 'x'}}", "at /input/items/$id (1:17): the schema is none: a part of a schema has no id"),
            ("{$schema: 'https://example.org/x'}", "at /input (1:1): the schema is none: "),
        ] {
            assert!(problem(schema).contains(expected), "{schema}: {}", problem(schema));
        }
        for schema in
            ["true", "{}", "{format: date, allOf: [{minLength: 2}]}", "{properties: {format: {type: string}}}"]
        {
            assert_eq!(problem(schema), "", "{schema}");
        }
    }

    #[test]
    fn schemas_that_are_too_much_are_refused_before_they_are_compiled() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({"items": inner}));
        let patterns: serde_json::Map<String, Value> = (0..100).map(|n| (format!("^a{n}"), json!({}))).collect();
        for (schema, expected) in [
            (json!({"description": "x".repeat(70_000)}), "64 KiB (65536) are allowed"),
            (deep, "more than 64 levels deep"),
            (json!({"patternProperties": patterns}), "more than 64 patterns"),
            (json!({"pattern": "((a{100}){100}){100}"}), "too large when it is compiled"),
            (json!({"enum": (0..2_000).collect::<Vec<_>>()}), "it has 2000 values; 1000 are allowed"),
        ] {
            let told = fits(&schema, &json!("x")).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }

    /// A schema of `levels` definitions, each of which asks twice for the next one.
    fn doubling(levels: usize) -> Value {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            defs.insert(format!("d{level}"), json!({"allOf": [next, next]}));
        }
        defs.insert(format!("d{levels}"), json!({"type": "string"}));
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    }

    #[test]
    fn a_schema_that_doubles_at_each_step_is_given_up() {
        assert_eq!(fits(&doubling(8), &json!("x")), Ok(()));
        assert!(fits(&doubling(8), &json!(1)).is_err());
        assert_eq!(fits(&doubling(60), &json!("x")), Err(TOO_LONG.to_owned()));
        // The same over the depth of an input.
        let tree = json!({"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]});
        let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(fits(&tree, &deep), Err(TOO_LONG.to_owned()));
        assert_eq!(fits(&tree, &json!([[1]])), Ok(()));
    }

    #[test]
    fn a_chain_of_references_does_not_take_the_whole_stack() {
        let mut defs: serde_json::Map<String, Value> =
            (0..1_200).map(|n| (format!("d{n}"), json!({"$ref": format!("#/$defs/d{}", n + 1)}))).collect();
        defs.insert("d1200".to_owned(), json!({"items": {"$ref": "#/$defs/d0"}}));
        let schema = json!({"$defs": defs, "$ref": "#/$defs/d0"});
        let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
        // Whether it is too long or fits is the stack's to say; that it comes back at all is what matters.
        assert!(fits(&schema, &deep).err().is_none_or(|why| why == TOO_LONG));
        assert_eq!(fits(&schema, &json!([1])), Ok(()));
    }

    #[test]
    fn an_input_that_is_too_large_is_not_checked() {
        let large = |size: usize| json!({"text": "x".repeat(size)});
        assert_eq!(fits(&json!({"type": "object"}), &large(INPUT_CHECKED_BYTES_MAX - 100)), Ok(()));
        assert!(fits(&json!({}), &large(INPUT_CHECKED_BYTES_MAX)).unwrap_err().contains("4 MiB"));
        assert!(fits(&json!({}), &vec![0; INPUT_CHECKED_BYTES_MAX].into()).unwrap_err().contains("4 MiB"));
    }

    #[test]
    fn formats_are_checked() {
        let schema = json!({"format": "date", "minLength": 1});
        assert_eq!(fits(&schema, &json!("2026-11-22")), Ok(()));
        assert!(fits(&schema, &json!("today")).unwrap_err().contains("date"), "{:?}", fits(&schema, &json!("today")));
        assert_eq!(fits(&json!({"format": "of no kind"}), &json!("x")), Ok(()));
    }

    #[test]
    fn a_pattern_that_would_go_back_and_forth_is_matched_in_one_pass() {
        let schema = json!({"pattern": "^(a+)+$"});
        assert!(fits(&schema, &Value::from(format!("{}!", "a".repeat(100_000)))).is_err());
    }
}

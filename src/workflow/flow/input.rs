//! Whether an input fits the JSON Schema of a document.
//!
//! **Invariant:** nothing is fetched: a schema that refers to another document is refused.

use boon::{Compiler, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

/// The most reasons that are told.
const REASONS_MAX: usize = 10;

/// What the schema is called while it is compiled.
const PLACE: &str = "lovage:///input";

struct NothingElse;

impl UrlLoader for NothingElse {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("it refers to {url}, and nothing is fetched").into())
    }
}

/// Checks an input; `null` is what a run without input is checked with.
///
/// # Errors
/// Why it does not fit, as one line; also a schema that is none.
pub fn fits(schema: &Value, input: &Value) -> Result<(), String> {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.use_loader(Box::new(NothingElse));
    let compiled = compiler.add_resource(PLACE, schema.clone()).and_then(|()| compiler.compile(PLACE, &mut schemas));
    let index = compiled.map_err(|error| format!("the schema is none: {}", one_line(&error.to_string())))?;
    schemas.validate(input, index).map_err(|error| {
        let mut reasons = Vec::new();
        leaves(&error, &mut reasons);
        reasons.join("; ")
    })
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

    #[test]
    fn a_pattern_that_would_go_back_and_forth_is_matched_in_one_pass() {
        let schema = json!({"pattern": "^(a+)+$"});
        assert!(fits(&schema, &Value::from(format!("{}!", "a".repeat(100_000)))).is_err());
    }
}

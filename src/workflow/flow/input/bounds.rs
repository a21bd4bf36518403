//! What a schema may be, so that checking an input by it ends soon and stays small.
//!
//! The validator has no budget of its own: a few references that double at each step would keep it busy for ever, and long
//! chains of them would take the whole stack. So every schema in the document is given a format that counts, and the count and
//! the stack that it sees are bounded.

use std::cell::Cell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::problem::{below, quoted};

/// The largest schema: it is part of a document of a mebibyte, and compiled at every start of a run.
pub(super) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// The most levels of a schema: the schema of schemas takes several frames of the stack for each.
pub(super) const SCHEMA_LEVELS_MAX: usize = 64;

/// The most patterns of a schema: each property of an input may be tried with all of them.
const PATTERNS_MAX: usize = 64;

/// The memory of one compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// The most values of an `enum`: they are compared one by one.
const ENUM_MAX: usize = 1_000;

/// The most steps of one check: about a second.
const STEPS_MAX: u64 = 1_000_000;

/// Bytes of a text that are looked at in one step.
const BYTES_A_STEP: usize = 32;

/// Stack of the thread that checks, and how much of it a check may take: the rest is for what it calls.
pub(super) const STACK_BYTES: usize = 16 << 20;
const STACK_USED_MAX: usize = 8 << 20;

/// The format that counts. A schema that names it itself is counted twice, which does no harm.
const METER: &str = "lovage-step";

/// Keywords whose value is a schema, a list of them, or a map of them, in any draft.
const ONE: [&str; 12] = [
    "not",
    "if",
    "then",
    "else",
    "items",
    "additionalItems",
    "contains",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
const LISTS: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const MAPS: [&str; 6] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What is wrong with a schema, and where in it.
pub(super) type Wrong = (String, String);

/// The schema with a meter in each of its parts.
///
/// # Errors
/// What is beyond the bounds, or refers to what is not in the schema.
pub(super) fn metered(schema: &Value) -> Result<Value, Wrong> {
    let top = |why: String| (String::new(), why);
    let size = schema.to_string().len();
    if size > SCHEMA_BYTES_MAX {
        return Err(top(format!("the schema has {size} bytes; 64 KiB ({SCHEMA_BYTES_MAX}) are allowed")));
    }
    if levels(schema) > SCHEMA_LEVELS_MAX {
        return Err(top(format!("the schema is nested more than {SCHEMA_LEVELS_MAX} levels deep")));
    }
    let mut walk = Walk::default();
    let mut schema = schema.clone();
    walk.schema(&mut schema, "")?;
    for (place, reference) in &walk.references {
        // What was not walked is not metered.
        let known = !reference.starts_with("#/") || walk.places.contains(reference.trim_start_matches('#'));
        if !known {
            return Err((place.clone(), format!("it refers to {}, where no schema is", quoted(reference))));
        }
    }
    Ok(schema)
}

fn levels(value: &Value) -> usize {
    let mut deepest = 0_usize;
    let mut open = vec![(value, 1_usize)];
    while let Some((value, level)) = open.pop() {
        deepest = deepest.max(level);
        match value {
            Value::Array(list) => open.extend(list.iter().map(|value| (value, level.saturating_add(1)))),
            Value::Object(map) => open.extend(map.values().map(|value| (value, level.saturating_add(1)))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    deepest
}

/// A walk over all schemas of a schema. It goes no deeper than [`SCHEMA_LEVELS_MAX`].
#[derive(Default)]
struct Walk {
    places: BTreeSet<String>,
    references: Vec<Wrong>,
    patterns: usize,
}

impl Walk {
    fn schema(&mut self, schema: &mut Value, place: &str) -> Result<(), Wrong> {
        self.places.insert(place.to_owned());
        let Some(fields) = schema.as_object_mut() else { return Ok(()) };
        self.own(fields, place)?;
        for name in ONE {
            if let Some(inner) = fields.get_mut(name).filter(|inner| inner.is_object()) {
                self.schema(inner, &below(place, name))?;
            }
        }
        for name in LISTS {
            for (at, inner) in fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
                self.schema(inner, &below(&below(place, name), at))?;
            }
        }
        for name in MAPS {
            for (key, inner) in fields.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten() {
                self.schema(inner, &below(&below(place, name), key))?;
            }
        }
        meter(fields);
        Ok(())
    }

    /// What a schema says itself.
    fn own(&mut self, fields: &Map<String, Value>, place: &str) -> Result<(), Wrong> {
        for name in REFERENCES {
            let Some(reference) = fields.get(name).and_then(Value::as_str) else { continue };
            let place = below(place, name);
            if !reference.starts_with('#') {
                return Err((place, format!("it refers to {}, and nothing is fetched", quoted(reference))));
            }
            self.references.push((place, reference.to_owned()));
        }
        for name in ["$id", "id"] {
            if !place.is_empty() && fields.get(name).is_some_and(Value::is_string) {
                return Err((below(place, name), "a part of a schema has no id of its own here".to_owned()));
            }
        }
        if let Some(Value::Array(values)) = fields.get("enum")
            && values.len() > ENUM_MAX
        {
            let why = format!("it has {} values; {ENUM_MAX} are allowed", values.len());
            return Err((below(place, "enum"), why));
        }
        if let Some(pattern) = fields.get("pattern").and_then(Value::as_str) {
            self.pattern(pattern, below(place, "pattern"))?;
        }
        let properties = fields.get("patternProperties").and_then(Value::as_object);
        for pattern in properties.into_iter().flat_map(Map::keys) {
            self.pattern(pattern, below(&below(place, "patternProperties"), pattern))?;
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str, place: String) -> Result<(), Wrong> {
        self.patterns = self.patterns.saturating_add(1);
        if self.patterns > PATTERNS_MAX {
            return Err((place, format!("the schema has more than {PATTERNS_MAX} patterns")));
        }
        match regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build() {
            Err(regex::Error::CompiledTooBig(_)) => {
                Err((place, "the pattern is too large when it is compiled".to_owned()))
            }
            // What the validator makes of one that is none here (the dialects differ a little) is its to say.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Puts the meter where a schema's format is, and the format beside it.
fn meter(fields: &mut Map<String, Value>) {
    match fields.get("format") {
        None => {}
        Some(Value::String(_)) => {
            let format = fields.insert("format".to_owned(), Value::Null);
            let all = fields.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.push(json!({"format": format}));
            }
        }
        // The schema of schemas says what is wrong with it.
        Some(_) => return,
    }
    fields.insert("format".to_owned(), Value::from(METER));
}

/// The format that the validator is to know.
pub(super) const fn format() -> boon::Format {
    boon::Format { name: METER, func: step }
}

thread_local! {
    /// Steps that are left, and the address of the stack where the check began.
    static LEFT: Cell<(u64, usize)> = const { Cell::new((0, 0)) };
}

/// Thrown through the validator, which knows no other way to be stopped.
struct Exhausted;

fn step(value: &Value) -> Result<(), Box<dyn std::error::Error>> {
    let here = 0_u8;
    let cost = 1 + value.as_str().map_or(0, |text| text.len() / BYTES_A_STEP);
    let (left, base) = LEFT.get();
    let left = left.checked_sub(u64::try_from(cost).unwrap_or(u64::MAX));
    let used = base.abs_diff(std::ptr::from_ref(&here).addr());
    match left {
        Some(left) if used <= STACK_USED_MAX => {
            LEFT.set((left, base));
            Ok(())
        }
        _ => std::panic::resume_unwind(Box::new(Exhausted)),
    }
}

/// Runs a check on a stack of its own, within the budget; `None` if it took more.
pub(super) fn within_budget<T: Send>(check: impl FnOnce() -> T + Send) -> Option<T> {
    let metered = || {
        let here = 0_u8;
        LEFT.set((STEPS_MAX, std::ptr::from_ref(&here).addr()));
        // Nothing of a check that was stopped is looked at again.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).ok()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, metered);
        thread.ok()?.join().ok()?
    })
}

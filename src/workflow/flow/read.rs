//! Readers of single fields: each takes JSON and yields a checked value, or says what is wrong with it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::node::OnError;
use super::problem::{meant, quoted, what};
use crate::model::limits::{FuelWish, Off};
use crate::model::retry::ATTEMPTS_MAX;
use crate::model::signature::{LABELS_MAX, parse_label};
use crate::model::time::parse_duration;
use crate::model::{FlowName, Kind, Policy, Version};
use crate::workflow::expression::Expression;

/// What a reader yields.
pub(super) type Read<T> = Result<T, String>;

fn text_of<'j>(json: &'j Value, wanted: &str) -> Read<&'j str> {
    json.as_str().ok_or_else(|| format!("it takes {wanted}, not {}", what(json)))
}

/// A string.
pub(super) fn text(json: &Value) -> Read<()> {
    text_of(json, "a string").map(drop)
}

/// A name or reference that the model checks.
pub(super) fn parsed<T: FromStr<Err: Display>>(json: &Value) -> Read<T> {
    text_of(json, "a string")?.parse().map_err(|error: T::Err| error.to_string())
}

/// `1h30m`
pub(super) fn duration(json: &Value) -> Read<Duration> {
    parse_duration(text_of(json, "a duration such as 5s")?).map_err(|error| error.to_string())
}

/// A duration of more than nothing.
pub(super) fn span(json: &Value) -> Read<Duration> {
    let span = duration(json)?;
    if span.is_zero() { Err("it takes more than no time".to_owned()) } else { Ok(span) }
}

/// A whole number within bounds.
pub(super) fn number(json: &Value, min: u32, max: u32) -> Read<u32> {
    let number = json.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| match max {
        u32::MAX => format!("it takes a whole number from {min}, not {}", shown(json)),
        _ => format!("it takes a whole number from {min} to {max}, not {}", shown(json)),
    })
}

/// A number as it is, anything else by what it is.
fn shown(json: &Value) -> String {
    if json.is_number() { json.to_string() } else { what(json).to_owned() }
}

/// 0 to 9
pub(super) fn priority(json: &Value) -> Read<u8> {
    number(json, 0, 9).map(|number| u8::try_from(number).unwrap_or(9))
}

/// An expression. `when: true` in YAML is a boolean, and means the same.
pub(super) fn expression(json: &Value) -> Read<Expression> {
    let source = match json {
        Value::Bool(value) => {
            if *value {
                "true"
            } else {
                "false"
            }
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            text_of(json, "an expression such as prev > 3")?
        }
    };
    if source.trim_start().starts_with("${") {
        return Err("an expression stands here without ${ }".to_owned());
    }
    Expression::parse(source).map_err(|error| error.message)
}

/// `name` or `name@version`
pub(super) fn flow(json: &Value) -> Read<(FlowName, Option<Version>)> {
    let text = text_of(json, "the name of a stored flow (in a document, where it is a map, it stands at the top)")?;
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version.parse().map_err(|error| format!("{error}"))?)),
        None => (text, None),
    };
    Ok((name.parse().map_err(|error| format!("{error}"))?, version))
}

/// `stop`, `finish`, `collect`
pub(super) fn on_error(json: &Value) -> Read<OnError> {
    const WORDS: [&str; 3] = ["stop", "finish", "collect"];
    match text_of(json, "stop, finish or collect")? {
        "stop" => Ok(OnError::Stop),
        "finish" => Ok(OnError::Finish),
        "collect" => Ok(OnError::Collect),
        other => Err(format!("it takes stop, finish or collect, not {}{}", quoted(other), meant(other, WORDS))),
    }
}

/// A number, or `off`.
pub(super) fn fuel(json: &Value) -> Read<FuelWish> {
    match (json.as_u64(), json.as_str()) {
        (Some(units), _) if units > 0 => Ok(FuelWish::Units(units)),
        (_, Some("off")) => Ok(FuelWish::Off(Off::Off)),
        _ => Err(format!("it takes a whole number from 1, or off, not {}", shown(json))),
    }
}

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// A number of bytes, or one with a unit.
pub(super) fn bytes(json: &Value) -> Read<u64> {
    let with_unit = |text: &str| {
        let (number, unit) = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))?;
        number.trim_end().parse::<u64>().ok()?.checked_mul(*unit)
    };
    let bytes = json.as_u64().or_else(|| json.as_str().and_then(with_unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        let given = json.as_str().map_or_else(|| shown(json), quoted);
        format!("it takes a number of bytes, or one with a unit such as 128MiB, not {given}")
    })
}

/// A map of strings.
pub(super) fn labels(json: &Value) -> Read<BTreeMap<String, String>> {
    let map = json.as_object().ok_or_else(|| format!("it takes a map of strings, not {}", what(json)))?;
    if map.len() > LABELS_MAX {
        return Err(format!("it takes up to {LABELS_MAX} labels, not {}", map.len()));
    }
    let label = |(key, value): (&String, &Value)| {
        let value = value.as_str().ok_or_else(|| {
            format!("the label {} takes a string, not {}: write it in quotes", quoted(key), what(value))
        })?;
        // A key with = in it would read back as another label.
        let (read, value) = parse_label(&format!("{key}={value}")).map_err(|error| error.to_string())?;
        if read == *key { Ok((read, value)) } else { Err(format!("a label's name takes no =: {}", quoted(key))) }
    };
    map.iter().map(label).collect()
}

/// A number of attempts, or a policy.
pub(super) fn retry(json: &Value) -> Read<Policy> {
    const FIELDS: [&str; 6] = ["attempts", "backoff", "factor", "max", "jitter", "on"];
    let attempts = |json: &Value| number(json, 1, ATTEMPTS_MAX);
    let map = match json {
        Value::Object(map) => map,
        Value::Number(_) => return Ok(Policy { attempts: attempts(json)?, ..Policy::default() }),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => {
            return Err(format!("it takes a number of attempts or a map of {}, not {}", FIELDS.join(", "), what(json)));
        }
    };
    let mut policy = Policy::default();
    for (field, value) in map {
        let inner = |message: String| format!("{field}: {message}");
        match field.as_str() {
            "attempts" => policy.attempts = attempts(value).map_err(inner)?,
            "backoff" => policy.backoff = duration(value).map_err(inner)?,
            "max" => policy.max = duration(value).map_err(inner)?,
            "factor" => policy.factor = factor(value).map_err(inner)?,
            "jitter" => {
                policy.jitter =
                    value.as_bool().ok_or_else(|| inner(format!("it takes true or false, not {}", what(value))))?;
            }
            "on" => policy.on = kinds(value).map_err(inner)?,
            other => return Err(format!("unknown field {}{}", quoted(other), meant(other, FIELDS))),
        }
    }
    Ok(policy)
}

fn factor(json: &Value) -> Read<f64> {
    let factor = json.as_f64().filter(|factor| (1.0..=100.0).contains(factor));
    factor.ok_or_else(|| format!("it takes a number from 1 to 100, not {}", shown(json)))
}

fn kinds(json: &Value) -> Read<Vec<Kind>> {
    let list = json.as_array().ok_or_else(|| format!("it takes a list of kinds of failures, not {}", what(json)))?;
    let kind = |json: &Value| {
        let code = text_of(json, "kinds of failures")?;
        let codes = || Kind::ALL.iter().map(|kind| kind.code());
        let found = Kind::ALL.iter().find(|kind| kind.code() == code);
        found.copied().ok_or_else(|| format!("there is no kind of failure {}{}", quoted(code), meant(code, codes())))
    };
    list.iter().map(kind).collect()
}

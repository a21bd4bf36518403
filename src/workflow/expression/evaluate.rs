//! One evaluation: the variables that it looks into, each read once, and what failed in plain words.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::common::types::CelNull;
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, Value};

use super::bounds::{INPUT_BYTES_MAX, METERED, Meter, QUOTED_LEN_MAX, RESULT_BYTES_MAX};
use super::functions::{ENVIRONMENT, METER};
use super::parse::{Parsed, name_of};
use super::{Values, Variable};

/// A scope for the expressions of one template, which share one meter.
pub(super) struct Scope {
    context: Context<'static, 'static>,
    meter: Meter,
}

impl Scope {
    /// Reads the variables.
    pub(super) fn new(variables: &BTreeSet<Variable>, values: &Values) -> Result<Self, String> {
        let meter = Meter::new();
        let mut context = Context::with_env(ENVIRONMENT.clone());
        let mut bytes = 0_usize;
        for variable in variables {
            let name = name_of(variable);
            let value: Box<dyn Val> = match values.get(variable) {
                None => Box::new(CelNull),
                Some(datum) if !datum.elsewhere().is_empty() => {
                    return Err(format!("a part of {name} stands elsewhere and was not loaded"));
                }
                Some(datum) => {
                    bytes = bytes.saturating_add(datum.text().len());
                    if bytes > INPUT_BYTES_MAX {
                        return Err(format!("the values that it looks into take more than {INPUT_BYTES_MAX} bytes"));
                    }
                    super::convert::read(datum.text(), &meter).map_err(|error| match meter.refused() {
                        true => too_much(),
                        false => format!("{name} cannot be read: {error}"),
                    })?
                }
            };
            context.add_variable_as_val(name, value);
        }
        context.add_variable_as_val(METER, Box::new(meter.clone()));
        Ok(Self { context, meter })
    }

    /// Evaluates an expression, and hands its value over.
    pub(super) fn with<T>(
        &self,
        parsed: &Parsed,
        take: impl FnOnce(&dyn Val) -> Result<T, String>,
    ) -> Result<T, String> {
        // The crate is not ours: a mistake of its must not end a coordinator.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.value(parsed).and_then(|value| take(value.as_ref()))));
        outcome.unwrap_or_else(|_| Err("the evaluator failed".to_owned()))
    }

    fn value<'a>(&'a self, parsed: &'a Parsed) -> Result<CowVal<'a, 'static>, String> {
        let value = Value::resolve_val(&parsed.tree, &self.context);
        if self.meter.refused() {
            return Err(too_much());
        }
        value.map_err(|error| plain(&error))
    }
}

fn too_much() -> String {
    "it takes more work or memory than an expression may: what needs more is a task".to_owned()
}

pub(super) fn result_too_large() -> String {
    format!("the result takes more than {RESULT_BYTES_MAX} bytes")
}

/// `expression: message` in one line.
pub(super) fn quoted(source: &str, message: &str) -> String {
    if source.trim().is_empty() { cut(message) } else { format!("{}: {}", cut(source), cut(message)) }
}

/// A text in one line of bounded length.
fn cut(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut kept: String = text.chars().take(QUOTED_LEN_MAX).map(line).collect();
    if text.chars().nth(QUOTED_LEN_MAX).is_some() {
        kept.push_str("...");
    }
    kept.trim().to_owned()
}

/// What failed, in plain words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum of the crate grows, and some of its variants are deprecated"
)]
fn plain(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload(call) => {
            // The meter is ours: nobody wrote it.
            let types: Vec<&str> =
                call.argument_types().iter().map(|name| shown(name)).filter(|name| *name != METERED).collect();
            let types = types.join(", ");
            match sign(call.function()) {
                Some(sign) => format!("{sign} does not take ({types})"),
                None => format!("{} does not take ({types})", call.function().trim_start_matches('@')),
            }
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let sign = sign(operator).unwrap_or(operator);
            format!("{sign} does not take ({}, {})", kind(left), kind(right))
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            format!("{} does not compare with {}", kind(left), kind(right))
        }
        ExecutionError::UnexpectedType { got, want } => format!("it needs {want}, and this is {got}"),
        ExecutionError::UnsupportedKeyType(value) => format!("{} is no key of a map", kind(value)),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "division by zero".to_owned(),
        ExecutionError::Overflow(operator, ..) => {
            format!("the result of {} is out of range", sign(operator).unwrap_or(operator))
        }
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("index {index} is out of bounds"),
        ExecutionError::IndexOutOfBounds(_) => "the index is out of bounds".to_owned(),
        ExecutionError::DuplicateKey(_) => "a key stands twice in a map".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("unknown name {name}"),
        // What the crate says of it is for whoever reads its parser.
        ExecutionError::FunctionError { function, message }
            if function == "duration" && message.starts_with("Parsing Error") =>
        {
            "duration: it takes numbers with the units h, m, s, ms, us and ns, as in 1h30m".to_owned()
        }
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        other => other.to_string(),
    }
}

/// The sign of an operator, from either of the names that the crate has for it.
fn sign(name: &str) -> Option<&'static str> {
    Some(match name {
        "_+_" | "add" => "+",
        "_-_" | "sub" => "-",
        "_*_" | "mul" => "*",
        "_/_" | "div" => "/",
        "_%_" | "rem" => "%",
        "_==_" => "==",
        "_!=_" => "!=",
        "_<_" => "<",
        "_<=_" => "<=",
        "_>_" => ">",
        "_>=_" => ">=",
        "_&&_" => "&&",
        "_||_" => "||",
        "!_" => "!",
        "-_" | "minus" | "negate" => "-",
        "_?_:_" => "?:",
        "_[_]" => "[]",
        "_._" => ".",
        "@in" => "in",
        _ => return None,
    })
}

/// The name of a type as expressions have it.
fn shown(name: &str) -> &str {
    match name {
        "google.protobuf.Timestamp" => "timestamp",
        "google.protobuf.Duration" => "duration",
        name => name,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "list",
        Value::Map(_) => "map",
        Value::Int(_) => "int",
        Value::UInt(_) => "uint",
        Value::Float(_) => "double",
        Value::String(_) => "string",
        Value::Bytes(_) => "bytes",
        Value::Bool(_) => "bool",
        Value::Duration(_) => "duration",
        Value::Timestamp(_) => "timestamp",
        Value::Null => "null",
        Value::Function(..) | Value::Opaque(_) | Value::Struct(_) => "value",
    }
}

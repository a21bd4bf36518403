//! Expressions and templates: CEL within bounds, and JSON with CEL in its strings.
//!
//! | in scope | is |
//! |---|---|
//! | `prev`, `input`, `item`, `error` | values of JSON |
//! | `steps.name`, `steps["name"]` | the output of a named step; no other use of `steps` |
//! | `index` | an int |
//! | `run.id`, `run.started_at` | strings, the second in RFC 3339: `timestamp(run.started_at)` counts with it |
//!
//! A variable without a value is `null`. Functions and macros are those of standard CEL, without messages and optional values; nothing
//! reads a clock. `convert.rs` says what JSON becomes and what becomes JSON, `bounds.rs` what an evaluation may take.
//!
//! In a template `${prev.total + 1}` is a value, `total: ${prev.total}` a text, `$${` a literal `${`.
//!
//! **Invariant:** nothing here panics, recurses without bound or runs without bound, whatever the source and the values are.
//! **Invariant:** the same template and values give the same bytes: maps are gone over and written in the order of their keys.

mod bombs;
pub mod bounds;
mod convert;
mod evaluate;
mod functions;
mod meter;
mod parse;
mod scan;
mod tables;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use cel::common::types::CelBool;

use crate::model::{Datum, StepName};

/// A name that an expression may read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// What the node received.
    Prev,
    /// The run's input.
    Input,
    /// The output of a named step.
    Step(StepName),
    /// The item of the innermost map.
    Item,
    /// Its number, or that of the iteration.
    Index,
    /// The failure that a handler is told of.
    Error,
    /// `run.id`
    RunId,
    /// `run.started_at`
    RunStartedAt,
}

/// The values of variables. A variable without one was not received: it is `null`.
pub type Values = BTreeMap<Variable, Datum>;

/// Why an expression cannot be read or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The JSON pointer of the string inside the template; empty for its root and for an expression on its own.
    pub place: String,
    /// What is wrong, naming the expression, in one line.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(out, "{}: ", self.place)?;
        }
        out.write_str(&self.message)
    }
}

impl Error {
    const fn new(message: String) -> Self {
        Self { place: String::new(), message }
    }

    fn about(source: &str, message: &str) -> Self {
        Self::new(evaluate::quoted(source, message))
    }

    /// Whether nothing is wrong with it but the size of its result: a limit, and no bad expression.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        self.message.ends_with(&evaluate::result_too_large())
    }

    /// The same one level up.
    fn within(self, key: &str) -> Self {
        let key = key.replace('~', "~0").replace('/', "~1");
        Self { place: format!("/{key}{}", self.place), ..self }
    }
}

/// A CEL expression, parsed and checked. Cheap to clone; two are equal if their texts are.
#[derive(Clone)]
pub struct Expression(Arc<(String, parse::Parsed)>);

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is not CEL, is out of scope or beyond the bounds.
    pub fn parse(source: &str) -> Result<Self, Error> {
        let parsed = parse::parse(source).map_err(|message| Error::about(source, &message))?;
        Ok(Self(Arc::new((source.to_owned(), parsed))))
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.0
    }

    /// The variables that it reads. [`Expression::holds`] looks into all of them.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<Variable> {
        self.parsed().reads.clone()
    }

    /// Evaluates it to true or false.
    ///
    /// # Errors
    /// What fails at run time, and a value that is neither.
    pub fn holds(&self, values: &Values) -> Result<bool, Error> {
        let held = evaluate::Scope::new(&self.parsed().reads, values).and_then(|scope| {
            scope.with(self.parsed(), |value| {
                let boolean = value.downcast_ref::<CelBool>().map(|boolean| *boolean.inner());
                boolean.ok_or_else(|| format!("it must be true or false, and is {}", value.get_type().name()))
            })
        });
        held.map_err(|message| Error::about(self.source(), &message))
    }

    fn parsed(&self) -> &parse::Parsed {
        &self.0.1
    }

    /// The variable that it is, where it is nothing else.
    fn alone(&self) -> Option<&Variable> {
        self.parsed().alone.as_ref()
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Expression").field(&self.source()).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Expression {}

/// JSON with expressions in its strings, parsed and checked. Cheap to clone; two are equal if their JSON is.
#[derive(Clone)]
pub struct Template(Arc<Read>);

struct Read {
    json: serde_json::Value,
    root: template::Node,
    reads: BTreeSet<Variable>,
    looks_into: BTreeSet<Variable>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A `${` that is not closed, and expressions that [`Expression::parse`] refuses.
    pub fn parse(json: &serde_json::Value) -> Result<Self, Error> {
        let root = template::parse(json, 0)?;
        let (mut reads, mut looks_into) = (BTreeSet::new(), BTreeSet::new());
        root.expressions(&mut |expression, alone| {
            reads.extend(expression.reads());
            if !alone {
                looks_into.extend(expression.reads());
            }
        });
        Ok(Self(Arc::new(Read { json: json.clone(), root, reads, looks_into })))
    }

    /// The JSON that it was read from.
    #[must_use]
    pub fn json(&self) -> &serde_json::Value {
        &self.0.json
    }

    /// Whether it holds no expression.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.root.is_literal()
    }

    /// The variables that it reads.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<Variable> {
        self.0.reads.clone()
    }

    /// Those whose values it looks into: they must be whole. The others are only put where they belong.
    #[must_use]
    pub fn looks_into(&self) -> BTreeSet<Variable> {
        self.0.looks_into.clone()
    }

    /// The value.
    ///
    /// # Errors
    /// What fails at run time.
    pub fn evaluate(&self, values: &Values) -> Result<Datum, Error> {
        template::evaluate(&self.0.root, &self.0.looks_into, values)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Template").field(&self.0.json).finish()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.0.json == other.0.json
    }
}

impl Eq for Template {}

//! Expressions and templates.

use std::collections::{BTreeMap, BTreeSet};

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
#[error("{message}")]
pub struct Error {
    /// What is wrong, naming the expression.
    pub message: String,
}

/// A CEL expression.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is not CEL.
    pub fn parse(source: &str) -> Result<Self, Error> {
        Ok(Self { source: source.to_owned() })
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The variables that it reads.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<Variable> {
        BTreeSet::new()
    }

    /// Evaluates it to true or false.
    ///
    /// # Errors
    /// What fails at run time.
    pub fn holds(&self, _values: &Values) -> Result<bool, Error> {
        Err(Error { message: "expressions are not built yet".to_owned() })
    }
}

/// JSON with expressions in its strings.
#[derive(Clone, Debug)]
pub struct Template {
    json: serde_json::Value,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is not CEL.
    pub fn parse(json: &serde_json::Value) -> Result<Self, Error> {
        Ok(Self { json: json.clone() })
    }

    /// The JSON that it was read from.
    #[must_use]
    pub const fn json(&self) -> &serde_json::Value {
        &self.json
    }

    /// Whether it holds no expression.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        true
    }

    /// The variables that it reads.
    #[must_use]
    pub fn reads(&self) -> BTreeSet<Variable> {
        BTreeSet::new()
    }

    /// Those whose values it looks into: they must be whole. The others are only put where they belong.
    #[must_use]
    pub fn looks_into(&self) -> BTreeSet<Variable> {
        BTreeSet::new()
    }

    /// The value.
    ///
    /// # Errors
    /// What fails at run time.
    pub fn evaluate(&self, _values: &Values) -> Result<Datum, Error> {
        Ok(Datum::of_json(&self.json))
    }
}

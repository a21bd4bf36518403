//! Templates: JSON with expressions in its strings.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::bounds::{RESULT_BYTES_MAX, TEMPLATE_DEPTH_MAX};
use super::evaluate::{Scope, result_too_large};
use super::{Error, Expression, Values, Variable, convert, scan};
use crate::model::Datum;
use crate::model::datum::Composer;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    /// JSON text without expressions.
    Literal(Vec<u8>),
    /// A string that is one expression: its value, with its type.
    Value(Expression),
    /// A string with expressions in it.
    Text(Vec<Piece>),
    /// An array.
    Array(Vec<Self>),
    /// An object: its keys are literal.
    Object(Vec<(String, Self)>),
}

/// A part of a string.
#[derive(Debug)]
pub(super) enum Piece {
    Literal(String),
    Rendered(Expression),
}

/// Reads a template.
pub(super) fn parse(json: &Json, depth: usize) -> Result<Node, Error> {
    if depth > TEMPLATE_DEPTH_MAX {
        return Err(Error::new(format!("a template nests {TEMPLATE_DEPTH_MAX} deep at most")));
    }
    let node = match json {
        Json::String(text) => string(text)?,
        Json::Array(items) => {
            let item =
                |(at, item): (usize, &Json)| parse(item, depth + 1).map_err(|error| error.within(&at.to_string()));
            Node::Array(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Json::Object(fields) => {
            let field = |(key, value): (&String, &Json)| {
                let value = parse(value, depth + 1).map_err(|error| error.within(key))?;
                Ok((key.clone(), value))
            };
            Node::Object(fields.iter().map(field).collect::<Result<_, Error>>()?)
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Node::Literal(json.to_string().into_bytes()),
    };
    Ok(node.folded())
}

fn string(text: &str) -> Result<Node, Error> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(escaped) = after.strip_prefix("${") {
            literal.push_str("${");
            rest = escaped;
        } else if let Some(expression) = after.strip_prefix('{') {
            let end = scan::end_in(expression).map_err(|message| Error::about(after, &message))?;
            let (source, behind) = expression.split_at_checked(end).unwrap_or((expression, ""));
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Rendered(Expression::parse(source.trim())?));
            rest = behind.strip_prefix('}').unwrap_or(behind);
        } else {
            literal.push('$');
            rest = after;
        }
    }
    literal.push_str(rest);
    if pieces.is_empty() {
        return Ok(Node::Literal(Json::from(literal).to_string().into_bytes()));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    if let [Piece::Rendered(expression)] = pieces.as_slice() {
        return Ok(Node::Value(expression.clone()));
    }
    Ok(Node::Text(pieces))
}

impl Node {
    /// Makes one literal of what holds only literals.
    fn folded(self) -> Self {
        let literal = match &self {
            Self::Array(items) => items.iter().all(Self::is_literal),
            Self::Object(fields) => fields.iter().all(|(_, value)| value.is_literal()),
            Self::Literal(_) | Self::Value(_) | Self::Text(_) => false,
        };
        if !literal {
            return self;
        }
        let mut text = Vec::new();
        self.write_literal(&mut text);
        Self::Literal(text)
    }

    pub(super) const fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn write_literal(&self, text: &mut Vec<u8>) {
        match self {
            Self::Literal(literal) => text.extend_from_slice(literal),
            Self::Array(items) => {
                text.push(b'[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        text.push(b',');
                    }
                    item.write_literal(text);
                }
                text.push(b']');
            }
            Self::Object(fields) => {
                text.push(b'{');
                for (position, (key, value)) in fields.iter().enumerate() {
                    text.extend_from_slice(&field(position, key));
                    value.write_literal(text);
                }
                text.push(b'}');
            }
            Self::Value(_) | Self::Text(_) => {}
        }
    }

    /// Each expression, and whether its value is only put where it belongs.
    pub(super) fn expressions(&self, each: &mut impl FnMut(&Expression, bool)) {
        match self {
            Self::Literal(_) => {}
            Self::Value(expression) => each(expression, expression.alone().is_some()),
            Self::Text(pieces) => {
                for piece in pieces {
                    if let Piece::Rendered(expression) = piece {
                        each(expression, false);
                    }
                }
            }
            Self::Array(items) => items.iter().for_each(|item| item.expressions(each)),
            Self::Object(fields) => fields.iter().for_each(|(_, value)| value.expressions(each)),
        }
    }
}

/// `"key":`, with the comma before it.
fn field(position: usize, key: &str) -> Vec<u8> {
    let comma = if position > 0 { "," } else { "" };
    format!("{comma}{}:", Json::from(key)).into_bytes()
}

/// Evaluates a template.
pub(super) fn evaluate(root: &Node, looks_into: &BTreeSet<Variable>, values: &Values) -> Result<Datum, Error> {
    // A value alone passes through as it is.
    if let Node::Value(expression) = root
        && let Some(variable) = expression.alone()
    {
        return Ok(values.get(variable).cloned().unwrap_or_else(Datum::null));
    }
    let scope = Scope::new(looks_into, values).map_err(Error::new)?;
    let mut writer = Writer { composer: Composer::default(), length: 0, values, scope };
    writer.node(root)?;
    Ok(writer.composer.finish())
}

struct Writer<'a> {
    composer: Composer,
    length: usize,
    values: &'a Values,
    scope: Scope,
}

impl Writer<'_> {
    fn push(&mut self, text: &[u8]) -> Result<(), Error> {
        self.grow(text.len())?;
        self.composer.push(text);
        Ok(())
    }

    fn grow(&mut self, by: usize) -> Result<(), Error> {
        self.length = self.length.saturating_add(by);
        if self.length > RESULT_BYTES_MAX { Err(Error::new(result_too_large())) } else { Ok(()) }
    }

    fn node(&mut self, node: &Node) -> Result<(), Error> {
        match node {
            Node::Literal(text) => self.push(text),
            Node::Value(expression) => self.value(expression),
            Node::Text(pieces) => self.text(pieces),
            Node::Array(items) => {
                self.push(b"[")?;
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        self.push(b",")?;
                    }
                    self.node(item).map_err(|error| error.within(&position.to_string()))?;
                }
                self.push(b"]")
            }
            Node::Object(fields) => {
                self.push(b"{")?;
                for (position, (key, value)) in fields.iter().enumerate() {
                    self.push(&field(position, key))?;
                    self.node(value).map_err(|error| error.within(key))?;
                }
                self.push(b"}")
            }
        }
    }

    fn value(&mut self, expression: &Expression) -> Result<(), Error> {
        if let Some(variable) = expression.alone() {
            let datum = self.values.get(variable).cloned().unwrap_or_else(Datum::null);
            self.grow(datum.text().len())?;
            self.composer.put(&datum);
            return Ok(());
        }
        let room = RESULT_BYTES_MAX.saturating_sub(self.length);
        let mut text = Vec::new();
        let written = self.scope.with(expression.parsed(), |value| convert::write(value, &mut text, room));
        written.map_err(|message| Error::about(expression.source(), &message))?;
        self.push(&text)
    }

    fn text(&mut self, pieces: &[Piece]) -> Result<(), Error> {
        let room = RESULT_BYTES_MAX.saturating_sub(self.length);
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Rendered(expression) => {
                    let written = self.scope.with(expression.parsed(), |value| convert::render(value, &mut text, room));
                    written.map_err(|message| Error::about(expression.source(), &message))?;
                }
            }
        }
        self.push(Json::from(text).to_string().as_bytes())
    }
}

//! Bounds of expressions: what evaluates on a tenant's behalf must end soon and stay small, whatever it is given.
//!
//! The `cel` crate has no budget of its own. So an expression is measured before it is compiled (its length, its nesting), and compiled
//! with a meter in it (`meter.rs`): each pass of a comprehension pays for the nodes of its body, and each value that an operator
//! or a function copies, compares or scans is paid for by its size before it is touched. What is not paid for is at most one evaluation
//! of each node of the source, which is short.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cel::common::types::{CelBytes, CelList, CelMap, CelMapKey, CelString, Type};
use cel::common::value::{StaticVal, Val};
use regex::Regex;

/// Bytes of an expression: a screenful. What is longer is a task.
pub const SOURCE_LEN_MAX: usize = 4096;

/// Tokens of an expression: the parser recurses on some of them and its tree is dropped recursively, within half a megabyte of stack.
pub const TOKENS_MAX: usize = 1536;

/// Brackets in brackets, and nodes in nodes: far more than people read, and within a quarter of a thread's stack.
pub const NESTING_MAX: usize = 32;

/// Comprehensions in comprehensions: a product of two lists is useful, a product of three is a task.
pub const COMPREHENSIONS_NESTED_MAX: usize = 2;

/// Bytes of JSON that one evaluation looks into.
pub const INPUT_BYTES_MAX: usize = 16 << 20;

/// Bytes of text that a template yields, without what stands elsewhere: as FLOWS says of values.
pub const RESULT_BYTES_MAX: usize = 16 << 20;

/// Nodes and values visited in one evaluation: a filter over a million items passes, and it takes about a second at most.
pub const WORK_MAX: u64 = 20_000_000;

/// Bytes of values read and made in one evaluation, as they are held in memory.
pub const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Bytes of a pattern of `matches`.
pub const PATTERN_LEN_MAX: usize = 256;

/// Bytes that a pattern may compile to: some Unicode classes with small repetitions.
pub const PATTERN_COMPILED_MAX: usize = 128 << 10;

/// Work of compiling a pattern: 10 to 500 microseconds.
pub const PATTERN_WORK: u64 = 5000;

/// Levels of arrays and objects in a template: as deep as JSON is read.
pub const TEMPLATE_DEPTH_MAX: usize = 128;

/// Bytes of an expression that an error quotes.
pub const QUOTED_LEN_MAX: usize = 200;

/// Bytes that a value takes in memory beside its text.
const VALUE_BYTES: u64 = 40;

/// Work of one allocation and its release.
const COPY_WORK: u64 = 2;

/// Bytes of text that are looked at in the time of one node.
const TEXT_PER_WORK: u64 = 16;

/// What one evaluation may still spend. It travels as a variable, so that the functions that charge it can see it.
#[derive(Clone, Debug)]
pub(super) struct Meter(Arc<Spent>);

#[derive(Debug, Default)]
struct Spent {
    work: AtomicU64,
    memory: AtomicU64,
    /// A boolean operator swallows the error of one operand, so the refusal is remembered.
    refused: AtomicBool,
    /// The last pattern: a comprehension asks for the same one again and again.
    pattern: Mutex<Option<(String, Regex)>>,
}

/// There is nothing left to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl Meter {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Whether anything was refused.
    pub(super) fn refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Pays for visits of nodes.
    pub(super) fn work(&self, amount: u64) -> Result<(), Refused> {
        self.spend(&self.0.work, amount, WORK_MAX)
    }

    /// Pays for a copy of a value with so much text: for its memory, and for the time to find that memory.
    fn copy(&self, text: u64) -> Result<(), Refused> {
        self.work(COPY_WORK)?;
        self.spend(&self.0.memory, VALUE_BYTES + text, MEMORY_BYTES_MAX)
    }

    fn spend(&self, spent: &AtomicU64, amount: u64, max: u64) -> Result<(), Refused> {
        let before = spent.fetch_add(amount.min(max), Ordering::Relaxed);
        if self.refused() || before.saturating_add(amount) > max {
            self.0.refused.store(true, Ordering::Relaxed);
            return Err(Refused);
        }
        Ok(())
    }

    /// Pays for looking at all of a value, and for a copy of it if it is kept.
    pub(super) fn value(&self, value: &dyn Val, kept: bool) -> Result<(), Refused> {
        self.node(text_len(value), kept)?;
        if let Some(list) = value.downcast_ref::<CelList>() {
            return list.inner().iter().try_for_each(|item| self.value(item.as_ref(), kept));
        }
        if let Some(map) = value.downcast_ref::<CelMap>() {
            return map.inner().values().try_for_each(|item| self.value(item.as_ref(), kept)).and_then(|()| {
                map.inner().keys().try_for_each(|key| match key {
                    CelMapKey::String(text) => self.node(text.inner().len(), kept),
                    CelMapKey::Bool(_) | CelMapKey::Int(_) | CelMapKey::UInt(_) => self.node(0, kept),
                })
            });
        }
        Ok(())
    }

    /// Pays for one value with so much text of its own.
    pub(super) fn node(&self, text: usize, kept: bool) -> Result<(), Refused> {
        let text = text as u64;
        self.work(1 + text / TEXT_PER_WORK)?;
        if kept { self.copy(text) } else { Ok(()) }
    }

    /// The compiled form of a pattern.
    pub(super) fn pattern(&self, pattern: &str) -> Result<Regex, String> {
        let mut last = self.0.pattern.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((text, regex)) = &*last
            && text == pattern
        {
            return Ok(regex.clone());
        }
        if pattern.len() > PATTERN_LEN_MAX {
            return Err(format!("a pattern takes {PATTERN_LEN_MAX} bytes at most"));
        }
        self.work(PATTERN_WORK).map_err(|Refused| String::new())?;
        let compiled = regex::RegexBuilder::new(pattern)
            .size_limit(PATTERN_COMPILED_MAX)
            .dfa_size_limit(PATTERN_COMPILED_MAX)
            .nest_limit(32)
            .build();
        let regex = compiled.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern compiles to too much".to_owned(),
            error @ (regex::Error::Syntax(_) | _) => error.to_string().lines().last().unwrap_or_default().to_owned(),
        })?;
        *last = Some((pattern.to_owned(), regex.clone()));
        Ok(regex)
    }
}

/// Bytes of text of a value itself.
pub(super) fn text_len(value: &dyn Val) -> usize {
    let text = value.downcast_ref::<CelString>().map(|text| text.inner().len());
    text.or_else(|| value.downcast_ref::<CelBytes>().map(|bytes| bytes.inner().len())).unwrap_or(0)
}

/// The name of the meter's type.
pub(super) const METERED: &str = "meter";

static METER_TYPE: Type = Type::new_unspecified_type(METERED);

impl Val for Meter {
    fn get_type(&self) -> &Type {
        &METER_TYPE
    }

    fn cel_type() -> &'static Type {
        &METER_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Meter {}

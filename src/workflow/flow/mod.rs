//! Flow documents: what a tenant writes, read and checked.
//!
//! A text becomes JSON (`json`, `yaml`), JSON becomes nodes (`parse`, by the table in `field`), and the names and references of the
//! nodes are checked (`scope`), and the labels that tasks inherit (`labels`). What came out can be written again in its normal form, drawn, and asked what it uses.
//!
//! **Invariant:** a document that was read needs no check again; what reads it is bounded by [`DOCUMENT_BYTES_MAX`],
//! [`LEVELS_MAX`], [`DEPTH_MAX`] and [`PROBLEMS_MAX`], and never panics.

pub mod build;
mod field;
pub mod graph;
#[cfg(feature = "full")]
mod input;
mod json;
mod labels;
mod node;
mod parse;
mod problem;
mod read;
mod schema;
mod scope;
mod walk;
mod write;
mod yaml;

pub use field::CONCURRENCY_MAX;
#[cfg(feature = "full")]
pub use input::{INPUT_CHECKED_BYTES_MAX, fits, schema_problems};
pub use json::LEVELS_MAX;
pub use node::{Branch, Document, Kind, Node, OnError, SleepFor, TaskCall, TaskOptions};
pub use problem::{PROBLEMS_MAX, Problem, located};
pub use schema::schema;
pub use walk::{Called, Role, Use, count, flows, signals, tasks, uses};

/// The largest document: a hundred thousand nodes, which nobody writes by hand, and a run's start record stays small.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// The most nodes around a node, itself included: deeper flows call stored ones.
pub const DEPTH_MAX: usize = 64;

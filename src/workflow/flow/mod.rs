//! Flow documents: what a tenant writes, read and checked.

mod node;

pub use node::{Branch, Document, Kind, Node, OnError, SleepFor, TaskCall, TaskOptions};

//! Workflows without IO: flow documents, their plan, the journal of a run, and what follows from each of its events.

pub mod expression;
pub mod flow;

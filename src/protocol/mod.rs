//! What goes over the wire: subjects, streams, headers and the forms of messages, apart from the types that code works with.
//!
//! **Invariant:** no IO. **Invariant:** whatever is read here may come from anyone: every reader returns a typed rejection.

pub mod batch;
pub mod dead;
pub mod debounce;
pub mod flow;
pub mod headers;
pub mod host;
pub mod kv;
pub mod limit;
pub mod micro;
pub mod module;
pub mod note;
pub mod once;
pub mod queue;
pub mod record;
pub mod schedule;
pub mod secret;
pub mod serving;
pub mod singleton;
pub mod step;
pub mod stream;
pub mod subject;
pub mod task;
pub mod usage;
pub(crate) mod versioned;
pub mod webhook;

pub use headers::Headers;
pub use stream::Stream;

/// A message that does not follow the protocol: what is wrong, where, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Rejection {
    /// The header, field or part that is wrong.
    pub place: String,
    /// What is wrong with it, and what it takes.
    pub problem: String,
}

impl Rejection {
    /// A rejection of `place`; both texts are cut to 400 characters, since they may echo what a stranger sent.
    pub fn new(place: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let cut = |text: String| text.chars().take(400).collect();
        Self { place: cut(place.into()), problem: cut(problem.to_string()) }
    }
}

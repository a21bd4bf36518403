//! What goes over the wire: subjects, streams, headers and the forms of messages, apart from the types that code works with.
//!
//! **Invariant:** no IO. **Invariant:** whatever is read here may come from anyone: every reader returns a typed rejection.

pub mod headers;
pub mod stream;
pub mod subject;

pub use headers::Headers;
pub use stream::Stream;

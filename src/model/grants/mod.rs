//! What a module may use beyond its input.

pub mod http;

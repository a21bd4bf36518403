//! Advances runs.

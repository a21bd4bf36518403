//! The documentation that does not belong to one module.

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("languages.md")]
pub mod languages {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("from-celery.md")]
pub mod from_celery {}

//! What several tests need.

pub(crate) mod guests;
pub(crate) mod nats;
pub(crate) mod platform;
pub(crate) mod process;

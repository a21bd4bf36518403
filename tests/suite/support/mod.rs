//! What several tests need.

pub(crate) mod eventually;
pub(crate) mod guests;
pub(crate) mod nats;
pub(crate) mod seed;

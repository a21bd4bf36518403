//! What several tests need.

pub mod eventually;
pub mod guests;
pub mod nats;

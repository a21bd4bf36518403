//! What several tests need.

pub(crate) mod eventually;
pub(crate) mod gate;
pub(crate) mod guests;
pub(crate) mod modules;
pub(crate) mod nats;
pub(crate) mod platform;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod seed;
pub(crate) mod terminal;

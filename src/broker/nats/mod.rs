//! The broker on NATS.

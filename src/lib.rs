//! Lovage: upload a Wasm module, call it like a function from anywhere, compose calls into workflows that survive crashes.
//!
//! | part | modules | may touch |
//! |---|---|---|
//! | pure | [`model`], [`protocol`], [`workflow`] | nothing: no IO, no clock, no randomness |
//! | ports | `broker` | the traits, their twin in memory, and NATS |
//! | drivers | `sandbox`, `store`, `host`, `coordinator`, `schedule`, `client`, `local`, `exec`, `testing`, `webhook`, `telemetry`, `cli` | what their names say |
//!
//! [`docs`] holds what belongs to no single module: architecture, protocol, failures, security, operations, performance.
//!
//! **Invariant:** `model <- protocol <- broker <- host, client` and `model <- sandbox <- host`; a test reads the `use` lines.
//! **Invariant:** the pure part builds alone, with `--no-default-features`.

pub mod docs;
pub mod model;
pub mod protocol;
pub mod workflow;

#[cfg(feature = "full")]
pub mod broker;
#[cfg(feature = "full")]
pub mod cli;
#[cfg(feature = "full")]
pub mod client;
#[cfg(feature = "full")]
pub mod coordinator;
#[cfg(feature = "full")]
pub mod exec;
#[cfg(feature = "full")]
pub mod host;
#[cfg(feature = "full")]
pub mod local;
#[cfg(feature = "full")]
pub mod sandbox;
#[cfg(feature = "full")]
pub mod schedule;
#[cfg(feature = "full")]
pub mod store;
#[cfg(feature = "full")]
pub mod telemetry;
#[cfg(feature = "full")]
pub mod testing;
#[cfg(feature = "full")]
pub mod webhook;

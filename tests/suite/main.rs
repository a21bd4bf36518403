//! One test binary for all that runs with IO: linking wasmtime once is enough.
#![cfg(test)]

mod cli;
mod client;
mod conformance;
mod coordinator;
mod delivery;
mod differential;
mod e2e;
mod fuzz;
mod hostile;
mod sandbox;
mod schedules;
mod support;

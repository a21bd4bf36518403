//! One test binary for all that runs with IO: linking wasmtime once is enough.
#![cfg(test)]

mod conformance;
mod delivery;
mod differential;
mod sandbox;
mod support;

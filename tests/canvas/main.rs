//! The pinned cases of flows, each with every way to run a flow.
//!
//! | file | what it holds |
//! |---|---|
//! | `case` | what a case is, and what is checked of it |
//! | `cases` | the table |
//! | `kit` | the driver of `lovage::testing`: closures, nothing else |
//! | `exec` | the driver of `lovage exec`: the guest `canvas` in the sandbox, in this process |
//! | `nats` | the driver of the platform: a real broker, a coordinator and hosts with the same guest |
//! | `testing` | what else `lovage::testing` promises |
#![cfg(test)]

mod case;
mod cases;
mod exec;
mod kit;
mod nats;
mod testing;

#[path = "../suite/support/nats.rs"]
mod server;

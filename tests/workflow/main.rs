//! The core of workflows in a world of its own: tasks are closures, the broker is a list, time is a number.
#![cfg(test)]
#![expect(clippy::needless_pass_by_value, reason = "tables read better with values than with references")]

mod cases;
mod control;
mod handlers;
mod kinds;
mod random;
mod tasks;
mod transcripts;
mod world;

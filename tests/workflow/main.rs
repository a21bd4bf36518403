//! The core of workflows in a world of its own: tasks are closures, the broker is a list, time is a number.
#![cfg(test)]

mod cases;
mod tasks;
mod world;

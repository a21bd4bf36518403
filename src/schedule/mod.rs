//! What happens at a time: delayed and retried tasks that are due, and schedules that start something again and again.
//!
//! | file | what it does |
//! |---|---|
//! | `mover` | takes delayed and retried tasks that are due to their queues |
//! | `driver` | looks after the schedules of this process's partitions |
//! | `advance` | takes one schedule as far as it goes now |
//! | `agenda` | which schedule is looked at when |
//!
//! For single tasks the broker keeps the time: a stored message that the server publishes to a `fire` subject when it is due. A
//! schedule has too many rules for that, so that the coordinators' clocks say when its slots are due.

mod advance;
mod agenda;
pub mod driver;
pub mod mover;

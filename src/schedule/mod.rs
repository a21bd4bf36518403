//! What happens at a time: delayed and retried tasks that are due. (Recurring schedules come here too.)
//!
//! The broker keeps the time: a schedule is a stored message that the server publishes to a `fire` subject when it is due.

pub mod mover;

//! The twin of the broker in memory.

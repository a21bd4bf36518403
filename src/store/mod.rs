//! What tasks and runs leave in the broker, shared by those who write it and those who read it.

pub mod blobs;
pub mod catalogue;
pub mod dead;
pub mod debounce;
pub mod hand_backs;
pub mod journal;
pub mod kept;
pub mod kv;
pub mod limits;
pub mod marks;
pub mod queues;
pub mod records;
pub mod run_values;
pub mod secrets;
pub mod values;

//! What tasks leave in the broker, shared by those who write it (hosts) and those who read it (clients).

pub mod hand_backs;
pub mod records;
pub mod values;

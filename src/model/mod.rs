//! The words of the platform as types: names, ids, outcomes, retry policies, limits, time, schedules and the life of a task.
//!
//! **Invariant:** nothing here reads a clock, draws a random number, waits or names a broker, a sandbox or a runtime.
//! **Invariant:** every type that a message can fill is checked when it is made; later code does not check again.

pub mod call_key;
pub mod datum;
pub mod debounce;
pub mod digest;
pub mod grants;
pub mod key;
pub mod level;
pub mod lifecycle;
pub mod limit;
pub mod limits;
pub mod metering;
pub mod module;
pub mod name;
pub mod once;
pub mod outcome;
pub mod requirement;
pub mod retry;
pub mod scaling;
pub mod schedule;
pub mod signature;
pub mod singleton;
pub mod step;
pub mod step_life;
pub mod time;
pub mod turns;
pub mod webhook;

pub use datum::Datum;
pub use digest::Digest;
pub use grants::{Granted, Grants};
pub use key::{StepAttempt, TaskKey};
pub use level::Level;
pub use limits::Limits;
pub use metering::{EngineClass, Metering};
pub use module::{Contract, ModuleRecord, TaskDescription};
pub use name::{
    BucketName, ConfigKey, CoordinatorId, FlowName, HostId, ModuleName, Queue, RunId, ScheduleName, SecretName,
    SignalId, SignalName, StepName, TaskId, TaskName, TaskRef, Tenant, Version, WebhookName, Word,
};
pub use outcome::{Failure, Kind, Outcome, Value};
pub use requirement::{Labels, Mark};
pub use retry::Policy;
pub use signature::Signature;
pub use step::StepId;
pub use time::Timestamp;

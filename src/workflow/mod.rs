//! Workflows without IO: flow documents, their plan, the journal of a run, and what follows from each of its events.

pub mod effect;
pub mod expression;
pub mod flow;
pub mod journal;
pub mod limited;
pub mod plan;
mod state;
pub mod timer;
pub mod wire;

pub mod run;

pub use effect::Effect;
pub use journal::{Event, Record};
pub use plan::Plan;
pub use run::Run;
pub use state::{RunState, UnknownState};

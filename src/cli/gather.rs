//! Options of calls that share a task: singletons and debounces.

use std::time::Duration;

use clap::Args;

use super::Fault;
use crate::model::call_key;
use crate::model::debounce::{Debounce, Timing};
use crate::model::singleton::{Mode, Singleton};
use crate::model::time::parse_duration;

/// The options of a singleton.
#[derive(Args)]
pub(super) struct SingletonArgs {
    /// At most one call of the task with this key is under way: while one is, this yields it, or see --singleton-mode. In place of
    /// the key that the task may declare.
    #[arg(long, value_name = "KEY")]
    singleton: Option<String>,

    /// While another call is under way: skip this one and yield the other (which is so where this is not given), or cancel the
    /// other and take its place.
    #[arg(long, value_name = "skip|cancel", requires = "singleton")]
    singleton_mode: Option<Mode>,
}

impl SingletonArgs {
    /// The singleton that is asked for, if one is.
    pub(super) fn singleton(&self) -> Result<Option<Singleton>, Fault> {
        checked("--singleton", self.singleton.as_deref())?;
        let mode = self.singleton_mode.unwrap_or_default();
        Ok(self.singleton.clone().map(|key| Singleton { key, mode }))
    }
}

/// The options of a debounce.
#[derive(Args)]
pub(super) struct DebounceArgs {
    /// Calls that follow each other within this time become one task with the last input, which comes so long after the last call.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["delay", "at"])]
    debounce: Option<Duration>,

    /// Only calls with the same key are gathered; all calls of the task where neither this nor its module says which.
    #[arg(long, value_name = "KEY", requires = "debounce")]
    debounce_key: Option<String>,

    /// The task comes so long after the first call at the latest.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "debounce")]
    debounce_timeout: Option<Duration>,
}

impl DebounceArgs {
    /// The debounce that is asked for, if one is.
    pub(super) fn debounce(&self) -> Result<Option<Debounce>, Fault> {
        let Some(period) = self.debounce else { return Ok(None) };
        checked("--debounce-key", self.debounce_key.as_deref())?;
        let timing = Timing { period, timeout: self.debounce_timeout }.checked();
        let timing = timing.map_err(|unfit| Fault::usage(unfit.to_string()))?;
        Ok(Some(Debounce { key: self.debounce_key.clone(), timing }))
    }
}

fn checked(option: &str, key: Option<&str>) -> Result<(), Fault> {
    call_key::name("", key).map(drop).map_err(|invalid| Fault::usage(format!("{option}: {invalid}")))
}

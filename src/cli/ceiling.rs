//! What no task may exceed on a host, whatever it asks for: its operator's word.

use std::time::Duration;

use clap::Args;

use crate::host::ceiling_default;
use crate::model::Limits;
use crate::model::time::{parse_duration, parse_span};

/// The least memory that a bound may leave: two pages of Wasm.
const MEMORY_BYTES_MIN: u64 = 128 << 10;

/// The bounds of all tasks of a host.
#[derive(Args, Clone)]
pub(super) struct Ceiling {
    /// The most fuel that a task may have here; unless it is given, tasks may also have none counted (`--fuel off`).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    fuel_max: Option<u64>,

    /// The most bytes of memory that a task may have here; a gigabyte where it is not given, and at most.
    #[arg(long, value_name = "BYTES", value_parser = memory)]
    memory_max: Option<u64>,

    /// The longest that an attempt may take here; an hour where it is not given.
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    attempt_timeout_max: Option<Duration>,

    /// The most time that a guest which asks whether it is cancelled may take to end tidily.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    cancel_grace: Duration,
}

impl Ceiling {
    /// As limits.
    pub(super) fn limits(&self) -> Limits {
        let default = ceiling_default();
        Limits {
            fuel: self.fuel_max.or(default.fuel),
            memory_bytes: self.memory_max.unwrap_or(default.memory_bytes),
            attempt_timeout: self.attempt_timeout_max.unwrap_or(default.attempt_timeout),
            cancel_grace: self.cancel_grace,
            ..default
        }
    }
}

fn memory(text: &str) -> Result<u64, String> {
    let max = ceiling_default().memory_bytes;
    let bytes = text.parse().ok().filter(|bytes| (MEMORY_BYTES_MIN..=max).contains(bytes));
    bytes.ok_or_else(|| format!("it takes a number of bytes from {MEMORY_BYTES_MIN} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        ceiling: Ceiling,
    }

    fn limits(args: &str) -> Result<Limits, String> {
        let args = std::iter::once("host").chain(args.split_whitespace());
        Only::try_parse_from(args).map(|only| only.ceiling.limits()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_operator_bounds_what_tasks_ask_for() {
        assert_eq!(limits(""), Ok(ceiling_default()));
        let bounded = limits("--fuel-max 7 --memory-max 1048576 --attempt-timeout-max 3s --cancel-grace 0s").unwrap();
        assert_eq!((bounded.fuel, bounded.memory_bytes), (Some(7), 1 << 20));
        assert_eq!((bounded.attempt_timeout, bounded.cancel_grace), (Duration::from_secs(3), Duration::ZERO));
    }

    #[test]
    fn a_bound_that_lets_nothing_run_is_refused() {
        for (args, remedy) in [
            ("--fuel-max 0", "1.."),
            ("--fuel-max off", "--fuel-max"),
            ("--memory-max 1", "from 131072 to 1073741824"),
            ("--memory-max 1073741825", "from 131072 to 1073741824"),
            ("--memory-max 1GB", "a number of bytes"),
            ("--attempt-timeout-max 0s", "more than no time"),
        ] {
            let told = limits(args).unwrap_err();
            assert!(told.contains(remedy), "{args}: {told}");
        }
    }
}

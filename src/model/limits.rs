//! What one invocation may take. Every limit is on by default and really traps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::written;

/// About four seconds of a tight loop on a machine of 2026: more than a task that answers a person should take.
pub const FUEL_DEFAULT: u64 = 50_000_000_000;

/// Fits every interpreter among the measured toolchains (Ruby peaks at 71 MiB), and eight run in a gigabyte.
pub const MEMORY_BYTES_DEFAULT: u64 = 128 << 20;

/// The wall-clock bound of one attempt; people notice a stuck task within a minute.
pub const ATTEMPT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// Outputs above this are for the object store by the guest's own doing.
pub const OUTPUT_BYTES_DEFAULT: u64 = 64 << 20;

/// Logs of one attempt; what exceeds it is cut with a note.
pub const LOG_BYTES_DEFAULT: u64 = 1 << 20;

/// Enough to close what is open; a person who cancels waits no longer.
pub const CANCEL_GRACE_DEFAULT: Duration = Duration::from_secs(5);

/// Elements of all tables together: the largest measured guest (Ruby) needs 8,776.
pub const TABLE_ELEMENTS_DEFAULT: u64 = 30_000;

/// Limits of one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Units of fuel (about one a Wasm instruction); `None` leaves only the deadline.
    pub fuel: Option<u64>,
    /// Bytes of all linear memories together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Wall-clock time of one attempt, from the call into the guest to its return.
    #[serde(with = "written")]
    pub attempt_timeout: Duration,
    /// Bytes of output.
    pub output_bytes: u64,
    /// Bytes of log text, all lines together.
    pub log_bytes: u64,
    /// How long a guest that asks whether it is cancelled may go on after that; others are stopped at once.
    #[serde(with = "written", default = "cancel_grace_default")]
    pub cancel_grace: Duration,
}

const fn cancel_grace_default() -> Duration {
    CANCEL_GRACE_DEFAULT
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: Some(FUEL_DEFAULT),
            memory_bytes: MEMORY_BYTES_DEFAULT,
            table_elements: TABLE_ELEMENTS_DEFAULT,
            attempt_timeout: ATTEMPT_TIMEOUT_DEFAULT,
            output_bytes: OUTPUT_BYTES_DEFAULT,
            log_bytes: LOG_BYTES_DEFAULT,
            cancel_grace: CANCEL_GRACE_DEFAULT,
        }
    }
}

/// What a caller or a manifest asks for; what it leaves out is as before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wish {
    /// Units of fuel; [`FuelWish::Off`] leaves only the deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<FuelWish>,
    /// Bytes of linear memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Wall-clock time of one attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout_ms: Option<u64>,
    /// Bytes of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Time to end tidily after a cancel, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel_grace_ms: Option<u64>,
}

/// How much fuel is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FuelWish {
    /// So many units.
    Units(u64),
    /// No budget of instructions: the deadline alone ends the task.
    Off(Off),
}

/// The word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Off {
    /// The only value.
    Off,
}

impl Limits {
    /// These limits with what `wish` asks for in their place.
    #[must_use]
    pub fn with(mut self, wish: &Wish) -> Self {
        match wish.fuel {
            Some(FuelWish::Units(units)) => self.fuel = Some(units),
            Some(FuelWish::Off(Off::Off)) => self.fuel = None,
            None => {}
        }
        self.memory_bytes = wish.memory_bytes.unwrap_or(self.memory_bytes);
        self.output_bytes = wish.output_bytes.unwrap_or(self.output_bytes);
        self.attempt_timeout = wish.attempt_timeout_ms.map_or(self.attempt_timeout, Duration::from_millis);
        self.cancel_grace = wish.cancel_grace_ms.map_or(self.cancel_grace, Duration::from_millis);
        self
    }

    /// These limits, none of them above `ceiling`'s. A host's ceiling is what its operator allows.
    #[must_use]
    pub fn within(mut self, ceiling: &Self) -> Self {
        self.fuel = match (self.fuel, ceiling.fuel) {
            (Some(fuel), Some(most)) => Some(fuel.min(most)),
            (fuel, most) => fuel.or(most),
        };
        self.memory_bytes = self.memory_bytes.min(ceiling.memory_bytes);
        self.table_elements = self.table_elements.min(ceiling.table_elements);
        self.attempt_timeout = self.attempt_timeout.min(ceiling.attempt_timeout);
        self.output_bytes = self.output_bytes.min(ceiling.output_bytes);
        self.log_bytes = self.log_bytes.min(ceiling.log_bytes);
        self.cancel_grace = self.cancel_grace.min(ceiling.cancel_grace);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_bounded_by_the_ceiling() {
        let ceiling = Limits { fuel: Some(10), memory_bytes: 100, ..Limits::default() };
        let (fuel, grace) = (Some(FuelWish::Units(20)), Some(60_000));
        let wish = Wish { fuel, memory_bytes: Some(50), cancel_grace_ms: grace, ..Wish::default() };
        let limits = Limits::default().with(&wish).within(&ceiling);
        assert_eq!((limits.fuel, limits.memory_bytes), (Some(10), 50));
        assert_eq!(limits.cancel_grace, CANCEL_GRACE_DEFAULT);
    }

    #[test]
    fn fuel_is_off_only_where_the_ceiling_allows_it() {
        let off = Limits::default().with(&Wish { fuel: Some(FuelWish::Off(Off::Off)), ..Wish::default() });
        assert_eq!(off.within(&Limits { fuel: None, ..Limits::default() }).fuel, None);
        assert_eq!(off.within(&Limits { fuel: Some(7), ..Limits::default() }).fuel, Some(7));
    }

    #[test]
    fn fuel_is_written_as_a_number_or_off() {
        let read = |text: &str| serde_json::from_str::<FuelWish>(text);
        assert_eq!(read("5").unwrap(), FuelWish::Units(5));
        assert_eq!(read("\"off\"").unwrap(), FuelWish::Off(Off::Off));
        assert!(read("\"on\"").is_err());
        assert!(read("-1").is_err());
    }
}

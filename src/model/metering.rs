//! What a guest is measured by while it computes: fuel that is counted, or its deadline alone.

use serde::{Deserialize, Serialize};

/// How a module is metered: its tenant chooses, in its manifest, within what the operator of a host allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metering {
    /// Its instructions are counted: the same input takes the same fuel, which bounds it and is reported. A tight loop takes a third
    /// longer for it.
    #[default]
    Fuel,
    /// Nothing is counted: only its deadline or a cancel ends it, the time that it took is what it is billed by, and it reports no fuel.
    Deadline,
}

impl Metering {
    /// Its word in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Deadline => "deadline",
        }
    }

    /// Whether it is what a manifest that says nothing means.
    #[must_use]
    pub const fn is_fuel(&self) -> bool {
        matches!(self, Self::Fuel)
    }
}

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

/// Which engine runs a module: what its code counts, and whether it may use what most modules do without. Each class has an engine,
/// artifacts and a pool of its own, so that what is on in one is not even there in another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EngineClass {
    /// What its guests are measured by.
    pub metering: Metering,
    /// Whether exceptions of Wasm are on.
    pub exceptions: bool,
}

impl EngineClass {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self { metering: Metering::Fuel, exceptions: false },
        Self { metering: Metering::Deadline, exceptions: false },
        Self { metering: Metering::Fuel, exceptions: true },
        Self { metering: Metering::Deadline, exceptions: true },
    ];

    /// Its word in names of files and in arguments.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.metering, self.exceptions) {
            (Metering::Fuel, false) => "fuel",
            (Metering::Deadline, false) => "deadline",
            (Metering::Fuel, true) => "fuel-exceptions",
            (Metering::Deadline, true) => "deadline-exceptions",
        }
    }

    /// The class of that word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

impl From<Metering> for EngineClass {
    fn from(metering: Metering) -> Self {
        Self { metering, exceptions: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_word_of_its_own() {
        for class in EngineClass::ALL {
            assert_eq!(EngineClass::named(class.as_str()), Some(class));
        }
        assert_eq!(EngineClass::default(), Metering::Fuel.into());
        assert_eq!(EngineClass::named("fuel,deadline"), None);
    }
}

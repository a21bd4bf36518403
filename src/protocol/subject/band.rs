//! The bands of a queue: its tasks by priority, and by what they require of a host. Each has a consumer of its own.

use std::cmp::Reverse;

use crate::model::Mark;

/// The priority of tasks that name none: the middle of 0 to 9.
pub const PRIORITY_DEFAULT: Priority = Priority(5);

/// 0 to 9, 9 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// A priority from 0 to 9.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number <= 9).then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All priorities, first ones first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=9).rev().map(Self)
    }
}

impl std::str::FromStr for Priority {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or("it takes a number from 0 to 9, 9 first")
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Tasks of a queue with one priority and one requirement, `<prio>` or `<prio>~<mark>` in subjects. Those that come first are
/// less: higher priorities, and of one priority those that not every host may take.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Band {
    /// The priority.
    pub priority: Priority,
    /// What is required of hosts, if anything.
    pub mark: Option<Mark>,
}

impl Band {
    /// The band of tasks that ask for nothing, which hosts take from in a way that is made for one band alone.
    pub const PLAIN: Self = Self { priority: PRIORITY_DEFAULT, mark: None };

    /// Reads the token of a subject.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (priority, mark) = text.split_once('~').map_or((text, None), |(priority, mark)| (priority, Some(mark)));
        Some(Self {
            // One digit: `05` would be a second subject of the same place.
            priority: Priority::new(priority.parse().ok().filter(|_| priority.len() == 1)?)?,
            mark: mark.map(str::parse).transpose().ok()?,
        })
    }

    fn order(&self) -> (Reverse<Priority>, bool, &Option<Mark>) {
        (Reverse(self.priority), self.mark.is_none(), &self.mark)
    }
}

impl Ord for Band {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Band {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Band {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.mark {
            None => write!(f, "{}", self.priority),
            Some(mark) => write!(f, "{}~{mark}", self.priority),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_read_back_and_stand_in_their_order() {
        let mut bands = ["5", "0", "5~0123456789ab", "9", "0~0123456789ab"].map(|text| Band::read(text).unwrap());
        assert_eq!(bands[0], Band::PLAIN);
        bands.sort();
        let shown = bands.map(|band| band.to_string());
        assert_eq!(shown, ["9", "5~0123456789ab", "5", "0~0123456789ab", "0"]);
        for bad in ["", "10", "05", "+5", "~", "5~", "5~x", "~0123456789ab"] {
            assert_eq!(Band::read(bad), None, "{bad}");
        }
        assert_eq!(Priority::all().map(Priority::number).collect::<Vec<_>>(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}

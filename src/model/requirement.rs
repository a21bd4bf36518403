//! What a queue or a task may require of a host: labels that it must have.

use std::collections::BTreeMap;

use super::Digest;

/// Labels, by their keys.
pub type Labels = BTreeMap<String, String>;

/// Letters of a mark: 48 bits, of which a tenant has a few dozen.
const MARK_LEN: usize = 12;

/// Whether a host with these labels has all that is required.
#[must_use]
pub fn is_met(labels: &Labels, required: &Labels) -> bool {
    required.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Labels as people write them: `gpu=yes,region=eu`.
#[must_use]
pub fn text(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// The name of what a task requires, short enough for its subject: hosts that meet it take what is marked so, and no others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(String);

impl Mark {
    /// The mark of a requirement; `None` where nothing is required.
    #[must_use]
    pub fn of(required: &Labels) -> Option<Self> {
        if required.is_empty() {
            return None;
        }
        let digest = Digest::of(text(required).as_bytes()).to_string();
        let hex = digest.rsplit(':').next().unwrap_or_default();
        Some(Self(hex.chars().take(MARK_LEN).collect()))
    }
}

impl std::str::FromStr for Mark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == MARK_LEN && text.bytes().all(hex) { Ok(Self(text.to_owned())) } else { Err(InvalidMark) }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mark is twelve of 0-9 and a-f")]
pub struct InvalidMark;

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_host_meets_what_it_has_all_labels_of() {
        let host = labels(&[("gpu", "yes"), ("region", "eu")]);
        for (required, met) in [
            (&[][..], true),
            (&[("gpu", "yes")], true),
            (&[("gpu", "yes"), ("region", "eu")], true),
            (&[("gpu", "no")], false),
            (&[("gpu", "yes"), ("disk", "fast")], false),
        ] {
            assert_eq!(is_met(&host, &labels(required)), met, "{required:?}");
        }
    }

    #[test]
    fn a_mark_is_the_same_for_the_same_labels_and_reads_back() {
        let mark = Mark::of(&labels(&[("region", "eu"), ("gpu", "yes")])).unwrap();
        assert_eq!(mark.to_string(), "066d4bbc585b");
        assert_eq!(mark.to_string().parse(), Ok(mark.clone()));
        assert_eq!(Mark::of(&labels(&[("gpu", "yes"), ("region", "eu")])), Some(mark.clone()));
        assert_ne!(Mark::of(&labels(&[("gpu", "yes")])), Some(mark));
        assert_eq!(Mark::of(&Labels::new()), None);
        for bad in ["", "066d4bbc585", "066D4BBC585B", "066d4bbc585g", "066d4bbc585b0"] {
            assert!(bad.parse::<Mark>().is_err(), "{bad}");
        }
    }
}

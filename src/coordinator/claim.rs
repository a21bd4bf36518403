//! The records that coordinators share: who holds a partition and how far it is, and who lives.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::CoordinatorId;
use crate::model::name::PARTITIONS;
use crate::protocol::Rejection;

/// The version of these forms.
const VERSION: u32 = 1;

/// All records of partitions.
pub(super) const PARTITION_RECORDS: &str = "lvg.ctl.partition.*";

/// The record of a partition: replaced by compare-and-set alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    v: u32,
    /// Who advances the runs of the partition; `None` after one gave it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) holder: Option<CoordinatorId>,
    /// All records up to this sequence of the journal were folded, and what follows from them was published.
    pub(super) checkpoint: u64,
}

/// A heartbeat: a number that changes as long as its coordinator lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beat {
    v: u32,
    /// Counts from 1.
    pub(super) number: u64,
    /// It is about to end, and takes no partitions any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaves: bool,
}

impl Claim {
    pub(super) const fn new(holder: Option<CoordinatorId>, checkpoint: u64) -> Self {
        Self { v: VERSION, holder, checkpoint }
    }

    /// `lvg.ctl.partition.<p>`
    pub(super) fn subject(partition: char) -> String {
        format!("lvg.ctl.partition.{partition}")
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, Rejection> {
        let claim: Self = serde_json::from_slice(body).map_err(|error| Rejection::new("claim", error))?;
        known(claim.v, "claim").map(|()| claim)
    }
}

impl Beat {
    pub(super) const fn new(number: u64, leaves: bool) -> Self {
        Self { v: VERSION, number, leaves }
    }

    /// `lvg.ctl.coordinator.<id>`
    pub(super) fn subject(id: &CoordinatorId) -> String {
        format!("lvg.ctl.coordinator.{id}")
    }

    pub(super) fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, Rejection> {
        let beat: Self = serde_json::from_slice(body).map_err(|error| Rejection::new("heartbeat", error))?;
        known(beat.v, "heartbeat").map(|()| beat)
    }
}

fn known(version: u32, what: &str) -> Result<(), Rejection> {
    if version <= VERSION {
        return Ok(());
    }
    Err(Rejection::new(what, format!("{version} is not version {VERSION}, which this program reads: update it")))
}

/// The partition of a record's subject.
pub(super) fn partition_of(subject: &str) -> Option<char> {
    let mut name = subject.strip_prefix("lvg.ctl.partition.")?.chars();
    match (name.next(), name.next()) {
        (Some(partition), None) if PARTITIONS.contains(partition) => Some(partition),
        _ => None,
    }
}

/// The coordinator of a heartbeat's subject.
pub(super) fn coordinator_of(subject: &str) -> Option<CoordinatorId> {
    subject.strip_prefix("lvg.ctl.coordinator.")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_and_heartbeats_have_golden_forms() {
        let claim = Claim::new(Some("c1".parse().unwrap()), 7);
        for (claim, text) in
            [(claim, r#"{"v":1,"holder":"c1","checkpoint":7}"#), (Claim::new(None, 7), r#"{"v":1,"checkpoint":7}"#)]
        {
            assert_eq!(claim.encode(), text);
            assert_eq!(Claim::decode(&Bytes::from_static(text.as_bytes())), Ok(claim));
        }
        for (beat, text) in [
            (Beat::new(3, false), r#"{"v":1,"number":3}"#),
            (Beat::new(4, true), r#"{"v":1,"number":4,"leaves":true}"#),
        ] {
            assert_eq!(beat.encode(), text);
            assert_eq!(Beat::decode(&Bytes::from_static(text.as_bytes())), Ok(beat));
        }
    }

    #[test]
    fn newer_ones_are_refused_and_say_so() {
        let claim = Claim::decode(&Bytes::from_static(br#"{"v":2,"checkpoint":1}"#)).unwrap_err();
        let beat = Beat::decode(&Bytes::from_static(br#"{"v":2,"number":1}"#)).unwrap_err();
        assert!(claim.to_string().contains("update it") && beat.to_string().contains("update it"));
        assert!(Claim::decode(&Bytes::new()).is_err());
    }

    #[test]
    fn subjects_read_back() {
        let id: CoordinatorId = "c-1".parse().unwrap();
        assert_eq!(coordinator_of(&Beat::subject(&id)), Some(id));
        assert_eq!(partition_of(&Claim::subject('z')), Some('z'));
        for bad in ["lvg.ctl.partition.", "lvg.ctl.partition.zz", "lvg.ctl.partition.u", "lvg.ctl.coordinator.z"] {
            assert_eq!(partition_of(bad), None, "{bad}");
        }
    }
}

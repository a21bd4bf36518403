//! What lists show of a run: one small JSON record, rewritten whenever its state changes.
//!
//! **Invariant:** nothing is decided by it: the journal alone says what a run is.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{FlowName, Kind, RunId, StepId, Tenant, Timestamp, Version};
use crate::protocol::{Rejection, versioned};
use crate::workflow::journal::{End, Ending, Parent, Start};
use crate::workflow::state::RunState;

/// The version of this form.
const ENTRY_VERSION: u32 = 1;

/// The longest failure message of an entry, in characters: lists show one line.
const MESSAGE_CHARS_MAX: usize = 500;

/// What a run failed with, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind.
    pub kind: Kind,
    /// One line for people.
    pub message: String,
    /// The step that failed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
}

/// A run at a glance. Fields that a later version adds are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The version of this form.
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// The name of its flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowName>,
    /// The version of the stored flow, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_version: Option<Version>,
    /// Where it is.
    pub state: RunState,
    /// Why it is paused, where nobody asked for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For searches.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Fault>,
    /// The run and step that it is a child of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Its retries.
    #[serde(default)]
    pub generation: u32,
    /// The sequence of the record that this entry was made of: an older one never takes the place of a newer.
    #[serde(default)]
    pub sequence: u64,
}

impl Entry {
    /// A run that has just begun.
    #[must_use]
    pub fn begun(start: &Start, started: Timestamp, sequence: u64) -> Self {
        Self {
            v: ENTRY_VERSION,
            run: start.run.clone(),
            flow: start.flow.clone(),
            flow_version: start.pin.as_ref().map(|pin| pin.version.clone()),
            state: RunState::Running,
            reason: None,
            labels: start.labels.clone(),
            started,
            ended: None,
            failure: None,
            parent: start.parent.clone(),
            generation: 0,
            sequence,
        }
    }

    /// A run of which nothing is known but that it is there.
    #[must_use]
    pub const fn unknown(run: RunId, started: Timestamp) -> Self {
        Self {
            v: ENTRY_VERSION,
            run,
            flow: None,
            flow_version: None,
            state: RunState::Paused,
            reason: None,
            labels: BTreeMap::new(),
            started,
            ended: None,
            failure: None,
            parent: None,
            generation: 0,
            sequence: 0,
        }
    }

    /// Whether a coordinator has listed it: it does when it begins the run.
    #[must_use]
    pub const fn is_listed(&self) -> bool {
        self.sequence > 0
    }

    /// The same run in another state since the record with this sequence.
    #[must_use]
    pub fn at(mut self, state: RunState, sequence: u64) -> Self {
        self.state = state;
        self.sequence = sequence;
        if !state.is_over() {
            (self.ended, self.failure) = (None, None);
        }
        if state != RunState::Paused {
            self.reason = None;
        }
        self
    }

    /// The same run, ended.
    #[must_use]
    pub fn over(self, end: &End, ended: Timestamp, sequence: u64) -> Self {
        let (state, failure) = match &end.result {
            Ending::Succeeded(_) => (RunState::Succeeded, None),
            Ending::Failed(failure) => (RunState::Failed, Some(failure)),
            Ending::Cancelled => (RunState::Cancelled, None),
        };
        let failure = failure.map(|failure| Fault {
            kind: failure.kind,
            message: failure.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            step: failure.step.clone(),
        });
        Self { ended: Some(ended), failure, ..self.at(state, sequence) }
    }

    /// `lvg.<t>.index.<run>`
    #[must_use]
    pub fn subject(tenant: &Tenant, run: &RunId) -> String {
        format!("lvg.{tenant}.index.{run}")
    }

    /// `lvg.<t>.index.*`: all runs of a tenant.
    #[must_use]
    pub fn all(tenant: &Tenant) -> String {
        format!("lvg.{tenant}.index.*")
    }

    /// Its body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// A newer version, named as such, and what is no entry.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("index entry", ENTRY_VERSION, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;

    fn entry() -> Entry {
        Entry {
            v: 1,
            run: "01jd0000000000000000000007".parse().unwrap(),
            flow: Some("nightly".parse().unwrap()),
            flow_version: Some("3".parse().unwrap()),
            state: RunState::Running,
            reason: None,
            labels: [("team".to_owned(), "a".to_owned())].into(),
            started: Timestamp::from_millis(1_000),
            ended: None,
            failure: None,
            parent: None,
            generation: 0,
            sequence: 4,
        }
    }

    #[test]
    fn an_entry_has_a_golden_form() {
        let failure = Failure { step: Some("0-1".parse().unwrap()), ..Failure::new(Kind::Returned, "no") };
        let end = End { result: Ending::Failed(failure), compensation_failures: Vec::new() };
        let entries = [entry(), entry().over(&end, Timestamp::from_millis(2_000), 9)];
        let lines: Vec<String> =
            include_str!("../../../tests/golden/journal-v1/index.jsonl").lines().map(Into::into).collect();
        for (entry, line) in entries.iter().zip(&lines) {
            assert_eq!(std::str::from_utf8(&entry.encode()).unwrap(), line);
            assert_eq!(Entry::decode(&Bytes::from(line.clone())).as_ref(), Ok(entry));
        }
        assert_eq!(lines.len(), entries.len());
    }

    #[test]
    fn a_retried_run_is_not_shown_as_ended() {
        let end = End { result: Ending::Cancelled, compensation_failures: Vec::new() };
        let ended = entry().over(&end, Timestamp::from_millis(2_000), 9);
        assert_eq!((ended.state, ended.ended), (RunState::Cancelled, Some(Timestamp::from_millis(2_000))));
        let again = ended.at(RunState::Running, 10);
        assert_eq!((again.state, again.ended, again.sequence), (RunState::Running, None, 10));
    }

    #[test]
    fn a_newer_entry_is_refused_and_says_so() {
        let error = Entry::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
        assert!(Entry::decode(&Bytes::from_static(b"[]")).is_err());
    }
}

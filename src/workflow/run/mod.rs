//! One run: its journal in, effects out.

use bytes::Bytes;

use super::effect::Effect;
use super::journal::{Record, Start};
use crate::model::datum::Elsewhere;
use crate::model::{Digest, Timestamp};

/// A run. See the module's documentation for what its driver owes it.
pub struct Run {}

/// Why a record was not folded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stop {
    /// Values must be provided first; nothing has changed, and the record is to be applied again.
    #[error("values must be loaded first")]
    Needs(Vec<Elsewhere>),
    /// The run cannot go on: it stays where it is, with this reason.
    #[error("{0}")]
    Broken(String),
}

impl Run {
    /// A run from its start record. Nothing has happened yet: fold the start record itself first.
    ///
    /// # Errors
    /// A document that is no flow, or of a newer core.
    pub fn new(start: &Start) -> Result<Self, Stop> {
        drop(start.run.clone());
        Ok(Self {})
    }

    /// Folds a record and says what is to be done. Records come in the order of the stream; those that were folded already
    /// change nothing.
    ///
    /// # Errors
    /// [`Stop`]
    pub fn apply(&mut self, record: &Record) -> Result<Vec<Effect>, Stop> {
        drop(record.clone());
        Ok(Vec::new())
    }

    /// Takes a value that [`Effect::Load`] or [`Stop::Needs`] asked for.
    pub fn provide(&mut self, digest: Digest, bytes: Bytes) -> Vec<Effect> {
        drop((digest, bytes));
        Vec::new()
    }

    /// A value cannot be had: the steps that look into it fail.
    pub fn cannot_provide(&mut self, digest: Digest) -> Vec<Effect> {
        drop(digest);
        Vec::new()
    }

    /// All that the run waits for, as effects: after a replay, and again whenever something may have been lost.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Effect> {
        Vec::new()
    }

    /// The sequence of the last record that was folded.
    #[must_use]
    pub fn folded(&self) -> u64 {
        0
    }

    /// Whether its end record was folded, and no retry after it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        false
    }

    /// Core time: the largest timestamp seen so far.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        Timestamp::default()
    }
}

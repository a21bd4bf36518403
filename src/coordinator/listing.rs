//! What lists show of a run, as its records are folded.

use crate::model::{RunId, Timestamp};
use crate::telemetry::RunMetrics;
use crate::workflow::wire::{Entry, RunState};
use crate::workflow::{Event, Record, Run};

/// The entry of a run, and whether it is to be written.
#[derive(Default)]
pub(super) struct Listing {
    entry: Option<Entry>,
    /// Where the written one stands, if that is known.
    sequence: Option<u64>,
    changed: bool,
    /// What is to be counted.
    began: bool,
    ended: Option<RunState>,
}

impl Listing {
    /// Takes a record that was folded.
    pub(super) fn note(&mut self, record: &Record, run: &Run) {
        match &record.event {
            Event::Start(start) => {
                self.entry = Some(Entry::begun(start, record.time, record.sequence));
                // Nothing can be listed of a run before its start.
                self.sequence = Some(0);
                self.changed = true;
                self.began = true;
            }
            Event::End { end, .. } if run.is_over() => {
                let over = self.entry.take().filter(|entry| !entry.state.is_over());
                let Some(entry) = over else { return };
                let entry = entry.over(end, record.time, record.sequence);
                self.ended = Some(entry.state);
                self.entry = Some(entry);
                self.changed = true;
            }
            Event::Outcome { .. }
            | Event::Timer(_)
            | Event::Decided { .. }
            | Event::Child { .. }
            | Event::Signal { .. }
            | Event::Cancel { .. }
            | Event::Pause
            | Event::Resume
            | Event::Retry
            | Event::End { .. } => {
                let state = run.state();
                let Some(entry) = self.entry.take() else { return };
                if entry.state == state || (state.is_over() && entry.state.is_over()) {
                    self.entry = Some(entry);
                } else {
                    let generation = run.generation();
                    self.entry = Some(Entry { generation, ..entry.at(state, record.sequence) });
                    self.changed = true;
                }
            }
        }
    }

    /// The run cannot go on.
    pub(super) fn halted(&mut self, run: &RunId, reason: String, sequence: u64) {
        let entry = self.entry.take().unwrap_or_else(|| Entry::unknown(run.clone(), Timestamp::default()));
        self.entry = Some(Entry { reason: Some(reason), ..entry.at(RunState::Paused, sequence) });
        self.changed = true;
        // What others have written meanwhile is not known.
        self.sequence = None;
    }

    /// The entry to be written, and the sequence of the one that it replaces where that is known.
    pub(super) fn take(&mut self) -> Option<(Box<Entry>, Option<u64>)> {
        let entry = std::mem::take(&mut self.changed).then(|| self.entry.clone()).flatten()?;
        Some((Box::new(entry), self.sequence))
    }

    /// After a replay: what is written of the run is not known.
    pub(super) fn forget_place(&mut self) {
        self.sequence = None;
    }

    /// The written entry stands there.
    pub(super) fn stands_at(&mut self, sequence: u64) {
        self.sequence = Some(sequence);
    }

    /// Counts what was noted since the last time.
    pub(super) fn count(&mut self, metrics: &RunMetrics) {
        if self.began {
            metrics.started.inc();
        }
        if let Some(state) = self.ended {
            metrics.ended(state.as_str());
        }
        self.counted();
    }

    /// What was noted was counted before, by others.
    pub(super) fn counted(&mut self) {
        self.began = false;
        self.ended = None;
    }
}

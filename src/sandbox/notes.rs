//! What a guest says while it runs: bounded, never waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::Sender;

use super::invocation::Note;
use super::mask::Mask;
use super::stdio::LINE_BYTES_MAX;
use crate::model::Level;
use crate::model::Timestamp;

/// Lines of one attempt, besides its bytes: a flood of empty lines costs, too.
pub(super) const LOG_LINES_MAX: u64 = 100_000;

/// Progress reports of one attempt; nobody looks at more.
const PROGRESS_MAX: u64 = 10_000;

/// Text of one progress report.
const PROGRESS_NOTE_BYTES_MAX: usize = 1_024;

/// How the line begins in which the runtime of Go says why it ends; a trace of many lines follows it.
const CAUSES: [&str; 2] = ["panic: ", "fatal error: "];

/// The notes of one invocation, shared by its stdout, its stderr and its host calls.
#[derive(Clone, Debug)]
pub(super) struct Notes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    sink: Sender<Note>,
    clock: Clock,
    mask: Mask,
    log_bytes_max: u64,
    log_bytes_left: u64,
    log_lines_left: u64,
    log_is_cut: bool,
    progress_left: u64,
    dropped: u64,
    /// The line of stderr for the message of a failure, and whether it is one that says why.
    telling: String,
    telling_is_cause: bool,
}

/// The time of an invocation: what the host said at hand-over, and what has passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) handed_over: Timestamp,
    pub(super) since: Instant,
}

impl Clock {
    pub(super) fn now(&self) -> Timestamp {
        self.handed_over.after(self.since.elapsed())
    }
}

impl Notes {
    pub(super) fn new(sink: Sender<Note>, clock: Clock, mask: Mask, log_bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            sink,
            clock,
            mask,
            log_bytes_max,
            log_bytes_left: log_bytes_max,
            log_lines_left: LOG_LINES_MAX,
            log_is_cut: false,
            progress_left: PROGRESS_MAX,
            dropped: 0,
            telling: String::new(),
            telling_is_cause: false,
        })))
    }

    /// Passes a line on while the budget lasts; the first one beyond it leaves a note that the log is cut.
    pub(super) fn log(&self, level: Level, line: &str) {
        let mut state = self.lock();
        if state.log_is_cut {
            return;
        }
        let mask = state.mask.clone();
        let line = &*mask.apply(line);
        let bytes = line.len() as u64;
        if bytes > state.log_bytes_left || state.log_lines_left == 0 {
            state.log_is_cut = true;
            let whole = usize::try_from(state.log_bytes_left).unwrap_or(usize::MAX);
            let part = cut(line, whole);
            if !part.is_empty() {
                state.send_log(level, part);
            }
            let what = if state.log_lines_left == 0 {
                format!("log cut at {LOG_LINES_MAX} lines")
            } else {
                format!("log cut at {} bytes", state.log_bytes_max)
            };
            state.send_log(Level::Warn, &what);
            return;
        }
        state.log_bytes_left = state.log_bytes_left.saturating_sub(bytes);
        state.log_lines_left = state.log_lines_left.saturating_sub(1);
        state.send_log(level, line);
    }

    /// Passes on a message of the guest's own, cut to a line's length.
    pub(super) fn say(&self, level: Level, message: &str) {
        let mask = self.lock().mask.clone();
        self.log(level, cut(&mask.apply(message), LINE_BYTES_MAX));
    }

    pub(super) fn progress(&self, done: f64, total: Option<f64>, note: Option<&str>) {
        let mut state = self.lock();
        if state.progress_left == 0 {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.progress_left = state.progress_left.saturating_sub(1);
        let note = note.map(|note| cut(&state.mask.apply(note), PROGRESS_NOTE_BYTES_MAX).to_owned());
        state.send(Note::Progress { done, total, note });
    }

    /// Keeps a line of stderr for the message of a failure: one that says why before any other, and later ones before earlier.
    pub(super) fn remember(&self, line: &str) {
        let mut state = self.lock();
        let is_cause = CAUSES.iter().any(|cause| line.starts_with(cause));
        if is_cause || !(state.telling_is_cause || line.trim().is_empty()) {
            state.telling_is_cause = is_cause;
            state.telling.clear();
            state.telling.push_str(line);
        }
    }

    /// The line of stderr that tells most of a failure; empty if there was none.
    pub(super) fn telling_line(&self) -> String {
        self.lock().telling.clone()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send_log(&mut self, level: Level, line: &str) {
        let at = self.clock.now();
        self.send(Note::Log { level, message: line.to_owned(), at });
    }

    fn send(&mut self, note: Note) {
        if self.sink.try_send(note).is_err() {
            self.dropped = self.dropped.saturating_add(1);
        }
    }
}

/// The longest beginning of `text` of at most `bytes` bytes that ends between characters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_line_that_says_why_tells_more_than_the_last_one() {
        for (lines, telling) in [
            (&["a", "b", " "][..], "b"),
            (&["panic: boom", "", "goroutine 1 [running]:", "main.go:9 +0x2"], "panic: boom"),
            (
                &["fatal error: all goroutines are asleep - deadlock!", "exit"],
                "fatal error: all goroutines are asleep - deadlock!",
            ),
            (&["panic: a", "panic: b", "c"], "panic: b"),
            (&["do not panic: it is well"], "do not panic: it is well"),
            (&[], ""),
        ] {
            let clock = Clock { handed_over: Timestamp::from_millis(0), since: Instant::now() };
            let notes = Notes::new(mpsc::channel(1).0, clock, Mask::default(), 0);
            lines.iter().for_each(|line| notes.remember(line));
            assert_eq!(notes.telling_line(), telling);
        }
    }
}

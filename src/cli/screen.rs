//! What is told of a task while it is awaited, on stderr: its states, its log, and how far it is.

use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::Fault;
use super::bar::cut_at_margin;
use super::interrupt::{Choice, Interrupts};
use crate::client::{Client, Error, Snapshot, Watch};
use crate::model::lifecycle::{Settled, State};
use crate::model::time::format_duration;
use crate::model::{HostId, TaskId, Timestamp};
use crate::protocol::note::{LogLine, Progress, printable};

/// The pauses between two looks at where a task is: short at first, since it may be about to begin; hosts are asked each time.
const LOOK_FIRST: Duration = Duration::from_millis(250);
const LOOK_MAX: Duration = Duration::from_secs(4);

/// The cells of a progress bar.
const BAR_CELLS: u32 = 24;

/// The longest word of a guest beside its progress, in characters, so that the line stays one line.
const NOTE_CHARS_MAX: usize = 40;

/// The longest number that is written out: sums of fractions have this many digits.
const NUMBER_CHARS_MAX: usize = 20;

/// What is told of one task.
pub(super) struct Screen {
    quiet: bool,
    terminal: bool,
    progress_shown: bool,
    /// Attempts in all, where that is known.
    attempts: Option<u32>,
    told: Option<(State, Option<HostId>)>,
}

impl Screen {
    pub(super) fn new(quiet: bool, attempts: Option<u32>) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), progress_shown: false, attempts, told: None }
    }

    fn show(&mut self, watch: &Watch, now: Timestamp) {
        if self.quiet {
            return;
        }
        match watch {
            Watch::Log(line) => self.say(&shown(line)),
            Watch::Retrying { next, due, failure } => {
                // The next attempt is told of anew.
                self.told = None;
                let of = self.attempts.map(|attempts| format!(" of {attempts}")).unwrap_or_default();
                let wait = format_duration(Duration::from_millis(due.since(now).as_millis().try_into().unwrap_or(0)));
                let failure = printable(&failure.to_string());
                self.say(&format!("attempt {}{of} failed, trying again in {wait}: {failure}", next.saturating_sub(1)));
            }
            Watch::Progress(progress) if self.terminal => {
                eprint!("\r\x1b[K{}", cut_at_margin(&bar(progress)));
                self.progress_shown = true;
            }
            Watch::Progress(progress) => eprintln!("progress {}", amount(progress)),
        }
    }

    /// Tells where the task is, if that is news.
    fn state(&mut self, snapshot: &Snapshot) {
        let place = (snapshot.state, snapshot.host.clone());
        if self.quiet || self.told.as_ref() == Some(&place) {
            return;
        }
        let again = if self.told.is_some() && snapshot.state == State::Queued {
            " again: its host was lost, or left"
        } else {
            ""
        };
        match &snapshot.host {
            Some(host) => self.say(&format!("{} on {host}", snapshot.state)),
            // What follows a failed attempt was told with it, and an end tells itself.
            None if matches!(snapshot.state, State::Queued | State::Scheduled) => {
                self.say(&format!("{}{again}", snapshot.state));
            }
            None => {}
        }
        self.told = Some(place);
    }

    fn say(&mut self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes the progress line off the screen.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            eprint!("\r\x1b[K");
        }
    }
}

/// A line of a log as people read it.
pub(super) fn shown(line: &LogLine) -> String {
    format!("{} {:5} [{}] {}", line.at, line.level.as_str(), line.attempt, printable(&line.message))
}

/// As in `1 of 4  reading`.
pub(super) fn amount(progress: &Progress) -> String {
    let of = progress.total.map(|total| format!(" of {}", number(total))).unwrap_or_default();
    let note = progress.note.as_deref().map(|note| format!("  {}", printable(note))).unwrap_or_default();
    format!("{}{of}{note}", number(progress.done))
}

/// A number of a guest's; one of hundreds of digits by its power of ten.
fn number(number: f64) -> String {
    let text = number.to_string();
    if text.len() > NUMBER_CHARS_MAX { format!("{number:e}") } else { text }
}

/// As in `[######..................]  25%  1 of 4  reading`; without a total there is nothing to draw.
pub(super) fn bar(progress: &Progress) -> String {
    let short = Progress {
        note: progress.note.as_deref().map(|note| printable(note).chars().take(NOTE_CHARS_MAX).collect()),
        ..progress.clone()
    };
    let amount = amount(&short);
    let Some(total) = progress.total.filter(|total| total.is_finite() && *total > 0.0) else { return amount };
    // What is not a number is nothing.
    let share = (progress.done / total).clamp(0.0, 1.0);
    let share = if share.is_nan() { 0.0 } else { share };
    let cell = |cell: u32| if f64::from(cell) <= share * f64::from(BAR_CELLS) { '#' } else { '.' };
    let cells: String = (1..=BAR_CELLS).map(cell).collect();
    format!("[{cells}] {:3.0}%  {amount}", (share * 100.0).floor())
}

/// A task that is awaited.
pub(super) struct Awaited<'a> {
    pub(super) client: &'a Client,
    pub(super) screen: Mutex<Screen>,
    /// Its id, once it is durable.
    pub(super) id: OnceLock<TaskId>,
}

impl<'a> Awaited<'a> {
    pub(super) const fn new(client: &'a Client, screen: Screen) -> Self {
        Self { client, screen: Mutex::new(screen), id: OnceLock::new() }
    }

    /// Tells what was heard.
    pub(super) fn show(&self, watch: &Watch) {
        self.screen().show(watch, self.client.broker().clock.now());
    }

    fn screen(&self) -> std::sync::MutexGuard<'_, Screen> {
        // What is drawn wrongly is drawn anew.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `work` ends with, which is the task's end, unless whoever waits detaches before.
    pub(super) async fn end(
        &self,
        mut interrupts: Interrupts,
        work: impl Future<Output = Result<Settled, Error>>,
    ) -> Result<Settled, Fault> {
        let mut work = std::pin::pin!(work);
        let mut looks = std::pin::pin!(self.look());
        loop {
            let choice = tokio::select! {
                biased;
                settled = &mut work => {
                    self.screen().clear();
                    return Ok(settled?);
                }
                () = &mut looks => continue,
                choice = interrupts.choice() => choice?,
            };
            let id = self.id.get().ok_or_else(|| Fault::platform("interrupted before the task was submitted"))?;
            match choice {
                Choice::GoOn => {}
                Choice::Cancel => match self.client.cancel(id).await {
                    // Its end is on its way.
                    Ok(()) | Err(Error::Ended { .. }) => {}
                    Err(error) => return Err(error.into()),
                },
                Choice::Detach => {
                    self.screen().clear();
                    let hint = format!("its result: `lovage result {id} --wait`; its end: `lovage cancel {id}`");
                    return Err(Fault::detached(format!("detached: task {id} goes on")).hint(hint));
                }
            }
        }
    }

    /// Looks where the task is, for ever; what moves is looked at more often.
    async fn look(&self) {
        let mut pause = LOOK_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
            let quiet = self.screen().quiet;
            let Some(id) = self.id.get().filter(|_| !quiet) else { continue };
            // A look that fails is made again; the wait itself tells what is wrong.
            let Ok(snapshot) = self.client.state(id).await else { continue };
            let mut screen = self.screen();
            if screen.told.as_ref().is_none_or(|told| told.0 != snapshot.state) {
                pause = LOOK_FIRST;
            }
            screen.state(&snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn progress(done: f64, total: Option<f64>, note: Option<&str>) -> Progress {
        Progress { at: Timestamp::default(), attempt: 1, done, total, note: note.map(str::to_owned) }
    }

    proptest! {
        /// It is drawn over and over in one line.
        #[test]
        fn a_bar_is_one_short_line_whatever_a_guest_says(done in any::<f64>(), total in proptest::option::of(any::<f64>()), note in any::<String>()) {
            let line = bar(&progress(done, total, Some(&note)));
            prop_assert!(line.chars().count() <= 140, "{}", line);
            prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{:?}", line);
            let cells = line.chars().filter(|c| matches!(c, '#' | '.')).count();
            prop_assert!(cells >= BAR_CELLS as usize || total.is_none_or(|total| !(total.is_finite() && total > 0.0)));
        }
    }

    #[test]
    fn a_bar_shows_the_share_and_survives_what_guests_say() {
        assert_eq!(bar(&progress(1.0, Some(4.0), Some("on"))), "[######..................]  25%  1 of 4  on");
        assert_eq!(bar(&progress(9.0, Some(4.0), None)), "[########################] 100%  9 of 4");
        assert_eq!(bar(&progress(3.0, None, None)), "3");
        assert_eq!(
            bar(&progress(1e300, Some(0.1 + 0.2), None)),
            "[########################] 100%  1e300 of 0.30000000000000004"
        );
        for (done, total) in [(f64::NAN, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, f64::NAN), (f64::INFINITY, f64::INFINITY)]
        {
            let line = bar(&progress(done, Some(total), Some(&"x\x1b".repeat(1_000))));
            assert!(line.len() < 500 && !line.contains('\x1b'), "{line}");
        }
    }
}

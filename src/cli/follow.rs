//! A run as it goes on: a tree of its steps that is drawn again in place on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::FusedFuture as _;
use futures::stream::{BoxStream, StreamExt as _};
use futures::{FutureExt as _, stream};
use tokio::time::Instant;

use super::Fault;
use super::bar::cut_at_margin;
use super::interrupt::{Choice, Interrupts, OnInterrupt};
use super::run::print_end;
use super::{screen, tree};
use crate::client::{Client, Error, RunView, StepNote, Watch};
use crate::model::{RunId, StepId};
use crate::workflow::run::{Change, StepState};

/// Lines of a tree on a terminal: more would scroll, and could not be drawn again in place.
const LINES_MAX: usize = 30;

/// How often a tree is drawn again at most. It is less than the quiet time after which [`Client::watch_run`] tells once more what
/// there is, so that the last of many changes is always drawn.
const DRAW_EVERY: Duration = Duration::from_millis(80);

/// Steps whose progress is shown at a time: more would fit no screen.
const PROGRESS_SHOWN_MAX: usize = 100;

/// Notes that are told after the end of a run at most: they were on their way when it ended.
const LATE_NOTES_MAX: usize = 10_000;

/// How often it is looked whether a coordinator lives, and how long a sign of that is waited for: they give one each second.
const ALONE_LOOK_EVERY: Duration = Duration::from_secs(1);
const BEAT_PATIENCE: Duration = Duration::from_secs(3);

/// What is said where none does.
const ALONE: &str = "no coordinator is alive: the run is kept, and goes on when one is started, with `lovage coordinator` or `lovage dev`";

/// What the guests of a run say.
pub(super) type Notes = BoxStream<'static, StepNote>;

/// How a run is shown.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// What ctrl-c does; `None` asks whoever sits at a terminal.
    pub(super) on_interrupt: Option<OnInterrupt>,
    /// Its steps are not shown.
    pub(super) quiet: bool,
    /// Its end is printed as JSON, in place of its output alone.
    pub(super) json: bool,
}

/// What the guests of a run say from now on; nothing where nobody is told.
pub(super) async fn notes(client: &Client, run: &RunId, quiet: bool) -> Result<Notes, Error> {
    if quiet { Ok(stream::empty().boxed()) } else { client.run_notes(run).await }
}

/// Shows a run until it ends, and prints how. Ctrl-c is asked about, or does what was said.
pub(super) async fn follow(client: &Client, run: &RunId, mut notes: Notes, how: How) -> Result<(), Fault> {
    let mut interrupts = Interrupts::listen(how.on_interrupt)?;
    if !how.quiet {
        eprintln!("run {run}");
    }
    let screen = Mutex::new(Screen::new(how.quiet));
    let lock = || screen.lock().unwrap_or_else(PoisonError::into_inner);
    let mut show = |view: &RunView, changes: &[Change]| {
        lock().show(view, changes);
        true
    };
    let mut watching = Box::pin(client.watch_run(run, &mut show));
    let mut alone = Box::pin(alone(client).fuse());
    let watched = loop {
        let choice = tokio::select! {
            biased;
            Some(note) = notes.next() => {
                lock().hear(&note);
                continue;
            }
            watched = &mut watching => break watched?,
            () = &mut alone, if !alone.is_terminated() => {
                lock().say(ALONE);
                continue;
            }
            choice = interrupts.choice() => choice?,
        };
        match choice {
            Choice::GoOn => {}
            Choice::Cancel => match client.cancel_run(run).await {
                // Its end is on its way.
                Ok(()) | Err(Error::RunEnded { .. }) => {}
                Err(error) => return Err(error.into()),
            },
            Choice::Detach => {
                let hint = format!("watch it with `lovage runs watch {run}`, end it with `lovage runs cancel {run}`");
                return Err(Fault::detached(format!("detached: run {run} goes on")).hint(hint));
            }
        }
    };
    drop(watching);
    for _ in 0..LATE_NOTES_MAX {
        let Some(Some(note)) = notes.next().now_or_never() else { break };
        lock().hear(&note);
    }
    lock().finish(&watched);
    match watched.end() {
        Some(end) => print_end(client, &watched, &end, how.json).await,
        None => Err(Fault::platform(format!("the journal of run {run} ended before the run did"))),
    }
}

/// Ends when no coordinator lives; never where one does, or where that cannot be seen.
async fn alone(client: &Client) {
    loop {
        tokio::time::sleep(ALONE_LOOK_EVERY).await;
        match client.has_coordinator(BEAT_PATIENCE).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Where a run is shown.
struct Screen {
    quiet: bool,
    terminal: bool,
    /// The lines of the tree as it was drawn last.
    drawn: Vec<String>,
    last: Option<Instant>,
    /// How far the guests are that run.
    progress: BTreeMap<StepId, String>,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, drawn: Vec::new(), last: None, progress: BTreeMap::new() }
    }

    /// Shows what has become of a run.
    fn show(&mut self, view: &RunView, changes: &[Change]) {
        if self.quiet {
            return;
        }
        for change in changes.iter().filter(|change| change.state != StepState::Queued) {
            self.progress.remove(&change.step);
        }
        if !self.terminal {
            return changes.iter().filter_map(tree::plain).for_each(|line| eprintln!("{line}"));
        }
        if self.last.is_none_or(|last| last.elapsed() >= DRAW_EVERY) {
            self.draw(view);
        }
    }

    /// Tells what a guest says: a line above the tree, or its progress in it.
    fn hear(&mut self, StepNote { by, note }: &StepNote) {
        match note {
            Watch::Log(line) => self.say(&format!("{} {}", by.step, screen::shown(line))),
            Watch::Progress(progress) if self.terminal => {
                if self.progress.len() < PROGRESS_SHOWN_MAX || self.progress.contains_key(&by.step) {
                    self.progress.insert(by.step.clone(), screen::bar(progress));
                }
            }
            Watch::Progress(progress) => eprintln!("{} progress {}", by.step, screen::amount(progress)),
            // Of a step it is a change of its run.
            Watch::Retrying { .. } => {}
        }
    }

    /// Draws the tree as it is at the end.
    fn finish(&mut self, view: &RunView) {
        if self.terminal && !self.quiet {
            self.draw(view);
        }
    }

    fn draw(&mut self, view: &RunView) {
        self.last = Some(Instant::now());
        let lines = tree::tree(view, &self.progress, LINES_MAX);
        put(&redrawn(self.drawn.len(), None, &lines));
        self.drawn = lines;
    }

    /// Writes a line; on a terminal above the tree.
    fn say(&mut self, line: &str) {
        if self.terminal {
            put(&redrawn(self.drawn.len(), Some(line), &self.drawn));
        } else {
            eprintln!("{line}");
        }
    }
}

/// What takes `drawn` lines off a terminal, writes a line that stays, and draws others below it.
fn redrawn(drawn: usize, said: Option<&str>, lines: &[String]) -> String {
    let mut text = String::new();
    if drawn > 0 {
        // Up to where the last drawing began, and erase to the end.
        let _infallible = write!(text, "\x1b[{drawn}A\x1b[J");
    }
    if let Some(said) = said {
        text.push_str(said);
        text.push('\n');
    }
    for line in lines {
        text.push_str(&cut_at_margin(line));
        text.push('\n');
    }
    text
}

fn put(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // A terminal that went away is no fault of the run.
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;
    use crate::model::{Level, StepAttempt};
    use crate::protocol::note::{LogLine, Progress};

    fn screen() -> Screen {
        Screen { quiet: true, terminal: true, drawn: Vec::new(), last: None, progress: BTreeMap::new() }
    }

    fn progress(step: &str, done: f64) -> StepNote {
        let by = StepAttempt { run: RunId::derived(&["r"]), step: step.parse().unwrap(), attempt: 1 };
        let note = Progress { at: Timestamp::default(), attempt: 1, done, total: Some(4.0), note: None };
        StepNote { by, note: Watch::Progress(note) }
    }

    #[test]
    fn a_tree_is_drawn_over_the_last_one_and_lines_are_written_above_it() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>();
        let cut = cut_at_margin;
        assert_eq!(redrawn(0, None, &lines(&["a", "b"])), format!("{}\n{}\n", cut("a"), cut("b")));
        assert_eq!(redrawn(2, None, &lines(&["c"])), format!("\x1b[2A\x1b[J{}\n", cut("c")));
        assert_eq!(redrawn(1, Some("said"), &lines(&["c"])), format!("\x1b[1A\x1b[Jsaid\n{}\n", cut("c")));
        assert_eq!(redrawn(0, Some("said"), &[]), "said\n", "what is said stays as it is, however long");
    }

    #[test]
    fn the_progress_of_a_step_is_its_last_and_there_are_so_many_at_a_time() {
        let mut screen = screen();
        screen.hear(&progress("0-1", 1.0));
        screen.hear(&progress("0-1", 2.0));
        assert!(screen.progress[&"0-1".parse().unwrap()].ends_with("50%  2 of 4"));
        (0..1_000).for_each(|number| screen.hear(&progress(&format!("0-2_{number}"), 1.0)));
        assert_eq!(screen.progress.len(), PROGRESS_SHOWN_MAX);
        screen.hear(&progress("0-1", 3.0));
        assert!(screen.progress[&"0-1".parse().unwrap()].ends_with("75%  3 of 4"), "one that is shown goes on");
    }

    #[test]
    fn a_line_of_a_guest_cannot_drive_the_terminal() {
        let line = LogLine { at: Timestamp::default(), attempt: 1, level: Level::Info, message: "\x1b[2J".to_owned() };
        assert!(!screen::shown(&line).contains('\x1b'), "it is shown with its escape written out");
    }
}

//! A run on a terminal: a tree of its steps that is drawn again in place; elsewhere plain lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

use super::bar::bar;
use crate::client::{RunView, StepView};
use crate::model::StepId;
use crate::model::time::format_duration;
use crate::protocol::note::printable;
use crate::workflow::run::{Change, StepState, Waiting};

/// Lines of a tree on a terminal: more would scroll, and could not be drawn again in place.
const LINES_MAX: usize = 30;

/// How often a tree is drawn again at most.
const DRAW_EVERY: Duration = Duration::from_millis(80);

/// Members of a group or map that are shown one by one; of more, those that are under way or failed.
const MEMBERS_SHOWN_MAX: usize = 8;

/// Where a run is shown.
pub(super) struct Screen {
    quiet: bool,
    terminal: bool,
    drawn: usize,
    last: Option<Instant>,
}

impl Screen {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), drawn: 0, last: None }
    }

    /// Shows what has become of a run.
    pub(super) fn show(&mut self, view: &RunView, changes: &[Change]) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            return changes.iter().filter_map(plain).for_each(|line| eprintln!("{line}"));
        }
        if self.last.is_none_or(|last| last.elapsed() >= DRAW_EVERY) {
            self.draw(view);
        }
    }

    /// Draws the tree as it is at the end.
    pub(super) fn finish(&mut self, view: &RunView) {
        if self.terminal && !self.quiet {
            self.draw(view);
        }
    }

    fn draw(&mut self, view: &RunView) {
        self.last = Some(Instant::now());
        let lines = tree(view, LINES_MAX);
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to where the last drawing began, and erase to the end.
            let _infallible = write!(text, "\x1b[{}A\x1b[J", self.drawn);
        }
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut stderr = std::io::stderr().lock();
        // A terminal that went away is no fault of the run.
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}

/// A change as one line; composites begin and end too often to be told.
pub(super) fn plain(change: &Change) -> Option<String> {
    let told = match &change.state {
        StepState::Running | StepState::Queued if change.kind != "task" => return None,
        StepState::Running => return None,
        StepState::Queued => "queued".to_owned(),
        StepState::Scheduled => "waits for its delay".to_owned(),
        StepState::Retrying { due, failure } => format!("failed ({failure}), next attempt at {due}"),
        StepState::Catching(failure) => format!("failed ({failure}), caught"),
        StepState::Replaced => "replaced by a flow".to_owned(),
        StepState::Recalled => return None,
        StepState::Succeeded(_) => "succeeded".to_owned(),
        StepState::Failed(failure) => format!("failed ({failure})"),
        StepState::Cancelled => "cancelled".to_owned(),
    };
    let attempt = change.attempt.filter(|attempt| *attempt > 1).map(|n| format!(" attempt {n}")).unwrap_or_default();
    Some(printable(&format!("{} {}{attempt}: {told}", change.step, change.label)))
}

/// The sign of a state.
pub(super) const fn sign(state: &StepState) -> char {
    match state {
        StepState::Scheduled | StepState::Queued => '·',
        StepState::Running => '▸',
        StepState::Retrying { .. } => '↻',
        StepState::Catching(_) => '!',
        StepState::Replaced => '⇒',
        StepState::Recalled | StepState::Succeeded(_) => '✓',
        StepState::Failed(_) => '✗',
        StepState::Cancelled => '–',
    }
}

/// The word for a state.
pub(super) const fn word(state: &StepState) -> &'static str {
    match state {
        StepState::Scheduled => "scheduled",
        StepState::Queued => "queued",
        StepState::Running | StepState::Catching(_) | StepState::Replaced => "running",
        StepState::Retrying { .. } => "retrying",
        StepState::Recalled | StepState::Succeeded(_) => "succeeded",
        StepState::Failed(_) => "failed",
        StepState::Cancelled => "cancelled",
    }
}

/// What a step waits for, for people.
pub(super) fn waits(waiting: &Waiting) -> Option<String> {
    Some(match waiting {
        Waiting::Until(time) => format!("until {time}"),
        Waiting::Host { attempt } if *attempt > 1 => format!("for a host to end attempt {attempt}"),
        Waiting::Host { .. } => "for a host".to_owned(),
        Waiting::Paused => "for the run to be resumed".to_owned(),
        Waiting::Signal(name) => format!("for the signal {name}"),
        Waiting::Run(run) => format!("for the run {run}"),
        Waiting::Coordinator(what) => format!("for the coordinator: {what}"),
        Waiting::Members { of, ended, in_flight } => {
            format!("for members: {ended} of {of} ended, {in_flight} under way")
        }
        Waiting::Below => return None,
        Waiting::Outcome { attempt } => format!("for the outcome of attempt {attempt}, to undo it"),
    })
}

/// The steps of a run as lines, at most so many.
pub(super) fn tree(view: &RunView, lines_max: usize) -> Vec<String> {
    let waiting = view.waiting();
    let mut steps: Vec<&StepView> = view.steps().collect();
    steps.sort_by_cached_key(|step| natural(step.step.as_str()));
    let mut members: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    steps.iter().for_each(|step| *members.entry(parent(step.step.as_str())).or_default() += 1);
    let crowded = |step: &StepView| {
        let settled = matches!(step.state, StepState::Succeeded(_) | StepState::Recalled | StepState::Cancelled);
        settled && members.get(&parent(step.step.as_str())).is_some_and(|count| *count > MEMBERS_SHOWN_MAX)
    };
    let hidden: std::collections::BTreeSet<&str> = if steps.len() > lines_max {
        steps.iter().filter(|step| crowded(step)).map(|step| step.step.as_str()).collect()
    } else {
        std::collections::BTreeSet::new()
    };
    let shown = |step: &&&StepView| {
        let mut at = Some(step.step.as_str());
        while let Some(id) = at {
            if hidden.contains(id) {
                return false;
            }
            at = parent(id);
        }
        true
    };
    let begun = steps.iter().filter(shown).map(|step| (step.step.clone(), line(step, waiting.get(&step.step))));
    let skipped = view.skipped().into_iter().map(|skipped| {
        let text = printable(&format!("{}○ {}  skipped", "  ".repeat(depth(&skipped.step)), skipped.label));
        (skipped.step, text)
    });
    let mut lines: Vec<(StepId, String)> = begun.chain(skipped).collect();
    lines.sort_by_cached_key(|(step, _)| natural(step.as_str()));
    let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    if lines.len() > lines_max {
        let more = lines.len() - lines_max + 1;
        lines.truncate(lines_max.saturating_sub(1));
        lines.push(format!("  … {more} more steps"));
    }
    lines
}

fn line(step: &StepView, waiting: Option<&Waiting>) -> String {
    let mut text = format!("{}{} {}", "  ".repeat(depth(&step.step)), sign(&step.state), step.label);
    if let Some(attempt) = step.attempt.filter(|attempt| *attempt > 1) {
        let _infallible = write!(text, " (attempt {attempt})");
    }
    match (&step.state, waiting) {
        (StepState::Succeeded(_), _) => {
            let took = step.changed.since(step.began);
            if took >= Duration::from_millis(1) {
                let _infallible = write!(text, "  {}", format_duration(took));
            }
        }
        (StepState::Failed(failure), _) => {
            let _infallible = write!(text, "  {failure}");
        }
        (_, Some(Waiting::Members { of, ended, .. })) => {
            let _infallible = write!(text, "  {} {ended}/{of}", bar(*ended as u64, *of as u64));
        }
        (_, Some(waiting)) => {
            if let Some(waits) = waits(waiting) {
                let _infallible = write!(text, "  waits {waits}");
            }
        }
        (_, None) => {}
    }
    printable(&text)
}

/// How many levels a step stands below the root.
fn depth(step: &StepId) -> usize {
    step.as_str().chars().filter(|c| matches!(c, '-' | '_' | '~')).count()
}

/// The step above, by its id.
fn parent(step: &str) -> Option<&str> {
    step.rfind(['-', '_', '~']).and_then(|at| step.get(..at))
}

/// A key by which 2 comes before 10.
fn natural(step: &str) -> Vec<(char, u64, String)> {
    let mut key = Vec::new();
    let mut rest = step;
    while !rest.is_empty() {
        let kind = rest.chars().next().filter(|c| !c.is_ascii_digit()).unwrap_or(' ');
        let body = rest.strip_prefix(kind).unwrap_or(rest);
        let end = body.find(['-', '_', '~']).unwrap_or(body.len());
        let (token, after) = body.split_at(end);
        // Letters are handlers, which stand behind what they handle.
        key.push((kind, token.parse().unwrap_or(u64::MAX), token.to_owned()));
        rest = after;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_the_order_of_their_numbers() {
        let mut steps = ["0-10", "0-2_11", "0-2_2", "0", "0-2", "0-1-u", "0-1", "0-2_2-0"];
        steps.sort_by_key(|step| natural(step));
        assert_eq!(steps, ["0", "0-1", "0-1-u", "0-2", "0-2_2", "0-2_2-0", "0-2_11", "0-10"]);
        assert_eq!((parent("0-2_2-0"), parent("0")), (Some("0-2_2"), None));
    }
}

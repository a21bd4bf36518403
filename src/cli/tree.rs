//! The steps of a run as people read them: a tree of lines, and a line for each change.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::bar::bar;
use crate::client::{RunView, StepView, Whereabouts};
use crate::model::time::format_duration;
use crate::model::{Failure, StepId, Timestamp, requirement};
use crate::protocol::note::printable;
use crate::workflow::run::{Change, Skipped, StepState, Waiting};

/// Members of a group or map that are shown one by one; of more, those that are under way or failed.
const MEMBERS_SHOWN_MAX: usize = 8;

/// A change as one line; composites begin and end too often to be told.
pub(super) fn plain(change: &Change) -> Option<String> {
    let told = match &change.state {
        // What takes its time without a task is told when it begins: else nothing is, until it ends.
        StepState::Running if matches!(change.kind, "wait" | "sleep" | "poll" | "flow") => begins(change),
        StepState::Queued if change.kind != "task" => return None,
        StepState::Running => return None,
        StepState::Queued => "queued".to_owned(),
        StepState::Scheduled => "waits for its delay".to_owned(),
        StepState::Retrying { due, failure } => {
            format!("failed{}, next attempt at {due}", failed(failure, &change.step, &change.label))
        }
        StepState::Catching(failure) => format!("failed{}, caught", failed(failure, &change.step, &change.label)),
        StepState::Replaced => "replaced by a flow".to_owned(),
        StepState::Recalled => return None,
        StepState::Succeeded(_) => "succeeded".to_owned(),
        StepState::Failed(failure) => format!("failed{}", failed(failure, &change.step, &change.label)),
        StepState::Cancelled => "cancelled".to_owned(),
    };
    let attempt = change.attempt.filter(|attempt| *attempt > 1).map(|n| format!(" attempt {n}")).unwrap_or_default();
    Some(printable(&format!("{} {}{}{attempt}: {told}", change.step, role(&change.step), change.label)))
}

/// That something begins which is no task, and what it waits for.
fn begins(change: &Change) -> String {
    match change.waits.as_ref().and_then(waits) {
        Some(waits) => format!("waits {waits}"),
        None => "begins".to_owned(),
    }
}

/// What a step failed with: its task where its name hides that, its attempt, the message and the guest's detail. A failure that
/// is another step's, below it, was told there.
fn failed(failure: &Failure, step: &StepId, label: &str) -> String {
    if failure.step.as_ref().is_some_and(|at| at != step) {
        return format!(" ({failure})");
    }
    let task = failure.task.as_ref().map(ToString::to_string).filter(|task| *task != *label);
    let task = task.map(|task| format!(" {task}")).unwrap_or_default();
    let attempt = failure.attempt.map(|attempt| format!(" attempt {attempt}")).unwrap_or_default();
    let of = if task.is_empty() && attempt.is_empty() { String::new() } else { format!(" in{task}{attempt}") };
    let detail = failure.detail.as_ref().map(|detail| format!(", detail {detail}")).unwrap_or_default();
    format!("{of} ({failure}{detail})")
}

/// `in step 0-1, first (module/task), attempt 2`, as far as it is known.
pub(super) fn place(failure: &Failure, label: Option<&str>) -> Option<String> {
    let mut place = failure.step.as_ref().map(|step| format!("in step {step}"))?;
    let task = failure.task.as_ref().map(ToString::to_string);
    let _infallible = match (label.filter(|label| Some(*label) != task.as_deref()), &task) {
        (Some(label), Some(task)) => write!(place, ", {label} ({task})"),
        (Some(label), None) => write!(place, ", {label}"),
        (None, Some(task)) => write!(place, ", {task}"),
        (None, None) => Ok(()),
    };
    if let Some(attempt) = failure.attempt {
        let _infallible = write!(place, ", attempt {attempt}");
    }
    Some(place)
}

/// What a step is to the one that it belongs to, where it stands beside the main path.
fn role(step: &StepId) -> &'static str {
    match step.as_str().rsplit(['-', '_', '~']).next() {
        Some("c") => "catch: ",
        Some("u") => "undo: ",
        Some("s") => "on_success: ",
        Some("f") => "on_failure: ",
        _ => "",
    }
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

/// What is known of steps that are queued or run, beside their journal: where they run, how far they are.
pub(super) type Notes = BTreeMap<StepId, String>;

/// What is known of where a step is, for people.
pub(super) fn whereabouts(place: &Whereabouts, now: Timestamp) -> String {
    match place {
        Whereabouts::On { host, since, running: true } => {
            format!("runs on {host}, for {}", format_duration(Duration::from_secs(now.since(*since).as_secs())))
        }
        Whereabouts::On { host, running: false, .. } => format!("is about to run on {host}"),
        Whereabouts::Limited(limit) => format!("waits for the limit of {limit}"),
        Whereabouts::Paused(queue) => format!("waits in queue {queue}, which is paused"),
        Whereabouts::Unserved(queue) => format!("waits in queue {queue}, which no host serves"),
        Whereabouts::Required(labels) => format!("waits for a host with {}", requirement::text(labels)),
        Whereabouts::Free => "waits for a free host".to_owned(),
    }
}

/// The steps of a run as lines, at most so many.
pub(super) fn tree(view: &RunView, notes: &Notes, lines_max: usize) -> Vec<String> {
    lines(view.steps().collect(), (&view.waiting(), notes), view.skipped(), lines_max)
}

fn lines(
    mut steps: Vec<&StepView>,
    (waiting, notes): (&BTreeMap<StepId, Waiting>, &Notes),
    skipped: Vec<Skipped>,
    lines_max: usize,
) -> Vec<String> {
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
    let note = |step: &StepView| notes.get(&step.step).map(String::as_str);
    let begun =
        steps.iter().filter(shown).map(|step| (step.step.clone(), line(step, waiting.get(&step.step), note(step))));
    let skipped = skipped.into_iter().map(|skipped| {
        let text = printable(&format!(
            "{}○ {}{}  skipped",
            "  ".repeat(depth(&skipped.step)),
            role(&skipped.step),
            skipped.label
        ));
        (skipped.step, text)
    });
    let mut lines: Vec<(StepId, String)> = begun.chain(skipped).collect();
    lines.sort_by_cached_key(|(step, _)| natural(step.as_str()));
    let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    if lines.len() > lines_max {
        let kept = lines_max.saturating_sub(1);
        let more = lines.len() - kept;
        lines.truncate(kept);
        lines.push(format!("  … {more} more steps"));
    }
    lines
}

fn line(step: &StepView, waiting: Option<&Waiting>, note: Option<&str>) -> String {
    let mut text =
        format!("{}{} {}{}", "  ".repeat(depth(&step.step)), sign(&step.state), role(&step.step), step.label);
    if let Some(attempt) = step.attempt.filter(|attempt| *attempt > 1) {
        let _infallible = write!(text, " (attempt {attempt})");
    }
    match (&step.state, waiting) {
        (_, Some(_)) if note.is_some() => {
            let _infallible = write!(text, "  {}", note.unwrap_or_default());
        }
        (StepState::Succeeded(_), _) => {
            let took = step.changed.since(step.began);
            if took >= Duration::from_millis(1) {
                let _infallible = write!(text, "  {}", format_duration(took));
            }
        }
        (StepState::Failed(failure), _) if failure.step.as_ref() == Some(&step.step) => {
            let place = place(failure, Some(&step.label)).unwrap_or_default();
            let detail = failure.detail.as_ref().map(|detail| format!(", detail: {detail}")).unwrap_or_default();
            let _infallible = write!(text, "  {failure} ({place}{detail})");
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
    use crate::model::{Datum, Kind};
    use proptest::prelude::*;

    #[test]
    fn steps_stand_in_the_order_of_their_numbers() {
        let mut steps = ["0-10", "0-2_11", "0-2_2", "0", "0-2", "0-1-u", "0-1", "0-2_2-0"];
        steps.sort_by_key(|step| natural(step));
        assert_eq!(steps, ["0", "0-1", "0-1-u", "0-2", "0-2_2", "0-2_2-0", "0-2_11", "0-10"]);
        assert_eq!((parent("0-2_2-0"), parent("0")), (Some("0-2_2"), None));
    }

    fn failure(message: &str) -> Failure {
        Failure::new(Kind::Returned, message)
    }

    fn view(step: &str, label: &str, state: StepState, attempt: Option<u32>) -> StepView {
        let (step, label) = (step.parse().unwrap(), label.to_owned());
        let (began, changed) = (Timestamp::default(), Timestamp::from_millis(1_500));
        StepView { step, label, kind: "task", state, attempt, began, changed }
    }

    #[test]
    fn a_line_says_what_became_of_a_step_and_what_it_waits_for() {
        let due = Timestamp::from_millis(60_000);
        let succeeded = StepState::Succeeded(Datum::of_json(&serde_json::json!(1)));
        for (state, waiting, expected) in [
            (succeeded, None, "  ✓ m/t (attempt 2)  1s500ms"),
            (StepState::Failed(failure("no")), None, "  ✗ m/t (attempt 2)  returned: no"),
            (StepState::Cancelled, None, "  – m/t (attempt 2)"),
            (
                StepState::Queued,
                Some(Waiting::Host { attempt: 2 }),
                "  · m/t (attempt 2)  waits for a host to end attempt 2",
            ),
            (StepState::Queued, Some(Waiting::Paused), "  · m/t (attempt 2)  waits for the run to be resumed"),
            (
                StepState::Retrying { due, failure: failure("no") },
                Some(Waiting::Until(due)),
                "  ↻ m/t (attempt 2)  waits until 1970-01-01T00:01:00.000Z",
            ),
            (
                StepState::Running,
                Some(Waiting::Members { of: 4, ended: 1, in_flight: 2 }),
                "  ▸ m/t (attempt 2)  [█████░░░░░░░░░░░░░░░] 1/4",
            ),
            (StepState::Running, Some(Waiting::Below), "  ▸ m/t (attempt 2)"),
        ] {
            assert_eq!(line(&view("0-1", "m/t", state, Some(2)), waiting.as_ref(), None), expected);
        }
    }

    #[test]
    fn a_change_is_told_in_one_line_where_people_want_to_know_it() {
        let due = Timestamp::from_millis(60_000);
        let told = |kind, state, attempt| {
            let (step, label) = ("0-1".parse().unwrap(), "m/t\x1b[2J".to_owned());
            plain(&Change { step, label, kind, state, attempt, time: Timestamp::default(), waits: None })
        };
        let line = |rest: &str| Some(format!("0-1 m/t\\u{{1b}}[2J{rest}"));
        assert_eq!(told("task", StepState::Queued, Some(1)), line(": queued"));
        assert_eq!(told("task", StepState::Queued, Some(2)), line(" attempt 2: queued"));
        assert_eq!(told("group", StepState::Queued, None), None, "composites begin and end too often");
        assert_eq!(told("task", StepState::Running, None), None);
        let retrying = StepState::Retrying { due, failure: failure("a\nb") };
        let words = " attempt 3: failed (returned: a\\nb), next attempt at 1970-01-01T00:01:00.000Z";
        assert_eq!(told("task", retrying, Some(3)), line(words));
        assert_eq!(told("wait", StepState::Cancelled, None), line(": cancelled"));
    }

    #[test]
    fn a_failure_names_its_task_attempt_and_detail_where_it_happened_and_is_short_above() {
        let at = |step: &str| Failure {
            task: Some("m/t".parse().unwrap()),
            step: Some(step.parse().unwrap()),
            attempt: Some(2),
            ..failure("no").with_detail(serde_json::json!({"code": 7}))
        };
        let failed = |step, label, failure| line(&view(step, label, StepState::Failed(failure), None), None, None);
        let own = failed("0-1", "first", at("0-1"));
        assert_eq!(own, "  ✗ first  returned: no (in step 0-1, first (m/t), attempt 2, detail: {\"code\":7})");
        assert_eq!(failed("0", "chain", at("0-1")), "✗ chain  returned: no");
        let told = |step: &str, label: &str| {
            let (step, label, state) = (step.parse().unwrap(), label.to_owned(), StepState::Failed(at("0-1")));
            let time = Timestamp::default();
            plain(&Change { step, label, kind: "task", state, attempt: None, time, waits: None }).unwrap()
        };
        assert_eq!(told("0-1", "first"), "0-1 first: failed in m/t attempt 2 (returned: no, detail {\"code\":7})");
        assert_eq!(told("0-1", "m/t"), "0-1 m/t: failed in attempt 2 (returned: no, detail {\"code\":7})");
        assert_eq!(told("0", "chain"), "0 chain: failed (returned: no)");
        assert_eq!(place(&at("0-1"), Some("m/t")).unwrap(), "in step 0-1, m/t, attempt 2");
        assert_eq!(place(&failure("no"), Some("m/t")), None);
    }

    #[test]
    fn a_wait_that_begins_is_told_and_handlers_are_named() {
        let told = |step: &str, kind, waits| {
            let (step, label, state) = (step.parse().unwrap(), "x".to_owned(), StepState::Running);
            plain(&Change { step, label, kind, state, attempt: None, time: Timestamp::default(), waits })
        };
        let signal = || Some(Waiting::Signal("go".parse().unwrap()));
        assert_eq!(told("0-1", "wait", signal()).unwrap(), "0-1 x: waits for the signal go");
        assert_eq!(told("0-1-c", "wait", signal()).unwrap(), "0-1-c catch: x: waits for the signal go");
        assert_eq!(told("0-1", "poll", Some(Waiting::Below)).unwrap(), "0-1 x: begins");
        assert_eq!(told("0-1", "chain", Some(Waiting::Below)), None);
        for (step, expected) in [("0-1-u", "    – undo: x"), ("0-1-f", "    – on_failure: x"), ("0-1-u-0", "      – x")]
        {
            assert_eq!(line(&view(step, "x", StepState::Cancelled, None), None, None), expected);
        }
    }

    /// A group of many members of which one runs.
    fn crowd(count: usize) -> Vec<StepView> {
        let done = || StepState::Succeeded(Datum::of_json(&serde_json::json!(null)));
        let member = |n: usize| {
            let state = if n == 7 { StepState::Running } else { done() };
            view(&format!("0-{n}"), "m/t", state, None)
        };
        std::iter::once(view("0", "group", StepState::Running, None)).chain((0..count).map(member)).collect()
    }

    #[test]
    fn of_a_crowd_those_are_shown_that_have_not_succeeded() {
        let steps = crowd(100);
        let shown = |max| lines(steps.iter().collect(), (&BTreeMap::new(), &Notes::new()), Vec::new(), max);
        assert_eq!(shown(30), ["▸ group", "  ▸ m/t"]);
        assert_eq!(shown(101).len(), 101, "all of them where there is room");
        let few = crowd(8);
        let shown = lines(few.iter().collect(), (&BTreeMap::new(), &Notes::new()), Vec::new(), 4);
        assert_eq!((shown.len(), shown[3].as_str()), (4, "  … 6 more steps"), "eight are no crowd");
    }

    fn state() -> impl Strategy<Value = StepState> {
        let failed = || any::<String>().prop_map(|message| failure(&message));
        prop_oneof![
            Just(StepState::Queued),
            Just(StepState::Running),
            Just(StepState::Cancelled),
            Just(StepState::Succeeded(Datum::of_json(&serde_json::json!(1)))),
            failed().prop_map(StepState::Failed),
            failed().prop_map(|failure| StepState::Retrying { due: Timestamp::default(), failure }),
        ]
    }

    fn waiting() -> impl Strategy<Value = Waiting> {
        prop_oneof![
            Just(Waiting::Coordinator("a decision")),
            any::<(usize, usize, usize)>().prop_map(|(of, ended, in_flight)| Waiting::Members { of, ended, in_flight }),
            any::<u32>().prop_map(|attempt| Waiting::Host { attempt }),
        ]
    }

    proptest! {
        #[test]
        fn a_tree_is_never_longer_than_it_may_be_and_drives_no_terminal(
            steps in proptest::collection::btree_map("0((-|_|~)[0-9]{1,2}|-[cusf]){0,4}", (state(), any::<String>(), waiting()), 1..40),
            skipped in proptest::collection::btree_map("0-[0-9]{3}", any::<String>(), 0..4),
            lines_max in 1..50_usize,
        ) {
            let views: Vec<StepView> = steps.iter().map(|(step, (state, label, _))| view(step, label, state.clone(), Some(2))).collect();
            let waiting = steps.iter().map(|(step, (_, _, waiting))| (step.parse().unwrap(), waiting.clone())).collect();
            let skipped: Vec<Skipped> =
                skipped.into_iter().map(|(step, label)| Skipped { step: step.parse().unwrap(), label, kind: "task" }).collect();
            let all = views.len() + skipped.len();
            let tree = lines(views.iter().collect(), (&waiting, &Notes::new()), skipped, lines_max);
            prop_assert!(tree.len() <= lines_max && !tree.is_empty());
            for line in &tree {
                prop_assert!(!line.contains(|c: char| c.is_control() && c != '\t'), "{:?}", line);
            }
            if let Some(more) = tree.last().and_then(|line| line.strip_prefix("  … ")) {
                let more: usize = more.trim_end_matches(" more steps").parse().unwrap_or(0);
                prop_assert!(more <= all && (more > 0 || all == 1));
            }
        }
    }
}

//! Which events are wanted.

use std::collections::BTreeMap;

use super::Event;
use crate::model::{Queue, RunId};

/// What an event must be; what is empty asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Kinds, of which one must fit: `task.failed`, `task` for all of tasks, or with `*` for any text.
    pub kinds: Vec<String>,
    /// The task, as in `thumbs/resize`; `*` stands for any text, a version need not be named.
    pub task: Option<String>,
    /// The queue of the task.
    pub queue: Option<Queue>,
    /// Labels that it must all have.
    pub labels: BTreeMap<String, String>,
    /// The run.
    pub run: Option<RunId>,
}

impl EventFilter {
    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.iter().any(|kind| is_kind(kind, &event.kind));
        kind && self
            .task
            .as_ref()
            .is_none_or(|task| event.task.as_ref().is_some_and(|of| is_task(task, &of.to_string())))
            && (self.queue.is_none() || self.queue == event.queue)
            && (self.run.is_none() || self.run == event.run)
            && self.labels.iter().all(|(key, value)| event.labels.get(key) == Some(value))
    }

    /// Whether events of this family (`task`, `run`, `step`, `host`, `schedule`) may be wanted.
    #[must_use]
    pub fn may_want(&self, family: &str) -> bool {
        let family_of = |kind: &String| kind.split('.').next().is_some_and(|of| of.contains('*') || of == family);
        self.kinds.is_empty() || self.kinds.iter().any(family_of)
    }
}

fn is_kind(wanted: &str, kind: &str) -> bool {
    fits(wanted, kind) || kind.split_once('.').is_some_and(|(family, _)| fits(wanted, family))
}

/// `module@version/task`, of which a pattern need not name the version.
fn is_task(wanted: &str, task: &str) -> bool {
    let without_version = || {
        let (module, task) = task.split_once('/')?;
        Some(format!("{}/{task}", module.split_once('@').map_or(module, |(module, _)| module)))
    };
    fits(wanted, task) || without_version().is_some_and(|task| fits(wanted, &task))
}

/// Whether `text` is as `pattern` says, in which `*` stands for any text. Linear in each: only the last star is gone back to.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pattern.contains('*').then(|| pattern.rsplit('*').next()).flatten() else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    for part in middle.iter().take(middle.len().saturating_sub(1)) {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/b", true),
            ("*", "", true),
            ("*/b", "x/y/b", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The same, tried out letter by letter.
    fn fits_slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| fits_slowly(rest, &text[at..])),
            Some((letter, rest)) => text.first() == Some(letter) && fits_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_star_stands_for_the_same_texts_as_when_all_are_tried(pattern in "[ab/*]{0,8}", text in "[ab/]{0,10}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&pattern, &text), fits_slowly(&letters(&pattern), &letters(&text)));
        }

        /// What is not read at all is never missed.
        #[test]
        fn an_event_that_is_wanted_is_of_a_family_that_may_be(kinds in proptest::collection::vec("(task|run|\\*)(\\.(failed|\\*))?", 0..3), kind in "(task|run|host)\\.(failed|queued)") {
            let filter = EventFilter { kinds, ..EventFilter::default() };
            let event = Event { kind: kind.clone(), ..Event::default() };
            prop_assert!(!filter.wants(&event) || filter.may_want(kind.split('.').next().unwrap()));
        }
    }

    #[test]
    fn an_event_is_all_that_is_asked_for() {
        let event = Event {
            kind: "task.failed".to_owned(),
            task: "thumbs@3/resize".parse().ok(),
            queue: "images".parse().ok(),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            ..Event::default()
        };
        let of_task = |task: &str| EventFilter { task: Some(task.to_owned()), ..EventFilter::default() };
        let of_kind = |kind: &str| EventFilter { kinds: vec![kind.to_owned()], ..EventFilter::default() };
        for filter in [
            EventFilter::default(),
            of_kind("task.failed"),
            of_kind("task"),
            of_kind("*.failed"),
            of_task("thumbs/resize"),
            of_task("thumbs/*"),
            of_task("thumbs@3/*"),
            EventFilter { labels: event.labels.clone(), queue: event.queue.clone(), ..EventFilter::default() },
        ] {
            assert!(filter.wants(&event), "{filter:?}");
        }
        let run = "01jd0000000000000000000000".parse().ok();
        for filter in [
            of_kind("task.succeeded"),
            of_kind("run"),
            of_task("thumbs"),
            of_task("thumbs@2/*"),
            EventFilter { run, ..EventFilter::default() },
            EventFilter { labels: BTreeMap::from([("team".to_owned(), "b".to_owned())]), ..EventFilter::default() },
        ] {
            assert!(!filter.wants(&event), "{filter:?}");
        }
        assert!(of_kind("task.failed").may_want("task") && !of_kind("task.failed").may_want("run"));
        assert!(of_kind("*.failed").may_want("run") && EventFilter::default().may_want("host"));
    }
}

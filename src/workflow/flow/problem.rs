//! What is wrong with a document, said so that its author finds the place.

use std::fmt;

use serde_json::Value;

/// The most problems that are told at once: what follows from the first fifty is seldom worth reading.
pub const PROBLEMS_MAX: usize = 50;

/// The most edits between a word and the one that was probably meant.
const EDITS_MAX: usize = 2;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a JSON pointer, empty for the whole document.
    pub place: String,
    /// The line and the column, from 1, where the text is known: always for YAML, for JSON where it cannot be read.
    pub line_column: Option<(usize, usize)>,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.as_str(), self.line_column) {
            ("", None) => write!(f, "at the top: {}", self.message),
            ("", Some((line, column))) => write!(f, "at {line}:{column}: {}", self.message),
            (place, None) => write!(f, "at {place}: {}", self.message),
            (place, Some((line, column))) => write!(f, "at {place} ({line}:{column}): {}", self.message),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// A problem of the whole document.
    pub(super) fn top(message: impl Into<String>) -> Self {
        Self { place: String::new(), line_column: None, message: message.into() }
    }

    /// A problem of the text itself.
    pub(super) fn text(line_column: (usize, usize), message: impl Into<String>) -> Self {
        Self { place: String::new(), line_column: Some(line_column), message: message.into() }
    }
}

/// Problems of nodes because of one of their fields, with lines and columns where the document was read from YAML text: each the
/// node's place, the field and what is wrong.
#[must_use]
pub fn located<'f>(found: impl IntoIterator<Item = (String, &'f str, String)>, yaml: Option<&str>) -> Vec<Problem> {
    let mut problems = Problems::default();
    found.into_iter().for_each(|(place, field, message)| problems.push_in(&place, field, message));
    let tree = yaml.and_then(|text| super::yaml::read(text).ok());
    problems.located(|spot| tree.as_ref().and_then(|tree| tree.locate(spot)))
}

/// Problems as they are found, up to [`PROBLEMS_MAX`].
#[derive(Default)]
pub(super) struct Problems {
    found: Vec<Found>,
}

/// A problem, and the pointer of the very thing that is wrong, which its line and column are taken from.
struct Found {
    problem: Problem,
    spot: String,
}

impl Problems {
    /// Adds one.
    pub(super) fn push(&mut self, place: &str, message: impl Into<String>) {
        self.push_spot(place, place.to_owned(), message);
    }

    /// Adds one that names a node, because of something in it.
    pub(super) fn push_in(&mut self, place: &str, field: &str, message: impl Into<String>) {
        self.push_spot(place, below(place, field), message);
    }

    fn push_spot(&mut self, place: &str, spot: String, message: impl Into<String>) {
        if self.found.len() < PROBLEMS_MAX {
            let problem = Problem { place: place.to_owned(), line_column: None, message: message.into() };
            self.found.push(Found { problem, spot });
        }
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, with the lines and columns that `locate` knows.
    pub(super) fn located(self, locate: impl Fn(&str) -> Option<(usize, usize)>) -> Vec<Problem> {
        let located = |found: Found| Problem { line_column: locate(&found.spot), ..found.problem };
        self.found.into_iter().map(located).collect()
    }
}

/// The pointer of what is called `name` below `place`.
pub(super) fn below(place: &str, name: impl fmt::Display) -> String {
    format!("{place}/{}", name.to_string().replace('~', "~0").replace('/', "~1"))
}

/// ` (did you mean "task"?)`, or nothing.
pub(super) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default()
}

/// The known word that was probably meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long words are no slips, and the distance takes time with their length.
    if word.len() > 64 {
        return None;
    }
    let plain = word.to_ascii_lowercase().replace('-', "_");
    let distances = known.into_iter().map(|near| (strsim::osa_distance(&plain, near), near));
    let (edits, near) = distances.min_by_key(|(edits, _)| *edits)?;
    (edits <= EDITS_MAX && edits * 2 < near.len()).then_some(near)
}

/// A word of the document as a message shows it: quoted, and cut where it is long.
pub(super) fn quoted(word: &str) -> String {
    let shown: String = word.chars().take(80).collect();
    if shown.len() < word.len() { format!("{shown:?}...") } else { format!("{shown:?}") }
}

/// What a JSON value is, for people.
pub(super) const fn what(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_place() {
        let problem = Problem { place: "/flow/chain/2".to_owned(), line_column: None, message: "no".to_owned() };
        assert_eq!(problem.to_string(), "at /flow/chain/2: no");
        assert_eq!(Problem { line_column: Some((3, 7)), ..problem }.to_string(), "at /flow/chain/2 (3:7): no");
        assert_eq!(Problem::top("no").to_string(), "at the top: no");
        assert_eq!(Problem::text((1, 2), "no").to_string(), "at 1:2: no");
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["task", "chain", "group", "attempt_timeout"];
        for (word, near) in
            [("tsk", "task"), ("Task", "task"), ("cahin", "chain"), ("attempt-timeout", "attempt_timeout")]
        {
            assert_eq!(nearest(word, known), Some(near), "{word}");
        }
        for word in ["", "t", "frob", "x", &"task".repeat(40)] {
            assert_eq!(nearest(word, known), None, "{word}");
        }
    }

    #[test]
    fn pointers_escape_what_they_are_made_of() {
        assert_eq!(below("/a", "b/c~d"), "/a/b~1c~0d");
    }

    #[test]
    fn problems_are_bounded() {
        let mut problems = Problems::default();
        (0..100).for_each(|n| problems.push(&format!("/{n}"), "no"));
        assert_eq!(problems.located(|_| None).len(), PROBLEMS_MAX);
    }
}

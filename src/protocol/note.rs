//! What a guest says while it runs: log lines and progress, as JSON on subjects of the task.

use serde::{Deserialize, Serialize};

use crate::model::{HostId, Level, Queue, TaskRef, Timestamp};

/// A line of a guest's log, on `lvg.<t>.log.<key>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the guest wrote it, by the host's clock.
    pub at: Timestamp,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// How loud.
    pub level: Level,
    /// The text, as the guest wrote it: escape it before a terminal sees it.
    pub message: String,
}

/// How far a guest is, on `lvg.<t>.ev.progress.<key>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// The attempt.
    pub attempt: u32,
    /// What is done, in the guest's own unit.
    pub done: f64,
    /// Of how much, if the guest knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// A word of the guest's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// That a guest begins, on `lvg.<t>.ev.running.<key>`: said only while somebody looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// When, by the host's clock.
    pub at: Timestamp,
    /// The attempt.
    pub attempt: u32,
    /// Where.
    pub host: HostId,
    /// What is called.
    pub task: TaskRef,
    /// The queue that it came from.
    pub queue: Queue,
}

/// The text with control characters made visible, so that a guest cannot drive the terminal that shows it. Tabs stay.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let visible: Box<dyn Iterator<Item = char>> = match c {
                '\t' => Box::new(std::iter::once(c)),
                // Bidirectional controls reorder what follows them on the screen.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Box::new(c.escape_unicode()),
                c if c.is_control() => Box::new(c.escape_default()),
                c => Box::new(std::iter::once(c)),
            };
            visible
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_have_a_stable_form() {
        let line = LogLine { at: Timestamp::from_millis(1), attempt: 1, level: Level::Warn, message: "hm".into() };
        assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"at":1,"attempt":1,"level":"warn","message":"hm"}"#);
        let progress = Progress { at: Timestamp::from_millis(1), attempt: 1, done: 1.0, total: Some(4.0), note: None };
        assert_eq!(serde_json::to_string(&progress).unwrap(), r#"{"at":1,"attempt":1,"done":1.0,"total":4.0}"#);
    }

    #[test]
    fn a_guest_cannot_drive_a_terminal() {
        assert_eq!(printable("a\tb\x1b[2J\r\u{202e}ü"), "a\tb\\u{1b}[2J\\r\\u{202e}ü");
    }
}

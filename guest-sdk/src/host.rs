//! What every task may ask of its host.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::wire;

/// Which attempt of which task this is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct Attempt {
    /// The id of the submitted task, the same for all its attempts.
    pub task_id: String,
    /// The name of the task in its module.
    pub task: String,
    /// Whose task it is.
    pub tenant: String,
    /// The number of this attempt, from 1.
    pub number: u32,
    /// The same for every attempt and delivery of this task: hand it to services that recognise
    /// repeated requests.
    pub idempotency_key: String,
    /// The run that the task is a step of.
    pub run_id: Option<String>,
    /// The step's id in the run.
    pub step: Option<String>,
    /// Milliseconds that were left until the deadline when the attempt began.
    pub deadline_ms: Option<f64>,
    /// The labels of the task, in the order of its submission.
    pub labels: Vec<(String, String)>,
}

impl Attempt {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The time that was left until the deadline when the attempt began.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
    }
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every detail, to follow one attempt.
    Trace,
    /// What its author looks for.
    Debug,
    /// What its user wants to know.
    Info,
    /// Odd, but the task goes on.
    Warn,
    /// Why the task fails.
    Error,
}

/// The attempt that is being made.
pub fn attempt() -> &'static Attempt {
    static ATTEMPT: OnceLock<Attempt> = OnceLock::new();
    ATTEMPT.get_or_init(wire::attempt)
}

/// Writes a line to the attempt's log; the macros [`info!`](crate::info) and so on are shorter.
pub fn log(level: Level, message: fmt::Arguments<'_>) {
    match message.as_str() {
        Some(message) => wire::log(level, message),
        None => wire::log(level, &message.to_string()),
    }
}

/// Tells how far the task is: `done` of `total`, in any unit, with a word on what is being done.
///
/// ```
/// # use lovage_guest::progress;
/// progress(3.0, 10.0, "resized 3 photos");
/// progress(3.0, None, None);
/// ```
pub fn progress<'n>(done: f64, total: impl Into<Option<f64>>, note: impl Into<Option<&'n str>>) {
    wire::progress(done, total.into(), note.into());
}

/// Whether somebody has cancelled the task. A long task asks now and then and returns early; its
/// output is then ignored.
pub fn is_cancelled() -> bool {
    wire::is_cancelled()
}

/// Logs a line at [`Level::Trace`], as `println!` would print it.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log($crate::Level::Trace, ::core::format_args!($($message)+)) };
}

/// Logs a line at [`Level::Debug`], as `println!` would print it.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log($crate::Level::Debug, ::core::format_args!($($message)+)) };
}

/// Logs a line at [`Level::Info`], as `println!` would print it.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log($crate::Level::Info, ::core::format_args!($($message)+)) };
}

/// Logs a line at [`Level::Warn`], as `println!` would print it.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log($crate::Level::Warn, ::core::format_args!($($message)+)) };
}

/// Logs a line at [`Level::Error`], as `println!` would print it.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log($crate::Level::Error, ::core::format_args!($($message)+)) };
}

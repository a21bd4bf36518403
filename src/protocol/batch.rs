//! Batches: the lines of a file, each of which is a task, and the record on `lvg.<t>.batch.<id>` of how far its sending is.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::subject::{PRIORITY_DEFAULT, Priority};
use super::{Rejection, versioned};
use crate::model::signature::{LABELS_MAX, Options, Wanted, parse_label};
use crate::model::time::{InvalidTime, parse_duration, parse_span};
use crate::model::{Labels, Policy, Queue, RunId, Signature, TaskRef, Tenant, Timestamp};

/// The version of the record that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// The label of the tasks of a batch: its id.
pub const BATCH_LABEL: &str = "batch";

/// How far the sending of a batch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecord {
    /// The version of this form.
    pub v: u32,
    /// The batch.
    pub id: RunId,
    /// Its tasks.
    pub tasks: u64,
    /// Those that the broker has, from the first one on without a gap.
    pub sent: u64,
    /// When it was begun.
    pub begun: Timestamp,
}

impl BatchRecord {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("batch record", RECORD_VERSION, body)
    }

    /// Whether the broker has all of it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.sent >= self.tasks
    }
}

/// `lvg.<t>.batch.<id>`: the record of a batch.
#[must_use]
pub fn subject(tenant: &Tenant, id: &RunId) -> String {
    format!("lvg.{tenant}.batch.{id}")
}

/// `lvg.<t>.batch.*`: all batches of a tenant.
#[must_use]
pub fn all(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.batch.*")
}

/// The id of the task at a place of a batch, from 0.
#[must_use]
pub fn task_of(tenant: &Tenant, batch: &RunId, place: u64) -> RunId {
    RunId::derived(&["batch task", tenant.as_str(), batch.as_str(), &place.to_string()])
}

/// What holds for the lines that say nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// The task of each line: then a line is an input, and nothing else.
    pub task: Option<TaskRef>,
    /// How each is called.
    pub options: Options,
    /// How long each is wanted.
    pub wanted: Wanted,
    /// Its queue.
    pub queue: Option<Queue>,
    /// Its priority there.
    pub priority: Option<Priority>,
    /// How long it waits before it is queued.
    pub delay: Option<Duration>,
    /// When it is queued, where it does not wait for a delay.
    pub due: Option<Timestamp>,
}

/// A task of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What to call; how long it is wanted is not among its options.
    pub signature: Signature,
    /// How long each is wanted.
    pub wanted: Wanted,
    /// Its queue.
    pub queue: Queue,
    /// Its priority there.
    pub priority: Priority,
    /// How long it waits before it is queued.
    pub delay: Option<Duration>,
    /// When it is queued, where it does not wait for a delay.
    pub due: Option<Timestamp>,
}

/// A line that says all by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole<'a> {
    task: TaskRef,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    queue: Option<Queue>,
    priority: Option<u8>,
    retry: Option<Policy>,
    delay: Option<String>,
    expires: Option<String>,
    timeout: Option<String>,
    idempotency_key: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    requires: BTreeMap<String, String>,
}

impl Defaults {
    /// Reads a line.
    ///
    /// # Errors
    /// Why it is no task, in a sentence.
    pub fn read(&self, line: &str) -> Result<Entry, String> {
        if let Some(task) = &self.task {
            // The batch's own is among them when it is sent.
            room_for_own(&self.options.labels)?;
            let input: &RawValue = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
            let signature = Signature { options: self.options.clone(), ..signature(task.clone(), Some(input)) };
            let queue = self.queue.clone().unwrap_or_else(Queue::default_queue);
            let priority = self.priority.unwrap_or(PRIORITY_DEFAULT);
            return Ok(Entry { signature, wanted: self.wanted, queue, priority, delay: self.delay, due: self.due });
        }
        let whole: Whole<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let mut signature = Signature { options: self.options.clone(), ..signature(whole.task, whole.input) };
        let options = &mut signature.options;
        if let Some(retry) = whole.retry {
            options.retry = retry;
        }
        if whole.idempotency_key.is_some() {
            options.idempotency_key = whole.idempotency_key;
        }
        for (key, value) in whole.labels {
            options.labels.extend([label(&key, &value)?]);
        }
        for (key, value) in whole.requires {
            options.requires.extend([label(&key, &value).map_err(|problem| format!("requires: {problem}"))?]);
        }
        if options.requires.len() > LABELS_MAX {
            return Err(format!("requires: a task takes up to {LABELS_MAX} labels"));
        }
        room_for_own(&options.labels)?;
        let named = |name: &'static str| move |error: InvalidTime| format!("{name}: {error}");
        let span = |text: Option<String>| text.map(|text| parse_span(&text)).transpose();
        let delay = whole.delay.map(|text| parse_duration(&text)).transpose().map_err(named("delay"))?.or(self.delay);
        let expires = span(whole.expires).map_err(named("expires"))?.or(self.wanted.expires);
        let timeout = span(whole.timeout).map_err(named("timeout"))?.or(self.wanted.timeout);
        let queue = whole.queue.or_else(|| self.queue.clone()).unwrap_or_else(Queue::default_queue);
        let priority = |number: u8| Priority::new(number).ok_or("priority: it takes a number from 0 to 9, 9 first");
        let priority = whole.priority.map(priority).transpose()?.or(self.priority).unwrap_or(PRIORITY_DEFAULT);
        let wanted = Wanted { expires, timeout };
        Ok(Entry { signature, wanted, queue, priority, delay, due: self.due })
    }
}

/// A label of a line, which must read back as the same.
fn label(key: &str, value: &str) -> Result<(String, String), String> {
    let (read, value) = parse_label(&format!("{key}={value}")).map_err(|error| error.to_string())?;
    if read == key { Ok((read, value)) } else { Err(format!("a label's name takes no =: {key:?}")) }
}

/// One label is the batch's own.
fn room_for_own(labels: &Labels) -> Result<(), String> {
    if labels.len() < LABELS_MAX || labels.contains_key(BATCH_LABEL) {
        return Ok(());
    }
    Err(format!("a task of a batch takes up to {} labels", LABELS_MAX - 1))
}

fn signature(task: TaskRef, input: Option<&RawValue>) -> Signature {
    let input = input.map_or("null", RawValue::get);
    Signature::new(task, Bytes::copy_from_slice(input.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;
    use proptest::prelude::*;

    #[test]
    fn a_record_has_a_golden_form() {
        let id = RunId::derived(&["x"]);
        let record = BatchRecord { v: 1, id: id.clone(), tasks: 3, sent: 2, begun: Timestamp::from_millis(5) };
        assert_eq!(record.encode(), format!(r#"{{"v":1,"id":"{id}","tasks":3,"sent":2,"begun":5}}"#));
        assert_eq!(BatchRecord::decode(&record.encode()), Ok(record));
        assert!(BatchRecord::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err().to_string().contains("update it"));
    }

    #[test]
    fn a_line_is_an_input_or_a_whole_task() {
        let inputs = Defaults { task: Some("m/t".parse().unwrap()), ..Defaults::default() };
        let entry = inputs.read(r#" {"a": 1.50} "#).unwrap();
        assert_eq!(entry.signature.input, Value::Inline(r#"{"a": 1.50}"#.into()), "as it was written");
        assert_eq!(entry.queue, Queue::default_queue());
        let line = r#"{"task":"m@1/t","input":[1],"queue":"q","retry":7,"delay":"5s","expires":"1m","timeout":"9m","idempotency_key":"k","labels":{"a":"1"}}"#;
        let entry = Defaults::default().read(line).unwrap();
        assert_eq!((entry.signature.task.to_string(), entry.queue.as_str()), ("m@1/t".to_owned(), "q"));
        let minutes = |count: u64| Some(Duration::from_secs(60 * count));
        assert_eq!(entry.delay, Some(Duration::from_secs(5)));
        assert_eq!(entry.wanted, Wanted { expires: minutes(1), timeout: minutes(9) });
        assert_eq!((entry.signature.options.retry.attempts, entry.signature.options.labels["a"].as_str()), (7, "1"));
        let defaults =
            Defaults { delay: Some(Duration::from_secs(9)), queue: Some("d".parse().unwrap()), ..Defaults::default() };
        let entry = defaults.read(r#"{"task":"m/t"}"#).unwrap();
        assert_eq!((entry.delay, entry.queue.as_str()), (Some(Duration::from_secs(9)), "d"));
        assert_eq!(entry.signature.input, Value::Inline("null".into()));
    }

    #[test]
    fn what_is_no_task_says_why() {
        let labels: BTreeMap<String, String> = (0..16).map(|n| (format!("k{n}"), String::new())).collect();
        let many = serde_json::json!({"task": "m/t", "labels": labels}).to_string();
        for (line, words) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("{}", "missing field `task`"),
            (r#"{"task":"m"}"#, "module/task"),
            (r#"{"task":"m/t","quue":"q"}"#, "unknown field `quue`"),
            (r#"{"task":"m/t","queue":"Q.x"}"#, "a-z"),
            (r#"{"task":"m/t","delay":"-5s"}"#, "delay: "),
            (r#"{"task":"m/t","expires":"400d"}"#, "expires: "),
            (r#"{"task":"m/t","timeout":"0s"}"#, "timeout: "),
            (r#"{"task":"m/t","retry":0}"#, "1 to 1000"),
            (r#"{"task":"m/t","priority":10}"#, "priority: it takes a number from 0 to 9"),
            (r#"{"task":"m/t","requires":{"a,b":"c"}}"#, "requires: "),
            (r#"{"task":"m/t","labels":{"a,b":"c"}}"#, "key=value"),
            (many.as_str(), "up to 15 labels"),
            (r#"{"task":"m/t"} x"#, "trailing"),
        ] {
            let error = Defaults::default().read(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
        let inputs = Defaults { task: Some("m/t".parse().unwrap()), ..Defaults::default() };
        assert!(inputs.read("[1,").unwrap_err().contains("no JSON"));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(line in "\\PC{0,60}") {
            drop(Defaults::default().read(&line));
        }
    }
}

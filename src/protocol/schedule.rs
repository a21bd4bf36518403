//! The record of a schedule on `lvg.<t>.schedule.<name>`, as JSON: what starts, when, and how far it is. One message, which is only
//! ever replaced by compare-and-set.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::subject::Priority;
use super::task::TaskMessage;
use super::{Headers, Rejection, versioned};
use crate::model::schedule::{Calendar, Course, Paused, Progress, Rules, Slot, Unfit, When, calendar};
use crate::model::signature::Wanted;
use crate::model::time::written;
use crate::model::{FlowName, Queue, RunId, ScheduleName, Signature, Tenant, Timestamp, Value, Version, Word};

/// The version of the form that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// The largest input of what a schedule starts: it is stored in the schedule itself, which each slot rewrites.
pub const INPUT_BYTES_MAX: usize = 128 << 10;

/// The label of what a schedule started: its name.
pub const SCHEDULE_LABEL: &str = "schedule";

/// The label of what a schedule started: the slot.
pub const SLOT_LABEL: &str = "slot";

/// A schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// What tells it from an earlier one of this name.
    pub life: Word,
    /// When it was made.
    pub created: Timestamp,
    /// When it starts something.
    pub rules: Rules,
    /// What it starts.
    pub what: What,
    /// Whether it is paused.
    pub paused: Option<Paused>,
    /// How far it is.
    pub progress: Progress,
}

/// What a schedule starts.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A task; its version is decided at each start.
    Task(Box<Call>),
    /// A run of a stored flow.
    Flow {
        /// The flow.
        name: FlowName,
        /// Its version; the latest at each start where none is named.
        version: Option<Version>,
        /// What the run receives: JSON.
        input: Option<Bytes>,
        /// For people and searches.
        labels: BTreeMap<String, String>,
    },
}

/// A task that a schedule starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The task, its input and its options, without how long it is wanted.
    pub signature: Signature,
    /// How long it is wanted, counted from each start.
    pub wanted: Wanted,
    /// The queue that it waits in.
    pub queue: Queue,
    /// Its priority there.
    pub priority: Priority,
}

/// What is stored under a schedule's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Stored {
    /// A schedule.
    There(Box<Schedule>),
    /// It was removed.
    Removed,
}

/// The record as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    v: u32,
    name: ScheduleName,
    life: Word,
    created: Timestamp,
    rules: Rules,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<FlowForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    progress: Progress,
}

/// A task as its message has it: headers and body.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskForm {
    queue: Queue,
    priority: u8,
    headers: BTreeMap<String, String>,
    input: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Written>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Written>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowForm {
    name: FlowName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

/// A duration as people write it.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Written(#[serde(with = "written")] Duration);

/// A removed schedule.
#[derive(Serialize, Deserialize)]
struct Gone {
    v: u32,
    removed: bool,
}

impl Schedule {
    /// The body of its record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (task, flow) = match &self.what {
            What::Task(call) => (Some(TaskForm::of(call)), None),
            What::Flow { name, version, input, labels } => {
                let input = input.as_ref().map(|input| String::from_utf8_lossy(input).into_owned());
                (None, Some(FlowForm { name: name.clone(), version: version.clone(), input, labels: labels.clone() }))
            }
        };
        let form = Form {
            v: RECORD_VERSION,
            name: self.name.clone(),
            life: self.life.clone(),
            created: self.created,
            rules: self.rules.clone(),
            task,
            flow,
            paused: self.paused.clone(),
            progress: self.progress.clone(),
        };
        serde_json::to_vec(&form).unwrap_or_default().into()
    }

    /// The id of what a slot starts.
    #[must_use]
    pub fn id(&self, tenant: &Tenant, slot: &Slot) -> RunId {
        slot.id(tenant, &self.name, &self.life)
    }

    /// Its slots.
    ///
    /// # Errors
    /// Rules that this program cannot follow.
    pub fn calendar(&self) -> Result<Calendar, Unfit> {
        Calendar::new(&self.rules.when)
    }

    /// What it goes by.
    #[must_use]
    pub fn course<'a>(&'a self, calendar: &'a Calendar) -> Course<'a> {
        Course { calendar, rules: &self.rules, paused: self.paused.is_some(), seed: self.life.as_str() }
    }

    /// The zone whose clocks it goes by.
    #[must_use]
    pub fn zone(&self) -> &str {
        match &self.rules.when {
            When::Cron { zone, .. } => zone,
            When::Every { .. } | When::Once { .. } => calendar::ZONE_DEFAULT,
        }
    }
}

impl Stored {
    /// The body that stands for a removed schedule.
    #[must_use]
    pub fn removed() -> Bytes {
        serde_json::to_vec(&Gone { v: RECORD_VERSION, removed: true }).unwrap_or_default().into()
    }

    /// Reads what is stored under a schedule's name.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        const WHAT: &str = "schedule record";
        if let Ok(gone) = versioned::read::<Gone>(WHAT, RECORD_VERSION, body)
            && gone.removed
        {
            return Ok(Self::Removed);
        }
        let form: Form = versioned::read(WHAT, RECORD_VERSION, body)?;
        let what = match (form.task, form.flow) {
            (Some(task), None) => What::Task(Box::new(task.read()?)),
            (None, Some(FlowForm { name, version, input, labels })) => {
                What::Flow { name, version, input: input.map(Bytes::from), labels }
            }
            _ => return Err(Rejection::new(WHAT, "it takes either a task or a flow")),
        };
        let Form { name, life, created, rules, paused, progress, .. } = form;
        Ok(Self::There(Box::new(Schedule { name, life, created, rules, what, paused, progress })))
    }
}

impl TaskForm {
    fn of(call: &Call) -> Self {
        let (headers, body) = TaskMessage::first(call.signature.clone()).encode();
        Self {
            queue: call.queue.clone(),
            priority: call.priority.number(),
            headers: headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            input: String::from_utf8_lossy(&body).into_owned(),
            expires: call.wanted.expires.map(Written),
            timeout: call.wanted.timeout.map(Written),
        }
    }

    fn read(self) -> Result<Call, Rejection> {
        let headers: Headers = self.headers.into_iter().collect();
        let message = TaskMessage::decode(&headers, &Bytes::from(self.input))?;
        if matches!(message.signature.input, Value::Stored { .. }) {
            return Err(Rejection::new("input", "that of a schedule stands in the schedule itself"));
        }
        let priority = Priority::new(self.priority).ok_or_else(|| Rejection::new("priority", "it takes 0 to 9"))?;
        let duration = |written: Option<Written>| written.map(|Written(duration)| duration);
        let wanted = Wanted { expires: duration(self.expires), timeout: duration(self.timeout) };
        Ok(Call { signature: message.signature, wanted, queue: self.queue, priority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schedule::{Begun, Cause, Overlap, Stage, Waiting};
    use crate::protocol::subject::PRIORITY_DEFAULT;
    use proptest::prelude::*;

    fn schedule(what: What) -> Schedule {
        let when = When::Cron { expression: "30 2 * * *".to_owned(), zone: "Europe/Berlin".to_owned() };
        let rules = Rules {
            when,
            overlap: Overlap::Queue,
            catch_up: Duration::from_secs(600),
            jitter: Duration::from_secs(30),
            until: Some(Timestamp::from_millis(9_000)),
        };
        let mut progress = Progress::new(Timestamp::from_millis(2));
        let slot = |at, cause| Slot { at: Timestamp::from_millis(at), cause };
        let refused = Stage::Refused("no".to_owned());
        let decided = Timestamp::from_millis(3);
        let begun = |at, stage| Begun { slot: slot(at, Cause::Slot), decided, stage };
        progress.recent = [begun(1, refused), begun(2, Stage::Open)].into();
        let asked = slot(2, Cause::Backfill("a".parse().unwrap()));
        progress.waiting = [Waiting { slot: asked, overlap: Overlap::Allow }].into();
        progress.started = 2;
        Schedule {
            name: "nightly".parse().unwrap(),
            life: "01jd".parse().unwrap(),
            created: Timestamp::from_millis(1),
            rules,
            what,
            paused: Some(Paused { since: Timestamp::from_millis(4), note: "moving".to_owned() }),
            progress,
        }
    }

    fn task() -> What {
        let mut signature = Signature::new("reports@2/build".parse().unwrap(), "{\"ä\":1}");
        signature.options.retry = crate::model::Policy::of_attempts(7);
        let call = Call {
            signature,
            wanted: Wanted { expires: Some(Duration::from_secs(60)), timeout: Some(Duration::from_secs(90)) },
            queue: "slow".parse().unwrap(),
            priority: PRIORITY_DEFAULT,
        };
        What::Task(Box::new(call))
    }

    #[test]
    fn records_have_a_golden_form() {
        let flow = What::Flow {
            name: "nightly".parse().unwrap(),
            version: None,
            input: Some(Bytes::from_static(b"[1]")),
            labels: [("team".to_owned(), "data".to_owned())].into(),
        };
        let golden = include_str!("../../tests/golden/schedule-v1.jsonl");
        let written = [task(), flow].map(|what| schedule(what).encode());
        let text: String = written.iter().map(|body| format!("{}\n", String::from_utf8_lossy(body))).collect();
        assert_eq!(text, golden);
        for (line, body) in golden.lines().zip(written) {
            let Ok(Stored::There(read)) = Stored::decode(&Bytes::from_static(line.as_bytes())) else {
                panic!("{line}")
            };
            assert_eq!(read.encode(), body);
        }
        assert_eq!(Stored::decode(&Stored::removed()), Ok(Stored::Removed));
        assert_eq!(Stored::removed(), r#"{"v":1,"removed":true}"#);
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let good = String::from_utf8(schedule(task()).encode().to_vec()).unwrap();
        for (from, to, problem) in [
            ("\"v\":1", "\"v\":2", "update it"),
            ("\"priority\":5", "\"priority\":10", "0 to 9"),
            ("\"task\":", "\"job\":", "unknown field"),
            ("reports@2/build", "reports", "module/task"),
            ("\"overlap\":\"queue\"", "\"overlap\":\"both\"", "both"),
            ("\"catch_up\":\"10m\"", "\"catch_up\":\"-1s\"", "duration"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let error = Stored::decode(&Bytes::from(bad)).unwrap_err().to_string();
            assert!(error.contains(problem), "{to}: {error}");
        }
        assert!(Stored::decode(&Bytes::from_static(b"{\"v\":1}")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(cut in 0..700_usize, byte in any::<u8>()) {
            let mut body = schedule(task()).encode().to_vec();
            if let Some(place) = body.get_mut(cut) {
                *place = byte;
            }
            drop(Stored::decode(&Bytes::from(body)));
        }
    }
}

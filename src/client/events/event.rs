//! One event, as it is read from what the platform stores or says anyway: nothing is published for it alone, but what hosts
//! say of themselves.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::broker::Message;
use crate::model::lifecycle::{About, Record, Settled, Usage};
use crate::model::step_life::StepEnd;
use crate::model::{Failure, FlowName, HostId, Queue, RunId, TaskKey, TaskRef, Timestamp};
use crate::protocol::host::HostNews;
use crate::protocol::note::{Progress, Running};
use crate::protocol::schedule::Stored;
use crate::protocol::subject::{RecordName, RecordSubject, TaskSubject};
use crate::protocol::task::TaskMessage;
use crate::protocol::webhook::DeliveryRecord;
use crate::protocol::{record, step};
use crate::workflow::wire::Entry;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Event {
    /// When, by the broker's clock; by the host's where a host or a guest says it.
    #[serde(serialize_with = "written")]
    pub at: Timestamp,
    /// What, as in `task.succeeded`.
    pub kind: String,
    /// Of which task, run, host or schedule.
    pub id: String,
    /// What was called, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskRef>,
    /// The queue of the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// The run, or the one that the step belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The flow of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<FlowName>,
    /// Labels of the task or the run.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// The attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What it failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Json>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Json::is_null")]
    pub detail: Json,
}

fn written<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

impl Event {
    /// The event that a stored message, or one that was heard, stands for; `None` where it stands for none, or cannot be read.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        let mut tokens = message.subject.splitn(4, '.').skip(2);
        let (kind, id) = (tokens.next()?, tokens.next()?);
        let event = match kind {
            "res" => Self::of_record(id, message)?,
            "index" => Self::of_run(&Entry::decode(&message.payload).ok()?),
            "run" => Self::of_step(message)?,
            "schedule" => Self::of_schedule(id, &Stored::decode(&message.payload).ok()?),
            "task" => Self::of_queued(message)?,
            "sched" => Self { kind: "task.scheduled".to_owned(), id: id.to_owned(), ..Self::of_message(message)? },
            "ev" => Self::of_news(id, message)?,
            _ => return None,
        };
        Some(Self { at: if event.at == Timestamp::default() { message.time } else { event.at }, ..event })
    }

    fn of_record(id: &str, message: &Message) -> Option<Self> {
        Some(match record::decode(&message.headers, &message.payload).ok()? {
            Record::Retrying { next, due, failure, .. } => Self {
                kind: "task.retrying".to_owned(),
                id: id.to_owned(),
                attempt: Some(next),
                failure: Some(json!(failure)),
                detail: json!({"due": due.to_string()}),
                ..Self::default()
            },
            Record::Settled(Settled { end, usage }) => {
                let failure = end.failure();
                Self { id: id.to_owned(), ..Self::of_usage("task", end.state().as_str(), usage, failure) }
            }
        })
    }

    fn of_usage(what: &str, state: &str, usage: Usage, failure: Option<Failure>) -> Self {
        let Usage { attempt, host, fuel, memory_bytes, duration_us, about, .. } = usage;
        let took = json!({"fuel": fuel, "memory_bytes": memory_bytes, "duration_us": duration_us});
        let About { task, queue, labels } = about.map(|about| *about).unwrap_or_default();
        Self {
            kind: format!("{what}.{state}"),
            task,
            queue,
            labels,
            host,
            attempt: Some(attempt).filter(|attempt| *attempt > 0),
            failure: failure.map(|failure| json!(failure)),
            detail: if attempt > 0 { took } else { Json::Null },
            ..Self::default()
        }
    }

    fn of_run(entry: &Entry) -> Self {
        Self {
            kind: format!("run.{}", entry.state),
            id: entry.run.to_string(),
            run: Some(entry.run.clone()),
            flow: entry.flow.clone(),
            labels: entry.labels.clone(),
            failure: entry.failure.as_ref().map(|failure| json!(failure)),
            detail: entry.reason.as_ref().map_or(Json::Null, |reason| json!({"reason": reason})),
            ..Self::default()
        }
    }

    fn of_step(message: &Message) -> Option<Self> {
        let RecordSubject { run, record: RecordName::Step { step, .. }, .. } = RecordSubject::read(&message.subject)?
        else {
            return None;
        };
        let outcome = step::decode(&message.headers, &message.payload).ok()?;
        let state = outcome.end.as_str();
        let failure = match outcome.end {
            StepEnd::Failed(failure) => Some(failure),
            StepEnd::Succeeded(_) | StepEnd::Replaced(_) => None,
        };
        let id = format!("{run}/{step}");
        Some(Self { id, run: Some(run), ..Self::of_usage("step", state, outcome.usage, failure) })
    }

    fn of_schedule(name: &str, stored: &Stored) -> Self {
        let (kind, detail) = match stored {
            Stored::Removed => ("schedule.removed", Json::Null),
            Stored::There(schedule) => match &schedule.paused {
                Some(paused) => ("schedule.paused", json!({"note": paused.note})),
                None => ("schedule.changed", Json::Null),
            },
        };
        Self { kind: kind.to_owned(), id: name.to_owned(), detail, ..Self::default() }
    }

    fn of_message(message: &Message) -> Option<Self> {
        let TaskMessage { signature, attempt, .. } = TaskMessage::decode(&message.headers, &message.payload).ok()?;
        let (task, labels) = (Some(signature.task), signature.options.labels);
        Some(Self { task, labels, attempt: Some(attempt), ..Self::default() })
    }

    fn of_queued(message: &Message) -> Option<Self> {
        let TaskSubject { queue, key, .. } = TaskSubject::read(&message.subject)?;
        let (kind, id, run) = of_key(&key, "queued");
        Some(Self { kind, id, run, queue: Some(queue), ..Self::of_message(message)? })
    }

    /// What hosts and guests say: `<what>.<of which>`.
    fn of_news(rest: &str, message: &Message) -> Option<Self> {
        let (what, key) = rest.split_once('.')?;
        let body = &message.payload;
        match what {
            "progress" => {
                let Progress { at, attempt, done, total, note } = serde_json::from_slice(body).ok()?;
                let (kind, id, run) = of_key(&TaskKey::read(key)?, "progress");
                let detail = json!({"done": done, "total": total, "note": note});
                Some(Self { at, kind, id, run, attempt: Some(attempt), detail, ..Self::default() })
            }
            "running" => {
                let Running { at, attempt, host, task, queue } = serde_json::from_slice(body).ok()?;
                let (kind, id, run) = of_key(&TaskKey::read(key)?, "running");
                let (task, queue, host, attempt) = (Some(task), Some(queue), Some(host), Some(attempt));
                Some(Self { at, kind, id, run, task, queue, host, attempt, ..Self::default() })
            }
            "handback" => {
                let (kind, id, run) = of_key(&TaskKey::read(key)?, "handed_back");
                Some(Self { kind, id, run, ..Self::default() })
            }
            "delivery" => {
                let DeliveryRecord { at, attempt, state, status, reason, kind: of, id: told, .. } =
                    serde_json::from_slice(body).ok()?;
                let kind = format!("webhook.{}", state.as_str());
                let detail = json!({"of": of, "id": told, "status": status, "reason": reason});
                Some(Self { at, kind, id: key.to_owned(), attempt: Some(attempt), detail, ..Self::default() })
            }
            "host" => {
                let HostNews { at, what, name, labels } = serde_json::from_slice(body).ok()?;
                let (kind, host) = (format!("host.{}", what.as_str()), key.parse().ok());
                Some(Self {
                    at,
                    kind,
                    id: key.to_owned(),
                    host,
                    labels,
                    detail: json!({"name": name}),
                    ..Self::default()
                })
            }
            _ => None,
        }
    }

    /// A host that is not heard of any more, and did not say that it leaves.
    pub(super) fn host_lost(id: HostId, at: Timestamp) -> Self {
        Self { at, kind: "host.lost".to_owned(), id: id.to_string(), host: Some(id), ..Self::default() }
    }
}

/// Kind, id and run of something that happened to a task or to an attempt of a step.
fn of_key(key: &TaskKey, what: &str) -> (String, String, Option<RunId>) {
    match key {
        TaskKey::Single(id) => (format!("task.{what}"), id.to_string(), None),
        TaskKey::Step(step) => (format!("step.{what}"), format!("{}/{}", step.run, step.step), Some(step.run.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lifecycle::End;
    use crate::model::{Kind, Signature};
    use crate::protocol::Headers;
    use bytes::Bytes;

    fn message(subject: &str, (headers, payload): (Headers, Bytes)) -> Message {
        let time = Timestamp::from_millis(5);
        Message { subject: subject.to_owned(), headers, payload, time, ..Message::default() }
    }

    fn about() -> Option<Box<About>> {
        let labels = BTreeMap::from([("team".to_owned(), "a b".to_owned())]);
        Some(Box::new(About { task: "m/t".parse().ok(), queue: "q".parse().ok(), labels }))
    }

    #[test]
    fn an_outcome_says_of_what_it_is() {
        let usage = Usage { attempt: 2, delivery: 1, host: "h".parse().ok(), about: about(), ..Usage::default() };
        let end = End::Failed(Failure::new(Kind::Returned, "no"));
        let event =
            Event::of(&message("lvg.t.res.x", record::encode(&Record::Settled(Settled { end, usage })))).unwrap();
        assert_eq!((event.kind.as_str(), event.id.as_str(), event.attempt), ("task.failed", "x", Some(2)));
        assert_eq!(event.task, "m/t".parse().ok());
        assert_eq!((event.queue, event.labels["team"].as_str()), ("q".parse().ok(), "a b"));
        assert_eq!((event.at, &event.failure.unwrap()["message"]), (Timestamp::from_millis(5), &json!("no")));
        let next = Record::Retrying {
            next: 3,
            due: Timestamp::default(),
            failure: Failure::new(Kind::Trap, "no"),
            tried: Vec::new(),
        };
        let event = Event::of(&message("lvg.t.res.x", record::encode(&next))).unwrap();
        assert_eq!((event.kind.as_str(), event.attempt), ("task.retrying", Some(3)));
    }

    #[test]
    fn tasks_and_steps_are_told_apart() {
        let signature = Signature::new("m/t".parse().unwrap(), "1");
        let queued = TaskMessage::first(signature).encode();
        let single = Event::of(&message("lvg.t.task.q.5.x", queued.clone())).unwrap();
        assert_eq!((single.kind.as_str(), single.id.as_str(), single.run), ("task.queued", "x", None));
        let of_step = Event::of(&message("lvg.t.task.q.5.01jd0000000000000000000000.0-1.1", queued)).unwrap();
        assert_eq!((of_step.kind.as_str(), of_step.id.as_str()), ("step.queued", "01jd0000000000000000000000/0-1"));
        assert_eq!(of_step.run, "01jd0000000000000000000000".parse().ok());
    }

    #[test]
    fn what_strangers_say_is_no_event() {
        for subject in
            ["lvg", "lvg.t.ev.progress.x", "lvg.t.ev.other.x", "lvg.t.ev.x", "lvg.t.res.x", "lvg.t.index.x", "x"]
        {
            assert_eq!(Event::of(&message(subject, (Headers::new(), Bytes::from_static(b"{]")))), None, "{subject}");
        }
    }
}

//! Hosts as the tools of NATS see services (ADR-32): answers to `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, so that
//! `nats micro ls`, `info` and `stats` know them. Each queue that a host serves is an endpoint.

use serde_json::{Value as Json, json};

use super::host::{Done, HostDetail, HostRecord};
use super::queue::consumer_name;
use super::subject::{Band, queue_tasks};
use crate::model::{HostId, Queue};

/// The name of the service: one for all hosts.
pub const SERVICE: &str = "lovage-host";

/// What is asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Are you there?
    Ping,
    /// What do you offer?
    Info,
    /// What have you done?
    Stats,
}

/// The subjects on which a host is asked: all services, all hosts, this host.
#[must_use]
pub fn subjects(id: &HostId) -> [String; 3] {
    ["$SRV.*".to_owned(), format!("$SRV.*.{SERVICE}"), format!("$SRV.*.{SERVICE}.{id}")]
}

impl Verb {
    /// Reads the subject of a question.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        match subject.split('.').nth(1)? {
            "PING" => Some(Self::Ping),
            "INFO" => Some(Self::Info),
            "STATS" => Some(Self::Stats),
            _ => None,
        }
    }

    /// What a host answers.
    #[must_use]
    pub fn answer(self, detail: &HostDetail) -> Json {
        let HostRecord { id, version, .. } = &detail.host;
        let mut answer = json!({"name": SERVICE, "id": id, "version": version, "metadata": metadata(&detail.host)});
        let more = match self {
            Self::Ping => json!({"type": "io.nats.micro.v1.ping_response"}),
            Self::Info => json!({
                "type": "io.nats.micro.v1.info_response",
                "description": "runs tasks that are compiled to WebAssembly",
                "endpoints": endpoints(detail, |_| json!({})),
            }),
            Self::Stats => json!({
                "type": "io.nats.micro.v1.stats_response",
                "started": detail.host.started.to_string(),
                "endpoints": endpoints(detail, |queue| numbers(detail.done.get(queue))),
            }),
        };
        merge(&mut answer, more);
        answer
    }
}

/// Metadata of a service are texts.
fn metadata(host: &HostRecord) -> Json {
    let HostRecord { name, state, slots, running, reserved, tenant, .. } = host;
    let mut metadata = json!({
        "machine": name, "tenant": tenant, "state": state, "slots": slots.to_string(), "running": running.to_string(),
        "reserved": reserved.to_string(),
    });
    let labels = host.labels.iter().map(|(key, value)| (format!("label.{key}"), json!(value))).collect();
    merge(&mut metadata, Json::Object(labels));
    metadata
}

fn endpoints(detail: &HostDetail, more: impl Fn(&Queue) -> Json) -> Vec<Json> {
    let endpoint = |queue: &Queue| {
        let subject = queue_tasks(&detail.host.tenant, queue);
        let mut endpoint =
            json!({"name": queue, "subject": subject, "queue_group": consumer_name(queue, &Band::PLAIN)});
        merge(&mut endpoint, more(queue));
        endpoint
    };
    detail.host.queues.keys().map(endpoint).collect()
}

fn numbers(done: Option<&Done>) -> Json {
    let Done { attempts, failed, busy_us, fuel, last_failure } = done.cloned().unwrap_or_default();
    let nanos = busy_us.saturating_mul(1_000);
    json!({
        "num_requests": attempts, "num_errors": failed, "last_error": last_failure, "processing_time": nanos,
        "average_processing_time": nanos.checked_div(attempts).unwrap_or(0), "data": {"fuel": fuel},
    })
}

fn merge(into: &mut Json, more: Json) {
    if let (Some(into), Json::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Tenant, Timestamp};
    use crate::protocol::host::{Capacity, HostState, VERSION};
    use std::collections::BTreeMap;

    fn detail() -> HostDetail {
        let queue = Queue::default_queue();
        HostDetail {
            host: HostRecord {
                v: VERSION,
                id: "h1".parse().unwrap(),
                tenant: Tenant::default_tenant(),
                name: "box".to_owned(),
                labels: BTreeMap::from([("gpu".to_owned(), "no".to_owned())]),
                queues: BTreeMap::from([(queue.clone(), 1)]),
                state: HostState::Serving,
                slots: 8,
                running: 2,
                reserved: 1,
                version: "0.1.0".to_owned(),
                started: Timestamp::from_millis(0),
                memory_bytes: 9,
            },
            tasks: Vec::new(),
            tasks_left_out: 0,
            loading: Vec::new(),
            done: BTreeMap::from([(queue, Done { attempts: 4, failed: 1, busy_us: 10, fuel: 7, ..Done::default() })]),
            capacity: Capacity {
                slots_free: 6,
                cores: 2,
                task_memory_bytes_max: 1,
                attempt_timeout_ms_max: 1,
                hot_modules: 0,
                hot_bytes: 0,
            },
        }
    }

    #[test]
    fn every_answer_has_the_fields_that_nats_tools_read() {
        let about = |answer: &Json| {
            assert_eq!(
                (&answer["name"], &answer["id"], &answer["version"]),
                (&json!(SERVICE), &json!("h1"), &json!("0.1.0"))
            );
            assert!(answer["metadata"].as_object().unwrap().values().all(Json::is_string), "{answer}");
            answer["type"].as_str().unwrap().to_owned()
        };
        let [ping, info, stats] = [Verb::Ping, Verb::Info, Verb::Stats].map(|verb| verb.answer(&detail()));
        assert_eq!(about(&ping), "io.nats.micro.v1.ping_response");
        assert_eq!(about(&info), "io.nats.micro.v1.info_response");
        assert_eq!(about(&stats), "io.nats.micro.v1.stats_response");
        assert_eq!(info["endpoints"][0]["subject"], "lvg.default.task.default.>");
        let endpoint = &stats["endpoints"][0];
        assert_eq!((&endpoint["num_requests"], &endpoint["num_errors"]), (&json!(4), &json!(1)));
        assert_eq!(
            (&endpoint["processing_time"], &endpoint["average_processing_time"]),
            (&json!(10_000), &json!(2_500))
        );
        assert_eq!(stats["started"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn questions_are_told_from_strangers_words() {
        assert_eq!(Verb::read("$SRV.PING"), Some(Verb::Ping));
        assert_eq!(Verb::read("$SRV.INFO.lovage-host"), Some(Verb::Info));
        assert_eq!(Verb::read("$SRV.STATS.lovage-host.h1"), Some(Verb::Stats));
        assert_eq!([Verb::read("$SRV"), Verb::read("$SRV.BURN")], [None, None]);
    }
}

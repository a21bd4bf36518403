//! Streams and buckets: made from the table of rules. Limits and replicas of those that are there are their operator's.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::link::{Answer, Link};
use super::objects;
use super::pull::nanos;
use crate::broker::{Error, Result, Settings};
use crate::model::Tenant;
use crate::protocol::Stream;
use crate::protocol::stream::{Bucket, DUPLICATE_WINDOW, PerSubject, Retention};

/// "Stream name already in use", by one with another configuration.
const NAME_IN_USE: u64 = 10058;

/// "Stream configuration update can not change ...".
const INVALID_CHANGE: u64 = 10052;

/// Makes what a tenant needs. What is there already is left as it is, or brought up to the rules of this version; its limits stay.
pub(super) async fn provision(link: &Link, tenant: &Tenant, settings: &Settings) -> Result<()> {
    for stream in Stream::all(tenant) {
        make(link, &stream_config(&stream, settings)).await?;
    }
    for bucket in Bucket::ALL {
        make(link, &bucket_config(bucket, settings)).await?;
    }
    Ok(())
}

async fn make(link: &Link, config: &Config) -> Result<()> {
    let name = &config.name;
    let config = serde_json::to_value(config).map_err(|error| Error::Other(error.to_string()))?;
    match link.api_answer::<IgnoredAny>(&format!("STREAM.CREATE.{name}"), &config).await? {
        Answer::Done(_) => return Ok(()),
        Answer::Refused { error } if error.err_code == NAME_IN_USE => {}
        Answer::Refused { error } => return Err(error.into_error(name)),
    }
    let found: Found = link.api(&format!("STREAM.INFO.{name}"), &serde_json::Value::Null).await?;
    let Some(config) = brought_up_to_date(config, &found.config) else { return Ok(()) };
    match link.api_answer::<IgnoredAny>(&format!("STREAM.UPDATE.{name}"), &config).await? {
        Answer::Done(_) => Ok(()),
        Answer::Refused { error } if error.err_code == INVALID_CHANGE || (400..500).contains(&error.code) => {
            Err(Error::Unsuitable(format!("stream {name} is there with other rules: {}", error.description)))
        }
        Answer::Refused { error } => Err(error.into_error(name)),
    }
}

/// What there is of a stream.
#[derive(Deserialize)]
struct Found {
    config: serde_json::Value,
}

/// What an operator decides of a stream that is there: a host that starts must not undo it.
const OPERATORS: [&str; 6] = ["num_replicas", "max_msgs", "max_bytes", "max_age", "max_consumers", "duplicate_window"];

/// The configuration that a stream needs: our rules, and the operator's limits; `None` if it has it.
fn brought_up_to_date(mut wanted: serde_json::Value, found: &serde_json::Value) -> Option<serde_json::Value> {
    let rules = wanted.as_object_mut()?;
    for limit in OPERATORS {
        if let (Some(ours), Some(theirs)) = (rules.get_mut(limit), found.get(limit)) {
            *ours = theirs.clone();
        }
    }
    // A server leaves out what is false.
    let same =
        |name: &String, value: &serde_json::Value| found.get(name).unwrap_or(&serde_json::Value::Bool(false)) == value;
    let current = rules.iter().all(|(name, value)| same(name, value));
    (!current).then_some(wanted)
}

/// A stream as JetStream's API has it; -1 is "no limit".
#[derive(Serialize)]
struct Config {
    name: String,
    subjects: Vec<String>,
    retention: &'static str,
    storage: &'static str,
    num_replicas: usize,
    max_consumers: i32,
    max_msgs: i64,
    max_msgs_per_subject: i64,
    max_bytes: i64,
    max_msg_size: i32,
    /// Nanoseconds; 0 is "for ever".
    max_age: u64,
    duplicate_window: u64,
    discard: &'static str,
    discard_new_per_subject: bool,
    allow_direct: bool,
    allow_msg_ttl: bool,
    allow_msg_schedules: bool,
    allow_rollup_hdrs: bool,
}

fn stream_config(stream: &Stream, settings: &Settings) -> Config {
    let rules = stream.rules();
    let messages_max = match stream {
        Stream::Task(_) => Some(settings.queued_max),
        Stream::Schedule
        | Stream::Result
        | Stream::Log
        | Stream::Event
        | Stream::Module
        | Stream::Journal
        | Stream::Index
        | Stream::Flow
        | Stream::Dead
        | Stream::Queue
        | Stream::Batch
        | Stream::Once
        | Stream::Limit
        | Stream::Recurring
        | Stream::Kv
        | Stream::Secret
        | Stream::Webhook
        | Stream::Hook
        | Stream::Coordination => rules.messages_max,
    };
    Config {
        name: stream.name(),
        subjects: rules.subjects,
        retention: match rules.retention {
            Retention::WorkQueue => "workqueue",
            Retention::Limits => "limits",
        },
        storage: "file",
        num_replicas: settings.replicas,
        max_consumers: -1,
        max_msgs: messages_max.map_or(-1, |max| i64::try_from(max).unwrap_or(-1)),
        max_msgs_per_subject: match rules.per_subject {
            PerSubject::All => -1,
            PerSubject::Last | PerSubject::Unique => 1,
        },
        max_bytes: -1,
        max_msg_size: -1,
        max_age: rules.age_max.map_or(0, nanos),
        duplicate_window: nanos(DUPLICATE_WINDOW),
        discard: if rules.refuse_when_full { "new" } else { "old" },
        discard_new_per_subject: rules.per_subject == PerSubject::Unique,
        // Readings need it; who must not read from a follower asks the leader.
        allow_direct: true,
        allow_msg_ttl: rules.message_ttl,
        allow_msg_schedules: rules.schedules,
        // A schedule takes the place of the one before it on its subject by rolling it up.
        allow_rollup_hdrs: rules.schedules,
    }
}

/// As NATS's object store makes its streams.
fn bucket_config(bucket: Bucket, settings: &Settings) -> Config {
    let name = bucket.name();
    Config {
        name: objects::stream(bucket),
        subjects: vec![format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        retention: "limits",
        storage: "file",
        num_replicas: settings.replicas,
        max_consumers: -1,
        max_msgs: -1,
        max_msgs_per_subject: -1,
        max_bytes: -1,
        max_msg_size: -1,
        max_age: bucket.age_max().map_or(0, nanos),
        duplicate_window: nanos(DUPLICATE_WINDOW),
        discard: "new",
        discard_new_per_subject: false,
        allow_direct: true,
        allow_msg_ttl: false,
        allow_msg_schedules: false,
        allow_rollup_hdrs: true,
    }
}

//! The streams and buckets of an installation, and the rules of each: one table that both brokers are built from.

use std::time::Duration;

use crate::model::Tenant;
use crate::model::name::CONTROL;

/// Queued tasks that one tenant may have when nobody has said otherwise: about 300 MB of the broker's memory and 1 GB of disk.
pub const QUEUED_MAX_DEFAULT: u64 = 1_000_000;

/// How long the outcome of a task is kept.
pub const RESULT_TTL: Duration = Duration::from_secs(24 * 3600);

/// How long logs and events are kept.
pub const HISTORY_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Messages of logs or events that are kept, the oldest dropped first: about a gigabyte of short lines.
pub const HISTORY_MESSAGES_MAX: u64 = 5_000_000;

/// How long dead letters are kept: two weeks, so that a holiday loses none.
pub const DEAD_AGE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// Dead letters that are kept, the oldest dropped first.
pub const DEAD_MAX: u64 = 1_000_000;

/// How long it is known of a batch what was sent: a week.
pub const BATCH_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Batches that are known, the oldest dropped first.
pub const BATCHES_MAX: u64 = 100_000;

/// The window in which the server drops a message whose id it has seen.
pub const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A stream of the broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Queued tasks of one tenant: `lvg.<t>.task.>`.
    Task(Tenant),
    /// Delayed and retried tasks, and those that are due: `lvg.*.sched.>` and `lvg.*.fire.>`.
    Schedule,
    /// Outcomes of tasks that belong to no run: `lvg.*.res.>`.
    Result,
    /// Guests' log lines: `lvg.*.log.>`.
    Log,
    /// Progress and state changes: `lvg.*.ev.>`.
    Event,
    /// Records of module versions: `lvg.*.module.>`.
    Module,
    /// Journals of runs, and their timers, which produce records in them: `lvg.*.run.>` and `lvg.*.timer.>`.
    Journal,
    /// What is known of each run at a glance, for lists: `lvg.*.index.>`.
    Index,
    /// Versions of flows: `lvg.*.flow.>`.
    Flow,
    /// Tasks after their last failure: `lvg.*.dead.>`.
    Dead,
    /// How far the sending of batches is: `lvg.*.batch.>`.
    Batch,
    /// What operators have decided of queues: `lvg.*.queue.>`.
    Queue,
    /// Limits across the fleet, debounces, and the tasks that wait under them: `lvg.*.limit.>`, `lvg.*.debounce.>` and
    /// `lvg.*.line.>`.
    Limit,
    /// Idempotency keys, how the tasks that were submitted under them ended, and who has a singleton: `lvg.*.once.>`,
    /// `lvg.*.kept.>` and `lvg.*.single.>`.
    Once,
    /// Schedules, which start tasks and runs again and again: `lvg.*.schedule.>`.
    Recurring,
    /// Keys and values of tenants: `lvg.*.kv.>`.
    Kv,
    /// Secrets of tenants, sealed, and the public key that they are sealed for: `lvg.*.secret.>`.
    Secret,
    /// Whom to tell of ends of tasks and runs: `lvg.*.webhook.*`.
    Webhook,
    /// What webhooks are to be told: `lvg.*.hook.>`, and `lvg.*.hookwait.>` what is to be told again.
    Hook,
    /// Which coordinator has which partition, and heartbeats: `lvg.ctl.partition.*`, `lvg.ctl.coordinator.*`, `lvg.ctl.host.*`.
    Coordination,
}

/// What becomes of a message that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// It is gone.
    WorkQueue,
    /// It stays until a limit removes it.
    Limits,
}

/// How many messages of one subject are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerSubject {
    /// As many as there are.
    All,
    /// The last one; a new one takes its place.
    Last,
    /// One; a second publish is refused with [`subject occupied`](crate::protocol) until the first is gone.
    Unique,
}

/// The rules of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Subjects that it captures.
    pub subjects: Vec<String>,
    /// What becomes of acknowledged messages.
    pub retention: Retention,
    /// How many messages of a subject are kept.
    pub per_subject: PerSubject,
    /// How many messages are kept in all; `None` is "no limit".
    pub messages_max: Option<u64>,
    /// Whether a full stream refuses new messages; else it drops its oldest.
    pub refuse_when_full: bool,
    /// How long a message is kept.
    pub age_max: Option<Duration>,
    /// Whether messages may carry a time to live of their own.
    pub message_ttl: bool,
    /// Whether messages may be schedules that produce another message when they are due.
    pub schedules: bool,
    /// Whether any replica may answer a read: faster, and a follower may be a moment behind.
    pub direct_reads: bool,
}

impl Stream {
    /// The streams of an installation with one tenant.
    #[must_use]
    pub fn all(tenant: &Tenant) -> Vec<Self> {
        let shared = [Self::Schedule, Self::Result, Self::Log, Self::Event, Self::Module];
        let runs = [Self::Journal, Self::Index, Self::Flow, Self::Recurring, Self::Coordination];
        [Self::Task(tenant.clone())]
            .into_iter()
            .chain(shared)
            .chain([
                Self::Dead,
                Self::Batch,
                Self::Queue,
                Self::Once,
                Self::Limit,
                Self::Kv,
                Self::Secret,
                Self::Webhook,
                Self::Hook,
            ])
            .chain(runs)
            .collect()
    }

    /// The stream that captures `subject` (which may hold wildcards behind its third token); `None` for what no stream captures.
    #[must_use]
    pub fn of(subject: &str) -> Option<Self> {
        let mut tokens = subject.split('.');
        if tokens.next() != Some("lvg") {
            return None;
        }
        let tenant = tokens.next()?;
        if tenant == CONTROL {
            return match tokens.next()? {
                "partition" | "coordinator" | "host" => Some(Self::Coordination),
                "secret" => Some(Self::Secret),
                _ => None,
            };
        }
        match tokens.next()? {
            "task" => Some(Self::Task(tenant.parse().ok()?)),
            "sched" | "fire" => Some(Self::Schedule),
            "res" => Some(Self::Result),
            "log" => Some(Self::Log),
            "ev" => Some(Self::Event),
            "module" => Some(Self::Module),
            "run" | "timer" => Some(Self::Journal),
            "index" => Some(Self::Index),
            "flow" => Some(Self::Flow),
            "dead" => Some(Self::Dead),
            "queue" => Some(Self::Queue),
            "batch" => Some(Self::Batch),
            "limit" | "debounce" | "line" => Some(Self::Limit),
            "once" | "kept" | "single" => Some(Self::Once),
            "schedule" => Some(Self::Recurring),
            "kv" => Some(Self::Kv),
            "secret" => Some(Self::Secret),
            "webhook" => Some(Self::Webhook),
            "hook" | "hookwait" => Some(Self::Hook),
            _ => None,
        }
    }

    /// The broker's name of the stream.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Task(tenant) => format!("LVG_TASK_{tenant}"),
            Self::Schedule => "LVG_SCHEDULE".to_owned(),
            Self::Result => "LVG_RESULT".to_owned(),
            Self::Log => "LVG_LOG".to_owned(),
            Self::Event => "LVG_EVENT".to_owned(),
            Self::Module => "LVG_MODULE".to_owned(),
            Self::Journal => "LVG_JOURNAL".to_owned(),
            Self::Index => "LVG_INDEX".to_owned(),
            Self::Flow => "LVG_FLOW".to_owned(),
            Self::Dead => "LVG_DEAD".to_owned(),
            Self::Queue => "LVG_QUEUE".to_owned(),
            Self::Batch => "LVG_BATCH".to_owned(),
            Self::Limit => "LVG_LIMIT".to_owned(),
            Self::Once => "LVG_ONCE".to_owned(),
            Self::Recurring => "LVG_RECURRING".to_owned(),
            Self::Kv => "LVG_KV".to_owned(),
            Self::Secret => "LVG_SECRET".to_owned(),
            Self::Webhook => "LVG_WEBHOOK".to_owned(),
            Self::Hook => "LVG_HOOK".to_owned(),
            Self::Coordination => "LVG_COORDINATION".to_owned(),
        }
    }

    /// The rules of the stream.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let below = |kinds: &[&str]| kinds.iter().map(|kind| format!("lvg.*.{kind}.>")).collect();
        match self {
            Self::Task(tenant) => Rules {
                subjects: vec![format!("lvg.{tenant}.task.>")],
                retention: Retention::WorkQueue,
                per_subject: PerSubject::Unique,
                messages_max: Some(QUEUED_MAX_DEFAULT),
                ..Rules::never_lose()
            },
            Self::Schedule => {
                Rules { subjects: below(&["sched", "fire"]), retention: Retention::WorkQueue, ..Rules::scheduling() }
            }
            Self::Result => Rules {
                subjects: below(&["res"]),
                per_subject: PerSubject::Last,
                // An age of the whole stream: a time to live on each outcome costs the server a tenth of the whole cycle.
                age_max: Some(RESULT_TTL),
                message_ttl: true,
                direct_reads: true,
                ..Rules::never_lose()
            },
            Self::Log => Rules { subjects: below(&["log"]), ..Rules::history() },
            Self::Event => Rules { subjects: below(&["ev"]), ..Rules::history() },
            Self::Module => {
                Rules { subjects: below(&["module"]), per_subject: PerSubject::Last, ..Rules::never_lose() }
            }
            Self::Journal => Rules { subjects: below(&["run", "timer"]), ..Rules::scheduling() },
            Self::Index => Rules { subjects: below(&["index"]), ..Rules::current() },
            Self::Flow => Rules { subjects: below(&["flow"]), per_subject: PerSubject::Last, ..Rules::never_lose() },
            Self::Dead => Rules {
                subjects: below(&["dead"]),
                per_subject: PerSubject::Last,
                messages_max: Some(DEAD_MAX),
                age_max: Some(DEAD_AGE_MAX),
                ..Rules::history()
            },
            Self::Batch => Rules {
                subjects: below(&["batch"]),
                per_subject: PerSubject::Last,
                messages_max: Some(BATCHES_MAX),
                age_max: Some(BATCH_AGE_MAX),
                ..Rules::history()
            },
            Self::Queue => Rules { subjects: below(&["queue"]), ..Rules::current() },
            Self::Limit => Rules { subjects: below(&["limit", "debounce", "line"]), ..Rules::current() },
            // Each message has a time to live of thirty days at most.
            Self::Once => Rules { subjects: below(&["once", "kept", "single"]), ..Rules::current() },
            Self::Recurring => Rules { subjects: below(&["schedule"]), ..Rules::current() },
            Self::Kv => Rules { subjects: below(&["kv"]), per_subject: PerSubject::Last, ..Rules::never_lose() },
            Self::Secret => {
                Rules { subjects: below(&["secret"]), per_subject: PerSubject::Last, ..Rules::never_lose() }
            }
            Self::Webhook => Rules { subjects: below(&["webhook"]), ..Rules::current() },
            Self::Hook => {
                Rules { subjects: below(&["hook", "hookwait"]), retention: Retention::WorkQueue, ..Rules::scheduling() }
            }
            Self::Coordination => Rules {
                subjects: ["partition", "coordinator", "host"].map(|kind| format!("lvg.{CONTROL}.{kind}.*")).to_vec(),
                ..Rules::current()
            },
        }
    }
}

impl Rules {
    /// Every message stays; a stream that is full says so.
    const fn never_lose() -> Self {
        Self {
            subjects: Vec::new(),
            retention: Retention::Limits,
            per_subject: PerSubject::All,
            messages_max: None,
            refuse_when_full: true,
            age_max: None,
            message_ttl: false,
            schedules: false,
            direct_reads: false,
        }
    }

    /// What people look at for a while.
    fn history() -> Self {
        Self {
            messages_max: Some(HISTORY_MESSAGES_MAX),
            refuse_when_full: false,
            age_max: Some(HISTORY_AGE_MAX),
            ..Self::never_lose()
        }
    }

    /// Messages may be schedules. A server refuses those in a stream that refuses new messages; without a limit it never drops
    /// old ones either.
    fn scheduling() -> Self {
        Self { refuse_when_full: false, message_ttl: true, schedules: true, ..Self::never_lose() }
    }

    /// What is so now, which may end by itself.
    fn current() -> Self {
        Self { per_subject: PerSubject::Last, message_ttl: true, ..Self::never_lose() }
    }
}

/// A bucket of the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// The bytes of modules, named by digest.
    Modules,
    /// Inputs and outputs above the inline limit, named by tenant and digest.
    Values,
    /// The documents of flows, named by tenant and digest.
    Flows,
    /// Values of runs above the inline limit, named by tenant, run and digest: they live as long as their run.
    RunValues,
    /// Objects of tenants' own, named by tenant, bucket and name.
    Blobs,
}

impl Bucket {
    /// The buckets of an installation.
    pub const ALL: [Self; 5] = [Self::Modules, Self::Values, Self::Flows, Self::RunValues, Self::Blobs];

    /// The broker's name of the bucket.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modules => "lvg-modules",
            Self::Values => "lvg-values",
            Self::Flows => "lvg-flows",
            Self::RunValues => "lvg-run-values",
            Self::Blobs => "lvg-blobs",
        }
    }

    /// How long an object is kept; a value outlives the result that refers to it.
    #[must_use]
    pub fn age_max(self) -> Option<Duration> {
        match self {
            Self::Modules | Self::Flows | Self::RunValues | Self::Blobs => None,
            Self::Values => Some(RESULT_TTL * 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_belongs_to_the_stream_that_captures_it() {
        let tenant = Tenant::default_tenant();
        for stream in Stream::all(&tenant) {
            for subject in stream.rules().subjects {
                let subject = subject.replacen("lvg.*", "lvg.default", 1);
                let literal = subject.replace('*', "x").replace('>', "x.y");
                assert_eq!(Stream::of(&literal), Some(stream.clone()), "{literal}");
            }
        }
        for foreign in ["", "lvg", "lvg.t", "lvg.t.other.x", "other.t.task.x", "lvg.ctl.cancel.x", "lvg.ctl.task.x"] {
            assert_eq!(Stream::of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn streams_that_must_not_lose_never_drop_their_oldest() {
        for stream in Stream::all(&Tenant::default_tenant()) {
            let rules = stream.rules();
            let may_drop = !rules.refuse_when_full && rules.messages_max.is_some();
            assert!(stream == Stream::Coordination || rules.subjects.iter().all(|subject| !subject.contains(CONTROL)));
            assert_eq!(
                may_drop,
                matches!(stream, Stream::Log | Stream::Event | Stream::Dead | Stream::Batch),
                "{stream:?}"
            );
        }
    }
}

//! What a host says of itself: a heartbeat each second, answers to words of its operator, and answers to the tools of NATS.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::select_all;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};

use super::Shared;
use crate::broker::patience::Patience;
use crate::broker::{Message, Publish};
use crate::protocol::host::{
    self, BEAT_EVERY, BEAT_TTL, Capacity, Drain, HostDetail, HostNews, HostRecord, HostState, NewsKind,
    TASKS_SHOWN_MAX, VERSION, Word,
};
use crate::protocol::micro::{self, Verb};
use crate::protocol::{Headers, Rejection};

/// How long a host that leaves tries to take its record away: without it the record ends by itself.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// Renews the record of this host for as long as it runs.
pub(super) async fn beat(shared: &Shared) {
    let mut ticks = tokio::time::interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tell(shared, NewsKind::Joined).await;
    let mut leaving = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.stats.beat(),
            // That it leaves is said at once.
            () = shared.leaving.begun().cancelled(), if !leaving => {
                leaving = true;
                tell(shared, NewsKind::Draining).await;
            }
        }
        let publish = Publish {
            ttl: Some(BEAT_TTL),
            ..Publish::new(host::heartbeat(&shared.config.id), host::encode(&record(shared)))
        };
        if let Err(error) = shared.broker.streams.publish(publish).await {
            debug!(%error, "a heartbeat of the host failed");
        }
    }
}

/// Takes the record away: the host has left.
pub(super) async fn farewell(shared: &Shared) {
    let subject = host::heartbeat(&shared.config.id);
    let leave = async {
        // One that had nothing in hand may end before its heartbeat has said so, or in the middle of that.
        if shared.leaving.begun().is_cancelled() {
            tell(shared, NewsKind::Draining).await;
        }
        tell(shared, NewsKind::Left).await;
        shared.broker.streams.purge(&subject).await
    };
    if !matches!(tokio::time::timeout(FAREWELL_TIME_MAX, leave).await, Ok(Ok(_))) {
        debug!("failed to take the record of the host away: it ends by itself");
    }
}

/// Says what changed of this host: what is said again is kept once. History is best effort: a broker that is away is not
/// waited for.
async fn tell(shared: &Shared, what: NewsKind) {
    let config = &shared.config;
    let at = shared.broker.clock.now();
    let news = HostNews { at, what, name: config.name.clone(), labels: config.labels.clone() };
    let publish = Publish {
        message_id: Some(format!("host/{}/{}", config.id, what.as_str())),
        ..Publish::new(HostNews::subject(&config.tenant, &config.id), host::encode(&news))
    };
    if let Err(error) = shared.broker.streams.publish(publish).await {
        debug!(%error, "news of the host were lost");
    }
}

/// Answers words to this host, and questions of NATS's tools, for as long as it runs.
pub(super) async fn answer(shared: &Shared) {
    let mut patience = Patience::default();
    loop {
        match listen(shared).await {
            Ok(mut words) => {
                patience = Patience::default();
                while let Some(word) = words.next().await {
                    obey(shared, word).await;
                }
            }
            Err(error) => warn!(%error, "cannot hear words to this host, trying again"),
        }
        patience.wait().await;
    }
}

async fn listen(shared: &Shared) -> Result<impl futures::Stream<Item = Message> + Unpin, crate::broker::Error> {
    let bus = &shared.broker.bus;
    let mut streams = vec![bus.listen(&host::words(&shared.config.id)).await?];
    for subject in micro::subjects(&shared.config.id) {
        streams.push(bus.listen(&subject).await?);
    }
    drop(bus.flush().await);
    Ok(select_all(streams))
}

async fn obey(shared: &Shared, message: Message) {
    let answer = match Word::read(&message.subject) {
        Some(Word::Inspect) => Some(host::encode(&detail(shared))),
        Some(Word::Drain) => Some(host::encode(&drained(shared, &message.payload))),
        None => Verb::read(&message.subject).map(|verb| Bytes::from(verb.answer(&detail(shared)).to_string())),
    };
    if let (Some(answer), Some(reply)) = (answer, message.reply)
        && let Err(error) = shared.broker.bus.send(&reply, Headers::new(), answer).await
    {
        warn!(%error, "failed to answer a word to this host");
    }
}

/// Begins to leave; what is not a word to drain leaves the host as it is.
fn drained(shared: &Shared, body: &Bytes) -> HostRecord {
    match host::decode(body) {
        Ok(Drain { deadline_ms }) => {
            let deadline = deadline_ms.map_or(shared.config.drain, Duration::from_millis);
            info!(deadline_ms = deadline.as_millis(), "asked to drain and leave");
            shared.leaving.begin(deadline);
        }
        Err(rejection @ Rejection { .. }) => warn!(%rejection, "cannot read a word to this host"),
    }
    record(shared)
}

/// This host, now.
pub(super) fn record(shared: &Shared) -> HostRecord {
    let running = shared.running.begun();
    let config = &shared.config;
    HostRecord {
        v: VERSION,
        id: config.id.clone(),
        tenant: config.tenant.clone(),
        name: config.name.clone(),
        labels: config.labels.clone(),
        queues: config.queues.iter().cloned().collect(),
        state: if shared.leaving.begun().is_cancelled() { HostState::Draining } else { HostState::Serving },
        slots: config.concurrency as u64,
        running,
        reserved: shared.stats.in_hand().saturating_sub(running),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: shared.started,
        memory_bytes: memory_bytes(),
    }
}

fn detail(shared: &Shared) -> HostDetail {
    let mut tasks = shared.running.tasks();
    let tasks_left_out = tasks.len().saturating_sub(TASKS_SHOWN_MAX) as u64;
    tasks.truncate(TASKS_SHOWN_MAX);
    let sandbox = shared.sandbox.stats();
    let ceiling = &shared.config.ceiling;
    HostDetail {
        host: record(shared),
        tasks,
        tasks_left_out,
        loading: shared.loading.list(),
        done: shared.stats.done(),
        capacity: Capacity {
            slots_free: sandbox.slots_free as u64,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64,
            task_memory_bytes_max: ceiling.memory_bytes,
            attempt_timeout_ms_max: u64::try_from(ceiling.attempt_timeout.as_millis()).unwrap_or(u64::MAX),
            hot_modules: sandbox.hot_modules as u64,
            hot_bytes: sandbox.hot_bytes,
        },
    }
}

/// What the process holds in memory; 0 where the system does not say.
fn memory_bytes() -> u64 {
    /// Bytes of a line `VmRSS:    1234 kB`.
    fn resident(status: &str) -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
    }
    std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident).unwrap_or(0)
}

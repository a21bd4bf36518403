//! What can be seen from outside: log lines with spans, and metrics.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use crate::model::Queue;
use crate::model::lifecycle::{End, Settled, Usage};
use crate::model::scaling::Load;
use crate::model::step_life::{StepEnd, StepOutcome};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with the spans' fields.
    Json,
}

/// Sends log lines to stderr. `filter` is a directive as in `info,lovage=debug`; an invalid one is replaced by `info`.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (in tests) changes nothing.
    drop(match format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(true).try_init(),
    });
}

/// How a task ended, for counting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    state: &'static str,
    kind: &'static str,
}

/// How a run ended, for counting.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    state: &'static str,
}

/// What coordinators count. Clones are one and the same.
#[derive(Clone, Default)]
pub struct RunMetrics {
    /// Runs whose start was folded.
    pub started: Counter,
    /// Records that were folded, replays included.
    pub folded: Counter,
    /// Effects that were performed.
    pub effects: Counter,
    /// Runs that were paused since they cannot go on.
    pub broken: Counter,
    /// Records that belong to no run that has begun.
    pub stray: Counter,
    /// Partitions that were taken.
    pub taken: Counter,
    /// Ended runs that were removed after their retention.
    pub removed: Counter,
    /// Runs in memory.
    pub in_memory: Gauge,
    ended: Family<RunLabels, Counter>,
}

impl RunMetrics {
    /// Counts a run that ended in a state.
    pub fn ended(&self, state: &'static str) {
        self.ended.get_or_create(&RunLabels { state }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("runs_started", "Runs that were begun here", self.started.clone());
        registry.register("runs_ended", "Runs that ended here, by state", self.ended.clone());
        registry.register("run_records_folded", "Records of runs, replays included", self.folded.clone());
        registry.register("run_effects", "What was done because of records of runs", self.effects.clone());
        registry.register("runs_broken", "Runs that were paused since they cannot go on", self.broken.clone());
        registry.register("run_records_stray", "Records of runs that have not begun", self.stray.clone());
        registry.register("partitions_taken", "Partitions of runs that were taken", self.taken.clone());
        registry.register("runs_removed", "Ended runs that were removed after their retention", self.removed.clone());
        registry.register("runs_in_memory", "Runs in memory", self.in_memory.clone());
    }
}

/// What schedules count. Clones are one and the same.
#[derive(Clone, Default)]
pub struct ScheduleMetrics {
    /// Tasks and runs that were started.
    pub started: Counter,
    /// Starts that were refused for good.
    pub refused: Counter,
    /// Starts that were left out since an earlier one had not ended.
    pub skipped: Counter,
    /// Slots that were over for too long when they were seen.
    pub missed: Counter,
}

impl ScheduleMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("schedule_starts", "Tasks and runs that schedules have started", self.started.clone());
        registry.register("schedule_starts_refused", "Starts of schedules that were refused", self.refused.clone());
        registry.register(
            "schedule_starts_skipped",
            "Starts left out since one before had not ended",
            self.skipped.clone(),
        );
        registry.register("schedule_slots_missed", "Slots seen later than their catch-up window", self.missed.clone());
    }
}

/// A queue, for gauges.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

/// What is seen of queues. Clones are one and the same.
#[derive(Clone, Default)]
pub struct QueueMetrics {
    waiting: Family<QueueLabels, Gauge>,
    running: Family<QueueLabels, Gauge>,
    oldest: Family<QueueLabels, Gauge>,
    hosts: Family<QueueLabels, Gauge>,
    wanted: Family<QueueLabels, Gauge>,
}

impl QueueMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("queue_waiting", "Tasks that wait in a queue", self.waiting.clone());
        registry.register("queue_running", "Tasks of a queue that hosts have", self.running.clone());
        let oldest = self.oldest.clone();
        registry.register_with_unit("queue_oldest_age", "Age of the oldest task of a queue", Unit::Seconds, oldest);
        registry.register("queue_hosts", "Hosts that serve a queue", self.hosts.clone());
        registry.register("queue_hosts_wanted", "Hosts that a queue wants, for an autoscaler", self.wanted.clone());
    }

    /// Sets what is seen of a queue.
    pub fn set(&self, queue: &Queue, load: &Load, wanted: u64) {
        for (gauge, value) in [
            (&self.waiting, load.waiting),
            (&self.running, load.running),
            (&self.oldest, load.oldest.as_secs()),
            (&self.hosts, load.hosts),
            (&self.wanted, wanted),
        ] {
            gauge.get_or_create(&Self::labels(queue)).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// Tells nothing more of a queue.
    pub fn forget(&self, queue: &Queue) {
        for gauge in [&self.waiting, &self.running, &self.oldest, &self.hosts, &self.wanted] {
            gauge.remove(&Self::labels(queue));
        }
    }

    fn labels(queue: &Queue) -> QueueLabels {
        QueueLabels { queue: queue.to_string() }
    }
}

/// The metrics of a process. Clones are one and the same.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    running: Gauge,
    settled: Family<EndLabels, Counter>,
    fuel: Counter<u64, AtomicU64>,
    duration: Histogram,
    /// What coordinators count.
    pub runs: RunMetrics,
    /// What schedules count.
    pub schedules: ScheduleMetrics,
    /// What is seen of queues.
    pub queues: QueueMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("lovage");
        let running = Gauge::default();
        let settled = Family::<EndLabels, Counter>::default();
        let fuel = Counter::default();
        // 10 us to 84 s.
        let duration = Histogram::new(exponential_buckets(1e-5, 2.0, 24));
        registry.register("tasks_running", "Tasks in hand", running.clone());
        registry.register("tasks_settled", "Tasks that ended here, by state and kind of failure", settled.clone());
        registry.register("fuel_used", "Units of fuel used by guests", fuel.clone());
        registry.register_with_unit("invocation_duration", "Time in the sandbox", Unit::Seconds, duration.clone());
        let runs = RunMetrics::default();
        runs.register(&mut registry);
        let schedules = ScheduleMetrics::default();
        schedules.register(&mut registry);
        let queues = QueueMetrics::default();
        queues.register(&mut registry);
        Self { registry: Arc::new(registry), running, settled, fuel, duration, runs, schedules, queues }
    }
}

impl Metrics {
    /// Counts a task that ended on this host.
    pub fn settled(&self, settled: &Settled) {
        let kind = match &settled.end {
            End::Failed(failure) => failure.kind.code(),
            End::Succeeded(_) | End::Cancelled | End::Expired => "",
        };
        self.ended(settled.end.state().as_str(), kind, &settled.usage);
    }

    /// Counts an attempt of a step that ended on this host.
    pub fn step_ended(&self, outcome: &StepOutcome) {
        let kind = match &outcome.end {
            StepEnd::Failed(failure) => failure.kind.code(),
            StepEnd::Succeeded(_) | StepEnd::Replaced(_) => "",
        };
        self.ended(outcome.end.as_str(), kind, &outcome.usage);
    }

    fn ended(&self, state: &'static str, kind: &'static str, usage: &Usage) {
        self.settled.get_or_create(&EndLabels { state, kind }).inc();
        self.fuel.inc_by(usage.fuel);
        #[expect(clippy::cast_precision_loss, reason = "a duration of 2^52 microseconds is 142 years")]
        self.duration.observe(usage.duration_us as f64 / 1e6);
    }

    /// Counts a task as running until the guard is dropped.
    #[must_use]
    pub fn count_running(&self) -> RunningGuard {
        self.running.inc();
        RunningGuard(self.running.clone())
    }

    /// All metrics in the text format that Prometheus scrapes.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A task that is counted as running.
pub struct RunningGuard(Gauge);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

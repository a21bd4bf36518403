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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, Kind, Value};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    /// A sample: its name, its labels as they are written, and its value.
    type Samples = BTreeMap<(String, String), f64>;

    fn is_name(text: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain)
    }

    /// Takes `name="value",` apart; in a value a backslash stands before itself, a quote, and an `n`.
    fn check_labels(mut labels: &str) {
        let mut names = BTreeSet::new();
        while !labels.is_empty() {
            let (name, rest) = labels.split_once("=\"").expect("a label has a value");
            assert!(is_name(name) && names.insert(name), "{labels}");
            let mut escaped = false;
            let end = rest.find(|c: char| {
                let ends = c == '"' && !escaped;
                assert!(!escaped || matches!(c, '"' | '\\' | 'n'), "{labels}");
                escaped = c == '\\' && !escaped;
                ends
            });
            let behind = &rest[end.expect("a value ends") + 1..];
            labels = behind.strip_prefix(',').unwrap_or(behind);
            assert!(behind.is_empty() || behind.starts_with(','), "{labels}");
        }
    }

    /// Reads the OpenMetrics text format, strictly.
    fn read(text: &str) -> Samples {
        let mut families: BTreeMap<&str, &str> = BTreeMap::new();
        let mut samples = Samples::new();
        let lines = text.strip_suffix("# EOF\n").expect("it ends with its mark");
        for line in lines.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (what, rest) = comment.split_once(' ').unwrap();
                let (name, value) = rest.split_once(' ').unwrap();
                assert!(
                    matches!(what, "HELP" | "TYPE" | "UNIT") && is_name(name) && name.starts_with("lovage_"),
                    "{line}"
                );
                assert!(what != "TYPE" || families.insert(name, value).is_none(), "{name} is told of twice");
                assert!(what != "UNIT" || name.ends_with(&format!("_{value}")), "{line}");
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let labels = labels.strip_suffix('}').unwrap();
            check_labels(labels);
            let of = |suffix: &str, kind: &str| {
                name.strip_suffix(suffix).is_some_and(|family| families.get(family) == Some(&kind))
            };
            let histogram = ["_bucket", "_sum", "_count"].into_iter().any(|suffix| of(suffix, "histogram"));
            assert!(is_name(name) && (of("_total", "counter") || of("", "gauge") || histogram), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && (value >= 0.0 || of("", "gauge")), "{line}");
            assert!(samples.insert((name.to_owned(), labels.to_owned()), value).is_none(), "{sample} stands twice");
        }
        samples
    }

    fn value(samples: &Samples, name: &str, labels: &str) -> Option<f64> {
        samples.get(&(format!("lovage_{name}"), labels.to_owned())).copied()
    }

    fn settled(end: End, fuel: u64, duration_us: u64) -> Settled {
        Settled { end, usage: Usage { attempt: 1, fuel, duration_us, ..Usage::default() } }
    }

    #[test]
    fn tasks_and_attempts_are_counted_by_how_they_ended() {
        let metrics = Metrics::default();
        let failed = |kind| End::Failed(Failure::new(kind, "a \"word\" of a guest's\n"));
        let ends = [End::Succeeded(Value::Inline("1".into())), failed(Kind::Trap), failed(Kind::Trap), End::Cancelled];
        for end in ends {
            metrics.settled(&settled(end, 10, 2_000_000));
        }
        let outcome = StepOutcome { end: StepEnd::Failed(Failure::new(Kind::Trap, "")), usage: Usage::default() };
        metrics.step_ended(&outcome);
        let samples = read(&metrics.text());
        for (state, kind, count) in [("succeeded", "", 1.0), ("failed", "trap", 3.0), ("cancelled", "", 1.0)] {
            let labels = format!("state=\"{state}\",kind=\"{kind}\"");
            assert_eq!(value(&samples, "tasks_settled_total", &labels), Some(count), "{labels}");
        }
        assert_eq!(value(&samples, "fuel_used_total", ""), Some(40.0));
        assert_eq!(value(&samples, "invocation_duration_seconds_count", ""), Some(5.0));
        assert_eq!(value(&samples, "invocation_duration_seconds_sum", ""), Some(8.0));
        let buckets = samples.iter().filter(|((name, _), _)| name.ends_with("_bucket"));
        let of_two_seconds = buckets.filter(|(_, count)| **count == 5.0).count();
        assert!(of_two_seconds > 1, "there are buckets beyond two seconds, and each holds those before it");
    }

    #[test]
    fn what_runs_is_counted_until_its_guard_is_dropped_whichever_clone_counts() {
        let metrics = Metrics::default();
        let running = |metrics: &Metrics| value(&read(&metrics.text()), "tasks_running", "");
        let (one, two) = (metrics.count_running(), metrics.clone().count_running());
        assert_eq!(running(&metrics), Some(2.0));
        drop(one);
        assert_eq!(running(&metrics.clone()), Some(1.0));
        drop(two);
        assert_eq!(running(&metrics), Some(0.0));
    }

    #[test]
    fn an_autoscaler_sees_a_queue_until_it_is_forgotten() {
        let metrics = Metrics::default();
        let queues = ["images", "mail"].map(|name| name.parse::<Queue>().unwrap());
        let oldest = Duration::from_millis(61_900);
        let load = Load { waiting: 7, running: 3, oldest, hosts: 2, slots: 16, ..Load::default() };
        for queue in &queues {
            metrics.queues.set(queue, &load, u64::MAX);
        }
        metrics.queues.set(&queues[0], &load, 4);
        let samples = read(&metrics.text());
        for (name, expected) in [
            ("queue_waiting", 7.0),
            ("queue_running", 3.0),
            ("queue_oldest_age_seconds", 61.0),
            ("queue_hosts", 2.0),
            ("queue_hosts_wanted", 4.0),
        ] {
            assert_eq!(value(&samples, name, "queue=\"images\""), Some(expected), "{name}");
        }
        metrics.queues.forget(&queues[0]);
        let samples = read(&metrics.text());
        let of = |queue: &str| samples.keys().filter(|(_, labels)| *labels == format!("queue=\"{queue}\"")).count();
        assert_eq!((of("images"), of("mail")), (0, 5));
    }

    proptest! {
        /// Whatever was counted, a scraper can read it.
        #[test]
        fn what_is_scraped_is_in_the_format_of_openmetrics(
            ends in proptest::collection::vec((0..=Kind::ALL.len(), any::<u32>(), any::<u64>()), 0..20),
            queues in proptest::collection::btree_map("[a-z0-9_-]{1,64}", any::<[u64; 5]>(), 0..5),
            runs in proptest::collection::vec(proptest::sample::select(&["succeeded", "failed", "cancelled"][..]), 0..5),
            counted in 0..1_000_u32,
        ) {
            let metrics = Metrics::default();
            for (kind, fuel, duration_us) in &ends {
                let end = Kind::ALL.get(*kind).map_or(End::Expired, |kind| End::Failed(Failure::new(*kind, "\"\n")));
                metrics.settled(&settled(end, (*fuel).into(), *duration_us));
            }
            for (queue, [waiting, running, oldest, hosts, wanted]) in &queues {
                let oldest = Duration::from_secs(*oldest);
                let load = Load { waiting: *waiting, running: *running, oldest, hosts: *hosts, ..Load::default() };
                metrics.queues.set(&queue.parse().unwrap(), &load, *wanted);
            }
            runs.iter().for_each(|state| metrics.runs.ended(state));
            metrics.runs.folded.inc_by(counted.into());
            metrics.schedules.missed.inc_by(counted.into());
            let samples = read(&metrics.text());
            prop_assert_eq!(value(&samples, "run_records_folded_total", ""), Some(f64::from(counted)));
            prop_assert_eq!(value(&samples, "schedule_slots_missed_total", ""), Some(f64::from(counted)));
            let told = samples.keys().filter(|(name, _)| name == "lovage_queue_waiting").count();
            prop_assert_eq!(told, queues.len());
            let settled: f64 = samples.iter().filter(|((name, _), _)| name == "lovage_tasks_settled_total").map(|(_, n)| n).sum();
            prop_assert_eq!(settled, f64::from(u32::try_from(ends.len()).unwrap()));
        }
    }
}

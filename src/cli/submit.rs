//! The options of a submit, shared by `call`, `send` and `schedule create`.

use std::time::Duration;

use clap::Args;

use super::gather::{DebounceArgs, SingletonArgs};
use super::limits::RuleArgs;
use super::{Connect, Fault, input};
use crate::client::Place;
use crate::model::limit::Limit;
use crate::model::limits::{FuelWish, Wish};
use crate::model::once;
use crate::model::schedule::calendar::{ZONE_DEFAULT, parse_time};
use crate::model::signature::{LABELS_MAX, Options, Wanted, parse_label};
use crate::model::time::{parse_duration, parse_span};
use crate::model::{Policy, Queue, Signature, TaskRef, Timestamp};
use crate::protocol::subject::{PRIORITY_DEFAULT, Priority};

/// A task, its input and its options.
#[derive(Args)]
pub(super) struct Submit {
    /// The task: module/task or module@version/task.
    task: TaskRef,

    /// Its input: JSON, - for stdin, or @FILE; null where it is not given.
    input: Option<String>,

    #[command(flatten)]
    pub(super) connect: Connect,

    #[command(flatten)]
    pub(super) how: How,
}

/// How a task is called, and when.
#[derive(Args)]
pub(super) struct How {
    #[command(flatten)]
    pub(super) options: TaskOptions,

    #[command(flatten)]
    pub(super) debounce: DebounceArgs,

    /// Not before this much later, as in 90s or 2d.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "at")]
    pub(super) delay: Option<Duration>,

    /// Not before this time: RFC 3339, or a local time of --zone.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,

    /// The zone of --at, as in Europe/Berlin.
    #[arg(long, default_value = ZONE_DEFAULT, requires = "at")]
    zone: String,

    /// How long a second submit under --idempotency-key is the first one; a day where it is not given, 30d at most.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "idempotency_key")]
    pub(super) idempotency_window: Option<Duration>,
}

/// How a task is called.
#[derive(Args)]
pub(super) struct TaskOptions {
    /// The queue to wait in.
    #[arg(long, default_value = "default")]
    pub(super) queue: Queue,

    /// Its priority in the queue, 0 to 9: 9 is taken first, and others still have their turns.
    #[arg(long, value_name = "N", default_value_t = PRIORITY_DEFAULT)]
    pub(super) priority: Priority,

    /// A label that its host must have, as in gpu=yes; repeat it for more.
    #[arg(long = "require", value_name = "K=V", value_parser = parse_label)]
    requires: Vec<(String, String)>,

    /// Attempts in all, or a policy as JSON with attempts, backoff, factor, max, jitter, on.
    #[arg(long, value_name = "N|JSON", value_parser = policy)]
    retry: Option<Policy>,

    /// Units of fuel, or off.
    #[arg(long, value_name = "N|off", value_parser = fuel)]
    fuel: Option<FuelWish>,

    /// Bytes of memory.
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,

    /// Wall-clock bound of one attempt, as in 90s.
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    attempt_timeout: Option<Duration>,

    /// How long a guest that asks whether it is cancelled may go on after that; at most what its host allows.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    cancel_grace: Option<Duration>,

    /// Do not run if no host takes it up within this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    expires: Option<Duration>,

    /// Wall-clock bound of the whole task, its waiting and all its attempts included, from when it is due.
    #[arg(long, value_name = "DURATION", value_parser = parse_span)]
    timeout: Option<Duration>,

    /// The same for every attempt; guests hand it to services that they call. A second `send` or `call` with the key is the
    /// first one, for a day or --idempotency-window.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Tasks with the same key share a limit: the one that their task declares, or --rate and --concurrency.
    #[arg(long, value_name = "KEY")]
    limit_key: Option<String>,

    #[command(flatten)]
    rule: RuleArgs,

    #[command(flatten)]
    singleton: SingletonArgs,

    /// A label to find it by; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    pub(super) labels: Vec<(String, String)>,
}

impl Submit {
    /// What to submit, and where.
    pub(super) fn signature(&self, now: Timestamp) -> Result<(Signature, Place), Fault> {
        self.how.signature(self.task.clone(), self.input.as_deref(), now)
    }
}

impl How {
    /// What to submit, and where.
    pub(super) fn signature(
        &self,
        task: TaskRef,
        input: Option<&str>,
        now: Timestamp,
    ) -> Result<(Signature, Place), Fault> {
        let mut signature = Signature::new(task, input::read(input)?);
        signature.options = self.options.options()?;
        signature.options.debounce = self.debounce.debounce()?;
        let due = self.due(now)?;
        self.options.wanted().stamp(&mut signature.options, now, due);
        Ok((signature, Place { queue: self.options.queue.clone(), priority: self.options.priority, due }))
    }

    /// The idempotency key and its window, where there is one.
    pub(super) fn once(&self) -> Option<(&str, Duration)> {
        let window = self.idempotency_window.unwrap_or(once::WINDOW_DEFAULT);
        self.options.idempotency_key.as_deref().map(|key| (key, window))
    }

    /// When it is due, if not at once.
    pub(super) fn due(&self, now: Timestamp) -> Result<Option<Timestamp>, Fault> {
        if let Some(delay) = self.delay {
            return Ok(Some(now.after(delay)));
        }
        let Some(text) = &self.at else { return Ok(None) };
        let at = parse_time(text, &self.zone).map_err(|unfit| Fault::usage(unfit.to_string()))?;
        if at < now {
            return Err(Fault::usage(format!("--at {text}: that is over, it is {now}")));
        }
        Ok(Some(at))
    }
}

impl TaskOptions {
    /// How long the task is wanted.
    pub(super) const fn wanted(&self) -> Wanted {
        Wanted { expires: self.expires, timeout: self.timeout }
    }

    /// All of them but those that are counted from a submit.
    pub(super) fn options(&self) -> Result<Options, Fault> {
        if self.labels.len() > LABELS_MAX || self.requires.len() > LABELS_MAX {
            return Err(Fault::usage(format!("a task takes up to {LABELS_MAX} labels")));
        }
        let fleet = match (&self.limit_key, self.rule.rule()?) {
            (Some(key), Some(rule)) => vec![Limit::of_key(key, rule).map_err(|unfit| Fault::usage(unfit.to_string()))?],
            (None, Some(_)) => return Err(Fault::usage("--rate and --concurrency take a --limit-key")),
            (_, None) => Vec::new(),
        };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Ok(Options {
            retry: self.retry.clone().unwrap_or_default(),
            limits: Wish {
                fuel: self.fuel,
                memory_bytes: self.memory,
                attempt_timeout_ms: self.attempt_timeout.map(millis),
                output_bytes: None,
                cancel_grace_ms: self.cancel_grace.map(millis),
            },
            expires: None,
            timeout_at: None,
            idempotency_key: self.idempotency_key.clone(),
            limit_key: self.limit_key.clone(),
            fleet,
            singleton: self.singleton.singleton()?,
            debounce: None,
            labels: self.labels.iter().cloned().collect(),
            requires: self.requires.iter().cloned().collect(),
        })
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn fuel(text: &str) -> Result<FuelWish, String> {
    let quoted = if text == "off" { "\"off\"".to_owned() } else { text.to_owned() };
    serde_json::from_str(&quoted).map_err(|_| "it takes a number of units, or off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::limits::Off;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        submit: Submit,
    }

    fn parse(args: &[&str]) -> Result<Submit, String> {
        let args = ["submit"].iter().chain(args);
        Only::try_parse_from(args).map(|only| only.submit).map_err(|error| error.to_string())
    }

    #[test]
    fn a_task_alone_has_the_defaults() {
        let (signature, place) = parse(&["m/t"]).unwrap().signature(Timestamp::default()).unwrap();
        assert_eq!(signature, Signature::new("m/t".parse().unwrap(), "null"));
        assert_eq!(place, Place::default());
    }

    #[test]
    fn every_option_reaches_the_signature() {
        let args = "m@1/t 7 --queue q --retry 4 --fuel off --memory 9 --attempt-timeout 1m --cancel-grace 3s --expires 2s --timeout 5s \
                    --idempotency-key k --label a=1 --label b=2 --priority 9 --require gpu=yes";
        let submit = parse(&args.split(' ').filter(|arg| !arg.is_empty()).collect::<Vec<_>>()).unwrap();
        let (signature, place) = submit.signature(Timestamp::from_millis(1_000)).unwrap();
        let Options { retry, limits, expires, timeout_at, idempotency_key, labels, requires, .. } = signature.options;
        assert_eq!(timeout_at, Some(Timestamp::from_millis(6_000)));
        assert_eq!((place.queue.as_str(), place.priority.number(), retry.attempts), ("q", 9, 4));
        assert_eq!(requires["gpu"], "yes");
        assert_eq!(limits.fuel, Some(FuelWish::Off(Off::Off)));
        assert_eq!((limits.memory_bytes, limits.attempt_timeout_ms), (Some(9), Some(60_000)));
        assert_eq!(limits.cancel_grace_ms, Some(3_000));
        assert_eq!((expires, idempotency_key.as_deref()), (Some(Timestamp::from_millis(3_000)), Some("k")));
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn a_wrong_argument_is_told_what_it_takes() {
        for (args, remedy) in [
            (&["resize"][..], "module/task or module@version/task"),
            (&["M/t"], "a-z, 0-9"),
            (&["m/t", "--queue", "a.b"], "a-z, 0-9"),
            (&["m/t", "--retry", "0"], "from 1 to 1000"),
            (&["m/t", "--retry", "{\"tries\":2}"], "attempts, backoff, factor"),
            (&["m/t", "--fuel", "lots"], "a number of units, or off"),
            (&["m/t", "--memory", "1GB"], "--memory <BYTES>"),
            (&["m/t", "--attempt-timeout", "90"], "100ms, 5s"),
            (&["m/t", "--expires", "tomorrow"], "100ms, 5s"),
            (&["m/t", "--timeout", "-5s"], "unexpected argument"),
            (&["m/t", "--timeout", "400d"], "of a year at most"),
            (&["m/t", "--timeout", "0s"], "more than no time"),
            (&["m/t", "--attempt-timeout", "0s"], "more than no time"),
            (&["m/t", "--expires", "0ms"], "more than no time"),
            (&["m/t", "--label", "region"], "key=value"),
            (&["m/t", "--require", "gpu"], "key=value"),
            (&["m/t", "--priority", "10"], "a number from 0 to 9, 9 first"),
            (&["m/t", "--priority", "-1"], "unexpected argument"),
            (&["m/t", "--priority", "high"], "a number from 0 to 9, 9 first"),
            (&["m/t", "--delay", "-5s"], "unexpected argument"),
            (&["m/t", "--delay", "400d"], "of a year at most"),
            (&["m/t", "--delay", "5s", "--at", "2026-01-01T00:00:00Z"], "cannot be used with"),
            (&["m/t", "--zone", "UTC"], "--at"),
            (&["m/t", "--idempotency-window", "7d"], "--idempotency-key"),
            (&["m/t", "--idempotency-key", "k", "--idempotency-window", "400d"], "of a year at most"),
            (&[], "<TASK>"),
        ] {
            let error = parse(args).err().unwrap_or_default();
            assert!(error.contains(remedy), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_task_waits_for_its_time() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let due = |args: &[&str]| {
            let submit = parse(&[&["m/t"], args].concat()).unwrap();
            submit
                .signature(now)
                .map(|(_, place)| place.due.map(|due| due.to_string()))
                .map_err(|fault| format!("{fault:?}"))
        };
        assert_eq!(due(&[]), Ok(None));
        assert_eq!(due(&["--delay", "1m"]), Ok(Some("2026-06-01T00:01:00.000Z".to_owned())));
        let local = due(&["--at", "2026-07-01T09:00", "--zone", "Europe/Berlin"]);
        assert_eq!(local, Ok(Some("2026-07-01T07:00:00.000Z".to_owned())));
        for (args, words) in [
            (&["--at", "2026-05-31T23:59:59Z"][..], "that is over"),
            (&["--at", "tomorrow"], "RFC 3339"),
            (&["--at", "2026-10-25T02:30", "--zone", "Europe/Berlin"], "comes twice"),
            (&["--at", "2027-03-28T02:30", "--zone", "Europe/Berlin"], "does not exist"),
            (&["--at", "2026-07-01T09:00", "--zone", "Berlin/Europe"], "IANA database"),
        ] {
            let fault = due(args).unwrap_err();
            assert!(fault.contains(words), "{args:?}: {fault}");
        }
    }

    #[test]
    fn too_many_labels_are_refused() {
        let labels: Vec<String> = (0..=LABELS_MAX).map(|n| format!("--label=k{n}=v")).collect();
        let args: Vec<&str> = ["m/t"].into_iter().chain(labels.iter().map(String::as_str)).collect();
        let fault = parse(&args).unwrap().signature(Timestamp::default()).unwrap_err();
        assert!(format!("{fault:?}").contains("up to 16 labels"), "{fault:?}");
    }
}

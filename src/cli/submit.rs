//! The options of a submit, shared by `call` and `send`.

use std::time::Duration;

use clap::Args;

use super::{Connect, Fault, input};
use crate::client::Place;
use crate::model::limits::{FuelWish, Wish};
use crate::model::signature::{LABELS_MAX, Options, parse_label};
use crate::model::time::parse_duration;
use crate::model::{Policy, Queue, Signature, TaskRef, Timestamp};

/// A task, its input and its options.
#[derive(Args)]
pub(super) struct Submit {
    /// The task: module/task or module@version/task.
    task: TaskRef,

    /// Its input: JSON, - for stdin, or @FILE; null where it is not given.
    input: Option<String>,

    #[command(flatten)]
    pub(super) connect: Connect,

    /// The queue to wait in.
    #[arg(long, default_value = "default")]
    queue: Queue,

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
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    attempt_timeout: Option<Duration>,

    /// Do not run if no host takes it up within this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<Duration>,

    /// The same for every attempt; guests hand it to services that they call.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// A label; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,
}

impl Submit {
    /// What to submit, and where.
    pub(super) fn signature(&self, now: Timestamp) -> Result<(Signature, Place), Fault> {
        if self.labels.len() > LABELS_MAX {
            return Err(Fault::usage(format!("a task takes up to {LABELS_MAX} labels")));
        }
        let mut signature = Signature::new(self.task.clone(), input::read(self.input.as_deref())?);
        signature.options = Options {
            retry: self.retry.clone().unwrap_or_default(),
            limits: Wish {
                fuel: self.fuel,
                memory_bytes: self.memory,
                attempt_timeout_ms: self.attempt_timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
                output_bytes: None,
            },
            expires: self.expires.map(|expires| now.after(expires)),
            idempotency_key: self.idempotency_key.clone(),
            labels: self.labels.iter().cloned().collect(),
        };
        Ok((signature, Place { queue: self.queue.clone(), ..Place::default() }))
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn fuel(text: &str) -> Result<FuelWish, String> {
    let quoted = if text == "off" { "\"off\"".to_owned() } else { text.to_owned() };
    serde_json::from_str(&quoted).map_err(|_| "it takes a number of units, or off".to_owned())
}

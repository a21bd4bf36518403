//! Writes flows in Rust, with the words of Celery's canvas.
//!
//! ```
//! use lovage::workflow::flow::build::{chain, chord, map, task};
//!
//! let flow = chain![
//!     task("shop/orders").retry(5),
//!     map(task("shop/price").queue("slow")).concurrency(16),
//!     chord([task("shop/sum"), task("shop/mean")], task("shop/report").name("report")),
//! ];
//! assert!(flow.check().is_ok());
//! assert_eq!(task("m/a") | task("m/b"), chain![task("m/a"), task("m/b")]);
//! ```
//!
//! Everything is written as it is given; [`Flow::check`] and submission say what is wrong with it, as with a document from a file.

use std::ops::BitOr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::node::{Document, OnError};
use super::problem::Problem;
use crate::model::Policy;
use crate::model::time::format_duration;

#[doc(inline)]
pub use crate::{chain, group};

/// A node as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow(Map<String, Value>);

/// A duration as it is written: from a `Duration`, from a text such as `5s`, or from a template for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span(String);

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(format_duration(duration))
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A retry policy as it is written: from a number of attempts, or from a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry(Value);

impl From<u32> for Retry {
    fn from(attempts: u32) -> Self {
        Self(attempts.into())
    }
}

impl From<Policy> for Retry {
    fn from(policy: Policy) -> Self {
        Self(json!(policy))
    }
}

/// Nodes one after the other: `chain![task("m/a"), task("m/b")]`.
#[macro_export]
macro_rules! chain {
    ($($node:expr),* $(,)?) => { $crate::workflow::flow::build::chain_of([$($node),*]) };
}

/// Nodes all at once: `group![task("m/a"), task("m/b")]`.
#[macro_export]
macro_rules! group {
    ($($node:expr),* $(,)?) => { $crate::workflow::flow::build::group_of([$($node),*]) };
}

/// Calls a task.
#[must_use]
pub fn task(task: &str) -> Flow {
    Flow::of("task", task)
}

/// Nodes one after the other.
pub fn chain_of(nodes: impl IntoIterator<Item = Flow>) -> Flow {
    Flow::of("chain", list(nodes))
}

/// Nodes all at once.
pub fn group_of(nodes: impl IntoIterator<Item = Flow>) -> Flow {
    Flow::of("group", list(nodes))
}

/// Nodes all at once, then the body.
pub fn chord(header: impl IntoIterator<Item = Flow>, body: Flow) -> Flow {
    Flow::of("chord", json!({"header": list(header), "body": body.node()}))
}

/// The node once for each item.
#[must_use]
pub fn map(node: Flow) -> Flow {
    Flow::of("map", node.node())
}

/// The node once for each item, which is the list of its positional arguments.
#[must_use]
pub fn starmap(node: Flow) -> Flow {
    Flow::of("starmap", node.node())
}

/// The node once for each `size` items.
#[must_use]
pub fn chunks(size: u32, node: Flow) -> Flow {
    Flow::of("chunks", node.node()).with("size", size)
}

/// The first branch whose condition is true; [`Flow::otherwise`] where none is.
pub fn choose<'a>(branches: impl IntoIterator<Item = (&'a str, Flow)>) -> Flow {
    let branch = |(when, then): (&str, Flow)| json!({"when": when, "then": then.node()});
    Flow::of("choose", branches.into_iter().map(branch).collect::<Value>())
}

/// The node again and again while the condition is true, `max` times at most: `loop` in documents.
#[must_use]
pub fn repeat(node: Flow, condition: &str, max: u32) -> Flow {
    Flow::of("loop", node.node()).with("while", condition).with("max", max)
}

/// The node every so often until the condition is true of its output.
pub fn poll(node: Flow, every: impl Into<Span>, until: &str, timeout: impl Into<Span>) -> Flow {
    Flow::of("poll", node.node()).with("every", every.into().0).with("until", until).timeout(timeout)
}

/// Waits for a time.
pub fn sleep(duration: impl Into<Span>) -> Flow {
    Flow::of("sleep", duration.into().0)
}

/// Waits for a signal.
#[must_use]
pub fn wait(signal: &str) -> Flow {
    Flow::of("wait", signal)
}

/// A value that the coordinator computes.
pub fn value(template: impl Into<Value>) -> Flow {
    Flow::of("value", template)
}

/// A child run of a stored flow.
#[must_use]
pub fn flow(name: &str) -> Flow {
    Flow::of("flow", name)
}

fn list(nodes: impl IntoIterator<Item = Flow>) -> Value {
    nodes.into_iter().map(Flow::node).collect()
}

impl Flow {
    fn of(kind: &str, value: impl Into<Value>) -> Self {
        Self(Map::new()).with(kind, value)
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// The node as JSON.
    #[must_use]
    pub fn node(self) -> Value {
        Value::Object(self.0)
    }

    /// The document as JSON, without a name.
    #[must_use]
    pub fn document(self) -> Value {
        json!({"flow": self.node()})
    }

    /// The document as JSON, with a name.
    #[must_use]
    pub fn document_named(self, name: &str) -> Value {
        json!({"name": name, "flow": self.node()})
    }

    /// Reads what was built.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self) -> Result<Document, Vec<Problem>> {
        Document::from_json(&self.document())
    }

    /// Its name: its output is `steps.<name>` for what follows.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.with("name", name)
    }

    /// A template that takes the place of the received value. Celery: an immutable signature.
    #[must_use]
    pub fn input(self, template: impl Into<Value>) -> Self {
        self.with("input", template)
    }

    /// Positional arguments behind the received value, each a template. Celery: a partial signature.
    #[must_use]
    pub fn args<T: Into<Value>>(self, args: impl IntoIterator<Item = T>) -> Self {
        self.with("args", args.into_iter().map(Into::into).collect::<Value>())
    }

    /// The items of a map, starmap or chunks.
    #[must_use]
    pub fn over(self, template: impl Into<Value>) -> Self {
        self.with("over", template)
    }

    /// What a `choose` takes where no branch is.
    #[must_use]
    pub fn otherwise(self, node: Self) -> Self {
        self.with("else", node.node())
    }

    /// What a failing member means.
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        self.with("on_error", on_error.word())
    }

    /// How many members must succeed.
    #[must_use]
    pub fn need(self, members: u32) -> Self {
        self.with("need", members)
    }

    /// Members in flight at most.
    #[must_use]
    pub fn concurrency(self, members: u32) -> Self {
        self.with("concurrency", members)
    }

    /// Runs when the node fails; its output becomes the node's.
    #[must_use]
    pub fn catch(self, node: Self) -> Self {
        self.with("catch", node.node())
    }

    /// Undoes the node when the run fails later.
    #[must_use]
    pub fn compensate(self, node: Self) -> Self {
        self.with("compensate", node.node())
    }

    /// Is told of the node's success.
    #[must_use]
    pub fn on_success(self, node: Self) -> Self {
        self.with("on_success", node.node())
    }

    /// Is told of the node's failure.
    #[must_use]
    pub fn on_failure(self, node: Self) -> Self {
        self.with("on_failure", node.node())
    }

    /// The wall-clock bound of the whole node.
    #[must_use]
    pub fn timeout(self, timeout: impl Into<Span>) -> Self {
        self.with("timeout", timeout.into().0)
    }

    /// The wall-clock bound of one attempt.
    #[must_use]
    pub fn attempt_timeout(self, timeout: impl Into<Span>) -> Self {
        self.with("attempt_timeout", timeout.into().0)
    }

    /// Attempts in all, or a policy.
    #[must_use]
    pub fn retry(self, retry: impl Into<Retry>) -> Self {
        self.with("retry", retry.into().0)
    }

    /// The queue that tasks wait in.
    #[must_use]
    pub fn queue(self, queue: &str) -> Self {
        self.with("queue", queue)
    }

    /// 0 to 9, 9 first.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.with("priority", priority)
    }

    /// The budget of instructions: a number, or `"off"`.
    #[must_use]
    pub fn fuel(self, fuel: impl Into<Value>) -> Self {
        self.with("fuel", fuel)
    }

    /// Bytes of linear memory: a number, or a text such as `"128MiB"`.
    #[must_use]
    pub fn memory(self, memory: impl Into<Value>) -> Self {
        self.with("memory", memory)
    }

    /// How long after it was dispatched a task may still begin.
    #[must_use]
    pub fn expires(self, expires: impl Into<Span>) -> Self {
        self.with("expires", expires.into().0)
    }

    /// One more label.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.also("labels", key, value)
    }

    /// One more label that a host must have.
    #[must_use]
    pub fn requires(self, key: &str, value: &str) -> Self {
        self.also("requires", key, value)
    }

    fn also(mut self, field: &str, key: &str, value: &str) -> Self {
        let labels = self.0.entry(field).or_insert_with(|| json!({}));
        if let Value::Object(labels) = labels {
            labels.insert(key.to_owned(), value.into());
        }
        self
    }

    /// How long the task waits before it is queued.
    #[must_use]
    pub fn delay(self, delay: impl Into<Span>) -> Self {
        self.with("delay", delay.into().0)
    }

    /// Tasks with the same key share a limit.
    #[must_use]
    pub fn limit_key(self, template: &str) -> Self {
        self.with("limit_key", template)
    }

    /// The same for every attempt and delivery.
    #[must_use]
    pub fn idempotency_key(self, template: &str) -> Self {
        self.with("idempotency_key", template)
    }
}

/// `a | b | c` is `chain![a, b, c]`.
impl BitOr for Flow {
    type Output = Self;

    fn bitor(mut self, next: Self) -> Self {
        // A chain with fields of its own is a node of the new chain: they are about it alone.
        let bare = self.0.len() == 1;
        match self.0.get_mut("chain").and_then(Value::as_array_mut) {
            Some(list) if bare => {
                list.push(next.node());
                self
            }
            _ => chain![self, next],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::field::{FIELDS, KINDS};
    use super::*;

    /// Every kind and field, each with what is written for it.
    fn all() -> Vec<(Flow, Value)> {
        let node = || value(1);
        let one = || json!({"value": 1});
        vec![
            (task("m/t"), json!({"task": "m/t"})),
            (chain![], json!({"chain": []})),
            (chain![node(), sleep("1s")], json!({"chain": [{"value": 1}, {"sleep": "1s"}]})),
            (group![node()], json!({"group": [{"value": 1}]})),
            (
                chord([node(), node()], task("m/sum")),
                json!({"chord": {"header": [{"value": 1}, {"value": 1}], "body": {"task": "m/sum"}}}),
            ),
            (map(node()).over([1, 2]), json!({"map": {"value": 1}, "over": [1, 2]})),
            (starmap(node()), json!({"starmap": {"value": 1}})),
            (chunks(10, node()), json!({"chunks": {"value": 1}, "size": 10})),
            (
                choose([("prev > 1", node())]).otherwise(node()),
                json!({"choose": [{"when": "prev > 1", "then": {"value": 1}}], "else": {"value": 1}}),
            ),
            (repeat(node(), "index < 3", 5), json!({"loop": {"value": 1}, "while": "index < 3", "max": 5})),
            (
                poll(node(), "1s", "prev == 1", Duration::from_secs(60)),
                json!({"poll": {"value": 1}, "every": "1s", "until": "prev == 1", "timeout": "1m"}),
            ),
            (sleep(Duration::from_millis(1_500)), json!({"sleep": "1s500ms"})),
            (wait("go"), json!({"wait": "go"})),
            (value(json!({"a": "${prev}"})), json!({"value": {"a": "${prev}"}})),
            (flow("child@2"), json!({"flow": "child@2"})),
            (node().name("a"), json!({"value": 1, "name": "a"})),
            (node().input("${input}"), json!({"value": 1, "input": "${input}"})),
            (task("m/t").args([8]), json!({"task": "m/t", "args": [8]})),
            (group![node()].on_error(OnError::Collect), json!({"group": [one()], "on_error": "collect"})),
            (group![node()].need(1), json!({"group": [one()], "need": 1})),
            (map(node()).concurrency(4), json!({"map": one(), "concurrency": 4})),
            (node().catch(node()).compensate(node()), json!({"value": 1, "catch": one(), "compensate": one()})),
            (
                node().on_success(node()).on_failure(node()),
                json!({"value": 1, "on_success": one(), "on_failure": one()}),
            ),
            (task("m/t").attempt_timeout("5s").retry(4), json!({"task": "m/t", "attempt_timeout": "5s", "retry": 4})),
            (
                task("m/t").retry(Policy::default()),
                json!({"task": "m/t", "retry": {"attempts": 3, "backoff": "1s", "factor": 2.0, "max": "10m", "jitter": true}}),
            ),
            (task("m/t").queue("slow").priority(9), json!({"task": "m/t", "queue": "slow", "priority": 9})),
            (
                task("m/t").fuel("off").memory("64MiB").expires("1m"),
                json!({"task": "m/t", "fuel": "off", "memory": "64MiB", "expires": "1m"}),
            ),
            (
                task("m/t").label("a", "b").label("c", "d").requires("gpu", "yes"),
                json!({"task": "m/t", "labels": {"a": "b", "c": "d"}, "requires": {"gpu": "yes"}}),
            ),
            (
                task("m/t").delay("3s").limit_key("u").idempotency_key("k"),
                json!({"task": "m/t", "delay": "3s", "limit_key": "u", "idempotency_key": "k"}),
            ),
        ]
    }

    #[test]
    fn what_is_built_is_what_is_written_and_is_accepted() {
        for (built, written) in all() {
            assert_eq!(built.clone().node(), written);
            if let Err(problems) = built.check() {
                panic!("{written}: {problems:?}");
            }
        }
    }

    #[test]
    fn every_kind_and_field_can_be_built() {
        let written: Vec<Value> = all().into_iter().map(|(_, written)| written).collect();
        for name in KINDS.iter().map(|row| row.name).chain(FIELDS.iter().map(|row| row.name)) {
            assert!(written.iter().any(|node| node.get(name).is_some()), "{name}");
        }
    }

    #[test]
    fn a_bar_makes_chains() {
        let step = |n: u32| task("m/add").args([n]);
        assert_eq!(step(1) | step(2) | step(3), chain![step(1), step(2), step(3)]);
        let named = (step(1) | step(2)).name("first");
        assert_eq!(named.clone() | step(3), chain![named, step(3)]);
        assert_eq!(step(1) | group![step(2)], chain![step(1), group![step(2)]]);
    }

    #[test]
    fn a_document_may_have_a_name() {
        assert_eq!(value(1).document(), json!({"flow": {"value": 1}}));
        assert_eq!(value(1).document_named("etl"), json!({"name": "etl", "flow": {"value": 1}}));
        let problems = task("nothing").check().unwrap_err();
        assert!(problems[0].to_string().starts_with("at /flow/task: invalid task \"nothing\""));
    }
}

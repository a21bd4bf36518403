//! The normal form of a document: what a run stores. It reads back as the same document.
//!
//! It is always a document, also where a bare node was read; durations, memory and retry policies have one form, with every default
//! of a policy written out, so that a later version that has other defaults does not change a stored flow.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::node::{Document, Kind, Node, OnError, SleepFor, TaskCall, TaskOptions};
use crate::model::time::format_duration;
use crate::workflow::expression::Template;

impl Document {
    /// The normal form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Fields::default();
        fields.put("name", self.name.as_ref().map(|name| name.as_str().into()));
        fields.put("input", self.input.clone());
        fields.put("flow", Some(self.flow.to_json()));
        Value::Object(fields.0)
    }
}

impl Node {
    /// The normal form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Fields::default();
        kind(&self.kind, &mut fields);
        fields.put("name", self.name.as_ref().map(|name| name.as_str().into()));
        fields.put("input", self.input.as_ref().map(template));
        fields.put("on_error", self.on_error.map(|on_error| on_error.word().into()));
        fields.put("need", self.need.map(Value::from));
        fields.put("concurrency", self.concurrency.map(Value::from));
        fields.put("timeout", self.timeout.map(duration));
        fields.node("catch", self.catch.as_deref());
        fields.node("compensate", self.compensate.as_deref());
        fields.node("on_success", self.on_success.as_deref());
        fields.node("on_failure", self.on_failure.as_deref());
        options(&self.options, &mut fields);
        Value::Object(fields.0)
    }
}

impl OnError {
    /// `stop`, `finish`, `collect`
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Finish => "finish",
            Self::Collect => "collect",
        }
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value);
        }
    }

    fn node(&mut self, name: &str, node: Option<&Node>) {
        self.put(name, node.map(Node::to_json));
    }
}

fn kind(kind: &Kind, fields: &mut Fields) {
    match kind {
        Kind::Task(call) => task(call, fields),
        Kind::Chain(list) => fields.put("chain", Some(nodes(list))),
        Kind::Group(list) => fields.put("group", Some(nodes(list))),
        Kind::Chord { header, body } => {
            fields.put("chord", Some(json!({"header": nodes(header), "body": body.to_json()})));
        }
        Kind::Map { body, over } => each("map", body, over.as_ref(), fields),
        Kind::Starmap { body, over } => each("starmap", body, over.as_ref(), fields),
        Kind::Chunks { body, size, over } => {
            each("chunks", body, over.as_ref(), fields);
            fields.put("size", Some((*size).into()));
        }
        Kind::Choose { branches, otherwise } => {
            let branch = |(when, then): (&str, &Node)| json!({"when": when, "then": then.to_json()});
            let branches = branches.iter().map(|each| branch((each.when.source(), &each.then)));
            fields.put("choose", Some(branches.collect()));
            fields.node("else", otherwise.as_deref());
        }
        Kind::Loop { body, condition, max } => {
            fields.node("loop", Some(body));
            fields.put("while", Some(condition.source().into()));
            fields.put("max", Some((*max).into()));
        }
        Kind::Poll { body, every, until } => {
            fields.node("poll", Some(body));
            fields.put("every", Some(duration(*every)));
            fields.put("until", Some(until.source().into()));
        }
        Kind::Sleep(SleepFor::Fixed(span)) => fields.put("sleep", Some(duration(*span))),
        Kind::Sleep(SleepFor::Template(span)) => fields.put("sleep", Some(template(span))),
        Kind::Wait(signal) => fields.put("wait", Some(signal.as_str().into())),
        Kind::Value(value) => fields.put("value", Some(template(value))),
        Kind::Flow { name, version: None } => fields.put("flow", Some(name.as_str().into())),
        Kind::Flow { name, version: Some(version) } => fields.put("flow", Some(format!("{name}@{version}").into())),
    }
}

fn task(call: &TaskCall, fields: &mut Fields) {
    fields.put("task", Some(call.task.to_string().into()));
    fields.put("args", call.args.as_ref().map(|args| args.iter().map(template).collect()));
    fields.put("delay", call.delay.map(duration));
    fields.put("limit_key", call.limit_key.as_ref().map(template));
    fields.put("idempotency_key", call.idempotency_key.as_ref().map(template));
}

fn each(name: &str, body: &Node, over: Option<&Template>, fields: &mut Fields) {
    fields.node(name, Some(body));
    fields.put("over", over.map(template));
}

fn options(options: &TaskOptions, fields: &mut Fields) {
    let TaskOptions { queue, priority, fuel, memory_bytes, expires, labels, requires, retry, attempt_timeout } =
        options;
    fields.put("queue", queue.as_ref().map(|queue| queue.as_str().into()));
    fields.put("priority", priority.map(Value::from));
    fields.put("fuel", fuel.and_then(|fuel| serde_json::to_value(fuel).ok()));
    fields.put("memory", memory_bytes.map(Value::from));
    fields.put("expires", expires.map(duration));
    fields.put("labels", some_labels(labels));
    fields.put("requires", some_labels(requires));
    fields.put("retry", retry.as_ref().and_then(|retry| serde_json::to_value(retry).ok()));
    fields.put("attempt_timeout", attempt_timeout.map(duration));
}

fn some_labels(labels: &BTreeMap<String, String>) -> Option<Value> {
    (!labels.is_empty()).then(|| labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

fn nodes(list: &[Node]) -> Value {
    list.iter().map(Node::to_json).collect()
}

fn template(template: &Template) -> Value {
    template.json().clone()
}

fn duration(duration: Duration) -> Value {
    format_duration(duration).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normal form of a document in YAML, which reads back as itself.
    fn normal(yaml: &str) -> Value {
        let json = Document::parse_yaml(yaml).unwrap_or_else(|problems| panic!("{yaml}: {problems:?}")).to_json();
        let again = Document::from_json(&json).unwrap_or_else(|problems| panic!("{json}: {problems:?}"));
        assert_eq!(again.to_json(), json, "{yaml}");
        json
    }

    #[test]
    fn a_document_has_one_form() {
        for yaml in ["{sleep: 90s}", "{flow: {sleep: 1m30s}}", r#"{"flow": {"sleep": "90000ms"}}"#] {
            assert_eq!(normal(yaml), json!({"flow": {"sleep": "1m30s"}}), "{yaml}");
        }
        assert_eq!(
            normal("{name: a, input: true, flow: {flow: b@3}}"),
            json!({"name": "a", "input": true, "flow": {"flow": "b@3"}})
        );
        let retry = json!({"attempts": 5, "backoff": "1s", "factor": 2.0, "max": "10m", "jitter": true});
        assert_eq!(
            normal("{task: m/t, retry: 5, memory: 1KiB, fuel: off}")["flow"],
            json!({"task": "m/t", "retry": retry, "memory": 1024, "fuel": "off"})
        );
    }

    #[test]
    fn every_kind_and_field_is_written() {
        for yaml in [
            "{task: m@1/t, args: [1, '${prev.a}'], delay: 3s, limit_key: 'u${input.id}', idempotency_key: k, queue: q, priority: 0,
              fuel: 7, memory: 9, expires: 1m, labels: {a: b}, requires: {c: d}, attempt_timeout: 2s,
              retry: {attempts: 2, backoff: 0ms, factor: 1.5, max: 1s, jitter: false, on: [trap]}}",
            "{group: [{chain: []}, {value: null}], on_error: finish, timeout: 1d, name: a, input: {x: ['${input}']},
              catch: {value: 1}, compensate: {value: 2}, on_success: {value: 3}, on_failure: {wait: go, timeout: 1s}}",
            "{chord: {header: [{task: m/t}], body: {sleep: '${prev}s'}}}",
            "{map: {starmap: {chunks: {value: []}, size: 2, over: []}, over: '${prev}'}, over: [[1]], need: 1, concurrency: 3}",
            "{choose: [{when: prev > 1, then: {value: 1}}], else: {flow: child}}",
            "{loop: {value: 1}, while: index < 3, max: 4}",
            "{poll: {task: m/t}, every: 5s, until: prev == 1, timeout: 1h}",
        ] {
            let value: Value = serde_json::from_str(&normal(yaml)["flow"].to_string()).unwrap();
            let written = Document::parse_yaml(&format!("{{flow: {yaml}}}")).unwrap();
            assert_eq!(format!("{:?}", Document::from_json(&json!({"flow": value})).unwrap()), format!("{written:?}"));
        }
    }
}

//! From JSON to nodes: every field has its type, its kind and its place, or there is a problem that says so.

use serde_json::{Map, Value};

use super::field::{APART, CONCURRENCY_MAX, FIELDS, KINDS, KindRow, field_row, kind_row};
use super::node::{Branch, Document, Kind, Node, SleepFor, TaskCall, TaskOptions};
use super::problem::{Problem, Problems, below, meant, nearest, quoted, what};
use super::read::{self, Read};
use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, json, labels, scope, yaml};
use crate::workflow::expression::Template;

type Fields = Map<String, Value>;

impl Document {
    /// Reads a document, or a bare node, from JSON text.
    ///
    /// # Errors
    /// What is wrong with it, up to [`PROBLEMS_MAX`](super::PROBLEMS_MAX) of it.
    pub fn parse_json(text: &[u8]) -> Result<Self, Vec<Problem>> {
        within_bounds(text)?;
        Self::from_json(&json::read(text).map_err(|problem| vec![problem])?)
    }

    /// Reads a document, or a bare node, from YAML text. Problems know their line and column.
    ///
    /// # Errors
    /// What is wrong with it, up to [`PROBLEMS_MAX`](super::PROBLEMS_MAX) of it.
    pub fn parse_yaml(text: &str) -> Result<Self, Vec<Problem>> {
        within_bounds(text.as_bytes())?;
        let tree = yaml::read(text).map_err(|problem| vec![problem])?;
        check(&tree.to_json()).map_err(|problems| problems.located(|spot| tree.locate(spot)))
    }

    /// Reads a document, or a bare node, from JSON or YAML text: what begins as a JSON object does is JSON, all else is YAML.
    ///
    /// # Errors
    /// What is wrong with it, up to [`PROBLEMS_MAX`](super::PROBLEMS_MAX) of it.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Problem>> {
        within_bounds(text)?;
        let mut begin = text.iter().filter(|byte| !byte.is_ascii_whitespace());
        if begin.next() == Some(&b'{') && matches!(begin.next(), Some(b'"' | b'}')) {
            return Self::parse_json(text);
        }
        let text = std::str::from_utf8(text).map_err(|_| vec![Problem::top("it is not UTF-8 text")])?;
        Self::parse_yaml(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Reads a document, or a bare node, from a JSON value.
    ///
    /// # Errors
    /// What is wrong with it, up to [`PROBLEMS_MAX`](super::PROBLEMS_MAX) of it.
    pub fn from_json(json: &Value) -> Result<Self, Vec<Problem>> {
        check(json).map_err(|problems| problems.located(|_| None))
    }
}

fn within_bounds(text: &[u8]) -> Result<(), Vec<Problem>> {
    if text.len() <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(vec![Problem::top(format!("the document has {} bytes; 1 MiB ({DOCUMENT_BYTES_MAX}) is allowed", text.len()))])
}

fn check(json: &Value) -> Result<Document, Problems> {
    let mut parser = Parser::default();
    if json::is_too_deep(json) {
        parser.problems.push("", json::TOO_DEEP);
        return Err(parser.problems);
    }
    let document = match json.as_object() {
        Some(map) if map.get("flow").is_some_and(Value::is_object) => parser.document(map),
        _ => parser.node("", json, 1).map(|flow| Document { name: None, input: None, flow }),
    };
    // Names and references of half a document would only repeat what is wrong with it.
    if let (Some(document), true) = (&document, parser.problems.is_empty()) {
        scope::check(&document.flow, &mut parser.problems);
        labels::check(&document.flow, &mut parser.problems);
    }
    document.filter(|_| parser.problems.is_empty()).ok_or(parser.problems)
}

/// Where the parser is: a node, by its fields.
#[derive(Clone, Copy)]
struct At<'j> {
    place: &'j str,
    fields: &'j Fields,
    kind: &'static KindRow,
    depth: usize,
}

#[derive(Default)]
struct Parser {
    problems: Problems,
}

impl Parser {
    fn document(&mut self, map: &Fields) -> Option<Document> {
        const KEYS: [&str; 3] = ["name", "input", "flow"];
        for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let hint = match field_row(key) {
                Some(_) => " (it belongs into the node below \"flow\")".to_owned(),
                None => meant(key, KEYS),
            };
            self.problems.push_in("", key, format!("unknown field {} of a document{hint}", quoted(key)));
        }
        let name = map.get("name").and_then(|json| self.taken("", "name", read::parsed(json)));
        let input = map.get("input").cloned();
        if let Some(input) = input.as_ref().filter(|input| !input.is_object() && !input.is_boolean()) {
            self.problems.push("/input", format!("it takes a JSON Schema, which is a map, not {}", what(input)));
        }
        let flow = self.node("/flow", map.get("flow")?, 1)?;
        Some(Document { name, input, flow })
    }

    fn node(&mut self, place: &str, json: &Value, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX {
            self.problems.push(place, format!("nodes are nested more than {DEPTH_MAX} deep"));
            return None;
        }
        let Some(fields) = json.as_object() else {
            self.problems.push(place, format!("a node is a map such as {{task: module/task}}, not {}", what(json)));
            return None;
        };
        let kind = self.kind_of(place, fields)?;
        let at = At { place, fields, kind, depth };
        self.refuse_strangers(at);
        let kind = self.kind(at);
        let node = Node {
            place: place.to_owned(),
            name: self.optional(at, "name", read::parsed),
            input: self.template(at, "input"),
            on_error: self.optional(at, "on_error", read::on_error),
            need: self.optional(at, "need", |json| read::number(json, 1, u32::MAX)),
            concurrency: self.optional(at, "concurrency", |json| read::number(json, 1, CONCURRENCY_MAX)),
            catch: self.child(at, "catch"),
            compensate: self.child(at, "compensate"),
            on_success: self.child(at, "on_success"),
            on_failure: self.child(at, "on_failure"),
            timeout: self.optional(at, "timeout", read::span),
            options: self.options(at),
            kind: kind?,
        };
        self.refuse_pairs(at, &node);
        Some(node)
    }

    /// The one kind of a node.
    fn kind_of(&mut self, place: &str, fields: &Fields) -> Option<&'static KindRow> {
        let kinds: Vec<&KindRow> = KINDS.iter().filter(|row| fields.contains_key(row.name)).collect();
        match kinds.as_slice() {
            [kind] => return Some(kind),
            [] => self.no_kind(place, fields),
            [first, .., last] => {
                let message = format!("{:?} and {:?} in one node: it takes one kind", first.name, last.name);
                self.problems.push_in(place, last.name, message);
            }
        }
        None
    }

    fn no_kind(&mut self, place: &str, fields: &Fields) {
        let strangers: Vec<&String> = fields.keys().filter(|key| field_row(key).is_none()).collect();
        let kinds = || KINDS.iter().map(|row| row.name);
        let slip = strangers.iter().find(|key| nearest(key, kinds()).is_some());
        let listed = || kinds().collect::<Vec<_>>().join(", ");
        match slip.or(strangers.first()) {
            Some(key) if slip.is_some() => {
                self.problems.push_in(place, key, format!("unknown field {}{}", quoted(key), meant(key, kinds())));
            }
            Some(key) => {
                let message = format!("unknown kind {}: a node has one of {}", quoted(key), listed());
                self.problems.push_in(place, key, message);
            }
            None => self.problems.push(place, format!("a node without a kind: it has one of {}", listed())),
        }
    }

    /// Fields that nobody knows, and those of other kinds.
    fn refuse_strangers(&mut self, at: At<'_>) {
        for key in at.fields.keys().filter(|key| kind_row(key).is_none()) {
            let message = match field_row(key) {
                Some(row) if row.on.allows(at.kind.name) => continue,
                Some(row) => format!("{key:?} does not go with {:?}, only with {}", at.kind.name, row.on.listed()),
                None => {
                    let known = FIELDS.iter().filter(|row| row.on.allows(at.kind.name)).map(|row| row.name);
                    format!("unknown field {}{}", quoted(key), meant(key, known))
                }
            };
            self.problems.push_in(at.place, key, message);
        }
        for required in at.kind.required.iter().filter(|required| !at.fields.contains_key(**required)) {
            self.problems.push(at.place, format!("{:?} needs {required:?}", at.kind.name));
        }
    }

    /// Fields that do not go together.
    fn refuse_pairs(&mut self, at: At<'_>, node: &Node) {
        for (one, other) in APART {
            if at.fields.contains_key(one) && at.fields.contains_key(other) {
                self.problems.push_in(at.place, one, format!("{one:?} and {other:?} do not go together"));
            }
        }
        if let (Kind::Group(members), Some(need)) = (&node.kind, node.need)
            && usize::try_from(need).is_ok_and(|need| need > members.len())
        {
            let message = format!("it needs {need} members to succeed, and the group has {}", members.len());
            self.problems.push(&below(at.place, "need"), message);
        }
    }

    fn kind(&mut self, at: At<'_>) -> Option<Kind> {
        let json = at.fields.get(at.kind.name)?;
        let place = below(at.place, at.kind.name);
        match at.kind.name {
            "task" => self.task(at),
            "chain" => Some(Kind::Chain(self.nodes(&place, json, at.depth)?)),
            "group" => Some(Kind::Group(self.nodes(&place, json, at.depth)?)),
            "chord" => self.chord(&place, json, at.depth),
            "choose" => self.choose(at, &place, json),
            "sleep" => self.sleep(at).map(Kind::Sleep),
            "wait" => self.optional(at, "wait", read::parsed).map(Kind::Wait),
            "value" => self.template(at, "value").map(Kind::Value),
            "flow" => self.optional(at, "flow", read::flow).map(|(name, version)| Kind::Flow { name, version }),
            _ => self.repeated(at),
        }
    }

    /// The kinds whose body may run more than once.
    fn repeated(&mut self, at: At<'_>) -> Option<Kind> {
        let body = self.child(at, at.kind.name);
        match at.kind.name {
            "loop" => {
                let condition = self.optional(at, "while", read::expression);
                let max = self.optional(at, "max", |json| read::number(json, 1, u32::MAX));
                Some(Kind::Loop { body: body?, condition: condition?, max: max? })
            }
            "poll" => {
                let every = self.optional(at, "every", read::span);
                let until = self.optional(at, "until", read::expression);
                Some(Kind::Poll { body: body?, every: every?, until: until? })
            }
            kind => {
                let over = self.template(at, "over");
                match kind {
                    "map" => Some(Kind::Map { body: body?, over }),
                    "starmap" => Some(Kind::Starmap { body: body?, over }),
                    _ => {
                        let size = self.optional(at, "size", |json| read::number(json, 1, u32::MAX));
                        Some(Kind::Chunks { body: body?, size: size?, over })
                    }
                }
            }
        }
    }

    fn task(&mut self, at: At<'_>) -> Option<Kind> {
        let task = self.optional(at, "task", read::parsed);
        let args = at.fields.get("args").and_then(|json| {
            let place = below(at.place, "args");
            let list = self.list(&place, json, "a list of arguments")?;
            let templates = list.iter().enumerate().map(|(n, json)| self.templated(&below(&place, n), json));
            templates.collect::<Option<Vec<_>>>()
        });
        let delay = self.optional(at, "delay", read::duration);
        let limit_key = self.text_template(at, "limit_key");
        let idempotency_key = self.text_template(at, "idempotency_key");
        Some(Kind::Task(Box::new(TaskCall { task: task?, args, delay, limit_key, idempotency_key })))
    }

    fn chord(&mut self, place: &str, json: &Value, depth: usize) -> Option<Kind> {
        let Some(map) = json.as_object() else {
            self.problems.push(place, format!("it takes a map of header and body, not {}", what(json)));
            return None;
        };
        self.only(place, map, &["header", "body"]);
        let header = map.get("header").and_then(|json| self.nodes(&below(place, "header"), json, depth));
        let body = map.get("body").and_then(|json| self.node(&below(place, "body"), json, depth + 1));
        Some(Kind::Chord { header: header?, body: Box::new(body?) })
    }

    fn choose(&mut self, at: At<'_>, place: &str, json: &Value) -> Option<Kind> {
        let list = self.list(place, json, "a list of branches")?;
        let mut branches = Vec::with_capacity(list.len());
        for (n, json) in list.iter().enumerate() {
            let place = below(place, n);
            let Some(map) = json.as_object() else {
                self.problems.push(&place, format!("a branch is a map of when and then, not {}", what(json)));
                continue;
            };
            self.only(&place, map, &["when", "then"]);
            let when = map.get("when").and_then(|json| self.taken(&place, "when", read::expression(json)));
            let then = map.get("then").and_then(|json| self.node(&below(&place, "then"), json, at.depth + 1));
            branches.extend(when.zip(then).map(|(when, then)| Branch { when, then }));
        }
        Some(Kind::Choose { branches, otherwise: self.child(at, "else") })
    }

    fn options(&mut self, at: At<'_>) -> TaskOptions {
        TaskOptions {
            queue: self.optional(at, "queue", read::parsed),
            priority: self.optional(at, "priority", read::priority),
            fuel: self.optional(at, "fuel", read::fuel),
            memory_bytes: self.optional(at, "memory", read::bytes),
            expires: self.optional(at, "expires", read::span),
            labels: self.optional(at, "labels", read::labels).unwrap_or_default(),
            requires: self.optional(at, "requires", read::labels).unwrap_or_default(),
            retry: self.optional(at, "retry", read::retry),
            attempt_timeout: self.optional(at, "attempt_timeout", read::span),
        }
    }

    /// A field that may be absent. One that has no business here was refused already.
    fn optional<T>(&mut self, at: At<'_>, field: &str, reader: impl Fn(&Value) -> Read<T>) -> Option<T> {
        let json = at.fields.get(field)?;
        self.taken(at.place, field, reader(json))
    }

    fn template(&mut self, at: At<'_>, field: &str) -> Option<Template> {
        self.templated(&below(at.place, field), at.fields.get(field)?)
    }

    fn text_template(&mut self, at: At<'_>, field: &str) -> Option<Template> {
        self.optional(at, field, read::text)?;
        self.template(at, field)
    }

    /// A template, whose problem is told at the string that has it.
    fn templated(&mut self, place: &str, json: &Value) -> Option<Template> {
        Template::parse(json)
            .map_err(|error| self.problems.push(&format!("{place}{}", error.place), error.message))
            .ok()
    }

    fn sleep(&mut self, at: At<'_>) -> Option<SleepFor> {
        let is_template = at.fields.get("sleep").and_then(Value::as_str).is_some_and(|text| text.contains("${"));
        if is_template {
            return self.template(at, "sleep").map(SleepFor::Template);
        }
        self.optional(at, "sleep", read::duration).map(SleepFor::Fixed)
    }

    fn child(&mut self, at: At<'_>, field: &str) -> Option<Box<Node>> {
        let json = at.fields.get(field)?;
        self.node(&below(at.place, field), json, at.depth + 1).map(Box::new)
    }

    fn nodes(&mut self, place: &str, json: &Value, depth: usize) -> Option<Vec<Node>> {
        let list = self.list(place, json, "a list of nodes")?;
        Some(list.iter().enumerate().filter_map(|(n, json)| self.node(&below(place, n), json, depth + 1)).collect())
    }

    fn list<'j>(&mut self, place: &str, json: &'j Value, wanted: &str) -> Option<&'j Vec<Value>> {
        let list = json.as_array();
        if list.is_none() {
            self.problems.push(place, format!("it takes {wanted}, not {}", what(json)));
        }
        list
    }

    /// A map that has these fields, all of them and no others.
    fn only(&mut self, place: &str, map: &Fields, fields: &[&str]) {
        for key in map.keys().filter(|key| !fields.contains(&key.as_str())) {
            let message = format!("unknown field {}{}", quoted(key), meant(key, fields.iter().copied()));
            self.problems.push_in(place, key, message);
        }
        for field in fields.iter().filter(|field| !map.contains_key(**field)) {
            self.problems.push(place, format!("it needs {field:?}"));
        }
    }

    fn taken<T>(&mut self, place: &str, field: impl std::fmt::Display, read: Read<T>) -> Option<T> {
        read.map_err(|message| self.problems.push(&below(place, field), message)).ok()
    }
}

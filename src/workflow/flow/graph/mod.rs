//! Pictures of flows: SVG for people, DOT and Mermaid for their tools.
//!
//! A document becomes a picture first: boxes that stand beside, below and inside of each other, with what is written on them. The
//! three writers only place it.
//!
//! **Invariant:** text of a document is cut to [`LABEL_LEN_MAX`] and escaped, so that no label leaves its place in the output.

mod dot;
mod mermaid;
mod svg;
mod text;

use super::node::{Document, Kind, Node, SleepFor, TaskCall};
use super::walk::Role;
use crate::model::time::format_duration;
use crate::workflow::expression::Template;

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;

/// The longest line of a label, in characters: what a box of a readable picture holds.
pub const LABEL_LEN_MAX: usize = 44;

/// The most members of a list that are drawn: beside these, a box says how many more there are.
pub const MEMBERS_MAX: usize = 24;

/// A node, or a few of them, as it is drawn.
struct Part<'d> {
    /// Where it stands in the document.
    place: &'d str,
    /// What is written first.
    title: String,
    /// What is written below it.
    notes: Vec<String>,
    form: Form<'d>,
    /// Handlers, with what they are.
    asides: Vec<(&'static str, Self)>,
}

enum Form<'d> {
    Leaf(Look),
    /// One below the other; with a frame or without.
    Column {
        parts: Vec<Part<'d>>,
        framed: bool,
    },
    /// Side by side, each with what leads to it.
    Row(Vec<(Option<String>, Part<'d>)>),
    /// One inside of a frame; whether it may run again.
    Body {
        part: Box<Part<'d>>,
        again: bool,
    },
}

/// What kind of leaf it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Task,
    Wait,
    Value,
    Flow,
    /// No node: it stands for others, or for none.
    Note,
}

/// The picture of a document.
fn picture(document: &Document) -> Part<'_> {
    let mut root = part(&document.flow);
    if let Some(name) = &document.name {
        root = Part {
            place: "",
            title: cut(name.as_str()),
            notes: Vec::new(),
            form: Form::Column { parts: vec![root], framed: true },
            asides: Vec::new(),
        };
    }
    root
}

fn part(node: &Node) -> Part<'_> {
    let (title, form) = form(node);
    let title = match &node.name {
        Some(name) => cut(&format!("{name}: {title}")),
        None => cut(&title),
    };
    let asides = node.handlers().into_iter().map(|(role, node)| (aside(role), part(node))).collect();
    Part { place: &node.place, title, notes: notes(node), form, asides }
}

const fn aside(role: Role) -> &'static str {
    match role {
        Role::Catch => "catch",
        Role::Compensate => "compensate",
        Role::OnSuccess => "on_success",
        Role::OnFailure => "on_failure",
        Role::Member(_) | Role::Body | Role::Each | Role::Branch(_) | Role::Otherwise => "",
    }
}

fn form(node: &Node) -> (String, Form<'_>) {
    let leaf = |look, title: String| (title, Form::Leaf(look));
    match &node.kind {
        Kind::Task(call) => leaf(Look::Task, call.task.to_string()),
        Kind::Sleep(SleepFor::Fixed(span)) => leaf(Look::Wait, format!("sleep {}", format_duration(*span))),
        Kind::Sleep(SleepFor::Template(span)) => leaf(Look::Wait, format!("sleep {}", text(span))),
        Kind::Wait(signal) => leaf(Look::Wait, format!("wait {signal}")),
        Kind::Value(value) => leaf(Look::Value, format!("value {}", text(value))),
        Kind::Flow { name, version: None } => leaf(Look::Flow, format!("flow {name}")),
        Kind::Flow { name, version: Some(version) } => leaf(Look::Flow, format!("flow {name}@{version}")),
        Kind::Chain(list) if list.is_empty() => leaf(Look::Note, "empty chain".to_owned()),
        Kind::Group(list) if list.is_empty() => leaf(Look::Note, "empty group".to_owned()),
        Kind::Chain(list) => {
            let framed = node.name.is_some() || !node.handlers().is_empty();
            ("chain".to_owned(), Form::Column { parts: some(list, &node.place), framed })
        }
        Kind::Group(list) => ("group".to_owned(), Form::Row(plain(some(list, &node.place)))),
        Kind::Chord { header, body } => {
            let mut parts = Vec::new();
            if !header.is_empty() {
                let form = Form::Row(plain(some(header, &node.place)));
                let title = "header".to_owned();
                parts.push(Part { place: &node.place, title, notes: Vec::new(), form, asides: Vec::new() });
            }
            parts.push(part(body));
            ("chord".to_owned(), Form::Column { parts, framed: true })
        }
        Kind::Choose { .. } => ("choose".to_owned(), Form::Row(branches(node))),
        Kind::Map { body, over } => (each("map", over.as_ref()), inside(body, false)),
        Kind::Starmap { body, over } => (each("starmap", over.as_ref()), inside(body, false)),
        Kind::Chunks { body, size, over } => (each(&format!("chunks of {size}"), over.as_ref()), inside(body, false)),
        Kind::Loop { body, condition, .. } => (format!("loop while {}", condition.source()), inside(body, true)),
        Kind::Poll { body, every, until } => {
            (format!("poll every {} until {}", format_duration(*every), until.source()), inside(body, true))
        }
    }
}

fn each(kind: &str, over: Option<&Template>) -> String {
    over.map_or_else(|| kind.to_owned(), |over| format!("{kind} over {}", text(over)))
}

fn inside(body: &Node, again: bool) -> Form<'_> {
    Form::Body { part: Box::new(part(body)), again }
}

/// The first members, and how many more there are.
fn some<'d>(list: &'d [Node], place: &'d str) -> Vec<Part<'d>> {
    let mut parts: Vec<Part<'d>> = list.iter().take(MEMBERS_MAX).map(part).collect();
    if list.len() > MEMBERS_MAX {
        parts.push(note(place, format!("{} more", list.len() - MEMBERS_MAX)));
    }
    parts
}

fn note(place: &str, title: String) -> Part<'_> {
    Part { place, title, notes: Vec::new(), form: Form::Leaf(Look::Note), asides: Vec::new() }
}

fn plain(parts: Vec<Part<'_>>) -> Vec<(Option<String>, Part<'_>)> {
    parts.into_iter().map(|part| (None, part)).collect()
}

fn branches(node: &Node) -> Vec<(Option<String>, Part<'_>)> {
    let Kind::Choose { branches, otherwise } = &node.kind else { return Vec::new() };
    let mut parts: Vec<_> =
        branches.iter().take(MEMBERS_MAX).map(|branch| (Some(cut(branch.when.source())), part(&branch.then))).collect();
    if branches.len() > MEMBERS_MAX {
        parts.push((None, note(&node.place, format!("{} more", branches.len() - MEMBERS_MAX))));
    }
    let otherwise = otherwise.as_ref().map_or_else(|| note(&node.place, "as received".to_owned()), |node| part(node));
    parts.push((Some("else".to_owned()), otherwise));
    parts
}

/// What changes how a node runs, as far as a picture tells it.
fn notes(node: &Node) -> Vec<String> {
    let mut notes = Vec::new();
    if let Kind::Task(call) = &node.kind {
        let TaskCall { args, delay, .. } = &**call;
        notes.extend(args.as_ref().map(|args| {
            let args: Vec<String> = args.iter().map(text).collect();
            format!("args {}", args.join(", "))
        }));
        notes.extend(delay.map(|delay| format!("after {}", format_duration(delay))));
    }
    if let Kind::Loop { max, .. } = &node.kind {
        notes.push(format!("{max} times at most"));
    }
    notes.extend(node.need.map(|need| format!("needs {need}")));
    notes.extend(node.on_error.map(|on_error| format!("on_error {}", on_error.word())));
    notes.extend(node.input.as_ref().map(|input| format!("input {}", text(input))));
    notes.extend(node.options.retry.as_ref().map(|retry| format!("{} attempts", retry.attempts)));
    notes.extend(node.options.queue.as_ref().map(|queue| format!("queue {queue}")));
    notes.extend(node.timeout.map(|timeout| format!("within {}", format_duration(timeout))));
    notes.iter().map(|note| cut(note)).collect()
}

/// A template in one line: strings without their quotes.
fn text(template: &Template) -> String {
    template.json().as_str().map_or_else(|| template.json().to_string(), str::to_owned)
}

/// A line of a label: cut, and without characters that drive a terminal or are no text.
fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(LABEL_LEN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() < text.len() && text.chars().nth(LABEL_LEN_MAX).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// The characters that XML does not take as they are.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not of XML, even escaped.
            '\u{fffe}' | '\u{ffff}' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

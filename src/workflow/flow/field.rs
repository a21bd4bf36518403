//! The kinds of nodes and their fields in one table: the parser, the schema and the messages read it.

/// What a field or a kind holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `module/task` or `module@version/task`
    Task,
    /// One node.
    Node,
    /// A list of nodes.
    Nodes,
    /// `{header: [nodes], body: node}`
    Chord,
    /// A list of `{when, then}`.
    Branches,
    /// Any JSON with expressions in its strings.
    Template,
    /// A list of templates.
    Templates,
    /// A string that may hold expressions.
    TextTemplate,
    /// A CEL expression.
    Expression,
    /// `1h30m`
    Duration,
    /// A duration of more than nothing.
    Span,
    /// A duration, or a template that yields one.
    Sleep,
    /// A whole number within bounds.
    Number(u32, u32),
    /// `stop`, `finish`, `collect`
    OnError,
    /// A number of attempts, or a policy.
    Retry,
    /// A number, or `off`.
    Fuel,
    /// A number of bytes, or one with a unit.
    Bytes,
    /// A map of strings.
    Labels,
    /// The name of a step.
    StepName,
    /// The name of a queue.
    Queue,
    /// The name of a signal.
    Signal,
    /// The name of a stored flow, with or without a version.
    Flow,
}

/// A kind of node.
#[derive(Clone, Copy, Debug)]
pub(super) struct KindRow {
    /// Its key.
    pub(super) name: &'static str,
    /// What its key holds.
    pub(super) shape: Shape,
    /// The fields that it must have.
    pub(super) required: &'static [&'static str],
    /// What it yields, for editors.
    pub(super) about: &'static str,
}

/// A field of a node besides its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldRow {
    /// Its key.
    pub(super) name: &'static str,
    /// The kinds that may have it.
    pub(super) on: On,
    /// What it holds.
    pub(super) shape: Shape,
    /// What it does, for editors.
    pub(super) about: &'static str,
}

/// The kinds that may have a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Every kind.
    Every,
    /// Those that are a task or may hold some.
    Tasks,
    /// Those that are named.
    Kinds(&'static [&'static str]),
}

impl On {
    /// Whether `kind` may have it.
    pub(super) fn allows(self, kind: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Tasks => !NO_TASKS_INSIDE.contains(&kind),
            Self::Kinds(kinds) => kinds.contains(&kind),
        }
    }

    /// `group, map`, for messages.
    pub(super) fn listed(self) -> String {
        let kinds = KINDS.iter().map(|row| row.name).filter(|kind| self.allows(kind));
        kinds.collect::<Vec<_>>().join(", ")
    }
}

/// Kinds without a task inside: options of tasks on them would change nothing.
const NO_TASKS_INSIDE: &[&str] = &["sleep", "wait", "value", "flow"];

/// Members of a map in flight at most.
pub const CONCURRENCY_MAX: u32 = 10_000;

const EACH: On = On::Kinds(&["map", "starmap", "chunks"]);
const TASK: On = On::Kinds(&["task"]);

const fn kind(name: &'static str, shape: Shape, required: &'static [&'static str], about: &'static str) -> KindRow {
    KindRow { name, shape, required, about }
}

const fn field(name: &'static str, on: On, shape: Shape, about: &'static str) -> FieldRow {
    FieldRow { name, on, shape, about }
}

/// Every kind, in the order of the documentation.
pub(super) const KINDS: &[KindRow] = &[
    kind("task", Shape::Task, &[], "Calls a task: module/task or module@version/task. Yields its output."),
    kind(
        "chain",
        Shape::Nodes,
        &[],
        "One node after the other, each receiving the output of the one before. Yields the last output.",
    ),
    kind(
        "group",
        Shape::Nodes,
        &[],
        "All nodes at once, each receiving what the group received. Yields their outputs in declaration order.",
    ),
    kind("chord", Shape::Chord, &[], "A group, then a body that receives its outputs. Yields the body's output."),
    kind("map", Shape::Node, &[], "The node once for each item. Yields their outputs in the order of the items."),
    kind("starmap", Shape::Node, &[], "The node once for each item, which is the list of its positional arguments."),
    kind("chunks", Shape::Node, &["size"], "The node once for each chunk of items. Yields its lists, joined to one."),
    kind(
        "choose",
        Shape::Branches,
        &[],
        "The first branch whose condition is true. Yields its output, or what it received.",
    ),
    kind(
        "loop",
        Shape::Node,
        &["while", "max"],
        "The node again and again while a condition is true. Yields the last output.",
    ),
    kind(
        "poll",
        Shape::Node,
        &["every", "until", "timeout"],
        "The node every so often until a condition on its output is true. Yields that output.",
    ),
    kind("sleep", Shape::Sleep, &[], "Waits for a duration. Yields what it received."),
    kind("wait", Shape::Signal, &[], "Waits for a signal. Yields its payload."),
    kind("value", Shape::Template, &[], "A value that the coordinator computes, without a task."),
    kind("flow", Shape::Flow, &[], "A child run of a stored flow: name or name@version. Yields its output."),
];

/// Every field besides the kinds, in the order of the documentation.
pub(super) const FIELDS: &[FieldRow] = &[
    field("over", EACH, Shape::Template, "The items; the received value where it is absent."),
    field("size", On::Kinds(&["chunks"]), Shape::Number(1, u32::MAX), "Items of a chunk."),
    field("else", On::Kinds(&["choose"]), Shape::Node, "Taken where no branch is."),
    field(
        "while",
        On::Kinds(&["loop"]),
        Shape::Expression,
        "Asked before each iteration about the value that it would receive.",
    ),
    field(
        "max",
        On::Kinds(&["loop"]),
        Shape::Number(1, u32::MAX),
        "Iterations at most; one more fails with loop_limit.",
    ),
    field("every", On::Kinds(&["poll"]), Shape::Span, "The wait between two polls."),
    field("until", On::Kinds(&["poll"]), Shape::Expression, "Asked of each output, which is prev."),
    field("name", On::Every, Shape::StepName, "Its name within its scope: its output is steps.<name>."),
    field("input", On::Every, Shape::Template, "Takes the place of the received value."),
    field("args", TASK, Shape::Templates, "Positional arguments behind the received value."),
    field(
        "on_error",
        On::Kinds(&["group", "map", "starmap", "chunks"]),
        Shape::OnError,
        "What a failing member means; stop where it is absent.",
    ),
    field("need", On::Kinds(&["group", "map"]), Shape::Number(1, u32::MAX), "Succeeds as soon as so many members do."),
    field("concurrency", EACH, Shape::Number(1, CONCURRENCY_MAX), "Members in flight at most; 256 where it is absent."),
    field("catch", On::Every, Shape::Node, "Runs when the node fails; its output becomes the node's."),
    field("compensate", On::Every, Shape::Node, "Undoes the node when the run fails or is cancelled later."),
    field("on_success", On::Every, Shape::Node, "Is told of the node's success."),
    field("on_failure", On::Every, Shape::Node, "Is told of the node's failure."),
    field("timeout", On::Every, Shape::Span, "The wall-clock bound of the whole node, waiting and retries included."),
    field("attempt_timeout", On::Tasks, Shape::Span, "The wall-clock bound of one attempt; 60s where it is absent."),
    field("retry", On::Tasks, Shape::Retry, "Attempts in all, the first included, or a policy."),
    field("queue", On::Tasks, Shape::Queue, "The queue that the task waits in."),
    field("priority", On::Tasks, Shape::Number(0, 9), "0 to 9, 9 first; 5 where it is absent."),
    field("fuel", On::Tasks, Shape::Fuel, "The budget of instructions, or off."),
    field("memory", On::Tasks, Shape::Bytes, "Bytes of linear memory, as a number or as in 128MiB."),
    field("expires", On::Tasks, Shape::Span, "How long after it was dispatched the task may still begin."),
    field("labels", On::Tasks, Shape::Labels, "For people and searches."),
    field("requires", On::Tasks, Shape::Labels, "What the labels of a host must match."),
    field("delay", TASK, Shape::Duration, "How long the task waits before it is queued."),
    field("limit_key", TASK, Shape::TextTemplate, "Tasks with the same key share a limit."),
    field("idempotency_key", TASK, Shape::TextTemplate, "The same for every attempt and delivery."),
];

/// Fields that do not go together.
pub(super) const APART: [(&str, &str); 2] = [("args", "input"), ("on_error", "need")];

/// The kind of that name.
pub(super) fn kind_row(name: &str) -> Option<&'static KindRow> {
    KINDS.iter().find(|row| row.name == name)
}

/// The field of that name.
pub(super) fn field_row(name: &str) -> Option<&'static FieldRow> {
    FIELDS.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_and_what_is_required_exists() {
        let mut names: Vec<&str> = KINDS.iter().map(|row| row.name).chain(FIELDS.iter().map(|row| row.name)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for row in KINDS {
            for required in row.required {
                assert!(field_row(required).unwrap().on.allows(row.name), "{}: {required}", row.name);
            }
        }
    }

    #[test]
    fn a_field_knows_its_kinds() {
        assert_eq!(field_row("need").unwrap().on.listed(), "group, map");
        assert!(field_row("retry").unwrap().on.allows("chain") && !field_row("retry").unwrap().on.allows("sleep"));
        assert_eq!(kind_row("chunks").unwrap().required, ["size"]);
    }
}

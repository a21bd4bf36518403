//! The plan of a flow: its nodes in one list, each with everything that it inherits.
//!
//! **Invariant:** a plan is made from its document alone, always the same; it is never changed.

use std::sync::Arc;
use std::time::Duration;

use super::expression::{Expression, Template};
use super::flow::{self, Document, OnError, SleepFor, TaskCall, TaskOptions};
use crate::model::{FlowName, SignalName, StepName, Version};

/// The number of a node in its plan.
pub type NodeIndex = usize;

/// A flow, checked and flattened. Node 0 is the root.
#[derive(Clone, Debug)]
pub struct Plan {
    nodes: Vec<PlanNode>,
}

/// A node with what it inherits.
#[derive(Clone, Debug)]
pub struct PlanNode {
    /// Where it stands in the document: a JSON pointer.
    pub place: Arc<str>,
    /// What it does.
    pub kind: PlanKind,
    /// Its name within its scope.
    pub name: Option<StepName>,
    /// Takes the place of the received value.
    pub input: Option<Template>,
    /// Runs when the node fails.
    pub catch: Option<NodeIndex>,
    /// Undoes the node.
    pub compensate: Option<NodeIndex>,
    /// Is told of success.
    pub on_success: Option<NodeIndex>,
    /// Is told of failure.
    pub on_failure: Option<NodeIndex>,
    /// The wall-clock bound of the node.
    pub timeout: Option<Duration>,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum PlanKind {
    /// Calls a task.
    Task(Arc<PlannedTask>),
    /// One after the other.
    Chain(Vec<NodeIndex>),
    /// All at once.
    Group {
        /// The members.
        members: Vec<NodeIndex>,
        /// What a failing one means.
        rule: JoinRule,
    },
    /// Once for each item.
    Map {
        /// What is run for each.
        body: NodeIndex,
        /// The items; the received value where it is absent.
        over: Option<Template>,
        /// How items are made.
        form: MapForm,
        /// Members in flight at most.
        concurrency: usize,
        /// What a failing one means.
        rule: JoinRule,
    },
    /// The first branch that holds.
    Choose {
        /// Conditions and what is taken.
        branches: Vec<(Expression, NodeIndex)>,
        /// Where none holds.
        otherwise: Option<NodeIndex>,
    },
    /// While it holds.
    Loop {
        /// What is run each time.
        body: NodeIndex,
        /// Asked before each iteration.
        condition: Expression,
        /// Iterations at most.
        max: u32,
    },
    /// Again and again until it holds.
    Poll {
        /// What is run each time.
        body: NodeIndex,
        /// The wait between two.
        every: Duration,
        /// Asked of each output.
        until: Expression,
    },
    /// Waits for a time.
    Sleep(SleepFor),
    /// Waits for a signal.
    Wait(SignalName),
    /// A value.
    Value(Template),
    /// A child run.
    Flow {
        /// Its name.
        name: FlowName,
        /// Its version.
        version: Option<Version>,
    },
}

/// A task with all its options.
#[derive(Clone, Debug)]
pub struct PlannedTask {
    /// What to call and with what.
    pub call: TaskCall,
    /// Its options, those of the nodes around it included.
    pub options: TaskOptions,
}

/// How the items of a map are made of its array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapForm {
    /// One by one.
    Each,
    /// One by one, each an array of arguments.
    Star,
    /// So many at a time; the outputs are arrays and are put together.
    Chunks(usize),
}

/// When a node with members has its value, and when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRule {
    /// By `on_error`.
    All(OnError),
    /// As soon as so many succeed.
    Need(usize),
}

/// Members of a map in flight at most where the document does not say: enough to keep a rack of hosts busy, and few enough to
/// keep a run's window in memory small.
pub const CONCURRENCY_DEFAULT: usize = 256;

impl Plan {
    /// The plan of a document.
    #[must_use]
    pub fn new(document: &Document) -> Self {
        let mut plan = Self { nodes: Vec::new() };
        plan.add(&document.flow, &TaskOptions::default());
        plan
    }

    /// The nodes; the root is the first.
    #[must_use]
    pub fn nodes(&self) -> &[PlanNode] {
        &self.nodes
    }

    /// A node. Indices come from the plan itself.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> Option<&PlanNode> {
        self.nodes.get(index)
    }

    fn add(&mut self, node: &flow::Node, outer: &TaskOptions) -> NodeIndex {
        let options = inherit(outer, &node.options);
        let index = self.nodes.len();
        // Its place is taken before its children are added, so that the root is the first.
        self.nodes.push(PlanNode {
            place: node.place.as_str().into(),
            kind: PlanKind::Chain(Vec::new()),
            name: node.name.clone(),
            input: node.input.clone(),
            catch: None,
            compensate: None,
            on_success: None,
            on_failure: None,
            timeout: node.timeout,
        });
        let kind = self.kind(node, &options);
        let mut handler = |handler: &Option<Box<flow::Node>>| handler.as_ref().map(|node| self.add(node, &options));
        let (catch, compensate) = (handler(&node.catch), handler(&node.compensate));
        let (on_success, on_failure) = (handler(&node.on_success), handler(&node.on_failure));
        if let Some(planned) = self.nodes.get_mut(index) {
            *planned = PlanNode { kind, catch, compensate, on_success, on_failure, ..planned.clone() };
        }
        index
    }

    fn all(&mut self, nodes: &[flow::Node], options: &TaskOptions) -> Vec<NodeIndex> {
        nodes.iter().map(|node| self.add(node, options)).collect()
    }

    fn kind(&mut self, node: &flow::Node, options: &TaskOptions) -> PlanKind {
        match &node.kind {
            flow::Kind::Task(call) => {
                PlanKind::Task(Arc::new(PlannedTask { call: (**call).clone(), options: options.clone() }))
            }
            flow::Kind::Chain(nodes) => PlanKind::Chain(self.all(nodes, options)),
            flow::Kind::Group(nodes) => PlanKind::Group { members: self.all(nodes, options), rule: rule(node) },
            flow::Kind::Chord { header, body } => {
                let group = self.header(node, header, options);
                PlanKind::Chain(vec![group, self.add(body, options)])
            }
            flow::Kind::Map { body, over } => self.map(node, (body, over.as_ref()), MapForm::Each, options),
            flow::Kind::Starmap { body, over } => self.map(node, (body, over.as_ref()), MapForm::Star, options),
            flow::Kind::Chunks { body, size, over } => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX).max(1);
                self.map(node, (body, over.as_ref()), MapForm::Chunks(size), options)
            }
            flow::Kind::Choose { branches, otherwise } => PlanKind::Choose {
                branches: branches
                    .iter()
                    .map(|branch| (branch.when.clone(), self.add(&branch.then, options)))
                    .collect(),
                otherwise: otherwise.as_ref().map(|node| self.add(node, options)),
            },
            flow::Kind::Loop { body, condition, max } => {
                PlanKind::Loop { body: self.add(body, options), condition: condition.clone(), max: *max }
            }
            flow::Kind::Poll { body, every, until } => {
                PlanKind::Poll { body: self.add(body, options), every: *every, until: until.clone() }
            }
            flow::Kind::Sleep(length) => PlanKind::Sleep(length.clone()),
            flow::Kind::Wait(signal) => PlanKind::Wait(signal.clone()),
            flow::Kind::Value(template) => PlanKind::Value(template.clone()),
            flow::Kind::Flow { name, version } => PlanKind::Flow { name: name.clone(), version: version.clone() },
        }
    }

    /// The group of a chord's header, which has no node of its own in the document.
    fn header(&mut self, node: &flow::Node, header: &[flow::Node], options: &TaskOptions) -> NodeIndex {
        let index = self.nodes.len();
        self.nodes.push(PlanNode {
            place: format!("{}/chord/header", node.place).into(),
            kind: PlanKind::Chain(Vec::new()),
            name: None,
            input: None,
            catch: None,
            compensate: None,
            on_success: None,
            on_failure: None,
            timeout: None,
        });
        let members = self.all(header, options);
        if let Some(planned) = self.nodes.get_mut(index) {
            planned.kind = PlanKind::Group { members, rule: JoinRule::All(OnError::Stop) };
        }
        index
    }

    fn map(
        &mut self,
        node: &flow::Node,
        (body, over): (&flow::Node, Option<&Template>),
        form: MapForm,
        options: &TaskOptions,
    ) -> PlanKind {
        let asked = node.concurrency.and_then(|n| usize::try_from(n).ok());
        let concurrency = asked.unwrap_or(CONCURRENCY_DEFAULT).max(1);
        PlanKind::Map { body: self.add(body, options), over: over.cloned(), form, concurrency, rule: rule(node) }
    }
}

fn rule(node: &flow::Node) -> JoinRule {
    match node.need {
        Some(need) => JoinRule::Need(usize::try_from(need).unwrap_or(usize::MAX)),
        None => JoinRule::All(node.on_error.unwrap_or_default()),
    }
}

/// Options of a node inside another: the nearest wins, field by field; labels and requirements are merged.
fn inherit(outer: &TaskOptions, own: &TaskOptions) -> TaskOptions {
    let merged = |outer: &std::collections::BTreeMap<String, String>, own| {
        let mut all = outer.clone();
        all.extend::<std::collections::BTreeMap<String, String>>(own);
        all
    };
    TaskOptions {
        queue: own.queue.clone().or_else(|| outer.queue.clone()),
        priority: own.priority.or(outer.priority),
        fuel: own.fuel.or(outer.fuel),
        memory_bytes: own.memory_bytes.or(outer.memory_bytes),
        expires: own.expires.or(outer.expires),
        labels: merged(&outer.labels, own.labels.clone()),
        requires: merged(&outer.requires, own.requires.clone()),
        retry: own.retry.clone().or_else(|| outer.retry.clone()),
        attempt_timeout: own.attempt_timeout.or(outer.attempt_timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(yaml: &str) -> Plan {
        Plan::new(&Document::parse_yaml(yaml).unwrap_or_else(|problems| panic!("{problems:?}")))
    }

    fn task(plan: &Plan, index: NodeIndex) -> &PlannedTask {
        let PlanKind::Task(task) = &plan.node(index).unwrap().kind else { panic!("a task") };
        task
    }

    #[test]
    fn the_nearest_option_wins_field_by_field_and_labels_are_merged() {
        let plan = plan(
            "
chain:
  - {task: m/a, priority: 9, labels: {step: a}}
  - {group: [{task: m/b, retry: 2}], queue: fast, labels: {team: inner}}
queue: slow
priority: 1
retry: 7
labels: {team: outer, run: nightly}",
        );
        let PlanKind::Chain(children) = &plan.nodes()[0].kind else { panic!("the root is the first node") };
        let first = task(&plan, children[0]);
        assert_eq!((first.options.priority, first.options.queue.as_ref().unwrap().as_str()), (Some(9), "slow"));
        assert_eq!(first.options.retry.as_ref().unwrap().attempts, 7);
        let labels: Vec<(&str, &str)> = first.options.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("run", "nightly"), ("step", "a"), ("team", "outer")]);
        let PlanKind::Group { members, .. } = &plan.node(children[1]).unwrap().kind else { panic!("a group") };
        let second = task(&plan, members[0]);
        assert_eq!((second.options.priority, second.options.queue.as_ref().unwrap().as_str()), (Some(1), "fast"));
        assert_eq!(
            (second.options.retry.as_ref().unwrap().attempts, &second.options.labels["team"]),
            (2, &"inner".to_owned())
        );
    }

    #[test]
    fn a_chord_is_a_chain_of_a_group_and_a_body() {
        let plan = plan("chord: {header: [{task: m/a}, {task: m/b}], body: {task: m/c}}");
        let PlanKind::Chain(children) = &plan.nodes()[0].kind else { panic!("a chain") };
        let header = plan.node(children[0]).unwrap();
        assert_eq!(&*header.place, "/chord/header");
        let PlanKind::Group { members, rule } = &header.kind else { panic!("a group") };
        assert_eq!((members.len(), *rule), (2, JoinRule::All(OnError::Stop)));
        assert_eq!(task(&plan, children[1]).call.task.to_string(), "m/c");
    }

    #[test]
    fn joins_have_their_rules_and_windows() {
        let map = |yaml: &str| {
            let PlanKind::Map { form, concurrency, rule, .. } = plan(yaml).nodes()[0].kind.clone() else {
                panic!("a map")
            };
            (form, concurrency, rule)
        };
        let all = JoinRule::All(OnError::Stop);
        assert_eq!(map("map: {task: m/a}"), (MapForm::Each, CONCURRENCY_DEFAULT, all));
        assert_eq!(map("{starmap: {task: m/a}, concurrency: 3}"), (MapForm::Star, 3, all));
        let collect = JoinRule::All(OnError::Collect);
        assert_eq!(map("{chunks: {task: m/a}, size: 4, on_error: collect}").0, MapForm::Chunks(4));
        assert_eq!(map("{chunks: {task: m/a}, size: 4, on_error: collect}").2, collect);
        assert_eq!(map("{map: {task: m/a}, need: 2}").2, JoinRule::Need(2));
    }

    #[test]
    fn handlers_are_nodes_that_inherit_as_children_do() {
        let plan = plan("{task: m/a, queue: slow, catch: {task: m/b}, compensate: {task: m/c, queue: fast}}");
        let root = &plan.nodes()[0];
        let queue = |index: Option<NodeIndex>| task(&plan, index.unwrap()).options.queue.clone().unwrap().to_string();
        assert_eq!((queue(root.catch), queue(root.compensate)), ("slow".to_owned(), "fast".to_owned()));
        assert_eq!((root.on_success, root.on_failure), (None, None));
    }
}

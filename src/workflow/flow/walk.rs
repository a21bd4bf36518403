//! The nodes of a document, and what they use.

use std::collections::BTreeSet;

use super::node::{Document, Kind, Node};
use crate::model::{FlowName, SignalName, TaskRef, Version};

/// What a node is to the one that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A member of a chain or group, or of a chord's header.
    Member(usize),
    /// The body of a chord.
    Body,
    /// The body of a map, starmap, chunks, loop or poll: it opens a scope.
    Each,
    /// A branch of a choose.
    Branch(usize),
    /// Taken where no branch is.
    Otherwise,
    /// Runs when the node fails, in its place.
    Catch,
    /// Undoes the node.
    Compensate,
    /// Is told of its success.
    OnSuccess,
    /// Is told of its failure.
    OnFailure,
}

impl Node {
    /// The nodes that stand in it, without its handlers, in the order of the document.
    #[must_use]
    pub fn inner(&self) -> Vec<(Role, &Self)> {
        match &self.kind {
            Kind::Task(_) | Kind::Sleep(_) | Kind::Wait(_) | Kind::Value(_) | Kind::Flow { .. } => Vec::new(),
            Kind::Chain(list) | Kind::Group(list) => members(list),
            Kind::Chord { header, body } => {
                let mut all = members(header);
                all.push((Role::Body, body));
                all
            }
            Kind::Map { body, .. }
            | Kind::Starmap { body, .. }
            | Kind::Chunks { body, .. }
            | Kind::Loop { body, .. }
            | Kind::Poll { body, .. } => vec![(Role::Each, body)],
            Kind::Choose { branches, otherwise } => {
                let branches = branches.iter().enumerate().map(|(n, branch)| (Role::Branch(n), &branch.then));
                branches.chain(otherwise.iter().map(|node| (Role::Otherwise, &**node))).collect()
            }
        }
    }

    /// Its handlers.
    #[must_use]
    pub fn handlers(&self) -> Vec<(Role, &Self)> {
        let handlers = [
            (Role::Catch, &self.catch),
            (Role::Compensate, &self.compensate),
            (Role::OnSuccess, &self.on_success),
            (Role::OnFailure, &self.on_failure),
        ];
        handlers.into_iter().filter_map(|(role, node)| Some((role, node.as_deref()?))).collect()
    }
}

fn members(list: &[Node]) -> Vec<(Role, &Node)> {
    list.iter().enumerate().map(|(n, node)| (Role::Member(n), node)).collect()
}

/// Calls `visit` with every node, in the order of the document.
pub(super) fn each<'d>(root: &'d Node, visit: &mut impl FnMut(&'d Node)) {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        visit(node);
        let inner = node.inner().into_iter().chain(node.handlers()).map(|(_, node)| node);
        open.extend(inner.collect::<Vec<_>>().into_iter().rev());
    }
}

/// How many nodes a document has, handlers included.
#[must_use]
pub fn count(document: &Document) -> usize {
    let mut count = 0;
    each(&document.flow, &mut |_| count += 1);
    count
}

/// What a node calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// A task.
    Task(TaskRef),
    /// A stored flow, with the version that is asked for.
    Flow(FlowName, Option<Version>),
}

/// A node that calls something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Where it stands.
    pub place: String,
    /// What it calls.
    pub called: Called,
}

/// All nodes that call a task or a stored flow, in the order of the document.
#[must_use]
pub fn uses(document: &Document) -> Vec<Use> {
    let mut uses = Vec::new();
    each(&document.flow, &mut |node| {
        let called = if let Kind::Task(call) = &node.kind {
            Called::Task(call.task.clone())
        } else if let Kind::Flow { name, version } = &node.kind {
            Called::Flow(name.clone(), version.clone())
        } else {
            return;
        };
        uses.push(Use { place: node.place.clone(), called });
    });
    uses
}

/// The tasks that a document calls.
#[must_use]
pub fn tasks(document: &Document) -> BTreeSet<TaskRef> {
    let mut tasks = BTreeSet::new();
    each(&document.flow, &mut |node| {
        if let Kind::Task(call) = &node.kind {
            tasks.insert(call.task.clone());
        }
    });
    tasks
}

/// The stored flows that it starts, with the version that it asks for.
#[must_use]
pub fn flows(document: &Document) -> BTreeSet<(FlowName, Option<Version>)> {
    let mut flows = BTreeSet::new();
    each(&document.flow, &mut |node| {
        if let Kind::Flow { name, version } = &node.kind {
            flows.insert((name.clone(), version.clone()));
        }
    });
    flows
}

/// The signals that it waits for.
#[must_use]
pub fn signals(document: &Document) -> BTreeSet<SignalName> {
    let mut signals = BTreeSet::new();
    each(&document.flow, &mut |node| {
        if let Kind::Wait(name) = &node.kind {
            signals.insert(name.clone());
        }
    });
    signals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_knows_what_it_uses() {
        let document = Document::parse_yaml(
            "chain:
            - {task: m/a, catch: {task: m/b}, compensate: {task: m/c}}
            - {group: [{task: m@1/a}, {wait: go}, {flow: other}, {flow: other@2}]}
            - {chord: {header: [{task: m/d}], body: {task: m/e}}}
            - {choose: [{when: 'true', then: {task: m/f}}], else: {task: m/g, on_success: {task: m/h}, on_failure: {wait: stop}}}
            - {map: {starmap: {chunks: {loop: {poll: {task: m/i}, every: 1s, until: 'true', timeout: 1m}, while: 'true', max: 3}, size: 2}}}
            - {sleep: 1s}
            - {value: 1}",
        )
        .unwrap();
        let shown = |texts: Vec<String>| texts.join(" ");
        assert_eq!(
            shown(tasks(&document).iter().map(ToString::to_string).collect()),
            "m/a m/b m/c m/d m/e m/f m/g m/h m/i m@1/a"
        );
        assert_eq!(shown(signals(&document).iter().map(ToString::to_string).collect()), "go stop");
        let flows: Vec<_> = flows(&document)
            .into_iter()
            .map(|(name, version)| (name.to_string(), version.map(|v| v.to_string())))
            .collect();
        assert_eq!(flows, [("other".to_owned(), None), ("other".to_owned(), Some("2".to_owned()))]);
        let uses = uses(&document);
        assert_eq!((uses.len(), uses[2].place.as_str()), (12, "/chain/0/compensate"));
        assert_eq!(count(&document), 25);
    }
}

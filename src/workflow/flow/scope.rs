//! The names of steps, and whether what an expression reads can be there.
//!
//! A document is one scope; each body of a `map`, `starmap`, `chunks`, `loop` or `poll` is a scope of its own, which sees those around
//! it. A name stands once in its scope. `steps.x` means the nearest scope that has an `x`, whether or not that `x` has run.
//!
//! A step *can have run* before a node when it stands earlier in a chain around the node, or anywhere inside of such an earlier
//! member, branches of `choose` and `catch` included (that they were not taken is known only at run time); a chord's body comes
//! after its header. What cannot have run: the node itself and those that it stands in, later members of a chain, other members of
//! a group, other branches, observers and compensations (nothing waits for them), and whatever stands in a body that the node is
//! not in: an iteration hands on what it has to as its output, so neither the next one nor `while` and `until` see its steps.
//! Handlers see what their node saw and the steps inside of it; `compensate` and `on_success` also see the node itself.

use std::collections::{BTreeMap, BTreeSet};

use super::node::{Kind, Node, SleepFor};
use super::problem::{Problems, below, meant};
use super::walk::Role;
use crate::model::StepName;
use crate::workflow::expression::{Expression, Template, Variable};

/// Checks the names and references of a flow.
pub(super) fn check(root: &Node, problems: &mut Problems) {
    let mut checker = Checker { problems, scopes: Vec::new(), ran: BTreeSet::new(), log: Vec::new() };
    checker.scope(root, Sight::default());
}

/// What is in scope by where a node stands, besides steps.
#[derive(Clone, Copy, Default)]
struct Sight {
    item: bool,
    index: bool,
    error: bool,
}

/// A step, by the number of its scope and its name.
type Step<'d> = (usize, &'d StepName);

struct Checker<'d, 'p> {
    problems: &'p mut Problems,
    /// The scopes around the node, each with its names and where they stand.
    scopes: Vec<BTreeMap<&'d StepName, &'d str>>,
    /// The steps that can have run.
    ran: BTreeSet<Step<'d>>,
    /// The same in the order in which they came, so that a branch of the walk can be taken back.
    log: Vec<Step<'d>>,
}

impl<'d> Checker<'d, '_> {
    /// Visits a node that opens a scope.
    fn scope(&mut self, node: &'d Node, sight: Sight) {
        let mut names = BTreeMap::new();
        self.collect(node, &mut names);
        self.scopes.push(names);
        let mark = self.log.len();
        self.node(node, sight);
        self.take_back(mark);
        self.scopes.pop();
    }

    /// The names of the nodes in the same scope.
    fn collect(&mut self, root: &'d Node, names: &mut BTreeMap<&'d StepName, &'d str>) {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            if let Some(name) = &node.name {
                if let Some(other) = names.get(name) {
                    let other = if other.is_empty() { "the top" } else { other };
                    let message = format!("the name \"{name}\" is taken by the node at {other}");
                    self.problems.push(&below(&node.place, "name"), message);
                } else {
                    names.insert(name, &node.place);
                }
            }
            let inner = node.inner().into_iter().filter(|(role, _)| *role != Role::Each).chain(node.handlers());
            open.extend(inner.map(|(_, node)| node).collect::<Vec<_>>().into_iter().rev());
        }
    }

    fn node(&mut self, node: &'d Node, sight: Sight) {
        self.template(node, "input", node.input.as_ref(), sight);
        self.kind(node, sight);
        let in_failure = Sight { error: true, ..sight };
        self.aside(node.on_failure.as_deref(), in_failure);
        if let Some(catch) = &node.catch {
            self.node(catch, in_failure);
        }
        if let (Some(name), Some(scope)) = (&node.name, self.scopes.len().checked_sub(1)) {
            self.add((scope, name));
        }
        self.aside(node.on_success.as_deref(), sight);
        self.aside(node.compensate.as_deref(), sight);
    }

    fn kind(&mut self, node: &'d Node, sight: Sight) {
        match &node.kind {
            Kind::Task(call) => {
                for (n, template) in call.args.iter().flatten().enumerate() {
                    self.template(node, &format!("args/{n}"), Some(template), sight);
                }
                self.template(node, "limit_key", call.limit_key.as_ref(), sight);
                self.template(node, "idempotency_key", call.idempotency_key.as_ref(), sight);
            }
            Kind::Chain(list) => list.iter().for_each(|node| self.node(node, sight)),
            Kind::Group(list) => self.apart(list.iter(), sight),
            Kind::Chord { header, body } => {
                self.apart(header.iter(), sight);
                self.node(body, sight);
            }
            Kind::Map { body, over } | Kind::Starmap { body, over } | Kind::Chunks { body, over, .. } => {
                self.template(node, "over", over.as_ref(), sight);
                self.scope(body, Sight { item: true, index: true, ..sight });
            }
            Kind::Choose { branches, otherwise } => {
                for (n, branch) in branches.iter().enumerate() {
                    self.expression(node, &format!("choose/{n}/when"), &branch.when, sight);
                }
                self.apart(branches.iter().map(|branch| &branch.then).chain(otherwise.as_deref()), sight);
            }
            Kind::Loop { body, condition, .. } => {
                let inside = Sight { index: true, ..sight };
                self.expression(node, "while", condition, inside);
                self.scope(body, inside);
            }
            Kind::Poll { body, until, .. } => {
                let inside = Sight { index: true, ..sight };
                self.expression(node, "until", until, inside);
                self.scope(body, inside);
            }
            Kind::Sleep(SleepFor::Template(template)) => self.template(node, "sleep", Some(template), sight),
            Kind::Value(template) => self.template(node, "value", Some(template), sight),
            Kind::Sleep(SleepFor::Fixed(_)) | Kind::Wait(_) | Kind::Flow { .. } => {}
        }
    }

    /// Nodes that do not see each other; what follows sees them all.
    fn apart(&mut self, nodes: impl Iterator<Item = &'d Node>, sight: Sight) {
        let mark = self.log.len();
        let mut all = Vec::new();
        for node in nodes {
            self.node(node, sight);
            all.extend(self.take_back(mark));
        }
        all.into_iter().for_each(|step| self.add(step));
    }

    /// A node that nothing waits for.
    fn aside(&mut self, node: Option<&'d Node>, sight: Sight) {
        let mark = self.log.len();
        if let Some(node) = node {
            self.node(node, sight);
        }
        self.take_back(mark);
    }

    fn add(&mut self, step: Step<'d>) {
        if self.ran.insert(step) {
            self.log.push(step);
        }
    }

    fn take_back(&mut self, mark: usize) -> Vec<Step<'d>> {
        let taken = self.log.split_off(mark);
        taken.iter().for_each(|step| {
            self.ran.remove(step);
        });
        taken
    }

    fn template(&mut self, node: &Node, field: &str, template: Option<&Template>, sight: Sight) {
        self.reads(node, field, template.map(Template::reads).unwrap_or_default(), sight);
    }

    fn expression(&mut self, node: &Node, field: &str, expression: &Expression, sight: Sight) {
        self.reads(node, field, expression.reads(), sight);
    }

    fn reads(&mut self, node: &Node, field: &str, variables: BTreeSet<Variable>, sight: Sight) {
        for variable in variables {
            let message = match variable {
                Variable::Item if !sight.item => "item is only known inside of map, starmap and chunks".to_owned(),
                Variable::Index if !sight.index => {
                    "index is only known inside of map, starmap, chunks, loop and poll".to_owned()
                }
                Variable::Error if !sight.error => "error is only known inside of catch and on_failure".to_owned(),
                Variable::Step(name) => match self.unknown(&name) {
                    Some(message) => message,
                    None => continue,
                },
                Variable::Prev
                | Variable::Input
                | Variable::Item
                | Variable::Index
                | Variable::Error
                | Variable::RunId
                | Variable::RunStartedAt => continue,
            };
            self.problems.push(&format!("{}/{field}", node.place), message);
        }
    }

    /// Why a step cannot be read here.
    fn unknown(&self, name: &StepName) -> Option<String> {
        let Some(scope) = self.scopes.iter().rposition(|names| names.contains_key(name)) else {
            let known = self.ran.iter().map(|(_, name)| name.as_str());
            return Some(format!(
                "there is no step {:?} that is seen from here{}",
                name.as_str(),
                meant(name.as_str(), known)
            ));
        };
        if self.ran.contains(&(scope, name)) {
            return None;
        }
        let place = self.scopes.get(scope).and_then(|names| names.get(name)).copied().unwrap_or_default();
        let place = if place.is_empty() { "the top" } else { place };
        Some(format!("steps.{name}, at {place}, cannot have run before this"))
    }
}

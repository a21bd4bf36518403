//! Steps of a document that never began.

use std::collections::BTreeSet;

use crate::model::StepId;
use crate::workflow::Plan;
use crate::workflow::flow::Document;
use crate::workflow::journal::Start;
use crate::workflow::plan::{NodeIndex, PlanKind};
use crate::workflow::run::Change;

/// The steps that the document names one by one and that never began, with their name or task: members of chains, groups and
/// chords, and branches. Items and iterations are not known before they begin, handlers only run when something happens.
pub(super) fn skipped(start: &Start, changes: &[Change]) -> Vec<(StepId, String)> {
    let document = start.document.to_json().and_then(|json| Document::from_json(&json).ok());
    let Some(plan) = document.map(|document| Plan::new(&document)) else { return Vec::new() };
    let begun: BTreeSet<&StepId> = changes.iter().map(|change| &change.step).collect();
    let mut open = vec![(StepId::root(), 0)];
    let mut skipped = Vec::new();
    while let Some((id, index)) = open.pop() {
        let Some(node) = plan.node(index) else { continue };
        let label = match (&node.name, &node.kind) {
            (Some(name), _) => Some(name.to_string()),
            (None, PlanKind::Task(task)) => Some(task.call.task.to_string()),
            (None, _) => None,
        };
        if let (false, Some(label)) = (begun.contains(&id), label) {
            skipped.push((id.clone(), label));
        }
        open.extend(inner(&node.kind).into_iter().enumerate().map(|(at, node)| (id.child(at), node)).rev());
    }
    skipped
}

/// The nodes that stand in one, in the order of their places.
fn inner(kind: &PlanKind) -> Vec<NodeIndex> {
    match kind {
        PlanKind::Chain(nodes) | PlanKind::Group { members: nodes, .. } => nodes.clone(),
        PlanKind::Choose { branches, otherwise } => branches.iter().map(|(_, node)| *node).chain(*otherwise).collect(),
        PlanKind::Task(_)
        | PlanKind::Map { .. }
        | PlanKind::Loop { .. }
        | PlanKind::Poll { .. }
        | PlanKind::Sleep(_)
        | PlanKind::Wait(_)
        | PlanKind::Value(_)
        | PlanKind::Flow { .. } => Vec::new(),
    }
}

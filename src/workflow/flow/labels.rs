//! The labels of tasks with those of the nodes around them: a task takes so many, wherever they were written.

use std::collections::BTreeSet;

use super::node::{Kind, Node};
use super::problem::Problems;
use crate::model::signature::LABELS_MAX;

/// What a task has of the nodes around it.
#[derive(Clone, Default)]
struct Inherited<'d> {
    labels: BTreeSet<&'d str>,
    requires: BTreeSet<&'d str>,
}

/// Checks that no task of a flow has more labels than its message may carry.
pub(super) fn check(root: &Node, problems: &mut Problems) {
    visit(root, &Inherited::default(), problems);
}

fn visit<'d>(node: &'d Node, outer: &Inherited<'d>, problems: &mut Problems) {
    let options = &node.options;
    let own;
    let all = if options.labels.is_empty() && options.requires.is_empty() {
        outer
    } else {
        let mut both = outer.clone();
        both.labels.extend(options.labels.keys().map(String::as_str));
        both.requires.extend(options.requires.keys().map(String::as_str));
        own = both;
        &own
    };
    if matches!(node.kind, Kind::Task(_)) {
        for (field, names) in [("labels", &all.labels), ("requires", &all.requires)] {
            if names.len() > LABELS_MAX {
                let count = names.len();
                let message = format!(
                    "with those of the nodes around it \"{field}\" has {count} labels; it takes up to {LABELS_MAX}"
                );
                problems.push(&node.place, message);
            }
        }
    }
    // As deep as nodes nest, which is bounded.
    node.inner().into_iter().chain(node.handlers()).for_each(|(_, inner)| visit(inner, all, problems));
}

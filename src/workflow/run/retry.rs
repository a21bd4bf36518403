//! `runs retry`: a run goes on from its failed steps. It begins again from its root, and what had succeeded is not run but recalled.

use std::collections::BTreeMap;

use crate::model::{Datum, StepId};
use crate::workflow::plan::{PlanKind, PlanNode};

use super::finish::Finish;
use super::frame::Key;
use super::view::StepState;
use super::{Job, Run, Stop, WATCHDOG_FIRST};

/// What succeeded, and the attempts of tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    outputs: BTreeMap<StepId, Datum>,
    attempts: BTreeMap<StepId, u32>,
    /// Whether the run was retried: before that nothing is recalled.
    recalling: bool,
}

impl Memory {
    pub(super) fn output(&self, step: &StepId) -> Option<Datum> {
        self.recalling.then(|| self.outputs.get(step).cloned()).flatten()
    }

    pub(super) fn succeeded(&mut self, step: &StepId, output: &Datum) {
        self.outputs.insert(step.clone(), output.clone());
    }

    /// Attempts of a task so far: their numbers never restart.
    pub(super) fn attempts(&self, step: &StepId) -> u32 {
        self.attempts.get(step).copied().unwrap_or(0)
    }

    pub(super) fn attempted(&mut self, step: &StepId, attempt: u32) {
        self.attempts.insert(step.clone(), attempt);
    }

    /// What was undone, and what was made of it, has to be done again.
    fn forget(&mut self, undone: &StepId) {
        self.outputs.retain(|step, _| !step.is_within(undone) && !undone.is_within(step));
    }
}

impl Run {
    pub(super) fn begin_again(&mut self) -> Result<(), Stop> {
        let Some(memory) = &mut self.memory else { return Err(Stop::Replay) };
        for step in &self.finish.undone {
            memory.forget(step);
        }
        memory.recalling = true;
        self.generation = self.generation.saturating_add(1);
        self.finish = Finish::default();
        self.paused = false;
        self.watchdog = (1, self.time.after(WATCHDOG_FIRST));
        self.emitted.push(self.watchdog_timer());
        self.begin_root();
        Ok(())
    }

    /// A step that had succeeded yields what it had yielded; names inside it are given again.
    pub(super) fn recall(&mut self, key: Key, node: &PlanNode, output: Datum) {
        self.recall_names(key, node);
        self.changed(key, StepState::Recalled);
        if let Some(frame) = self.frames.get_mut(&key) {
            // Observers were told when it succeeded. There is nothing to remember either: a run that ended badly has undone
            // every step that can be undone, and what was undone is not recalled.
            frame.work = super::frame::Work::Catching;
        }
        self.agenda.push_back(Job::Settle(key, Ok(output)));
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn recall_names(&mut self, key: Key, node: &PlanNode) {
        let Some(frame) = self.frames.get(&key) else { return };
        let (plan, scope) = (std::sync::Arc::clone(&frame.plan), frame.scope);
        let mut inside = vec![(frame.id.clone(), node.clone())];
        while let Some((id, node)) = inside.pop() {
            let children: Vec<(usize, usize)> = match &node.kind {
                PlanKind::Chain(nodes) | PlanKind::Group { members: nodes, .. } => {
                    nodes.iter().copied().enumerate().collect()
                }
                PlanKind::Choose { branches, otherwise } => {
                    branches.iter().map(|(_, node)| *node).chain(*otherwise).enumerate().collect()
                }
                _ => Vec::new(),
            };
            for (place, child) in children {
                let Some(child) = plan.node(child) else { continue };
                let child_id = id.child(place);
                let output = self.memory.as_ref().and_then(|memory| memory.output(&child_id));
                if let (Some(name), Some(output)) = (&child.name, output) {
                    self.scopes.publish(scope, name.clone(), output);
                }
                inside.push((child_id, child.clone()));
            }
        }
    }
}

//! What is always true of a run, by name. Cheap ones are checked after every record, in production too; all in simulation.

use super::frame::{Owner, Work};
use super::{Run, Stage, Stop};

impl Run {
    /// What must hold after every record: constant work.
    pub(super) fn check(&self) -> Result<(), Stop> {
        let broken = |name: &str| Err(Stop::Broken(format!("{name}: after record {}", self.folded)));
        if !self.agenda.is_empty() {
            return broken("agenda_is_worked_off");
        }
        let over = matches!(self.stage, Stage::Finished | Stage::Succeeded | Stage::Ended);
        if over && !self.frames.is_empty() {
            return broken("nothing_is_under_way_at_the_end");
        }
        if matches!(self.stage, Stage::Running) && self.frames.is_empty() {
            return broken("a_running_run_has_a_step");
        }
        Ok(())
    }

    /// Everything that must hold: work in proportion to what is under way. For tests and simulations.
    ///
    /// # Errors
    /// The name of what does not hold, and where.
    pub fn check_all(&self) -> Result<(), String> {
        self.check().map_err(|stop| stop.to_string())?;
        for (key, frame) in &self.frames {
            let at = |name: &str| Err(format!("{name}: {}", frame.id));
            if matches!(frame.work, Work::New) {
                return at("every_step_has_begun");
            }
            if let Owner::Frame { key: owner, .. } = frame.owner {
                let knows = self.frames.get(&owner).is_some_and(|owner| owner.children.contains(key));
                if !knows {
                    return at("owners_and_children_know_each_other");
                }
            }
            if frame.children.iter().any(|child| !self.frames.contains_key(child)) {
                return at("children_are_there");
            }
            if let Work::Join(join) = &frame.work
                && (join.in_flight != frame.children.len()
                    || join.next != join.ended().saturating_add(join.in_flight)
                    || join.in_flight > join.window)
            {
                return at("members_are_counted");
            }
            let runs_below = matches!(
                frame.work,
                Work::Child | Work::Chain { .. } | Work::Loop { .. } | Work::Poll { .. } | Work::Catching
            );
            if runs_below && frame.children.len() != 1 {
                return at("what_waits_below_has_one_child");
            }
        }
        if self.frames.is_empty() && self.undo.is_empty() && self.stage != Stage::Running && self.scopes.count() > 0 {
            return Err("scopes_are_closed: at the end".to_owned());
        }
        Ok(())
    }
}

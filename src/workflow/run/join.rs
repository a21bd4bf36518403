//! Groups and maps: members that run beside each other, and the value that comes of them.

use std::collections::BTreeMap;

use crate::model::{Datum, Failure, Kind};
use crate::workflow::flow::OnError;
use crate::workflow::plan::{JoinRule, MapForm};

use super::frame::{Join, Key, Members, Received, Work};
use super::scope::Seen;
use super::{Job, Run};

/// What a join is at after a member ended.
enum Verdict {
    /// More members can begin, or are awaited.
    On,
    /// It has its value.
    Done,
    /// It failed.
    Failed(Failure),
}

impl Run {
    pub(super) fn enter_join(&mut self, key: Key, join: Join) {
        let too_few = match join.rule {
            JoinRule::Need(need) if need > join.count() => {
                Some(format!("{need} members must succeed, and there are {}", join.count()))
            }
            JoinRule::Need(_) | JoinRule::All(_) => None,
        };
        if let Some(message) = too_few {
            return self.fail(key, Kind::BadExpression, message);
        }
        let empty = join.count() == 0;
        self.set_work(key, Work::Join(Box::new(join)));
        if empty { self.join_done(key) } else { self.begin_members(key) }
    }

    /// Begins as many members as the window allows.
    fn begin_members(&mut self, key: Key) {
        loop {
            let Some(frame) = self.frames.get_mut(&key) else { return };
            let received = frame.received.clone();
            let Work::Join(join) = &mut frame.work else { return };
            if join.next >= join.count() || join.in_flight >= join.window {
                return;
            }
            let at = join.next;
            join.next = at.saturating_add(1);
            join.in_flight = join.in_flight.saturating_add(1);
            match &join.members {
                Members::Nodes(nodes) => {
                    let Some(&node) = nodes.get(at) else { return };
                    self.spawn_child(key, node, at, received);
                }
                Members::Items { body, items, form } => {
                    let (body, spread) = (*body, *form == MapForm::Star);
                    let Some(item) = items.get(at).cloned() else { return };
                    let received = Received { value: Some(item.clone()), spread };
                    self.spawn_item(key, body, at, received, Seen::Item(item, at));
                }
            }
        }
    }

    /// A member of a join ended.
    pub(super) fn member_ended(&mut self, key: Key, place: usize, result: Result<Datum, Failure>) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        let Work::Join(join) = &mut frame.work else { return };
        join.in_flight = join.in_flight.saturating_sub(1);
        match result {
            Ok(output) => {
                let output = match &join.members {
                    // What is not concatenated must be known to be an array at once, so that the first wrong one fails.
                    Members::Items { form: MapForm::Chunks(_), .. }
                        if !output.is_stored() && !output.text().starts_with(b"[") =>
                    {
                        Err(Failure::new(Kind::BadExpression, format!("chunk {place} yielded no array")))
                    }
                    Members::Items { .. } | Members::Nodes(_) => Ok(output),
                };
                match output {
                    Ok(output) => join.succeed(place, output),
                    Err(failure) => join.failed(place, failure),
                }
            }
            Err(failure) => join.failed(place, failure),
        }
        match join.verdict(place) {
            Verdict::On => self.begin_members(key),
            Verdict::Done => {
                self.cancel_below(key);
                self.join_done(key);
            }
            Verdict::Failed(failure) => {
                self.cancel_below(key);
                self.agenda.push_back(Job::Settle(key, Err(failure)));
            }
        }
    }

    /// The value of a join whose members have ended, or as many of them as are needed.
    pub(super) fn join_done(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let Work::Join(join) = &frame.work else { return };
        let value = join.value();
        let value = match &join.members {
            Members::Items { form: MapForm::Chunks(_), .. } => match self.concatenated(&value) {
                Some(value) => value,
                // Chunks that stand elsewhere are waited for.
                None => return self.look_at(key),
            },
            Members::Items { .. } | Members::Nodes(_) => Ok(Datum::array(&value)),
        };
        self.agenda.push_back(Job::Settle(key, value));
    }

    /// The items of all chunks in one array; `None` where one must be loaded first.
    fn concatenated(&self, chunks: &[Datum]) -> Option<Result<Datum, Failure>> {
        let mut all = Vec::new();
        for chunk in chunks {
            let whole = if chunk.is_stored() { self.whole(chunk).ok()? } else { Ok(chunk.clone()) };
            let items = whole.and_then(|whole| {
                // A failed chunk's place holds its failure, which is no array.
                if whole.text().starts_with(b"{") {
                    return Ok(vec![whole]);
                }
                whole.items().map_err(|error| Failure::new(Kind::BadExpression, format!("a chunk: {error}")))
            });
            match items {
                Ok(items) => all.extend(items),
                Err(failure) => return Some(Err(failure)),
            }
        }
        Some(Ok(Datum::array(&all)))
    }
}

impl Join {
    fn succeed(&mut self, place: usize, output: Datum) {
        if let Some(slot) = self.outputs.get_mut(place)
            && slot.is_none()
        {
            *slot = Some(output);
            self.succeeded = self.succeeded.saturating_add(1);
        }
    }

    fn failed(&mut self, place: usize, failure: Failure) {
        self.failures.insert(place, failure);
    }

    fn verdict(&self, place: usize) -> Verdict {
        let first = || self.failures.values().next().cloned();
        match self.rule {
            JoinRule::All(OnError::Stop) => match self.failures.get(&place).cloned() {
                Some(failure) => Verdict::Failed(failure),
                None if self.ended() == self.count() => Verdict::Done,
                None => Verdict::On,
            },
            JoinRule::All(OnError::Finish) if self.ended() == self.count() => {
                first().map_or(Verdict::Done, Verdict::Failed)
            }
            JoinRule::All(OnError::Collect) if self.ended() == self.count() => Verdict::Done,
            JoinRule::Need(need) if self.succeeded >= need => Verdict::Done,
            JoinRule::Need(need) if self.count().saturating_sub(self.failures.len()) < need => {
                first().map_or(Verdict::On, Verdict::Failed)
            }
            JoinRule::All(_) | JoinRule::Need(_) => Verdict::On,
        }
    }

    /// Outputs in declaration order; a failed member's place holds its failure where that does not fail the join.
    fn value(&self) -> Vec<Datum> {
        let members = self.outputs.iter().enumerate();
        members
            .filter_map(|(place, output)| match (output, self.rule) {
                (Some(output), _) => Some(output.clone()),
                (None, JoinRule::All(OnError::Collect)) => self.failures.get(&place).map(collected),
                (None, JoinRule::All(_) | JoinRule::Need(_)) => None,
            })
            .collect()
    }
}

/// What stands in the place of a failed member.
fn collected(failure: &Failure) -> Datum {
    let error: BTreeMap<&str, &str> = [("kind", failure.kind.code()), ("message", failure.message.as_str())].into();
    Datum::of_json(&serde_json::json!({ "error": error }))
}

//! What expressions decide. A decision is acted on when its record is folded, never before; what holds no expression needs none.

use std::collections::BTreeSet;

use crate::model::datum::Elsewhere;
use crate::model::time::parse_duration;
use crate::model::{Datum, Failure, Kind, StepId};
use crate::workflow::expression::{self, Expression, Template, Values, Variable};
use crate::workflow::flow::SleepFor;
use crate::workflow::journal::{Decision, Question};
use crate::workflow::plan::{PlanKind, PlanNode};

use super::frame::{Frame, Key, Received, Work};
use super::scope::Seen;
use super::{Job, Run, Stop};

/// A value, or a failure; the error is what must be loaded first.
pub(super) type Whole<T> = Result<Result<T, Failure>, Vec<Elsewhere>>;

impl Run {
    /// Answers a question that no expression is asked for.
    pub(super) fn decide_at_once(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let Work::Deciding { question, about } = &frame.work else { return };
        let (question, about) = (*question, about.clone());
        let Some(node) = frame.plan.node(frame.node) else { return };
        let literal = match (question, &node.kind) {
            (Question::Input, _) => node.input.as_ref(),
            (Question::Items, PlanKind::Map { over, .. }) => over.as_ref(),
            (Question::Value, PlanKind::Value(template)) => Some(template),
            _ => None,
        };
        if literal.is_some_and(Template::is_literal)
            && let Ok(decision) = self.decide(key, question, &about)
        {
            self.forget(key);
            drop(self.act(key, question, &decision));
        }
    }

    /// The decision on a question; the error is what must be loaded first.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn decide(&self, key: Key, question: Question, about: &Datum) -> Result<Decision, Vec<Elsewhere>> {
        let Some(frame) = self.frames.get(&key) else { return Ok(failed(&internal())) };
        let Some(node) = frame.plan.node(frame.node) else { return Ok(failed(&internal())) };
        let asked = Asked { run: self, frame, about };
        Ok(match (question, &node.kind) {
            (Question::Input, _) => match &node.input {
                Some(template) => asked.value(template)?,
                None => failed(&internal()),
            },
            (Question::Items, PlanKind::Map { over: Some(template), .. })
            | (Question::Value, PlanKind::Value(template)) => asked.value(template)?,
            (Question::Duration, PlanKind::Sleep(SleepFor::Template(template))) => asked.duration(template)?,
            (Question::Again(_), PlanKind::Loop { condition, .. }) => asked.holds(condition)?,
            (Question::Enough(_), PlanKind::Poll { until, .. }) => asked.holds(until)?,
            (Question::Branch, PlanKind::Choose { branches, otherwise }) => {
                let mut taken = otherwise.map(|_| branches.len());
                for (position, (when, _)) in branches.iter().enumerate() {
                    match asked.holds(when)? {
                        Decision::Holds(true) => {
                            taken = Some(position);
                            break;
                        }
                        Decision::Holds(false) => {}
                        failed => return Ok(failed),
                    }
                }
                Decision::Branch(taken)
            }
            _ => failed(&internal()),
        })
    }

    /// Folds the record of a decision.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn take_decision(&mut self, step: &StepId, question: Question, decision: &Decision) -> Result<(), Stop> {
        let Some(&key) = self.by_step.get(step) else { return Ok(()) };
        let Some(frame) = self.frames.get(&key) else { return Ok(()) };
        match &frame.work {
            Work::Deciding { question: asked, .. } if *asked == question => self.act(key, question, decision),
            Work::Pinning { plan } if question == Question::Pins => {
                let plan = std::sync::Arc::clone(plan);
                self.take_pins(key, plan, decision)
            }
            // A task whose input could not be computed.
            Work::Task(_) if question == Question::Input => {
                if let Decision::Failed(failure) = decision {
                    self.agenda.push_back(Job::Settle(key, Err(failure.clone())));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn act(&mut self, key: Key, question: Question, decision: &Decision) -> Result<(), Stop> {
        let Some(frame) = self.frames.get(&key) else { return Ok(()) };
        let Work::Deciding { about, .. } = &frame.work else { return Ok(()) };
        let about = about.clone();
        let Some(node) = frame.plan.node(frame.node).cloned() else { return Ok(()) };
        if let Decision::Failed(failure) = decision {
            self.agenda.push_back(Job::Settle(key, Err(failure.clone())));
            return Ok(());
        }
        match (question, decision, node.kind) {
            (Question::Input, Decision::Value(value), _) => {
                if let Some(frame) = self.frames.get_mut(&key) {
                    frame.received = Received::of(value.clone());
                }
                self.enter(key);
            }
            (Question::Items, Decision::Value(items), PlanKind::Map { body, form, concurrency, rule, .. }) => {
                self.open_map(key, items.clone(), (body, form, concurrency, rule));
            }
            (Question::Value, Decision::Value(value), _) => {
                self.agenda.push_back(Job::Settle(key, Ok(value.clone())));
            }
            (Question::Duration, Decision::Millis(millis), _) => {
                self.sleep(key, std::time::Duration::from_millis(*millis));
            }
            (Question::Branch, Decision::Branch(taken), PlanKind::Choose { branches, otherwise }) => {
                self.take_branch(key, *taken, &branches, otherwise);
            }
            (Question::Again(iteration), Decision::Holds(again), PlanKind::Loop { body, max, .. }) => {
                self.iterate(key, (iteration, *again), (body, max), about);
            }
            (Question::Enough(iteration), Decision::Holds(enough), PlanKind::Poll { every, .. }) => {
                if *enough {
                    self.agenda.push_back(Job::Settle(key, Ok(about)));
                } else {
                    let due = self.time.after(every);
                    self.set_work(key, Work::Pausing { next: iteration.saturating_add(1), due });
                    self.look_at(key);
                }
            }
            (question, decision, _) => {
                let problem = format!("decisions_fit: {decision:?} is no answer to {question:?}");
                return Err(Stop::Broken(problem));
            }
        }
        Ok(())
    }

    fn take_branch(
        &mut self,
        key: Key,
        taken: Option<usize>,
        branches: &[(Expression, usize)],
        otherwise: Option<usize>,
    ) {
        let received = self.frames.get(&key).map(|frame| frame.received.clone()).unwrap_or_default();
        let node = taken.and_then(|at| branches.get(at).map(|(_, node)| *node).or(otherwise).map(|node| (at, node)));
        match node {
            Some((at, node)) => {
                self.set_work(key, Work::Child);
                self.spawn_child(key, node, at, received);
            }
            None => self.agenda.push_back(Job::Settle(key, Ok(received.or_null()))),
        }
    }

    fn iterate(&mut self, key: Key, (iteration, again): (u32, bool), (body, max): (usize, u32), about: Datum) {
        if !again {
            self.agenda.push_back(Job::Settle(key, Ok(about)));
        } else if iteration >= max {
            self.fail(key, Kind::LoopLimit, format!("the loop would run more than {max} times"));
        } else {
            let place = usize::try_from(iteration).unwrap_or(usize::MAX);
            // The first iteration receives what the loop received, which may be nothing.
            let first = (iteration == 0).then(|| self.frames.get(&key).map(|frame| frame.received.clone())).flatten();
            self.set_work(key, Work::Loop { iteration });
            self.spawn_item(key, body, place, first.unwrap_or_else(|| Received::of(about)), Seen::Index(place));
        }
    }

    /// A value with all its parts in place.
    pub(super) fn whole(&self, datum: &Datum) -> Whole<Datum> {
        let most = self.start.limits.template_bytes_max;
        if datum.size() > most && !datum.elsewhere().is_empty() {
            let message = format!("the value has {} bytes, more than the {most} that can be looked into", datum.size());
            return Ok(Err(Failure::new(Kind::Limit, message)));
        }
        let missing: Vec<Elsewhere> =
            datum.elsewhere().iter().filter(|part| !self.loaded.contains_key(&part.digest)).copied().collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let whole = datum.whole(|digest| self.loaded.get(digest).and_then(Option::as_ref));
        Ok(whole.map_err(|part| {
            Failure::new(Kind::BadExpression, format!("the value {} is not in the object store", part.digest))
        }))
    }

    /// The value of a template, for a frame, about a value.
    pub(super) fn evaluate(&self, frame: &Frame, template: &Template, about: &Datum) -> Whole<Datum> {
        let asked = Asked { run: self, frame, about };
        let values = match asked.values(&template.reads(), &template.looks_into())? {
            Ok(values) => values,
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(template.evaluate(&values).map_err(|error| asked.failure(&error)))
    }
}

/// A frame whose expression is asked about a value.
struct Asked<'a> {
    run: &'a Run,
    frame: &'a Frame,
    about: &'a Datum,
}

impl Asked<'_> {
    fn value(&self, template: &Template) -> Result<Decision, Vec<Elsewhere>> {
        Ok(match self.run.evaluate(self.frame, template, self.about)? {
            Ok(value) => Decision::Value(value),
            Err(failure) => Decision::Failed(failure),
        })
    }

    fn duration(&self, template: &Template) -> Result<Decision, Vec<Elsewhere>> {
        let value = match self.run.evaluate(self.frame, template, self.about)? {
            Ok(value) => value,
            Err(failure) => return Ok(Decision::Failed(failure)),
        };
        let text = value.to_json().and_then(|json| json.as_str().map(str::to_owned));
        let parsed = text.as_deref().map(parse_duration);
        Ok(match parsed {
            Some(Ok(length)) => Decision::Millis(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            Some(Err(error)) => failed(&Failure::new(Kind::BadExpression, format!("{}: {error}", self.place()))),
            None => {
                let message = format!("{}: a sleep takes a duration such as \"5s\"", self.place());
                failed(&Failure::new(Kind::BadExpression, message))
            }
        })
    }

    fn holds(&self, expression: &Expression) -> Result<Decision, Vec<Elsewhere>> {
        let reads = expression.reads();
        Ok(match self.values(&reads, &reads)? {
            Ok(values) => match expression.holds(&values) {
                Ok(holds) => Decision::Holds(holds),
                Err(error) => Decision::Failed(self.failure(&error)),
            },
            Err(failure) => Decision::Failed(failure),
        })
    }

    /// The values of variables; those in `whole` with all their parts.
    fn values(&self, reads: &BTreeSet<Variable>, whole: &BTreeSet<Variable>) -> Whole<Values> {
        let (mut values, mut missing) = (Values::new(), Vec::new());
        for variable in reads {
            let Some(value) = self.variable(variable) else { continue };
            if !whole.contains(variable) {
                values.insert(variable.clone(), value);
                continue;
            }
            match self.run.whole(&value) {
                Ok(Ok(value)) => drop(values.insert(variable.clone(), value)),
                Ok(Err(failure)) => return Ok(Err(failure)),
                Err(more) => missing.extend(more),
            }
        }
        if missing.is_empty() { Ok(Ok(values)) } else { Err(missing) }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn variable(&self, variable: &Variable) -> Option<Datum> {
        let (scopes, scope) = (&self.run.scopes, self.frame.scope);
        let text = |text: &str| Datum::of_json(&serde_json::Value::from(text));
        match variable {
            Variable::Prev => Some(self.about.clone()),
            Variable::Input => self.run.start.input.clone(),
            Variable::Step(name) => scopes.step(scope, name),
            Variable::Item => scopes.item(scope),
            Variable::Index => {
                let iteration = match &self.frame.work {
                    Work::Deciding { question: Question::Again(at) | Question::Enough(at), .. } => {
                        usize::try_from(*at).ok()
                    }
                    _ => None,
                };
                iteration.or_else(|| scopes.index(scope)).map(|index| Datum::of_json(&serde_json::Value::from(index)))
            }
            Variable::Error => scopes.error(scope),
            Variable::RunId => Some(text(self.run.start.run.as_str())),
            Variable::RunStartedAt => Some(text(&self.run.started.to_string())),
        }
    }

    fn place(&self) -> &str {
        self.frame.plan.node(self.frame.node).map_or("", |node: &PlanNode| &node.place)
    }

    fn failure(&self, error: &expression::Error) -> Failure {
        let kind = if error.is_limit() { Kind::Limit } else { Kind::BadExpression };
        Failure::new(kind, format!("{}: {error}", self.place()))
    }
}

fn failed(failure: &Failure) -> Decision {
    Decision::Failed(failure.clone())
}

/// A question that its node has no expression for: it was never asked.
fn internal() -> Failure {
    Failure::new(Kind::BadExpression, "there is no expression to ask")
}

//! Which event may happen to a run in which state: the whole table in one match.

use crate::workflow::journal::Event;

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its start record was not folded yet.
    Fresh,
    /// Its root is under way.
    Running,
    /// Its root ended: observers, awaited outcomes and compensations may be under way.
    Finishing,
    /// Nothing is under way; the end record is to be written.
    Finished,
    /// Its end record was folded, and it succeeded.
    Succeeded,
    /// Its end record was folded, and it failed or was cancelled.
    Ended,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It is folded.
    Fold,
    /// It comes too early, too late or twice, and changes nothing.
    Ignore,
    /// It cannot be in a journal that this core wrote: the run goes no further.
    Break(&'static str),
}

/// The ruling on an event.
pub(super) const fn rule(stage: Stage, event: &Event, generation: u32) -> Ruling {
    use Ruling::{Break, Fold, Ignore};
    match (stage, event) {
        (Stage::Fresh, Event::Start(_)) => Fold,
        (Stage::Fresh, _) => Ignore,
        (_, Event::Start(_)) => Break("starts_once: a second start record"),

        (
            Stage::Running | Stage::Finishing,
            Event::Outcome { .. } | Event::Timer(_) | Event::Decided { .. } | Event::Child { .. },
        ) => Fold,
        (
            Stage::Finished | Stage::Succeeded | Stage::Ended,
            Event::Outcome { .. } | Event::Timer(_) | Event::Decided { .. } | Event::Child { .. },
        ) => Ignore,

        (Stage::Running, Event::Signal { .. }) => Fold,
        (Stage::Finishing | Stage::Finished | Stage::Succeeded | Stage::Ended, Event::Signal { .. }) => Ignore,

        (Stage::Running | Stage::Finishing, Event::Cancel { generation: of }) if *of == generation => Fold,
        (_, Event::Cancel { .. }) => Ignore,

        (Stage::Running | Stage::Finishing, Event::Pause | Event::Resume) => Fold,
        (Stage::Finished | Stage::Succeeded | Stage::Ended, Event::Pause | Event::Resume) => Ignore,

        (Stage::Ended, Event::Retry) => Fold,
        (Stage::Running | Stage::Finishing | Stage::Finished | Stage::Succeeded, Event::Retry) => Ignore,

        (Stage::Finished, Event::End { generation: of, .. }) if *of == generation => Fold,
        (Stage::Succeeded | Stage::Ended, Event::End { .. }) => Ignore,
        (Stage::Running | Stage::Finishing | Stage::Finished, Event::End { .. }) => {
            Break("ends_when_finished: an end record while steps are under way")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Datum, Failure, Kind, RunId, StepId};
    use crate::workflow::journal::{CORE_VERSION, Decision, End, Ending, Outcome, Pins, Question, RunLimits, Start};
    use crate::workflow::timer::{Purpose, TimerId};

    fn events() -> Vec<(&'static str, Event)> {
        let (step, failure) = (StepId::root(), || Failure::new(Kind::Refused, "no"));
        let start = Start {
            core_version: CORE_VERSION,
            run: RunId::derived(&["legality"]),
            flow: None,
            pin: None,
            document: Datum::null(),
            input: None,
            pins: Pins::default(),
            labels: std::collections::BTreeMap::new(),
            parent: None,
            limits: RunLimits::default(),
        };
        let timer = TimerId { step: step.clone(), purpose: Purpose::Sleep, generation: 1 };
        let end = End { result: Ending::Cancelled, compensation_failures: Vec::new() };
        let outcome = Outcome::Failed(failure());
        vec![
            ("start", Event::Start(Arc::new(start))),
            ("outcome", Event::Outcome { step: step.clone(), attempt: 1, outcome }),
            ("timer", Event::Timer(timer)),
            (
                "decided",
                Event::Decided {
                    step: step.clone(),
                    question: Question::Value,
                    decision: Decision::Holds(true),
                    generation: 1,
                },
            ),
            ("child", Event::Child { step, generation: 1, end: Err(failure()) }),
            ("signal", Event::Signal { name: "go".parse().unwrap(), payload: Datum::null() }),
            ("cancel", Event::Cancel { generation: 1 }),
            ("stale cancel", Event::Cancel { generation: 0 }),
            ("pause", Event::Pause),
            ("resume", Event::Resume),
            ("retry", Event::Retry),
            ("end", Event::End { generation: 1, end: end.clone() }),
            ("stale end", Event::End { generation: 0, end }),
        ]
    }

    /// The rulings on all events, in their order: `f`old, `i`gnore, `b`reak.
    fn row(stage: Stage) -> String {
        let letter = |event: &Event| match rule(stage, event, 1) {
            Ruling::Fold => 'f',
            Ruling::Ignore => 'i',
            Ruling::Break(_) => 'b',
        };
        events().iter().map(|(_, event)| letter(event)).collect()
    }

    #[test]
    fn every_event_is_ruled_on_in_every_stage() {
        // start, outcome, timer, decided, child, signal, cancel, stale cancel, pause, resume, retry, end, stale end
        for (stage, rulings) in [
            (Stage::Fresh, "fiiiiiiiiiiii"),
            (Stage::Running, "bffffffiffibb"),
            (Stage::Finishing, "bffffififfibb"),
            (Stage::Finished, "biiiiiiiiiifb"),
            (Stage::Succeeded, "biiiiiiiiiiii"),
            (Stage::Ended, "biiiiiiiiifii"),
        ] {
            assert_eq!(row(stage), rulings, "{stage:?}");
        }
    }

    #[test]
    fn what_breaks_a_run_is_named() {
        for stage in [Stage::Running, Stage::Finishing, Stage::Finished, Stage::Succeeded, Stage::Ended] {
            for (name, event) in events() {
                if let Ruling::Break(reason) = rule(stage, &event, 1) {
                    let invariant = reason.split(':').next().unwrap();
                    assert!(["starts_once", "ends_when_finished"].contains(&invariant), "{name}: {reason}");
                }
            }
        }
    }
}

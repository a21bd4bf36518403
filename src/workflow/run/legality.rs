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

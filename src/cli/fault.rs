//! Why a command failed: the line and the hint that are printed, and the exit code.

use std::process::ExitCode;

use crate::model::name::Invalid;
use crate::model::{Failure, Kind};
use crate::protocol::note::printable;
use crate::store::catalogue::{Unknown, Unresolved};
use crate::store::secrets;
use crate::{broker, client, sandbox};

/// A command's failure.
#[derive(Debug)]
pub struct Fault {
    code: u8,
    message: String,
    /// Lines that follow it: where, why, what to do.
    hints: Vec<String>,
}

impl Fault {
    /// The task failed: exit code 1.
    #[must_use]
    pub fn failed(failure: &Failure) -> Self {
        let detail = failure.detail.as_ref().map(|detail| format!("detail: {detail}"));
        Self { code: 1, message: failure.to_string(), hints: detail.into_iter().collect() }
    }

    /// Wrong use: exit code 2.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into(), hints: Vec::new() }
    }

    /// The platform could not: exit code 3.
    #[must_use]
    pub fn platform(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into(), hints: Vec::new() }
    }

    /// Whoever waited went away, and what was awaited goes on: no failure, exit code 0.
    #[must_use]
    pub fn detached(message: impl Into<String>) -> Self {
        Self { code: 0, message: message.into(), hints: Vec::new() }
    }

    /// The same with a hint on what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same with the place where it happened, if that is known, before all that is said more.
    #[must_use]
    pub fn at(mut self, place: Option<String>) -> Self {
        self.hints.splice(0..0, place);
        self
    }

    /// Prints the failure, and returns its exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let title = if self.code == 0 { "" } else { "error: " };
        eprintln!("{title}{}", printable(&self.message));
        for hint in &self.hints {
            eprintln!("  {}", printable(hint));
        }
        ExitCode::from(self.code)
    }
}

impl From<broker::Error> for Fault {
    fn from(error: broker::Error) -> Self {
        let fault = Self::platform(format!("failed to {error}"));
        match error {
            broker::Error::Unavailable(_) => {
                fault.hint("start one with `lovage dev`, or name yours with --nats or LOVAGE_NATS")
            }
            broker::Error::NotFound(_) => {
                fault.hint("no host has prepared this broker yet: start one with `lovage host`")
            }
            broker::Error::Full { .. } => {
                fault.hint("the queue is full: wait until hosts have done some of it, or add hosts")
            }
            broker::Error::Denied(_) => fault.hint("check --creds, and what its user may do"),
            broker::Error::Conflict { .. }
            | broker::Error::Occupied { .. }
            | broker::Error::TooLarge { .. }
            | broker::Error::Unsuitable(_)
            | broker::Error::Other(_) => fault,
        }
    }
}

impl From<client::Error> for Fault {
    fn from(error: client::Error) -> Self {
        use client::Error;
        let usage = Self::usage(format!("failed to {error}"));
        match error {
            Error::Broker(error) => error.into(),
            Error::Failed(failure) => Self::failed(&failure),
            Error::ModuleMissing { .. } => {
                usage.hint("`lovage module ls` lists what there is; upload with `lovage module push`")
            }
            Error::TaskMissing { .. } | Error::VersionTaken { .. } | Error::Occupied(_) | Error::Ended { .. } => usage,
            Error::NotFound(_) | Error::InputTooLarge { .. } => usage,
            Error::Unresolved(unresolved) => match *unresolved {
                Unresolved::Broker(error) => error.into(),
                Unresolved::Module { .. } => {
                    usage.hint("`lovage module ls` lists what there is; upload with `lovage module push`")
                }
                Unresolved::Flow { .. } => {
                    usage.hint("`lovage flow ls` lists what there is; store one with `lovage flow push`")
                }
                Unresolved::Task { .. }
                | Unresolved::Document { .. }
                | Unresolved::Unreadable { .. }
                | Unresolved::TooMany => usage,
            },
            Error::Unknown(unknown) => unknown_hints(usage, &unknown),
            Error::RunNotFound(_)
            | Error::RunEnded { .. }
            | Error::SignalUnknown { .. }
            | Error::FlowVersionTaken { .. }
            | Error::Unfit(_)
            | Error::LetterNotFound(_)
            | Error::BatchNotFound(_)
            | Error::UnderWay(_)
            | Error::KeyUnusable(_)
            | Error::KeyTaken { .. }
            | Error::RunKeyTaken { .. } => usage,
            Error::Refused(why) => Self::usage(why),
            Error::WebhookNotFound(_) => usage.hint("`lovage webhook ls` lists what there is"),
            Error::HostNotFound(_) => usage.hint("`lovage hosts ls` lists what there is"),
            Error::QueueNotFound(_) => usage.hint("`lovage queue ls` lists what there is"),
            Error::ScheduleNotFound(_) => usage.hint("`lovage schedule ls` lists what there is"),
            Error::ScheduleThere(_) => usage.hint("change it with --replace, or remove it with `lovage schedule rm`"),
            Error::RunCancelled(_) => Self::failed(&Failure::new(Kind::Cancelled, error.to_string())),
            Error::Missing(_) | Error::Unreadable { .. } | Error::Closed(_) | Error::RunClosed(_) => {
                Self::platform(format!("failed to {error}"))
            }
        }
    }
}

/// The same with what to do about what is not there.
pub(super) fn unknown_hints(fault: Fault, unknown: &[Unknown]) -> Fault {
    let any = |wanted: fn(&Unresolved) -> bool| unknown.iter().any(|unknown| wanted(&unknown.why));
    let module = any(|why| matches!(why, Unresolved::Module { .. }));
    let flow = any(|why| matches!(why, Unresolved::Flow { .. }));
    let fault = if module {
        fault.hint("`lovage module ls` lists what there is; upload with `lovage module push`")
    } else {
        fault
    };
    if flow { fault.hint("`lovage flow ls` lists what there is; store one with `lovage flow push`") } else { fault }
}

impl From<sandbox::Error> for Fault {
    fn from(error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Rejected(rejection) => rejection.into(),
            error @ (sandbox::Error::Io { .. } | sandbox::Error::Engine { .. } | sandbox::Error::Stopped) => {
                Self::platform(format!("failed to {error}"))
            }
        }
    }
}

impl From<sandbox::Rejection> for Fault {
    fn from(rejection: sandbox::Rejection) -> Self {
        Self::usage(rejection.to_string())
    }
}

impl From<secrets::Error> for Fault {
    fn from(error: secrets::Error) -> Self {
        let text = format!("failed to {error}");
        match error {
            secrets::Error::Broker(error) => error.into(),
            secrets::Error::NoKey => Self::platform(text)
                .hint("its operator starts a host with --secrets-key FILE, which `lovage secret key FILE` makes; `lovage dev` has one"),
            secrets::Error::Size { .. } | secrets::Error::Key(_) => Self::usage(text),
            secrets::Error::OtherKey { .. } => {
                Self::usage(text).hint("all hosts of an installation share one key: copy the file from another host")
            }
            secrets::Error::Sealed { .. } => Self::platform(text),
        }
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::usage(invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lifecycle::State;

    #[test]
    fn what_the_broker_fails_with_is_the_platforms_fault() {
        use broker::Error;
        let on = || "s".to_owned();
        for (error, hint) in [
            (Error::Unavailable(on()), "lovage dev"),
            (Error::NotFound(on()), "lovage host"),
            (Error::Full { subject: on() }, "add hosts"),
            (Error::Denied(on()), "--creds"),
            (Error::Conflict { subject: on() }, ""),
            (Error::Occupied { subject: on() }, ""),
            (Error::TooLarge { size: 2, max: 1 }, ""),
            (Error::Unsuitable(on()), ""),
            (Error::Other(on()), ""),
        ] {
            let fault = Fault::from(client::Error::Broker(error));
            assert_eq!((fault.code, !fault.hints.is_empty()), (3, !hint.is_empty()), "{fault:?}");
            assert!(fault.message.starts_with("failed to "), "{fault:?}");
            assert!(fault.hints.concat().contains(hint));
        }
    }

    #[test]
    fn a_failed_task_wrong_use_and_a_weak_platform_have_codes_of_their_own() {
        use client::Error;
        let id = || "t".parse::<crate::model::TaskId>().unwrap();
        let missing = Error::ModuleMissing { module: "m".parse().unwrap(), version: None, known: vec![] };
        let failure = Failure::new(Kind::Trap, "boom").with_detail(serde_json::json!({"code": "unreachable"}));
        for (error, code, part) in [
            (Error::Failed(Box::new(failure)), 1, "trap: boom"),
            (missing, 2, "module m"),
            (Error::NotFound(id()), 2, "task t"),
            (Error::Occupied(id()), 2, "queued or running"),
            (Error::Ended { id: id(), state: State::Succeeded }, 2, "ended already, as succeeded"),
            (Error::InputTooLarge { size: 2, max: 1 }, 2, "2 bytes"),
            (Error::Closed(id()), 3, "connection was closed"),
        ] {
            let fault = Fault::from(error);
            assert_eq!(fault.code, code, "{fault:?}");
            assert!(fault.message.contains(part), "{fault:?}");
        }
    }

    #[test]
    fn a_failures_detail_is_its_hint() {
        let failure = Failure::new(Kind::Trap, "boom").with_detail(serde_json::json!({"code": 1}));
        assert_eq!(Fault::failed(&failure).hints, ["detail: {\"code\":1}"]);
        let placed = Fault::failed(&failure).at(Some("in step 0".to_owned())).hints;
        assert_eq!(placed, ["in step 0", "detail: {\"code\":1}"], "its place comes first");
        assert!(Fault::failed(&Failure::new(Kind::Trap, "boom")).at(None).hints.is_empty());
    }
}

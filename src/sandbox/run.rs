//! One invocation from its store to its report: the deadline, the cancel, and what was taken.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use wasmtime::Store;

use super::engine::FUEL_YIELD_INTERVAL;
use super::guest::{self, Guest};
use super::invocation::{Cancel, Invocation, Report};
use super::module::{Module, Returned};
use super::turn::Turn;
use super::{command, task, trap};
use crate::model::time::DURATION_MAX;
use crate::model::{Failure, Kind, Outcome};

/// How a call into a guest ended.
pub(super) enum Ending<T> {
    /// By itself, or by a trap.
    Returned(wasmtime::Result<T>),
    /// Stopped at its deadline.
    Deadline,
    /// Stopped because it was cancelled.
    Cancelled,
}

/// What became of a call into a guest.
pub(super) struct Driven<T> {
    pub(super) ending: Ending<T>,
    /// How long it had its thread.
    busy: Duration,
}

/// Runs `call` until it ends, its deadline passes or it is cancelled. Dropping the call is what stops the guest, which
/// gives way often enough (fuel or the epoch, host calls) for that to be within a millisecond or two.
pub(super) async fn drive<T>(
    call: impl Future<Output = wasmtime::Result<T>>,
    timeout: Duration,
    cancel: &Cancel,
    grace: Duration,
) -> Driven<T> {
    let mut call = pin!(call);
    // Limits may come from messages: a time that no clock can hold is a mistake of unit.
    let mut deadline = Instant::now() + timeout.min(DURATION_MAX);
    let mut timer = pin!(tokio::time::sleep_until(deadline.into()));
    let mut cancelled = pin!(cancel.token().cancelled());
    let mut is_cancelled = false;
    let turn = Arc::new(Turn::default());
    let (waker, mut turns, mut busy) = (Waker::from(Arc::clone(&turn)), 0, Duration::ZERO);
    poll_fn(|context| {
        let began = Instant::now();
        let over = deadline.min(began + Turn::length(turns));
        turns += 1;
        turn.begin(context.waker());
        let (now, polled) = loop {
            let polled = call.as_mut().poll(&mut Context::from_waker(&waker));
            let now = Instant::now();
            if polled.is_ready() || !turn.can_go_on() {
                break (now, polled);
            }
            if now >= over {
                turn.end();
                break (now, polled);
            }
        };
        busy += now - began;
        let driven = |ending| Poll::Ready(Driven { ending, busy });
        if let Poll::Ready(result) = polled {
            return driven(Ending::Returned(result));
        }
        if !is_cancelled && cancelled.as_mut().poll(context).is_ready() {
            is_cancelled = true;
            if !cancel.is_watched() {
                return driven(Ending::Cancelled);
            }
            deadline = deadline.min(now + grace.min(DURATION_MAX));
            timer.as_mut().reset(deadline.into());
        }
        // The clock itself is asked, too: on a thread that guests keep busy, timers fire late.
        if timer.as_mut().poll(context).is_ready() || now >= deadline {
            return driven(if is_cancelled { Ending::Cancelled } else { Ending::Deadline });
        }
        Poll::Pending
    })
    .await
}

/// Calls a module in a store of its own.
pub(super) async fn run(module: &Module, invocation: Invocation) -> Report {
    let (input, cancel, manifest) = (invocation.input.clone(), invocation.cancel.clone(), invocation.manifest.clone());
    let limits = invocation.limits;
    let began = Instant::now();
    let mut store = match guest::store(module, invocation) {
        Ok(store) => store,
        Err(error) => return Report::without_guest(Failure::new(Kind::Trap, format!("{error:#}"))),
    };
    let made = began.elapsed();
    let call = module.linked.call(&mut store, &input);
    let Driven { ending, busy } = drive(call, limits.attempt_timeout, &cancel, limits.cancel_grace).await;
    let ended = Instant::now();
    let guest = store.data();
    guest.finish_lines();
    let is_exact = matches!(ending, Ending::Returned(Ok(_)));
    let outcome = match ending {
        Ending::Returned(Ok(Returned::Exit(code))) => command::outcome(code, guest, manifest.flows),
        Ending::Returned(Ok(Returned::Task(returned))) => task::outcome(*returned, limits.output_bytes),
        Ending::Returned(Ok(Returned::Typed(outcome))) => outcome,
        Ending::Returned(Err(error)) => Outcome::Failed(trap::failure(&error, guest)),
        Ending::Deadline => Outcome::Failed(deadline(limits.attempt_timeout)),
        Ending::Cancelled => Outcome::Failed(cancelled()),
    };
    let outcome = guest.http.explain(outcome, || guest.notes.telling_line());
    let outcome = guest.asking.mask().cleared(outcome);
    let (memory_peak_bytes, notes_dropped) = (guest.limiter.memory_peak_bytes(), guest.notes.dropped());
    let fuel_used = if module.class().metering.is_fuel() { fuel_used(&store, limits.fuel, is_exact) } else { 0 };
    // Giving the slot's memory back is part of what an invocation takes.
    drop(store);
    let busy = made + busy + ended.elapsed();
    Report { outcome, fuel_used, memory_peak_bytes, duration: began.elapsed(), busy, notes_dropped }
}

/// A guest that is stopped, or traps, takes what it used since it last gave way to its grave: it is billed for all of it.
fn fuel_used(store: &Store<Guest>, fuel: Option<u64>, is_exact: bool) -> u64 {
    let budget = fuel.unwrap_or(u64::MAX);
    let used = budget.saturating_sub(store.get_fuel().unwrap_or(0));
    if is_exact { used } else { used.saturating_add(FUEL_YIELD_INTERVAL).min(budget) }
}

fn deadline(timeout: Duration) -> Failure {
    Failure::new(Kind::Deadline, format!("the task ran past its {} ms", timeout.as_millis()))
}

pub(super) fn cancelled() -> Failure {
    Failure::new(Kind::Cancelled, "the task was cancelled")
}

impl Report {
    /// The report of an invocation that reached no guest.
    pub(super) const fn without_guest(failure: Failure) -> Self {
        Self {
            outcome: Outcome::Failed(failure),
            fuel_used: 0,
            memory_peak_bytes: 0,
            duration: Duration::ZERO,
            busy: Duration::ZERO,
            notes_dropped: 0,
        }
    }
}

//! The record of a limit: who has a place, whether others wait, and every decision about them.
//!
//! ```text
//!   newcomer ──ask──▶ Go, and has a place while it runs ──leave──▶ the place is free
//!                └──▶ Wait: into the limit's line ──waits──▶ invited in its turn: has a place ──ask──▶ Go, or Later
//! ```
//!
//! | the driver owns | this module owns |
//! |---|---|
//! | the record's compare-and-set, the line of messages, the bell (a scheduled message) | who may start, who is invited, when the bell is due |
//!
//! A place belongs to a task, not to a host: when its host dies the task is delivered again, asks again, and has its place.
//!
//! **Invariant:** no more places than the concurrency, unless it was lowered since. **Invariant:** whoever waits has a bell before
//! it. **Invariant:** nobody overtakes those who wait, but whom they have invited.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bucket::Bucket;
use super::{Limit, Rule};
use crate::model::Timestamp;

/// The version of this form.
pub const LEDGER_VERSION: u32 = 1;

/// How long a bell waits where nothing says when a place is free: who frees one looks at the line anyway, and this is for one who
/// died before it could.
pub const NET: Duration = Duration::from_secs(5);

/// The shortest time between two bells: the broker's timers are no finer.
pub const BELL_MIN: Duration = Duration::from_millis(100);

/// How soon an invitation is sent again that found its queue full, or its task's last delivery not finished.
const SOON: Duration = Duration::from_millis(250);

/// How late a bell may be before it is taken for lost.
const BELL_LOST: Duration = Duration::from_secs(2);

/// How long a place is believed in without a look whether its task is still there.
pub const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// How long a ledger without places is kept after its last start: by then it says what an empty one says.
const IDLE_KEPT: Duration = Duration::from_secs(60);

/// A task that may start, or has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The task, as its subjects name it.
    pub task: String,
    /// Since when it is known to be there.
    pub since: Timestamp,
    /// Whether it has started; else it was invited from the line.
    pub started: bool,
}

/// What is known of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The version of this form.
    pub v: u32,
    /// The limit, as it was last asked for.
    pub limit: Limit,
    /// The virtual time of its rate, in microseconds since 1970.
    pub virtual_us: i64,
    /// Who has a place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// Whether tasks wait in its line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// When its bell is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bell: Option<Timestamp>,
}

/// What a task is told that asks to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It starts now.
    Go,
    /// It joins the line.
    Wait,
    /// It was invited and comes too early: it keeps its place, and asks again at this time.
    Later(Timestamp),
}

impl Ledger {
    /// The ledger of a limit under which nothing has happened.
    #[must_use]
    pub const fn new(limit: Limit) -> Self {
        Self { v: LEDGER_VERSION, limit, virtual_us: 0, places: Vec::new(), waiting: false, bell: None }
    }

    const fn rule(&self) -> &Rule {
        &self.limit.rule
    }

    fn place(&mut self, task: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| place.task == task)
    }

    fn unstarted(&self) -> usize {
        self.places.iter().filter(|place| !place.started).count()
    }

    /// Places that are free, as far as the concurrency goes.
    fn free(&self) -> usize {
        let most = self.rule().concurrency.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        most.saturating_sub(self.places.len())
    }

    /// A task asks to start now.
    pub fn ask(&mut self, task: &str, now: Timestamp) -> Answer {
        let invited = self.place(task).is_some();
        if !invited && (self.waiting || self.free() == 0) {
            return Answer::Wait;
        }
        if let Some(bucket) = Bucket::of(self.rule(), invited) {
            match bucket.start(self.virtual_us, now) {
                Ok(virtual_us) => self.virtual_us = virtual_us,
                Err(at) if invited => {
                    if let Some(place) = self.place(task) {
                        place.since = now;
                    }
                    return Answer::Later(at);
                }
                Err(_) => return Answer::Wait,
            }
        }
        self.places.retain(|place| place.task != task);
        if self.rule().holds() {
            self.places.push(Place { task: task.to_owned(), since: now, started: true });
        }
        Answer::Go
    }

    /// A task is over, or needs no place any more.
    pub fn leave(&mut self, task: &str) {
        self.places.retain(|place| place.task != task);
    }

    /// There are tasks in the line. Whether a bell is to be set for them, at [`bell`](Self::bell).
    pub fn waits(&mut self, now: Timestamp) -> bool {
        self.waiting = true;
        let due = self.next_bell(now);
        let stands = self.bell.is_some_and(|bell| bell <= due.after(BELL_MIN) && now < bell.after(BELL_LOST));
        if !stands {
            self.bell = Some(due);
        }
        !stands
    }

    /// The bell has rung, or should have: the next one is to be set.
    pub fn rang(&mut self, now: Timestamp) {
        self.bell = self.bell.filter(|bell| *bell > now);
    }

    /// Somebody of the line who has a place could not be queued: it is tried again soon, at [`bell`](Self::bell).
    pub fn soon(&mut self, now: Timestamp) {
        self.waiting = true;
        self.bell = Some(now.after(SOON));
    }

    /// How many of the line may be invited now.
    #[must_use]
    pub fn invitations(&self, now: Timestamp) -> usize {
        let by_rate = Bucket::of(self.rule(), true)
            .map_or(usize::MAX, |bucket| bucket.room(self.virtual_us, now).saturating_sub(self.unstarted()));
        by_rate.min(self.free())
    }

    /// Invites those of `line` that may come now, the first ones first; those who have a place already are told again. `whole` says
    /// whether nobody waits behind `line`.
    pub fn invite(&mut self, line: &[String], whole: bool, now: Timestamp) -> Vec<String> {
        let mut left = self.invitations(now);
        let mut invited = Vec::new();
        for task in line {
            if self.place(task).is_some() {
                invited.push(task.clone());
            } else if left > 0 {
                left -= 1;
                self.places.push(Place { task: task.clone(), since: now, started: false });
                invited.push(task.clone());
            } else {
                break;
            }
        }
        self.waiting = !whole || invited.len() < line.len();
        if !self.waiting {
            self.bell = None;
        }
        invited
    }

    /// When it is to be looked at the line again.
    fn next_bell(&self, now: Timestamp) -> Timestamp {
        let net = now.after(NET);
        let due = match Bucket::of(self.rule(), true) {
            Some(bucket) if self.free() > 0 => bucket
                .next(self.virtual_us, self.unstarted(), now)
                .min(if self.unstarted() > 0 { net } else { Timestamp::from_millis(i64::MAX) }),
            _ => net,
        };
        due.max(now.after(BELL_MIN))
    }

    /// Places whose tasks have not been looked for in a while, the oldest first.
    #[must_use]
    pub fn doubtful(&self, now: Timestamp, most: usize) -> Vec<String> {
        let mut old: Vec<&Place> = self.places.iter().filter(|place| now.since(place.since) > BELIEVED_FOR).collect();
        old.sort_by_key(|place| place.since);
        old.into_iter().take(most).map(|place| place.task.clone()).collect()
    }

    /// The task was looked for: it is there, or its place is free.
    pub fn looked(&mut self, task: &str, there: bool, now: Timestamp) {
        match self.place(task) {
            Some(place) if there => place.since = now,
            Some(_) => self.leave(task),
            None => {}
        }
    }

    /// How long the record is to be kept; `None` for as long as it says something.
    #[must_use]
    pub fn keep_for(&self, now: Timestamp) -> Option<Duration> {
        let ahead = Timestamp::from_millis(self.virtual_us.div_euclid(1_000)).since(now);
        (self.places.is_empty() && !self.waiting).then(|| ahead.saturating_add(IDLE_KEPT))
    }
}

#[cfg(test)]
mod tests;

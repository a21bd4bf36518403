//! What of a queue is not plain: tasks of other priorities than the default, and tasks that require labels of their host.
//!
//! Each band has a consumer of its own, made when its first task is seen. Plain tasks are asked for in advance, for every free
//! slot; bands are visited, with a request that takes what waits and waits for nothing, so that a slot is promised to one band at
//! a time and a queue that knows nothing but plain tasks is served as if there were no bands. A band is visited
//!
//! - when its bell rings: a host listens to what is queued there, whoever queues it;
//! - as long as tasks wait there ("lively"), by turns ([`Turns`]) and for no more than wait: what the broker counted at the last
//!   visit, and the bells since;
//! - some moments after a visit that left none, at growing intervals, the last of which goes on for ever: a bell rings before its
//!   message is stored, and may not be heard at all; leases that have run out ring none.
//!
//! From when a band was lively until all have been calm for a while ([`CALM_AFTER`]), plain tasks are visited like any other band:
//! what is asked for in advance is hard to take back, so a queue where both kinds come and go does without.
//!
//! **Invariant:** `next` may be dropped at any await. **Invariant:** what a visit brought is handed on or handed back.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, Sleep};
use tracing::{debug, warn};

use super::Shared;
use crate::broker::{self, Delivery, Visit, Visits};
use crate::model::turns::Turns;
use crate::model::{Mark, Queue};
use crate::protocol::subject::{Band, Priority, band_tasks};
use crate::store::queues;

/// When a band is looked at again after a visit that found less than it asked for: a message whose bell has rung is stored within
/// this time, by one server. Each further look comes [`LOOK_GROWTH`] times later, for clusters and busy machines.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// How much later each look comes than the one before.
const LOOK_GROWTH: u32 = 8;

/// The longest time between two looks: so late comes a task whose bell nobody heard, or whose host has died, after its lease.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The same for plain tasks while bands are lively. They have no bell, and are what most tasks are.
const LOOK_PLAIN_MAX: Duration = Duration::from_millis(8);

/// How long no band other than the plain one must have been lively before plain tasks are asked for in advance. Shorter, and it
/// would come and go with each task of a busy queue; longer, and an urgent task now and then would slow the plain ones down.
const CALM_AFTER: Duration = Duration::from_millis(50);

/// The pause after a visit that failed.
const LOOK_FAILED: Duration = Duration::from_millis(500);

/// A band, as one host sees it.
struct Place {
    /// `None` until there is a consumer, and while it is visited.
    visits: Option<Box<dyn Visits>>,
    /// Tasks that wait, as far as is known.
    waits: usize,
    /// How often its bell rang since its last visit began.
    rung: usize,
    /// When it is looked at again if it is not lively.
    look_at: Instant,
    /// The pause after the next look that finds nothing.
    pause: Duration,
}

/// What came of a visit.
struct Visited {
    band: Band,
    visits: Option<Box<dyn Visits>>,
    asked: usize,
    brought: Result<Visit, broker::Error>,
}

/// The bands of a queue.
pub(super) struct Bands {
    shared: Arc<Shared>,
    queue: Queue,
    places: BTreeMap<Band, Place>,
    bells: SelectAll<BoxStream<'static, Band>>,
    /// Visits under way, and the slots that are promised to them.
    round: Option<BoxFuture<'static, Vec<Visited>>>,
    asked: usize,
    turns: Turns<Band>,
    /// When the last lively band counts as calm, the plain one aside.
    calm_at: Instant,
    /// Whether plain tasks are visited too.
    plain: bool,
    /// Whether the first look has not ended.
    fresh: bool,
    /// Fires when the next quiet band is to be looked at.
    look: Pin<Box<Sleep>>,
}

impl Bands {
    /// Listens to all bands that this host may take from; each is looked at as soon as there is a slot.
    pub(super) async fn begin(shared: Arc<Shared>, queue: Queue, marks: Option<&BTreeSet<Mark>>) -> Self {
        let mut bands = Self {
            shared,
            queue,
            places: BTreeMap::from([(Band::PLAIN, Place::new())]),
            bells: SelectAll::new(),
            round: None,
            asked: 0,
            turns: Turns::default(),
            calm_at: Instant::now(),
            plain: false,
            fresh: true,
            look: Box::pin(tokio::time::sleep_until(Instant::now())),
        };
        bands.add(None).await;
        bands.learn(marks).await;
        bands
    }

    /// Takes note of requirements that this host meets.
    pub(super) async fn learn(&mut self, marks: Option<&BTreeSet<Mark>>) {
        for mark in marks.into_iter().flatten() {
            self.add(Some(mark)).await;
        }
    }

    async fn add(&mut self, mark: Option<&Mark>) {
        for priority in Priority::all() {
            let band = Band { priority, mark: mark.cloned() };
            if self.places.contains_key(&band) {
                continue;
            }
            let subject = band_tasks(&self.shared.config.tenant, &self.queue, &band);
            match self.shared.broker.bus.listen(&subject).await {
                Ok(heard) => {
                    let band = band.clone();
                    self.bells.push(heard.map(move |_| band.clone()).boxed());
                }
                Err(error) => warn!(%error, %band, "cannot hear what is queued, looking now and then"),
            }
            self.places.insert(band, Place::new());
        }
        self.set_look();
    }

    /// Whether plain tasks may come by themselves: nothing comes before them, as far as is known, and has not for a while.
    pub(super) fn is_calm(&self) -> bool {
        !self.is_lively() && !self.fresh && Instant::now() >= self.calm_at
    }

    fn is_lively(&self) -> bool {
        self.places.iter().any(|(band, place)| place.waits > 0 && *band != Band::PLAIN)
    }

    /// Slots that are promised.
    pub(super) const fn asked(&self) -> usize {
        self.asked
    }

    /// Begins visits for up to `free` slots, if there is a reason. Plain tasks are among those visited where none of them were
    /// asked for in advance.
    pub(super) fn go(&mut self, free: usize, plain_asked: bool) {
        // At first it is not known what comes before them.
        let plain = !(self.fresh || self.is_calm() || plain_asked);
        if plain != self.plain {
            self.plain = plain;
            self.set_look();
        }
        let due = self.look.is_elapsed() || self.fresh;
        if free == 0 || self.round.is_some() || !(due || self.candidates().any(|(_, place)| place.waits > 0)) {
            return;
        }
        let counts = self.plan(free);
        if counts.is_empty() {
            return self.set_look();
        }
        let visits: Vec<_> = counts.into_iter().map(|(band, count)| self.visit(band, count)).collect();
        self.round = Some(join_all(visits).boxed());
    }

    /// The bands that may be visited.
    fn candidates(&self) -> impl Iterator<Item = (&Band, &Place)> {
        self.places.iter().filter(|(band, _)| self.plain || **band != Band::PLAIN)
    }

    /// Which bands are visited, and how much each is asked for: those that are lively and those that are due by turns, where one
    /// that is only due is asked for one task. What has no consumer yet is asked for none, but whether there is something.
    fn plan(&mut self, free: usize) -> Vec<(Band, usize)> {
        let now = Instant::now();
        let (mut unseen, mut waiting) = (Vec::new(), Vec::new());
        for (band, place) in self.candidates() {
            let due = place.waits == 0 && place.look_at <= now;
            if due && place.visits.is_none() && *band != Band::PLAIN {
                unseen.push((band.clone(), 0));
            } else if due || place.waits > 0 {
                waiting.push((band.clone(), place.waits.max(1)));
            }
        }
        let shares = self.turns.share(&waiting, free);
        let asked = waiting.into_iter().zip(shares).map(|((band, _), share)| (band, share));
        unseen.extend(asked.filter(|(_, count)| *count > 0));
        unseen
    }

    fn visit(&mut self, band: Band, asked: usize) -> BoxFuture<'static, Visited> {
        self.asked += asked;
        let mut visits = None;
        if let Some(place) = self.places.get_mut(&band) {
            place.rung = 0;
            visits = place.visits.take();
        }
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        let visit = async move {
            let brought = take(&shared, &queue, &band, &mut visits, asked).await;
            Visited { band, visits, asked, brought }
        };
        visit.boxed()
    }

    /// What the visits under way bring, or nothing but a reason to [`go`](Self::go). The latter only where there is a free slot.
    pub(super) async fn next(&mut self, is_free: bool) -> Vec<Delivery> {
        loop {
            tokio::select! {
                biased;
                visited = under_way(&mut self.round) => {
                    self.round = None;
                    return self.note(visited);
                }
                Some(band) = self.bells.next(), if !self.bells.is_empty() => if self.ring(&band) && is_free {
                    return Vec::new();
                },
                () = &mut self.look, if is_free && self.round.is_none() && !self.look.is_elapsed() => {
                    return Vec::new();
                }
            }
        }
    }

    /// Takes note of a bell; whether that is news.
    fn ring(&mut self, band: &Band) -> bool {
        let Some(place) = self.places.get_mut(band) else { return false };
        place.rung = place.rung.saturating_add(1);
        place.waits = place.waits.saturating_add(1);
        place.pause = LOOK_MIN;
        let news = place.waits == 1;
        if news {
            self.calm_at = Instant::now() + CALM_AFTER;
        }
        news
    }

    fn note(&mut self, visited: Vec<Visited>) -> Vec<Delivery> {
        self.fresh = false;
        let now = Instant::now();
        let mut found = Vec::new();
        for Visited { band, visits, asked, brought } in visited {
            self.asked = self.asked.saturating_sub(asked);
            let Some(place) = self.places.get_mut(&band) else { continue };
            place.visits = visits;
            let Visit { deliveries, left } = brought.unwrap_or_else(|error| {
                debug!(%error, %band, "a visit failed, trying again");
                place.pause = LOOK_FAILED;
                Visit::default()
            });
            if !deliveries.is_empty() {
                place.pause = LOOK_MIN;
            }
            // Tasks whose leases have run out are not counted as waiting; where there is one, others may follow.
            let again = deliveries.len() >= asked && deliveries.last().is_some_and(|last| last.count > 1);
            let left = usize::try_from(left).unwrap_or(usize::MAX).max(if again { asked } else { 0 });
            place.waits = left.saturating_add(place.rung);
            self.turns.take_back(asked.saturating_sub(deliveries.len()));
            found.extend(deliveries);
            place.look_at = now + place.pause;
            let longest = if band == Band::PLAIN { LOOK_PLAIN_MAX } else { LOOK_MAX };
            place.pause = (place.pause * LOOK_GROWTH).min(longest);
        }
        if self.is_lively() {
            self.calm_at = now + CALM_AFTER;
        }
        self.set_look();
        found
    }

    fn set_look(&mut self) {
        let next = self.candidates().filter(|(_, place)| place.waits == 0);
        let next = next.map(|(_, place)| place.look_at).min();
        self.look.as_mut().reset(next.unwrap_or_else(|| Instant::now() + LOOK_MAX));
    }

    /// Ends the visits under way: what they bring is handed back.
    pub(super) async fn close(mut self) {
        if let Some(round) = self.round.take() {
            for Delivery { lease, .. } in self.note(round.await) {
                // If this fails the lease runs out, which comes to the same a little later.
                drop(lease.hand_back(Duration::ZERO).await);
            }
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { visits: None, waits: 0, rung: 0, look_at: Instant::now(), pause: LOOK_MIN }
    }
}

async fn under_way(round: &mut Option<BoxFuture<'static, Vec<Visited>>>) -> Vec<Visited> {
    match round {
        Some(round) => round.await,
        None => std::future::pending().await,
    }
}

/// Takes from a band, or only looks whether a task waits there. Its consumer is made where one does.
async fn take(
    shared: &Shared,
    queue: &Queue,
    band: &Band,
    visits: &mut Option<Box<dyn Visits>>,
    count: usize,
) -> Result<Visit, broker::Error> {
    let consumer = || queues::consumer(&shared.config.tenant, queue, band, shared.config.lease);
    if visits.is_none() {
        if count == 0 && shared.broker.streams.last(&consumer().filter).await?.is_none() {
            return Ok(Visit::default());
        }
        *visits = Some(shared.broker.queues.visit(&consumer()).await?);
    }
    match visits {
        Some(visits) if count > 0 => visits.take(count).await,
        // At least one does.
        _ => Ok(Visit { deliveries: Vec::new(), left: 1 }),
    }
}

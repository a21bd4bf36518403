//! What of a queue is not plain: tasks of other priorities than the default, and tasks that require labels of their host.
//!
//! Each band has a consumer of its own, made when its first task is seen. Plain tasks are asked for in advance, for every free
//! slot; bands are visited, with a request that takes what waits and waits for nothing, so that a slot is promised to one band at
//! a time and a queue that knows nothing but plain tasks is served as if there were no bands. A band is visited
//!
//! - when its bell rings: a host listens to what is queued there, whoever queues it;
//! - as long as its last visit brought all that was asked for ("lively"), by turns ([`Turns`]);
//! - some moments after a visit that did not, at growing intervals, the last of which goes on for ever: a bell rings before its
//!   message is stored, and may not be heard at all; leases that have run out ring none.
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
use crate::broker::{self, Delivery, Visits};
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

/// The pause after a visit that failed.
const LOOK_FAILED: Duration = Duration::from_millis(500);

/// A band, as one host sees it.
struct Place {
    /// `None` until there is a consumer, and while it is visited.
    visits: Option<Box<dyn Visits>>,
    /// Whether more waits, as far as is known.
    lively: bool,
    /// Whether its bell rang since its last visit began.
    rung: bool,
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
    taken: Result<Taken, broker::Error>,
}

/// What was taken, and whether something waits that was not.
#[derive(Default)]
struct Taken {
    deliveries: Vec<Delivery>,
    waits: bool,
}

/// What was found.
pub(super) struct Found {
    /// Deliveries, each of which has a slot.
    pub(super) deliveries: Vec<Delivery>,
    /// Whether bands that are not plain have more than there were slots for.
    pub(super) pressing: bool,
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
    /// Bands that are lively, the plain one aside.
    lively: usize,
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
            lively: 0,
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

    /// Whether tasks other than plain ones wait, as far as is known.
    pub(super) const fn is_lively(&self) -> bool {
        self.lively > 0
    }

    /// Whether plain tasks may come by themselves: nothing comes before them, as far as is known.
    pub(super) const fn is_quiet(&self) -> bool {
        !self.is_lively() && !self.fresh
    }

    /// Slots that are promised.
    pub(super) const fn asked(&self) -> usize {
        self.asked
    }

    /// Begins visits for up to `free` slots, if there is a reason. Plain tasks are among those visited where none of them were
    /// asked for in advance.
    pub(super) fn go(&mut self, free: usize, plain_asked: bool) {
        let due = self.look.is_elapsed() || self.fresh;
        if free == 0 || self.round.is_some() || !(due || self.is_lively()) {
            return;
        }
        let counts = self.plan(free, self.is_lively() && !plain_asked);
        if counts.is_empty() {
            return self.set_look();
        }
        let visits: Vec<_> = counts.into_iter().map(|(band, count)| self.visit(band, count)).collect();
        self.round = Some(join_all(visits).boxed());
    }

    /// Which bands are visited, and how much each is asked for: those that are lively and those that are due by turns, where one
    /// that is only due is asked for one task. What has no consumer yet is asked for none, but whether there is something.
    fn plan(&mut self, free: usize, plain: bool) -> Vec<(Band, usize)> {
        let now = Instant::now();
        let due = |place: &Place| !place.lively && place.look_at <= now;
        let candidates = self.places.iter().filter(|(band, _)| plain || **band != Band::PLAIN);
        let unseen = |band: &Band, place: &Place| due(place) && place.visits.is_none() && *band != Band::PLAIN;
        let mut counts: Vec<(Band, usize)> =
            candidates.clone().filter(|(band, place)| unseen(band, place)).map(|(band, _)| (band.clone(), 0)).collect();
        let seen = candidates.filter(|(band, place)| (place.lively || due(place)) && !unseen(band, place));
        let (bands, lively): (Vec<Band>, Vec<bool>) = seen.map(|(band, place)| (band.clone(), place.lively)).unzip();
        if lively.contains(&true) {
            let shares = self.turns.share(&bands, free);
            let asked = shares.into_iter().zip(lively).map(|(share, lively)| if lively { share } else { share.min(1) });
            counts.extend(bands.into_iter().zip(asked).filter(|(_, count)| *count > 0));
        } else {
            counts.extend(bands.into_iter().take(free).map(|band| (band, 1)));
        }
        counts
    }

    fn visit(&mut self, band: Band, asked: usize) -> BoxFuture<'static, Visited> {
        self.asked += asked;
        let mut visits = None;
        if let Some(place) = self.places.get_mut(&band) {
            place.rung = false;
            visits = place.visits.take();
        }
        let (shared, queue) = (Arc::clone(&self.shared), self.queue.clone());
        let visit = async move {
            let taken = take(&shared, &queue, &band, &mut visits, asked).await;
            Visited { band, visits, asked, taken }
        };
        visit.boxed()
    }

    /// What the visits under way bring, or nothing but a reason to [`go`](Self::go). The latter only where there is a free slot.
    pub(super) async fn next(&mut self, is_free: bool) -> Found {
        loop {
            tokio::select! {
                biased;
                visited = under_way(&mut self.round) => {
                    self.round = None;
                    return self.note(visited);
                }
                Some(band) = self.bells.next(), if !self.bells.is_empty() => if self.ring(&band) && is_free {
                    return Found { deliveries: Vec::new(), pressing: false };
                },
                () = &mut self.look, if is_free && self.round.is_none() && !self.look.is_elapsed() => {
                    return Found { deliveries: Vec::new(), pressing: false };
                }
            }
        }
    }

    /// Takes note of a bell; whether that is news.
    fn ring(&mut self, band: &Band) -> bool {
        let Some(place) = self.places.get_mut(band) else { return false };
        place.rung = true;
        place.pause = LOOK_MIN;
        if place.lively {
            return false;
        }
        place.lively = true;
        self.lively += 1;
        true
    }

    fn note(&mut self, visited: Vec<Visited>) -> Found {
        self.fresh = false;
        let now = Instant::now();
        let mut found = Found { deliveries: Vec::new(), pressing: false };
        for Visited { band, visits, asked, taken } in visited {
            self.asked = self.asked.saturating_sub(asked);
            let Some(place) = self.places.get_mut(&band) else { continue };
            place.visits = visits;
            let Taken { deliveries, waits } = taken.unwrap_or_else(|error| {
                debug!(%error, %band, "a visit failed, trying again");
                place.pause = LOOK_FAILED;
                Taken::default()
            });
            if !deliveries.is_empty() {
                place.pause = LOOK_MIN;
            }
            let full = asked > 0 && deliveries.len() >= asked;
            self.turns.take_back(asked.saturating_sub(deliveries.len()));
            found.deliveries.extend(deliveries);
            place.lively = full || waits || place.rung;
            place.look_at = now + place.pause;
            let longest = if band == Band::PLAIN { LOOK_PLAIN_MAX } else { LOOK_MAX };
            place.pause = (place.pause * LOOK_GROWTH).min(longest);
            found.pressing |= full && band != Band::PLAIN;
        }
        self.lively = self.places.iter().filter(|(band, place)| place.lively && **band != Band::PLAIN).count();
        self.set_look();
        found
    }

    fn set_look(&mut self) {
        let plain = self.is_lively();
        let quiet = self.places.iter().filter(|(band, place)| !place.lively && (plain || **band != Band::PLAIN));
        let next = quiet.map(|(_, place)| place.look_at).min();
        self.look.as_mut().reset(next.unwrap_or_else(|| Instant::now() + LOOK_MAX));
    }

    /// Ends the visits under way: what they bring is handed back.
    pub(super) async fn close(mut self) {
        if let Some(round) = self.round.take() {
            for Delivery { lease, .. } in self.note(round.await).deliveries {
                // If this fails the lease runs out, which comes to the same a little later.
                drop(lease.hand_back(Duration::ZERO).await);
            }
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { visits: None, lively: false, rung: false, look_at: Instant::now(), pause: LOOK_MIN }
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
) -> Result<Taken, broker::Error> {
    let consumer = || queues::consumer(&shared.config.tenant, queue, band, shared.config.lease);
    if visits.is_none() {
        if count == 0 && shared.broker.streams.last(&consumer().filter).await?.is_none() {
            return Ok(Taken::default());
        }
        *visits = Some(shared.broker.queues.visit(&consumer()).await?);
    }
    match visits {
        Some(visits) if count > 0 => Ok(Taken { deliveries: visits.take(count).await?, waits: false }),
        _ => Ok(Taken { deliveries: Vec::new(), waits: true }),
    }
}

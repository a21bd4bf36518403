//! Slots of the pool, shared fairly among tenants: a free one goes to whoever comes; when there is none, one invocation of each
//! tenant stands in line for the next, so that tenants take turns whatever the length of their queues.
//!
//! **Invariant:** a tenant with any number of invocations waiting delays another's first one by one slot of each tenant at most,
//! and not at all where tenants have a share that leaves slots free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use crate::model::Tenant;

/// The slots of a sandbox.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// Slots that one tenant may hold, where that is fewer than all.
    share: Option<usize>,
    /// Tenants that hold or wait for slots: with what is left of their share, and the turn of those who wait.
    tenants: Mutex<HashMap<Tenant, Arc<Line>>>,
}

/// One tenant.
#[derive(Debug)]
struct Line {
    share: Arc<Semaphore>,
    turn: tokio::sync::Mutex<()>,
}

/// The right to an instance of the pool, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _pool: OwnedSemaphorePermit,
    _share: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(super) fn new(count: usize, share: Option<usize>) -> Self {
        let share = share.map(|share| share.max(1)).filter(|share| *share < count);
        Self { free: Arc::new(Semaphore::new(count)), share, tenants: Mutex::default() }
    }

    /// Slots that are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A slot, as soon as it is the tenant's turn.
    pub(super) async fn take(&self, tenant: &Tenant) -> Result<Slot, Error> {
        // The semaphore hands what is given back to those in line first: what is free here, nobody waits for.
        if self.share.is_none()
            && let Ok(pool) = Arc::clone(&self.free).try_acquire_owned()
        {
            return Ok(Slot { _pool: pool, _share: None });
        }
        let place = Place { slots: self, tenant, line: Some(self.line(tenant)) };
        let line = place.line.clone().ok_or(Error::Stopped)?;
        let share = match self.share {
            Some(_) => Some(Arc::clone(&line.share).acquire_owned().await.map_err(|_| Error::Stopped)?),
            None => None,
        };
        let _first = line.turn.lock().await;
        let pool = Arc::clone(&self.free).acquire_owned().await.map_err(|_| Error::Stopped)?;
        Ok(Slot { _pool: pool, _share: share })
    }

    fn line(&self, tenant: &Tenant) -> Arc<Line> {
        let new =
            || Line { share: Arc::new(Semaphore::new(self.share.unwrap_or(0))), turn: tokio::sync::Mutex::new(()) };
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(new())))
    }
}

/// A place in a tenant's line: the last who leaves it takes the line away, unless slots of the tenant's share are held.
struct Place<'s> {
    slots: &'s Slots,
    tenant: &'s Tenant,
    line: Option<Arc<Line>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut tenants = self.slots.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        self.line = None;
        let whole = self.slots.share.unwrap_or(0);
        let idle = |line: &Arc<Line>| Arc::strong_count(line) == 1 && line.share.available_permits() == whole;
        if tenants.get(self.tenant).is_some_and(idle) {
            tenants.remove(self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::stream::{FuturesUnordered, StreamExt as _};

    use super::*;

    fn tenant(name: &str) -> Tenant {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn tenants_take_turns_whatever_the_length_of_their_queues() {
        let slots = Slots::new(2, None);
        let (hog, guest, late) = (tenant("hog"), tenant("guest"), tenant("late"));
        let mut held = vec![slots.take(&hog).await.unwrap(), slots.take(&hog).await.unwrap()];
        let mut waiting = FuturesUnordered::new();
        for tenant in std::iter::repeat_n(&hog, 1_000).chain([&guest, &guest, &late]) {
            waiting.push(slots.take(tenant).map(move |slot| (tenant.as_str(), slot.unwrap())));
        }
        assert!(waiting.next().now_or_never().is_none(), "all slots are taken");
        let mut order = Vec::new();
        for _ in 0..6 {
            drop(held.remove(0));
            let (tenant, slot) = waiting.next().await.unwrap();
            order.push(tenant);
            held.push(slot);
        }
        assert_eq!(order, ["hog", "guest", "late", "hog", "guest", "hog"]);
        drop((waiting, held));
        assert!(slots.tenants.lock().unwrap().is_empty(), "nobody waits any more");
        assert_eq!(slots.free(), 2);
    }
    #[tokio::test]
    async fn a_share_leaves_slots_for_others() {
        let slots = Slots::new(3, Some(2));
        let (hog, guest) = (tenant("hog"), tenant("guest"));
        let held = [slots.take(&hog).await.unwrap(), slots.take(&hog).await.unwrap()];
        let third = slots.take(&hog);
        tokio::pin!(third);
        assert!(third.as_mut().now_or_never().is_none(), "its share is used");
        assert_eq!(slots.free(), 1);
        let other = slots.take(&guest).now_or_never().unwrap().unwrap();
        drop(held);
        let third = third.now_or_never().unwrap().unwrap();
        drop((third, other));
        assert_eq!(slots.free(), 3);
        // Who comes again finds its share whole; lines of those who hold nothing go with the next who leaves.
        drop([slots.take(&hog).await.unwrap(), slots.take(&hog).await.unwrap()]);
        assert!(slots.tenants.lock().unwrap().len() <= 2);
    }
}

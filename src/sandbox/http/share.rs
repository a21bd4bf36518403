//! Shares of something that a host has only so many of: no tenant gets all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::Tenant;

/// So many at a time for all tenants together, and so many for each.
#[derive(Debug)]
pub(super) struct Shares {
    all: Arc<Semaphore>,
    own_max: usize,
    /// Those of tenants that hold or await a share; the others are dropped when the map grows.
    own: Mutex<HashMap<Tenant, Weak<Semaphore>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Tenants that are remembered before those that hold nothing are forgotten.
const REMEMBERED: usize = 1_000;

impl Shares {
    pub(super) fn new(all_max: u32, own_max: u32) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all_max as usize)),
            own_max: own_max.min(all_max) as usize,
            own: Mutex::default(),
        }
    }

    /// Waits for a share: first among the tenant's own, so that its queue is not the others'.
    pub(super) async fn take(&self, tenant: &Tenant) -> Option<Share> {
        let own = self.of(tenant).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Share { _own: own, _all: all })
    }

    fn of(&self, tenant: &Tenant) -> Arc<Semaphore> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = own.get(tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        if own.len() >= REMEMBERED {
            own.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.own_max));
        own.insert(tenant.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_tenant_at_its_share_does_not_keep_others_waiting() {
        let shares = Shares::new(3, 2);
        let (a, b): (Tenant, Tenant) = ("a".parse().unwrap(), "b".parse().unwrap());
        let held = [shares.take(&a).await.unwrap(), shares.take(&a).await.unwrap()];
        assert!(shares.take(&a).now_or_never().is_none(), "a third of two");
        let other = shares.take(&b).now_or_never().flatten().unwrap();
        assert!(shares.take(&b).now_or_never().is_none(), "a fourth of three");
        drop(held);
        assert!(shares.take(&a).now_or_never().flatten().is_some());
        drop(other);
    }

    #[tokio::test]
    async fn tenants_that_hold_nothing_are_forgotten() {
        let shares = Shares::new(2, 1);
        for n in 0..REMEMBERED * 2 {
            drop(shares.take(&format!("t{n}").parse().unwrap()).await);
        }
        assert!(shares.own.lock().unwrap().len() <= REMEMBERED);
    }
}

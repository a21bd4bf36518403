//! What marks on tasks mean: written once for each requirement in a queue, before the first task that has it, so that hosts which
//! meet it know what to take.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::broker::{Broker, Error, Publish};
use crate::model::{Labels, Mark, Queue, Tenant};
use crate::protocol::queue::{MarkRecord, mark_subject};

/// Marks that are remembered as written; further ones are looked up each time.
const REMEMBERED_MAX: usize = 1_024;

/// Marks that are known to be written. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Marks(Arc<Mutex<BTreeSet<(Tenant, Queue, Mark)>>>);

impl Marks {
    /// Sees to it that the requirement of a task in `queue` is written.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn note(&self, broker: &Broker, tenant: &Tenant, queue: &Queue, requires: &Labels) -> Result<(), Error> {
        let Some(mark) = Mark::of(requires) else { return Ok(()) };
        let key = (tenant.clone(), queue.clone(), mark);
        // A panic while the set was locked cannot have left it half-changed.
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        let record = MarkRecord::new(queue.clone(), requires.clone());
        let publish = Publish { expect: Some(0), ..Publish::new(mark_subject(tenant, queue, &key.2), record.encode()) };
        match broker.streams.publish(publish).await {
            Ok(_) | Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < REMEMBERED_MAX {
            known.insert(key);
        }
        Ok(())
    }
}

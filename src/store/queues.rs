//! The consumers of queues: one for each band, shared by all who take from it.

use std::time::Duration;

use crate::broker::Consumer;
use crate::model::{Queue, Tenant};
use crate::protocol::Stream;
use crate::protocol::queue::consumer_name;
use crate::protocol::subject::{Band, band_tasks};

/// The consumer of a band of a queue. Together they hand out all tasks of the queue, and none twice: filters of a work queue must
/// not overlap.
#[must_use]
pub fn consumer(tenant: &Tenant, queue: &Queue, band: &Band, lease: Duration) -> Consumer {
    Consumer {
        stream: Stream::Task(tenant.clone()),
        name: consumer_name(queue, band),
        filter: band_tasks(tenant, queue, band),
        lease,
        deliveries_max: None,
    }
}

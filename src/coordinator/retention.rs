//! Removes runs that ended long ago: journal, values and entry together, a few at a time; and values that no run has any more.
//!
//! Every coordinator looks after the runs of the partitions that it holds; what two remove at once is removed once.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tracing::{debug, info};

use super::Shared;
use super::claim::{Claim, PARTITION_RECORDS, partition_of};
use crate::broker::{Error, Start};
use crate::model::{Digest, RunId, Tenant, Timestamp};
use crate::protocol::stream::Bucket;
use crate::protocol::subject;
use crate::store::run_values;
use crate::workflow::wire::{self, Entry};

/// How often a coordinator looks for runs to remove.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Looks between two in which all values are gone through: a listing of them all takes seconds where there are many.
const LOOKS_BETWEEN_SWEEPS: u32 = 6;

/// How old records and values are that belong to no run before they are removed: a child may be cancelled before it is started,
/// and values are stored before the record that names them.
pub(super) const STRAY_AFTER: Duration = Duration::from_secs(3_600);

/// Runs that are removed in one look: the rest is there at the next one.
const REMOVED_AT_ONCE_MAX: usize = 10_000;

/// How long ended runs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// An ended run older than this is removed.
    pub age_max: Duration,
    /// Ended runs that a tenant may have: beyond them those that ended first are removed.
    pub count_max: usize,
}

impl Default for Retention {
    /// A week, and a hundred thousand: as many subjects with a dozen records each take about half a gigabyte.
    fn default() -> Self {
        Self { age_max: Duration::from_secs(7 * 24 * 3600), count_max: 100_000 }
    }
}

impl Retention {
    /// Those of a tenant's ended runs that are to be removed, the oldest first.
    fn surplus(&self, mut ended: Vec<(Timestamp, RunId)>, now: Timestamp) -> Vec<RunId> {
        ended.sort_unstable();
        let over = ended.len().saturating_sub(self.count_max);
        let old = ended.partition_point(|(at, _)| now.since(*at) > self.age_max);
        ended.truncate(over.max(old));
        ended.into_iter().map(|(_, run)| run).collect()
    }
}

/// Looks again and again.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        looks = looks.wrapping_add(1);
        let looked = async {
            look(&shared).await?;
            if looks.is_multiple_of(LOOKS_BETWEEN_SWEEPS) { sweep(&shared).await } else { Ok(()) }
        };
        if let Err(error) = looked.await {
            info!(%error, "failed to remove what is not needed any more, trying again later");
        }
    }
}

/// Removes values whose run is gone: inputs that were put together for one task are named by no record, and a coordinator that was
/// killed may have stored a value and not its record.
async fn sweep(shared: &Shared) -> Result<(), Error> {
    let (ours, now) = (partitions(shared).await?, shared.broker.clock.now());
    let mut alive: BTreeMap<(Tenant, RunId), bool> = BTreeMap::new();
    let mut values = shared.broker.objects.list(Bucket::RunValues).await?;
    while let Some(value) = values.next().await {
        let (name, info) = value?;
        let Some((tenant, run)) = run_values::owner(&name).filter(|(_, run)| ours.contains(&run.partition())) else {
            continue;
        };
        if now.since(info.time) < STRAY_AFTER {
            continue;
        }
        let alive = match alive.entry((tenant, run)) {
            btree_map::Entry::Occupied(known) => *known.get(),
            btree_map::Entry::Vacant(unknown) => {
                let (tenant, run) = unknown.key();
                let last = shared.broker.streams.last(&subject::run_records(tenant, run)).await?;
                *unknown.insert(last.is_some())
            }
        };
        if !alive {
            shared.broker.objects.remove(Bucket::RunValues, &name).await?;
            debug!(name, "removed a value of a run that is gone");
        }
    }
    Ok(())
}

async fn look(shared: &Shared) -> Result<(), Error> {
    let ours = partitions(shared).await?;
    let mut ended: BTreeMap<Tenant, Vec<(Timestamp, RunId)>> = BTreeMap::new();
    let mut entries = shared.broker.streams.read("lvg.*.index.*", Start::LastPerSubject, false).await?;
    while let Some(message) = entries.next().await {
        let message = message?;
        let tenant = message.subject.split('.').nth(1).and_then(|tenant| tenant.parse::<Tenant>().ok());
        let (Some(tenant), Ok(entry)) = (tenant, Entry::decode(&message.payload)) else { continue };
        if let (true, Some(at)) = (entry.state.is_over(), entry.ended) {
            ended.entry(tenant).or_default().push((at, entry.run));
        }
    }
    let now = shared.broker.clock.now();
    let mut left = REMOVED_AT_ONCE_MAX;
    for (tenant, ended) in ended {
        let surplus = shared.config.retention.surplus(ended, now);
        for run in surplus.iter().filter(|run| ours.contains(&run.partition())).take(left) {
            remove(shared, &tenant, run).await?;
            left = left.saturating_sub(1);
        }
    }
    Ok(())
}

/// The partitions that we hold.
async fn partitions(shared: &Shared) -> Result<BTreeSet<char>, Error> {
    let mut ours = BTreeSet::new();
    let mut claims = shared.broker.streams.read(PARTITION_RECORDS, Start::LastPerSubject, false).await?;
    while let Some(message) = claims.next().await {
        let message = message?;
        let claim = Claim::decode(&message.payload).ok();
        let own = claim.is_some_and(|claim| claim.holder.as_ref() == Some(&shared.config.id));
        ours.extend(partition_of(&message.subject).filter(|_| own));
    }
    Ok(ours)
}

/// Removes a run. Its entry is the last to go, so that what was begun is done again.
pub(super) async fn remove(shared: &Shared, tenant: &Tenant, run: &RunId) -> Result<(), Error> {
    let streams = &shared.broker.streams;
    let filter = subject::run_records(tenant, run);
    let mut digests: BTreeSet<Digest> = BTreeSet::new();
    let mut records = streams.read(&filter, Start::Sequence(1), false).await?;
    while let Some(record) = records.next().await {
        let record = record?;
        let event = wire::name(&record.subject).ok();
        let event = event.and_then(|name| wire::decode(&name, &record.headers, &record.payload).ok());
        let Some(mut event) = event else { continue };
        for value in wire::values_mut(&mut event) {
            digests.extend(value.elsewhere().iter().map(|part| part.digest));
        }
    }
    run_values::forget(&shared.broker, tenant, run, digests).await?;
    streams.purge(&subject::run_timers(tenant, run)).await?;
    streams.purge(&filter).await?;
    streams.purge(&Entry::subject(tenant, run)).await?;
    shared.metrics.removed.inc();
    debug!(%tenant, %run, "removed an ended run");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_and_what_is_too_much_is_surplus() {
        let retention = Retention { age_max: Duration::from_secs(10), count_max: 2 };
        let run = |number: u64| format!("01jd{number:022}").parse::<RunId>().unwrap();
        let ended = |times: &[u64]| {
            times.iter().map(|at| (Timestamp::from_millis(i64::try_from(*at * 1_000).unwrap()), run(*at))).collect()
        };
        let now = Timestamp::from_millis(20_000);
        for (times, surplus) in
            [(&[20, 15][..], &[][..]), (&[20, 9, 10], &[9]), (&[19, 20, 18, 17], &[17, 18]), (&[1, 2, 3], &[1, 2, 3])]
        {
            let expected: Vec<RunId> = surplus.iter().map(|at| run(*at)).collect();
            assert_eq!(retention.surplus(ended(times), now), expected, "{times:?}");
        }
    }
}

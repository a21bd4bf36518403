//! One schedule, as far as it goes now: what was decided is carried out, what is due is decided, and both are written.

use tracing::{debug, info, warn};

use crate::client::{Client, Error};
use crate::model::Timestamp;
use crate::model::schedule::{Begun, Slot, Stage};
use crate::protocol::schedule::Schedule;
use crate::telemetry::ScheduleMetrics;

/// Turns of one schedule before others have theirs.
const TURNS_MAX: usize = 8;

/// The longest reason of a refusal that is kept.
const REASON_LEN_MAX: usize = 200;

/// How far a schedule is.
pub(super) struct Advanced {
    /// The schedule as it was last written or read; `None` if it is gone.
    pub(super) seen: Option<(Schedule, u64)>,
    /// When its next slot is due.
    pub(super) wake: Option<Timestamp>,
    /// Starts whose ends something waits for.
    pub(super) waits_for: Vec<Slot>,
    /// Whether it is to be looked at again soon.
    pub(super) again: bool,
}

/// Takes a schedule as far as it goes.
pub(super) async fn advance(
    client: &Client,
    mut schedule: Schedule,
    mut sequence: u64,
    metrics: &ScheduleMetrics,
) -> Advanced {
    let mut wake = None;
    for _ in 0..TURNS_MAX {
        let before = schedule.clone();
        let more = match turn(client, &mut schedule, metrics).await {
            Ok((next, more)) => {
                wake = next;
                more
            }
            Err(error) => {
                info!(%error, schedule = %schedule.name, "failed to advance a schedule, trying again");
                return Advanced { seen: Some((before, sequence)), wake, waits_for: Vec::new(), again: true };
            }
        };
        if schedule != before {
            match client.write_schedule(&schedule, sequence).await {
                Ok(Some(written)) => {
                    count(metrics, &before, &schedule);
                    sequence = written;
                }
                // Somebody changed it: what we decided was not written, so it is decided anew.
                Ok(None) => match client.look_at(&schedule.name).await {
                    Ok((Some(now), at)) => {
                        (schedule, sequence) = (now, at);
                        continue;
                    }
                    Ok((None, _)) => return Advanced { seen: None, wake: None, waits_for: Vec::new(), again: false },
                    Err(error) => return failed(&error, before, sequence),
                },
                Err(error) => return failed(&error, before, sequence),
            }
        }
        if !more && !schedule.progress.is_to_do() {
            let waits_for = waited_for(&schedule);
            return Advanced { seen: Some((schedule, sequence)), wake, waits_for, again: false };
        }
    }
    Advanced { seen: Some((schedule, sequence)), wake, waits_for: Vec::new(), again: true }
}

/// Carries out what was decided, then decides; when the next slot is due, and whether there is more to decide now.
async fn turn(
    client: &Client,
    schedule: &mut Schedule,
    metrics: &ScheduleMetrics,
) -> Result<(Option<Timestamp>, bool), Error> {
    carry_out(client, schedule, metrics).await?;
    let calendar = match schedule.calendar() {
        Ok(calendar) => calendar,
        Err(error) => {
            warn!(schedule = %schedule.name, %error, "a schedule cannot be followed: it starts nothing");
            return Ok((None, false));
        }
    };
    let now = client.broker().clock.now();
    if schedule.progress.needs_ends(&schedule.course(&calendar), now) {
        note_ends(client, schedule).await?;
    }
    let mut progress = schedule.progress.clone();
    let turn = progress.turn(&schedule.course(&calendar), now);
    schedule.progress = progress;
    Ok((turn.wake, turn.again))
}

/// Submits and cancels what was decided. Each may have been done before.
async fn carry_out(client: &Client, schedule: &mut Schedule, metrics: &ScheduleMetrics) -> Result<(), Error> {
    for place in 0..schedule.progress.recent.len() {
        let Some(begun) = schedule.progress.recent.get(place) else { continue };
        let slot = begun.slot.clone();
        let stage = match begun.stage {
            Stage::Begin => match client.start_slot(schedule, &slot).await {
                Ok(()) => {
                    debug!(schedule = %schedule.name, slot = %slot.at, "a schedule has started something");
                    Stage::Open
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => {
                    warn!(schedule = %schedule.name, slot = %slot.at, %error, "a start of a schedule was refused");
                    metrics.refused.inc();
                    Stage::Refused(error.to_string().chars().take(REASON_LEN_MAX).collect())
                }
            },
            Stage::Cancel => {
                client.cancel_slot(schedule, &slot).await?;
                // A task that is cancelled has ended; a run has not as long as it compensates.
                if client.slot_has_ended(schedule, &slot).await? { Stage::Ended } else { Stage::Cancelling }
            }
            Stage::Open | Stage::Cancelling | Stage::Ended | Stage::Refused(_) => continue,
        };
        if let Some(begun) = schedule.progress.recent.get_mut(place) {
            begun.stage = stage;
        }
    }
    Ok(())
}

/// Notes which starts have ended.
async fn note_ends(client: &Client, schedule: &mut Schedule) -> Result<(), Error> {
    for place in 0..schedule.progress.recent.len() {
        let Some(begun) = schedule.progress.recent.get(place).filter(|begun| is_under_way(begun)) else {
            continue;
        };
        let ended = client.slot_has_ended(schedule, &begun.slot).await?;
        if let Some(begun) = schedule.progress.recent.get_mut(place).filter(|_| ended) {
            begun.stage = Stage::Ended;
        }
    }
    Ok(())
}

const fn is_under_way(begun: &Begun) -> bool {
    matches!(begun.stage, Stage::Open | Stage::Cancelling)
}

/// The starts under way, where something waits for their end.
fn waited_for(schedule: &Schedule) -> Vec<Slot> {
    let progress = &schedule.progress;
    if progress.waiting.is_empty() {
        return Vec::new();
    }
    let open = progress.recent.iter().filter(|begun| is_under_way(begun));
    open.map(|begun| begun.slot.clone()).collect()
}

fn count(metrics: &ScheduleMetrics, before: &Schedule, after: &Schedule) {
    let (before, after) = (&before.progress, &after.progress);
    metrics.started.inc_by(after.started.saturating_sub(before.started));
    metrics.skipped.inc_by(after.skipped.saturating_sub(before.skipped));
    metrics.missed.inc_by(after.missed.saturating_sub(before.missed));
}

fn failed(error: &Error, schedule: Schedule, sequence: u64) -> Advanced {
    info!(%error, schedule = %schedule.name, "failed to write a schedule, trying again");
    Advanced { seen: Some((schedule, sequence)), wake: None, waits_for: Vec::new(), again: true }
}

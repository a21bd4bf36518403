//! How many hosts a queue wants: a signal for whoever starts and stops them, from what is seen of the queue alone.
//!
//! | what is seen | hosts wanted |
//! |---|---|
//! | nothing waits, nothing runs | 0 |
//! | tasks wait and there is no host | 1 |
//! | what waits is done within [`TARGET`] at the present rate, and nothing has waited for longer | those whose slots are in use, at least 1 |
//! | it takes longer at the present rate | as many times more, at most [`GROWTH_MAX`] times as many, at least one more |
//! | nothing was done lately (tasks are long), or something has waited too long | one more |
//! | the queue is paused | those whose slots are in use |
//!
//! Never more hosts than there are tasks. Whoever acts on it adds a minimum, a maximum and some patience before he takes hosts
//! away; the signal itself has no memory.

use std::time::Duration;

/// How long what waits may take until it is done: shorter than most people wait, longer than a host takes to start.
pub const TARGET: Duration = Duration::from_secs(30);

/// How many times more hosts are wanted at once: the next look sees what they have changed.
pub const GROWTH_MAX: u64 = 4;

/// What is seen of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that hosts have.
    pub running: u64,
    /// How long the oldest of them has been there.
    pub oldest: Duration,
    /// Tasks that were taken in each second lately.
    pub rate: f64,
    /// Hosts that serve it.
    pub hosts: u64,
    /// The slots that all of them have for it.
    pub slots: u64,
    /// Whether it is paused.
    pub paused: bool,
}

/// How many hosts it wants.
#[must_use]
pub fn hosts_wanted(load: &Load) -> u64 {
    let Load { waiting, running, oldest, hosts, slots, paused, .. } = *load;
    let tasks = waiting.saturating_add(running);
    let slots_each = slots.checked_div(hosts).unwrap_or(1).max(1);
    let in_use = running.div_ceil(slots_each);
    if paused || waiting == 0 {
        return in_use;
    }
    if hosts == 0 {
        return in_use.max(1);
    }
    let more = match seconds_left(load) {
        Some(seconds) if seconds > TARGET.as_secs_f64() => {
            times(hosts, seconds / TARGET.as_secs_f64()).clamp(hosts + 1, hosts.saturating_mul(GROWTH_MAX))
        }
        Some(_) if oldest <= TARGET => return in_use.max(1),
        Some(_) => hosts + 1,
        None if oldest <= TARGET && running < slots => return in_use.max(1),
        None => hosts + 1,
    };
    more.min(tasks)
}

/// How long what waits takes at the present rate; `None` where nothing was done lately.
fn seconds_left(load: &Load) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a count of tasks, of which three digits matter")]
    let waiting = load.waiting as f64;
    (load.rate > 0.0).then(|| waiting / load.rate)
}

fn times(hosts: u64, factor: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a count of hosts")]
    let wanted = (hosts as f64 * factor).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a number saturates, and it is positive"
    )]
    let wanted = wanted as u64;
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_wanted_as_the_table_says() {
        let load = |waiting, running, oldest, rate, hosts| Load {
            waiting,
            running,
            oldest: Duration::from_secs(oldest),
            rate,
            hosts,
            slots: hosts * 8,
            paused: false,
        };
        for (load, wanted, why) in [
            (load(0, 0, 0, 0.0, 3), 0, "nothing to do"),
            (load(5, 0, 1, 0.0, 0), 1, "nobody there"),
            (load(0, 9, 1, 50.0, 4), 2, "two of four suffice for what runs"),
            (load(100, 16, 1, 50.0, 2), 2, "done in two seconds"),
            (load(3_000, 16, 1, 50.0, 2), 4, "a minute's work wants twice as many"),
            (load(1_000_000, 16, 1, 50.0, 2), 8, "four times as many at once"),
            (load(100, 16, 60, 50.0, 2), 3, "something has waited for too long"),
            (load(100, 16, 1, 0.0, 2), 3, "long tasks fill all slots"),
            (load(1, 3, 1, 0.0, 2), 1, "about to be taken"),
            (load(1, 1, 60, 0.1, 1), 2, "late"),
            (load(1, 0, 60, 0.0, 1), 1, "one task needs one host"),
            (Load { paused: true, ..load(1_000, 9, 60, 1.0, 4) }, 2, "more would do nothing"),
        ] {
            assert_eq!(hosts_wanted(&load), wanted, "{why}: {load:?}");
        }
    }

    proptest! {
        #[test]
        fn no_load_wants_hosts_without_tasks_or_more_than_growth_allows(
            waiting in 0_u64..10_000_000, running in 0_u64..10_000, oldest in 0_u64..100_000, rate in 0.0_f64..1e6,
            hosts in 0_u64..1_000, slots in 0_u64..10_000, paused: bool,
        ) {
            let load = Load { waiting, running, oldest: Duration::from_secs(oldest), rate, hosts, slots, paused };
            let wanted = hosts_wanted(&load);
            prop_assert!(wanted <= waiting + running);
            prop_assert!(wanted <= (hosts * GROWTH_MAX).max(running).max(1).max(hosts + 1), "{}", wanted);
            prop_assert!(wanted > 0 || paused || waiting == 0);
        }
    }
}

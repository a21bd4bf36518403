//! Limits across the fleet: never passed, whatever hosts die; nobody is lost, nobody runs twice, and who waits holds nothing.

use lovage::model::limit::bucket::LATENESS;
use lovage::model::limit::{Limit, Rule, token};
use lovage::protocol::limit::{line_of, record as ledger_subject};
use lovage::protocol::subject::result;

use super::*;

/// A task that takes some milliseconds.
const WORK: &str = r#"{"units":20}"#;

/// How long before it is seen to begin a start may have been granted, on a machine that does much else. What is granted keeps the
/// rate to the microsecond: the properties of the bucket have no such room.
const GRANTED_BEFORE_MS: i64 = 50;

fn tenant() -> Tenant {
    Tenant::default_tenant()
}

fn at_most(concurrency: u32) -> Rule {
    Rule { concurrency: Some(concurrency), ..Rule::default() }
}

fn every(rate: &str, burst: u32) -> Rule {
    Rule { rate: Some(rate.parse().unwrap()), burst: Some(burst), ..Rule::default() }
}

fn keyed(signature: Signature, key: &str, rule: Rule) -> Signature {
    let mut signature = signature;
    signature.options.fleet = vec![Limit::of_key(key, rule).unwrap()];
    signature
}

impl Rig {
    async fn submit_all(&self, count: usize, signature: &Signature) -> Vec<TaskId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.submit(signature.clone()).await);
        }
        ids
    }

    /// When a task ran, in milliseconds: from its outcome and what it took.
    async fn ran(&self, id: &TaskId) -> (i64, i64) {
        let settled = self.wait(id).await;
        assert!(matches!(settled.end, End::Succeeded(_)), "{settled:?}");
        let end = self.broker.streams.last(&result(&tenant(), id)).await.unwrap().unwrap().time.as_millis();
        (end - i64::try_from(settled.usage.duration_us / 1_000).unwrap(), end)
    }

    async fn all_ran(&self, ids: &[TaskId]) -> Vec<(i64, i64)> {
        let mut times = Vec::new();
        for id in ids {
            times.push(self.ran(id).await);
        }
        times.sort_unstable();
        times
    }

    /// Waits until nobody waits for the limit, and nobody has a place.
    async fn until_free(&self, limit: &str) {
        let token = token(limit);
        eventually("a free limit", || async {
            if self.broker.streams.last(&line_of(&tenant(), &token)).await.unwrap().is_some() {
                return None;
            }
            let message = self.broker.streams.last(&ledger_subject(&tenant(), &token)).await.unwrap()?;
            let ledger = lovage::protocol::limit::decode_ledger(&message.payload).unwrap();
            (ledger.places.is_empty() && !ledger.waiting).then_some(())
        })
        .await;
    }
}

/// The most that ran at the same time.
fn most_at_once(times: &[(i64, i64)]) -> usize {
    let at = |moment: i64| times.iter().filter(|(begin, end)| *begin <= moment && moment < *end).count();
    times.iter().map(|(begin, _)| at(*begin)).max().unwrap_or(0)
}

#[tokio::test]
async fn no_more_than_the_concurrency_run_over_three_hosts_and_each_runs_once() {
    let rig = Rig::new().await;
    let _hosts = [rig.host("host-1").await, rig.host("host-2").await, rig.host("host-3").await];
    let ids = rig.submit_all(40, &keyed(call("burn", WORK), "k", at_most(2))).await;
    let times = rig.all_ran(&ids).await;
    assert!(most_at_once(&times) <= 2, "{times:?}");
    rig.until_free("key k").await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_rate_holds_in_every_window_over_three_hosts() {
    let rig = Rig::new().await;
    let _hosts = [rig.host("host-1").await, rig.host("host-2").await, rig.host("host-3").await];
    let ids = rig.submit_all(40, &keyed(call("echo", "1"), "k", every("20/s", 3))).await;
    let times = rig.all_ran(&ids).await;
    for (place, (begin, _)) in times.iter().enumerate() {
        for (more, (end, _)) in times[place..].iter().enumerate() {
            let window = u32::try_from(end - begin + GRANTED_BEFORE_MS).unwrap();
            let window = window + u32::try_from(LATENESS.as_millis()).unwrap();
            let most = 3.0 + f64::from(window) / 1_000.0 * 20.0;
            assert!(
                f64::from(u32::try_from(more + 1).unwrap()) <= most,
                "{} in {} ms: {times:?}",
                more + 1,
                end - begin
            );
        }
    }
    let whole = times.last().unwrap().0 - times[0].0;
    assert!(whole >= 1_500, "40 at 20/s take nearly two seconds, not {whole} ms");
    assert!(whole < 6_000, "nor much longer: {whole} ms");
    rig.until_free("key k").await;
}

#[tokio::test]
async fn who_waits_holds_no_slot_and_says_what_it_waits_for() {
    let (rig, _host) = Rig::with_host().await;
    let signature = keyed(call("wait_cancel", "null"), "slow", at_most(1));
    let ids = rig.submit_all(30, &signature).await;
    rig.until(&ids[0], State::Running).await;
    for id in &ids[1..] {
        rig.until(id, State::Scheduled).await;
    }
    let snapshot = rig.client.state(&ids[7]).await.unwrap();
    assert_eq!(snapshot.waits_for.as_deref(), Some("the limit of key slow"));
    let other = rig.client.call(call("echo", "7")).await.unwrap();
    assert_eq!(output(&other), "7", "the host's other slots are free");
    let (view, first) = rig.client.limit("key slow", 3).await.unwrap();
    assert_eq!((view.waiting, view.ledger.places.len(), first.len()), (29, 1, 3));
    for id in &ids {
        rig.client.cancel(id).await.unwrap();
    }
    rig.until_free("key slow").await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_host_that_dies_with_a_place_takes_nobodys_turn() {
    let rig = Rig::new().await;
    let lease = |config: &mut Config| config.lease = Duration::from_secs(1);
    let doomed = rig.host_with("host-1", lease).await;
    let first = rig.submit(keyed(call("wait_cancel", "null"), "k", at_most(1))).await;
    rig.until(&first, State::Running).await;
    let others = rig.submit_all(5, &keyed(call("echo", "1"), "k", at_most(1))).await;
    for id in &others {
        rig.until(id, State::Scheduled).await;
    }
    doomed.kill();
    let _heir = rig.host_with("host-2", lease).await;
    // The task is delivered again, and has its place.
    eventually("it runs on the other host", || async {
        let host = rig.client.state(&first).await.unwrap().host?;
        (host.as_str() == "host-2").then_some(())
    })
    .await;
    assert_eq!(rig.state(&others[0]).await, State::Scheduled);
    rig.client.cancel(&first).await.unwrap();
    let times = rig.all_ran(&others).await;
    assert!(most_at_once(&times) <= 1);
    rig.until_free("key k").await;
}

#[tokio::test]
async fn hosts_that_die_again_and_again_lose_nobody_and_pass_no_bound() {
    let rig = Rig::new().await;
    let lease = |config: &mut Config| config.lease = Duration::from_secs(1);
    let ids = rig.submit_all(30, &keyed(call("burn", WORK), "k", at_most(3))).await;
    let _stays = rig.host_with("host-0", lease).await;
    for round in 1..4 {
        let doomed = rig.host_with(&format!("host-{round}"), lease).await;
        let settled = || async { rig.client.state(&ids[round * 6]).await.unwrap().state == State::Succeeded };
        eventually("some of them end", || async { settled().await.then_some(()) }).await;
        doomed.kill();
    }
    let times = rig.all_ran(&ids).await;
    assert!(most_at_once(&times) <= 3, "{times:?}");
    rig.until_free("key k").await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_place_of_a_task_that_was_cancelled_in_its_queue_is_found_out() {
    let (rig, host) = Rig::with_host().await;
    let signature = keyed(call("echo", "1"), "k", at_most(1));
    let first = rig.submit(keyed(call("wait_cancel", "null"), "k", at_most(1))).await;
    rig.until(&first, State::Running).await;
    let (second, third) = (rig.submit(signature.clone()).await, rig.submit(signature).await);
    rig.until(&third, State::Scheduled).await;
    rig.client.pause_queue(&"default".parse().unwrap(), "").await.unwrap();
    rig.client.cancel(&first).await.unwrap();
    rig.until(&second, State::Queued).await;
    rig.client.cancel(&second).await.unwrap();
    rig.client.resume_queue(&"default".parse().unwrap()).await.unwrap();
    // Nobody leaves the place: the bell finds that its task is gone.
    rig.ran(&third).await;
    rig.until_free("key k").await;
    host.stop().await;
}

#[tokio::test]
async fn attempts_are_counted_exactly_under_a_limit() {
    let (rig, _host) = Rig::with_host().await;
    let signature = keyed(retried("flaky", r#"{"until":3}"#, 5), "k", at_most(1));
    let ids = rig.submit_all(4, &signature).await;
    for id in &ids {
        let settled = rig.wait(id).await;
        assert_eq!((output(&settled), settled.usage.attempt), ("3", 3));
    }
    rig.until_free("key k").await;
    rig.until_idle().await;
}

#[tokio::test]
async fn a_queues_limit_holds_for_all_of_its_tasks_and_is_lifted_for_those_that_wait() {
    let (rig, _host) = Rig::with_host().await;
    let queue = "default".parse().unwrap();
    rig.client.limit_queue(&queue, Some(at_most(1))).await.unwrap();
    let limited = || async {
        let id = rig.submit(call("wait_cancel", "null")).await;
        rig.until(&id, State::Running).await;
        id
    };
    let first = limited().await;
    let second = rig.submit(call("wait_cancel", "null")).await;
    eventually("the second waits", || async { (rig.state(&second).await == State::Scheduled).then_some(()) }).await;
    assert_eq!(rig.client.state(&second).await.unwrap().waits_for.as_deref(), Some("the limit of queue default"));
    rig.client.limit_queue(&queue, None).await.unwrap();
    rig.until(&second, State::Running).await;
    for id in [first, second] {
        rig.client.cancel(&id).await.unwrap();
    }
    rig.until_idle().await;
}

#[tokio::test]
async fn a_task_under_two_limits_takes_the_narrow_one_first() {
    let (rig, _host) = Rig::with_host().await;
    let queue = "default".parse().unwrap();
    rig.client.limit_queue(&queue, Some(at_most(2))).await.unwrap();
    let of = |key: &str| keyed(call("burn", WORK), key, at_most(1));
    let mut ids = rig.submit_all(8, &of("a")).await;
    let b = rig.submit_all(8, &of("b")).await;
    let of_a = rig.all_ran(&ids).await;
    let of_b = rig.all_ran(&b).await;
    assert!(most_at_once(&of_a) <= 1 && most_at_once(&of_b) <= 1);
    ids.extend(b);
    assert!(most_at_once(&rig.all_ran(&ids).await) <= 2);
    for limit in ["key a", "key b", "queue default"] {
        rig.until_free(limit).await;
    }
}

#[tokio::test]
async fn a_limit_that_cannot_be_read_ends_its_task() {
    let (rig, _host) = Rig::with_host().await;
    for (n, bad) in ["{}", r#"[{"name":"a","rule":{"rate":"0/s"}}]"#].into_iter().enumerate() {
        let headers = [("Lovage-Task", "probe/echo"), ("Lovage-Limits", bad)];
        let id = rig.publish(&format!("bad-{n}"), &headers, "1").await;
        let settled = rig.wait(&id).await;
        assert!(failure(&settled).message.contains("Lovage-Limits"), "{settled:?}");
    }
}

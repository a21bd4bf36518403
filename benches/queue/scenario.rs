//! Tasks that are not plain, against the plain cycle in the same run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use lovage::client::Place;
use lovage::model::limit::{Limit, Rule};
use lovage::model::{Signature, Timestamp};
use lovage::protocol::subject::Priority;

use super::platform::{Lovage, add};
use super::raw::{IN_FLIGHT, Outcomes, rate};
use super::{ROUNDS, TASKS, median};

/// Delayed tasks that wait at a time, and the time over which they are due.
const WAITING: usize = 100_000;
const SPREAD: Duration = Duration::from_secs(60);

/// How long after the first submit the first of them is due: until then all are submitted.
const AHEAD: Duration = Duration::from_secs(60);

/// Tasks of a round whose tasks wait for the broker's timers: these fire at most four times a second.
const TIMED: usize = 20_000;

/// Limit keys of keyed tasks.
const KEYS: u64 = 8;

/// What is measured.
#[derive(Clone, Copy)]
pub(super) enum Scenario {
    /// All priorities, mixed.
    Prioritised,
    /// Tasks with one of [`KEYS`] limit keys, under a concurrency across the fleet that they do not reach.
    Keyed,
    /// Tasks that are due at once, through the broker's schedules.
    Delayed,
    /// Tasks whose first attempt fails: what counts is attempts, two for each.
    Retried,
    /// How late delayed tasks are.
    Late,
}

/// The scenario of this name.
pub(super) fn named(name: &str) -> Option<Scenario> {
    match name {
        "prioritised" => Some(Scenario::Prioritised),
        "keyed" => Some(Scenario::Keyed),
        "delayed" => Some(Scenario::Delayed),
        "retried" => Some(Scenario::Retried),
        "late" => Some(Scenario::Late),
        _ => None,
    }
}

impl Scenario {
    pub(super) async fn run(self, lovage: &Lovage) -> Outcomes<()> {
        match self {
            Self::Late => late(lovage).await,
            Self::Prioritised => {
                let next = AtomicU64::new(0);
                let call = || {
                    let priority = u8::try_from(next.fetch_add(1, Ordering::Relaxed) % 10).unwrap_or(5);
                    lovage.call_with(add(), Place { priority: priority_of(priority), ..Place::default() })
                };
                called("prioritised", lovage, call).await
            }
            Self::Keyed => {
                let next = AtomicU64::new(0);
                let call = || {
                    let key = format!("customer-{}", next.fetch_add(1, Ordering::Relaxed) % KEYS);
                    let rule = Rule { concurrency: Some(1_000), ..Rule::default() };
                    let mut signature = add();
                    signature.options.fleet = Limit::of_key(&key, rule).into_iter().collect();
                    lovage.call_with(signature, Place::default())
                };
                called("keyed", lovage, call).await
            }
            Self::Delayed => {
                let delayed = || async {
                    let place = Place { due: Some(now().after(Duration::from_millis(50))), ..Place::default() };
                    (add(), place)
                };
                timed("delayed", lovage, delayed, 1.0).await
            }
            Self::Retried => {
                let retried = || async {
                    let task = "probe/flaky".parse().unwrap_or_else(|_| unreachable!("a task's name"));
                    let mut signature = Signature::new(task, r#"{"until":2}"#);
                    signature.options.retry = lovage::model::Policy {
                        attempts: 2,
                        backoff: Duration::from_millis(50),
                        jitter: false,
                        ..Default::default()
                    };
                    (signature, Place::default())
                };
                timed("retried", lovage, retried, 2.0).await
            }
        }
    }
}

/// Tasks that are called, as plain ones are.
async fn called<F, Fut>(name: &str, lovage: &Lovage, call: F) -> Outcomes<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Outcomes<()>> + Send + 'static,
{
    let (mut plain, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(rate(TASKS, || lovage.call()).await?);
        others.push(rate(TASKS, &call).await?);
    }
    told(name, &mut plain, &mut others);
    Ok(())
}

/// Tasks that wait for a timer, all at once: what counts is how many attempts are done in a second, not how long one
/// waits.
async fn timed<F, Fut>(name: &str, lovage: &Lovage, make: F, attempts: f64) -> Outcomes<()>
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Signature, Place)>,
{
    let (mut plain, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(rate(TASKS, || lovage.call()).await?);
        let mut ended = results(lovage).await?;
        let began = Instant::now();
        let submits = futures::stream::iter(0..TIMED).map(|_| async {
            let (signature, place) = make().await;
            lovage.client.submit(signature, &place).await
        });
        let submit = async {
            let mut submits = submits.buffer_unordered(IN_FLIGHT);
            while let Some(submitted) = submits.next().await {
                submitted?;
            }
            Ok::<_, lovage::client::Error>(())
        };
        let all = async {
            for _ in 0..TIMED {
                ended.next().await;
            }
        };
        let (submitted, ()) = tokio::join!(submit, all);
        submitted?;
        #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
        others.push(attempts * TIMED as f64 / began.elapsed().as_secs_f64());
    }
    told(name, &mut plain, &mut others);
    Ok(())
}

/// How late delayed tasks are done, while as many wait as the budget says.
async fn late(lovage: &Lovage) -> Outcomes<()> {
    let mut ended = results(lovage).await?;
    let first = now().after(AHEAD);
    let dues: Arc<Vec<Timestamp>> =
        Arc::new((0..WAITING).map(|n| first.after(SPREAD.mul_f64(share(n, WAITING)))).collect());
    let began = Instant::now();
    let submits = futures::stream::iter(0..WAITING).map(|n| {
        let (client, dues) = (lovage.client.clone(), Arc::clone(&dues));
        async move {
            let due = dues.get(n).copied();
            let id = format!("late-{n}").parse()?;
            client.submit_as(&id, add(), &Place { due, ..Place::default() }).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    });
    let mut submits = submits.buffer_unordered(1_024);
    while let Some(submitted) = submits.next().await {
        submitted?;
    }
    println!("late              {WAITING} submitted in {:.1} s", began.elapsed().as_secs_f64());
    let mut lateness = Vec::with_capacity(WAITING);
    while lateness.len() < WAITING {
        let Some(subject) = ended.next().await else { return Err("closed".into()) };
        let place = subject.rsplit('-').next().and_then(|n| n.parse::<usize>().ok());
        if let Some(due) = place.and_then(|place| dues.get(place)) {
            lateness.push(now().since(*due));
        }
    }
    lateness.sort_unstable();
    let at = |part: usize| lateness.get(lateness.len() * part / 1_000).copied().unwrap_or_default().as_millis();
    println!("late              p50 {} ms   p99 {} ms   p99.9 {} ms   aim: p99 < 300 ms", at(500), at(990), at(999));
    Ok(())
}

/// The subjects of results as they are committed; those of attempts that are tried again are none.
async fn results(lovage: &Lovage) -> Outcomes<futures::stream::BoxStream<'static, String>> {
    let heard = lovage.client.broker().bus.listen("lvg.default.res.*").await?;
    let ended = heard.filter_map(|message| async move {
        let state = message.headers.value("Lovage-State").unwrap_or_default().to_owned();
        (state != "retrying").then_some(message.subject)
    });
    Ok(ended.boxed())
}

fn told(name: &str, plain: &mut [f64], others: &mut [f64]) {
    let (plain, other) = (median(plain), median(others));
    println!(
        "{name:<17} plain {plain:>8.0} attempts/s   {name} {other:>8.0} attempts/s   ratio {:.2}   aim: 0.60",
        other / plain
    );
}

fn priority_of(number: u8) -> Priority {
    Priority::new(number).unwrap_or(lovage::protocol::subject::PRIORITY_DEFAULT)
}

#[expect(clippy::cast_precision_loss, reason = "a share of a hundred thousand")]
fn share(n: usize, of: usize) -> f64 {
    n as f64 / of as f64
}

#[expect(clippy::disallowed_methods, reason = "the time at which the broker's timers fire")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

//! The loop that anyone would write on bare NATS: no sandbox, no tasks, the same messages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, message::PublishMessage, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinSet;

/// What a bench fails with.
pub(super) type Outcomes<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Tasks that are on their way at a time.
pub(super) const IN_FLIGHT: usize = 64;

/// The loop that anyone would write on bare NATS: no sandbox, no tasks, the same messages.
pub(super) struct Raw {
    name: &'static str,
    client: async_nats::Client,
    context: jetstream::Context,
    next: AtomicUsize,
    _worker: JoinSet<()>,
}

impl Raw {
    /// Makes its streams and its worker, which waits for the server's word of each ack if those are `confirmed`.
    pub(super) async fn start(url: &str, confirmed: bool) -> Outcomes<Self> {
        let context = jetstream::new(async_nats::connect(url).await?);
        let name = name(confirmed);
        let results = stream::Config {
            name: format!("RAW_RESULT_{name}"),
            subjects: vec![format!("raw.{name}.res.*")],
            max_messages_per_subject: 1,
            allow_direct: true,
            ..Default::default()
        };
        context.create_stream(results).await?;
        let tasks = stream::Config {
            name: format!("RAW_TASK_{name}"),
            subjects: vec![format!("raw.{name}.task.*")],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            discard_new_per_subject: true,
            max_messages_per_subject: 1,
            ..Default::default()
        };
        let tasks = context.create_stream(tasks).await?;
        let config = pull::Config {
            durable_name: Some("raw".to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: -1,
            ..Default::default()
        };
        let consumer = tasks.create_consumer(config).await?;
        let worker = jetstream::new(async_nats::connect(url).await?);
        let mut owned = JoinSet::new();
        owned.spawn(work(worker, tasks.get_consumer(&consumer.cached_info().name).await?, confirmed));
        let client = async_nats::connect(url).await?;
        Ok(Self { name, context: jetstream::new(client.clone()), client, next: AtomicUsize::new(0), _worker: owned })
    }

    /// One task, until its result is with the caller.
    pub(super) fn call(&self) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (name, client, context) = (self.name, self.client.clone(), self.context.clone());
        async move {
            let mut heard = client.subscribe(format!("raw.{name}.res.{id}")).await?;
            context.publish(format!("raw.{name}.task.{id}"), Bytes::from_static(b"[20,22]")).await?.await?;
            heard.next().await.ok_or("closed")?;
            Ok(())
        }
    }
}

const fn name(confirmed: bool) -> &'static str {
    if confirmed { "confirmed" } else { "plain" }
}

/// Takes, commits and acknowledges, [`IN_FLIGHT`] at a time.
async fn work(context: jetstream::Context, consumer: PullConsumer, confirmed: bool) {
    let Ok(messages) = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await else { return };
    let handled = messages.for_each_concurrent(IN_FLIGHT, |message| async {
        let Ok(message) = message else { return };
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        let result = PublishMessage::build().payload("42".into()).expected_last_subject_sequence(0);
        if let Ok(stored) = context.send_publish(format!("raw.{}.res.{id}", name(confirmed)), result).await {
            drop(stored.await);
            drop(if confirmed { message.double_ack().await } else { message.ack().await });
        }
    });
    handled.await;
}

/// Calls a second of `count` calls, with [`IN_FLIGHT`] callers.
pub(super) async fn rate<C, F>(count: usize, call: C) -> Outcomes<f64>
where
    C: Fn() -> F,
    F: Future<Output = Outcomes<()>> + Send + 'static,
{
    let left = AtomicUsize::new(count);
    let began = Instant::now();
    let callers = (0..IN_FLIGHT).map(|_| async {
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            call().await?;
        }
        Outcomes::Ok(())
    });
    futures::future::try_join_all(callers).await?;
    #[expect(clippy::cast_precision_loss, reason = "a count of thousands")]
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// How long something takes.
pub(super) async fn timed(call: impl Future<Output = Outcomes<()>>) -> Outcomes<Duration> {
    let began = Instant::now();
    call.await?;
    Ok(began.elapsed())
}

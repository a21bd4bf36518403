//! The loop that anyone would write on bare NATS: no sandbox, no tasks, the same messages.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{DiscardPolicy, RetentionPolicy};
use async_nats::jetstream::{self, message::PublishMessage, stream};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::{IN_FLIGHT, Outcomes};

/// The loop that anyone would write on bare NATS: no sandbox, no tasks, the same messages.
pub(super) struct Raw {
    client: async_nats::Client,
    context: jetstream::Context,
    next: AtomicUsize,
    _worker: JoinSet<()>,
}

impl Raw {
    pub(super) async fn start(url: &str) -> Outcomes<Self> {
        let context = jetstream::new(async_nats::connect(url).await?);
        let results = stream::Config {
            name: "RAW_RESULT".to_owned(),
            subjects: vec!["raw.res.*".to_owned()],
            max_messages_per_subject: 1,
            allow_direct: true,
            ..Default::default()
        };
        context.create_stream(results).await?;
        let tasks = stream::Config {
            name: "RAW_TASK".to_owned(),
            subjects: vec!["raw.task.*".to_owned()],
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
        owned.spawn(work(worker, tasks.get_consumer(&consumer.cached_info().name).await?));
        let client = async_nats::connect(url).await?;
        Ok(Self { context: jetstream::new(client.clone()), client, next: AtomicUsize::new(0), _worker: owned })
    }

    pub(super) fn call(&self) -> impl Future<Output = Outcomes<()>> + Send + 'static {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (client, context) = (self.client.clone(), self.context.clone());
        async move {
            let mut heard = client.subscribe(format!("raw.res.{id}")).await?;
            context.publish(format!("raw.task.{id}"), Bytes::from_static(b"[20,22]")).await?.await?;
            heard.next().await.ok_or("closed")?;
            Ok(())
        }
    }
}

/// Takes, commits and acknowledges, [`IN_FLIGHT`] at a time.
async fn work(context: jetstream::Context, consumer: PullConsumer) {
    let Ok(messages) = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await else { return };
    let handled = messages.for_each_concurrent(IN_FLIGHT, |message| async {
        let Ok(message) = message else { return };
        let id = message.subject.rsplit('.').next().unwrap_or_default();
        let result = PublishMessage::build().payload("42".into()).expected_last_subject_sequence(0);
        if let Ok(stored) = context.send_publish(format!("raw.res.{id}"), result).await {
            drop(stored.await);
            drop(message.ack().await);
        }
    });
    handled.await;
}

//! How fast the broker on NATS is beside a loop on the bare client. Ignored: it measures, and asserts nothing.
//! Run it with `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test --test suite rates -- --ignored --nocapture`.

use std::time::Duration;

use async_nats::jetstream;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt, stream};
use lovage::broker::{Consumer, Publish, Settings};
use lovage::protocol::Stream;
use tokio::time::Instant;

use crate::support::nats::TestServer;

const SUBJECT: &str = "lvg.default.fire.q.5.a";
const SEQUENTIAL: usize = 5_000;
const MESSAGES: usize = 60_000;
const IN_FLIGHT: usize = 64;

fn report(what: &str, messages: usize, begin: Instant) {
    let rate = messages as f64 / begin.elapsed().as_secs_f64();
    println!("{what:40} {rate:>9.0}/s");
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    println!("{what:40} p50 {:?} p99 {:?}", at(50), at(99));
}

async fn ours(test: &TestServer) {
    let broker = test.nats.broker();
    let publish = || broker.streams.publish(Publish::new(SUBJECT, vec![7; 256]));
    let mut times = Vec::new();
    for _ in 0..SEQUENTIAL {
        let begin = Instant::now();
        publish().await.unwrap();
        times.push(begin.elapsed());
    }
    percentiles("ours: publish in sequence", times);
    let begin = Instant::now();
    stream::iter(0..MESSAGES).map(|_| publish()).buffer_unordered(256).try_collect::<Vec<_>>().await.unwrap();
    report("ours: publish, 256 in flight", MESSAGES, begin);
    let consumer = Consumer {
        stream: Stream::Schedule,
        name: "rates".to_owned(),
        filter: "lvg.*.fire.>".to_owned(),
        lease: Duration::from_secs(20),
        deliveries_max: None,
    };
    let mut taker = broker.queues.consume(&consumer).await.unwrap();
    taker.allow(IN_FLIGHT);
    let (begin, mut done, mut finishes) = (Instant::now(), 0, FuturesUnordered::new());
    while done < MESSAGES {
        tokio::select! {
            delivery = taker.next() => {
                let delivery = delivery.unwrap();
                finishes.push(async move { delivery.lease.finish().await });
            }
            Some(finished) = finishes.next(), if !finishes.is_empty() => {
                finished.unwrap();
                done += 1;
                taker.allow(1);
            }
        }
    }
    report("ours: take and finish, 64 in flight", MESSAGES, begin);
    taker.close().await;
}

async fn bare(test: &TestServer) {
    let client = async_nats::connect(test.server.url()).await.unwrap();
    let context = jetstream::new(client);
    let publish = async || context.publish(SUBJECT, vec![7; 256].into()).await.unwrap().await.unwrap();
    let mut times = Vec::new();
    for _ in 0..SEQUENTIAL {
        let begin = Instant::now();
        publish().await;
        times.push(begin.elapsed());
    }
    percentiles("bare: publish in sequence", times);
    let begin = Instant::now();
    stream::iter(0..MESSAGES).map(|_| publish()).buffer_unordered(256).collect::<Vec<_>>().await;
    report("bare: publish, 256 in flight", MESSAGES, begin);
    let config = jetstream::consumer::pull::Config {
        durable_name: Some("rates".to_owned()),
        filter_subject: "lvg.*.fire.>".to_owned(),
        ..Default::default()
    };
    let stream = context.get_stream("LVG_SCHEDULE").await.unwrap();
    let consumer = stream.create_consumer(config).await.unwrap();
    let messages = consumer.stream().max_messages_per_batch(IN_FLIGHT).messages().await.unwrap();
    let begin = Instant::now();
    let finished = messages.take(MESSAGES).map(|message| async move { message.unwrap().double_ack().await.unwrap() });
    finished.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await;
    report("bare: take and finish, 64 in flight", MESSAGES, begin);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn rates() {
    for _ in 0..2 {
        let test = TestServer::start(Settings::default()).await;
        bare(&test).await;
        let test = TestServer::start(Settings::default()).await;
        ours(&test).await;
    }
}

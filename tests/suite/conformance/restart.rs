//! What outlasts a server that is killed, and servers that will not do. On NATS only.

use std::time::Duration;

use futures::StreamExt;
use lovage::broker::nats::{Nats, Options};
use lovage::broker::{Error, Publish, Settings, Start};
use lovage::model::Tenant;
use lovage::protocol::Headers;

use super::{Rig, next, soon, tasks, text};
use crate::support::nats::TestServer;

const FILTER: &str = "lvg.default.task.q.>";

/// Publishes until the broker answers.
async fn put(nats: &Nats, subject: &str, payload: &'static str) {
    soon(async {
        while let Err(error) = nats.broker().streams.publish(Publish::new(subject, payload)).await {
            assert!(error.is_transient(), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn waiting_takers_readers_and_listeners_outlast_a_killed_server() {
    let mut test = TestServer::start(Settings::default()).await;
    let broker = test.nats.broker();
    let mut connection = test.nats.connection();
    let mut taker = broker.queues.consume(&tasks(FILTER, Duration::from_secs(2))).await.unwrap();
    taker.allow(2);
    let mut reading = broker.streams.read("lvg.default.log.*", Start::Sequence(1), true).await.unwrap();
    let mut listening = broker.bus.listen("lvg.ctl.>").await.unwrap();
    put(&test.nats, "lvg.default.task.q.5.a", "a").await;
    put(&test.nats, "lvg.default.log.a", "1").await;
    let before = next(&mut taker).await;
    assert_eq!(text(&soon(reading.next()).await.unwrap().unwrap()), "1");
    assert!(test.nats.is_connected());

    test.server.kill().await;
    soon(connection.wait_for(|connection| !connection.connected)).await.unwrap();
    test.server.restart().await.unwrap();
    soon(connection.wait_for(|connection| connection.connected && connection.reconnects == 1)).await.unwrap();

    put(&test.nats, "lvg.default.task.q.5.b", "b").await;
    put(&test.nats, "lvg.default.log.a", "2").await;
    let mut after = next(&mut taker).await;
    if text(&after.message) == "a" {
        // On a machine that took its time the lease of what was out has ended meanwhile.
        assert_eq!(after.count, 2);
        taker.allow(1);
        after = next(&mut taker).await;
    }
    assert_eq!((text(&after.message), after.count), ("b", 1));
    after.lease.finish().await.unwrap();
    assert_eq!(text(&soon(reading.next()).await.unwrap().unwrap()), "2");
    broker.bus.send("lvg.ctl.x", Headers::new(), "word".into()).await.unwrap();
    assert_eq!(text(&soon(listening.next()).await.unwrap()), "word");
    // The lease of what was out goes on in the new server, and so does the right to finish it.
    before.lease.finish().await.unwrap();
    assert_eq!(broker.streams.last(FILTER).await.unwrap(), None);
}

#[tokio::test]
async fn a_deleted_consumer_is_made_again() {
    let test = TestServer::start(Settings::default()).await;
    let broker = test.nats.broker();
    let mut taker = broker.queues.consume(&tasks(FILTER, Duration::from_secs(20))).await.unwrap();
    taker.allow(1);
    assert!(tokio::time::timeout(Duration::from_millis(50), taker.next()).await.is_err());
    let client = async_nats::connect(test.server.url()).await.unwrap();
    client.request("$JS.API.CONSUMER.DELETE.LVG_TASK_default.tasks", "".into()).await.unwrap();
    put(&test.nats, "lvg.default.task.q.5.a", "a").await;
    assert_eq!(next(&mut taker).await.count, 1);
}

#[tokio::test]
async fn provisioning_again_keeps_limits_and_messages_and_refuses_other_rules() {
    let test = TestServer::start(Settings { queued_max: 1, ..Settings::default() }).await;
    let publish = async |id: &str| {
        let subject = format!("lvg.default.task.q.5.{id}");
        test.nats.broker().streams.publish(Publish::new(subject, "x")).await
    };
    publish("a").await.unwrap();
    assert!(matches!(publish("b").await, Err(Error::Full { .. })));
    let settings = Settings { queued_max: 2, ..Settings::default() };
    test.nats.provision(&Tenant::default_tenant(), &settings).await.unwrap();
    assert!(matches!(publish("a").await, Err(Error::Occupied { .. })), "the message is still there");
    assert!(matches!(publish("b").await, Err(Error::Full { .. })), "the limit is the operator's");
    let client = async_nats::connect(test.server.url()).await.unwrap();
    client.request("$JS.API.STREAM.DELETE.LVG_MODULE", "".into()).await.unwrap();
    let other = r#"{"name":"LVG_MODULE","subjects":["lvg.*.module.>"],"retention":"interest","storage":"memory"}"#;
    client.request("$JS.API.STREAM.CREATE.LVG_MODULE", other.into()).await.unwrap();
    let error = test.nats.provision(&Tenant::default_tenant(), &settings).await.unwrap_err();
    assert!(matches!(&error, Error::Unsuitable(text) if text.contains("LVG_MODULE")), "{error}");
}

#[tokio::test]
async fn a_message_may_not_be_too_large() {
    let rig = Rig::nats().await;
    let publish = Publish::new("lvg.default.res.a", vec![0; (8 << 20) + 1]);
    let error = rig.broker.streams.publish(publish).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { max, .. } if max == 8 << 20), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_or_waited_for() {
    let mut test = TestServer::start(Settings::default()).await;
    test.server.kill().await;
    let once = Nats::connect(Options::new(test.server.url(), "test")).await;
    assert!(matches!(once.err(), Some(Error::Unavailable(_))));
    let options = Options { retry_first: true, ..Options::new(test.server.url(), "test") };
    let patient = Nats::connect(options).await.unwrap();
    assert!(!patient.is_connected());
    test.server.restart().await.unwrap();
    let mut connection = patient.connection();
    soon(connection.wait_for(|connection| connection.connected)).await.unwrap();
    patient.provision(&Tenant::default_tenant(), &Settings::default()).await.unwrap();
    test.server.stop().await;
}

#[tokio::test]
async fn a_replaced_object_is_cut_off_and_never_waited_for() {
    use lovage::protocol::stream::Bucket;
    use tokio::io::AsyncReadExt;

    let rig = Rig::nats().await;
    let bytes = vec![7; 12 << 20];
    let objects = &rig.broker.objects;
    objects.put(Bucket::Values, "x", &mut bytes.as_slice()).await.unwrap();
    let mut reader = objects.open(Bucket::Values, "x").await.unwrap().unwrap();
    reader.read_u8().await.unwrap();
    objects.put(Bucket::Values, "x", &mut &b"new"[..]).await.unwrap();
    let rest = soon(reader.read_to_end(&mut Vec::new())).await;
    assert_eq!(rest.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

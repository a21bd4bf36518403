//! Messages that are no good end as a record that says why, and wedge nobody.

use lovage::client::{Error, Place};
use lovage::model::Kind;

use super::{Rig, call, failure, output};

#[tokio::test]
async fn a_message_without_a_task_is_bad_input() {
    let (rig, _host) = Rig::with_host().await;
    let id = rig.publish("stray", &[], "hello").await;
    let settled = rig.wait(&id).await;
    assert_eq!(failure(&settled).kind, Kind::BadInput);
    assert!(failure(&settled).message.starts_with("Lovage-Task: is missing"), "{}", failure(&settled));
}

#[tokio::test]
async fn each_bad_header_is_named() {
    let (rig, _host) = Rig::with_host().await;
    for (place, (name, value)) in [
        ("Lovage-Attempt", "minus one"),
        ("Lovage-Retry", "{}x"),
        ("Lovage-Fuel", "lots"),
        ("Lovage-Expires", "never"),
        ("Lovage-Labels", "x"),
        ("Lovage-Requires", "gpu=yes"),
        ("Lovage-Value", "sha256:zz 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = rig.publish(&format!("bad-{place}"), &[("Lovage-Task", "probe/echo"), (name, value)], "1").await;
        let settled = rig.wait(&id).await;
        assert_eq!(failure(&settled).kind, Kind::BadInput);
        assert!(failure(&settled).message.starts_with(name), "{}", failure(&settled));
    }
    assert_eq!(output(&rig.client.call(call("echo", "1")).await.unwrap()), "1");
}

#[tokio::test]
async fn what_is_not_there_is_named_by_the_host_too() {
    let (rig, _host) = Rig::with_host().await;
    let once = ("Lovage-Retry", "1");
    for (id, task, kind, text) in [
        ("no-module", "nope/run", Kind::ModuleMissing, "there is no module nope"),
        ("no-version", "probe@7/echo", Kind::ModuleMissing, "there is no module probe in version 7"),
        ("no-task", "probe/nope", Kind::TaskMissing, "module probe@1 has no task \"nope\""),
    ] {
        let id = rig.publish(id, &[("Lovage-Task", task), once], "1").await;
        let settled = rig.wait(&id).await;
        assert_eq!((failure(&settled).kind, failure(&settled).message.as_str()), (kind, text));
    }
}

#[tokio::test]
async fn an_input_that_is_gone_is_said() {
    let (rig, _host) = Rig::with_host().await;
    let value = format!("{} 5", lovage::model::Digest::of(b"gone"));
    let id = rig.publish("gone", &[("Lovage-Task", "probe/echo"), ("Lovage-Value", &value)], "").await;
    let settled = rig.wait(&id).await;
    assert_eq!(failure(&settled).kind, Kind::BadInput);
    assert!(failure(&settled).message.contains("is not in the object store"), "{}", failure(&settled));
}

#[tokio::test]
async fn a_subject_that_names_no_task_wedges_nobody() {
    let (rig, _host) = Rig::with_host().await;
    let publish = lovage::broker::Publish {
        subject: "lvg.default.task.default.5.x.y".to_owned(),
        payload: bytes::Bytes::from_static(b"\xff"),
        ..lovage::broker::Publish::default()
    };
    rig.broker.streams.publish(publish).await.unwrap();
    rig.until_idle().await;
    assert_eq!(output(&rig.client.call(call("echo", "1")).await.unwrap()), "1");
    // A priority that there is not is nobody's: it is in nobody's way, and a purge removes it.
    let publish = lovage::broker::Publish::new("lvg.default.task.default.10.x", "1");
    rig.broker.streams.publish(publish).await.unwrap();
    assert_eq!(output(&rig.client.call(call("echo", "1")).await.unwrap()), "1");
    let queue = lovage::model::Queue::default_queue();
    assert_eq!(rig.client.purge_queue(&queue).await.unwrap(), lovage::client::Purged::default());
    rig.until_idle().await;
}

#[tokio::test]
async fn a_client_refuses_what_is_not_there_before_it_publishes() {
    let rig = Rig::new().await;
    let submit = |task: &str| {
        let signature = lovage::model::Signature::new(task.parse().unwrap(), "1");
        let client = rig.client.clone();
        async move { client.submit(signature, &Place::default()).await.unwrap_err() }
    };
    assert!(matches!(submit("nope/run").await, Error::ModuleMissing { .. }));
    let version = submit("probe@7/echo").await;
    assert_eq!(version.to_string(), "find module probe@7: there is none (there is 1)");
    assert!(matches!(submit("probe/nope").await, Error::TaskMissing { .. }));
    assert!(rig.broker.streams.last("lvg.default.task.>").await.unwrap().is_none());
}

#[tokio::test]
async fn a_flow_outside_a_run_is_refused() {
    let (rig, _host) = Rig::with_host().await;
    let settled = rig.client.call(call("replace", r#"{"task":"probe/echo"}"#)).await.unwrap();
    assert_eq!(failure(&settled).kind, Kind::BadFlow);
}

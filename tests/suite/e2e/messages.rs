//! What strangers publish: a message that cannot be read ends as a record that says so, and no host is the worse for it.

use lovage::broker::Publish;
use lovage::client::Client;
use lovage::model::Kind;
use lovage::model::lifecycle::End;
use lovage::protocol::Headers;

use super::{server, signature, task_id};
use crate::support::platform::shared;

/// Queues a task as a stranger would.
async fn publish(client: &Client, headers: Headers, body: &'static [u8]) -> String {
    let id = client.new_id();
    let subject = format!("lvg.default.task.default.5.{id}");
    let publish = Publish { headers, ..Publish::new(subject, body) };
    client.broker().streams.publish(publish).await.unwrap();
    id.to_string()
}

/// What a stranger's task failed with.
async fn failure(headers: Headers, body: &'static [u8]) -> (Kind, String) {
    let dev = shared();
    let client = dev.cli.client().await;
    let id = publish(&client, headers, body).await;
    let settled = client.wait(&task_id(&id), &mut |_| {}).await.unwrap();
    let End::Failed(failure) = settled.end else { panic!("{settled:?}") };
    (failure.kind, failure.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_header_and_a_body_are_a_task() {
    let dev = shared();
    let client = dev.cli.client().await;
    let id = publish(&client, Headers::new().with("Lovage-Task", "hello/add"), b"[20, 22]").await;
    assert_eq!(dev.cli.run(&["result", &id, "--wait"]).output(), "42");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_read_end_as_bad_input() {
    let _dev = shared();
    let long = "x".repeat(4_000);
    for (name, value) in [
        ("Lovage-Task", "no slash"),
        ("Lovage-Task", "Bad.Name/add"),
        ("Lovage-Task", long.as_str()),
        ("Lovage-Attempt", "-1"),
        ("Lovage-Attempt", "99999999999999999999"),
        ("Lovage-Retry", "{\"attempts\": 1e99}"),
        ("Lovage-Fuel", "lots"),
        ("Lovage-Memory", "-5"),
        ("Lovage-Attempt-Timeout", "soon"),
        ("Lovage-Expires", "tomorrow"),
        ("Lovage-Labels", "no value"),
        ("Lovage-Value", "sha256:beef"),
    ] {
        let headers = Headers::new().with("Lovage-Task", "hello/add").with(name, value);
        let (kind, message) = failure(headers, b"[1, 2]").await;
        assert_eq!(kind, Kind::BadInput, "{name}: {value}: {message}");
        assert!(message.contains(name), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_headers_ends_as_bad_input() {
    let _dev = shared();
    let (kind, message) = failure(Headers::new(), b"\xff\xfe not a task").await;
    assert_eq!((kind, message.contains("Lovage-Task: is missing")), (Kind::BadInput, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_there_end_by_their_kind() {
    let _dev = shared();
    let call = |task: &str| failure(Headers::new().with("Lovage-Task", task).with("Lovage-Retry", "1"), b"null");
    assert_eq!(call("nothing/run").await.0, Kind::ModuleMissing);
    assert_eq!(call("hello@77/add").await.0, Kind::ModuleMissing);
    let (kind, message) = call("hello/subtract").await;
    assert_eq!((kind, message.contains("\"subtract\"")), (Kind::TaskMissing, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_never_stored_ends_as_bad_input() {
    let _dev = shared();
    let digest = lovage::model::Digest::of(b"nobody stored this");
    for size in ["17", "18446744073709551615"] {
        let value = format!("{digest} {size}");
        let headers = Headers::new().with("Lovage-Task", "probe/echo").with("Lovage-Value", value);
        assert_eq!(failure(headers, b"").await.0, Kind::BadInput);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_beyond_all_bounds_are_cut_to_what_the_host_allows() {
    let dev = shared();
    let client = dev.cli.client().await;
    let most = u64::MAX.to_string();
    let headers = Headers::new()
        .with("Lovage-Task", "hello/add")
        .with("Lovage-Fuel", most.clone())
        .with("Lovage-Memory", most)
        .with("Lovage-Attempt-Timeout", "9000d");
    let id = publish(&client, headers, b"[20, 22]").await;
    let ended = dev.cli.run(&["result", &id, "--wait"]);
    assert!(ended.code == 0 || ended.stderr.contains("bad_input"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_names_no_task_does_not_wedge_a_host() {
    let (_server, cli) = server().await;
    cli.push("hello");
    let client = cli.client().await;
    let _host = cli.host(&["--concurrency", "1"]);
    for rest in ["default.5.UPPER", "default.99.id", "default.x.id", "default.5", "default.5.a.b", "default.5.ünï"] {
        let subject = format!("lvg.default.task.{rest}");
        client.broker().streams.publish(Publish::new(subject, "garbage")).await.unwrap();
    }
    let settled = client.call(signature("hello/add", "[20, 22]")).await.unwrap();
    assert_eq!(client.output(&settled).await.unwrap(), "42");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_told_and_harms_nobody() {
    let dev = shared();
    let client = dev.cli.client().await;
    let id = client.new_id();
    let subject = format!("lvg.default.res.{id}");
    client.broker().streams.publish(Publish::new(subject, "garbage")).await.unwrap();
    dev.cli.run(&["result", id.as_str()]).fails(3, &["cannot be read"]);
    assert_eq!(dev.cli.run(&["call", "hello/add", "[20, 22]"]).output(), "42");
}

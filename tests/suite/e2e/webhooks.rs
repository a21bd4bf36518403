//! Webhooks: told to a real server that fails first, and by a coordinator that is killed in the middle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value as Json;

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::platform::{Cli, Dev, shared};
use crate::support::process::Process;
use crate::support::receiver::{Receiver, Told};

const ONE_ATTEMPT: [&str; 2] = ["--retry", "1"];

/// What became of the deliveries of a webhook.
fn deliveries(cli: &Cli, name: &str) -> Vec<Json> {
    let listed = cli.run(&["webhook", "deliveries", name, "--json"]);
    listed.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// As a receiver checks it, after Standard Webhooks.
fn is_signed(told: &Told, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("{}.{}.{}", told.header("webhook-id"), told.header("webhook-timestamp"), told.body);
    let signature = STANDARD.decode(told.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &signature).is_ok()
}

fn coordinator(cli: &Cli) -> Process {
    let process = Process::start(&mut cli.command(&["coordinator", "--webhooks-private"]));
    process.line("ready", |line| line.ends_with(" ready"));
    process
}

/// A platform that tells receivers on this machine, with the module `probe`; and where its data is.
fn telling() -> (tempfile::TempDir, Dev) {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &["--webhooks-private"]);
    dev.cli.push("probe");
    (data, dev)
}

#[test]
fn a_receiver_that_fails_first_is_told_again_and_everything_is_signed() {
    let (_data, dev) = telling();
    let cli = &dev.cli;
    let receiver = Receiver::start(|count| Some(if count == 1 { 503 } else { 204 }));
    let before = cli.send(&[&["probe/flaky", r#"{"until": 9}"#][..], &ONE_ATTEMPT].concat());
    assert_eq!(cli.settled(&before)["state"], "failed");
    let made =
        cli.run(&["webhook", "add", "ops", &receiver.url, "--on", "task.failed,run.failed", "--task", "probe/*"]);
    let secret = made.output();
    assert_eq!(cli.run(&["call", "probe/echo", "1", "--quiet"]).output(), "1");
    let failed = cli.send(&[&["probe/flaky", r#"{"until": 9}"#, "--label", "team=a"][..], &ONE_ATTEMPT].concat());
    let told = receiver.told(2);
    let body = told[1].json();
    assert_eq!((&body["type"], &body["data"]["id"]), (&"task.failed".into(), &failed.as_str().into()));
    assert_eq!((&body["data"]["labels"]["team"], &body["data"]["failure"]["kind"]), (&"a".into(), &"returned".into()));
    assert_eq!((told[0].header("webhook-id"), &told[0].body), (told[1].header("webhook-id"), &told[1].body));
    assert!(told.iter().all(|told| is_signed(told, secret)), "{told:?}");
    let last = eventually_there("its history", || {
        deliveries(cli, "ops").into_iter().find(|delivery| delivery["state"] == "delivered")
    });
    assert_eq!((&last["attempt"], &last["status"], &last["id"]), (&2.into(), &204.into(), &failed.as_str().into()));
    let tested = cli.run(&["webhook", "test", "ops"]);
    assert!(
        tested.output().contains("webhook.test") && tested.output().contains("delivered, attempt 1: 204"),
        "{tested:?}"
    );
    assert_eq!(receiver.told(3).len(), 3, "neither what succeeded nor what was before is told");
    let events = cli.run(&["events", "--kind", "webhook", "--json"]).output().to_owned();
    assert!(events.contains("webhook.retrying") && events.contains("it answered 503"), "{events}");
    let shown = cli.run(&["webhook", "ls"]).output().to_owned();
    assert!(shown.contains("ops") && shown.contains("probe/*") && !shown.contains(secret), "{shown}");
    cli.run(&["webhook", "rm", "ops"]).output();
    cli.run(&["webhook", "show", "ops"]).fails(2, &["find webhook ops", "lovage webhook ls"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_coordinator_had_in_hand_is_told_by_another() {
    let (_server, cli) = server().await;
    cli.push("probe");
    let _host = cli.host(&[]);
    let mut first = coordinator(&cli);
    let receiver = Receiver::start(|count| (count > 1).then_some(200));
    cli.run(&["webhook", "add", "ops", &receiver.url, "--on", "task.*"]).output();
    let ids: Vec<String> = (0..3).map(|n| cli.send(&["probe/echo", &n.to_string()])).collect();
    // It hangs on the first of them.
    receiver.told(1);
    first.kill();
    let later = cli.send(&["probe/echo", "3"]);
    assert_eq!(cli.settled(&later)["output"], 3);
    let _second = coordinator(&cli);
    // All four, of which the first hung.
    let ids: Vec<&str> = ids.iter().map(String::as_str).chain([later.as_str()]).collect();
    eventually_there("all are told", || {
        let delivered = deliveries(&cli, "ops");
        let told = |id: &&str| delivered.iter().any(|one| one["state"] == "delivered" && one["id"] == **id);
        ids.iter().all(told).then_some(())
    });
    let told = receiver.told(5);
    let again = told.iter().filter(|one| one.header("webhook-id") == told[0].header("webhook-id")).count();
    assert!(again >= 2, "what hung was told again under its id: {told:?}");
}

#[test]
fn wrong_webhooks_are_refused_and_private_receivers_need_the_operator() {
    let dev = shared();
    let cli = &dev.cli;
    for (args, words) in [
        (&["add", "w", "ftp://x", "--on", "task.failed"][..], "https://NAME"),
        (&["add", "w", "https://x", "--on", "host.lost"], "task.* or run.*"),
        (&["add", "W", "https://x", "--on", "task.failed"], "a-z"),
        (&["rm", "nothing"], "find webhook nothing"),
        (&["test", "nothing"], "find webhook nothing"),
    ] {
        cli.run(&[&["webhook"], args].concat()).fails(2, &[words]);
    }
    let receiver = Receiver::start(|_| Some(200));
    cli.run(&["webhook", "add", "private", &receiver.url, "--on", "task.expired"]).output();
    cli.run(&["webhook", "add", "private", &receiver.url, "--on", "task.expired"]).fails(2, &["remove it first"]);
    cli.run(&["webhook", "test", "private"]).fails(3, &["a loopback address", "allows public addresses only"]);
    cli.run(&["webhook", "rm", "private"]).output();
    // What was to be told again is not: nobody was told anything.
    assert!(receiver.told(0).is_empty());
}

#[test]
fn a_receiver_that_is_gone_is_told_no_more() {
    let (_data, dev) = telling();
    let cli = &dev.cli;
    let gone = Receiver::start(|_| Some(410));
    cli.run(&["webhook", "add", "ops", &gone.url, "--on", "task.*"]).output();
    let id = cli.send(&["probe/echo", "1"]);
    let dead = eventually_there("its history", || {
        deliveries(cli, "ops").into_iter().find(|delivery| delivery["state"] == "dead")
    });
    assert_eq!((&dead["id"], &dead["attempt"], &dead["status"]), (&id.as_str().into(), &1.into(), &410.into()));
    assert_eq!((&dead["reason"], &dead["next"]), (&"it answered 410".into(), &Json::Null));
    let events = cli.run(&["events", "--kind", "webhook", "--json"]).output().to_owned();
    assert!(events.contains("webhook.dead") && !events.contains("webhook.retrying"), "{events}");
}

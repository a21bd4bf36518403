//! Servers that take their time, and bodies that have no end.

use std::time::{Duration, Instant};

use lovage::model::{Kind, Limits};
use serde_json::json;

use super::super::{failure, output};
use super::{Names, Web};

fn short(limits: &mut lovage::sandbox::HttpLimits) {
    limits.first_byte_timeout = Duration::from_millis(100);
    limits.between_bytes_timeout = Duration::from_millis(100);
    limits.connect_timeout = Duration::from_millis(500);
}

#[tokio::test]
async fn a_server_that_takes_its_time_is_given_up() {
    let web = Web::bounded(short).await;
    for (path, code) in [
        ("/silent", "HttpResponseTimeout"),
        ("/head-pause", "HttpResponseTimeout"),
        ("/pause", "took too long: connection read timeout"),
    ] {
        let fault = web.fault(path).await;
        assert!(fault.contains(code), "{path}: {fault}");
        web.server.until_open(0).await;
    }
}

#[tokio::test]
async fn a_guest_may_ask_for_shorter_times_and_not_for_longer_ones() {
    let web = Web::bounded(|limits| limits.first_byte_timeout = Duration::from_millis(300)).await;
    for (timeout_ms, most) in [(20, 250), (60_000, 5_000)] {
        let began = Instant::now();
        let ask = json!({ "url": web.server.url("/silent"), "timeout_ms": timeout_ms });
        let report = web.request(ask, web.open()).await;
        assert!(failure(&report).message.contains("HttpResponseTimeout"), "{report:?}");
        assert!(began.elapsed() < Duration::from_millis(most), "{timeout_ms}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn bodies_end_at_their_caps() {
    let web = Web::bounded(|limits| {
        limits.response_bytes_max = 1 << 20;
        limits.request_bytes_max = 100_000;
    })
    .await;
    let fault = web.fault("/endless").await;
    assert!(fault.contains("too large: HTTP response body size exceeds limit: 1048576 bytes"), "{fault}");
    let ask = |bytes: usize| json!({ "url": web.server.url("/echo"), "method": "POST", "bytes": bytes });
    assert!(output(&web.request(ask(100_000), web.open()).await).contains("100000 bytes"));
    let report = web.request(ask(100_001), web.open()).await;
    assert!(failure(&report).message.contains("HttpRequestBodySize"), "{report:?}");
    web.server.until_open(0).await;
}

#[tokio::test]
async fn responses_that_are_none_fail_the_request_and_nothing_else() {
    let web = Web::new().await;
    for (path, code) in [
        ("/short", "incomplete HTTP response"),
        ("/junk", "HttpProtocolError"),
        ("/long-head", "HttpResponseHeaderSectionSize"),
        ("/many-heads", "HttpResponseHeaderSectionSize"),
    ] {
        let fault = web.fault(path).await;
        assert!(fault.contains(code), "{path}: {fault}");
    }
    let report = web.title(&web.server.url("/page"), web.open()).await;
    assert!(output(&report).contains("A page"));
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let names = Names::of(&[("empty.test", &[&[]]), ("closed.test", &[&["127.0.0.1"]])]);
    let web = Web::named(&names).await;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let any = format!("http://*:{port}");
    for (name, code) in [("missing.test", "DnsError"), ("empty.test", "DnsError"), ("closed.test", "ConnectionRefused")]
    {
        let scope = super::scope(&[&any], &[&any], &["127.0.0.0/8"]);
        let report = web.title(&format!("http://{name}:{port}/"), scope).await;
        let failure = failure(&report);
        assert!(failure.kind == Kind::Returned && failure.message.contains(code), "{name}: {failure}");
    }
}

#[tokio::test]
async fn one_invocation_makes_so_many_requests() {
    let web = Web::bounded(|limits| limits.requests_max = 3).await;
    let ask = |times: u32| json!({ "url": web.server.url("/page"), "times": times });
    assert!(output(&web.request(ask(3), web.open()).await).contains("A page"));
    let report = web.request(ask(4), web.open()).await;
    assert!(failure(&report).message.contains("ConnectionLimitReached"), "{report:?}");
    assert_eq!(web.server.connections(), 6);
}

#[tokio::test]
async fn a_guest_that_waits_stops_at_its_deadline_and_when_it_is_cancelled() {
    let web = Web::new().await;
    for path in ["/silent", "/pause", "/head-pause"] {
        let ask = json!({ "url": web.server.url(path) });
        let (mut invocation, _) = web.invocation("request", &ask, web.open());
        invocation.limits = Limits { attempt_timeout: Duration::from_millis(300), ..invocation.limits };
        let began = Instant::now();
        let report = web.run(invocation).await;
        assert_eq!(failure(&report).kind, Kind::Deadline, "{path}: {report:?}");
        assert!(began.elapsed() < Duration::from_millis(400), "{path}: {:?}", began.elapsed());
        web.server.until_open(0).await;

        let (invocation, _) = web.invocation("request", &ask, web.open());
        let cancel = invocation.cancel.clone();
        let cancelling = async {
            web.server.until_open(1).await;
            cancel.cancel();
            Instant::now()
        };
        let (report, cancelled) = tokio::join!(web.run(invocation), cancelling);
        assert_eq!(failure(&report).kind, Kind::Cancelled, "{path}: {report:?}");
        assert!(cancelled.elapsed() < Duration::from_millis(100), "{path}: {:?}", cancelled.elapsed());
        web.server.until_open(0).await;
    }
}

#[tokio::test]
async fn a_lookup_that_hangs_ends_with_its_time() {
    let web = Web::with(|config| {
        config.http.resolver = std::sync::Arc::new(Hanging);
        short(&mut config.http.limits);
    })
    .await;
    let scope = || super::scope(&["http://*"], &["http://*"], &[]);
    // More of them than lookups at a time: those before do not end.
    for n in 0..6 {
        let report = web.title(&format!("http://n{n}.test/"), scope()).await;
        assert!(failure(&report).message.contains("ConnectionTimeout"), "{report:?}");
    }
}

/// A resolver that never answers.
#[derive(Debug)]
struct Hanging;

#[async_trait::async_trait]
impl lovage::sandbox::Resolve for Hanging {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        std::future::pending().await
    }
}

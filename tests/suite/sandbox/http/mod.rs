//! Outgoing HTTP: a guest built from source, a server that answers well and badly, and rules between them.

mod limits;
mod server;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lovage::model::grants::{Granted, HttpScope};
use lovage::model::{Kind, Limits, Tenant};
use lovage::sandbox::{Config, HttpLimits, Invocation, Module, Note, Reach, Report, Resolve};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::server::Server;
use super::{Call, Rig, failure, output};
use crate::support::guests::built;

/// Names of tests: each lookup takes the next answer, and the last one again and again.
#[derive(Debug, Default)]
struct Names {
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    lookups: AtomicUsize,
}

impl Names {
    fn of(names: &[(&str, &[&[&str]])]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let answers = names.iter().map(|(name, answers)| ((*name).to_owned(), answers.iter().map(parse).collect()));
        Arc::new(Self { answers: Mutex::new(answers.collect()), lookups: AtomicUsize::new(0) })
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let Some(answers) = answers.get_mut(name) else { return Err(io::ErrorKind::NotFound.into()) };
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

/// A sandbox with the guest `web`, and a server.
struct Web {
    rig: Rig,
    module: Arc<Module>,
    server: Server,
}

/// Rules of both sides, and networks that the operator opens.
fn scope(granted: &[&str], allowed: &[&str], networks: &[&str]) -> HttpScope {
    HttpScope {
        granted: granted.iter().map(|rule| rule.parse().unwrap()).collect(),
        allowed: allowed.iter().map(|rule| rule.parse().unwrap()).collect(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
    }
}

impl Web {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn named(names: &Arc<Names>) -> Self {
        Self::with(|config| config.http.resolver = Arc::<Names>::clone(names)).await
    }

    async fn bounded(limits: impl FnOnce(&mut HttpLimits)) -> Self {
        Self::with(|config| limits(&mut config.http.limits)).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let rig = Rig::with(|config| {
            // The guest is compiled once, for all of these tests.
            config.cache_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("artifacts");
            change(config);
        });
        let module = rig.load(&std::fs::read(built("web")).unwrap()).await;
        Self { rig, module, server: Server::start().await }
    }

    /// With a guest in JavaScript, for which SpiderMonkey makes the requests.
    async fn in_javascript() -> Self {
        let mut web = Self::new().await;
        web.module = web.rig.load(&std::fs::read(built("fetch")).unwrap()).await;
        web
    }

    /// Rules of both sides for all that the server serves at its address.
    fn open(&self) -> HttpScope {
        let rule = self.server.rule("127.0.0.1");
        scope(&[&rule], &[&rule], &[])
    }

    fn invocation(&self, task: &'static str, input: &Value, http: HttpScope) -> (Invocation, mpsc::Receiver<Note>) {
        let (mut invocation, heard) =
            Call { task, input: Bytes::from(input.to_string()), ..Call::default() }.invocation();
        invocation.reach = Reach { granted: Arc::new(Granted { http, ..Granted::default() }), ..Reach::default() };
        (invocation, heard)
    }

    async fn run(&self, invocation: Invocation) -> Report {
        self.rig.sandbox.invoke(Arc::clone(&self.module), invocation).await
    }

    async fn title(&self, url: &str, http: HttpScope) -> Report {
        self.run(self.invocation("title", &json!(url), http).0).await
    }

    async fn request(&self, ask: Value, http: HttpScope) -> Report {
        self.run(self.invocation("request", &ask, http).0).await
    }

    /// What a request that is open to the server is answered with.
    async fn answer(&self, ask: Value) -> Value {
        let report = self.request(ask, self.open()).await;
        serde_json::from_str(output(&report)).unwrap()
    }

    /// How a request to a path of the server fails, where rules allow it.
    async fn fault(&self, path: &str) -> String {
        let report = self.request(json!({ "url": self.server.url(path) }), self.open()).await;
        let failure = failure(&report);
        assert_eq!(failure.kind, Kind::Returned, "{failure}");
        failure.message.clone()
    }
}

#[tokio::test]
async fn a_page_is_fetched_where_both_sides_name_it() {
    let web = Web::new().await;
    let report = web.title(&web.server.url("/page"), web.open()).await;
    let page: Value = serde_json::from_str(output(&report)).unwrap();
    assert_eq!(page, json!({ "url": web.server.url("/page"), "title": "A page of ours" }));
    let untitled = web.title(&web.server.url("/untitled"), web.open()).await;
    assert_eq!(failure(&untitled).kind, Kind::Refused);
    let busy = web.title(&web.server.url("/busy"), web.open()).await;
    assert_eq!(failure(&busy).kind, Kind::Returned);
    web.server.until_open(0).await;
}

#[tokio::test]
async fn javascript_fetches_what_both_sides_name_and_nothing_else() {
    let web = Web::in_javascript().await;
    let url = web.server.url("/page");
    assert_eq!(output(&web.title(&url, web.open()).await), "\"A page\\nof ours\"");
    let missing = web.title(&web.server.url("/busy"), web.open()).await;
    assert!(failure(&missing).message.contains("/busy answers 503"), "{missing:?}");
    let refused = web.title(&url, scope(&[], &[&web.server.rule("127.0.0.1")], &[])).await;
    assert_eq!(failure(&refused).kind, Kind::NotGranted, "{refused:?}");
    let away = web.title("http://127.0.0.1:1/", scope(&["http://127.0.0.1:1"], &["http://127.0.0.1:1"], &[])).await;
    assert!(failure(&away).message.starts_with("no answer from http://127.0.0.1:1/"), "{away:?}");
    let (post, _) = web.invocation("post", &json!([web.server.url("/echo"), "grüße"]), web.open());
    assert_eq!(output(&web.run(post).await), "200");
    web.server.until_open(0).await;
}

#[tokio::test]
async fn a_request_without_a_rule_of_both_sides_leaves_no_trace_but_a_line_in_the_log() {
    let names = Names::of(&[("name.test", &[&["127.0.0.1"]])]);
    let web = Web::named(&names).await;
    let (port, rule) = (web.server.address.port(), web.server.rule("127.0.0.1"));
    let (get, path) = (format!("GET {rule}"), format!("{rule}/v1/"));
    for (granted, allowed, method, url, says) in [
        (&[][..], &[][..], "GET", web.server.url("/page"), "no grant for GET http://127.0.0.1:"),
        (&[], &[&*rule], "GET", web.server.url("/page"), "--grant 'http=GET http://127.0.0.1:"),
        (&[&*rule], &[], "GET", web.server.url("/page"), "its operator must name it"),
        (&[&*get], &[&*rule], "POST", web.server.url("/page"), "no grant for POST"),
        (&[&*rule], &[&*get], "DELETE", web.server.url("/page"), "does not allow DELETE"),
        (&[&*path], &[&*rule], "GET", web.server.url("/v2/"), "no grant for"),
        (&[&*path], &[&*rule], "GET", web.server.url("/v1/../page"), "no grant for"),
        (&[&*rule], &[&*rule], "GET", format!("https://127.0.0.1:{port}/page"), "no grant for GET https://"),
        (&[&*rule], &[&*rule], "GET", "http://127.0.0.1:1/page".to_owned(), "no grant for GET http://127.0.0.1:1"),
        (&[&*rule], &[&*rule], "GET", format!("http://localhost:{port}/page"), "no grant for GET http://localhost:"),
        (&[&*rule], &[&*rule], "TRACE", web.server.url("/page"), "no grant for TRACE"),
        (&[&*rule], &[&*rule], "CONNECT", web.server.url("/page"), "no grant for CONNECT"),
        (&["http://*"], &["http://*"], "GET", format!("http://127.0.0.1:{port}/"), "no grant for"),
        (&["http://*.name.test"], &["http://*"], "GET", "http://name.test/".to_owned(), "no grant for"),
    ] {
        let ask = json!({ "url": url, "method": method });
        let (invocation, mut heard) = web.invocation("request", &ask, scope(granted, allowed, &[]));
        let report = web.run(invocation).await;
        let failure = failure(&report);
        assert_eq!(failure.kind, Kind::NotGranted, "{method} {url}: {failure}");
        assert!(failure.message.contains(says), "{method} {url}: {failure}");
        let Some(Note::Log { message, .. }) = heard.recv().await else { panic!("nothing was logged") };
        assert!(message.contains(says) && message.starts_with("http: "), "{message}");
    }
    assert_eq!((web.server.connections(), names.lookups()), (0, 0));
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let web = Web::new().await;
    let port = web.server.address.port();
    let everything = || scope(&["http://*", "https://*"], &["http://*", "https://*"], &["0.0.0.0/0"]);
    for url in [
        format!("http://user@127.0.0.1:{port}/page"),
        format!("http://a.example@127.0.0.1:{port}/page"),
        "http://2130706433/page".to_owned(),
        "http://0x7f.1/page".to_owned(),
        "http://localhost./page".to_owned(),
        "http://localhost:0/".to_owned(),
        "http://[::1%25lo]/".to_owned(),
        "http://b\u{fc}cher.example/".to_owned(),
    ] {
        let report = web.request(json!({ "url": url }), everything()).await;
        assert!(failure(&report).message.starts_with("invalid request"), "{url}: {report:?}");
    }
    assert_eq!(web.server.connections(), 0);
}

#[tokio::test]
async fn names_that_stand_for_what_is_not_public_are_refused_before_anyone_is_called() {
    let addresses = [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "fd00:ec2::254",
        "fe80::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ];
    let names: Vec<String> = (0..addresses.len()).map(|n| format!("n{n}.test")).collect();
    let answers: Vec<[&[&str]; 1]> = addresses.iter().map(|address| [std::slice::from_ref(address)]).collect();
    let mut all: Vec<(&str, &[&[&str]])> =
        names.iter().zip(&answers).map(|(name, answer)| (name.as_str(), &answer[..])).collect();
    // One public address does not make up for another that is not.
    all.push(("mixed.test", &[&["1.1.1.1", "127.0.0.1"]]));
    let table = Names::of(&all);
    let web = Web::named(&table).await;
    let port = web.server.address.port();
    let any = format!("http://*:{port}");
    for (name, _) in &all {
        let began = Instant::now();
        let report = web.title(&format!("http://{name}:{port}/page"), scope(&[&any], &[&any], &[])).await;
        let failure = failure(&report);
        assert_eq!(failure.kind, Kind::NotGranted, "{name}: {failure}");
        assert!(failure.message.contains("must open that network"), "{name}: {failure}");
        assert!(began.elapsed() < Duration::from_secs(2), "{name} was called");
    }
    assert_eq!(web.server.connections(), 0);
    let open = scope(&[&any], &[&any], &["127.0.0.0/8"]);
    assert!(output(&web.title(&format!("http://n0.test:{port}/page"), open).await).contains("A page"));
    // The network that was opened is not another form of it.
    let report = web.title(&format!("http://n10.test:{port}/page"), scope(&[&any], &[&any], &["127.0.0.0/8"])).await;
    assert_eq!(failure(&report).kind, Kind::NotGranted);
}

#[tokio::test]
async fn the_machines_own_names_are_no_way_around() {
    let web = Web::new().await;
    let rule = web.server.rule("localhost");
    let url = format!("{rule}/page");
    let report = web.title(&url, scope(&[&rule], &[&rule], &[])).await;
    assert_eq!(failure(&report).kind, Kind::NotGranted, "{report:?}");
    assert_eq!(web.server.connections(), 0);
    let report = web.title(&url, scope(&[&rule], &[&rule], &["127.0.0.0/8", "::1"])).await;
    assert!(output(&report).contains("A page"));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_called_where_it_was_looked_at() {
    // The second answer would be refused, and the third is where nobody listens: neither is ever asked for.
    let names = Names::of(&[("fickle.test", &[&["127.0.0.1"], &["169.254.169.254"], &["127.0.0.2"]])]);
    let web = Web::named(&names).await;
    let rule = web.server.rule("fickle.test");
    let scope = || scope(&[&rule], &[&rule], &["127.0.0.0/8"]);
    let report = web.title(&format!("{rule}/page"), scope()).await;
    assert!(output(&report).contains("A page"), "{report:?}");
    assert_eq!((names.lookups(), web.server.connections()), (1, 1));
    // The next request is looked at anew.
    let report = web.title(&format!("{rule}/page"), scope()).await;
    assert_eq!(failure(&report).kind, Kind::NotGranted);
    assert_eq!((names.lookups(), web.server.connections()), (2, 1));
}

#[tokio::test]
async fn each_hop_of_a_redirect_is_held_against_the_rules() {
    let names = Names::of(&[("meta.test", &[&["169.254.169.254"]]), ("here.test", &[&["127.0.0.1"]])]);
    let web = Web::named(&names).await;
    let port = web.server.address.port();
    let (rule, any) = (web.server.rule("127.0.0.1"), format!("http://*:{port}"));
    let scope = || scope(&[&rule, &any], &[&rule, &any], &[]);
    let to = |url: &str| web.server.url(&format!("/to?{url}"));
    let report = web.title(&to("/page"), scope()).await;
    assert!(output(&report).contains("A page"));
    assert_eq!(web.server.connections(), 2);
    for denied in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://meta.test:{port}/"),
        format!("http://here.test:{port}/page"),
        "http://127.0.0.1:1/".to_owned(),
        format!("https://127.0.0.1:{port}/"),
    ] {
        let before = web.server.connections();
        let report = web.title(&to(&denied), scope()).await;
        assert_eq!(failure(&report).kind, Kind::NotGranted, "{denied}: {report:?}");
        assert_eq!(web.server.connections(), before + 1, "{denied}");
    }
    // What is not followed is seen: a guest may look at a redirect.
    let answer = web.answer(json!({ "url": to("/page") })).await;
    assert_eq!((&answer["status"], &answer["headers"]["location"]), (&json!(302), &json!("/page")));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let web = Web::new().await;
    let ask = json!({
        "url": web.server.url("/echo"), "method": "PUT", "headers": { "X-Own": "1", "accept": "*/*" }, "body": "four",
    });
    let text = web.answer(ask).await["text"].as_str().unwrap().to_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let host = format!("host: {}", web.server.address);
    let mut expected = vec!["", "PUT /echo HTTP/1.1", "accept: */*", "connection: close", "content-length: 4"];
    expected.extend(["4 bytes", &host, concat!("user-agent: lovage/", env!("CARGO_PKG_VERSION")), "x-own: 1"]);
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let large = web.answer(json!({ "url": web.server.url("/echo"), "method": "POST", "bytes": 1 << 20 })).await;
    assert!(large["text"].as_str().unwrap().ends_with("1048576 bytes"), "{large}");
}

#[tokio::test]
async fn headers_of_the_connection_are_the_hosts() {
    let web = Web::new().await;
    for name in
        ["Host", "Connection", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "TE", "Expect", "Keep-Alive"]
    {
        let ask = json!({ "url": web.server.url("/echo"), "headers": { name: "x" } });
        let report = web.request(ask, web.open()).await;
        assert!(failure(&report).message.contains("invalid request: a header"), "{name}: {report:?}");
    }
    for (name, value) in [("x y", "1"), ("", "1"), ("x-own", "1\r\nx-other: 2"), ("content-length", "1, 2")] {
        let ask = json!({ "url": web.server.url("/echo"), "headers": { name: value }, "body": "b" });
        let report = web.request(ask, web.open()).await;
        assert!(failure(&report).message.contains("invalid request"), "{name}: {report:?}");
    }
    assert_eq!(web.server.connections(), 0);
    let answer = web.answer(json!({ "url": web.server.url("/hop") })).await;
    assert_eq!((&answer["headers"], &answer["text"]), (&json!({ "x-own": "1" }), &json!("ok")));
}

#[tokio::test]
async fn a_tenant_that_holds_its_connections_keeps_no_other_waiting() {
    let web = Web::bounded(|limits| limits.tenant_connections_max = 1).await;
    let ask = json!({ "url": web.server.url("/silent") });
    let (holding, _heard) = web.invocation("request", &ask, web.open());
    let cancel = holding.cancel.clone();
    let quick = |tenant: &str, timeout_ms: u64| {
        let ask = json!({ "url": web.server.url("/page"), "timeout_ms": timeout_ms });
        let (mut invocation, _) = web.invocation("request", &ask, web.open());
        invocation.attempt.tenant = tenant.parse::<Tenant>().unwrap();
        web.run(invocation)
    };
    let others = async {
        web.server.until_open(1).await;
        let own = quick("default", 50).await;
        assert!(failure(&own).message.contains("ConnectionTimeout"), "{own:?}");
        let other = quick("other", 5_000).await;
        assert!(output(&other).contains("A page"));
        cancel.cancel();
    };
    let (held, ()) = tokio::join!(web.run(holding), others);
    assert_eq!(failure(&held).kind, Kind::Cancelled);
    web.server.until_open(0).await;
    assert!(output(&quick("default", 5_000).await).contains("A page"), "its share is back");
}

#[tokio::test]
async fn requests_are_paid_for() {
    let web = Web::new().await;
    let ask = |times: u32| json!({ "url": web.server.url("/page"), "times": times });
    let one = web.request(ask(1), web.open()).await.fuel_used;
    let two = web.request(ask(2), web.open()).await.fuel_used;
    assert!(two > one + 2_000_000, "{one} and {two}");
    let (mut invocation, _) = web.invocation("request", &ask(100), web.open());
    invocation.limits = Limits { fuel: Some(10 * (two - one)), ..invocation.limits };
    assert_eq!(failure(&web.run(invocation).await).kind, Kind::OutOfFuel);
    assert!(web.server.connections() < 20);
}

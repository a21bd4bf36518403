//! Guests that were granted something and want more of it, or of what is beside it: line 14 of the checklist. They are those of the
//! examples, with inputs that a hostile tenant would give them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lovage::broker::Settings;
use lovage::broker::memory::Memory;
use lovage::model::grants::{Granted, Grants, HttpScope};
use lovage::model::{Limits, Metering, Tenant};
use lovage::sandbox::{Module, Reach, Report, Sandbox};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Rig, ended, invocation};
use crate::support::guests::built;

/// One call of a guest that holds grants.
#[derive(Clone)]
pub(super) struct Attack {
    what: &'static str,
    module: Arc<Module>,
    task: &'static str,
    input: Bytes,
    limits: Limits,
    reach: Reach,
    /// What it must end with, in the words of the corpus.
    expected: &'static str,
}

impl Attack {
    /// Calls it once.
    pub(super) async fn go(&self, sandbox: &Sandbox) -> Report {
        let (mut invocation, _heard) = invocation("evil", self.limits);
        invocation.attempt.task = self.task.parse().unwrap();
        invocation.input = self.input.clone();
        invocation.reach = self.reach.clone();
        sandbox.invoke(Arc::clone(&self.module), invocation).await
    }
}

/// What attacks, and a server that takes connections and never says a word.
pub(super) struct Attacks {
    pub(super) all: Vec<Attack>,
    _silent: TcpListener,
}

/// What guests are granted, and what their hosts allow: all of it, and one address.
fn reach(grants: &[&str], address: Option<&str>) -> Reach {
    let tenant = Tenant::default_tenant();
    let memory = Memory::new();
    memory.provision(&tenant, &Settings::default());
    let grants = grants.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
    let rules: Vec<_> = address.iter().map(|rule| rule.parse().unwrap()).collect();
    let http = HttpScope { granted: rules.clone(), allowed: rules, networks: Vec::new() };
    let granted = Granted { http, ..Granted::all_of(&grants) };
    Reach { granted: Arc::new(granted), resources: lovage::host::resources(memory.broker(), tenant, None) }
}

impl Attacks {
    pub(super) async fn of(rig: &Rig) -> Self {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = format!("http://{}", silent.local_addr().unwrap());
        let load = |name| std::fs::read(built(name)).unwrap();
        let probe = rig.load(&load("probe"), Metering::Fuel).await.unwrap();
        let web = rig.load(&load("web"), Metering::Fuel).await.unwrap();
        let keys = reach(&["kv=own:rw", "blob=own:rw"], None);
        let http = reach(&[], Some(&open));
        let ask = |what, module: &Arc<Module>, task, input: Value, reach: &Reach, expected| Attack {
            what,
            module: Arc::clone(module),
            task,
            input: Bytes::from(input.to_string()),
            limits: Limits {
                fuel: Some(100_000_000),
                attempt_timeout: Duration::from_millis(400),
                ..Limits::default()
            },
            reach: reach.clone(),
            expected,
        };
        let request = |what, url: &str, expected| ask(what, &web, "request", json!({ "url": url }), &http, expected);
        let key = |what, task, input, expected| ask(what, &probe, task, input, &keys, expected);
        let all = vec![
            key("floods a bucket of its own", "ask", json!(["own", 4_000_000_000_u32]), "out_of_fuel"),
            key("floods a bucket of others", "ask", json!(["theirs", 4_000_000_000_u32]), "out_of_fuel"),
            key("fills a bucket with one value", "claim", json!(["own", "key", 8 << 20]), "refused"),
            key("makes a key of a wildcard", "recall", json!(["own", ">"]), "output null"),
            key("makes a bucket of a wildcard", "recall", json!(["*", "key"]), "refused"),
            key("reads what is beside its bucket", "recall", json!(["own/../theirs", "key"]), "refused"),
            key("asks for a secret", "tell", json!(["key", "log"]), "refused"),
            request("waits for a server that never answers", &format!("{open}/"), "deadline"),
            request("asks the machine that runs it", "http://127.0.0.1:1/", "not_granted"),
            request("asks the cloud for its keys", "http://169.254.169.254/latest/meta-data/", "not_granted"),
            request("asks by another writing of an address", "http://2130706433/", "returned"),
            request("asks by another protocol", "file:///etc/passwd", "returned"),
        ];
        Self { all, _silent: silent }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_grant_gets_no_more_than_it_says() {
    let rig = Rig::new();
    let attacks = Attacks::of(&rig).await;
    let mut wrong = Vec::new();
    for attack in &attacks.all {
        let report = attack.go(&rig.sandbox).await;
        let how = ended(&report);
        println!("{:7.1} ms  {}: {how}", report.duration.as_secs_f64() * 1e3, attack.what);
        if how != attack.expected {
            wrong.push(format!("{}: {how:?} in place of {:?}: {report:?}", attack.what, attack.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

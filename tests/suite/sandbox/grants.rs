//! Grants: what is granted is had, what is not is refused, and no name that a guest thinks of reaches anything else.
//!
//! The guests are `probe`, `visits` and `tally`; behind them is the broker in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use lovage::broker::memory::Memory;
use lovage::broker::{Broker, Settings};
use lovage::model::grants::{Granted, Grants, KEY_BYTES_MAX, KV_VALUE_BYTES_MAX};
use lovage::model::{Digest, Failure, Kind, Limits, Outcome, Tenant};
use lovage::protocol::stream::Bucket;
use lovage::sandbox::{Module, Note, Reach, Report, Sandbox, inspect};
use lovage::store::secrets::{self, SealingKey};

use super::{Call, failure, guests, output};
use tokio::sync::Mutex;

use crate::support;

/// A sandbox before a broker in memory. Modules are compiled once for all tests.
struct World {
    sandbox: Sandbox,
    broker: Broker,
    key: SealingKey,
}

impl World {
    async fn new() -> Self {
        let memory = Memory::new();
        memory.provision(&Tenant::default_tenant(), &Settings::default());
        let (broker, key) = (memory.broker(), SealingKey::generate());
        secrets::publish_key(&broker, &key).await.unwrap();
        Self { sandbox: support::modules::sandbox(), broker, key }
    }

    fn reach(&self, tenant: &str, grants: &[&str]) -> Reach {
        let grants = grants.iter().fold(Grants::default(), |grants, text| grants.with(text.parse().unwrap()));
        let resources = lovage::host::resources(self.broker.clone(), tenant.parse().unwrap(), Some(self.key.clone()));
        Reach { granted: Arc::new(Granted::all_of(&grants)), resources }
    }

    async fn secret(&self, tenant: &str, name: &str, value: &str) {
        let (tenant, name) = (tenant.parse().unwrap(), name.parse().unwrap());
        secrets::set(&self.broker, &tenant, &name, value.to_owned()).await.unwrap();
    }

    /// Calls a task of an example guest for a tenant, with these grants.
    async fn call(
        &self,
        guest: &str,
        tenant: &str,
        grants: &[&str],
        task: &'static str,
        input: &str,
    ) -> (Report, Vec<Note>) {
        let reach = self.reach(tenant, grants);
        let call = Call { task, input: Bytes::from(input.to_owned()), reach, ..Call::default() };
        self.run(self.example(guest).await, call).await
    }

    /// An example guest, which is looked at and loaded once for all tests.
    async fn example(&self, guest: &str) -> Arc<Module> {
        static LOADED: Mutex<BTreeMap<String, Arc<Module>>> = Mutex::const_new(BTreeMap::new());
        let mut loaded = LOADED.lock().await;
        if let Some(module) = loaded.get(guest) {
            return Arc::clone(module);
        }
        let module = self.load(&std::fs::read(support::guests::built(guest)).unwrap()).await;
        loaded.insert(guest.to_owned(), Arc::clone(&module));
        module
    }

    async fn load(&self, upload: &[u8]) -> Arc<Module> {
        let stored = Bytes::from(inspect(upload).unwrap().stored.into_owned());
        self.sandbox.load(&Digest::of(&stored), stored).await.unwrap()
    }

    async fn run(&self, module: Arc<Module>, call: Call) -> (Report, Vec<Note>) {
        let (invocation, mut heard) = call.invocation();
        let report = self.sandbox.invoke(module, invocation).await;
        let notes = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        (report, notes)
    }

    async fn probe(&self, grants: &[&str], task: &'static str, input: &str) -> Result<String, Failure> {
        match self.call("probe", "default", grants, task, input).await.0.outcome {
            Outcome::Output(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
            Outcome::Failed(failure) => Err(failure),
            Outcome::Replace(flow) => panic!("a flow: {flow}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_granted_is_refused() {
    let world = World::new().await;
    let others = ["kv=other:rw", "blob=other:rw", "kv=reads:r", "blob=reads:r", "secret=other", "config=k=v", "clock"];
    for grants in [&[][..], &others] {
        for (task, input) in [
            ("remember", r#"["sessions","a","1"]"#),
            ("recall", r#"["sessions","a"]"#),
            ("forget", r#"["sessions","a"]"#),
            ("list", r#"["sessions","",10]"#),
            ("claim", r#"["sessions","a",1]"#),
            ("store", r#"["photos","a","1"]"#),
            ("load", r#"["photos","a",0,1]"#),
            ("size", r#"["photos","a"]"#),
            // To read is not to write.
            ("remember", r#"["reads","a","1"]"#),
            ("forget", r#"["reads","a"]"#),
            ("claim", r#"["reads","a",1]"#),
            ("store", r#"["reads","a","1"]"#),
            // A bucket of keys is none of objects.
            ("store", r#"["sessions","a","1"]"#),
        ] {
            let failed = world.probe(grants, task, input).await.unwrap_err();
            assert!(failed.message.contains("not granted"), "{task} {input}: {failed}");
        }
        assert_eq!(world.probe(grants, "secret_len", r#""api_key""#).await.unwrap(), "null");
    }
    assert!(world.broker.streams.last("lvg.*.kv.>").await.unwrap().is_none(), "nothing was written");
    assert!(world.broker.objects.list(Bucket::Blobs).await.unwrap().next().await.is_none());
}

#[tokio::test]
async fn what_is_granted_is_had() {
    let world = World::new().await;
    let grants = ["kv=sessions:rw", "blob=photos:rw", "secret=api_key"];
    let probe = async |task, input| world.probe(&grants, task, input).await.unwrap();
    assert_eq!(probe("recall", r#"["sessions","a"]"#).await, "null");
    probe("remember", r#"["sessions","a","eins"]"#).await;
    assert_eq!(probe("recall", r#"["sessions","a"]"#).await, r#""eins""#);
    probe("remember", r#"["sessions","ab","zwei"]"#).await;
    probe("remember", r#"["sessions","b","drei"]"#).await;
    assert_eq!(probe("list", r#"["sessions","a",10]"#).await, r#"["a","ab"]"#);
    assert_eq!(probe("list", r#"["sessions","",2]"#).await, r#"["a","ab"]"#);
    assert_eq!(probe("list", r#"["sessions","",0]"#).await, "[]");
    probe("forget", r#"["sessions","a"]"#).await;
    assert_eq!(probe("recall", r#"["sessions","a"]"#).await, "null");
    let taken = world.probe(&grants, "claim", r#"["sessions","b",1]"#).await.unwrap_err();
    assert!(taken.message.contains("another write"), "{taken}");
    probe("claim", r#"["sessions","a",1]"#).await;
    assert_eq!(world.probe(&["kv=sessions:r"], "recall", r#"["sessions","b"]"#).await.unwrap(), r#""drei""#);

    probe("store", r#"["photos","sea/1.jpg","0123456789"]"#).await;
    assert_eq!(probe("size", r#"["photos","sea/1.jpg"]"#).await, "10");
    for (input, read) in [
        (r#"["photos","sea/1.jpg",0,100]"#, "\"0123456789\""),
        (r#"["photos","sea/1.jpg",3,4]"#, "\"3456\""),
        (r#"["photos","sea/1.jpg",10,1]"#, "\"\""),
        (r#"["photos","sea/1.jpg",9007199254740992,1]"#, "\"\""),
    ] {
        assert_eq!(probe("load", input).await, read);
    }
    let missing = world.probe(&grants, "size", r#"["photos","sky.jpg"]"#).await.unwrap_err();
    assert!(missing.message.contains("no such object"), "{missing}");

    assert_eq!(probe("secret_len", r#""api_key""#).await, "null", "it is granted, and not set");
    world.secret("default", "api_key", "sk-12345678").await;
    assert_eq!(probe("secret_len", r#""api_key""#).await, "11");
}

#[tokio::test]
async fn no_key_reaches_beyond_its_bucket() {
    let world = World::new().await;
    let keys = [
        "*",
        ">",
        "a.b",
        ".",
        "..",
        "../other/x",
        "a b",
        "~",
        "~2A",
        "$JS.API.STREAM.PURGE.LVG_KV",
        "ä\u{1f980}",
        "default/kv",
        "%2e",
        &"k".repeat(KEY_BYTES_MAX),
    ];
    let other = Tenant::default_tenant();
    let bucket = "own".parse().unwrap();
    let elsewhere = lovage::store::kv::Kv { broker: &world.broker, tenant: &other, bucket: &"other".parse().unwrap() };
    elsewhere.set("x", Bytes::from_static(b"untouched"), None).await.unwrap();
    for key in keys {
        let at = serde_json::to_string(&["own", key, key]).unwrap();
        world.probe(&["kv=own:rw"], "remember", &at).await.unwrap();
        let read = world.probe(&["kv=own:rw"], "recall", &serde_json::to_string(&["own", key]).unwrap()).await;
        assert_eq!(serde_json::from_str::<String>(&read.unwrap()).unwrap(), key);
        let blob = ["blob=own:rw"];
        world.probe(&blob, "store", &at).await.unwrap();
        assert_eq!(
            world.probe(&blob, "size", &serde_json::to_string(&["own", key]).unwrap()).await.unwrap(),
            key.len().to_string()
        );
    }
    // Each wrote one entry of its own, and the wildcards removed nothing but themselves.
    world.probe(&["kv=own:rw"], "forget", r#"["own","*"]"#).await.unwrap();
    world.probe(&["kv=own:rw"], "forget", r#"["own",">"]"#).await.unwrap();
    let own = lovage::store::kv::Kv { broker: &world.broker, tenant: &other, bucket: &bucket };
    let mut left = own.keys("", 100).await.unwrap();
    left.sort_unstable();
    let mut expected: Vec<&str> = keys.into_iter().filter(|key| !["*", ">"].contains(key)).collect();
    expected.sort_unstable();
    assert_eq!(left, expected);
    assert_eq!(elsewhere.get("x").await.unwrap().unwrap().value, "untouched");
}

#[tokio::test]
async fn no_name_of_a_bucket_reaches_another() {
    let world = World::new().await;
    let grants = ["kv=own:rw", "blob=own:rw", "secret=own"];
    for bucket in
        ["", "*", ">", "own.x", "own ", "OWN", "../own", "own/../other", "own\u{0}", "ctl", &"o".repeat(5_000)]
    {
        for (task, input) in [
            ("remember", serde_json::to_string(&[bucket, "k", "v"]).unwrap()),
            ("recall", serde_json::to_string(&[bucket, "k"]).unwrap()),
            ("store", serde_json::to_string(&[bucket, "k", "v"]).unwrap()),
            ("size", serde_json::to_string(&[bucket, "k"]).unwrap()),
            ("list", serde_json::json!([bucket, "", 10]).to_string()),
        ] {
            let failed = world.probe(&grants, task, &input).await.unwrap_err();
            assert!(failed.message.contains("not granted"), "{task} {bucket:?}: {failed}");
        }
        let name = serde_json::to_string(bucket).unwrap();
        assert_eq!(world.probe(&grants, "secret_len", &name).await.unwrap(), "null");
    }
}

#[tokio::test]
async fn keys_and_values_have_bounds() {
    let world = World::new().await;
    let grants = ["kv=own:rw", "blob=own:rw"];
    world.probe(&grants, "claim", &format!(r#"["own","fits",{KV_VALUE_BYTES_MAX}]"#)).await.unwrap();
    let large = format!(r#"["own","large",{}]"#, KV_VALUE_BYTES_MAX + 1);
    let long = format!(r#"["own","{}","v"]"#, "k".repeat(KEY_BYTES_MAX + 1));
    for (task, input, says) in [
        ("claim", large.as_str(), "too large"),
        ("remember", &long, "too large"),
        ("store", &long, "too large"),
        ("load", r#"["own","a",0,4294967295]"#, "too large"),
        ("remember", r#"["own","","v"]"#, "not empty"),
        ("remember", r#"["own","a\nb","v"]"#, "control characters"),
        ("store", r#"["own","\u0000","v"]"#, "control characters"),
    ] {
        let failed = world.probe(&grants, task, input).await.unwrap_err();
        assert!(failed.message.contains(says), "{task}: {failed}");
    }
}

#[tokio::test]
async fn tenants_never_see_each_others_buckets_and_secrets() {
    let world = World::new().await;
    let grants = ["kv=sessions:rw", "blob=photos:rw", "secret=api_key"];
    world.secret("acme", "api_key", "the key of acme").await;
    for (task, input) in [("remember", r#"["sessions","a","acme"]"#), ("store", r#"["photos","a","acme"]"#)] {
        world.call("probe", "acme", &grants, task, input).await;
    }
    for tenant in ["globex", "acm", "acme2", "default"] {
        for (task, input, expected) in [
            ("recall", r#"["sessions","a"]"#, "null"),
            ("list", r#"["sessions","",10]"#, "[]"),
            ("secret_len", r#""api_key""#, "null"),
        ] {
            assert_eq!(output(&world.call("probe", tenant, &grants, task, input).await.0), expected, "{tenant} {task}");
        }
        let (report, _) = world.call("probe", tenant, &grants, "size", r#"["photos","a"]"#).await;
        assert!(failure(&report).message.contains("no such object"), "{tenant}");
        world.call("probe", tenant, &grants, "forget", r#"["sessions","a"]"#).await;
    }
    let (report, _) = world.call("probe", "acme", &grants, "recall", r#"["sessions","a"]"#).await;
    assert_eq!(output(&report), "\"acme\"");
    assert_eq!(output(&world.call("probe", "acme", &grants, "secret_len", "\"api_key\"").await.0), "15");
}

#[tokio::test]
async fn a_secret_that_is_copied_to_another_tenant_opens_nowhere() {
    let world = World::new().await;
    world.secret("acme", "api_key", "the key of acme").await;
    let stolen = world.broker.streams.last("lvg.acme.secret.api_key").await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&stolen.payload).contains("acme"), "it is sealed");
    let copy = lovage::broker::Publish::new("lvg.globex.secret.api_key", stolen.payload);
    world.broker.streams.publish(copy).await.unwrap();
    let (report, _) = world.call("probe", "globex", &["secret=api_key"], "secret_len", "\"api_key\"").await;
    assert_eq!(output(&report), "null");
}

#[tokio::test]
async fn a_secret_stays_out_of_all_that_a_guest_says() {
    let world = World::new().await;
    world.secret("default", "api_key", "sk-12345678").await;
    for how in ["log", "progress", "output", "failure", "panic"] {
        let input = format!(r#"["api_key","{how}"]"#);
        let (report, notes) = world.call("probe", "default", &["secret=api_key"], "tell", &input).await;
        let shown = format!("{report:?} {notes:?}");
        assert!(!shown.contains("sk-12345678"), "{how}: {shown}");
        match how {
            "log" | "progress" => assert!(format!("{notes:?}").contains("[secret api_key]"), "{notes:?}"),
            "output" => {
                let failed = failure(&report);
                assert_eq!(failed.kind, Kind::NotGranted);
                assert!(failed.message.contains("holds the secret api_key"), "{failed}");
            }
            "failure" => assert_eq!(failure(&report).message, "the key is [secret api_key]"),
            _ => assert!(matches!(report.outcome, Outcome::Failed(_))),
        }
    }
}

#[tokio::test]
async fn asking_is_paid_for() {
    let world = World::new().await;
    for grants in [&["kv=own:r"][..], &[]] {
        let call = Call {
            task: "ask",
            input: Bytes::from_static(br#"["own",4000000000]"#),
            reach: world.reach("default", grants),
            ..Call::with_limits(Limits {
                fuel: Some(1_000_000_000),
                attempt_timeout: Duration::from_secs(60),
                ..Limits::default()
            })
        };
        let (report, _) = world.run(world.example("probe").await, call).await;
        assert_eq!(
            failure(&report).kind,
            Kind::OutOfFuel,
            "a budget of fuel bounds how often a guest asks: {report:?}"
        );
        assert!(report.duration < Duration::from_secs(30), "{report:?}");
    }
}

#[tokio::test]
async fn a_broker_that_is_away_does_not_keep_a_guest() {
    let memory = Memory::new();
    memory.provision(&Tenant::default_tenant(), &Settings::default());
    let (world, faults) = (World::new().await, memory.faults());
    let resources = lovage::host::resources(memory.broker(), Tenant::default_tenant(), None);
    let granted = Arc::new(Granted::all_of(&Grants::default().with("kv=own:rw".parse().unwrap())));
    faults.unavailable(true);
    let reach = Reach { granted, resources };
    let call = Call { task: "recall", input: Bytes::from_static(br#"["own","k"]"#), reach, ..Call::default() };
    let (report, _) = world.run(world.example("probe").await, call).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, Kind::Returned, "another attempt may fare better");
    assert!(failed.message.contains("unavailable") && !failed.message.contains("lvg."), "{failed}");
}

#[tokio::test]
async fn visits_are_counted_one_by_one() {
    let world = World::new().await;
    let grants = ["kv=visits:rw"];
    let count = || async { world.call("visits", "default", &grants, "count", "\"/a\"").await.0 };
    let counted = futures::future::join_all((0..8).map(|_| count())).await;
    let mut numbers: Vec<u64> = counted
        .iter()
        .map(|report| serde_json::from_str::<serde_json::Value>(output(report)).unwrap()["visits"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
    world.call("visits", "default", &grants, "count", "\"/b\"").await;
    let (top, _) = world.call("visits", "default", &["kv=visits:r"], "top", "\"/\"").await;
    assert_eq!(output(&top), r#"[{"page":"/a","visits":8},{"page":"/b","visits":1}]"#);
}

#[tokio::test]
async fn a_component_reaches_its_grants_by_the_words_of_wasi() {
    let world = World::new().await;
    let grants = ["kv=votes:rw", "config=choices=yes,no"];
    let tally = async |grants: &[&str], task, input| world.call("tally", "default", grants, task, input).await.0;
    for (input, votes) in [("[\"yes\"]", "1"), ("[\"yes\"]", "2"), ("[\"no\"]", "1")] {
        assert_eq!(output(&tally(&grants, "vote", input).await), votes);
    }
    assert_eq!(output(&tally(&["kv=votes:r"], "votes", "[]").await), r#"[["no",1],["yes",2]]"#);
    for (grants, says) in [
        (&[][..], "no choices are set"),
        (&["config=choices=yes"], "not granted"),
        (&["config=choices=yes", "kv=votes:r"], "not granted"),
        (&["config=choices=yes", "config=bucket=*", "kv=votes:rw"], "not granted"),
        (&["config=choices=no", "kv=votes:rw"], "none of no"),
    ] {
        let report = tally(grants, "vote", "[\"yes\"]").await;
        assert!(failure(&report).message.contains(says), "{grants:?}: {report:?}");
    }
}

#[tokio::test]
async fn a_component_reads_and_writes_many_keys_by_the_words_of_wasi() {
    let world = World::new().await;
    let tally = async |grants: &[&str], task, input: &str| world.call("tally", "default", grants, task, input).await.0;
    let grants = ["kv=votes:rw"];
    assert_eq!(output(&tally(&grants, "enter", r#"[["yes", 3], ["no", 2], ["maybe", 1]]"#).await), "null");
    assert_eq!(output(&tally(&grants, "of", r#"["no", "perhaps", "yes"]"#).await), "[2,null,3]");
    tally(&grants, "enter", r#"[["yes", 7]]"#).await;
    tally(&grants, "enter", r#"[["yes", 8], ["no", 0], ["never", 0]]"#).await;
    assert_eq!(output(&tally(&["kv=votes:r"], "votes", "[]").await), r#"[["maybe",1],["yes",8]]"#);
    assert_eq!(output(&tally(&grants, "strike", r#""maybe""#).await), "true");
    assert_eq!(output(&tally(&grants, "strike", r#""maybe""#).await), "false");
    assert_eq!(output(&tally(&["kv=votes:r"], "votes", "[]").await), r#"[["yes",8]]"#);
    // Who may read may not write, and nobody may ask for all at once.
    for (task, input) in [("enter", r#"[["a", 1], ["b", 1]]"#), ("strike", r#""yes""#)] {
        let report = tally(&["kv=votes:r"], task, input).await;
        assert!(failure(&report).message.contains("not granted"), "{report:?}");
    }
    for (count, fits) in [(1_000, true), (1_001, false)] {
        let keys: Vec<String> = (0..count).map(|n| format!("k{n}")).collect();
        let report = tally(&grants, "of", &serde_json::json!(keys).to_string()).await;
        assert_eq!(matches!(report.outcome, Outcome::Output(_)), fits, "{report:?}");
        let zeros: Vec<(String, u64)> = keys.into_iter().map(|key| (key, 0)).collect();
        let report = tally(&grants, "enter", &serde_json::json!(zeros).to_string()).await;
        assert_eq!(matches!(report.outcome, Outcome::Output(_)), fits, "{report:?}");
    }
    let many: Vec<(String, u64)> = (0..1_001).map(|n| (format!("k{n}"), 1)).collect();
    let report = tally(&grants, "enter", &serde_json::json!(many).to_string()).await;
    assert!(failure(&report).message.contains("too large"), "{report:?}");
    assert_eq!(output(&tally(&grants, "of", r#"["yes"]"#).await), "[8]");
}

#[tokio::test]
async fn settings_are_in_the_environment_of_a_command() {
    let world = World::new().await;
    // All of its environment, as one text: variables are written from 1024 on, each with its NUL.
    let module = guests::command(
        r#"(func (export "_start")
            (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (drop (call $environ_get (i32.const 32) (i32.const 1024)))
            (call $say (i32.const 2) (i32.const 1024) (i32.load (i32.const 20))))"#,
    );
    let call =
        Call { reach: world.reach("default", &["config=LEVEL=3", "config=URL=https://x/?a=b"]), ..Call::default() };
    let (_, notes) = world.run(world.load(&module).await, call).await;
    let shown = format!("{notes:?}");
    assert!(shown.contains("LEVEL=3\\0URL=https://x/?a=b\\0LOVAGE_TASK=run"), "{shown}");
}

#[tokio::test]
async fn the_fine_clock_and_entropy_are_for_those_who_have_them() {
    let world = World::new().await;
    // Sixteen readings of the clock and sixteen random bytes, as they stand in memory.
    let module = guests::command(
        r#"(func (export "_start") (local $n i32)
            (loop $again
                (drop (call $clock_time_get (i32.const 1) (i64.const 0)
                    (i32.add (i32.const 1024) (i32.mul (local.get $n) (i32.const 8)))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 16))))
            (drop (call $random_get (i32.const 1152) (i32.const 16)))
            (local.set $n (i32.const 0))
            (loop $hex
                (i32.store8 (i32.add (i32.const 2048) (local.get $n))
                    (i32.add (i32.const 97) (i32.and (i32.load8_u (i32.add (i32.const 1152) (local.get $n))) (i32.const 15))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $hex (i32.lt_u (local.get $n) (i32.const 16))))
            (call $say (i32.const 2) (i32.const 2048) (i32.const 16))
            ;; The rest of dividing a reading by a million: nothing for a clock of milliseconds.
            (if (i64.ne (i64.rem_u (i64.load (i32.const 1024)) (i64.const 1000000)) (i64.const 0))
                (then (call $say (i32.const 2) (i32.const 1300) (i32.const 4)))))
        (data (i32.const 1300) "fine")"#,
    );
    let module = world.load(&module).await;
    let said = async |grants: &[&str]| {
        let call = Call { reach: world.reach("default", grants), ..Call::default() };
        let (_, notes) = world.run(Arc::clone(&module), call).await;
        let [Note::Log { message, .. }] = &notes[..] else { panic!("{notes:?}") };
        (message.chars().take(16).collect::<String>(), message.ends_with("fine"))
    };
    let (random, fine) = said(&[]).await;
    assert_eq!((said(&[]).await, fine), ((random.clone(), false), false), "the same for every try of an attempt");
    let (one, other) = (said(&["random", "clock"]).await, said(&["random", "clock"]).await);
    assert!(one.0 != random && other.0 != random && one.0 != other.0, "{one:?} {other:?}");
    assert!(one.1 && other.1);
}

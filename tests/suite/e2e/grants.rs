//! Grants end to end: tenants keep to their own buckets on a real broker, operators decide, and secrets stand nowhere in the clear.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use super::server;
use crate::support::guests;
use crate::support::platform::{Cli, Dev, Ended};

/// Uploads `probe` with these grants.
fn push(cli: &Cli, tenant: &str, grants: &[&str]) -> Ended {
    push_guest(cli, tenant, "probe", grants)
}

fn push_guest(cli: &Cli, tenant: &str, name: &str, grants: &[&str]) -> Ended {
    let file = guests::built(name);
    let mut args = vec!["module", "push", name, file.to_str().unwrap(), "--tenant", tenant];
    args.extend(grants.iter().flat_map(|grant| ["--grant", grant]));
    cli.run(&args)
}

fn call(cli: &Cli, tenant: &str, task: &str, input: &str) -> Ended {
    cli.run(&["call", task, input, "--tenant", tenant])
}

/// Sets a secret, from stdin as a script would.
fn set_secret(cli: &Cli, tenant: &str, name: &str, value: &str) -> Ended {
    let mut command = cli.command(&["secret", "set", name, "--tenant", tenant]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Whether some file below a folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(Result::unwrap).any(|entry| {
        if entry.file_type().unwrap().is_dir() {
            return holds(&entry.path(), text);
        }
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

const GRANTS: [&str; 3] = ["kv=sessions:rw", "blob=photos:rw", "secret=api_key"];

#[tokio::test(flavor = "multi_thread")]
async fn tenants_keep_to_their_own_buckets_and_secrets() {
    let (_server, cli) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    let key = key.to_str().unwrap();
    cli.run(&["secret", "key", key]).output();
    let _hosts = ["acme", "globex"].map(|tenant| cli.host(&["--tenant", tenant, "--secrets-key", key]));
    for tenant in ["acme", "globex"] {
        push(&cli, tenant, &GRANTS).output();
    }
    set_secret(&cli, "acme", "api_key", "the key of acme\n").output();
    call(&cli, "acme", "probe/remember", r#"["sessions","a","of acme"]"#).output();
    call(&cli, "acme", "probe/store", r#"["photos","a","of acme"]"#).output();
    for (task, input, expected) in [
        ("probe/recall", r#"["sessions","a"]"#, "null"),
        ("probe/recall", r#"["sessions","*"]"#, "null"),
        ("probe/list", r#"["sessions","",10]"#, "[]"),
        ("probe/secret_len", r#""api_key""#, "null"),
    ] {
        assert_eq!(call(&cli, "globex", task, input).output(), expected, "{task} {input}");
    }
    call(&cli, "globex", "probe/size", r#"["photos","a"]"#).fails(1, &["no such object"]);
    for key in ["a", "*", ">"] {
        call(&cli, "globex", "probe/forget", &format!(r#"["sessions","{key}"]"#)).output();
    }
    assert_eq!(cli.run(&["kv", "ls", "sessions", "--tenant", "globex", "--json"]).output(), "[]");
    assert_eq!(cli.run(&["blob", "ls", "photos", "--tenant", "globex", "--json"]).output(), "[]");
    assert_eq!(cli.run(&["secret", "ls", "--tenant", "globex", "--json"]).output(), "[]");
    cli.run(&["secret", "rm", "api_key", "--tenant", "globex"]).fails(2, &["there is no secret"]);
    // All of it is still there for whom it is.
    assert_eq!(call(&cli, "acme", "probe/recall", r#"["sessions","a"]"#).output(), "\"of acme\"");
    assert_eq!(call(&cli, "acme", "probe/load", r#"["photos","a",3,4]"#).output(), "\"acme\"");
    assert_eq!(call(&cli, "acme", "probe/secret_len", "\"api_key\"").output(), "15");
    assert_eq!(cli.run(&["kv", "get", "sessions", "a", "--tenant", "acme"]).output(), "of acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_decides_what_may_be_granted() {
    let (_server, cli) = server().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("allow.toml");
    std::fs::write(&file, "[all]\nkv = { sessions = \"r\" }\n[tenants.acme]\nkv = true\n").unwrap();
    let allow = file.to_str().unwrap();
    let _hosts = ["default", "acme"].map(|tenant| cli.host(&["--tenant", tenant, "--allow", allow]));
    for tenant in ["default", "acme"] {
        push(&cli, tenant, &GRANTS).output();
    }
    call(&cli, "default", "probe/remember", r#"["sessions","a","1"]"#).fails(1, &["not granted"]);
    assert_eq!(call(&cli, "default", "probe/recall", r#"["sessions","a"]"#).output(), "null", "reading is allowed");
    call(&cli, "acme", "probe/remember", r#"["sessions","a","1"]"#).output();
    std::fs::write(&file, "[all]\nfiles = true\n").unwrap();
    cli.run(&["host", "--allow", allow]).fails(2, &["files"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_stands_nowhere_in_the_clear() {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(data.path(), &[]);
    let cli = &dev.cli;
    let key = std::fs::metadata(data.path().join("secrets.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    push(cli, "default", &GRANTS).output();
    set_secret(cli, "default", "api_key", "sk-0123456789abcdef\n").output();
    assert_eq!(cli.run(&["secret", "ls", "--json"]).json()[0]["name"], "api_key");
    assert_eq!(call(cli, "default", "probe/secret_len", "\"api_key\"").output(), "19");
    let mut seen = String::new();
    for how in ["log", "progress", "output", "failure", "panic"] {
        let ended = call(cli, "default", "probe/tell", &format!(r#"["api_key","{how}"]"#));
        seen.push_str(&format!("{}{}", ended.stdout, ended.stderr));
    }
    assert!(seen.contains("[secret api_key]") && seen.contains("not_granted"), "{seen}");
    assert!(!seen.contains("sk-0123456789abcdef"), "{seen}");
    // Neither messages, records, logs and dead letters of the broker nor anything else on disk hold it.
    assert!(holds(data.path(), "api_key"), "the search finds what is there");
    assert!(!holds(data.path(), "sk-0123456789abcdef"));
    for short in ["", "1234567"] {
        set_secret(cli, "default", "api_key", short).fails(2, &["8 to 32768"]);
    }
    cli.run(&["secret", "rm", "api_key"]).output();
    assert_eq!(call(cli, "default", "probe/secret_len", "\"api_key\"").output(), "null");
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_part_of_a_version() {
    let (_server, cli) = server().await;
    let _host = cli.host(&[]);
    assert_eq!(push(&cli, "default", &GRANTS).output(), "probe@1");
    assert_eq!(push(&cli, "default", &GRANTS).output(), "probe@1", "the same again");
    assert_eq!(push(&cli, "default", &[]).output(), "probe@2");
    let shown = cli.run(&["module", "show", "probe@1"]);
    assert!(
        shown.output().contains("grant     kv=sessions:rw\ngrant     blob=photos:rw\ngrant     secret=api_key"),
        "{shown:?}"
    );
    let listed = cli.run(&["module", "ls", "--json"]).json();
    assert_eq!(listed[0]["manifest"]["grants"]["kv"]["sessions"], "rw");
    assert!(listed[1]["manifest"]["grants"].is_null());
    cli.run(&["call", "probe@1/remember", r#"["sessions","a","1"]"#]).output();
    cli.run(&["call", "probe@2/recall", r#"["sessions","a"]"#]).fails(1, &["refused", "not granted"]);
    push(&cli, "default", &["kv=a.b"]).fails(2, &["invalid bucket"]);
    push(&cli, "default", &["files=/"]).fails(2, &["kv=BUCKET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_need_a_key_and_hosts_share_it() {
    let (_server, cli) = server().await;
    let _plain = cli.host(&[]);
    set_secret(&cli, "default", "api_key", "sk-0123456789").fails(3, &["no host", "--secrets-key"]);
    let dir = tempfile::tempdir().unwrap();
    let files = ["one", "other"].map(|name| dir.path().join(name).to_str().unwrap().to_owned());
    for file in &files {
        cli.run(&["secret", "key", file]).output();
        cli.run(&["secret", "key", file]).fails(2, &["failed to make"]);
    }
    let _host = cli.host(&["--secrets-key", &files[0]]);
    cli.run(&["host", "--secrets-key", &files[1]]).fails(2, &["public key", "share one key"]);
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o644)).unwrap();
    cli.run(&["host", "--secrets-key", &files[0]]).fails(2, &["chmod 600"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_and_write_the_same_buckets() {
    let (_server, cli) = server().await;
    assert_eq!(cli.run(&["kv", "put", "s", "a/b c", "{\"n\":1}"]).output(), "1");
    cli.run(&["kv", "put", "s", "a/b c", "x", "--expect", "0"]).fails(2, &["another revision"]);
    assert_eq!(cli.run(&["kv", "put", "s", "a/b c", "y", "--expect", "1"]).output(), "2");
    assert_eq!(cli.run(&["kv", "get", "s", "a/b c", "--json"]).json()["value"], "y");
    cli.run(&["kv", "put", "s", "b", "z"]).output();
    assert_eq!(cli.run(&["kv", "ls", "s", "--prefix", "a"]).output(), "a/b c");
    cli.run(&["kv", "rm", "s", "b"]).output();
    cli.run(&["kv", "rm", "s", "b"]).fails(2, &["no key"]);
    cli.run(&["kv", "get", "s", "b"]).fails(2, &["no key"]);
    cli.run(&["kv", "get", "s.t", "b"]).fails(2, &["invalid bucket"]);
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("file"), dir.path().join("copy"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(&file, &bytes).unwrap();
    cli.run(&["blob", "put", "p", "sea/1.jpg", file.to_str().unwrap()]).output();
    cli.run(&["blob", "get", "p", "sea/1.jpg", copy.to_str().unwrap()]).output();
    assert!(std::fs::read(&copy).unwrap() == bytes);
    let listed = cli.run(&["blob", "ls", "p", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["size"]), (&"sea/1.jpg".into(), &3_000_000.into()));
    cli.run(&["blob", "rm", "p", "sea/1.jpg"]).output();
    cli.run(&["blob", "get", "p", "sea/1.jpg"]).fails(2, &["no object"]);
}

/// Answers every request on a port of its own with the same page, until it is dropped.
async fn page() -> (u16, tokio::task::JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = axum::Router::new().fallback(async || "<title>A page</title>");
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, page).await.unwrap() });
    (port, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_http_needs_its_tenant_and_its_operator() {
    let (_server, cli) = server().await;
    let (port, _serving) = page().await;
    let (rule, dir) = (format!("http://127.0.0.1:{port}"), tempfile::tempdir().unwrap());
    let (file, url) = (dir.path().join("allow.toml"), format!("\"{rule}/a\""));
    std::fs::write(&file, format!("[tenants.acme]\nhttp = [\"{rule}\"]\n")).unwrap();
    let _hosts = ["acme", "globex"].map(|tenant| cli.host(&["--tenant", tenant, "--allow", file.to_str().unwrap()]));
    let note = push_guest(&cli, "acme", "web", &[]);
    assert!(note.stderr.contains("http"), "{}", note.stderr);
    call(&cli, "acme", "web/title", &url).fails(1, &["not_granted", "no grant for GET"]);
    for tenant in ["acme", "globex"] {
        push_guest(&cli, tenant, "web", &[&format!("http=GET {rule}")]).output();
    }
    assert!(call(&cli, "acme", "web/title", &url).output().contains("A page"));
    call(&cli, "acme", "web/request", &format!(r#"{{"url":{url},"method":"POST"}}"#)).fails(1, &["no grant for POST"]);
    call(&cli, "globex", "web/title", &url).fails(1, &["not_granted", "this host does not allow GET"]);
}

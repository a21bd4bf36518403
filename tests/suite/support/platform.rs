//! The platform as its users start it: real processes, a broker of their own, folders that go with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, Weak};

use lovage::broker::nats::server::{Places, find};
use lovage::broker::nats::{Nats, Options};
use lovage::client::Client;
use lovage::model::Tenant;
use tempfile::TempDir;

use super::eventually::eventually_there;
use super::guests;
use super::process::{Process, children, is_alive};

/// The program under test.
pub(crate) const LOVAGE: &str = env!("CARGO_BIN_EXE_lovage");

/// The program with nothing of the developer's own environment but its path, and with compiled modules kept for all tests.
pub(crate) fn lovage() -> Command {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let mut command = Command::new(LOVAGE);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOVAGE_")) {
        command.env_remove(name);
    }
    command.env("LOVAGE_CACHE", cache.join("lovage")).env("XDG_CACHE_HOME", cache);
    command
}

/// The nats-server of this machine.
pub(crate) fn nats_server() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), Into::into);
    find(None, &Places { path: std::env::var_os("PATH"), cache: Some(cache) }).unwrap().path
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a command ended with.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// All of stdout.
    pub(crate) stdout: String,
    /// All of stderr.
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Ended {
    /// Stdout of a command that succeeded, without its line's end.
    pub(crate) fn output(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// Stdout of a command that succeeded, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.output()).unwrap()
    }

    /// Checks that the command failed with this code, and said all of `words` on stderr.
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{self:?}");
    }
}

/// A command line against one broker.
#[derive(Clone, Debug)]
pub(crate) struct Cli {
    /// Where the broker is.
    pub(crate) nats: String,
}

impl Cli {
    /// The command, not yet run.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = lovage();
        command.args(args).env("LOVAGE_NATS", &self.nats);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.command(args).output().unwrap().into()
    }

    /// Uploads a guest that was built from source.
    pub(crate) fn push(&self, guest: &str) {
        self.run(&["module", "push", guest, guests::built(guest).to_str().unwrap()]).output();
    }

    /// Uploads a guest that a test wrote.
    pub(crate) fn push_wat(&self, name: &str, text: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = guests::write(dir.path(), name, text);
        self.run(&["module", "push", name, file.to_str().unwrap()]).output();
    }

    /// Submits a task; its id.
    pub(crate) fn send(&self, args: &[&str]) -> String {
        self.run(&[&["send"], args].concat()).output().to_owned()
    }

    /// Waits for the end of a task, and returns its record.
    pub(crate) fn settled(&self, id: &str) -> serde_json::Value {
        let ended = self.run(&["result", id, "--wait", "--json"]);
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
    }

    /// Where a task is: the `state` of its result.
    pub(crate) fn state(&self, id: &str) -> String {
        let ended = self.run(&["result", id, "--json"]);
        let record: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        record["state"].as_str().unwrap().to_owned()
    }

    /// A host of this broker, with these options, ready.
    pub(crate) fn host(&self, options: &[&str]) -> Process {
        let host = Process::start(&mut self.command(&[&["host"], options].concat()));
        host.line("ready", |line| line.ends_with(" ready"));
        host
    }

    /// A connection of the library's.
    pub(crate) async fn client(&self) -> Client {
        let nats = Nats::connect(Options::new(&self.nats, "test")).await.unwrap();
        Client::new(nats.broker(), Tenant::default_tenant())
    }
}

/// `lovage dev`, ready.
pub(crate) struct Dev {
    /// The process.
    pub(crate) process: Process,
    /// The command line against it.
    pub(crate) cli: Cli,
    /// Host and port of its status pages.
    pub(crate) status: String,
    /// Its data, unless that is the test's own; gone when the process is.
    data: Option<TempDir>,
}

impl Dev {
    /// Starts it on a folder of its own.
    pub(crate) fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut dev = Self::start_in(data.path(), &[]);
        dev.data = Some(data);
        dev
    }

    /// Starts it on a folder.
    pub(crate) fn start_in(data: &Path, options: &[&str]) -> Self {
        let process = Process::start(&mut dev(data, options));
        process.line("ready", |line| line == "ready");
        let after = |title: &str| {
            let line = process.line(title, |line| line.starts_with(title));
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let status = after("status").split('/').nth(2).unwrap().to_owned();
        let cli = Cli { nats: after("broker") };
        Self { process, cli, status, data: None }
    }
}

impl Drop for Dev {
    /// Its broker ends a moment after it, and must not write into a folder that is being removed.
    fn drop(&mut self) {
        let broker = children(self.process.pid());
        self.process.kill();
        eventually_there("the broker ends with its parent", || {
            broker.iter().all(|(pid, _)| !is_alive(*pid)).then_some(())
        });
    }
}

/// `lovage dev` on a folder and free ports, not yet started.
pub(crate) fn dev(data: &Path, options: &[&str]) -> Command {
    let mut command = lovage();
    command.args(["dev", "--port", "0", "--nats-port", "0", "--data"]).arg(data).args(options);
    command.env("LOVAGE_NATS_SERVER", nats_server());
    command
}

/// A platform that tests share which leave it as it was, with hello and probe uploaded. It ends with the last of them.
pub(crate) fn shared() -> Arc<Dev> {
    static SHARED: Mutex<Weak<Dev>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let dev = Arc::new(Dev::start());
        dev.cli.push("hello");
        dev.cli.push("probe");
        *shared = Arc::downgrade(&dev);
        dev
    })
}

//! A nats-server as a child process, for `lovage dev` and for tests.
//!
//! **Invariant:** the child ends with the thread that started it, even if that is killed with -9 (on Linux, with a launcher:
//! see `supervise`); threads of a runtime live as long as the runtime.
//! **Invariant:** it listens on the loopback interface only.

mod binary;
mod supervise;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

pub use binary::{Binary, Places, find};
pub use supervise::{SUPERVISE, supervise};

/// How long a start may take: recovery of a million messages takes about 5 s.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a stop may take before the process is killed: a server with a million subjects took 14 s.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// The pause between two looks whether a starting server listens yet.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// The largest message: 8 MiB, of which inputs below the inline limit take a small part.
const PAYLOAD_MAX: u32 = 8 << 20;

/// Why a server cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No nats-server is installed. The user installs one.
    #[error("find nats-server; {hint}")]
    Missing {
        /// How to install it here.
        hint: &'static str,
    },
    /// It is too old, or no nats-server at all.
    #[error("use {}: {reason}", path.display())]
    Unsuitable {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or a process could not be made.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It did not come up; what it said last is in its log.
    #[error("start nats-server: {reason} (its log is {})", log.display())]
    NotReady {
        /// What was seen.
        reason: String,
        /// Where it logs.
        log: PathBuf,
    },
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program.
    pub binary: Binary,
    /// Where it keeps configuration, streams and log. Made if it is not there.
    pub data_dir: PathBuf,
    /// Where it listens on the loopback interface; 0 for any free port.
    pub port: u16,
    /// This program itself, which runs the server under [`SUPERVISE`] so that it ends with us; `None` to start it directly.
    pub launcher: Option<PathBuf>,
}

/// A nats-server that runs. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    plan: Plan,
    child: Child,
}

impl Server {
    /// Starts a server and returns when it takes connections and JetStream is ready.
    ///
    /// # Errors
    /// What the system or the server says; after 30 s without word the server is killed.
    pub async fn start(plan: Plan) -> Result<Self, Error> {
        let io = |what: String| move |source| Error::Io { what, source };
        std::fs::create_dir_all(&plan.data_dir).map_err(io(format!("make {}", plan.data_dir.display())))?;
        let config = plan.data_dir.join("nats.conf");
        std::fs::write(&config, plan.config()).map_err(io(format!("write {}", config.display())))?;
        let ports = plan.ports_dir();
        // What a server that was killed left behind; if it stays it does no harm until a process id comes round again.
        drop(std::fs::remove_dir_all(&ports));
        std::fs::create_dir_all(&ports).map_err(io(format!("make {}", ports.display())))?;
        let arguments = ["--config".as_ref(), config.as_os_str()];
        let mut command = match &plan.launcher {
            Some(launcher) if cfg!(target_os = "linux") => {
                let mut command = Command::new(launcher);
                command.arg(SUPERVISE).arg(std::process::id().to_string()).arg(&plan.binary.path);
                command
            }
            _ => Command::new(&plan.binary.path),
        };
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        // A group of its own: the interrupt that the terminal sends us must not stop the broker before we have drained.
        command.process_group(0);
        let child = command.spawn().map_err(io(format!("run {}", plan.binary.path.display())))?;
        let mut server = Self { plan, child };
        server.ready().await?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}:{}", Ipv4Addr::LOCALHOST, self.plan.port)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends, by itself or by somebody's doing. Cancel safe.
    ///
    /// # Errors
    /// What the system says.
    pub async fn ended(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to stop, and kills it if it has not after 20 s.
    pub async fn stop(mut self) {
        #[cfg(unix)]
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?)) {
            // If this fails the process is gone already.
            let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            if asked.is_ok() && tokio::time::timeout(STOP_TIME_MAX, self.child.wait()).await.is_ok() {
                return;
            }
        }
        self.kill().await;
    }

    /// Kills it with -9, as a crash would.
    pub async fn kill(&mut self) {
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "kill nats-server");
        }
    }

    /// Starts it again on the same port with the same data, after it was killed or ended.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.kill().await;
        *self = Self::start(self.plan.clone()).await?;
        Ok(())
    }

    /// Waits until the server listens and JetStream answers.
    async fn ready(&mut self) -> Result<(), Error> {
        let log = self.plan.log();
        let failed = |reason: String| Error::NotReady { reason, log: log.clone() };
        let deadline = Instant::now() + START_TIME_MAX;
        let ports = self.plan.ports_file(self.child.id().unwrap_or_default());
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(failed(format!("it ended with {status}: {}", last_error(&log))));
            }
            if let Some(port) = port_of(&ports)
                && is_ready(port).await
            {
                self.plan.port = port;
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(failed(format!("not ready after {} s", START_TIME_MAX.as_secs())));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

impl Plan {
    fn log(&self) -> PathBuf {
        self.data_dir.join("nats.log")
    }

    fn ports_dir(&self) -> PathBuf {
        self.data_dir.join("ports")
    }

    /// Where the server with this process id writes the ports that it listens on.
    fn ports_file(&self, pid: u32) -> PathBuf {
        let program = self.binary.path.file_name().unwrap_or_default().to_string_lossy();
        self.ports_dir().join(format!("{program}_{pid}.ports"))
    }

    /// The configuration. Consumers are not limited per stream (from 2.15 on the default is 1,000; each queue needs one).
    fn config(&self) -> String {
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        let quoted = |path: &Path| serde_json::Value::from(path.display().to_string()).to_string();
        let (store, log, ports) = (quoted(&self.data_dir), quoted(&self.log()), quoted(&self.ports_dir()));
        format!(
            "listen: \"{}:{port}\"\nserver_name: lovage-dev\nmax_payload: {PAYLOAD_MAX}\n\
             log_file: {log}\nlogfile_size_limit: 10MB\nports_file_dir: {ports}\n\
             jetstream {{\n  store_dir: {store}\n  sync_interval: 1s\n  limits {{ default_max_consumers: -1 }}\n}}\n",
            Ipv4Addr::LOCALHOST,
        )
    }
}

/// The port that clients connect to, once the server has written it.
fn port_of(ports: &Path) -> Option<u16> {
    let text = std::fs::read(ports).ok()?;
    let ports: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let address = ports.get("nats")?.get(0)?.as_str()?;
    address.rsplit_once(':')?.1.parse().ok()
}

/// Whether JetStream answers there.
async fn is_ready(port: u16) -> bool {
    let options = super::Options::new(format!("nats://{}:{port}", Ipv4Addr::LOCALHOST), "lovage-start");
    let Ok(nats) = super::Nats::connect(options).await else { return false };
    let ready = nats.link.api::<serde::de::IgnoredAny>("INFO", &serde_json::Value::Null).await.is_ok();
    // The connection served its purpose; a failure to close it in order changes nothing.
    drop(nats.close().await);
    ready
}

/// The last error in a log, or its last line.
fn last_error(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let grave = |line: &&str| line.contains("[FTL]") || line.contains("[ERR]");
    text.lines().rfind(grave).or_else(|| text.lines().last()).unwrap_or("it said nothing").to_owned()
}

//! A process that a test started: what it says is kept, waited for, and shown when a test fails; it ends with the test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use super::eventually::{PATIENCE, eventually_there};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Everything that a process wrote.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// Of stdout and stderr.
    closed: usize,
}

/// A process of a test's own.
pub(crate) struct Process {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Process {
    /// Starts it and listens to its stdout and stderr.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start it");
        let said = Arc::default();
        listen(child.stdout.take().unwrap(), &said);
        listen(child.stderr.take().unwrap(), &said);
        Self { child, said }
    }

    /// Waits for a line that `wanted` accepts, and returns it. Lines that were written before count too.
    pub(crate) fn line(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let (said, changed) = &*self.said;
        let is_missing = |said: &mut Said| !said.lines.iter().any(|line| wanted(line)) && said.closed < 2;
        let (said, _) = changed.wait_timeout_while(said.lock().unwrap(), PATIENCE, is_missing).unwrap();
        let found = said.lines.iter().find(|line| wanted(line)).cloned();
        found.unwrap_or_else(|| panic!("no line {what:?}; it said:\n{}", said.lines.join("\n")))
    }

    /// Whether it has written a line with `words`.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.said.0.lock().unwrap().lines.iter().any(|line| line.contains(words))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it with -9, as a crash would.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually_there("the process ends", || self.child.try_wait().unwrap())
    }

    /// Waits until it has ended; its exit code, and all that it said.
    pub(crate) fn exit(&mut self) -> (i32, String) {
        let status = self.ended();
        let (said, changed) = &*self.said;
        let (said, _) = changed.wait_timeout_while(said.lock().unwrap(), PATIENCE, |said| said.closed < 2).unwrap();
        (status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)), said.lines.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let said = self.said.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let from = said.lines.len().saturating_sub(40);
            eprintln!("--- process {} said last:\n{}\n---", self.child.id(), said.lines[from..].join("\n"));
        }
    }
}

/// Keeps the lines of a stream until it closes. The thread ends with the process.
fn listen(stream: impl Read + Send + 'static, said: &Arc<(Mutex<Said>, Condvar)>) {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            said.0.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
            said.1.notify_all();
        }
        said.0.lock().unwrap().closed += 1;
        said.1.notify_all();
    });
}

/// Whether there is a process with this id.
pub(crate) fn is_alive(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has ended; who should have waited for it is another matter.
    let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    !zombie && test_kill_process(pid).is_ok()
}

/// The processes whose parent is `parent`, each with its command line.
pub(crate) fn children(parent: u32) -> Vec<(u32, String)> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let child = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let of: u32 = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        (of == parent).then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
    };
    pids.filter_map(child).collect()
}

/// Status and body of an HTTP page.
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    let (head, body) = fetch(address, path);
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// The headers of an HTTP page.
pub(crate) fn head(address: &str, path: &str) -> String {
    fetch(address, path).0
}

fn fetch(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

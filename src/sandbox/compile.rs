//! Compilation, in a child process that can be killed: both ends of it.
//!
//! The child is this binary under a hidden subcommand: Wasm on stdin, the artifact on stdout, what went wrong on stderr.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::artifact::Build;
use super::config::Compiler;
use super::confine::confine;
use super::engine;
use super::error::Error;
use super::inspect::MODULE_BYTES_MAX;
use super::rejection::Rejection;
use crate::model::{Contract, EngineClass};

/// The largest artifact: 43 MB were measured for a module of 12 MB.
const ARTIFACT_BYTES_MAX: u64 = 512 << 20;

/// Open files of the child: its three pipes, and what the system's libraries look at when they start.
const OPEN_FILES_MAX: u64 = 32;

/// What is read of the compiler's complaints.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// The child's exit code for a module that does not compile (EX_DATAERR).
const EXIT_REFUSED: u8 = 65;

/// Arguments of the hidden subcommand `lovage compile-module`, in this order.
const ARGUMENTS: [&str; 4] = ["--component", "--class", "--cpu-seconds", "--memory-bytes"];

/// What a compilation took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compilation {
    /// Wall-clock time, in milliseconds.
    pub duration_ms: u64,
    /// The most memory that the compiler held, where the system tells.
    pub memory_peak_bytes: Option<u64>,
    /// Whether the compiler could reach nothing of the system, as `confine` says it.
    pub confined: bool,
    /// Bytes of machine code.
    pub artifact_bytes: u64,
}

/// Compiles `wasm` in a child process.
///
/// # Errors
/// A rejection when the module is at fault or takes too much, else what kept the child from running.
pub(super) async fn compile(compiler: &Compiler, build: &Build, wasm: &[u8]) -> Result<(Vec<u8>, Compilation), Error> {
    let began = Instant::now();
    let mut child = spawn(compiler, build)?;
    let work = tokio::time::timeout(compiler.wall, converse(&mut child, wasm));
    let Ok(conversation) = work.await else {
        // Dropping the child kills it. It had not used up its CPU time, so that the machine is to blame, not the module.
        return Err(Error::io("compile a module in time")(std::io::ErrorKind::TimedOut.into()));
    };
    let (artifact, complaint, status) = conversation.map_err(Error::io("talk to the compiler"))?;
    if status.success() && artifact.len() as u64 <= ARTIFACT_BYTES_MAX {
        let status = String::from_utf8_lossy(&complaint);
        let compilation = Compilation {
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            memory_peak_bytes: memory_peak(&status),
            confined: is_confined(&status),
            artifact_bytes: artifact.len() as u64,
        };
        if !compilation.confined {
            tracing::warn!("compilers are not confined: this system has no filters for system calls");
        }
        return Ok((artifact, compilation));
    }
    Err(rejection(compiler, status, &artifact, &complaint).into())
}

fn spawn(compiler: &Compiler, build: &Build) -> Result<Child, Error> {
    let is_component = build.contract != Contract::Command;
    let Compiler { cpu_seconds, memory_bytes, .. } = compiler;
    let limits = [cpu_seconds.to_string(), memory_bytes.to_string()];
    let values = [is_component.to_string(), build.class.as_str().to_owned()].into_iter().chain(limits);
    let mut command = Command::new(&compiler.program);
    command.args(&compiler.args);
    for (name, value) in ARGUMENTS.iter().zip(values) {
        command.arg(name).arg(value);
    }
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().map_err(Error::io("start the compiler"))
}

async fn converse(child: &mut Child, wasm: &[u8]) -> std::io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A compiler that dies early closes the pipe; its status says why.
            stdin.write_all(wasm).await.ok();
        }
    };
    let read = async {
        let mut artifact = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(ARTIFACT_BYTES_MAX + 1).read_to_end(&mut artifact).await?;
        }
        Ok::<_, std::io::Error>(artifact)
    };
    let listen = async {
        let mut complaint = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint).await?;
        }
        Ok::<_, std::io::Error>(complaint)
    };
    let ((), artifact, complaint) = tokio::join!(feed, read, listen);
    Ok((artifact?, complaint?, child.wait().await?))
}

fn rejection(compiler: &Compiler, status: ExitStatus, artifact: &[u8], complaint: &[u8]) -> Rejection {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    if artifact.len() as u64 > ARTIFACT_BYTES_MAX {
        return Rejection::CompileLimit { limit: format!("{} MiB of machine code", ARTIFACT_BYTES_MAX >> 20) };
    }
    if status.code() == Some(EXIT_REFUSED.into()) {
        return Rejection::DoesNotCompile { message: String::from_utf8_lossy(complaint).trim().to_owned() };
    }
    // The compiler aborts when memory runs out; nothing else is known to end it.
    let limit = match status.signal() {
        Some(SIGKILL | SIGXCPU) => format!("{} s of CPU", compiler.cpu_seconds),
        Some(_) => format!("{} MiB", compiler.memory_bytes >> 20),
        None => {
            let complaint = String::from_utf8_lossy(complaint);
            return Rejection::DoesNotCompile { message: format!("{status}: {}", complaint.trim()) };
        }
    };
    Rejection::CompileLimit { limit }
}

/// The child: limits itself, then compiles stdin to stdout. It must be called before the process has other threads.
#[must_use]
pub fn compile_child(args: impl Iterator<Item = String>) -> ExitCode {
    match compile_stdin(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // There is nowhere left to say that stderr is closed.
            writeln!(std::io::stderr(), "{message}").ok();
            ExitCode::from(EXIT_REFUSED)
        }
    }
}

fn compile_stdin(args: impl Iterator<Item = String>) -> Result<(), String> {
    let given: Vec<String> = args.collect();
    let text = |name: &str| -> Result<&str, String> {
        let at = given.iter().position(|arg| arg == name).ok_or_else(|| format!("{name} is missing"))?;
        Ok(given.get(at.saturating_add(1)).map_or("", String::as_str))
    };
    let number = |name: &str| text(name)?.parse::<u64>().map_err(|_| format!("{name} takes a number"));
    let [component, class, cpu_seconds, memory_bytes] = ARGUMENTS;
    let is_component = text(component)? == "true";
    let class = EngineClass::named(text(class)?).ok_or_else(|| format!("{class} takes a class of engines"))?;
    limit(number(cpu_seconds)?, number(memory_bytes)?)
        .map_err(|error| format!("set the compiler's limits: {error}"))?;
    let mut wasm = Vec::new();
    let most = MODULE_BYTES_MAX as u64 + 1;
    std::io::stdin().take(most).read_to_end(&mut wasm).map_err(|error| format!("read the module: {error}"))?;
    let engine = engine::compiling(class).map_err(|error| error.to_string())?;
    // What the system says at the end is read through what is opened now.
    let mut status = File::open(STATUS);
    // A system that cannot do it says so in its status, and the host warns.
    drop(confine());
    let compiled = if is_component { engine.precompile_component(&wasm) } else { engine.precompile_module(&wasm) };
    let artifact = compiled.map_err(|error| format!("{error:#}"))?;
    let mut said = Vec::new();
    // Nobody needs to know it.
    if status.as_mut().is_ok_and(|status| status.read_to_end(&mut said).is_ok()) {
        std::io::stderr().write_all(&said).ok();
    }
    std::io::stdout().write_all(&artifact).map_err(|error| format!("write the artifact: {error}"))
}

/// Where Linux tells a process of itself; on success that is what the child says on stderr.
const STATUS: &str = "/proc/self/status";

/// Whether a filter stands between a process and the system, from what it says of itself.
fn is_confined(status: &str) -> bool {
    const FILTERED: &str = "2";
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == FILTERED))
}

/// The most memory that a process held, from what it says of itself.
fn memory_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// Bounds this process for ever: hard limits cannot be raised again.
fn limit(cpu_seconds: u64, memory_bytes: u64) -> rustix::io::Result<()> {
    let both = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, both(0))?;
    // It writes to a pipe, and opens next to nothing.
    setrlimit(Resource::Fsize, both(0))?;
    setrlimit(Resource::Nofile, both(OPEN_FILES_MAX))?;
    setrlimit(Resource::Cpu, both(cpu_seconds))?;
    setrlimit(Resource::As, both(memory_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_from_what_the_system_says() {
        assert!(is_confined("Name:\tx\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        for none in ["", "Seccomp:\t0\n", "Seccomp:\t1\n", "Seccomp_filters:\t2\n"] {
            assert!(!is_confined(none), "{none:?}");
        }
    }

    #[test]
    fn the_peak_of_memory_is_read_from_what_the_system_says() {
        assert_eq!(memory_peak("Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n"), Some(12_345 << 10));
        for nothing in ["", "VmHWM:", "VmHWM:\t5 MB", "VmHWM: x kB", "VmHWM: 99999999999999999999 kB"] {
            assert_eq!(memory_peak(nothing), None, "{nothing:?}");
        }
    }
}

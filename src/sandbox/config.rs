//! What a sandbox is made with.

use std::path::PathBuf;
use std::time::Duration;

use super::http::HttpConfig;

/// One sandbox: how much it runs at once and what it keeps.
#[derive(Clone, Debug)]
pub struct Config {
    /// Invocations at the same time: the size of the pool of instances, and of the semaphore before it.
    pub slots: u32,
    /// How many of them one tenant may have at a time; `None` is all of them, for a host that serves one tenant. Where there are
    /// several, a few less than all keep a tenant with long tasks from taking the whole pool.
    pub tenant_slots_max: Option<u32>,
    /// Threads that run guests; the caller's own threads never do.
    pub threads: usize,
    /// The most linear memory that any invocation's limits may ask for; the pool reserves address space for it.
    pub memory_bytes_max: u64,
    /// The private directory of compiled artifacts; it is made if it is missing.
    pub cache_dir: PathBuf,
    /// Bytes of artifacts on disk; the least recently loaded ones are removed above it.
    pub cache_bytes_max: u64,
    /// Loaded modules that are kept mapped.
    pub hot_modules_max: usize,
    /// Bytes of artifacts that are kept mapped.
    pub hot_bytes_max: u64,
    /// How guests' requests over HTTP leave the host, where grants allow any.
    pub http: HttpConfig,
    /// The process that compiles modules.
    pub compiler: Compiler,
}

impl Config {
    /// The settings of a host with `slots` slots on `threads` threads.
    #[must_use]
    pub fn new(slots: u32, threads: usize, cache_dir: PathBuf, compiler: Compiler) -> Self {
        Self {
            slots,
            tenant_slots_max: None,
            threads,
            memory_bytes_max: MEMORY_BYTES_MAX,
            cache_dir,
            cache_bytes_max: CACHE_BYTES_MAX,
            hot_modules_max: HOT_MODULES_MAX,
            hot_bytes_max: HOT_BYTES_MAX,
            http: HttpConfig::default(),
            compiler,
        }
    }
}

/// The child process that compiles: 17 KB of Wasm can take 14 s and 1.8 GiB, and running out of memory aborts it.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The program: this binary.
    pub program: PathBuf,
    /// What stands before the arguments that the sandbox gives: the hidden subcommand's name.
    pub args: Vec<String>,
    /// CPU time of one compilation.
    pub cpu_seconds: u64,
    /// Address space of one compilation.
    pub memory_bytes: u64,
    /// Wall-clock time of one compilation, for a machine that is too busy to give it its CPU time.
    pub wall: Duration,
}

impl Compiler {
    /// A compiler with the default limits: the largest measured modules (CPython, and 12 MB of JavaScript engine) take 12 to 34 s
    /// and 430 MiB, and an edge node is some times slower.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            args: vec!["compile-module".to_owned()],
            cpu_seconds: 120,
            memory_bytes: 3 << 30,
            wall: Duration::from_secs(300),
        }
    }
}

/// What the pool reserves for each memory: address space only, and more than any measured toolchain needs.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// About a hundred artifacts of interpreters (40 MB each), thousands of the common size.
const CACHE_BYTES_MAX: u64 = 4 << 30;

/// Loading from disk takes 50 us to 2 ms, so that this only has to cover what is called often.
const HOT_MODULES_MAX: usize = 1_000;

/// Mapped from files: clean pages, which the system takes back when it needs them.
const HOT_BYTES_MAX: u64 = 1 << 30;

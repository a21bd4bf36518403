//! The command line: reads arguments, wires the parts together, prints.
//!
//! **Invariant:** outputs go to stdout, one line of JSON, last; everything else goes to stderr.
//! **Invariant:** exit codes are 0 fine, 1 the task failed, 2 wrong use, 3 the platform could not.
//! **Invariant:** besides `main`, only this module names `broker::nats`, reads the environment or ends the process.

mod bar;
mod batch;
mod blob;
mod ceiling;
mod connect;
mod coordinator;
mod dead;
mod dev;
mod events;
mod exec;
mod fault;
mod flow;
mod follow;
mod gather;
mod host;
mod hosts;
mod input;
mod inspect;
mod interrupt;
mod keys;
mod kv;
mod limits;
mod logs;
mod module;
mod new;
mod output;
mod queue;
mod queue_watch;
mod run;
mod runs;
mod sandbox;
mod schedule;
mod screen;
mod secret;
mod signals;
mod status;
mod submit;
mod task;
mod tree;
mod webhook;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFormat};
use connect::{Connect, Listing};
pub use fault::Fault;

/// Upload a Wasm module, call it like a function from anywhere.
#[derive(Parser)]
#[command(name = "lovage", version, propagate_version = true)]
struct Args {
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value_t, env = "LOVAGE_LOG_FORMAT")]
    log_format: LogFormat,

    /// Which log lines are written, as in `info,lovage=debug`.
    #[arg(long, global = true, env = "LOVAGE_LOG")]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole platform on this machine: broker, coordinator and hosts.
    Dev(dev::Dev),
    /// A host: runs tasks from a broker elsewhere.
    Host(host::HostArgs),
    /// A coordinator: advances runs of a broker elsewhere.
    Coordinator(coordinator::CoordinatorArgs),
    /// Write a ready project in a language of your choice.
    New(new::New),
    /// Upload, list and examine modules.
    #[command(subcommand)]
    Module(module::Module),
    /// Submit a task, show its progress and logs, print its output.
    Call(task::Call),
    /// Submit a task and print its id.
    Send(task::Send),
    /// List batches, and show how far they are.
    #[command(subcommand)]
    Batch(batch::Batches),
    /// Print the output of a task.
    Result(task::ResultArgs),
    /// Cancel a task.
    Cancel(task::Cancel),
    /// Print the log of a task, of a run's steps, or of one step.
    Logs(logs::Logs),
    /// See what happens to tasks, runs, schedules and hosts, live or afterwards.
    Events(events::Events),
    /// See what runs and waits under limits across the fleet.
    #[command(subcommand)]
    Limits(limits::Limits),
    /// See, pause, limit and purge queues.
    #[command(subcommand)]
    Queue(queue::Queue),
    /// See what hosts do, and let them leave.
    #[command(subcommand)]
    Hosts(hosts::Hosts),
    /// List, send again and drop tasks that have failed for good.
    #[command(subcommand)]
    Dead(dead::Dead),
    /// Check and draw flow documents.
    #[command(subcommand)]
    Flow(flow::Flow),
    /// Start a run of a flow, show its steps live, print its output.
    Run(run::RunArgs),
    /// List, show and control runs.
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Start tasks and flows again and again, or once at a time.
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    /// Read and write the keys and values that modules are granted.
    #[command(subcommand)]
    Kv(kv::Kv),
    /// Read and write the objects that modules are granted.
    #[command(subcommand)]
    Blob(blob::Blob),
    /// Set, list and remove the secrets that modules are granted.
    #[command(subcommand)]
    Secret(secret::Secret),
    /// Tell receivers outside how tasks and runs end.
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Run a module or a flow in this process, without a server.
    Exec(exec::Exec),
}

/// Runs the command line and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let mut raw = std::env::args_os().skip(1);
    match raw.next().as_deref().and_then(|first| first.to_str()) {
        Some("compile-module") => {
            let rest = raw.map(|arg| arg.to_string_lossy().into_owned());
            return crate::sandbox::compile_child(rest);
        }
        Some(crate::broker::nats::server::SUPERVISE) => {
            let error = crate::broker::nats::server::supervise(raw);
            return Fault::platform(format!("failed to run the broker: {error}")).report();
        }
        _ => {}
    }
    let args = Args::parse();
    let quiet = !matches!(args.command, Command::Dev(_) | Command::Host(_) | Command::Coordinator(_));
    let filter = args.log.as_deref().unwrap_or(if quiet { "warn,async_nats=error" } else { "info,async_nats=warn" });
    telemetry::init(args.log_format, filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Fault::platform(format!("failed to start: {error}")).report(),
    };
    let result = runtime.block_on(run(args.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(),
    }
}

async fn run(command: Command) -> Result<(), Fault> {
    // Each command is a large state machine; on the heap none of them weighs on the others.
    match command {
        Command::Dev(dev) => Box::pin(dev.run()).await,
        Command::Host(host) => Box::pin(host.run()).await,
        Command::Coordinator(coordinator) => Box::pin(coordinator.run()).await,
        Command::New(new) => new.run(),
        Command::Module(module) => Box::pin(module.run()).await,
        Command::Call(call) => Box::pin(call.run()).await,
        Command::Send(send) => Box::pin(send.run()).await,
        Command::Batch(batch) => Box::pin(batch.run()).await,
        Command::Result(result) => Box::pin(result.run()).await,
        Command::Cancel(cancel) => Box::pin(cancel.run()).await,
        Command::Logs(logs) => Box::pin(logs.run()).await,
        Command::Limits(limits) => Box::pin(limits.run()).await,
        Command::Events(events) => Box::pin(events.run()).await,
        Command::Queue(queue) => Box::pin(queue.run()).await,
        Command::Hosts(hosts) => Box::pin(hosts.run()).await,
        Command::Dead(dead) => Box::pin(dead.run()).await,
        Command::Flow(flow) => Box::pin(flow.run()).await,
        Command::Run(run) => Box::pin(run.run()).await,
        Command::Runs(runs) => Box::pin(runs.run()).await,
        Command::Schedule(schedule) => Box::pin(schedule.run()).await,
        Command::Kv(kv) => Box::pin(kv.run()).await,
        Command::Blob(blob) => Box::pin(blob.run()).await,
        Command::Secret(secret) => Box::pin(secret.run()).await,
        Command::Webhook(webhook) => Box::pin(webhook.run()).await,
        Command::Exec(exec) => Box::pin(exec.run()).await,
    }
}

/// A folder of the user's: `$<variable>/lovage`, else `~/<below>/lovage`, else one below the current folder.
#[expect(clippy::disallowed_methods, reason = "configuration is read here, once")]
fn user_dir(variable: &str, below: &str) -> PathBuf {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set(variable).or_else(|| set("HOME").map(|home| home.join(below)));
    base.unwrap_or_else(|| PathBuf::from(".")).join("lovage")
}

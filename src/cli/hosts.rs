//! `lovage hosts`: which hosts there are, what they do, and asking them to leave.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{Connect, Fault, output};
use crate::client::{Client, Error};
use crate::model::signature::parse_label;
use crate::model::time::{format_duration, parse_duration};
use crate::model::{HostId, Timestamp};
use crate::protocol::host::{Capacity, Done, HostDetail, HostLoading, HostRecord, HostTask};

/// See and drain hosts.
#[derive(Subcommand)]
pub(super) enum Hosts {
    /// List hosts; one that was killed is gone within five seconds.
    Ls(Ls),
    /// Show what a host does now.
    #[command(alias = "inspect")]
    Show(Show),
    /// Let hosts finish what runs, hand back the rest, and leave.
    Drain(DrainArgs),
}

/// List hosts.
#[derive(Args)]
pub(super) struct Ls {
    /// Only hosts with this label; repeat it for more.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,

    /// Print JSON, a host a line.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Show a host.
#[derive(Args)]
pub(super) struct Show {
    /// The host.
    id: HostId,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Drain hosts.
#[derive(Args)]
pub(super) struct DrainArgs {
    /// The hosts.
    #[arg(required_unless_present_any = ["all", "labels"], conflicts_with_all = ["all", "labels"])]
    ids: Vec<HostId>,

    /// All hosts.
    #[arg(long)]
    all: bool,

    /// All hosts with this label; repeat it for those that have several.
    #[arg(long = "label", value_name = "K=V", value_parser = parse_label)]
    labels: Vec<(String, String)>,

    /// How long running tasks may go on; the hosts' own --drain where it is not given. A later word sets another one.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    deadline: Option<Duration>,

    /// Do not wait until they have left.
    #[arg(long)]
    detach: bool,

    #[command(flatten)]
    connect: Connect,
}

impl Hosts {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Ls(ls) => ls.run().await,
            Self::Show(show) => show.run().await,
            Self::Drain(drain) => drain.run().await,
        }
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let hosts = client.hosts(&self.labels.into_iter().collect()).await?;
        let now = client.broker().clock.now();
        if self.json {
            return hosts.iter().try_for_each(|host| output::json(&whole(host, now)));
        }
        let row = |host: &HostRecord| {
            let [slots, running, reserved] = [host.slots, host.running, host.reserved].map(|number| number.to_string());
            vec![
                host.id.to_string(),
                host.name.clone(),
                host.state.as_str().to_owned(),
                pairs(&host.labels),
                queues(host),
                slots,
                running,
                reserved,
                host.version.clone(),
                uptime(host, now),
            ]
        };
        let rows: Vec<Vec<String>> = hosts.iter().map(row).collect();
        let head = ["ID", "NAME", "STATE", "LABELS", "QUEUES", "SLOTS", "RUNNING", "RESERVED", "VERSION", "UPTIME"];
        output::table(&head, &rows)
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// As `--queues` takes them.
fn queues(host: &HostRecord) -> String {
    let one = |(queue, weight): (&crate::model::Queue, &u32)| match weight {
        1 => queue.to_string(),
        _ => format!("{queue}={weight}"),
    };
    host.queues.iter().map(one).collect::<Vec<_>>().join(",")
}

/// In whole seconds.
fn uptime(host: &HostRecord, now: Timestamp) -> String {
    format_duration(Duration::from_secs(now.since(host.started).as_secs()))
}

fn whole(host: &HostRecord, now: Timestamp) -> Json {
    let HostRecord { id, tenant, name, labels, queues, state, slots, running, reserved, version, .. } = host;
    json!({
        "id": id, "name": name, "tenant": tenant, "state": state, "labels": labels, "queues": queues, "slots": slots,
        "running": running, "reserved": reserved, "version": version, "started": host.started.to_string(),
        "uptime_ms": u64::try_from(now.since(host.started).as_millis()).unwrap_or(u64::MAX),
        "memory_bytes": host.memory_bytes,
    })
}

impl Show {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let detail = client.host(&self.id).await?;
        let now = client.broker().clock.now();
        if self.json {
            return output::json(&whole_detail(&detail, now));
        }
        lines(&detail, now).iter().try_for_each(|line| output::line(line))?;
        if detail.tasks.is_empty() {
            return Ok(());
        }
        let row = |task: &HostTask| {
            let state = if task.running { "running" } else { "reserved" };
            let texts = [task.id.clone(), task.task.to_string(), task.tenant.to_string(), task.queue.to_string()];
            let rest = [
                task.attempt.to_string(),
                state.to_owned(),
                format_duration(now.since(task.since)),
                output::size(task.memory_bytes),
            ];
            [texts, rest].concat()
        };
        let rows: Vec<Vec<String>> = detail.tasks.iter().map(row).collect();
        output::table(&["TASK ID", "TASK", "TENANT", "QUEUE", "ATTEMPT", "STATE", "FOR", "MEMORY"], &rows)?;
        match detail.tasks_left_out {
            0 => Ok(()),
            more => output::line(&format!("and {more} more")),
        }
    }
}

fn whole_detail(detail: &HostDetail, now: Timestamp) -> Json {
    let task = |task: &HostTask| {
        json!({
            "id": task.id, "task": task.task.to_string(), "tenant": task.tenant, "queue": task.queue,
            "attempt": task.attempt, "state": if task.running { "running" } else { "reserved" },
            "since": task.since.to_string(), "memory_bytes": task.memory_bytes,
        })
    };
    let loading = |HostLoading { module, version, size, since, tasks }: &HostLoading| json!({"module": module, "version": version, "size": size, "since": since.to_string(), "tasks": tasks});
    let tasks: Vec<Json> = detail.tasks.iter().map(task).collect();
    json!({
        "host": whole(&detail.host, now), "tasks": tasks, "tasks_left_out": detail.tasks_left_out,
        "loading": detail.loading.iter().map(loading).collect::<Vec<_>>(), "done": detail.done,
        "capacity": detail.capacity,
    })
}

fn lines(HostDetail { host, loading, done, capacity, .. }: &HostDetail, now: Timestamp) -> Vec<String> {
    let Capacity { slots_free, cores, task_memory_bytes_max, attempt_timeout_ms_max, hot_modules, hot_bytes } =
        capacity;
    let mut lines = vec![
        format!(
            "{}: {} on {}, up for {}, version {}",
            host.id,
            host.state.as_str(),
            host.name,
            uptime(host, now),
            host.version
        ),
        format!("tenant {}, queues {}, labels {}", host.tenant, queues(host), pairs(&host.labels)),
        format!(
            "{} of {} slots run, {} more tasks reserved, {slots_free} free",
            host.running, host.slots, host.reserved
        ),
        format!(
            "{cores} cores, {} of memory in use, {} at most for a task, {} at most for an attempt",
            output::size(host.memory_bytes),
            output::size(*task_memory_bytes_max),
            format_duration(Duration::from_millis(*attempt_timeout_ms_max)),
        ),
        format!("{hot_modules} modules loaded, {} of machine code", output::size(*hot_bytes)),
    ];
    for HostLoading { module, version, size, since, tasks } in loading {
        let since = format_duration(Duration::from_secs(now.since(*since).as_secs()));
        lines.push(format!(
            "compiling {module}@{version}, {}, for {since}: {tasks} tasks wait for it",
            output::size(*size)
        ));
    }
    for (queue, Done { attempts, failed, busy_us, last_failure, .. }) in done {
        let busy = format_duration(Duration::from_millis(busy_us / 1_000));
        let last = if last_failure.is_empty() { String::new() } else { format!(", the last by {last_failure}") };
        lines.push(format!("queue {queue}: {attempts} attempts in {busy}, {failed} failed{last}"));
    }
    lines.iter().map(|line| crate::protocol::note::printable(line)).collect()
}

impl DrainArgs {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let ids = if self.ids.is_empty() {
            let labels = self.labels.iter().cloned().collect();
            client.hosts(&labels).await?.into_iter().map(|host| host.id).collect()
        } else {
            self.known(&client).await?
        };
        if ids.is_empty() {
            return Err(Fault::usage("no host fits").hint("`lovage hosts ls` lists what there is"));
        }
        for id in &ids {
            let host = client.drain_host(id, self.deadline).await?;
            eprintln!("{id} drains, {} tasks in hand", host.running.saturating_add(host.reserved));
        }
        if self.detach {
            return Ok(());
        }
        for id in &ids {
            client.host_left(id, &mut |_| {}).await?;
            eprintln!("{id} has left");
        }
        Ok(())
    }

    /// The hosts that were named: all are looked at before any is told to leave.
    async fn known(&self, client: &Client) -> Result<Vec<HostId>, Fault> {
        let hosts = client.hosts(&BTreeMap::new()).await?;
        match self.ids.iter().find(|id| hosts.iter().all(|host| host.id != **id)) {
            Some(unknown) => Err(Error::HostNotFound(unknown.clone()).into()),
            None => Ok(self.ids.clone()),
        }
    }
}

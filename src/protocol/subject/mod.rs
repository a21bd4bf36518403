//! Subjects: built from checked names, and read back from what the broker delivers.
//!
//! The tenant is the second token of each, so that one export serves all tenants. Nothing else in a message names a tenant.
//!
//! `<key>` is the id of a single task, or `<run>.<step>.<attempt>` ([`TaskKey`]).
//!
//! **Invariant:** what is read is written the same, and two keys never share a subject.

mod band;
mod run;

pub use band::{Band, PRIORITY_DEFAULT, Priority};
pub use run::{
    RecordName, RecordSubject, later_cancels, later_ends, partition_records, run_records, run_retries,
    run_tasks_anywhere, run_timers, step_logs, step_progress, step_tasks_anywhere, step_timers, timer,
};

use crate::model::{FlowName, Mark, ModuleName, Queue, ScheduleName, TaskId, TaskKey, Tenant, Version};

/// Where a task waits: everything that its subject says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskSubject {
    /// Whose task it is.
    pub tenant: Tenant,
    /// The queue that it waits in.
    pub queue: Queue,
    /// Its priority in the queue.
    pub priority: Priority,
    /// What it requires of its host, if anything.
    pub mark: Option<Mark>,
    /// The task.
    pub key: TaskKey,
}

impl TaskSubject {
    /// `lvg.<t>.task.<queue>.<band>.<key>`: queued, delivered to hosts.
    #[must_use]
    pub fn task(&self) -> String {
        format!("lvg.{}.task.{}.{}.{}", self.tenant, self.queue, self.band(), self.key)
    }

    /// `lvg.<t>.fire.<queue>.<band>.<key>`: due, to be moved to the task's subject.
    #[must_use]
    pub fn fire(&self) -> String {
        format!("lvg.{}.fire.{}.{}.{}", self.tenant, self.queue, self.band(), self.key)
    }

    /// Its band in the queue.
    #[must_use]
    pub fn band(&self) -> Band {
        Band { priority: self.priority, mark: self.mark.clone() }
    }

    /// Reads a `task` or a `fire` subject.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("lvg.")?.splitn(5, '.');
        let (tenant, "task" | "fire", queue, band, key) =
            (tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?, tokens.next()?)
        else {
            return None;
        };
        let Band { priority, mark } = Band::read(band)?;
        Some(Self {
            tenant: tenant.parse().ok()?,
            queue: queue.parse().ok()?,
            priority,
            mark,
            key: TaskKey::read(key)?,
        })
    }
}

/// `lvg.<t>.task.*.*.<key>`: the task wherever it is queued.
#[must_use]
pub fn task_anywhere(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.task.*.*.{}", key.into())
}

/// `lvg.<t>.fire.*.*.<key>`: the task once it is due.
#[must_use]
pub fn fire_anywhere(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.fire.*.*.{}", key.into())
}

/// `lvg.<t>.task.<queue>.<band>.>`: all tasks of a band of a queue.
#[must_use]
pub fn band_tasks(tenant: &Tenant, queue: &Queue, band: &Band) -> String {
    format!("lvg.{tenant}.task.{queue}.{band}.>")
}

/// `lvg.<t>.task.>`: all queued tasks of a tenant.
#[must_use]
pub fn tenant_tasks(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.task.>")
}

/// `lvg.<t>.task.<queue>.>`: all tasks of a queue.
#[must_use]
pub fn queue_tasks(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.task.{queue}.>")
}

/// `lvg.<t>.sched.<key>`: the schedule that a delayed or retried task waits in.
#[must_use]
pub fn schedule(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.sched.{}", key.into())
}

/// `lvg.<t>.res.<id>`: the task's state and outcome; a waiting caller is subscribed to it.
#[must_use]
pub fn result(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.res.{id}")
}

/// `lvg.<t>.log.<key>`: the guest's log lines.
#[must_use]
pub fn log(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.log.{}", key.into())
}

/// `lvg.<t>.ev.progress.<key>`: the guest's progress.
#[must_use]
pub fn progress(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.ev.progress.{}", key.into())
}

/// `lvg.<t>.ev.running.<key>`: that its guest begins, said while somebody looks.
#[must_use]
pub fn running(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.{tenant}.ev.running.{}", key.into())
}

/// `lvg.<t>.task.>`: all queued tasks of a tenant.
#[must_use]
pub fn tasks(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.task.>")
}

/// `lvg.<t>.sched.>`: all delayed and retried tasks of a tenant.
#[must_use]
pub fn schedules(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.sched.>")
}

/// `lvg.<t>.ev.handback.<key>`: how often hosts handed the task back when they were stopped.
#[must_use]
pub fn hand_backs(tenant: &Tenant, key: &TaskKey) -> String {
    format!("lvg.{tenant}.ev.handback.{key}")
}

/// `lvg.<t>.module.<name>.<version>`: the record of a version, its dots written as `~`, since a dot ends a token.
#[must_use]
pub fn module(tenant: &Tenant, name: &ModuleName, version: &Version) -> String {
    format!("lvg.{tenant}.module.{name}.{}", version.as_str().replace('.', "~"))
}

/// `lvg.<t>.module.<name>.*`: all versions of a module.
#[must_use]
pub fn module_versions(tenant: &Tenant, name: &ModuleName) -> String {
    format!("lvg.{tenant}.module.{name}.*")
}

/// `lvg.<t>.module.>`: all modules of a tenant.
#[must_use]
pub fn modules(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.module.>")
}

/// `lvg.<t>.flow.<name>.<version>`: the record of a version of a flow, its dots written as `~`.
#[must_use]
pub fn flow(tenant: &Tenant, name: &FlowName, version: &Version) -> String {
    format!("lvg.{tenant}.flow.{name}.{}", version.as_str().replace('.', "~"))
}

/// `lvg.<t>.flow.<name>.*`: all versions of a flow.
#[must_use]
pub fn flow_versions(tenant: &Tenant, name: &FlowName) -> String {
    format!("lvg.{tenant}.flow.{name}.*")
}

/// `lvg.<t>.flow.>`: all flows of a tenant.
#[must_use]
pub fn flows(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.flow.>")
}

/// `lvg.<t>.schedule.<name>`: a schedule: what starts, when, and how far it is.
#[must_use]
pub fn recurring(tenant: &Tenant, name: &ScheduleName) -> String {
    format!("lvg.{tenant}.schedule.{name}")
}

/// `lvg.<t>.schedule.*`: all schedules of a tenant.
#[must_use]
pub fn all_recurring(tenant: &Tenant) -> String {
    format!("lvg.{tenant}.schedule.*")
}

/// `lvg.*.schedule.*`: all schedules.
pub const RECURRING: &str = "lvg.*.schedule.*";

/// Reads the subject of a schedule.
#[must_use]
pub fn read_recurring(subject: &str) -> Option<(Tenant, ScheduleName)> {
    let (tenant, name) = subject.strip_prefix("lvg.")?.split_once(".schedule.")?;
    Some((tenant.parse().ok()?, name.parse().ok()?))
}

/// `lvg.ctl.coordinator.*`: the heartbeats of all coordinators, one a second of each that lives.
pub const COORDINATOR_HEARTBEATS: &str = "lvg.ctl.coordinator.*";

/// `lvg.ctl.*.<t>.>`: all words to the hosts of a tenant.
#[must_use]
pub fn control(tenant: &Tenant) -> String {
    format!("lvg.ctl.*.{tenant}.>")
}

/// `lvg.ctl.cancel.<t>.<key>`: to hosts: stop this task.
#[must_use]
pub fn cancel(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.ctl.cancel.{tenant}.{}", key.into())
}

/// `lvg.ctl.find.<t>.<key>`: to hosts: whoever runs this task answers.
#[must_use]
pub fn find(tenant: &Tenant, key: impl Into<TaskKey>) -> String {
    format!("lvg.ctl.find.{tenant}.{}", key.into())
}

/// `lvg.ctl.watch.<t>.events`: to hosts: somebody looks at events.
#[must_use]
pub fn watch(tenant: &Tenant) -> String {
    format!("lvg.ctl.watch.{tenant}.events")
}

/// A word to all hosts of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Stop it.
    Cancel(Tenant, TaskKey),
    /// Say whether it runs here.
    Find(Tenant, TaskKey),
    /// Say for a while which tasks begin.
    Watch(Tenant),
}

impl Control {
    /// Reads the subject of a word to hosts.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("lvg.ctl.")?.splitn(3, '.');
        let (verb, tenant, key) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let (tenant, key) = (tenant.parse().ok()?, TaskKey::read(key)?);
        match verb {
            "cancel" => Some(Self::Cancel(tenant, key)),
            "find" => Some(Self::Find(tenant, key)),
            "watch" => Some(Self::Watch(tenant)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_subjects_read_back() {
        for subject in [
            "lvg.acme.task.images.9.01jabc",
            "lvg.acme.task.images.9.01jd0000000000000000000000.0-1_2~3.4",
            "lvg.acme.task.images.0~0123456789ab.01jabc",
        ] {
            let read = TaskSubject::read(subject).unwrap();
            assert_eq!(read.task(), subject);
            assert_eq!(TaskSubject::read(&read.fire()), Some(read));
        }
        for bad in [
            "",
            "lvg.acme.task.images.9",
            "lvg.acme.task.images.10.x",
            "lvg.acme.task.images.05.x",
            "lvg.acme.task.images.+5.x",
            "lvg.acme.task.images.5~.x",
            "lvg.acme.task.images.5~0123456789AB.x",
            "lvg.acme.task.images.5~0123456789ab~.x",
            "lvg.acme.task.images.5.x.y",
            "lvg.acme.task.images.5.x.0.1",
            "lvg.Acme.task.images.5.x",
            "lvg.acme.res.images.5.x",
            "lvg.acme.task.*.5.x",
        ] {
            assert_eq!(TaskSubject::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn subjects_of_schedules_read_back() {
        let (tenant, name) = ("acme".parse().unwrap(), "nightly".parse().unwrap());
        assert_eq!(read_recurring(&recurring(&tenant, &name)), Some((tenant, name)));
        for bad in
            ["lvg.acme.schedule", "lvg.acme.schedule.", "lvg.acme.schedule.a.b", "lvg.acme.sched.a", "acme.schedule.a"]
        {
            assert_eq!(read_recurring(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_to_hosts_read_back() {
        let tenant: Tenant = "t".parse().unwrap();
        for key in ["x", "01jd0000000000000000000000.0-1.2"].map(|text| TaskKey::read(text).unwrap()) {
            let (cancel, find) = (cancel(&tenant, &key), find(&tenant, &key));
            assert_eq!(Control::read(&cancel), Some(Control::Cancel(tenant.clone(), key.clone())));
            assert_eq!(Control::read(&find), Some(Control::Find(tenant.clone(), key)));
        }
        assert_eq!(Control::read(&watch(&tenant)), Some(Control::Watch(tenant)));
        for bad in ["lvg.ctl.cancel.t", "lvg.ctl.burn.t.x", "lvg.ctl.cancel.t.x.y", "ctl.cancel.t.x"] {
            assert_eq!(Control::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_version_is_one_token_whatever_its_dots() {
        let subject = module(&"t".parse().unwrap(), &"m".parse().unwrap(), &"1..2.".parse().unwrap());
        assert_eq!(subject, "lvg.t.module.m.1~~2~");
    }
}

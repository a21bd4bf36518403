//! Subjects: built from checked names, and read back from what the broker delivers.
//!
//! The tenant is the second token of each, so that one export serves all tenants. Nothing else in a message names a tenant.

use crate::model::{ModuleName, Queue, TaskId, Tenant, Version};

/// The priority of tasks that name none: the middle of 0 to 9.
pub const PRIORITY_DEFAULT: Priority = Priority(5);

/// 0 to 9, 9 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// A priority from 0 to 9.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number <= 9).then_some(Self(number))
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a task waits: everything that its subject says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskSubject {
    /// Whose task it is.
    pub tenant: Tenant,
    /// The queue that it waits in.
    pub queue: Queue,
    /// Its priority in the queue.
    pub priority: Priority,
    /// The task.
    pub id: TaskId,
}

impl TaskSubject {
    /// `lvg.<t>.task.<queue>.<prio>.<id>`: queued, delivered to hosts.
    #[must_use]
    pub fn task(&self) -> String {
        format!("lvg.{}.task.{}.{}.{}", self.tenant, self.queue, self.priority, self.id)
    }

    /// `lvg.<t>.fire.<queue>.<prio>.<id>`: due, to be moved to the task's subject.
    #[must_use]
    pub fn fire(&self) -> String {
        format!("lvg.{}.fire.{}.{}.{}", self.tenant, self.queue, self.priority, self.id)
    }

    /// Reads a `task` or a `fire` subject.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.split('.');
        let (Some("lvg"), Some(tenant), Some("task" | "fire"), Some(queue), Some(priority), Some(id), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return None;
        };
        Some(Self {
            tenant: tenant.parse().ok()?,
            queue: queue.parse().ok()?,
            // One digit: `05` would be a second subject of the same place.
            priority: Priority::new(priority.parse().ok().filter(|_| priority.len() == 1)?)?,
            id: id.parse().ok()?,
        })
    }
}

/// `lvg.<t>.task.*.*.<id>`: the task wherever it is queued.
#[must_use]
pub fn task_anywhere(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.task.*.*.{id}")
}

/// `lvg.<t>.fire.*.*.<id>`: the task once it is due.
#[must_use]
pub fn fire_anywhere(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.fire.*.*.{id}")
}

/// `lvg.<t>.task.<queue>.>`: all tasks of a queue.
#[must_use]
pub fn queue_tasks(tenant: &Tenant, queue: &Queue) -> String {
    format!("lvg.{tenant}.task.{queue}.>")
}

/// `lvg.<t>.sched.<id>`: the schedule that a delayed or retried task waits in.
#[must_use]
pub fn schedule(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.sched.{id}")
}

/// `lvg.<t>.res.<id>`: the task's state and outcome; a waiting caller is subscribed to it.
#[must_use]
pub fn result(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.res.{id}")
}

/// `lvg.<t>.log.<id>`: the guest's log lines.
#[must_use]
pub fn log(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.log.{id}")
}

/// `lvg.<t>.ev.progress.<id>`: the guest's progress.
#[must_use]
pub fn progress(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.ev.progress.{id}")
}

/// `lvg.<t>.ev.handback.<id>`: how often hosts handed the task back when they were stopped.
#[must_use]
pub fn hand_backs(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.ev.handback.{id}")
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

/// `lvg.ctl.cancel.<t>.<id>`: to hosts: stop this task.
#[must_use]
pub fn cancel(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.ctl.cancel.{tenant}.{id}")
}

/// `lvg.ctl.find.<t>.<id>`: to hosts: whoever runs this task answers.
#[must_use]
pub fn find(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.ctl.find.{tenant}.{id}")
}

/// A word to hosts about one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Stop it.
    Cancel(Tenant, TaskId),
    /// Say whether it runs here.
    Find(Tenant, TaskId),
}

impl Control {
    /// Reads the subject of a word to hosts.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("lvg.ctl.")?.split('.');
        let (Some(verb), Some(tenant), Some(id), None) = (tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return None;
        };
        let (tenant, id) = (tenant.parse().ok()?, id.parse().ok()?);
        match verb {
            "cancel" => Some(Self::Cancel(tenant, id)),
            "find" => Some(Self::Find(tenant, id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_subjects_read_back() {
        let subject = "lvg.acme.task.images.9.01jabc";
        let read = TaskSubject::read(subject).unwrap();
        assert_eq!(read.task(), subject);
        assert_eq!(TaskSubject::read(&read.fire()), Some(read));
        for bad in [
            "",
            "lvg.acme.task.images.9",
            "lvg.acme.task.images.10.x",
            "lvg.acme.task.images.05.x",
            "lvg.acme.task.images.+5.x",
            "lvg.acme.task.images.5.x.y",
            "lvg.Acme.task.images.5.x",
            "lvg.acme.res.images.5.x",
            "lvg.acme.task.*.5.x",
        ] {
            assert_eq!(TaskSubject::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_to_hosts_read_back() {
        let (tenant, id): (Tenant, TaskId) = ("t".parse().unwrap(), "x".parse().unwrap());
        assert_eq!(Control::read(&cancel(&tenant, &id)), Some(Control::Cancel(tenant.clone(), id.clone())));
        assert_eq!(Control::read(&find(&tenant, &id)), Some(Control::Find(tenant, id)));
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

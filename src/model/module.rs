//! What is known of an uploaded module: its record, its contract and its tasks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::grants::Grants;
use super::limit::{Rate, Rule};
use super::limits::Wish;
use super::{Digest, EngineClass, Metering, ModuleName, TaskName, Timestamp, Version};

/// The most tasks that one module may offer.
pub const TASKS_MAX: usize = 1_000;

/// Bytes of a script: it travels in the module's record, which is one message.
pub const SCRIPT_BYTES_MAX: usize = 256 << 10;

/// How a guest and its host talk; found from the module, never declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// A WASI preview 1 core module with `_start`: input on stdin, output on stdout.
    Command,
    /// A `wasi:cli/run` component: the same by preview 2.
    CommandComponent,
    /// The SDK world `lovage:task`.
    Task,
    /// Any other component that exports functions: each is a task, its types are mapped to JSON.
    Typed,
}

/// One task of a module, for people and for the check of a call before it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskDescription {
    /// The name after the slash in `module/task`.
    pub name: TaskName,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// JSON Schema of the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
    /// Media type of the output where it is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

/// What a tenant adds to a module when it uploads it (`--manifest FILE.toml`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// The tasks that the command offers, by name, in place of the single task `run`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<TaskName, ManifestTask>,
    /// Arguments in place of the task's name as `argv[1]`; `{task}` stands for the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Default limits of every task.
    pub limits: Wish,
    /// What its guests are measured by.
    #[serde(skip_serializing_if = "Metering::is_fuel")]
    pub metering: Metering,
    /// Whether it uses exceptions of Wasm, which hosts run where their operators allow it: an upload finds it out by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exceptions: bool,
    /// Limits across the fleet, by task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fleet: BTreeMap<TaskName, Declared>,
    /// Tasks of which one call is under way at a time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub singleton: BTreeMap<TaskName, super::singleton::Declared>,
    /// Tasks whose calls are gathered.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub debounce: BTreeMap<TaskName, super::debounce::Declared>,
    /// The program that the command interprets: the last argument of every task, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Whether stdout of the sole key `$flow` is a flow that takes the task's place.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flows: bool,
    /// What its tenant grants to the module, of any contract.
    #[serde(skip_serializing_if = "Grants::is_none")]
    pub grants: Grants,
}

/// How many calls of a task start and run, over all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declared {
    /// How often they start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many may start at once after a while without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// How many run at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// A template over the input: only calls with the same key share the limit. Without one, all calls do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Declared {
    /// What the limit allows.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        Rule { rate: self.rate, burst: self.burst, concurrency: self.concurrency }
    }
}

/// One task that a manifest names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestTask {
    /// One line for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Arguments of this task in place of the manifest's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
}

impl Manifest {
    /// Which engine runs the module.
    #[must_use]
    pub const fn class(&self) -> EngineClass {
        EngineClass { metering: self.metering, exceptions: self.exceptions }
    }

    /// The arguments after `argv[0]` for a task: the task's own, the manifest's, or its name alone; then the script.
    #[must_use]
    pub fn args_for(&self, task: &TaskName) -> Vec<String> {
        let own = self.tasks.get(task).and_then(|task| task.args.as_ref());
        let mut args = match own.or(self.args.as_ref()) {
            Some(args) => args.iter().map(|arg| arg.replace("{task}", task.as_str())).collect(),
            None => vec![task.as_str().to_owned()],
        };
        args.extend(self.script.clone());
        args
    }
}

/// One immutable version of a module, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// The version of this form; a reader refuses one that it does not know.
    pub v: u32,
    /// The module's name in its tenant.
    pub name: ModuleName,
    /// This version.
    pub version: Version,
    /// Digest of the stored bytes, which is their name in the object store.
    pub digest: Digest,
    /// Digest of the file that was uploaded, where the upload turned it into a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_digest: Option<Digest>,
    /// How many bytes are stored.
    pub size: u64,
    /// How the module is called.
    pub contract: Contract,
    /// What it offers.
    pub tasks: Vec<TaskDescription>,
    /// What the upload added to it.
    #[serde(default)]
    pub manifest: Manifest,
    /// When it was uploaded.
    pub pushed_at: Timestamp,
    /// A removed version keeps its name for ever, so that what a version means never changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// The version of the record's form that this code writes.
pub const RECORD_VERSION: u32 = 1;

impl ModuleRecord {
    /// The description of a task, if the module offers it.
    #[must_use]
    pub fn task(&self, name: &TaskName) -> Option<&TaskDescription> {
        self.tasks.iter().find(|task| &task.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_from_the_task_then_the_manifest_then_the_name() {
        let task: TaskName = "sum".parse().unwrap();
        let mut manifest = Manifest::default();
        assert_eq!(manifest.args_for(&task), ["sum"]);
        manifest.args = Some(vec!["-c".into(), "{task}.py".into()]);
        assert_eq!(manifest.args_for(&task), ["-c", "sum.py"]);
        manifest.script = Some("const {task} = 1".into());
        assert_eq!(manifest.args_for(&task), ["-c", "sum.py", "const {task} = 1"], "a script is left as it is");
        manifest.script = None;
        manifest.tasks.insert(task.clone(), ManifestTask { args: Some(vec![]), ..ManifestTask::default() });
        assert!(manifest.args_for(&task).is_empty());
    }
}

//! `lovage exec`: a module or a flow in this process, without a server.

mod flow;
mod module;

use std::path::PathBuf;

use clap::Args;

use super::Fault;
use super::sandbox::Cache;
use crate::model::grants::Grant;
use crate::model::{Datum, FlowName, ModuleName, SignalName, TaskName};

/// `lovage exec`.
#[derive(Args)]
pub(super) struct Exec {
    /// A Wasm file, or a flow as YAML or JSON.
    file: PathBuf,

    /// Its input: JSON, - for stdin, or @FILE; null for a task, and nothing for a flow, where it is not given.
    input: Option<String>,

    /// The task of the module; its only one where it is not given.
    #[arg(long)]
    task: Option<TaskName>,

    /// A module that tasks are called in; may be repeated.
    #[arg(long = "module", value_name = "NAME=FILE.wasm", value_parser = named_file::<ModuleName>)]
    modules: Vec<(ModuleName, PathBuf)>,

    /// Further tasks, arguments and limits of a command module, as `module push --manifest` takes them; may be repeated. The
    /// name is that of --module; without one it is the module that is run.
    #[arg(long = "manifest", value_name = "[NAME=]FILE.toml", value_parser = manifest)]
    manifests: Vec<(ModuleName, PathBuf)>,

    /// The script that the module interprets, as `module push --script` takes it; may be repeated.
    #[arg(long = "script", value_name = "[NAME=]FILE", value_parser = manifest)]
    scripts: Vec<(ModuleName, PathBuf)>,

    /// What the module may reach, as `module push --grant` takes it; may be repeated. Its buckets begin empty and go with this
    /// process, and there are no secrets. In a flow, grants stand in the manifests of its modules.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,

    /// A flow that the flow starts by this name; may be repeated.
    #[arg(long = "flow", value_name = "NAME=FILE", value_parser = named_file::<FlowName>)]
    flows: Vec<(FlowName, PathBuf)>,

    /// A signal that is there before the flow, or a flow that it starts, waits for it, with its payload (null where it is not
    /// given); may be repeated.
    #[arg(long = "signal", value_name = "NAME[=JSON]", value_parser = signal)]
    signals: Vec<(SignalName, Datum)>,

    #[command(flatten)]
    cache: Cache,

    /// Let sleeps, delays, polls and back-offs of the flow pass at once.
    #[arg(long)]
    fast_time: bool,

    /// Tasks of the flow that run at a time; as many as there are cores where it is not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,

    /// Write neither progress nor logs.
    #[arg(long, short)]
    quiet: bool,
}

/// What a module is called that is run by itself.
const MAIN: &str = "main";

fn named_file<Name: std::str::FromStr<Err = crate::model::name::Invalid>>(
    text: &str,
) -> Result<(Name, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("it takes the form NAME=FILE")?;
    Ok((name.parse().map_err(|error: crate::model::name::Invalid| error.to_string())?, file.into()))
}

fn manifest(text: &str) -> Result<(ModuleName, PathBuf), String> {
    if text.contains('=') { named_file(text) } else { named_file(&format!("{MAIN}={text}")) }
}

fn signal(text: &str) -> Result<(SignalName, Datum), String> {
    let (name, payload) = text.split_once('=').unwrap_or((text, "null"));
    let name = name.parse().map_err(|error: crate::model::name::Invalid| error.to_string())?;
    let payload = Datum::parse(&payload.to_owned().into()).map_err(|error| format!("its payload: {error}"))?;
    Ok((name, payload))
}

impl Exec {
    pub(super) async fn run(self) -> Result<(), Fault> {
        if is_flow(&self.file)? {
            if self.task.is_some() {
                return Err(Fault::usage("--task is for a module: a flow names its tasks itself"));
            }
            if !self.grants.is_empty() {
                return Err(Fault::usage(
                    "--grant is for a module: write [grants] into the manifests of a flow's modules",
                ));
            }
            return Box::pin(self.run_flow()).await;
        }
        let of_flows = [
            ("--flow", !self.flows.is_empty()),
            ("--signal", !self.signals.is_empty()),
            ("--fast-time", self.fast_time),
            ("--concurrency", self.concurrency.is_some()),
        ];
        match of_flows.iter().find(|(_, given)| *given) {
            Some((option, _)) => {
                Err(Fault::usage(format!("{option} is for a flow, and {} is a module", self.file.display())))
            }
            None => Box::pin(self.run_module()).await,
        }
    }

    /// The manifest that was given for a module.
    fn manifest(&self, name: &ModuleName) -> Result<Option<crate::model::module::Manifest>, Fault> {
        let given = self.manifests.iter().find(|(of, _)| of == name);
        let given = given.map(|(_, file)| super::module::read_manifest(file)).transpose()?;
        let script = self.scripts.iter().find(|(of, _)| of == name);
        let given = super::module::with_script(given, script.map(|(_, file)| file.as_path()))?;
        super::module::with_grants(given, if name.as_str() == MAIN { &self.grants } else { &[] })
    }
}

/// Whether a file is a flow: by its name, else because it does not begin as Wasm does.
fn is_flow(file: &std::path::Path) -> Result<bool, Fault> {
    use std::io::Read as _;
    let extension = file.extension().and_then(|extension| extension.to_str());
    if matches!(extension, Some("yaml" | "yml" | "json")) {
        return Ok(true);
    }
    let failed = |error: std::io::Error| Fault::usage(format!("failed to read {}: {error}", file.display()));
    let mut begins = Vec::new();
    std::fs::File::open(file).map_err(failed)?.take(4).read_to_end(&mut begins).map_err(failed)?;
    Ok(extension != Some("wasm") && begins != b"\0asm")
}

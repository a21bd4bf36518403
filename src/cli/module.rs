//! `lovage module`: push, ls, show, rm, verify.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::inspect::InspectArgs;
use super::{Connect, Fault, Listing, output, sandbox as own};
use crate::client::Upload;
use crate::model::grants::{Grant, Grants};
use crate::model::module::{Manifest, SCRIPT_BYTES_MAX};
use crate::model::{Contract, Digest, ModuleName, ModuleRecord, TaskDescription, TaskName, Version};
use crate::protocol::note::printable;
use crate::protocol::stream::Bucket;
use crate::sandbox::{self, Inspection, MODULE_BYTES_MAX, Sandbox, inspect};
use crate::workflow::limited;

/// How long a compilation may take before it is said what is being waited for.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// `lovage module ...`.
#[derive(Subcommand)]
pub(super) enum Module {
    /// Check a module and upload it as a new version.
    Push(Push),
    /// List modules and their versions.
    Ls(Listing),
    /// Show a version of a module: its tasks and their schemas.
    Show(Named),
    /// Show what the platform finds in a file, without uploading it: tasks, imports, what compiling and running it takes.
    Inspect(InspectArgs),
    /// Remove a version. Its name stays taken.
    Rm(Named),
    /// Check the stored bytes of a version.
    Verify(Named),
}

/// `lovage module push`.
#[derive(Args)]
pub(super) struct Push {
    /// NAME or NAME@VERSION.
    name: NameAt,

    /// The Wasm file.
    file: PathBuf,

    #[command(flatten)]
    added: Added,

    #[command(flatten)]
    cache: own::Cache,

    /// Print the record as JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A version of a module; the latest one where none is named.
#[derive(Args)]
pub(super) struct Named {
    /// NAME or NAME@VERSION.
    name: NameAt,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// `NAME` or `NAME@VERSION`.
#[derive(Clone, Debug)]
struct NameAt {
    name: ModuleName,
    version: Option<Version>,
}

impl std::str::FromStr for NameAt {
    type Err = crate::model::name::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('@') {
            Some((name, version)) => Ok(Self { name: name.parse()?, version: Some(version.parse()?) }),
            None => Ok(Self { name: text.parse()?, version: None }),
        }
    }
}

impl Module {
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Push(push) => push.run().await,
            Self::Ls(listing) => ls(listing).await,
            Self::Show(named) => named.show().await,
            Self::Inspect(inspect) => inspect.run().await,
            Self::Rm(named) => named.remove().await,
            Self::Verify(named) => named.verify().await,
        }
    }
}

/// A checked and described module.
pub(super) struct Examined {
    pub(super) upload: Upload,
    pub(super) module: Arc<sandbox::Module>,
    pub(super) imports: Vec<String>,
    pub(super) functions: u64,
    pub(super) memory_min_bytes: u64,
}

/// Reads a file, checks it, compiles it and asks it for its tasks.
pub(super) async fn examine(
    name: ModuleName,
    version: Option<Version>,
    file: &Path,
    manifest: Option<Manifest>,
    cache: &own::Cache,
) -> Result<Examined, Fault> {
    examine_in(&own::open(1, cache)?, name, version, file, manifest).await
}

/// The same, in a sandbox that goes on.
pub(super) async fn examine_in(
    sandbox: &Sandbox,
    name: ModuleName,
    version: Option<Version>,
    file: &Path,
    manifest: Option<Manifest>,
) -> Result<Examined, Fault> {
    let bytes = read(file)?;
    let about = |rejection: crate::sandbox::Rejection| Fault::usage(format!("{}: {rejection}", file.display()));
    let Inspection { contract, stored, imports, functions, memory_min_bytes, exceptions, .. } =
        inspect(&bytes).map_err(about)?;
    let stored = Bytes::from(stored.into_owned());
    let source_digest = (stored != bytes).then(|| Digest::of(&bytes));
    let given = manifest.is_some();
    let mut manifest = manifest.unwrap_or_default();
    manifest.exceptions |= exceptions;
    let code = compile(&sandbox.of_class(manifest.class()), &stored).await?;
    let tasks = match contract {
        Contract::Task | Contract::Typed
            if given && (!manifest.tasks.is_empty() || manifest.args.is_some() || manifest.script.is_some()) =>
        {
            return Err(Fault::usage(
                "the module names its tasks itself: its manifest takes limits, metering and grants only",
            ));
        }
        Contract::Task | Contract::Typed => sandbox.describe(&code).await?,
        Contract::Command | Contract::CommandComponent => command_tasks(&manifest),
    };
    let known = |task: &TaskName| tasks.iter().any(|known| known.name == *task);
    limited::check_all(name.as_str(), &manifest, known).map_err(Fault::usage)?;
    let upload = Upload { name, version, bytes: stored, source_digest, contract, tasks, manifest };
    Ok(Examined { upload, module: code, imports, functions, memory_min_bytes })
}

/// Compiles a module, and says so if it takes long.
async fn compile(sandbox: &Sandbox, wasm: &Bytes) -> Result<Arc<sandbox::Module>, Fault> {
    let digest = Digest::of(wasm);
    let mut load = pin!(sandbox.load(&digest, wasm.clone()));
    let loaded = match tokio::time::timeout(SILENT_FOR, &mut load).await {
        Ok(loaded) => loaded,
        Err(_) => {
            eprintln!("compiling {} of Wasm, which is done once ...", output::size(wasm.len() as u64));
            load.await
        }
    };
    Ok(loaded?)
}

/// Reads at most what a module may have, so that a mistaken path to something huge is refused at once.
fn read(file: &Path) -> Result<Bytes, Fault> {
    let failed = |error: std::io::Error| Fault::usage(format!("failed to read {}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(failed)?.len();
    if size > MODULE_BYTES_MAX as u64 {
        let message = format!("{}: module of {size} bytes: at most {MODULE_BYTES_MAX} are accepted", file.display());
        return Err(Fault::usage(message).hint("strip debug information, or build with optimisation for size"));
    }
    Ok(std::fs::read(file).map_err(failed)?.into())
}

fn command_tasks(manifest: &Manifest) -> Vec<TaskDescription> {
    let describe = |name: TaskName, summary: String| TaskDescription {
        name,
        summary,
        input_schema: None,
        output_schema: None,
        media_type: None,
    };
    if manifest.tasks.is_empty() {
        return vec![describe(TaskName::run(), String::new())];
    }
    manifest.tasks.iter().map(|(name, task)| describe(name.clone(), task.summary.clone())).collect()
}

/// What is added to a command module when it is used.
#[derive(Args)]
pub(super) struct Added {
    /// Further tasks and arguments of a command module, and limits, metering and grants of any, as TOML.
    #[arg(long, value_name = "FILE.toml")]
    manifest: Option<PathBuf>,

    /// The script that a command module interprets: it is given to it as its last argument.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// What the module may reach, within what its host allows; may be repeated, and adds to the manifest's [grants]:
    /// kv=BUCKET[:rw], blob=BUCKET[:rw], secret=NAME, config=KEY=VALUE, "http=GET,POST https://api.example.com", clock, random.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<Grant>,
}

impl Added {
    /// The manifest that comes of it, if anything is added.
    pub(super) fn manifest(&self) -> Result<Option<Manifest>, Fault> {
        let manifest = self.manifest.as_deref().map(read_manifest).transpose()?;
        let manifest = with_script(manifest, self.script.as_deref())?;
        with_grants(manifest, &self.grants)
    }
}

/// Reads what a file adds to a module.
pub(super) fn read_manifest(file: &Path) -> Result<Manifest, Fault> {
    let text = read_text(file)?;
    let manifest: Manifest =
        toml::from_str(&text).map_err(|error| Fault::usage(format!("{}: {}", file.display(), error.message())))?;
    check_script(file, manifest.script.as_deref())?;
    Ok(manifest)
}

/// A manifest with a script in it.
pub(super) fn with_script(manifest: Option<Manifest>, script: Option<&Path>) -> Result<Option<Manifest>, Fault> {
    let Some(file) = script else { return Ok(manifest) };
    let text = read_text(file)?;
    check_script(file, Some(&text))?;
    Ok(Some(Manifest { script: Some(text), ..manifest.unwrap_or_default() }))
}

/// A manifest with more grants in it.
pub(super) fn with_grants(manifest: Option<Manifest>, grants: &[Grant]) -> Result<Option<Manifest>, Fault> {
    if manifest.is_none() && grants.is_empty() {
        return Ok(None);
    }
    let mut manifest = manifest.unwrap_or_default();
    let granted = grants.iter().cloned().fold(manifest.grants, Grants::with);
    manifest.grants = granted.checked().map_err(|refused| Fault::usage(refused.to_string()))?;
    Ok(Some(manifest))
}

fn read_text(file: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|error| Fault::usage(format!("failed to read {}: {error}", file.display())))
}

fn check_script(file: &Path, script: Option<&str>) -> Result<(), Fault> {
    let length = script.map_or(0, str::len);
    if length > SCRIPT_BYTES_MAX {
        let message = format!("{}: script of {length} bytes: at most {SCRIPT_BYTES_MAX} are accepted", file.display());
        return Err(Fault::usage(message));
    }
    if script.is_some_and(|script| script.contains('\0')) {
        return Err(Fault::usage(format!("{}: a script holds no NUL", file.display())));
    }
    Ok(())
}

impl Push {
    async fn run(self) -> Result<(), Fault> {
        let manifest = self.added.manifest()?;
        let NameAt { name, version } = self.name;
        // The upload is checked before the broker is asked for, so that a bad file is told from a broker that is away.
        let examined = examine(name, version, &self.file, manifest, &self.cache).await?;
        let (_nats, client) = self.connect.client().await?;
        let imports = examined.imports;
        let record = client.push(examined.upload).await?;
        if self.json {
            return output::json(&record);
        }
        let tasks: Vec<&str> = record.tasks.iter().map(|task| task.name.as_str()).collect();
        let missing = super::inspect::ungranted(&imports, &record.manifest.grants);
        if !missing.is_empty() {
            eprintln!(
                "note: it imports {}, of which it is granted nothing: such calls are refused",
                missing.join(", ")
            );
        }
        if record.manifest.exceptions {
            eprintln!("note: it {}", super::inspect::EXCEPTIONS);
        }
        let compiled = examined.module.compilation();
        let compiled = compiled.map(|it| format!("  compiled {}", super::inspect::compiled(&it))).unwrap_or_default();
        eprintln!(
            "{}@{}  {}  tasks: {}{compiled}",
            record.name,
            record.version,
            output::size(record.size),
            tasks.join(", ")
        );
        output::line(&format!("{}@{}", record.name, record.version))
    }
}

async fn ls(listing: Listing) -> Result<(), Fault> {
    let (_nats, client) = listing.connect.client().await?;
    let records = client.modules().await?;
    if listing.json {
        return output::json(&records);
    }
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    output::table(&["MODULE", "CONTRACT", "SIZE", "DIGEST", "PUSHED", "TASKS"], &rows)
}

fn row(record: &ModuleRecord) -> Vec<String> {
    let tasks: Vec<&str> = record.tasks.iter().map(|task| task.name.as_str()).collect();
    vec![
        format!("{}@{}", record.name, record.version),
        contract_name(record.contract).to_owned(),
        output::size(record.size),
        record.digest.short(),
        record.pushed_at.to_string(),
        tasks.join(" "),
    ]
}

pub(super) const fn contract_name(contract: Contract) -> &'static str {
    match contract {
        Contract::Command => "command",
        Contract::CommandComponent => "command-component",
        Contract::Task => "task",
        Contract::Typed => "typed",
    }
}

impl Named {
    async fn show(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let record = client.module(&self.name.name, self.name.version.as_ref()).await?;
        if self.json {
            return output::json(&record);
        }
        output::line(&format!("module    {}@{}", record.name, record.version))?;
        output::line(&format!("contract  {}", contract_name(record.contract)))?;
        output::line(&format!("size      {}", output::size(record.size)))?;
        output::line(&format!("digest    {}", record.digest))?;
        output::line(&format!("pushed    {}", record.pushed_at))?;
        if !record.manifest.metering.is_fuel() {
            output::line(&format!("metering  {}", record.manifest.metering.as_str()))?;
        }
        if record.manifest.exceptions {
            output::line(&format!("engine    {}", super::inspect::EXCEPTIONS))?;
        }
        for grant in record.manifest.grants.iter() {
            output::line(&format!("grant     {}", printable(&grant.to_string())))?;
        }
        print_tasks(&record.tasks)
    }

    async fn remove(self) -> Result<(), Fault> {
        let Some(version) = &self.name.version else {
            return Err(Fault::usage("name the version to remove, as in thumbs@3"));
        };
        let (_nats, client) = self.connect.client().await?;
        let record = client.remove_module(&self.name.name, version).await?;
        eprintln!("removed {}@{}", record.name, record.version);
        Ok(())
    }

    async fn verify(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let record = client.module(&self.name.name, self.name.version.as_ref()).await?;
        let title = format!("{}@{}", record.name, record.version);
        let Some(reader) = client.broker().objects.open(Bucket::Modules, &record.digest.hex()).await? else {
            return Err(
                Fault::platform(format!("{title}: its bytes are not in the object store")).hint("push it again")
            );
        };
        let mut bytes = Vec::new();
        let read = reader.take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).await;
        read.map_err(|error| Fault::platform(format!("{title}: failed to read its bytes: {error}")))?;
        let found = Digest::of(&bytes);
        if found != record.digest {
            return Err(Fault::platform(format!("{title}: its bytes have digest {found}, not {}", record.digest)));
        }
        let inspection = inspect(&bytes)?;
        if inspection.contract != record.contract {
            return Err(Fault::platform(format!("{title}: its contract is not the one of its record")));
        }
        if self.json {
            return output::json(&json!({"module": title, "digest": record.digest, "ok": true}));
        }
        output::line(&format!("{title}  {}  ok", record.digest))
    }
}

pub(super) fn print_tasks(tasks: &[TaskDescription]) -> Result<(), Fault> {
    for task in tasks {
        output::line(format!("task       {}  {}", task.name, printable(&task.summary)).trim_end())?;
        for (title, schema) in [("input", &task.input_schema), ("output", &task.output_schema)] {
            if let Some(schema) = schema {
                output::line(&format!("           {title} {schema}"))?;
            }
        }
    }
    Ok(())
}

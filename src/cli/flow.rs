//! `lovage flow`: checks flow documents and draws them, without a server; stores them.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::fault::unknown_hints;
use super::run::{is_file, stored};
use super::{Connect, Fault, output};
use crate::model::{FlowName, Version};
use crate::protocol::note::printable;
use crate::store::catalogue::Unknown;
use crate::workflow::flow::{
    DOCUMENT_BYTES_MAX, Document, Problem, count, flows, graph, located, schema, schema_problems, signals, tasks,
};

/// Check and draw flow documents.
#[derive(Subcommand)]
pub(super) enum Flow {
    /// Say what is wrong with a document, or what it uses.
    Check(Check),
    /// Draw a document.
    Graph(Graph),
    /// Print the JSON Schema of documents, for editors.
    Schema,
    /// Store a version of a flow.
    Push(Push),
    /// List stored flows.
    Ls(Ls),
}

/// Store a version of a flow.
#[derive(Args)]
pub(super) struct Push {
    /// Its name, and the version where it is to have one: NAME or NAME@VERSION.
    name: String,

    /// The document, in YAML or JSON; - for stdin.
    file: String,

    #[command(flatten)]
    connect: Connect,
}

/// List stored flows.
#[derive(Args)]
pub(super) struct Ls {
    /// Only the versions of this one.
    name: Option<FlowName>,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Say what is wrong with a document, or what it uses.
#[derive(Args)]
pub(super) struct Check {
    /// The document, in YAML or JSON; - for stdin; or the name of a stored flow: NAME or NAME@VERSION.
    file: String,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Draw a document.
#[derive(Args)]
pub(super) struct Graph {
    /// The document, in YAML or JSON; - for stdin; or the name of a stored flow: NAME or NAME@VERSION.
    file: String,

    #[command(flatten)]
    connect: Connect,

    /// What to draw it in.
    #[arg(long, value_enum, default_value_t = Format::Svg)]
    format: Format,

    /// The file to write; stdout where it is not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What a graph is drawn in.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A picture.
    Svg,
    /// For Graphviz.
    Dot,
    /// For forges and wikis that draw it.
    Mermaid,
}

impl Flow {
    /// Runs the command.
    pub(super) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Push(push) => push.run().await,
            Self::Ls(ls) => ls.run().await,
            Self::Check(check) => check.run().await,
            Self::Graph(graph) => graph.run().await,
            Self::Schema => output::line(&format!("{:#}", schema())),
        }
    }
}

impl Push {
    async fn run(self) -> Result<(), Fault> {
        let (name, version) = match self.name.split_once('@') {
            Some((name, version)) => (name.parse::<FlowName>()?, Some(version.parse::<Version>()?)),
            None => (self.name.parse::<FlowName>()?, None),
        };
        let document = read_checked(&self.file)?;
        let (_nats, client) = self.connect.client().await?;
        let record = client.push_flow(&name, version.as_ref(), &document).await?;
        output::line(&format!("{}@{} {}", record.name, record.version, record.digest))
    }
}

impl Ls {
    async fn run(self) -> Result<(), Fault> {
        let (_nats, client) = self.connect.client().await?;
        let records = match &self.name {
            Some(name) => client.flow_versions(name).await?,
            None => client.flows().await?,
        };
        match &self.name {
            Some(name) if records.is_empty() => eprintln!("there is no flow {name}"),
            None if records.is_empty() => eprintln!("no flow is stored"),
            Some(_) | None => {}
        }
        if self.json {
            return records.iter().try_for_each(output::json);
        }
        let rows: Vec<Vec<String>> = records
            .iter()
            .map(|record| {
                let (size, digest) = (output::size(record.size), record.digest.short());
                vec![record.name.to_string(), record.version.to_string(), size, digest, record.pushed_at.to_string()]
            })
            .collect();
        output::table(&["NAME", "VERSION", "SIZE", "DIGEST", "PUSHED"], &rows)
    }
}

impl Check {
    async fn run(&self) -> Result<(), Fault> {
        match named(&self.connect, &self.file).await? {
            Ok(document) if self.json => output::json(&report(&document)),
            Ok(document) => output::line(&summary(&document)),
            Err(problems) => {
                if self.json {
                    let problems: Vec<_> = problems.iter().map(as_json).collect();
                    output::json(&json!({"ok": false, "problems": problems}))?;
                }
                Err(refused(&self.file, &problems))
            }
        }
    }
}

impl Graph {
    async fn run(&self) -> Result<(), Fault> {
        let document = named(&self.connect, &self.file).await?.map_err(|problems| refused(&self.file, &problems))?;
        let drawn = match self.format {
            Format::Svg => graph::svg(&document),
            Format::Dot => graph::dot(&document),
            Format::Mermaid => graph::mermaid(&document),
        };
        match &self.output {
            None => output::line(drawn.trim_end()),
            Some(path) => std::fs::write(path, drawn)
                .map_err(|error| Fault::usage(format!("failed to write {}: {error}", path.display()))),
        }
    }
}

/// The document of a file, or, where there is none and it looks like a name, of a stored flow; no server is asked for a file.
async fn named(connect: &Connect, flow: &str) -> Result<Result<Document, Vec<Problem>>, Fault> {
    if is_file(flow) || PathBuf::from(flow).exists() {
        return read(flow);
    }
    let (_nats, client) = connect.client().await?;
    Ok(Ok(stored(&client, flow).await?.document))
}

/// Reads a document that must be a flow.
pub(super) fn read_checked(file: &str) -> Result<Document, Fault> {
    Ok(read_text(file)?.0)
}

/// Reads a document that must be a flow, and the YAML text that it was read from.
pub(super) fn read_text(file: &str) -> Result<(Document, Option<String>), Fault> {
    read_with(file)?.map_err(|problems| refused(file, &problems))
}

/// Prints what a flow calls that is not there, each with its place.
pub(super) fn unknown(name: &str, yaml: Option<&str>, unknown: &[Unknown]) -> Fault {
    let own = unknown.iter().filter(|unknown| unknown.flow.is_none());
    let mut problems = located(own.map(|unknown| (unknown.place.clone(), unknown.field, unknown.problem())), yaml);
    // What a stored flow calls has its place in that one.
    problems.extend(unknown.iter().filter(|unknown| unknown.flow.is_some()).map(|unknown| Problem {
        place: String::new(),
        line_column: None,
        message: unknown.problem(),
    }));
    unknown_hints(refused(name, &problems), unknown)
}

/// Reads a document. One that is too large is refused without being read as a whole.
pub(super) fn read(file: &str) -> Result<Result<Document, Vec<Problem>>, Fault> {
    Ok(read_with(file)?.map(|(document, _)| document))
}

/// A document and its YAML text, or what is wrong with it.
type Read = Result<(Document, Option<String>), Vec<Problem>>;

fn read_with(file: &str) -> Result<Read, Fault> {
    let failed = |error| Fault::usage(format!("failed to read the flow {file:?}: {error}"));
    let mut text = Vec::new();
    let limit = DOCUMENT_BYTES_MAX as u64 + 1;
    if file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(limit).read_to_end(&mut text).map_err(failed)?;
    }
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Fault::usage(format!("the flow {file:?} has more than the 1 MiB that is allowed")));
    }
    let is_json = PathBuf::from(file).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let read = if is_json { Document::parse_json(&text) } else { Document::parse(&text) };
    let yaml = if is_json { None } else { std::str::from_utf8(&text).ok() };
    Ok(read.and_then(|document| {
        let problems = schema_problems(&document, yaml);
        if problems.is_empty() { Ok((document, yaml.map(str::to_owned))) } else { Err(problems) }
    }))
}

/// Prints what is wrong, a line each.
pub(super) fn refused(file: &str, problems: &[Problem]) -> Fault {
    for problem in problems {
        eprintln!("{}", printable(&problem.to_string()));
    }
    let count = problems.len();
    let things = if count == 1 { "problem" } else { "problems" };
    Fault::usage(format!("the flow {file:?} has {count} {things}"))
}

fn as_json(problem: &Problem) -> serde_json::Value {
    let (line, column) = problem.line_column.unzip();
    json!({"place": problem.place, "line": line, "column": column, "message": problem.message})
}

fn report(document: &Document) -> serde_json::Value {
    let flow = |(name, version): &(_, Option<_>)| match version {
        Some(version) => format!("{name}@{version}"),
        None => format!("{name}"),
    };
    json!({
        "ok": true,
        "name": document.name,
        "nodes": count(document),
        "tasks": tasks(document),
        "flows": flows(document).iter().map(flow).collect::<Vec<String>>(),
        "signals": signals(document),
    })
}

/// `ok: 3 nodes, tasks: m/a m/b, signals: go`
fn summary(document: &Document) -> String {
    let report = report(document);
    let nodes = count(document);
    let mut summary = format!("ok: {nodes} node{}", if nodes == 1 { "" } else { "s" });
    for what in ["tasks", "flows", "signals"] {
        let names = report.get(what).and_then(|names| names.as_array()).into_iter().flatten();
        let names: Vec<&str> = names.filter_map(|name| name.as_str()).collect();
        if !names.is_empty() {
            summary.push_str(&format!(", {what}: {}", names.join(" ")));
        }
    }
    summary
}

//! Pins what a run calls, and finds all of it that is not there.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use futures::StreamExt as _;

use super::{Catalogue, PINS_MAX, Unresolved};
use crate::broker::Start;
use crate::model::name::among;
use crate::model::{Datum, FlowName, TaskRef, Tenant, Version};
use crate::protocol::flow::FlowRecord;
use crate::protocol::{module, subject};
use crate::workflow::flow::{self, Called, PROBLEMS_MAX, Use};
use crate::workflow::journal::{Pin, PinnedFlow, Pins};

/// Names that are told in place of one that is not there.
const KNOWN_MAX: usize = 20;

/// Something that a document calls and that is not there.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// The stored flow whose document calls it; `None` for the run's own document.
    pub flow: Option<FlowName>,
    /// The node that calls it.
    pub place: String,
    /// The field of the node that names it.
    pub field: &'static str,
    /// Why it was not found.
    pub why: Unresolved,
    /// What there is instead.
    pub known: Vec<String>,
}

impl Unknown {
    /// What is wrong, without its place.
    #[must_use]
    pub fn problem(&self) -> String {
        let known = among(&self.known);
        let of = self.flow.as_ref().map(|flow| format!("the flow {flow}, at {}: ", self.place)).unwrap_or_default();
        match &self.why {
            Unresolved::Module { module, version } => {
                format!("{of}there is no module {}{known}", Pins::key(module.as_str(), version.as_ref()))
            }
            Unresolved::Task { module, version, task } => {
                format!("{of}there is no task {task} of module {module}@{version}{known}")
            }
            Unresolved::Flow { flow, version } => {
                format!("{of}there is no flow {}{known}", Pins::key(flow.as_str(), version.as_ref()))
            }
            other @ (Unresolved::Document { .. }
            | Unresolved::Unreadable { .. }
            | Unresolved::TooMany
            | Unresolved::Broker(_)) => format!("{of}cannot {other}"),
        }
    }
}

/// With its place, as a problem of a document is told.
impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.flow, self.place.as_str()) {
            (None, place) if !place.is_empty() => write!(f, "at {place}: {}", self.problem()),
            _ => f.write_str(&self.problem()),
        }
    }
}

/// Why what a run calls could not be pinned.
#[derive(Clone, Debug)]
pub enum Unpinned {
    /// These are not there: all of them, up to [`PROBLEMS_MAX`].
    Unknown(Vec<Unknown>),
    /// They could not be looked for, or are too many.
    Failed(Unresolved),
}

impl From<Unresolved> for Unpinned {
    fn from(unresolved: Unresolved) -> Self {
        Self::Failed(unresolved)
    }
}

/// The nodes that call one thing: the stored flow that each is of, and its place.
type Places = Vec<(Option<FlowName>, String)>;

/// What was found so far.
#[derive(Default)]
struct Finding {
    pins: Pins,
    unknown: Vec<Unknown>,
    tasks: BTreeMap<String, Places>,
    flows: BTreeMap<String, Places>,
    left: VecDeque<(FlowName, Option<Version>)>,
}

impl Finding {
    fn add(&mut self, of: Option<&FlowName>, uses: Vec<Use>) {
        for Use { place, called } in uses {
            let at = (of.cloned(), place);
            match called {
                Called::Task(task) => self.tasks.entry(String::from(task)).or_default().push(at),
                Called::Flow(name, version) => {
                    let places = self.flows.entry(Pins::key(name.as_str(), version.as_ref())).or_default();
                    if places.is_empty() {
                        self.left.push_back((name, version));
                    }
                    places.push(at);
                }
            }
        }
    }

    fn missing(&mut self, places: &Places, field: &'static str, why: &Unresolved, known: &[String]) {
        let unknown = |(flow, place): &(Option<FlowName>, String)| Unknown {
            flow: flow.clone(),
            place: place.clone(),
            field,
            why: why.clone(),
            known: known.to_vec(),
        };
        let room = PROBLEMS_MAX.saturating_sub(self.unknown.len());
        self.unknown.extend(places.iter().take(room).map(unknown));
    }

    fn is_full(&self) -> bool {
        self.unknown.len() >= PROBLEMS_MAX
    }

    fn check_count(&self) -> Result<(), Unresolved> {
        let count = self.pins.modules.len().saturating_add(self.pins.flows.len());
        if count > PINS_MAX { Err(Unresolved::TooMany) } else { Ok(()) }
    }
}

impl Catalogue {
    /// Pins all that these tasks and flows are now, and all that those flows call, each once.
    ///
    /// # Errors
    /// The first that was not found.
    pub async fn pins(
        &self,
        tenant: &Tenant,
        tasks: impl IntoIterator<Item = TaskRef>,
        flows: impl IntoIterator<Item = (FlowName, Option<Version>)>,
    ) -> Result<Pins, Unresolved> {
        let nowhere = |called| Use { place: String::new(), called };
        let tasks = tasks.into_iter().map(Called::Task);
        let uses = tasks.chain(flows.into_iter().map(|(name, version)| Called::Flow(name, version)));
        let uses: Vec<Use> = uses.map(nowhere).collect();
        self.pins_of(tenant, uses).await.map_err(|unpinned| match unpinned {
            Unpinned::Failed(unresolved) => unresolved,
            Unpinned::Unknown(all) => all.into_iter().next().map_or(Unresolved::TooMany, |unknown| unknown.why),
        })
    }

    /// The same for what a document uses.
    ///
    /// # Errors
    /// All that was not found, with the places that call it.
    pub async fn pins_of(&self, tenant: &Tenant, uses: Vec<Use>) -> Result<Pins, Unpinned> {
        let mut finding = Finding::default();
        let order: BTreeMap<String, usize> =
            uses.iter().enumerate().map(|(position, used)| (used.place.clone(), position)).collect();
        finding.add(None, uses);
        while let Some((name, version)) = finding.left.pop_front().filter(|_| !finding.is_full()) {
            self.pin_flow(tenant, &mut finding, name, version).await?;
            finding.check_count()?;
        }
        let tasks = std::mem::take(&mut finding.tasks);
        let tasks = tasks.into_iter().filter_map(|(task, places)| Some((task.parse::<TaskRef>().ok()?, places)));
        for (task, places) in tasks {
            if finding.is_full() {
                break;
            }
            self.pin_task(tenant, &mut finding, task, &places).await?;
            finding.check_count()?;
        }
        if finding.unknown.is_empty() {
            return Ok(finding.pins);
        }
        // In the order of the document; what stored flows call comes behind.
        let position = |unknown: &Unknown| order.get(&unknown.place).filter(|_| unknown.flow.is_none()).copied();
        finding.unknown.sort_by_key(|unknown| position(unknown).unwrap_or(usize::MAX));
        Err(Unpinned::Unknown(finding.unknown))
    }

    async fn pin_flow(
        &self,
        tenant: &Tenant,
        finding: &mut Finding,
        name: FlowName,
        version: Option<Version>,
    ) -> Result<(), Unresolved> {
        let key = Pins::key(name.as_str(), version.as_ref());
        let found = match self.flow(tenant, &name, version.as_ref()).await {
            Ok(found) => found,
            Err(why @ Unresolved::Flow { .. }) => {
                let known = self.known_flows(tenant, &name).await;
                let places = finding.flows.get(&key).cloned().unwrap_or_default();
                finding.missing(&places, "flow", &why, &known);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        finding.add(Some(&name), flow::uses(&found.document));
        let document = Datum::parse(&found.text)
            .map_err(|error| Unresolved::Document { flow: name.clone(), problem: error.to_string() })?;
        let pin = Pin { version: found.record.version.clone(), digest: found.record.digest };
        finding.pins.flows.insert(key, PinnedFlow { pin, document });
        Ok(())
    }

    async fn pin_task(
        &self,
        tenant: &Tenant,
        finding: &mut Finding,
        task: TaskRef,
        places: &Places,
    ) -> Result<(), Unresolved> {
        let record = match self.module(tenant, &task.module, task.version.as_ref()).await {
            Ok(record) => record,
            Err(why @ Unresolved::Module { .. }) => {
                let known = self.known_modules(tenant, &task).await;
                finding.missing(places, "task", &why, &known);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if record.task(&task.task).is_none() {
            let (module, version) = (record.name.clone(), record.version.clone());
            let why = Unresolved::Task { module, version, task: task.task };
            let known: Vec<String> = record.tasks.iter().take(KNOWN_MAX).map(|task| task.name.to_string()).collect();
            finding.missing(places, "task", &why, &known);
            return Ok(());
        }
        let pin = Pin { version: record.version.clone(), digest: record.digest };
        finding.pins.modules.insert(Pins::key(task.module.as_str(), task.version.as_ref()), pin);
        Ok(())
    }

    /// The versions of a module, or, where it has none, the names of those that there are. It is a help: where that cannot be read
    /// there is none.
    async fn known_modules(&self, tenant: &Tenant, task: &TaskRef) -> Vec<String> {
        let bodies = self.bodies(&subject::modules(tenant)).await;
        let records = bodies.iter().filter_map(|body| module::decode(body).ok()).filter(|record| !record.removed);
        candidates(records.map(|record| (record.name.to_string(), record.version.to_string())), task.module.as_str())
    }

    /// The same of a flow.
    async fn known_flows(&self, tenant: &Tenant, name: &FlowName) -> Vec<String> {
        let bodies = self.bodies(&subject::flows(tenant)).await;
        let records = bodies.iter().filter_map(|body| FlowRecord::decode(body).ok());
        candidates(records.map(|record| (record.name.to_string(), record.version.to_string())), name.as_str())
    }

    async fn bodies(&self, filter: &str) -> Vec<bytes::Bytes> {
        let Ok(messages) = self.broker.streams.read(filter, Start::LastPerSubject, false).await else {
            return Vec::new();
        };
        messages.filter_map(|message| async { Some(message.ok()?.payload) }).collect().await
    }
}

/// Of names and versions: the versions of `name`, else all names.
fn candidates(all: impl Iterator<Item = (String, String)>, name: &str) -> Vec<String> {
    let all: Vec<(String, String)> = all.collect();
    let versions = all.iter().filter(|(other, _)| other == name).map(|(name, version)| format!("{name}@{version}"));
    let mut known: Vec<String> = versions.collect();
    if known.is_empty() {
        known = all.into_iter().map(|(name, _)| name).collect();
        known.sort_unstable();
        known.dedup();
    }
    known.truncate(KNOWN_MAX);
    known
}

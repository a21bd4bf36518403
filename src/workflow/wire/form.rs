//! The JSON forms of records.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::model::datum::Elsewhere;
use crate::model::{Datum, Failure, FlowName, RunId, SignalName};
use crate::protocol::Rejection;
use crate::workflow::journal::{
    Decision, End, Ending, Event, Outcome, Parent, Pin, PinnedFlow, Pins, RunLimits, Start,
};

/// A value: its text as it is, and what stands elsewhere.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DatumForm<'a> {
    #[serde(borrow)]
    json: &'a RawValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    elsewhere: Vec<Elsewhere>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinnedFlowForm<'a> {
    pin: Pin,
    #[serde(borrow)]
    document: DatumForm<'a>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinsForm<'a> {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    modules: BTreeMap<String, Pin>,
    #[serde(borrow, default, skip_serializing_if = "BTreeMap::is_empty")]
    flows: BTreeMap<String, PinnedFlowForm<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StartForm<'a> {
    core_version: u32,
    run: RunId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flow: Option<FlowName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<Pin>,
    #[serde(borrow)]
    document: DatumForm<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    input: Option<DatumForm<'a>>,
    #[serde(borrow, default)]
    pins: PinsForm<'a>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
    limits: RunLimits,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DecisionForm<'a> {
    #[serde(borrow)]
    Value(DatumForm<'a>),
    Holds(bool),
    Branch(Option<u32>),
    Millis(u64),
    #[serde(borrow)]
    Pins(PinsForm<'a>),
    Failed(Failure),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChildForm<'a> {
    #[serde(borrow)]
    Succeeded(DatumForm<'a>),
    Failed(Failure),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignalForm<'a> {
    name: SignalName,
    #[serde(borrow)]
    payload: DatumForm<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndingForm<'a> {
    #[serde(borrow)]
    Succeeded(DatumForm<'a>),
    Failed(Failure),
    Cancelled,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndForm<'a> {
    #[serde(borrow)]
    result: EndingForm<'a>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    compensation_failures: Vec<Failure>,
}

impl<'a> DatumForm<'a> {
    fn of(datum: &'a Datum) -> Self {
        // The text of a datum is one JSON value, trimmed; that it is read once more keeps unsafe code out of here.
        let json = serde_json::from_slice(datum.text()).unwrap_or(RawValue::NULL);
        Self { json, elsewhere: datum.elsewhere().to_vec() }
    }

    /// The datum, whose text is a part of `body`.
    fn read(self, body: &Bytes) -> Result<Datum, Rejection> {
        let text = body.slice_ref(self.json.get().as_bytes());
        Datum::of_parts(&text, self.elsewhere).map_err(|error| Rejection::new("value", error))
    }
}

impl<'a> PinsForm<'a> {
    fn of(pins: &'a Pins) -> Self {
        let flow =
            |flow: &'a PinnedFlow| PinnedFlowForm { pin: flow.pin.clone(), document: DatumForm::of(&flow.document) };
        Self {
            modules: pins.modules.clone(),
            flows: pins.flows.iter().map(|(name, pinned)| (name.clone(), flow(pinned))).collect(),
        }
    }

    fn read(self, body: &Bytes) -> Result<Pins, Rejection> {
        let flow = |(name, form): (String, PinnedFlowForm<'_>)| {
            Ok((name, PinnedFlow { pin: form.pin, document: form.document.read(body)? }))
        };
        Ok(Pins { modules: self.modules, flows: self.flows.into_iter().map(flow).collect::<Result<_, Rejection>>()? })
    }
}

fn written(form: &impl Serialize) -> Bytes {
    // Every key is a text and every number is finite: nothing in these forms can fail to be written.
    serde_json::to_vec(form).unwrap_or_default().into()
}

fn read<'a, T: Deserialize<'a>>(what: &str, body: &'a Bytes) -> Result<T, Rejection> {
    serde_json::from_slice(body).map_err(|error| Rejection::new(what, error))
}

pub(super) fn start(start: &Start) -> Bytes {
    written(&StartForm {
        core_version: start.core_version,
        run: start.run.clone(),
        flow: start.flow.clone(),
        pin: start.pin.clone(),
        document: DatumForm::of(&start.document),
        input: start.input.as_ref().map(DatumForm::of),
        pins: PinsForm::of(&start.pins),
        labels: start.labels.clone(),
        parent: start.parent.clone(),
        limits: start.limits,
    })
}

pub(super) fn read_start(body: &Bytes) -> Result<Start, Rejection> {
    let form: StartForm<'_> = read("start record", body)?;
    Ok(Start {
        core_version: form.core_version,
        run: form.run,
        flow: form.flow,
        pin: form.pin,
        document: form.document.read(body)?,
        input: form.input.map(|input| input.read(body)).transpose()?,
        pins: form.pins.read(body)?,
        labels: form.labels,
        parent: form.parent,
        limits: form.limits,
    })
}

pub(super) fn decision(decision: &Decision) -> Bytes {
    written(&match decision {
        Decision::Value(value) => DecisionForm::Value(DatumForm::of(value)),
        Decision::Holds(holds) => DecisionForm::Holds(*holds),
        // A document of 1 MiB has no more branches than that.
        Decision::Branch(branch) => DecisionForm::Branch(branch.map(|at| u32::try_from(at).unwrap_or(u32::MAX))),
        Decision::Millis(millis) => DecisionForm::Millis(*millis),
        Decision::Pins(pins) => DecisionForm::Pins(PinsForm::of(pins)),
        Decision::Failed(failure) => DecisionForm::Failed(failure.clone()),
    })
}

pub(super) fn read_decision(body: &Bytes) -> Result<Decision, Rejection> {
    Ok(match read("decision", body)? {
        DecisionForm::Value(value) => Decision::Value(value.read(body)?),
        DecisionForm::Holds(holds) => Decision::Holds(holds),
        DecisionForm::Branch(branch) => Decision::Branch(branch.map(|at| usize::try_from(at).unwrap_or(usize::MAX))),
        DecisionForm::Millis(millis) => Decision::Millis(millis),
        DecisionForm::Pins(pins) => Decision::Pins(Box::new(pins.read(body)?)),
        DecisionForm::Failed(failure) => Decision::Failed(failure),
    })
}

pub(super) fn child(end: &Result<Datum, Failure>) -> Bytes {
    written(&match end {
        Ok(output) => ChildForm::Succeeded(DatumForm::of(output)),
        Err(failure) => ChildForm::Failed(failure.clone()),
    })
}

pub(super) fn read_child(body: &Bytes) -> Result<Result<Datum, Failure>, Rejection> {
    Ok(match read("end of a child run", body)? {
        ChildForm::Succeeded(output) => Ok(output.read(body)?),
        ChildForm::Failed(failure) => Err(failure),
    })
}

pub(super) fn signal(name: &SignalName, payload: &Datum) -> Bytes {
    written(&SignalForm { name: name.clone(), payload: DatumForm::of(payload) })
}

pub(super) fn read_signal(body: &Bytes) -> Result<(SignalName, Datum), Rejection> {
    let form: SignalForm<'_> = read("signal", body)?;
    Ok((form.name, form.payload.read(body)?))
}

pub(super) fn end(end: &End) -> Bytes {
    let result = match &end.result {
        Ending::Succeeded(output) => EndingForm::Succeeded(DatumForm::of(output)),
        Ending::Failed(failure) => EndingForm::Failed(failure.clone()),
        Ending::Cancelled => EndingForm::Cancelled,
    };
    written(&EndForm { result, compensation_failures: end.compensation_failures.clone() })
}

pub(super) fn read_end(body: &Bytes) -> Result<End, Rejection> {
    let form: EndForm<'_> = read("end record", body)?;
    let result = match form.result {
        EndingForm::Succeeded(output) => Ending::Succeeded(output.read(body)?),
        EndingForm::Failed(failure) => Ending::Failed(failure),
        EndingForm::Cancelled => Ending::Cancelled,
    };
    Ok(End { result, compensation_failures: form.compensation_failures })
}

pub(super) fn document_mut(event: &mut Event) -> Option<&mut Datum> {
    match event {
        Event::Start(start) => Some(&mut Arc::make_mut(start).document),
        Event::Outcome { outcome: Outcome::Replaced(document), .. } => Some(document),
        Event::Outcome { .. }
        | Event::Timer(_)
        | Event::Decided { .. }
        | Event::Child { .. }
        | Event::Signal { .. }
        | Event::Cancel { .. }
        | Event::Pause
        | Event::Resume
        | Event::Retry
        | Event::End { .. } => None,
    }
}

pub(super) fn values_mut(event: &mut Event) -> Vec<&mut Datum> {
    fn documents(pins: &mut Pins) -> impl Iterator<Item = &mut Datum> {
        pins.flows.values_mut().map(|flow| &mut flow.document)
    }
    match event {
        Event::Start(start) => {
            let start = Arc::make_mut(start);
            std::iter::once(&mut start.document).chain(&mut start.input).chain(documents(&mut start.pins)).collect()
        }
        Event::Decided { decision: Decision::Value(value), .. }
        | Event::Child { end: Ok(value), .. }
        | Event::Signal { payload: value, .. }
        | Event::End { end: End { result: Ending::Succeeded(value), .. }, .. }
        | Event::Outcome { outcome: Outcome::Succeeded(value) | Outcome::Replaced(value), .. } => vec![value],
        Event::Decided { decision: Decision::Pins(pins), .. } => documents(pins).collect(),
        Event::Decided { .. }
        | Event::Child { .. }
        | Event::End { .. }
        | Event::Outcome { .. }
        | Event::Timer(_)
        | Event::Cancel { .. }
        | Event::Pause
        | Event::Resume
        | Event::Retry => Vec::new(),
    }
}

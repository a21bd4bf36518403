//! The typed contract: every exported function of a component is a task, and JSON is mapped to the types of its parameters
//! and its result. No SDK.
//!
//! Reading order: [`shape`] is a WIT type as the mapping needs it, [`arguments`] and [`read`] make values of JSON, [`write`]
//! makes JSON of values, [`schema`] says so in JSON Schema, [`names`] finds the names of tasks, [`failure`] reads errors.
//! All of them are pure: nothing but this file calls a guest.

mod arguments;
mod failure;
mod names;
mod read;
mod schema;
mod shape;
mod trial;
mod write;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tables;

use bytes::Bytes;
use serde_json::json;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Val};

use super::guest::Guest;
use super::notes::cut;
use super::rejection::Rejection;
use super::trap;
use crate::model::module::TASKS_MAX;
use crate::model::{Failure, Kind, Outcome, TaskDescription, TaskName};
use names::Path;
use shape::{MODULE_NODES_MAX, Shape, Signature, Unmapped};
pub use trial::typed_trial;
use write::{Unwritten, write};

/// Text of one summary.
const SUMMARY_BYTES_MAX: usize = 400;

/// Functions that are named as left out, of those that cannot be tasks.
const LEFT_OUT_MAX: usize = 5;

/// The exported functions of a component that are tasks.
pub(super) struct Functions {
    tasks: Vec<Function>,
    left_out: Vec<(Path, Unmapped)>,
}

struct Function {
    task: TaskName,
    path: Path,
    export: ComponentExportIndex,
    signature: Signature,
}

impl Functions {
    /// What a component exports. There may be no task among it: [`descriptions`](Self::descriptions) says so.
    pub(super) fn of(component: &Component) -> wasmtime::Result<Self> {
        let (added, exported): (Vec<Exported>, Vec<Exported>) =
            exported(component)?.into_iter().partition(|(path, function, _)| {
                let params: Vec<&str> = function.params().map(|(name, _)| name).collect();
                path.is_of_toolchain(&params)
            });
        let paths: Vec<Path> = exported.iter().map(|(path, ..)| path.clone()).collect();
        let mut tasks = Vec::new();
        let mut left_out: Vec<(Path, Unmapped)> =
            added.into_iter().map(|(path, ..)| (path, Unmapped::OfToolchain)).collect();
        let mut nodes_left = MODULE_NODES_MAX;
        for ((path, function, export), name) in exported.into_iter().zip(names::choose(&paths)) {
            let signature = match name {
                None if path.function.starts_with('[') => Err(Unmapped::OfResource),
                None => Err(Unmapped::Name),
                Some(task) => Signature::of(&function, &mut nodes_left).map(|signature| (task, signature)),
            };
            match signature {
                Ok((task, signature)) => tasks.push(Function { task, path, export, signature }),
                Err(why) => left_out.push((path, why)),
            }
        }
        Ok(Self { tasks, left_out })
    }

    /// The tasks with their schemas.
    ///
    /// # Errors
    /// A component none of whose functions can be called with JSON.
    pub(super) fn descriptions(&self) -> Result<Vec<TaskDescription>, Rejection> {
        if self.tasks.is_empty() {
            let why = |(path, why): &(Path, Unmapped)| format!("{path}: {why}");
            let why: Vec<String> = self.left_out.iter().take(LEFT_OUT_MAX).map(why).collect();
            let message = format!("no exported function can be a task: {}", why.join("; "));
            return Err(Rejection::BadDescription { message });
        }
        let describe = |function: &Function| TaskDescription {
            name: function.task.clone(),
            summary: function.summary(),
            input_schema: Some(schema::input(&function.signature)),
            output_schema: Some(schema::output(&function.signature)),
            media_type: None,
        };
        Ok(self.tasks.iter().map(describe).collect())
    }

    fn find(&self, task: &TaskName) -> Option<&Function> {
        self.tasks.iter().find(|function| function.task == *task)
    }
}

type Exported = (Path, wasmtime::component::types::ComponentFunc, ComponentExportIndex);

/// All exported functions, at the root and in interfaces.
fn exported(component: &Component) -> wasmtime::Result<Vec<Exported>> {
    let engine = component.engine();
    let mut found: Vec<Exported> = Vec::new();
    for (name, export) in component.component_type().exports(engine) {
        let Some(index) = component.get_export_index(None, name) else { continue };
        match export.ty {
            ComponentItem::ComponentFunc(function) => {
                found.push((Path { interface: None, function: name.to_owned() }, function, index));
            }
            ComponentItem::ComponentInstance(instance) => {
                for (function, export) in instance.exports(engine) {
                    let at = component.get_export_index(Some(&index), function);
                    if let (ComponentItem::ComponentFunc(ty), Some(at)) = (export.ty, at) {
                        found.push((Path { interface: Some(name.to_owned()), function: function.to_owned() }, ty, at));
                    }
                }
            }
            _ => {}
        }
        if found.len() > TASKS_MAX {
            return Err(wasmtime::Error::msg(format!("it exports more than {TASKS_MAX} functions")));
        }
    }
    Ok(found)
}

impl Function {
    /// The function as its author would know it, since a component holds no comments.
    fn summary(&self) -> String {
        let params: Vec<String> =
            self.signature.params.iter().map(|(name, shape)| format!("{name}: {shape}")).collect();
        let result = self.signature.result.as_ref().map(|shape| format!(" -> {shape}")).unwrap_or_default();
        cut(&format!("{}({}){result}", self.path, params.join(", ")), SUMMARY_BYTES_MAX).to_owned()
    }
}

/// Runs a task of the module: a call of its function.
pub(super) async fn call(
    functions: &Functions,
    pre: &InstancePre<Guest>,
    store: &mut Store<Guest>,
    input: &Bytes,
) -> wasmtime::Result<Outcome> {
    let Some(function) = functions.find(&store.data().attempt.task) else {
        let message = format!("the module exports no function {}", store.data().attempt.task);
        return Ok(Outcome::Failed(Failure::new(Kind::TaskMissing, message)));
    };
    let arguments = match arguments::read(&function.signature.params, input) {
        Ok(arguments) => arguments,
        Err(mismatch) => {
            let failure = Failure::new(Kind::BadInput, mismatch.to_string());
            return Ok(Outcome::Failed(failure.with_detail(json!({ "pointer": mismatch.pointer }))));
        }
    };
    let instance = pre.instantiate_async(&mut *store).await?;
    let Some(callee) = instance.get_func(&mut *store, function.export) else {
        return Err(wasmtime::Error::msg("an exported function is gone"));
    };
    // The values are replaced by what the function returns.
    let mut returned: Vec<Val> = function.signature.result.iter().map(|_| Val::Bool(false)).collect();
    callee.call_async(&mut *store, &arguments, &mut returned).await?;
    Ok(outcome(function.signature.result.as_ref().zip(returned.first()), store.data().output_bytes_max))
}

/// The outcome of what a function returned.
fn outcome(returned: Option<(&Shape, &Val)>, output_bytes_max: u64) -> Outcome {
    let value = match returned {
        Some((Shape::Result { err, .. }, Val::Result(Err(error)))) => {
            return Outcome::Failed(failure::failure(err.as_deref().zip(error.as_deref())));
        }
        Some((Shape::Result { ok, .. }, Val::Result(Ok(value)))) => ok.as_deref().zip(value.as_deref()),
        other => other,
    };
    let Some((shape, value)) = value else { return Outcome::Output(Bytes::from_static(b"null")) };
    match write(shape, value, usize::try_from(output_bytes_max).unwrap_or(usize::MAX)) {
        Ok(text) => Outcome::Output(text.into()),
        Err(Unwritten::TooLarge) => Outcome::Failed(trap::output_limit(output_bytes_max)),
        Err(error @ Unwritten::OtherShape) => Outcome::Failed(Failure::new(Kind::Trap, error.to_string())),
    }
}

//! A loaded module: its machine code, linked once with what its contract offers.

use std::sync::Arc;

use wasmtime::component::{Component, InstancePre as ComponentInstancePre, Linker as ComponentLinker};
use wasmtime::{Engine, InstancePre, Linker, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::artifact::{Build, Code};
use super::compile::Compilation;
use super::error::Error;
use super::guest::Guest;
use super::http::Client;
use super::machine::Machine;
use super::rejection::Rejection;
use super::task::TaskPre;
use super::typed::{self, Functions};
use super::{command, task, wasi_grants};
use crate::model::{Contract, Digest, EngineClass, Outcome};

/// A module that is ready to be invoked.
pub struct Module {
    build: Build,
    artifact_bytes: u64,
    compilation: Option<Compilation>,
    /// What runs it.
    pub(super) machine: Arc<Machine>,
    /// For modules that import `wasi:http`: others never make a request.
    pub(super) http: Option<Arc<Client>>,
    pub(super) linked: Linked,
}

/// Code with its imports resolved: an instance of it is made for every invocation.
pub(super) enum Linked {
    Command(InstancePre<Guest>),
    CommandComponent(CommandPre<Guest>),
    Task(TaskPre<Guest>),
    Typed(ComponentInstancePre<Guest>, Functions),
}

impl Module {
    /// The digest of its Wasm.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.build.digest
    }

    /// How it is called.
    #[must_use]
    pub const fn contract(&self) -> Contract {
        self.build.contract
    }

    /// The engine that runs it.
    #[must_use]
    pub const fn class(&self) -> EngineClass {
        self.build.class
    }

    /// Bytes of its artifact, which is mapped while the module is loaded.
    #[must_use]
    pub const fn artifact_bytes(&self) -> u64 {
        self.artifact_bytes
    }

    /// What its compilation took, if that was now: an artifact from the disk does not tell.
    #[must_use]
    pub const fn compilation(&self) -> Option<Compilation> {
        self.compilation
    }

    /// Links code that was compiled from a module.
    pub(super) fn link(machine: Arc<Machine>, build: Build, code: &Code, artifact_bytes: u64) -> Result<Self, Error> {
        let linked = machine.linkers.link(build.contract, code)?;
        let http = match code {
            Code::Component(component) if imports_http(component) => Some(Arc::clone(&machine.linkers.http)),
            Code::Component(_) | Code::Module(_) => None,
        };
        Ok(Self { build, artifact_bytes, compilation: None, machine, http, linked })
    }

    pub(super) const fn compiled_with(mut self, compilation: Compilation) -> Self {
        self.compilation = Some(compilation);
        self
    }
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} module {}", self.build.contract, self.build.digest)
    }
}

/// What modules may import, by kind. Everything in it that could reach outside is inert.
pub(super) struct Linkers {
    core: Linker<Guest>,
    component: ComponentLinker<Guest>,
    http: Arc<Client>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine, http: Arc<Client>) -> Result<Self, Error> {
        let mut core = Linker::new(engine);
        let mut component = ComponentLinker::new(engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut core, Guest::wasi_p1)
            .and_then(|()| wasmtime_wasi::p2::add_to_linker_async(&mut component))
            .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component))
            .and_then(|()| task::link(&mut component))
            .and_then(|()| wasi_grants::link(&mut component))
            .map_err(Error::engine("link what guests may import"))?;
        Ok(Self { core, component, http })
    }

    fn link(&self, contract: Contract, code: &Code) -> Result<Linked, Error> {
        let linked = match (contract, code) {
            (Contract::Command, Code::Module(module)) => self.core.instantiate_pre(module).map(Linked::Command),
            (Contract::CommandComponent, Code::Component(component)) => {
                self.component.instantiate_pre(component).and_then(CommandPre::new).map(Linked::CommandComponent)
            }
            (Contract::Task, Code::Component(component)) => {
                self.component.instantiate_pre(component).and_then(TaskPre::new).map(Linked::Task)
            }
            (Contract::Typed, Code::Component(component)) => {
                let functions = Functions::of(component);
                let pre = self.component.instantiate_pre(component);
                functions.and_then(|functions| Ok(Linked::Typed(pre?, functions)))
            }
            (Contract::Command, Code::Component(_)) | (_, Code::Module(_)) => {
                Err(wasmtime::Error::msg("the artifact is of another contract"))
            }
        };
        Ok(linked.map_err(|error| Rejection::DoesNotLink { message: format!("{error:#}") })?)
    }
}

fn imports_http(component: &Component) -> bool {
    component.component_type().imports(component.engine()).any(|(name, _)| name.starts_with("wasi:http/"))
}

/// What a call into a guest came back with.
pub(super) enum Returned {
    Exit(i32),
    Task(Box<Result<task::TaskOutcome, task::TaskFailure>>),
    Typed(Outcome),
}

impl Linked {
    /// Makes an instance and calls it.
    pub(super) async fn call(&self, store: &mut Store<Guest>, input: &bytes::Bytes) -> wasmtime::Result<Returned> {
        match self {
            Self::Command(pre) => command::call_core(pre, store).await.map(Returned::Exit),
            Self::CommandComponent(pre) => command::call_component(pre, store).await.map(Returned::Exit),
            Self::Task(pre) => task::call(pre, store, input).await.map(Box::new).map(Returned::Task),
            Self::Typed(pre, functions) => typed::call(functions, pre, store, input).await.map(Returned::Typed),
        }
    }
}

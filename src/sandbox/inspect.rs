//! What a parser can say of an upload before any compiler sees it: a pure function over bytes.
//!
//! **Invariant:** every section is counted before it is read, so that the work is bounded by the size of the file.

use std::borrow::Cow;

use wasmparser::component_types::{ComponentEntityType, ComponentItem};
use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, ExternalKind, FuncValidatorAllocations, Parser, Payload,
    TypeRef, ValidPayload, Validator,
};

use super::engine::{EXCEPTIONS, FEATURES};
use super::preview1;
use super::rejection::Rejection;
use crate::model::Contract;

/// The largest module: three times CPython, the largest measured.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// The longest function body. The largest seen in a legitimate module is 427 KB (CPython's interpreter loop).
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Caps of what a compiler is given. CPython with extensions has 40,000 functions; the rest is far above what was seen.
const SECTIONS_MAX: u64 = 50_000;
const FUNCTIONS_MAX: u64 = 200_000;
const TYPES_MAX: u64 = 100_000;
const IMPORTS_MAX: u64 = 20_000;
const EXPORTS_MAX: u64 = 100_000;
const NESTING_MAX: u64 = 8;
const CUSTOM_SECTIONS_MAX: u64 = 2_000;

/// Debug information may be most of a file.
const CUSTOM_BYTES_MAX: u64 = 48 << 20;

const PAGE_BYTES: u64 = 64 << 10;

/// What was found in an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection<'a> {
    /// How the module is called.
    pub contract: Contract,
    /// What is to be stored: the bytes themselves, or the component that they were turned into.
    pub stored: Cow<'a, [u8]>,
    /// What the module asks of its host, as in `wasi_snapshot_preview1.fd_write` or `wasi:cli/stdout@0.2.0`.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
    /// Functions with a body.
    pub functions: u64,
    /// Bytes of code of the longest of them.
    pub body_bytes_max: u64,
    /// Bytes of linear memory that an instance begins with.
    pub memory_min_bytes: u64,
    /// Whether it uses exceptions of Wasm: engines of the usual class do not run it.
    pub exceptions: bool,
}

/// Checks an upload by parsing it, and finds its contract.
///
/// # Errors
/// Whatever keeps the platform from running it, named.
pub fn inspect(bytes: &[u8]) -> Result<Inspection<'_>, Rejection> {
    if bytes.len() > MODULE_BYTES_MAX {
        return Err(Rejection::TooLarge { size: bytes.len() as u64, max: MODULE_BYTES_MAX as u64 });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Rejection::NotWasm);
    }
    let found = Scan::of_either(bytes)?;
    if found.encoding == Encoding::Module && found.carries_component_type {
        let component = encode(bytes)?;
        let found = Scan::of_either(&component)?;
        return found.conclude(Cow::Owned(component));
    }
    found.conclude(Cow::Borrowed(bytes))
}

/// Turns a core module that carries its component type into a component.
fn encode(bytes: &[u8]) -> Result<Vec<u8>, Rejection> {
    let encoded = std::panic::catch_unwind(|| {
        wit_component::ComponentEncoder::default().validate(true).module(bytes).and_then(|mut encoder| encoder.encode())
    });
    match encoded {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(Rejection::NotAComponent { message: format!("{error:#}") }),
        // The encoder asserts what it expects of toolchains; an upload may be anything.
        Err(_) => Err(Rejection::NotAComponent { message: "the component type and the module do not fit".to_owned() }),
    }
}

/// What one pass over the bytes collects.
struct Scan {
    encoding: Encoding,
    carries_component_type: bool,
    imports: Vec<Import>,
    exports: Vec<Export>,
    counts: Counts,
    body_bytes_max: u64,
    memory_min_bytes: u64,
    exceptions: bool,
}

struct Import {
    name: String,
    is_function: bool,
}

struct Export {
    name: String,
    is_function: bool,
    /// Of an exported interface.
    has_functions: bool,
}

#[derive(Default)]
struct Counts {
    sections: u64,
    functions: u64,
    types: u64,
    imports: u64,
    exports: u64,
    custom_sections: u64,
    custom_bytes: u64,
}

fn count(held: &mut u64, more: u64, what: &'static str, max: u64) -> Result<(), Rejection> {
    *held = held.saturating_add(more);
    if *held > max { Err(Rejection::TooMany { what, count: *held, max }) } else { Ok(()) }
}

fn invalid(error: impl std::fmt::Display) -> Rejection {
    Rejection::Invalid { message: error.to_string() }
}

impl Scan {
    /// What one pass finds, or a second one where the module uses exceptions.
    fn of_either(bytes: &[u8]) -> Result<Self, Rejection> {
        match Self::of(bytes, false) {
            Err(Rejection::Invalid { .. }) => Self::of(bytes, true),
            found => found,
        }
    }

    fn of(bytes: &[u8], exceptions: bool) -> Result<Self, Rejection> {
        let mut scan = Self {
            encoding: Encoding::Module,
            carries_component_type: false,
            imports: Vec::new(),
            exports: Vec::new(),
            counts: Counts::default(),
            body_bytes_max: 0,
            memory_min_bytes: 0,
            exceptions,
        };
        let features = if exceptions { FEATURES.union(EXCEPTIONS) } else { FEATURES };
        let mut validator = Validator::new_with_features(features);
        let mut allocations = FuncValidatorAllocations::default();
        let mut depth: u64 = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(invalid)?;
            scan.count(&payload)?;
            scan.collect(&payload, depth)?;
            match validator.payload(&payload).map_err(invalid)? {
                ValidPayload::Parser(_) => count(&mut depth, 1, "nested components", NESTING_MAX)?,
                ValidPayload::End(types) => {
                    if depth == 0 {
                        scan.functions_of_interfaces(&types);
                    }
                    depth = depth.saturating_sub(1);
                }
                ValidPayload::Func(function, body) => {
                    let mut function = function.into_validator(allocations);
                    function.validate(&body).map_err(invalid)?;
                    allocations = function.into_allocations();
                }
                ValidPayload::Ok => {}
            }
        }
        Ok(scan)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not counted is bounded by the size of the file")]
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), Rejection> {
        let counts = &mut self.counts;
        if !matches!(payload, Payload::CodeSectionEntry(_) | Payload::End(_)) {
            count(&mut counts.sections, 1, "sections", SECTIONS_MAX)?;
        }
        match payload {
            Payload::TypeSection(reader) => count(&mut counts.types, reader.count().into(), "types", TYPES_MAX),
            Payload::CoreTypeSection(reader) => count(&mut counts.types, reader.count().into(), "types", TYPES_MAX),
            Payload::ComponentTypeSection(reader) => {
                count(&mut counts.types, reader.count().into(), "types", TYPES_MAX)
            }
            Payload::ImportSection(reader) => count(&mut counts.imports, reader.count().into(), "imports", IMPORTS_MAX),
            Payload::ComponentImportSection(reader) => {
                count(&mut counts.imports, reader.count().into(), "imports", IMPORTS_MAX)
            }
            Payload::ExportSection(reader) => count(&mut counts.exports, reader.count().into(), "exports", EXPORTS_MAX),
            Payload::ComponentExportSection(reader) => {
                count(&mut counts.exports, reader.count().into(), "exports", EXPORTS_MAX)
            }
            Payload::FunctionSection(reader) => {
                count(&mut counts.functions, reader.count().into(), "functions", FUNCTIONS_MAX)
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.as_bytes().len() as u64;
                self.body_bytes_max = self.body_bytes_max.max(bytes);
                count(&mut 0, bytes, "bytes of code in one function", BODY_BYTES_MAX)
            }
            Payload::CustomSection(section) => {
                count(&mut counts.custom_sections, 1, "custom sections", CUSTOM_SECTIONS_MAX)?;
                let bytes = section.data().len() as u64;
                count(&mut counts.custom_bytes, bytes, "bytes of custom sections", CUSTOM_BYTES_MAX)
            }
            _ => Ok(()),
        }
    }

    /// Notes which exported interfaces have functions: their sections say only that they are instances.
    fn functions_of_interfaces(&mut self, types: &wasmparser::types::Types) {
        for export in &mut self.exports {
            let Some(item) = types.component_item_for_export(&export.name) else { continue };
            if let ComponentEntityType::Instance(id) = item.ty {
                let is_function = |item: &ComponentItem| matches!(item.ty, ComponentEntityType::Func(_));
                export.has_functions = types[id].exports.values().any(is_function);
            }
        }
    }

    /// Keeps what the contract is found from; inside of nested modules only memory matters.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the validator has seen the other sections")]
    fn collect(&mut self, payload: &Payload<'_>, depth: u64) -> Result<(), Rejection> {
        match payload {
            Payload::MemorySection(reader) => {
                for memory in reader.clone() {
                    let bytes = memory.map_err(invalid)?.initial.saturating_mul(PAGE_BYTES);
                    self.memory_min_bytes = self.memory_min_bytes.saturating_add(bytes);
                }
            }
            Payload::Version { encoding, .. } if depth == 0 => self.encoding = *encoding,
            Payload::CustomSection(section) if depth == 0 => {
                self.carries_component_type |= section.name().starts_with("component-type");
            }
            Payload::ImportSection(reader) if depth == 0 => {
                for import in reader.clone().into_imports() {
                    let import = import.map_err(invalid)?;
                    let is_function = matches!(import.ty, TypeRef::Func(_));
                    self.imports.push(Import { name: format!("{}.{}", import.module, import.name), is_function });
                }
            }
            Payload::ExportSection(reader) if depth == 0 => {
                for export in reader.clone() {
                    let export = export.map_err(invalid)?;
                    let is_function = export.kind == ExternalKind::Func;
                    self.exports.push(Export { name: export.name.to_owned(), is_function, has_functions: false });
                }
            }
            Payload::ComponentImportSection(reader) if depth == 0 => {
                for import in reader.clone() {
                    let import = import.map_err(invalid)?;
                    // Types that a world uses are imported by their own names, and ask nothing of the host.
                    if !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        self.imports.push(Import { name: import.name.name.to_owned(), is_function: false });
                    }
                }
            }
            Payload::ComponentExportSection(reader) if depth == 0 => {
                for export in reader.clone() {
                    let export = export.map_err(invalid)?;
                    let is_function = export.kind == ComponentExternalKind::Func;
                    self.exports.push(Export { name: export.name.name.to_owned(), is_function, has_functions: false });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(self, stored: Cow<'_, [u8]>) -> Result<Inspection<'_>, Rejection> {
        let contract = match self.encoding {
            Encoding::Module => self.core_contract()?,
            Encoding::Component => self.component_contract()?,
        };
        Ok(Inspection {
            contract,
            stored,
            imports: self.imports.into_iter().map(|import| import.name).collect(),
            exports: self.exports.into_iter().map(|export| export.name).collect(),
            functions: self.counts.functions,
            body_bytes_max: self.body_bytes_max,
            memory_min_bytes: self.memory_min_bytes,
            exceptions: self.exceptions,
        })
    }

    fn core_contract(&self) -> Result<Contract, Rejection> {
        for import in &self.imports {
            if !(import.is_function && preview1::offers(&import.name)) {
                let offered = "a core module may import the functions of wasi_snapshot_preview1";
                return Err(Rejection::UnknownImport { name: import.name.clone(), offered });
            }
        }
        if self.exports_function("_start") {
            return Ok(Contract::Command);
        }
        Err(Rejection::NoContract {
            rule: "a core module must export _start, or carry the component type of lovage:task",
        })
    }

    fn component_contract(&self) -> Result<Contract, Rejection> {
        for import in &self.imports {
            if import.name.starts_with("wasi:http/") {
                if HTTP.iter().any(|offered| import.name.starts_with(offered)) {
                    continue;
                }
                return Err(Rejection::NotOffered { name: import.name.clone() });
            }
            let is_of_version = !import.name.starts_with("wasi:") || import.name.contains(WASI_VERSION);
            if !(is_of_version && INTERFACES.iter().any(|prefix| import.name.starts_with(prefix))) {
                let offered = "a component may import lovage:task and, of WASI 0.2, cli, clocks, config, filesystem, http (outgoing), io, keyvalue, random and sockets";
                return Err(Rejection::UnknownImport { name: import.name.clone(), offered });
            }
        }
        // Any component may have functions of these names; the types of the SDK's world come from its package.
        let is_of_sdk = self.imports.iter().any(|import| import.name.starts_with("lovage:task/types"));
        if is_of_sdk && self.exports_function("describe") && self.exports_function("run") {
            return Ok(Contract::Task);
        }
        if self.exports.iter().any(|export| export.name.starts_with("wasi:cli/run@0.2.")) {
            return Ok(Contract::CommandComponent);
        }
        if self.exports.iter().any(|export| export.is_function || export.has_functions) {
            return Ok(Contract::Typed);
        }
        Err(Rejection::NoContract { rule: "a component must export functions, or wasi:cli/run" })
    }

    fn exports_function(&self, name: &str) -> bool {
        self.exports.iter().any(|export| export.is_function && export.name == name)
    }
}

/// The version of WASI whose interfaces are offered. Later ones need the engine's threads of components, which are off.
const WASI_VERSION: &str = "@0.2.";

/// What it offers of HTTP: requests that a guest makes, within its grants.
const HTTP: [&str; 2] = ["wasi:http/outgoing-handler@0.2.", "wasi:http/types@0.2."];

/// What the linker offers to components. All of WASI here is inert but what is granted by name: no directories, no addresses.
const INTERFACES: [&str; 9] = [
    "lovage:task/",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:config/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:keyvalue/",
    "wasi:random/",
    "wasi:sockets/",
];

//! Why a module is refused: each is said once, at the upload, in words for its author.

use crate::model::Digest;

/// A module that the platform does not run. The same bytes are always refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The bytes do not begin as Wasm does.
    #[error("not a WebAssembly binary: it does not begin with \\0asm")]
    NotWasm,
    /// The file is larger than any measured toolchain makes.
    #[error("module of {size} bytes: at most {max} are accepted")]
    TooLarge {
        /// Bytes of the module.
        size: u64,
        /// The cap.
        max: u64,
    },
    /// More of something than a compiler should be given.
    #[error("module with {count} {what}: at most {max} are accepted")]
    TooMany {
        /// What there is too much of, in the plural.
        what: &'static str,
        /// How many there are, as far as they were counted.
        count: u64,
        /// The cap.
        max: u64,
    },
    /// The parser or the validator refused it; also what uses a Wasm proposal that is off.
    #[error("invalid module: {message}")]
    Invalid {
        /// What it said, with the offset.
        message: String,
    },
    /// An import that no contract offers.
    #[error("unknown import {name}: {offered}")]
    UnknownImport {
        /// As in `env.do_magic` or `acme:api/thing`.
        name: String,
        /// What could be imported instead.
        offered: &'static str,
    },
    /// An interface of HTTP that is not offered: another version, or requests that come in.
    #[error("import {name} is not available: of wasi:http, a module may import types and outgoing-handler of 0.2")]
    NotOffered {
        /// The interface.
        name: String,
    },
    /// Nothing that can be called.
    #[error("no contract: {rule}")]
    NoContract {
        /// What a module of its form must export.
        rule: &'static str,
    },
    /// A core module that carries a component type could not be turned into a component.
    #[error("module carries a component type, but makes no component: {message}")]
    NotAComponent {
        /// What the encoder said.
        message: String,
    },
    /// The bytes are not those that were named.
    #[error("module bytes have digest {found}, not {named}")]
    DigestMismatch {
        /// What was asked for.
        named: Digest,
        /// What came.
        found: Digest,
    },
    /// It uses exceptions of Wasm, and nobody said so.
    #[error(
        "module uses exceptions of Wasm: the engine of its manifest has none (its line `exceptions = true` chooses one that has)"
    )]
    NeedsExceptions,
    /// The compiler took more than it may.
    #[error("module takes more than {limit} to compile")]
    CompileLimit {
        /// As in "60 s of CPU".
        limit: String,
    },
    /// The compiler refused it.
    #[error("module does not compile: {message}")]
    DoesNotCompile {
        /// What it said.
        message: String,
    },
    /// It begins with more memory, tables or instances than there are for any module.
    #[error("module does not fit: {message}")]
    DoesNotFit {
        /// What the pool of instances said.
        message: String,
    },
    /// The module does not fit what its contract offers.
    #[error("module does not link: {message}")]
    DoesNotLink {
        /// What the linker said.
        message: String,
    },
    /// `describe` failed, or named tasks as no task may be named.
    #[error("module does not describe its tasks: {message}")]
    BadDescription {
        /// The failure or the fault.
        message: String,
    },
}

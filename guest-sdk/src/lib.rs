#![doc = include_str!("guide.md")]

mod failure;

mod arguments;
mod bytes;
#[cfg(any(test, all(target_arch = "wasm32", feature = "heap")))]
mod heap;
mod output;
mod schema;
mod task;

mod host;

pub mod blob;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "http")]
#[cfg_attr(target_arch = "wasm32", path = "http_wire.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "http_stand_in.rs")]
mod http_wire;
pub mod kv;
pub mod secrets;

#[cfg_attr(target_arch = "wasm32", path = "wire.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "stand_in.rs")]
mod wire;

pub use crate::bytes::Bytes;
pub use crate::failure::Failure;
pub use crate::host::{Attempt, Level, attempt, is_cancelled, log, progress};
pub use crate::output::{Encoded, Flow, Outcome, Output};
pub use crate::task::{Description, Task};

/// Lets a struct or enum be an input or output: derives serde's `Serialize` and `Deserialize` and
/// schemars' `JsonSchema`.
///
/// It is those three derives and nothing more, taken from this crate, so that a guest need not
/// depend on serde and schemars itself; `#[serde(...)]` attributes work inside. A type that derives
/// them by itself serves as well.
pub use lovage_guest_macros::data;

/// Makes a function a task of the module.
///
/// The function stays as it is and can be called and tested as any other. Its doc comment becomes
/// the task's summary, its types become JSON Schemas. `#[task(name = "other-name")]` gives it
/// another name than the function's, and `#[task(media_type = "image/jpeg")]` makes the bytes that
/// it returns ([`Bytes`], `Vec<u8>`, `String`) the output as they are, in place of JSON.
///
/// The crate's documentation says how inputs are read and what may be returned.
pub use lovage_guest_macros::task;

pub use {schemars, serde, serde_json};

/// Exports the named tasks: one line, at the end of the guest.
///
/// ```
/// # use lovage_guest::task;
/// #[task]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// lovage_guest::export!(add);
/// ```
#[macro_export]
macro_rules! export {
    ($($task:ty),+ $(,)?) => {
        const _: () = {
            use $crate::__private::Entry;

            const TASKS: &[Entry] = &[$(Entry::of::<$task>()),+];

            $crate::__export_component!(TASKS);
        };
    };
}

/// Exports the tasks as the component's functions.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($tasks:expr) => {
        struct Module;

        impl $crate::__private::Guest for Module {
            fn describe() -> $crate::__private::Descriptions {
                $crate::__private::describe($tasks)
            }

            fn run(
                task: $crate::__private::Name,
                input: $crate::__private::Input,
            ) -> $crate::__private::Ending {
                $crate::__private::run($tasks, &task, &input)
            }
        }

        $crate::__private::bindings::export!(Module with_types_in $crate::__private::bindings);
    };
}

/// Outside of WebAssembly there is nothing to export to; the tasks are still checked.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_component {
    ($tasks:expr) => {
        const _: &[$crate::__private::Entry] = $tasks;
    };
}

/// What the macros' code calls. Not part of the API: it may change with any version.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::{Arguments, no_argument, one_argument};
    pub use crate::output::{Fallible, encode, encode_bytes};
    pub use crate::schema::{ArgumentsSchema, schema_of_input, schema_of_nothing};
    pub use crate::task::{Entry, call};
    #[cfg(target_arch = "wasm32")]
    pub use crate::wire::{Descriptions, Ending, Guest, Input, Name, bindings, describe, run};
}

//! A module's tasks: what `describe` tells of them, and how `run` finds one.

use crate::{Encoded, Failure};

/// What `#[task]` makes of a function, under the function's own name.
///
/// ```
/// use lovage_guest::{Encoded, Task, task};
///
/// #[task]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// assert_eq!(add::call(b"[2, 3]"), Ok(Encoded::Value(b"5".to_vec())));
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is no task", note = "put `#[lovage_guest::task]` on the function")]
pub trait Task {
    /// The name of the task in its module.
    const NAME: &'static str;

    /// What the module tells of the task.
    fn description() -> Description;

    /// Runs the task as the platform does: reads the input, calls the function, writes the output.
    ///
    /// # Errors
    /// The function's own failure, or a permanent one where the input does not fit.
    fn call(input: &[u8]) -> Result<Encoded, Failure>;
}

/// What a module tells of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The name of the task in its module.
    pub name: &'static str,
    /// The function's doc comment.
    pub summary: &'static str,
    /// The JSON Schema of the input.
    pub input_schema: Option<String>,
    /// The JSON Schema of the output; none for a flow and for other media types.
    pub output_schema: Option<String>,
    /// The media type of the output where it is not JSON.
    pub media_type: Option<&'static str>,
}

/// A task in the list that a module exports.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    description: fn() -> Description,
    call: fn(&[u8]) -> Result<Encoded, Failure>,
}

impl Entry {
    /// The entry of a function with `#[task]`.
    pub const fn of<T: Task>() -> Self {
        Self { name: T::NAME, description: T::description, call: T::call }
    }

    /// What the module tells of the task.
    pub fn description(&self) -> Description {
        (self.description)()
    }
}

/// Calls the task of that name.
pub fn call(tasks: &[Entry], name: &str, input: &[u8]) -> Result<Encoded, Failure> {
    match tasks.iter().find(|task| task.name == name) {
        Some(task) => (task.call)(input),
        None => {
            let known: Vec<_> = tasks.iter().map(|task| task.name).collect();
            Err(Failure::permanent(format_args!("no task `{name}`: this module has {}", known.join(", "))))
        }
    }
}

//! What makes the server end with its parent: the program runs itself once more, asks the kernel to be ended when its parent
//! ends, and becomes the server. Asking survives `exec`, and needs no code between `fork` and `exec`, which would be unsafe.

use std::ffi::OsString;
use std::io;

/// The hidden subcommand: `<program> supervise-broker <parent's process id> <server> <arguments>`.
pub const SUPERVISE: &str = "supervise-broker";

/// Becomes the server. `arguments` are those behind [`SUPERVISE`]. Returns only if that fails.
#[must_use]
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    let mut arguments = arguments.into_iter();
    let parent = arguments.next().and_then(|text| text.to_str()?.parse::<i32>().ok());
    let (Some(parent), Some(server)) = (parent, arguments.next()) else {
        return io::Error::new(io::ErrorKind::InvalidInput, "it takes a process id and a program");
    };
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
        if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
            return error.into();
        }
        // The parent may have ended before we asked; then nobody would ever end us.
        if getppid() != Pid::from_raw(parent) {
            return io::Error::other("the parent has ended");
        }
    }
    let mut command = std::process::Command::new(server);
    command.args(arguments);
    #[cfg(unix)]
    {
        let _ = parent;
        std::os::unix::process::CommandExt::exec(&mut command)
    }
    #[cfg(not(unix))]
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

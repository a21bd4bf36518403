//! The one binary: see [`lovage::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    lovage::cli::main()
}

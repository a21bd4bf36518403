//! The one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("compile-module") => lovage::sandbox::compile_child(args),
        Some(_) | None => ExitCode::from(2),
    }
}

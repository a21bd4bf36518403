//! The one binary: see [`lovage::cli`].

use std::process::ExitCode;

#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lovage::cli::main()
}

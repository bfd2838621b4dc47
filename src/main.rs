//! The `fleetcron` program. All it does is in the library's `cli`.

use std::process::ExitCode;

/// The server makes and frees small things on many threads: a fifth to a third of its time less
/// than with the system's allocator, see `benches/README.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    fleetcron::cli::main()
}

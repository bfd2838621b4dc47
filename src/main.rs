//! The `fleetcron` program. All it does is in the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fleetcron::cli::main()
}

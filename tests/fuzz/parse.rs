//! Feeds the parser that `FLEETCRON_FUZZ` names; see `fleetcron::fuzzing`.

#![no_main]

use std::sync::LazyLock;

use fleetcron::fuzzing::{PARSERS, named};
use libfuzzer_sys::fuzz_target;

static CHECK: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FLEETCRON_FUZZ").unwrap_or_default();
    let names = || PARSERS.iter().map(|parser| parser.name).collect::<Vec<_>>().join(", ");
    match named(&name) {
        Some(parser) => parser.check,
        None => {
            eprintln!("FLEETCRON_FUZZ={name:?} is no parser; there are {}", names());
            std::process::exit(2);
        }
    }
});

fuzz_target!(|data: &[u8]| CHECK(data));

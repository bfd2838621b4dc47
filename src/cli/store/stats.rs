//! `fleetcron store stats`.

use std::path::Path;

use indicatif::HumanBytes;

use super::open_as_it_is;
use crate::cli::args::Global;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::{NOTHING, Out, moment};
use crate::cli::{Done, Verdict};
use crate::id::Serial;
use crate::store::{self, KindStats};

/// Counts the store in a directory, or asks the server.
pub(super) async fn stats(out: &Out, data: Option<&Path>, global: &Global) -> Done {
    let stats = match data {
        Some(data) => store::stats(open_as_it_is(data)?.as_ref()).map_err(CliError::server)?,
        None => connect(global)?.store_stats().await?,
    };
    if out.is_json() {
        out.json(&stats)?;
        return Ok(Verdict::Succeeded);
    }
    kinds(out, &stats.kinds)?;
    out.line("")?;
    let run = |serial: Option<Serial>| {
        let shown = |serial: Serial| format!("{serial}, due {}", moment(serial.time(), out.now));
        serial.map_or_else(|| NOTHING.to_owned(), shown)
    };
    let size = |bytes: u64| HumanBytes(bytes).to_string();
    let kind = stats.store.map_or_else(|| NOTHING.to_owned(), |kind| kind.to_string());
    out.pairs(vec![
        ("store", kind.into()),
        ("records", stats.records.to_string().into()),
        ("keys and values", size(stats.bytes).into()),
        ("on disk", stats.bytes_on_disk.map_or_else(|| NOTHING.to_owned(), size).into()),
        ("oldest run", run(stats.oldest_run).into()),
        ("newest run", run(stats.newest_run).into()),
    ])?;
    Ok(Verdict::Succeeded)
}

/// Writes how much there is of each kind.
pub(super) fn kinds(out: &Out, kinds: &[KindStats]) -> Result<(), CliError> {
    let row = |kind: &KindStats| {
        vec![
            kind.records.to_string().into(),
            kind.key_bytes.to_string().into(),
            kind.value_bytes.to_string().into(),
            kind.letter.to_string().into(),
            kind.name.as_str().into(),
        ]
    };
    let headings = ["RECORDS", "KEY BYTES", "VALUE BYTES", "KEYS", "KIND"];
    out.table(&headings, kinds.iter().map(row).collect())
}

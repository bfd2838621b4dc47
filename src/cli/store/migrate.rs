//! `fleetcron store migrate`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::args::store_kind;
use crate::cli::error::CliError;
use crate::cli::output::{NOTHING, Out, is_watched};
use crate::cli::{Done, Verdict};
use crate::store::StoreKind;
use crate::store::migrate::{MigrateError, Migrated, Stage, migrate};

/// The arguments of `store migrate`.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// The data directory of a server that does not run.
    #[arg(long, value_name = "DIR", default_value = crate::cli::DATA)]
    data: PathBuf,
    /// The kind of store that it becomes.
    #[arg(long, value_name = "KIND", value_parser = store_kind())]
    to: StoreKind,
    /// Make the new store in this directory, which is empty or not there, and leave the old one.
    /// Default: it takes the old one's place once it is whole.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Makes a store one of the other kind.
pub(super) fn execute(out: &Out, args: &MigrateArgs) -> Done {
    let begun = Instant::now();
    let bar = Bar::new();
    let told = &mut |stage| bar.tell(stage);
    let migrated = migrate(&args.data, args.to, args.into.as_deref(), told);
    drop(bar);
    let migrated = migrated.map_err(|error| match error {
        MigrateError::Same { .. } => CliError::Refused(error.to_string()),
        error => CliError::server(error),
    })?;
    tell(out, args, &migrated, begun.elapsed())
}

fn tell(out: &Out, args: &MigrateArgs, migrated: &Migrated, took: Duration) -> Done {
    let place = args.into.as_ref().unwrap_or(&args.data).display().to_string();
    if out.is_json() {
        let seconds = took.as_secs_f64();
        out.json(&json!({ "migrated": migrated, "place": place, "seconds": seconds }))?;
        return Ok(Verdict::Succeeded);
    }
    let Migrated { from, to, records, bytes, disk_before, disk_after, digest } = migrated;
    let size = |bytes: &Option<u64>| {
        bytes.map_or_else(|| NOTHING.to_owned(), |bytes| HumanBytes(bytes).to_string())
    };
    out.line(&format!(
        "migrated {} from {from} to {to}: {records} records, {}, in {:.1} s",
        match &args.into {
            Some(_) => format!("{} into {place}", args.data.display()),
            None => place,
        },
        HumanBytes(*bytes),
        took.as_secs_f64()
    ))?;
    out.line(&format!("on disk {}, before {}", size(disk_after), size(disk_before)))?;
    out.line(&format!("every key and value was read again: sha256 {digest}"))?;
    Ok(Verdict::Succeeded)
}

/// How much is copied and compared, where somebody watches.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if is_watched() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        // A template that cannot be read leaves indicatif's own look.
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {bytes} {bytes_per_sec} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.set_message("copied");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    fn tell(&self, stage: Stage) {
        match stage {
            Stage::Copied(bytes) => self.0.inc(bytes),
            Stage::Compared(bytes) => {
                if self.0.message() == "copied" {
                    self.0.reset();
                    self.0.set_message("compared");
                }
                self.0.inc(bytes);
            }
            Stage::Whole | Stage::Decided | Stage::Moved | Stage::Removed => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

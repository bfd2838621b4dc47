//! `fleetcron store`, `fleetcron backup`, `fleetcron export`: the whole store, of a server that runs
//! or that does not.

mod backup;
mod check;
mod exchange;
mod migrate;
mod new_file;
mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::Done;
use super::args::{Global, store_kind};
use super::error::CliError;
use super::output::Out;
use crate::store::{Store, StoreKind, StoreOptions, look_at};
use exchange::ImportArgs;
use migrate::MigrateArgs;

pub(super) use backup::BackupArgs;
pub(super) use exchange::ExportArgs;

/// The arguments of `store`.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Copy the store of a server that does not run; of one that runs: fleetcron backup.
    Backup {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        file: BackupArgs,
    },
    /// Make the store that a backup holds, in a directory that is empty or not there.
    Restore {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        data: NewData,
    },
    /// Look for anything that is wrong in the store of a server that does not run. Writes nothing.
    Check {
        #[command(flatten)]
        data: Data,
    },
    /// Count what is in the store, and what it takes.
    Stats {
        /// The data directory of a server that does not run. Default: ask the server.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Write jobs, runs and clients of a server that does not run as lines of JSON; of one that
    /// runs: fleetcron export.
    Export {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        what: ExportArgs,
    },
    /// Take an export into the store of a server that does not run, or make a store of it.
    Import {
        #[command(flatten)]
        file: ImportArgs,
        #[command(flatten)]
        data: NewData,
    },
    /// Make the store of a server that does not run one of the other kind.
    Migrate(MigrateArgs),
}

/// Where a server that does not run keeps its data.
#[derive(Debug, Args)]
struct Data {
    /// The data directory of a server that does not run.
    #[arg(long, value_name = "DIR", default_value = super::DATA)]
    data: PathBuf,
}

/// Where a store is, or is made.
#[derive(Debug, Args)]
struct NewData {
    /// The data directory of a server that does not run.
    #[arg(long, value_name = "DIR", default_value = super::DATA)]
    data: PathBuf,
    /// The kind of store that is made. Default: sled; a store that is there stays what it is.
    #[arg(long, value_name = "KIND", value_parser = store_kind())]
    store: Option<StoreKind>,
}

/// `fleetcron store`.
pub(super) async fn execute(args: StoreArgs, global: &Global) -> Done {
    let out = Out::new(global);
    match args.command {
        StoreCommand::Backup { data, file } => backup::idle(&out, &data.data, &file),
        StoreCommand::Restore { file, data } => {
            backup::restore(&out, &file, &data.data, data.store.unwrap_or_default())
        }
        StoreCommand::Check { data } => check::check(&out, &data.data),
        StoreCommand::Stats { data } => stats::stats(&out, data.as_deref(), global).await,
        StoreCommand::Export { data, what } => exchange::idle(&data.data, what),
        StoreCommand::Import { file, data } => exchange::import_file(&out, &data, &file),
        StoreCommand::Migrate(args) => migrate::execute(&out, &args),
    }
}

/// `fleetcron backup`.
pub(super) async fn back_up(args: BackupArgs, global: &Global) -> Done {
    backup::running(&Out::new(global), &args, global).await
}

/// `fleetcron export`.
pub(super) async fn export(args: ExportArgs, global: &Global) -> Done {
    exchange::running(args, global).await
}

/// The store in a directory, to be looked at.
fn open_as_it_is(data: &Path) -> Result<Arc<dyn Store>, CliError> {
    look_at(data, StoreOptions::default()).map_err(CliError::store)
}

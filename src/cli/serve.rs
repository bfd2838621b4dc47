//! `fleetcron serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::error::CliError;
use super::service::{Service, Settings};
use super::{Done, Verdict, signals};
use crate::label::LabelTrust;
use crate::time::duration;

/// Keep jobs in a store and deliver them to the clients that connect.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The directory of the store and of the access file; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = super::DATA)]
    data: PathBuf,
    /// Where clients connect.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Where the HTTP interface is.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    http: SocketAddr,
    /// Allow addresses other than loopback, although nothing is encrypted: tokens and commands
    /// can be read and changed on the way.
    #[arg(long)]
    allow_unencrypted: bool,
    /// The memory that the store may use to cache, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    cache: u64,
    /// How long ended runs and their responses are kept.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration::parse)]
    keep: Duration,
    /// Which labels and facts that clients report of themselves count for targets: all, or these
    /// keys. Default: none; labels set by `clients label` always count.
    #[arg(long, value_name = "all|KEY,KEY")]
    trust_labels: Option<LabelTrust>,
}

impl ServeArgs {
    fn settings(self) -> Result<Settings, CliError> {
        for (flag, address) in [("--listen", self.listen), ("--http", self.http)] {
            if !address.ip().is_loopback() && !self.allow_unencrypted {
                return Err(CliError::Usage(format!(
                    "{flag} {address} is not a loopback address and nothing is encrypted; \
                     put a TLS proxy before a loopback address, or add --allow-unencrypted"
                )));
            }
        }
        let cache_bytes = self.cache * 1_024 * 1_024;
        let trust_labels = self.trust_labels.unwrap_or_default();
        let Self { data, listen, http, keep, .. } = self;
        Ok(Settings { data, listen, http, cache_bytes, keep, trust_labels })
    }
}

/// Serves until a signal comes or the server cannot go on.
pub(super) async fn execute(args: ServeArgs) -> Done {
    let settings = args.settings()?;
    let mut signals = signals::Signals::listen()?;
    let mut service = Service::start(&settings).await?;
    tokio::select! {
        () = signals.first() => {}
        error = service.failed() => return Err(error),
    }
    tracing::info!("stopping; a second signal ends at once");
    tokio::select! {
        ended = service.stop() => ended?,
        () = signals.first() => return Err(CliError::Server("ended by a second signal".into())),
    }
    tracing::info!("stopped");
    Ok(Verdict::Succeeded)
}

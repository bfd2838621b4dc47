//! `fleetcron serve`: the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser as _};

use super::args::store_kind;
use super::clock::ShiftedClock;
use super::error::CliError;
use super::service::{Service, Settings};
use super::{Done, Verdict, open_files, signals};
use crate::bucket::{InvalidRate, Rate};
use crate::engine::{DRAIN, Limits, MAX_CLIENTS, QUEUE_DELIVERIES, QueueFull};
use crate::housekeeping::{Chores, Limits as Keeps};
use crate::label::LabelTrust;
use crate::node::{Handle, JOBS_AT_HAND, Options};
use crate::server::{ADMISSION, CONNECTIONS};
use crate::size;
use crate::store::{FLOOR, Obstacle, StoreKind, kind_at, unwritable_at};
use crate::time::{Clock, SystemClock, duration};

/// The time between two looks whether there is room for a start: no system tells when there is.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a server that stops waits for a disk that cannot be written.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Rates and bursts that make sense.
const RATES: std::ops::RangeInclusive<i64> = 1..=Rate::MOST as i64;

/// Keep jobs in a store and deliver them to the clients that connect.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// The directory of the store and of the access file; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = super::DATA)]
    data: PathBuf,
    /// The kind of store. Default: a new store is sled; a store that is there stays what it is.
    #[arg(long, value_name = "KIND", value_parser = store_kind())]
    store: Option<StoreKind>,
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
    /// How many jobs stay in memory as a whole. Of the others, their names and when they are due:
    /// they are read from the store when they are needed.
    #[arg(long, value_name = "JOBS", default_value_t = JOBS_AT_HAND, value_parser = RangedU64ValueParser::<usize>::new().range(16..=2_000_000))]
    jobs_at_hand: usize,
    /// What is to stay free on the store's disk, 8MiB or more: below it, what would be new is
    /// refused and what is due waits, while answers are still written.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = disk_reserve)]
    disk_reserve: u64,
    /// How long ended runs and their responses are kept.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration::parse)]
    keep: Duration,
    /// The most ended runs that are kept; the oldest are forgotten. Default: no limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_runs: Option<u64>,
    /// The most bytes that ended runs take with their responses, about, such as 512MiB or 20GiB;
    /// the oldest are forgotten. Default: no limit.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    keep_bytes: Option<u64>,
    /// How long the ledger of all events is kept. Default: as long as ended runs.
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    keep_ledger: Option<Duration>,
    /// How long it is kept what the server was told, by which its decisions can be verified.
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration::parse)]
    keep_inputs: Duration,
    /// How often the server looks for what it need not keep any longer, 1s to 1d.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = retention_every)]
    retention_every: Duration,
    /// Which labels and facts that clients report of themselves count for targets: all, or these
    /// keys. Default: none; labels set by `clients label` always count.
    #[arg(long, value_name = "all|KEY,KEY")]
    trust_labels: Option<LabelTrust>,
    /// The most clients that hold a connection; one more is refused, and told when to come again.
    /// The server allows itself the open files that they need, as far as the system's hard limit
    /// lets it.
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS, value_parser = connections)]
    max_connections: usize,
    /// How many clients may connect in a second; those above it are told when to come again.
    #[arg(long, value_name = "PER_SECOND", default_value_t = ADMISSION.per_second(), value_parser = clap::value_parser!(u32).range(RATES))]
    admit_rate: u32,
    /// How many clients may connect at once, after a quiet time.
    #[arg(long, value_name = "CLIENTS", default_value_t = ADMISSION.burst(), value_parser = clap::value_parser!(u32).range(RATES))]
    admit_burst: u32,
    /// How many deliveries a second leave, of those that had waited for clients that were away.
    #[arg(long, value_name = "PER_SECOND", default_value_t = DRAIN.per_second(), value_parser = clap::value_parser!(u32).range(RATES))]
    drain_rate: u32,
    /// Do not record what the engine is told: the store grows less, and what happened cannot be
    /// verified by deciding on it once more.
    #[arg(long)]
    no_recording: bool,
    /// Add to the machine's clock what this file says, in milliseconds: a fault for `soak` to
    /// inject.
    #[arg(long, value_name = "FILE", hide = true)]
    clock_offset_file: Option<PathBuf>,
    /// End when standard input ends: for servers that another program has started.
    #[arg(long, hide = true)]
    with_stdin: bool,
    #[command(flatten)]
    queue: QueueArgs,
}

/// The queue of each client that is away.
#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "the fields are named as their flags")]
struct QueueArgs {
    /// The most deliveries that wait for a client that is away, 1 to 10,000.
    #[arg(long, value_name = "N", default_value_t = QUEUE_DELIVERIES)]
    queue_limit: usize,
    /// The most bytes of parameters that wait for a client that is away, such as 512KiB or 4MiB,
    /// 48KiB to 1GiB.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = size::parse)]
    queue_bytes: u64,
    /// What becomes of a delivery for a client whose queue is full: it is skipped, or the oldest
    /// that wait end as superseded.
    #[arg(long, value_name = "POLICY", default_value = "refuse-newest", value_parser =
        PossibleValuesParser::new(["refuse-newest", "drop-oldest"]).map(|text| full(&text)))]
    queue_full: QueueFull,
}

/// One of the two values that the parser lets pass.
fn full(text: &str) -> QueueFull {
    if text == "drop-oldest" { QueueFull::DropOldest } else { QueueFull::RefuseNewest }
}

/// Room that is enough for answers on their way.
fn disk_reserve(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text)?;
    if bytes >= FLOOR { Ok(bytes) } else { Err("write 8MiB or more".to_owned()) }
}

/// Times between two rounds that make sense.
fn retention_every(text: &str) -> Result<Duration, String> {
    let every = duration::parse(text)?;
    let times = Duration::from_secs(1)..=Duration::from_secs(86_400);
    if times.contains(&every) { Ok(every) } else { Err("write 1s to 1d".to_owned()) }
}

/// Numbers of connections that make sense: no registry holds more clients.
fn connections(text: &str) -> Result<usize, String> {
    let most = MAX_CLIENTS as usize;
    text.parse()
        .ok()
        .filter(|number| (1..=most).contains(number))
        .ok_or_else(|| format!("write 1 to {most}"))
}

impl ServeArgs {
    /// The settings as the ledger tells of them, by their flags.
    fn told(&self) -> BTreeMap<String, String> {
        let QueueArgs { queue_limit, queue_bytes, queue_full } = &self.queue;
        let trust = match &self.trust_labels {
            None => "none".to_owned(),
            Some(LabelTrust::All) => "all".to_owned(),
            Some(trust) => format!("{trust:?}"),
        };
        let full =
            if *queue_full == QueueFull::DropOldest { "drop-oldest" } else { "refuse-newest" };
        let mut told: BTreeMap<String, String> = [
            ("listen", self.listen.to_string()),
            ("http", self.http.to_string()),
            ("allow-unencrypted", self.allow_unencrypted.to_string()),
            ("cache", self.cache.to_string()),
            ("jobs-at-hand", self.jobs_at_hand.to_string()),
            ("disk-reserve", size::format(self.disk_reserve)),
            ("keep", duration::format(self.keep)),
            ("keep-runs", self.keep_runs.map_or_else(|| "none".into(), |runs| runs.to_string())),
            ("keep-bytes", self.keep_bytes.map_or_else(|| "none".into(), size::format)),
            ("keep-ledger", duration::format(self.keep_ledger.unwrap_or(self.keep))),
            ("keep-inputs", duration::format(self.keep_inputs)),
            ("retention-every", duration::format(self.retention_every)),
            ("trust-labels", trust),
            ("max-connections", self.max_connections.to_string()),
            ("admit-rate", self.admit_rate.to_string()),
            ("admit-burst", self.admit_burst.to_string()),
            ("drain-rate", self.drain_rate.to_string()),
            ("queue-limit", queue_limit.to_string()),
            ("queue-bytes", queue_bytes.to_string()),
            ("queue-full", full.to_owned()),
            ("no-recording", self.no_recording.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(path) = &self.clock_offset_file {
            told.insert("clock-offset-file".to_owned(), path.display().to_string());
        }
        told
    }

    fn settings(self) -> Result<Settings, CliError> {
        for (flag, address) in [("--listen", self.listen), ("--http", self.http)] {
            if !address.ip().is_loopback() && !self.allow_unencrypted {
                return Err(CliError::Usage(format!(
                    "{flag} {address} is not a loopback address and nothing is encrypted; \
                     put a TLS proxy before a loopback address, or add --allow-unencrypted"
                )));
            }
        }
        let told = self.told();
        let cache_bytes = self.cache * 1_024 * 1_024;
        let usage = |error: InvalidRate| CliError::Usage(error.to_string());
        let admission = Rate::new(self.admit_rate, self.admit_burst).map_err(usage)?;
        let drain = Rate::smooth(self.drain_rate).map_err(usage)?;
        let labels = self.trust_labels.unwrap_or_default();
        let keeps = Keeps {
            keep: self.keep,
            runs: self.keep_runs,
            bytes: self.keep_bytes,
            ledger: self.keep_ledger,
            inputs: self.keep_inputs,
        };
        let retention_every = self.retention_every;
        let chores = Chores { limits: keeps, retention_every, ..Chores::default() };
        let Self { data, store, listen, http, max_connections, queue, disk_reserve, .. } = self;
        let limits = Limits::default()
            .with_queue(queue.queue_limit, queue.queue_bytes, queue.queue_full)
            .map_err(|error| CliError::Usage(error.to_string()))?;
        let options = Options {
            labels,
            limits,
            drain,
            settings: told,
            record_inputs: !self.no_recording,
            jobs_at_hand: self.jobs_at_hand,
        };
        Ok(Settings {
            data,
            store,
            listen,
            http,
            cache_bytes,
            reserve: Some(disk_reserve),
            chores,
            options,
            admission,
            max_connections,
        })
    }
}

/// Waits until the store that is there can be written: a server that ended instead would be
/// started again and again.
async fn room(data: &Path) {
    let mut told = false;
    // What cannot be looked at is told when it is opened.
    while let (Ok(Some(_)), Some(obstacle)) = (kind_at(data), unwritable_at(data, FLOOR)) {
        if !told {
            tracing::warn!(%obstacle, "the start waits");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits, once the server stops, until it is plain that it cannot write what it still has. Nobody
/// was told of that.
async fn hindered(handle: &Handle) -> Obstacle {
    loop {
        tokio::time::sleep(STOP_PATIENCE).await;
        if let Some(obstacle) = handle.obstacle().filter(|obstacle| !obstacle.leaves_room()) {
            return obstacle;
        }
    }
}

/// Serves until a signal comes or the server cannot go on.
pub(super) async fn execute(args: ServeArgs) -> Done {
    let with_stdin = args.with_stdin;
    let clock: Arc<dyn Clock> = match &args.clock_offset_file {
        Some(path) => Arc::new(ShiftedClock::open(path)?),
        None => Arc::new(SystemClock),
    };
    let settings = args.settings()?;
    open_files::allow(settings.max_connections);
    let mut signals = signals::Signals::listen()?;
    tokio::select! {
        () = room(&settings.data) => {}
        () = signals.first() => return Ok(Verdict::Succeeded),
        () = signals::stdin_ends(), if with_stdin => return Ok(Verdict::Succeeded),
    }
    let mut service = Service::start_with_clock(&settings, clock).await?;
    tokio::select! {
        () = signals.first() => {}
        () = signals::stdin_ends(), if with_stdin => {}
        error = service.failed() => return Err(error),
    }
    tracing::info!("stopping; a second signal ends at once");
    let handle = service.handle();
    tokio::select! {
        ended = service.stop() => ended?,
        obstacle = hindered(&handle) => {
            let told = format!("ended without what was not yet written: {obstacle}");
            return Err(CliError::Server(told));
        }
        () = signals.first() => return Err(CliError::Server("ended by a second signal".into())),
    }
    tracing::info!("stopped");
    Ok(Verdict::Succeeded)
}

//! `fleetcron soak-clients`: a process that holds some of a soak's clients. Not for people: `soak`
//! starts it.
//!
//! Promises: before a command has its effect, and when it is complete, a line is written to the
//! outside ledger; the line is the effect. Imports the client library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::{join_all, select_all};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::{Done, Verdict, signals};
use super::ledger::{Line, Writer};
use super::plan::{COMMAND, client_name};
use crate::access;
use crate::client::{Client, ClientHandle, Context};
use crate::handlers::HandlerError;
use crate::id::ClientId;
use crate::time::{Clock as _, SystemClock};

/// The file with the clients' tokens, by their names.
pub(super) const TOKENS: &str = "tokens.json";

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How long a stop waits for what runs.
const STOP: Duration = Duration::from_secs(10);

/// Hold some of a soak's clients.
#[derive(Debug, Args)]
pub(in crate::cli) struct SoakClientsArgs {
    /// The soak's directory.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to connect.
    #[arg(long, value_name = "ADDRESS")]
    connect: String,
    /// Which of the processes it is.
    #[arg(long, value_name = "N")]
    process: u32,
    /// How many processes there are: the clients are dealt out to them.
    #[arg(long, value_name = "N")]
    of: u32,
    /// How often it was started before.
    #[arg(long, value_name = "N")]
    life: u32,
}

/// Where a life of a process writes what its clients do.
pub(super) fn ledger_file(data: &Path, process: u32, life: u32) -> PathBuf {
    data.join("ledger").join(format!("clients-{process:02}-{life:05}"))
}

/// Runs until a signal comes, standard input ends, or a client cannot go on.
pub(in crate::cli) async fn execute(args: SoakClientsArgs) -> Done {
    let mut signals = signals::Signals::listen()?;
    let clients = start(&args)?;
    let ends = clients.iter().map(|client| {
        Box::pin(async move {
            let end = client.wait().await;
            CliError::Server(format!("client {} was {end}", client.id()))
        })
    });
    tokio::select! {
        () = signals.first() => {}
        () = signals::stdin_ends() => {}
        (error, ..) = select_all(ends) => return Err(error),
    }
    join_all(clients.iter().map(ClientHandle::stop)).await;
    Ok(Verdict::Succeeded)
}

fn start(args: &SoakClientsArgs) -> Result<Vec<ClientHandle>, CliError> {
    let path = args.data.join(TOKENS);
    let text =
        std::fs::read_to_string(&path).map_err(|error| CliError::file("read", &path, &error))?;
    let tokens: Vec<String> = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?;
    let path = ledger_file(&args.data, args.process, args.life);
    let ledger = Writer::open(&path).map_err(|error| CliError::file("write", &path, &error))?;
    let ledger = Arc::new(ledger);
    let mine = (0_u32..).zip(tokens).filter(|(number, _)| number % args.of == args.process);
    mine.map(|(number, token)| connect(args, number, &token, &ledger)).collect()
}

fn connect(
    args: &SoakClientsArgs,
    number: u32,
    token: &str,
    ledger: &Arc<Writer>,
) -> Result<ClientHandle, CliError> {
    let id: ClientId = client_name(number).parse().map_err(CliError::server)?;
    let journal = args.data.join("journals").join(id.as_str());
    let (ledger, client) = (Arc::clone(ledger), id.clone());
    Client::builder(&args.connect, id)
        .token(token)
        .journal(journal)
        .backoff(Duration::from_millis(100), LONGEST_PAUSE)
        .stop_limit(STOP)
        .on(COMMAND, move |cx: Context, params: Params| {
            work(cx, params, client.clone(), Arc::clone(&ledger))
        })
        .start()
        .map_err(CliError::server)
}

/// What a command is told.
#[derive(Debug, Deserialize)]
struct Params {
    /// Of a submit, its number.
    n: Option<u64>,
    /// How long it takes, in milliseconds.
    #[serde(default)]
    ms: u64,
    /// How often it fails, in per cent.
    #[serde(default)]
    fails: u8,
}

async fn work(
    cx: Context,
    params: Params,
    client: ClientId,
    ledger: Arc<Writer>,
) -> Result<Value, HandlerError> {
    let now = || SystemClock.now().millis();
    let failed = |error: std::io::Error| HandlerError::from(format!("the outside ledger: {error}"));
    let serial = cx.serial;
    let begun = Line::Begun { at: now(), serial, client: client.clone(), number: params.n };
    ledger.write(&begun).map_err(failed)?;
    let cancelled = tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(params.ms)) => false,
        () = cx.cancel.cancelled() => true,
    };
    ledger.write(&Line::Ended { at: now(), serial, client }).map_err(failed)?;
    if cancelled {
        return Err(HandlerError::cancelled("it was asked to stop"));
    }
    if fastrand::u8(0..100) < params.fails {
        return Err("one of those that fail now and then".into());
    }
    Ok(json!({ "ms": params.ms }))
}

/// Tokens for so many clients, in the order of their numbers, written where their processes read
/// them.
pub(super) fn make_tokens(data: &Path, clients: u32) -> Result<Vec<String>, CliError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let tokens: Vec<String> = (0..clients)
        .map(|_| access::new_token())
        .collect::<Result<_, _>>()
        .map_err(CliError::server)?;
    let path = data.join(TOKENS);
    let text = serde_json::to_string(&tokens).map_err(CliError::server)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| CliError::file("write", &path, &error))?;
    Ok(tokens)
}

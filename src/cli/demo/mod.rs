//! `fleetcron demo`: a server and three agents on this machine, to watch.
//!
//! Nothing is pretended: the server has its store on disk, the agents are processes of their own
//! that run real programs, and one of them is really taken away and brought back.

mod agents;
mod screen;
mod story;
mod tally;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _};

use super::args::store_kind;
use super::error::CliError;
use super::service::{Service, Settings};
use super::{Done, Verdict, apply, signals};
use crate::engine::{Apply, JobAction};
use crate::node::Handle;
use crate::node::Options;
use crate::store::StoreKind;
use crate::time::duration;
use agents::Agents;
use screen::Screen;
use story::Story;
use tally::Tally;

/// See it work: a server, three agents as processes of their own, and the jobs of a directory.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// The directory of the store; a second demo on it goes on where the first stopped.
    #[arg(long, value_name = "DIR", default_value = "fleetcron-demo")]
    data: PathBuf,
    /// The kind of store. Default: a new store is sled; a store that is there stays what it is.
    #[arg(long, value_name = "KIND", value_parser = store_kind())]
    store: Option<StoreKind>,
    /// The job files to load.
    #[arg(long, value_name = "DIR", default_value = "jobs")]
    jobs: PathBuf,
    /// End by itself after so long. Default: on Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    length: Option<Duration>,
}

/// A server on free ports of this machine.
fn settings(args: &DemoArgs) -> Settings {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Settings {
        data: args.data.clone(),
        store: args.store,
        listen: any_port,
        http: any_port,
        cache_bytes: 64 * 1_024 * 1_024,
        chores: crate::housekeeping::Chores::default(),
        options: Options::default(),
        reserve: None,
        admission: crate::server::ADMISSION,
        max_connections: crate::server::CONNECTIONS,
    }
}

/// Runs the demonstration to its end.
pub(super) async fn execute(args: DemoArgs) -> Done {
    let mut signals = signals::Signals::listen()?;
    let specs = apply::load(&args.jobs)?;
    let mut service = Service::start(&settings(&args)).await?;
    let screen = Screen::new();
    let handle = service.handle();
    let mut events = handle.events();
    introduce(&screen, &handle, &service, &args.data).await?;
    let mut agents = Agents::prepare(&args.data, service.listen, &handle).await?;
    load_jobs(&screen, &handle, specs).await?;
    agents.start_all()?;
    let mut tally = Tally::new();
    let mut story = Story::new(handle.clone(), args.length);
    let end = async {
        match args.length {
            Some(length) => tokio::time::sleep(length).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let failed = loop {
        tokio::select! {
            () = &mut end => break None,
            () = signals.first() => break None,
            error = service.failed() => break Some(error),
            Some(event) = events.next() => {
                let event = event.map_err(CliError::server)?;
                tally.take(&event);
                screen.event(&event);
                screen.status(&tally);
            }
            () = story.next() => story.go_on(&screen, &mut agents).await?,
        }
    };
    screen.finish();
    agents.stop_all().await;
    // What had been under way may have ended since; the tally and the open count go together.
    let status = handle.status().await;
    while let Some(Some(Ok(event))) = events.next().now_or_never() {
        tally.take(&event);
    }
    if let Some(error) = failed {
        return Err(error);
    }
    tally.tell(&screen, &status.map_err(CliError::server)?, &args.data);
    drop(events);
    tokio::select! {
        ended = service.stop() => ended?,
        () = signals.first() => return Err(CliError::Server("ended by a second signal".into())),
    }
    Ok(Verdict::Succeeded)
}

async fn introduce(
    screen: &Screen,
    handle: &Handle,
    service: &Service,
    data: &Path,
) -> Result<(), CliError> {
    let status = handle.status().await.map_err(CliError::server)?;
    screen.title("fleetcron demo");
    screen.note(&format!(
        "The store is in {}. Clients connect to {}, the HTTP interface is at {}.",
        data.display(),
        service.listen,
        service.access.server
    ));
    screen.note(&format!(
        "To look at it from another terminal: fleetcron --access {} runs",
        data.join("access.toml").display()
    ));
    if status.jobs > 0 {
        screen.note(&format!(
            "It goes on where it stopped: {} jobs, {} runs with {} open deliveries.",
            status.jobs, status.runs_open, status.deliveries_open
        ));
    }
    Ok(())
}

async fn load_jobs(screen: &Screen, handle: &Handle, apply: Apply) -> Result<(), CliError> {
    let changes = handle.apply(apply).await.map_err(CliError::server)?.jobs;
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    screen.note(&format!(
        "Jobs: {} created, {} updated, {} as they were.",
        count(JobAction::Create),
        count(JobAction::Update),
        count(JobAction::Keep)
    ));
    for change in &changes {
        for warning in &change.warnings {
            screen.note(&format!("{}: {warning}", change.name));
        }
    }
    Ok(())
}

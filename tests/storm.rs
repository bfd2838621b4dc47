//! A whole fleet comes back in one moment, to a server that was killed, for work that has waited:
//! all are let in, and each does its work once and in order.
//!
//! `FLEETCRON_STORM` sets how many clients there are; 2,000 by default.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleetcron::Serial;
use fleetcron::api::message::ClientRequest;
use fleetcron::client::{Client, ClientHandle, Context};
use futures_util::{StreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

use common::fleet::{Record, answer, ended, work};
use common::server::{Place, Server, token_of};
use common::{number, within};

const CLIENTS: usize = 2_000;
/// Requests under way at a time.
const AT_ONCE: usize = 100;
/// File descriptors beside the connections.
const OTHERS: u64 = 500;
/// How long clients stay away at most that were not told how long: so they come all at once.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));

fn clients() -> usize {
    number("FLEETCRON_STORM", CLIENTS)
}

/// Allows this process, and the servers that it starts, the sockets that are needed.
fn allow_sockets(clients: usize) {
    let wanted = clients as u64 + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        hard >= wanted,
        "{clients} clients need {wanted} file descriptors, and the hard limit is {hard}: raise it \
         (ulimit -Hn), or set FLEETCRON_STORM to fewer clients"
    );
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    }
}

fn name(number: usize) -> String {
    format!("storm-{number:05}")
}

async fn define_all(server: &Server, clients: usize) {
    let remote = &server.remote();
    let requests = (0..clients).map(|number| ClientRequest {
        id: name(number).parse().unwrap(),
        groups: [format!("half-{}", number % 2).parse().unwrap()].into(),
        token: Some(token_of(&name(number))),
    });
    let define = |request| async move { remote.add_client(request).await.unwrap() };
    let mut defined = stream::iter(requests).map(define).buffer_unordered(AT_ONCE);
    while defined.next().await.is_some() {}
}

/// Clients over real sockets; none gets one while the network is down.
fn start_all(
    listen: &str,
    up: &Arc<AtomicBool>,
    clients: usize,
    record: &Record,
) -> Vec<ClientHandle> {
    let start = |number| {
        let (up, listen, record) = (Arc::clone(up), listen.to_owned(), record.clone());
        let connector = move || {
            let (up, listen) = (Arc::clone(&up), listen.clone());
            async move {
                if !up.load(Ordering::SeqCst) {
                    return Err(std::io::Error::other("the network is down"));
                }
                TcpStream::connect(listen).await
            }
        };
        let noted = move |cx: Context, params: Value| {
            record.note(&cx, &params);
            async move { Ok(answer(&cx)) }
        };
        let id = name(number);
        let builder = Client::with_connector(connector, id.parse().unwrap()).on("work", noted);
        let builder = builder.token(token_of(&id)).concurrency(1).backoff(BACKOFF.0, BACKOFF.1);
        builder.start().unwrap()
    };
    (0..clients).map(start).collect()
}

async fn all_connected(handles: &[ClientHandle]) -> Duration {
    let began = Instant::now();
    for handle in handles {
        within("a client's connection", handle.connected()).await.unwrap();
    }
    began.elapsed()
}

async fn all_lost(handles: &[ClientHandle]) {
    for handle in handles {
        let lost = async {
            while handle.is_connected() {
                tokio::task::yield_now().await;
            }
        };
        within("the loss of a connection", lost).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_comes_back_at_once_gets_in_and_does_its_work_once_in_order() {
    let clients = clients();
    allow_sockets(clients);
    let place = Place::new();
    let mut server = place.start().await;
    define_all(&server, clients).await;
    let (record, _) = Record::new();
    let up = Arc::new(AtomicBool::new(true));
    let handles = start_all(&server.listen, &up, clients, &record);
    let first = all_connected(&handles).await;

    up.store(false, Ordering::SeqCst);
    server.process.kill();
    all_lost(&handles).await;
    let mut server = place.start().await;
    let remote = server.remote();
    let to_all = remote.submit(work("all", 1)).await.unwrap().serial;
    let to_half = remote.submit(work("group:half-1", 2)).await.unwrap().serial;
    server.process.kill();

    let mut server = place.start().await;
    let remote = server.remote();
    let began = Instant::now();
    up.store(true, Ordering::SeqCst);
    let (connected, drained) = tokio::join!(all_connected(&handles), async {
        let all = ended(&remote, to_all).await;
        (all, ended(&remote, to_half).await, began.elapsed())
    });
    let (all, half, drained) = drained;
    let of = |run: &fleetcron::Run| (run.counts.total as usize, run.counts.succeeded as usize);
    assert_eq!((of(&all), of(&half)), ((clients, clients), (clients / 2, clients / 2)));

    let mut ran: HashMap<String, Vec<Serial>> = HashMap::new();
    for one in record.all() {
        ran.entry(one.client).or_default().push(one.serial);
    }
    for number in 0..clients {
        let wanted = if number % 2 == 1 { vec![to_all, to_half] } else { vec![to_all] };
        assert_eq!(ran.get(&name(number)), Some(&wanted), "{}", name(number));
    }
    assert!(handles.iter().all(ClientHandle::is_connected));
    assert!(server.process.is_alive());
    let status = remote.status().await.unwrap();
    assert_eq!((status.clients_connected, status.deliveries_open), (clients as u64, 0));
    let memory = server.process.rss_mib();
    println!(
        "{clients} clients: first in after {first:.1?}; after the kill all connected after \
         {connected:.1?}, all drained after {drained:.1?}; the server has {memory} MiB"
    );
}

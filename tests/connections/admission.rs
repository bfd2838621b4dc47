//! More clients than are let in a second: told when to come again, asked nothing, counted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fleetcron::Proof;
use fleetcron::bucket::Rate;
use fleetcron::client::Client;
use fleetcron::server::{Authenticator, Denied, Server, TokenAuthenticator};
use fleetcron::wire::{ClientFrame, Hello, ServerFrame};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use crate::fleet::{FakeFleet, TOKEN};
use crate::raw::{Raw, hello};

/// Counts whom it is asked about.
struct Counting(Arc<AtomicUsize>);

impl Authenticator for Counting {
    fn authenticate<'a>(
        &'a self,
        hello: &'a Hello,
        peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Result<Proof, Denied>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        TokenAuthenticator.authenticate(hello, peer)
    }
}

fn server(rate: Rate) -> (Server<FakeFleet>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let builder = Server::builder(FakeFleet::new()).authenticator(Counting(Arc::clone(&asked)));
    (builder.admission(rate).start().unwrap(), asked)
}

async fn greet(server: &Server<FakeFleet>, client: &str) -> (Raw, ServerFrame) {
    let mut raw = Raw::open(server);
    raw.send(ClientFrame::Hello(Box::new(hello(client)))).await;
    let frame = raw.next().await.unwrap();
    (raw, frame)
}

#[tokio::test(start_paused = true)]
async fn those_above_the_rate_are_sent_away_unasked_each_for_its_own_time() {
    let (server, asked) = server(Rate::new(10, 5).unwrap());
    let (mut inside, mut times) = (Vec::new(), BTreeSet::new());
    for number in 0..25 {
        let (raw, frame) = greet(&server, &format!("c-{number}")).await;
        match frame {
            ServerFrame::Welcome(_) => inside.push(raw),
            ServerFrame::Refused(refused) => {
                assert_eq!(refused.reason, "more clients connect than are let in a second");
                times.insert(refused.retry_after_ms.unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((inside.len(), server.connections()), (5, 5));
    assert_eq!((asked.load(Ordering::SeqCst), server.deferred()), (5, 20));
    // 20 clients at 10 a second are 2 s of work, of which each is told half to one and a half.
    assert!(times.len() >= 15, "{times:?}");
    assert!(*times.first().unwrap() >= 50 && *times.last().unwrap() <= 3_000, "{times:?}");
    assert!(*times.last().unwrap() >= 1_000, "{times:?}");

    sleep(Duration::from_millis(100)).await;
    let (_raw, frame) = greet(&server, "c-24").await;
    assert!(matches!(frame, ServerFrame::Welcome(_)), "a token has come: {frame:?}");
    let (_raw, frame) = greet(&server, "c-25").await;
    assert!(matches!(frame, ServerFrame::Refused(_)), "and was taken: {frame:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_connects_at_once_is_in_soon_and_nobody_gives_up() {
    const CLIENTS: u32 = 500;
    let (server, asked) = server(Rate::new(100, 50).unwrap());
    let began = Instant::now();
    let handles: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let server = server.clone();
            let connector = move || {
                let (near, far) = tokio::io::duplex(64 * 1024);
                tokio::spawn(server.serve(far, None));
                std::future::ready(Ok::<_, std::io::Error>(near))
            };
            let id = format!("c-{number}").parse().unwrap();
            let backoff = (Duration::from_millis(100), Duration::from_secs(30));
            let builder = Client::with_connector(connector, id).token(TOKEN).seed(number.into());
            builder.backoff(backoff.0, backoff.1).start().unwrap()
        })
        .collect();
    for handle in &handles {
        handle.connected().await.unwrap();
    }
    let took = began.elapsed();
    // At this rate it cannot take less than 4.5 s.
    let range = Duration::from_millis(4_500)..Duration::from_secs(20);
    assert!(range.contains(&took), "{took:?}");
    assert_eq!(asked.load(Ordering::SeqCst), CLIENTS as usize, "each was asked about once");
    let deferred = server.deferred();
    assert!((450..450 * 4).contains(&deferred), "{deferred}");
}

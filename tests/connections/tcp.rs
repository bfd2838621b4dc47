//! The few things that only real sockets show.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fleetcron::client::{Client, End};
use fleetcron::server::{Accept, Server};
use fleetcron::wire::{FrameReader, ServerFrame};
use fleetcron::{CommandName, Json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fleet::{FakeFleet, TOKEN, command, is_connected, is_responded};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn client_and_server_meet_over_tcp_and_part() {
    let fleet = FakeFleet::new();
    let server = Server::builder(fleet.clone())
        .on_call("echo", |caller, params: Json| async move {
            Ok((caller.client, caller.peer.is_some(), params))
        })
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let address = server.local_addr().unwrap().to_string();
    let client = Client::builder(address, "web-01".parse().unwrap())
        .token(TOKEN)
        .on("double", |_, n: u32| async move { Ok(n * 2) })
        .start()
        .unwrap();
    timeout(LONG, client.connected()).await.unwrap().unwrap();
    fleet.send(1, command(1, "double", "21"));
    timeout(LONG, fleet.until_count(1, is_responded)).await.unwrap();
    let echo: CommandName = "echo".parse().unwrap();
    let answer = client.call(echo, Json::empty()).await.unwrap();
    assert_eq!(answer.text(), r#"["web-01",true,{}]"#);
    assert_eq!(timeout(LONG, client.stop()).await.unwrap(), End::Stopped);
    timeout(LONG, server.shutdown()).await.unwrap();
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_beyond_those_without_a_hello_is_refused_unheard() {
    let server = Server::builder(FakeFleet::new()).max_greeting(0).bind("127.0.0.1:0").await;
    let server = server.unwrap();
    let stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    let frame = timeout(LONG, FrameReader::new(stream).next::<ServerFrame>()).await.unwrap();
    let Ok(Some(ServerFrame::Refused(refused))) = frame else { panic!("{frame:?}") };
    assert!(refused.retry_after_ms.is_some_and(|ms| (500..2_500).contains(&ms)), "{refused:?}");
    server.shutdown().await;
}

/// A listener that has no file descriptors at first.
struct Flaky {
    listener: TcpListener,
    failures: u32,
}

impl Accept for Flaky {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::Error::from_raw_os_error(24));
        }
        self.listener.accept().await
    }
}

#[tokio::test]
async fn an_error_in_accepting_is_not_the_end() {
    let fleet = FakeFleet::new();
    let server = Server::builder(fleet.clone()).start().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    server.listen(Flaky { listener, failures: 3 });
    let client = Client::builder(address, "web-01".parse().unwrap()).token(TOKEN);
    let client = client.start().unwrap();
    timeout(LONG, client.connected()).await.unwrap().unwrap();
    assert!(fleet.told().iter().any(is_connected));
    server.shutdown().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Server::builder(FakeFleet::new()).bind(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}

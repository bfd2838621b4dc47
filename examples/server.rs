//! A server with a way of its own to authenticate clients, and hooks for their coming and going.
//!
//! `cargo run --example server`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;

use fleetcron::client::{Client, State};
use fleetcron::server::{Authenticator, Denied, Server};
use fleetcron::wire::Hello;
use fleetcron::{NewClient, Node, Proof};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

/// Who has which badge. Yours may ask a directory or check a signature.
struct Badges(HashMap<&'static str, &'static str>);
impl Authenticator for Badges {
    fn authenticate<'a>(
        &'a self,
        hello: &'a Hello,
        _peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Result<Proof, Denied>> {
        let proof = match self.0.get(hello.client.as_str()) {
            Some(badge) if hello.token.as_deref() == Some(*badge) => Ok(Proof::Vouched),
            _ => Err(Denied::new("no such badge")),
        };
        std::future::ready(proof).boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let node = Node::open(&directory)?;
    // The hook says who it is; the registry still says who belongs to the fleet.
    let new = NewClient { id: "lift-7".parse()?, groups: [].into(), token: None };
    node.handle().add_client(new).await?;
    let (gone, mut has_gone) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder(node.handle())
        .authenticator(Badges(HashMap::from([("lift-7", "blue")])))
        .on_connect(|caller| println!("{} has come", caller.client))
        .on_disconnect(move |caller, reason| {
            drop(gone.send(format!("{} has gone: {reason}", caller.client)));
        })
        .bind("127.0.0.1:0")
        .await?;
    let address = server.local_addr().ok_or("the server does not listen")?.to_string();
    let forged = Client::builder(&address, "lift-7".parse()?).token("red").start()?;
    let refused = |state: &State| matches!(state, State::Refused(_));
    println!("with the wrong badge: {:?}", *forged.state().wait_for(refused).await?);
    forged.stop().await;
    let client = Client::builder(&address, "lift-7".parse()?).token("blue").start()?;
    client.connected().await.map_err(|end| end.to_string())?;
    client.stop().await;
    println!("{}", has_gone.recv().await.ok_or("the server has ended")?);
    server.shutdown().await;
    Ok(node.stop().await?)
}

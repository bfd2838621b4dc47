//! Commands the other way: a client calls handlers that the server has, and gets their answers.
//!
//! `cargo run --example call`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use fleetcron::client::Client;
use fleetcron::server::{Caller, Server};
use fleetcron::{HandlerError, Json, NewClient, Node, TokenHash};

/// The parameters of `config.get`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Get {
    key: String,
}

async fn config_get(caller: Caller, Get { key }: Get) -> Result<String, HandlerError> {
    match key.as_str() {
        "region" => Ok("eu-west".to_owned()),
        "name" => Ok(caller.client.to_string()),
        _ => Err(HandlerError::failed(format!("no setting named {key:?}"))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let node = Node::open(directory.path())?;
    let token = Some(TokenHash::of("s3cret"));
    let door = NewClient { id: "door-12".parse()?, groups: [].into(), token };
    node.handle().add_client(door).await?;
    let server = Server::builder(node.handle())
        .on_call("config.get", config_get)
        .bind("127.0.0.1:0")
        .await?;
    let address = server.local_addr().ok_or("the server does not listen")?.to_string();

    let client = Client::builder(address, "door-12".parse()?).token("s3cret").start()?;
    client.connected().await.map_err(|end| end.to_string())?;
    for key in ["region", "name", "colour"] {
        let params = Json::new(&Get { key: key.to_owned() })?;
        match client.call("config.get".parse()?, params).await {
            Ok(value) => println!("{key} = {}", value.to::<String>()?),
            Err(error) => println!("{key}: {error}"),
        }
    }
    // A name without a handler is answered with an error that names it and those that there are.
    if let Err(error) = client.call("config.set".parse()?, Json::empty()).await {
        println!("{error}");
    }

    client.stop().await;
    server.shutdown().await;
    Ok(node.stop().await?)
}

//! A client with two handlers that take typed parameters.
//!
//! `cargo run --example client` runs it against a server in the same process, and ends.
//! `cargo run --example client -- 127.0.0.1:7400 web-01 TOKEN-FILE` stays with a server of yours.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use fleetcron::client::{Client, ClientHandle, Context};
use fleetcron::server::Server;
use fleetcron::{HandlerError, Json, NewClient, Node, Submission, TokenHash};

#[derive(serde::Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

fn start(address: &str, id: &str, token: &str) -> Result<ClientHandle, Box<dyn Error>> {
    let client = Client::builder(address, id.parse()?)
        .token(token)
        .on("add", |_: Context, Add { a, b }: Add| async move {
            a.checked_add(b).ok_or_else(|| HandlerError::failed(format!("{a} + {b} overflows")))
        })
        .on("shout", |cx: Context, text: String| async move {
            Ok(serde_json::json!({ "text": text.to_uppercase(), "serial": cx.serial }))
        });
    Ok(client.start()?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [address, id, token_file] = arguments.as_slice() {
        let client = start(address, id, std::fs::read_to_string(token_file)?.trim())?;
        println!("ended: {}", client.wait().await);
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let node = Node::open(directory.path())?;
    let handle = node.handle();
    let (id, token) = ("web-01".parse()?, Some(TokenHash::of("s3cret")));
    handle.add_client(NewClient { id, groups: [].into(), token }).await?;
    let server = Server::builder(handle.clone()).bind("127.0.0.1:0").await?;
    let address = server.local_addr().ok_or("the server does not listen")?;
    let client = start(&address.to_string(), "web-01", "s3cret")?;
    client.connected().await.map_err(|end| end.to_string())?;

    for (command, params) in [("add", r#"{"a":40,"b":2}"#), ("shout", "\"hi\""), ("add", "[]")] {
        let mut submission = Submission::new("client:web-01".parse()?, command.parse()?);
        submission.params = params.parse::<Json>()?;
        let run = handle.wait(handle.submit(submission).await?.serial).await?;
        let response = handle.response(run.serial, "web-01".parse()?).await?;
        let outcome = response.ok_or("no answer")?.outcome;
        println!("{command} {params}: {} {:?} {:?}", outcome.state, outcome.result, outcome.reason);
    }
    client.stop().await;
    server.shutdown().await;
    Ok(node.stop().await?)
}

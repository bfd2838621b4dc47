//! The same methods over HTTP: `Remote` has those of a node's own `Handle`, with the same types.
//!
//! `cargo run --example remote` asks a server in the same process;
//! `cargo run --example remote -- http://127.0.0.1:7401 TOKEN` asks one that is there already.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use fleetcron::remote::Remote;
use fleetcron::{Node, Submission, api};
use futures_util::TryStreamExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

async fn ask(remote: &Remote) -> Result<(), Box<dyn Error>> {
    let status = remote.status().await?;
    println!("clients: {} of {}", status.clients_connected, status.clients_defined);
    println!("jobs: {}, next due: {:?}", status.jobs, status.next_due);

    // Nobody waits longer than a second for a client that is away.
    let mut submission = Submission::new("all".parse()?, "host.uptime".parse()?);
    submission.expires_after = Some(Duration::from_secs(1));
    let run = remote.submit(submission).await?;
    let mut responses = remote.follow(run.serial);
    while let Some(response) = responses.try_next().await? {
        println!("{}: {}", response.client, response.outcome.state);
    }
    println!("ended: {:?}", remote.wait(run.serial).await?.counts);

    if let Err(error) = remote.trigger("no-such-job".parse()?).await {
        println!("error: {error}");
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [url, token] = arguments.as_slice() {
        return ask(&Remote::new(url, token)?).await;
    }
    let directory = tempfile::tempdir()?;
    let node = Node::open(directory.path())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stopping = CancellationToken::new();
    let router = api::router(node.handle(), api::Tokens::new(["s3cret"]), stopping.clone());
    let serving = tokio::spawn(api::serve(listener, router, stopping.clone()));

    let remote = Remote::new(&url, "s3cret")?;
    let client = serde_json::from_str(r#"{"id": "web-01", "groups": ["web"]}"#)?;
    println!("added {}", remote.add_client(client).await?.client.id);
    ask(&remote).await?;

    stopping.cancel();
    serving.await??;
    Ok(node.stop().await?)
}

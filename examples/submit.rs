//! Submits a command to a group, streams the responses as they come, and waits for the end.
//!
//! `cargo run --example submit`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use fleetcron::client::{Client, Context};
use fleetcron::server::Server;
use fleetcron::{HandlerError, NewClient, Node, Submission, TokenHash};
use futures_util::TryStreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let node = Node::open(directory.path())?;
    let handle = node.handle();
    let server = Server::builder(handle.clone()).bind("127.0.0.1:0").await?;
    let address = server.local_addr().ok_or("the server does not listen")?.to_string();

    // Three clients of the group `web`; the later in the alphabet, the slower, and the last fails.
    let mut clients = Vec::new();
    for (id, pause) in [("web-01", 0), ("web-02", 100), ("web-03", 200)] {
        let token = Some(TokenHash::of(id));
        let groups = ["web".parse()?].into();
        handle.add_client(NewClient { id: id.parse()?, groups, token }).await?;
        let reload = move |cx: Context, (): ()| async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if cx.client.id().as_str() == "web-03" {
                return Err(HandlerError::failed("the configuration has no server section"));
            }
            Ok("reloaded")
        };
        let client = Client::builder(&address, id.parse()?).token(id).on("web.reload", reload);
        clients.push(client.start()?);
    }
    for client in &clients {
        client.connected().await.map_err(|end| end.to_string())?;
    }
    let mut submission = Submission::new("group:web".parse()?, "web.reload".parse()?);
    submission.params = "null".parse()?;
    let run = handle.submit(submission).await?;
    println!("run {}: {} deliveries", run.serial, run.counts.total);

    let mut responses = handle.follow(run.serial);
    while let Some(response) = responses.try_next().await? {
        let outcome = response.outcome;
        let said = outcome.result.map(|result| result.to_string()).or(outcome.reason);
        println!("{} {}: {}", response.client, outcome.state, said.unwrap_or_default());
    }
    let run = handle.wait(run.serial).await?;
    println!("{} of {} succeeded", run.counts.succeeded, run.counts.total);

    for client in clients {
        client.stop().await;
    }
    server.shutdown().await;
    Ok(node.stop().await?)
}

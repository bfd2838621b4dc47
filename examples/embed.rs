//! Embeds a scheduler in a program: a node on a directory, a job that fires every second, and a
//! client in the same process that runs it. Nothing listens on a network.
//!
//! Ends after three runs. `cargo run --example embed`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use fleetcron::client::{Client, Context};
use fleetcron::server::Server;
use fleetcron::{Apply, JobSpec, NewClient, Node, Rule, TokenHash, What};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A program of your own names a lasting directory, and finds all again when it starts anew.
    let directory = tempfile::tempdir()?;
    let node = Node::open(directory.path())?;
    let handle = node.handle();

    // Nobody gets in who is not in the registry, not even from the same process.
    let token = Some(TokenHash::of("a token for myself"));
    handle.add_client(NewClient { id: "me".parse()?, groups: [].into(), token }).await?;

    // The client's connections are pipes in memory, a new one for each attempt.
    let server = Server::builder(handle.clone()).start()?;
    let listener = server.clone();
    let connector = move || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(listener.serve(far, None));
        async move { Ok(near) }
    };
    let client = Client::with_connector(connector, "me".parse()?)
        .token("a token for myself")
        .on("greet", |cx: Context, (): ()| async move { Ok(format!("due at {}", cx.scheduled_at)) })
        .start()?;
    client.connected().await.map_err(|end| end.to_string())?;

    // Watched before the job exists, so that no run is missed.
    let mut events = handle.events();
    let every_second = Rule::every(Duration::from_secs(1))?;
    let mut job = JobSpec::new("greeting".parse()?, "all".parse()?, "greet".parse()?, every_second);
    job.params = "null".parse()?;
    handle.apply(Apply { jobs: vec![job], ..Apply::default() }).await?;

    for number in 1..=3 {
        let response = loop {
            let event = events.next().await.ok_or("the node has stopped")??;
            if let What::DeliveryEnded { response, .. } = &event.what {
                break response.clone();
            }
        };
        println!("run {number}: {} {}", response.outcome.state, response.client);
    }

    client.stop().await;
    server.shutdown().await;
    Ok(node.stop().await?)
}

//! Commands in both directions over a real socket: the server in this process, as a library.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use fleetcron::client::{CallError, ClientHandle, Context};
use fleetcron::engine::NewClient;
use fleetcron::handlers::HandlerError;
use fleetcron::server::{Caller, Server};
use fleetcron::{ClientId, DeliveryState, Json, Node, Response, Submission, TokenHash};
use serde_json::{Value, json};
use tempfile::TempDir;

use common::fleet::{bare, connect};
use common::server::token_of;
use common::within;

/// A node and a server with handlers, on a store of their own.
struct Embedded {
    node: Node,
    server: Server,
    _dir: TempDir,
}

impl Embedded {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir.path()).unwrap();
        let server = Server::builder(node.handle())
            .on_call("config.get", |caller: Caller, key: String| async move {
                match key.as_str() {
                    "region" => Ok(json!({ "region": "eu-west", "asked_by": caller.client })),
                    _ => Err(HandlerError::failed(format!("no setting named {key:?}"))),
                }
            })
            .on_call("time.get", |_: Caller, (): ()| async { Ok("noon") })
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        Self { node, server, _dir: dir }
    }

    async fn client(&self, id: &str) -> ClientHandle {
        let client = NewClient {
            id: id.parse().unwrap(),
            groups: [].into(),
            token: Some(TokenHash::of(&token_of(id))),
        };
        self.node.handle().add_client(client).await.unwrap();
        let address = self.server.local_addr().unwrap().to_string();
        let greet = |_: Context, whom: String| async move { Ok(format!("hello {whom}")) };
        let relay = |cx: Context, key: String| async move {
            let answer = call(&cx.client, "config.get", json!(key)).await;
            answer.map_err(|error| HandlerError::failed(error.to_string()))
        };
        connect(bare(&address, id).on("greet", greet).on("relay", relay)).await
    }

    /// Sends a command to a client, and gives its answer.
    async fn command(&self, id: &str, command: &str, params: Value) -> Response {
        let handle = self.node.handle();
        let client: ClientId = id.parse().unwrap();
        let target = format!("client:{id}").parse().unwrap();
        let mut submission = Submission::new(target, command.parse().unwrap());
        submission.params = Json::new(&params).unwrap();
        let serial = handle.submit(submission).await.unwrap().serial;
        within("an answer", handle.wait(serial)).await.unwrap();
        handle.response(serial, client).await.unwrap().expect("the run has ended")
    }

    async fn stop(self) {
        self.server.shutdown().await;
        self.node.stop().await.unwrap();
    }
}

async fn call(client: &ClientHandle, command: &str, params: Value) -> Result<Value, CallError> {
    let answer = client.call(command.parse().unwrap(), Json::new(&params).unwrap()).await?;
    Ok(answer.to().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_command_is_answered_by_the_servers_handler_and_the_other_way_round() {
    let embedded = Embedded::start().await;
    let client = embedded.client("web-01").await;
    let answer = call(&client, "config.get", json!("region")).await.unwrap();
    assert_eq!(answer, json!({ "region": "eu-west", "asked_by": "web-01" }));
    assert_eq!(call(&client, "time.get", json!(null)).await.unwrap(), json!("noon"));

    let response = embedded.command("web-01", "greet", json!("fleet")).await;
    assert_eq!(response.outcome.state, DeliveryState::Succeeded);
    assert_eq!(response.outcome.result.unwrap().text(), r#""hello fleet""#);

    let response = embedded.command("web-01", "relay", json!("region")).await;
    assert_eq!(response.outcome.state, DeliveryState::Succeeded, "a call within a command");
    let result: Value = response.outcome.result.unwrap().to().unwrap();
    assert_eq!(result["region"], "eu-west");
    embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_bad_parameters_are_told_in_both_directions() {
    let embedded = Embedded::start().await;
    let client = embedded.client("web-01").await;
    let told = |error: CallError| error.to_string();

    let error = call(&client, "config.got", json!("region")).await.unwrap_err();
    assert_eq!(
        told(error),
        "call of config.got: the server answered: \
         no command named \"config.got\"; known are config.get, time.get"
    );
    let error = told(call(&client, "config.get", json!(5)).await.unwrap_err());
    assert!(error.contains("rejected: params are not valid: "), "{error}");
    let error = told(call(&client, "config.get", json!("colour")).await.unwrap_err());
    assert!(error.ends_with("failed: no setting named \"colour\""), "{error}");

    let response = embedded.command("web-01", "great", json!("fleet")).await;
    assert_eq!(response.outcome.state, DeliveryState::Rejected);
    let reason = response.outcome.reason.unwrap();
    assert_eq!(reason, "no command named \"great\"; known are greet, relay");
    let response = embedded.command("web-01", "greet", json!({ "whom": 1 })).await;
    assert_eq!(response.outcome.state, DeliveryState::Rejected);
    assert!(response.outcome.reason.unwrap().starts_with("params are not valid: "));

    assert!(client.is_connected(), "none of it has harmed the connection");
    embedded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_handlers_says_so() {
    let server = common::server::Server::new().await;
    server.define("web-01", &[]).await;
    let client = connect(bare(&server.listen, "web-01")).await;
    let error = call(&client, "config.get", json!("region")).await.unwrap_err().to_string();
    assert!(error.ends_with("no command named \"config.get\"; there are none"), "{error}");
}

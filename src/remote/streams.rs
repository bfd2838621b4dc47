//! Streams of responses and events, and the wait for a run's end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::Method;
use serde::de::DeserializeOwned;

use super::lines::decode;
use super::{Remote, RemoteError};
use crate::engine::Event;
use crate::id::{ClientId, Serial};
use crate::live::Live;
use crate::run::{Response, Run};
use crate::time::duration;

/// How long one request of a wait is held by the server.
pub(super) const WAIT: Duration = Duration::from_secs(30);

/// The pause after the first connection error of a wait; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How many connection errors in a row end a wait: about a minute.
const MAX_FAILURES: u32 = 10;

impl Remote {
    /// The responses recorded so far, in the order in which they were recorded.
    #[must_use]
    pub fn responses(&self, serial: Serial) -> BoxStream<'static, Result<Response, RemoteError>> {
        self.stream(vec!["runs".into(), serial.to_string(), "responses".into()], Vec::new())
    }

    /// The responses recorded so far and those to come, until the run has ended. A stream that
    /// ends before the run has does so with an error.
    #[must_use]
    pub fn follow(&self, serial: Serial) -> BoxStream<'static, Result<Response, RemoteError>> {
        let path = vec!["runs".into(), serial.to_string(), "responses".into()];
        let responses = self.stream(path, vec![("follow", "true".to_owned())]);
        let remote = self.clone();
        // An error is the last item that `stream` gives: only after none is there a check.
        stream::unfold(Some(responses), move |responses| {
            let remote = remote.clone();
            async move {
                let mut responses = responses?;
                match responses.next().await {
                    Some(Ok(response)) => Some((Ok(response), Some(responses))),
                    Some(Err(error)) => Some((Err(error), None)),
                    None => remote.ended(serial).await.err().map(|error| (Err(error), None)),
                }
            }
        })
        .boxed()
    }

    async fn ended(&self, serial: Serial) -> Result<(), RemoteError> {
        let run = self.run(serial).await?;
        if run.ended_at.is_some() {
            return Ok(());
        }
        let open = run.counts.open();
        Err(RemoteError::Broken {
            url: self.http.base().to_owned(),
            cause: format!("the stream ended while run {serial} has {open} open deliveries"),
        })
    }

    /// Waits for a run's end. Connection errors are borne for about a minute: the server may
    /// restart meanwhile.
    pub async fn wait(&self, serial: Serial) -> Result<Run, RemoteError> {
        wait_for(|| self.wait_once(serial), |run: &Run| run.ended_at.is_some()).await
    }

    async fn wait_once(&self, serial: Serial) -> Result<Run, RemoteError> {
        let request = self.http.request(Method::GET, &["runs", &serial.to_string()])?;
        self.http.json(request.query(&[("wait", duration::format(WAIT))])).await
    }

    /// What is seen of a run's open deliveries, or of one client's: what is kept, and with
    /// `follow` what comes until the run has ended.
    #[must_use]
    pub fn output(
        &self,
        serial: Serial,
        client: Option<ClientId>,
        follow: bool,
    ) -> BoxStream<'static, Result<Arc<Live>, RemoteError>> {
        let path = vec!["runs".into(), serial.to_string(), "output".into()];
        let mut query = vec![("follow", follow.to_string())];
        query.extend(client.map(|client| ("client", client.to_string())));
        self.stream::<Live>(path, query).map(|live| live.map(Arc::new)).boxed()
    }

    /// What happens from now on; ends when the node stops.
    #[must_use]
    pub fn events(&self) -> BoxStream<'static, Result<Arc<Event>, RemoteError>> {
        let events = self.stream::<Event>(vec!["events".into()], Vec::new());
        events.map(|event| event.map(Arc::new)).boxed()
    }

    pub(super) fn stream<T: DeserializeOwned + Send + 'static>(
        &self,
        path: Vec<String>,
        query: Vec<(&'static str, String)>,
    ) -> BoxStream<'static, Result<T, RemoteError>> {
        let http = self.http.clone();
        let opened = async move {
            let segments: Vec<&str> = path.iter().map(String::as_str).collect();
            let request = http.request(Method::GET, &segments)?.query(&query);
            let url = http.base().to_owned();
            let shown = url.clone();
            let pieces = http.send(request).await?.bytes_stream();
            let pieces = pieces
                .map(move |piece| piece.map_err(|error| RemoteError::exchange(&shown, &error)));
            Ok(decode(url, pieces.boxed()))
        };
        stream::once(opened)
            .flat_map(|opened| match opened {
                Ok(values) => values,
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }
}

/// Asks again and again, the server holding each request, until the answer is as it is to be.
pub(super) async fn wait_for<T, F: Future<Output = Result<T, RemoteError>>>(
    ask: impl Fn() -> F,
    is_it: impl Fn(&T) -> bool,
) -> Result<T, RemoteError> {
    let mut failures = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Ok(answer) if is_it(&answer) => return Ok(answer),
            Ok(_) => (failures, pause) = (0, FIRST_PAUSE),
            Err(error) if is_passing(&error) && failures + 1 < MAX_FAILURES => {
                tracing::debug!(%error, "a wait: trying again");
                failures += 1;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether a wait goes on after this: the server may come back.
fn is_passing(error: &RemoteError) -> bool {
    error.is_connection()
        || matches!(error, RemoteError::Refused { kind, .. } if kind == "stopped" || kind == "limit")
}

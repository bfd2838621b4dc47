//! The exchange: URLs, the token, time limits, and how answers are read.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;

use super::RemoteError;
use crate::api::HEARTBEAT;

/// The longest that a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest silence while an answer is awaited or read; streams have a line more often.
const READ_TIMEOUT: Duration = Duration::from_secs(4 * HEARTBEAT.as_secs() + 30);

/// Makes requests to one server.
#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    base: Url,
    token: String,
    /// The base as error messages show it.
    shown: String,
}

impl Http {
    pub(super) fn new(base: &str, token: &str) -> Result<Self, RemoteError> {
        let bad =
            |problem: &str| RemoteError::Url { url: base.to_owned(), problem: problem.to_owned() };
        let url = Url::parse(base).map_err(|error| bad(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(bad("write it as http://HOST:PORT"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(bad("nothing may follow the port"));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            // A token is for the server that was named and no other, nor a proxy before it.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| bad(&error.to_string()))?;
        let shown = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, base: url, token: token.to_owned(), shown })
    }

    pub(super) fn base(&self) -> &str {
        &self.shown
    }

    /// A request for the path of these segments, each escaped as it needs.
    pub(super) fn request(
        &self,
        method: Method,
        segments: &[&str],
    ) -> Result<RequestBuilder, RemoteError> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("v1");
            for segment in segments {
                // URLs resolve these away, escaped or not.
                if matches!(*segment, "." | "..") {
                    return Err(RemoteError::Name((*segment).to_owned()));
                }
                path.push(segment);
            }
        }
        Ok(self.client.request(method, url).bearer_auth(&self.token))
    }

    /// Makes a request; an answer that is not a success is an error.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, RemoteError> {
        let exchange = |error| RemoteError::exchange(&self.shown, &error);
        let response = request.send().await.map_err(exchange)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(exchange)?;
        Err(RemoteError::refusal(&self.shown, status, &body))
    }

    /// Makes a request whose answer is JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, RemoteError> {
        Ok(self.status_and_json(request).await?.1)
    }

    /// The same, with the status of the success.
    pub(super) async fn status_and_json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), RemoteError> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = response.bytes().await;
        let body = body.map_err(|error| RemoteError::exchange(&self.shown, &error))?;
        let value = serde_json::from_slice(&body).map_err(|error| RemoteError::Answer {
            url: self.shown.clone(),
            problem: error.to_string(),
        })?;
        Ok((status, value))
    }
}

//! The events of the ledger, over HTTP.

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use reqwest::Method;

use super::{Remote, RemoteError};
use crate::history::{EventPage, EventQuery, Recorded};

impl Remote {
    /// A page of the events of the ledger. A group has the members that it has now.
    pub async fn history(&self, query: EventQuery) -> Result<EventPage, RemoteError> {
        let request = self.http.request(Method::GET, &["history"])?;
        self.http.json(request.query(&query)).await
    }

    /// All events that a query asks for, or the first `limit` of them, as they are read.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "as the handle's")]
    pub fn export_history(
        &self,
        query: EventQuery,
    ) -> BoxStream<'static, Result<Recorded, RemoteError>> {
        self.recorded(&query, false)
    }

    /// The events that a query asks for and those to come, the oldest first; without `from` and
    /// `after` only those to come. None is left out and none comes twice. It ends after `limit`
    /// events, or with an error when the server stops; `after` the last one it can be begun again.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "as the handle's")]
    pub fn follow_history(
        &self,
        query: EventQuery,
    ) -> BoxStream<'static, Result<Recorded, RemoteError>> {
        self.recorded(&query, true)
    }

    fn recorded(
        &self,
        query: &EventQuery,
        follow: bool,
    ) -> BoxStream<'static, Result<Recorded, RemoteError>> {
        let pairs = match pairs(query) {
            Ok(pairs) => pairs,
            Err(problem) => {
                let url = self.http.base().to_owned();
                return stream::iter([Err(RemoteError::Answer { url, problem })]).boxed();
            }
        };
        let form = [("stream", "ndjson".to_owned()), ("follow", follow.to_string())];
        self.stream(vec!["history".into()], pairs.into_iter().chain(form).collect())
    }
}

/// What a query says, as parameters.
fn pairs(query: &EventQuery) -> Result<Vec<(&'static str, String)>, String> {
    const NAMES: [&str; 14] = [
        "from", "to", "job", "client", "group", "serial", "states", "kinds", "actor", "text",
        "order", "after", "limit", "results",
    ];
    let value = serde_json::to_value(query).map_err(|error| error.to_string())?;
    let text = |value: &serde_json::Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    Ok(NAMES.into_iter().filter_map(|name| Some((name, text(value.get(name)?)))).collect())
}

//! Why a request over HTTP has no answer.

use reqwest::StatusCode;

use crate::api::message::ErrorBody;

/// How much of a body that is no JSON error an error message repeats.
const SHOWN: usize = 200;

/// Why a request over HTTP has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The URL is not one that can be asked.
    #[error("server URL {url:?} is not valid: {problem}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody answers at the URL.
    #[error("cannot connect to {url}: {cause}; is the server running there?")]
    Connect {
        /// The server's URL.
        url: String,
        /// Why.
        cause: String,
    },
    /// The connection failed after it stood; whether the request was met is not known.
    #[error("the connection to {url} failed: {cause}")]
    Broken {
        /// The server's URL.
        url: String,
        /// Why.
        cause: String,
    },
    /// The server does not know the token.
    #[error("{url} does not accept the token: {message}")]
    Unauthorized {
        /// The server's URL.
        url: String,
        /// The server's words.
        message: String,
    },
    /// The server refuses; these are its words.
    #[error("{message}")]
    Refused {
        /// The word for programs, such as `not_found`; see [`crate::api::ErrorKind::name`].
        kind: String,
        /// The sentence for people.
        message: String,
    },
    /// An answer that a fleetcron server would not give.
    #[error("{url} gave an answer that cannot be read: {problem}")]
    Answer {
        /// The server's URL.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that no URL can hold.
    #[error("name {0:?} cannot be asked for over HTTP: a URL cannot hold it")]
    Name(String),
}

impl RemoteError {
    /// Whether the same request may be answered if it is made again.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. })
    }

    /// From a failure of the exchange itself.
    pub(super) fn exchange(url: &str, error: &reqwest::Error) -> Self {
        let (url, cause) = (url.to_owned(), root_cause(error));
        if error.is_connect() { Self::Connect { url, cause } } else { Self::Broken { url, cause } }
    }

    /// From an answer that is not a success.
    pub(super) fn refusal(url: &str, status: StatusCode, body: &[u8]) -> Self {
        let url = url.to_owned();
        match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) if status == StatusCode::UNAUTHORIZED => {
                Self::Unauthorized { url, message: body.error.message }
            }
            Ok(body) => body.into(),
            Err(_) => {
                let text: String = String::from_utf8_lossy(body).chars().take(SHOWN).collect();
                let problem = format!("status {status} with {text:?}; is it a fleetcron server?");
                Self::Answer { url, problem }
            }
        }
    }
}

impl From<ErrorBody> for RemoteError {
    fn from(body: ErrorBody) -> Self {
        Self::Refused { kind: body.error.kind, message: body.error.message }
    }
}

/// The innermost cause: the outer ones repeat the URL and say nothing more.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

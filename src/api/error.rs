//! Errors as HTTP has them. Every refusal has a JSON body; status codes are known here alone.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::message::{ErrorBody, ErrorDetail};
use crate::engine::RequestError;
use crate::node::CallError;

/// What kind of error it is: the word in the body and the status that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request cannot be read.
    BadRequest,
    /// 401: no token, or one that is not known.
    Unauthorized,
    /// 403: the request is not allowed.
    Denied,
    /// 404: no such thing, or no such path.
    NotFound,
    /// 405: the path does not have this method.
    MethodNotAllowed,
    /// 408: the body took too long.
    Timeout,
    /// 409: the thing is there already, or not in a state for this.
    Conflict,
    /// 413: the body is above the limit.
    TooLarge,
    /// 415: the body is not declared as JSON.
    UnsupportedType,
    /// 422: the request can be read and is not valid.
    Invalid,
    /// 429: a limit is reached.
    Limit,
    /// 500: a fault in fleetcron or its store.
    Internal,
    /// 503: the node has stopped.
    Stopped,
    /// 503: the store cannot be written now: it is read-only, or the disk hangs.
    Unwritable,
    /// 507: the disk is full, or nearly.
    Full,
}

impl ErrorKind {
    /// The word in the body.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedType => "unsupported_type",
            Self::Invalid => "invalid",
            Self::Limit => "limit",
            Self::Internal => "internal",
            Self::Stopped => "stopped",
            Self::Unwritable => "unwritable",
            Self::Full => "full",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Limit => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Stopped | Self::Unwritable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
        }
    }
}

/// A refusal: a kind for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl ApiError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadRequest, message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(super) fn stopped() -> Self {
        Self::new(ErrorKind::Stopped, CallError::Stopped.to_string())
    }

    pub(super) fn body(self) -> ErrorBody {
        ErrorBody {
            error: ErrorDetail { kind: self.kind.name().to_owned(), message: self.message },
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let kind = match &error {
            CallError::Refused(RequestError::NotFound { .. }) => ErrorKind::NotFound,
            CallError::Refused(RequestError::Conflict(_)) => ErrorKind::Conflict,
            CallError::Refused(RequestError::Denied(_)) => ErrorKind::Denied,
            CallError::Refused(RequestError::Invalid(_)) => ErrorKind::Invalid,
            CallError::Refused(RequestError::Limit(_)) => ErrorKind::Limit,
            CallError::Stopped => ErrorKind::Stopped,
            CallError::Hindered(obstacle) if obstacle.is_fullness() => ErrorKind::Full,
            CallError::Hindered(_) => ErrorKind::Unwritable,
            CallError::Store(_) | CallError::UnexpectedReply(_) => ErrorKind::Internal,
        };
        if kind == ErrorKind::Internal {
            tracing::error!(%error, "a request failed inside");
        }
        Self::new(kind, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let mut response = (kind.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        match kind {
            ErrorKind::Unauthorized => {
                let scheme = HeaderValue::from_static("Bearer realm=\"fleetcron\"");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            ErrorKind::Limit | ErrorKind::Stopped => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            ErrorKind::Full | ErrorKind::Unwritable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: RequestError) -> (u16, String) {
        let error = ApiError::from(CallError::Refused(error));
        (error.kind.status().as_u16(), error.message)
    }

    #[test]
    fn each_refusal_of_the_engine_has_its_status_and_keeps_its_words() {
        let missing = RequestError::NotFound {
            what: "job",
            name: "backup".into(),
            suggestion: Some("db-backup".into()),
        };
        let expected = "no job named \"backup\"; did you mean \"db-backup\"?";
        assert_eq!(of(missing), (404, expected.to_owned()));
        assert_eq!(of(RequestError::Conflict("c".into())), (409, "c".to_owned()));
        assert_eq!(of(RequestError::Denied("d".into())), (403, "d".to_owned()));
        assert_eq!(of(RequestError::Invalid("i".into())), (422, "i".to_owned()));
        assert_eq!(of(RequestError::Limit("l".into())), (429, "l".to_owned()));
        assert_eq!(ApiError::from(CallError::Stopped).into_response().status(), 503);
    }
}

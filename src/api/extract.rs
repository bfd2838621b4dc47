//! What a request brings: path segments, query parameters and JSON bodies, each checked, with an
//! error that names the place and the value.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{ApiError, ErrorKind};
use crate::engine::Page;
use crate::idempotency::IdempotencyKey;

/// The most bytes of a body.
pub const MAX_BODY: usize = 1024 * 1024;

/// The most bytes of the body of an apply.
pub const MAX_APPLY_BODY: usize = 8 * 1024 * 1024;

/// The longest that a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Items in a list when the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// How much of a bad value an error message repeats.
const SHOWN: usize = 160;

/// The one parameter of a path.
pub(super) struct Segment<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr<Err: Display>> FromRequestParts<S> for Segment<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|error| ApiError::bad_request(error.body_text()))?;
        text.parse().map(Self).map_err(|error: T::Err| ApiError::invalid(error.to_string()))
    }
}

/// The two parameters of a path.
pub(super) struct Segments<A, B>(pub(super) A, pub(super) B);

impl<S, A, B> FromRequestParts<S> for Segments<A, B>
where
    S: Send + Sync,
    A: FromStr<Err: Display>,
    B: FromStr<Err: Display>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((a, b)) = path.map_err(|error| ApiError::bad_request(error.body_text()))?;
        let a = a.parse().map_err(|error: A::Err| ApiError::invalid(error.to_string()))?;
        let b = b.parse().map_err(|error: B::Err| ApiError::invalid(error.to_string()))?;
        Ok(Self(a, b))
    }
}

/// The header `Idempotency-Key`, if it is there.
pub(super) struct IdempotencyHeader(pub(super) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let (first, second) = (values.next(), values.next());
        if second.is_some() {
            return Err(ApiError::bad_request("header Idempotency-Key is given twice".to_owned()));
        }
        let Some(value) = first else { return Ok(Self(None)) };
        let key = IdempotencyKey::new(&String::from_utf8_lossy(value.as_bytes()));
        key.map(|key| Self(Some(key))).map_err(|error| ApiError::invalid(error.to_string()))
    }
}

/// Query parameters, to be taken one by one; what is left over is an error.
pub(super) struct Params {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Query(left) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
        Ok(Self { left, known: Vec::new() })
    }
}

impl Params {
    /// One parameter, if it is there.
    pub(super) fn take<T: FromStr<Err: Display>>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|error: T::Err| bad_param(name, text, &error.to_string()))
        };
        self.take_with(name, parse)
    }

    /// One parameter, if it is there, read by `parse`.
    pub(super) fn take_with<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ApiError>,
    ) -> Result<Option<T>, ApiError> {
        self.known.push(name);
        let Some(at) = self.left.iter().position(|(key, _)| key == name) else { return Ok(None) };
        let (_, text) = self.left.remove(at);
        if self.left.iter().any(|(key, _)| key == name) {
            return Err(ApiError::bad_request(format!("query parameter {name} is given twice")));
        }
        parse(&text).map(Some)
    }

    /// The parameter `limit`: 1 to [`Page::MAX`], and 100 if it is not given.
    pub(super) fn limit(&mut self) -> Result<usize, ApiError> {
        Ok(self.number("limit", Page::<()>::MAX)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// A number from 1 to `most`, if it is there.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        most: usize,
    ) -> Result<Option<usize>, ApiError> {
        match self.take::<usize>(name)? {
            Some(number) if !(1..=most).contains(&number) => {
                Err(bad_param(name, &number.to_string(), &format!("it is 1 to {most}")))
            }
            number => Ok(number),
        }
    }

    /// The parameters `after` and `limit` of a sorted list.
    pub(super) fn page<K: FromStr<Err: Display>>(&mut self) -> Result<Page<K>, ApiError> {
        Ok(Page { after: self.take("after")?, limit: self.limit()? })
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        let known = match self.known.as_slice() {
            [] => "this path has none".to_owned(),
            known => format!("this path has {}", known.join(", ")),
        };
        Err(ApiError::bad_request(format!("no query parameter {:?}; {known}", shown(name))))
    }
}

/// The refusal of a query parameter's value.
pub(super) fn bad_param(name: &str, value: &str, problem: &str) -> ApiError {
    ApiError::bad_request(format!(
        "query parameter {name}={:?} is not valid: {problem}",
        shown(value)
    ))
}

fn shown(value: &str) -> String {
    value.chars().take(SHOWN).collect()
}

/// A JSON body of at most `MAX` bytes.
pub(super) struct Body<T, const MAX: usize = MAX_BODY>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned, const MAX: usize> FromRequest<S> for Body<T, MAX> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        check_type(content_type.map(|value| String::from_utf8_lossy(value.as_bytes())).as_deref())?;
        let bytes = read(request.into_body(), MAX).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body, or none, which stands for its default.
pub(super) struct OptionalBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        let bytes = read(request.into_body(), MAX_BODY).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(
            content_type
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .as_deref(),
        )?;
        parse(&bytes).map(Self)
    }
}

fn check_type(content_type: Option<&str>) -> Result<(), ApiError> {
    let problem = match content_type {
        Some(value) => {
            let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            if essence == "application/json" || essence.ends_with("+json") {
                return Ok(());
            }
            format!("content type {:?} is not supported", shown(value))
        }
        None => "the request has no content type".to_owned(),
    };
    Err(ApiError::new(ErrorKind::UnsupportedType, format!("{problem}; send application/json")))
}

async fn read(body: HttpBody, max: usize) -> Result<Vec<u8>, ApiError> {
    tokio::time::timeout(BODY_TIMEOUT, collect(body, max)).await.map_err(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        ApiError::new(ErrorKind::Timeout, format!("the body did not arrive within {seconds} s"))
    })?
}

async fn collect(body: HttpBody, max: usize) -> Result<Vec<u8>, ApiError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))?;
        if bytes.len() + chunk.len() > max {
            let message = format!("the body is too large; the most is {max} bytes");
            return Err(ApiError::new(ErrorKind::TooLarge, message));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Before the fields are looked at: an array would be taken for them in their order, and a
    // number where a word belongs would be called a fault of the JSON.
    let whole = serde_json::from_slice::<&RawValue>(bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))?;
    if !whole.get().starts_with('{') {
        return Err(ApiError::invalid("the body is not a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "the body" } else { &path };
        ApiError::invalid(format!("{place}: {}", error.inner()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Apply;

    #[test]
    fn a_bad_field_is_told_with_its_path_and_value() {
        let text = r#"{"jobs": [{"name": "a b", "target": "all", "command": "x", "rule": "now"}]}"#;
        let error = parse::<Apply>(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.starts_with("jobs[0].name: job name \"a b\""), "{}", error.message);

        let text = r#"{"jobs": [], "prun": true}"#;
        let error = parse::<Apply>(text.as_bytes()).unwrap_err();
        assert!(error.message.contains("prun"), "{}", error.message);
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        for text in ["", "{", "{\"jobs\": []} {}", "{'jobs': []}"] {
            let error = parse::<Apply>(text.as_bytes()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::BadRequest, "{text}: {}", error.message);
            assert!(error.message.contains(" at line 1 column "), "{}", error.message);
        }
    }

    #[test]
    fn only_an_object_is_taken_and_a_wrong_type_is_no_fault_of_the_json() {
        let error = parse::<Apply>(b"[[]]").unwrap_err();
        assert_eq!(error, ApiError::invalid("the body is not a JSON object"));
        let text = r#"{"jobs": [{"offline": 5}]}"#;
        let error = parse::<Apply>(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.starts_with("jobs[0].offline: "), "{}", error.message);
    }

    #[test]
    fn only_json_is_taken() {
        assert!(check_type(Some("application/json; charset=utf-8")).is_ok());
        assert!(check_type(Some("application/vnd.fleetcron+json")).is_ok());
        let error = check_type(Some("text/plain")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedType);
        assert_eq!(
            error.message,
            "content type \"text/plain\" is not supported; send application/json"
        );
        assert!(check_type(None).is_err());
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Params { left: pairs.iter().map(owned).collect(), known: Vec::new() }
    }

    #[test]
    fn a_bad_query_parameter_is_told_with_its_value() {
        let message = |pairs: &[(&str, &str)]| params(pairs).limit().unwrap_err().message;
        let start = "query parameter limit=\"abc\" is not valid: ";
        assert!(message(&[("limit", "abc")]).starts_with(start));
        assert!(message(&[("limit", "0")]).ends_with("it is 1 to 1000"));
        assert!(message(&[("limit", "1001")]).ends_with("it is 1 to 1000"));
        assert!(message(&[("limit", "1"), ("limit", "2")]).ends_with("is given twice"));
        assert_eq!(params(&[]).limit(), Ok(100));
    }

    #[test]
    fn a_query_parameter_that_nobody_knows_is_refused() {
        let mut given = params(&[("limi", "5")]);
        assert_eq!(given.limit(), Ok(100));
        let error = given.finish().unwrap_err().message;
        assert_eq!(error, "no query parameter \"limi\"; this path has limit");
    }
}

//! Bearer tokens. Nothing is answered without one, not even that a path does not exist.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, ErrorKind};
use crate::client_record::TokenHash;

/// The tokens that open the HTTP interface. Only their hashes are kept; they are compared in
/// constant time, and all of them, so that the time tells nothing about a wrong one.
#[derive(Debug, Clone)]
pub struct Tokens(Vec<TokenHash>);

impl Tokens {
    /// From tokens in the clear. Without any, nobody gets in.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Self {
        Self(tokens.into_iter().map(|token| TokenHash::of(token.as_ref())).collect())
    }

    /// Whether the token is one of these.
    #[must_use]
    pub fn allow(&self, token: &str) -> bool {
        let shown = TokenHash::of(token);
        // Counted rather than searched: no early end.
        self.0.iter().filter(|known| **known == shown).count() > 0
    }
}

/// Lets a request pass that carries a known token.
pub(super) async fn check(
    State(tokens): State<Tokens>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let refuse = |message: &str| Err(ApiError::new(ErrorKind::Unauthorized, message));
    match bearer(request.headers()) {
        None => refuse("a token is needed: send the header \"Authorization: Bearer TOKEN\""),
        Some(token) if !tokens.allow(token) => refuse("the token is not known to this server"),
        Some(_) => Ok(next.run(request).await),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_tokens_are_allowed() {
        let tokens = Tokens::new(["one", "two"]);
        assert!(tokens.allow("one") && tokens.allow("two"));
        assert!(!tokens.allow("three") && !tokens.allow(""));
        assert!(!Tokens::new::<&str>([]).allow(""));
    }
}

//! Bearer tokens. Nothing is answered without one, not even that a path does not exist.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, ErrorKind};
use super::limit::Peer;
use crate::actor::{Actor, TokenName};
use crate::client_record::TokenHash;
use crate::node::Handle;

/// How long a token's use from one address is not told of again.
const TOLD_AGAIN: Duration = Duration::from_secs(3_600);

/// Uses of tokens that are remembered as told; with one more all are forgotten, and told again.
const TOLD: usize = 1_024;

/// The tokens that open the HTTP interface. Only their hashes are kept; they are compared in
/// constant time, and all of them, so that the time tells nothing about a wrong one.
#[derive(Debug, Clone)]
pub struct Tokens(Vec<(TokenName, TokenHash)>);

impl Tokens {
    /// From tokens in the clear, all of the name `access`. Without any, nobody gets in.
    pub fn new<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let name = TokenName::unnamed();
        Self::named(tokens.into_iter().map(|token| (name.clone(), token)))
    }

    /// From tokens in the clear, each with the name by which the ledger knows who used it.
    pub fn named<T: AsRef<str>>(tokens: impl IntoIterator<Item = (TokenName, T)>) -> Self {
        let hashed = |(name, token): (TokenName, T)| (name, TokenHash::of(token.as_ref()));
        Self(tokens.into_iter().map(hashed).collect())
    }

    /// The name of the token, if it is one of these.
    #[must_use]
    pub fn name_of(&self, token: &str) -> Option<&TokenName> {
        let shown = TokenHash::of(token);
        // The last of all that fit rather than the first: no early end.
        self.0.iter().filter(|(_, known)| *known == shown).map(|(name, _)| name).next_back()
    }
}

/// Who may come in, and whose coming was told.
pub(super) struct Door {
    tokens: Tokens,
    handle: Handle,
    told: Mutex<HashMap<(TokenName, IpAddr), Instant>>,
}

impl Door {
    pub(super) fn new(tokens: Tokens, handle: Handle) -> Arc<Self> {
        Arc::new(Self { tokens, handle, told: Mutex::default() })
    }

    /// Whether a token's use is to be told of: it is the first for a while from there.
    fn is_new(&self, name: &TokenName, from: IpAddr, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), from);
        if told.get(&key).is_some_and(|at| now.duration_since(*at) < TOLD_AGAIN) {
            return false;
        }
        if told.len() >= TOLD {
            told.clear();
        }
        told.insert(key, now);
        true
    }
}

/// Lets a request pass that carries a known token, with its actor.
pub(super) async fn check(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let refuse = |message: &str| Err(ApiError::new(ErrorKind::Unauthorized, message));
    let name = match bearer(request.headers()) {
        None => {
            return refuse("a token is needed: send the header \"Authorization: Bearer TOKEN\"");
        }
        Some(token) => door.tokens.name_of(token).cloned(),
    };
    let Some(name) = name else { return refuse("the token is not known to this server") };
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    if let Some(ConnectInfo(Peer(peer))) = peer
        && door.is_new(&name, peer.ip(), Instant::now())
    {
        // A node that stops has answers of its own.
        let _ = door.handle.token_used(name.clone(), peer.ip().to_string()).await;
    }
    request.extensions_mut().insert(Actor::Token(name));
    Ok(next.run(request).await)
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
        let allow = |token| tokens.name_of(token).is_some_and(|name| name.as_str() == "access");
        assert!(allow("one") && allow("two"));
        assert!(!allow("three") && !allow(""));
        assert_eq!(Tokens::new::<&str>([]).name_of(""), None);
        let named =
            Tokens::named([("ci".parse().unwrap(), "one"), ("ops".parse().unwrap(), "two")]);
        assert_eq!(named.name_of("two").map(TokenName::as_str), Some("ops"));
    }
}

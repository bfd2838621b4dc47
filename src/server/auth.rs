//! Who gets in. The hook only finds out what a client shows; the registry decides.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::client_record::{Proof, TokenHash};
use crate::wire::Hello;

/// What a client that is not let in by token is told, whatever was wrong: a guesser learns no
/// more from it. The log tells which it was.
pub const NOT_KNOWN: &str = "client or token not known";

/// Says what a client has shown to prove who it is.
///
/// With [`Proof::Token`] the registry's hash decides, compared in constant time. With
/// [`Proof::Vouched`] the hook itself has decided; the client must still be in the registry.
pub trait Authenticator: Send + Sync + 'static {
    /// Looks at a hello. It has ten seconds.
    fn authenticate<'a>(
        &'a self,
        hello: &'a Hello,
        peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Result<Proof, Denied>>;
}

/// A client that is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What the client is told.
    pub reason: String,
    /// What the log tells beside it.
    pub detail: Option<String>,
    /// How long the client shall stay away; `None`: its own slowest pace.
    pub retry_after: Option<Duration>,
}

impl Denied {
    /// A denial with a reason that the client is told.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: None, retry_after: None }
    }
}

/// Authentication by the token in the hello, against the hash in the registry. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenAuthenticator;

impl Authenticator for TokenAuthenticator {
    fn authenticate<'a>(
        &'a self,
        hello: &'a Hello,
        _peer: Option<SocketAddr>,
    ) -> BoxFuture<'a, Result<Proof, Denied>> {
        let proof = match &hello.token {
            Some(token) => Ok(Proof::Token(TokenHash::of(token))),
            None => Err(Denied {
                detail: Some("its hello has no token".into()),
                ..Denied::new(NOT_KNOWN)
            }),
        };
        std::future::ready(proof).boxed()
    }
}

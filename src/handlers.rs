//! Handlers by command name, on both ends: the client runs the server's commands with them, the
//! server those of its clients.
//!
//! Promises: a command always ends in an [`Outcome`]; a handler that panics ends as `failed` and
//! harms nobody else; parameters that do not fit end as `rejected`. Imports domain types only.

use std::any::Any;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::id::{CommandName, InvalidName};
use crate::json::Json;
use crate::run::{DeliveryState, Outcome};

/// Names that an error lists.
const LISTED: usize = 20;

type Handler<C> = Arc<dyn Fn(C, CommandName, Json) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// Handlers by command name. `C` is what a handler is told beside its parameters.
///
/// ```
/// # use fleetcron::handlers::Handlers;
/// #[derive(serde::Deserialize)]
/// struct Params { path: String }
///
/// let handlers = Handlers::<()>::new()
///     .on("disk.report", |(), params: Params| async move {
///         if params.path.is_empty() {
///             return Err("path is empty".into());
///         }
///         Ok(serde_json::json!({ "path": params.path, "free": 0.25 }))
///     });
/// # assert!(handlers.check().is_ok());
/// ```
pub struct Handlers<C> {
    by_name: BTreeMap<CommandName, Handler<C>>,
    fallback: Option<Handler<C>>,
    fault: Option<HandlersError>,
}

/// Handlers that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlersError {
    /// A name that is not a command name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Two handlers under one name.
    #[error("command {0} has two handlers")]
    Twice(CommandName),
}

impl<C: Send + 'static> Handlers<C> {
    /// No handlers.
    #[must_use]
    pub fn new() -> Self {
        Self { by_name: BTreeMap::new(), fallback: None, fault: None }
    }

    /// Registers a handler. Its parameters are read into `P` and its value written from `R`; both
    /// may be [`Json`] to pass as text; a `P` of `()` takes the default parameters `{}`. A name that is not valid or registered twice is told by
    /// [`check`](Self::check), which those who take handlers call.
    #[must_use]
    pub fn on<P, R, F, Fut>(self, name: &str, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        F: Fn(C, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, HandlerError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.insert(
            name,
            Arc::new(move |cx, _, params| typed(Arc::clone(&handler), cx, params).boxed()),
        )
    }

    /// Registers a handler that says itself how the command ended. An outcome whose state is
    /// not an answer is reported as `failed`.
    #[must_use]
    pub fn on_raw<F, Fut>(self, name: &str, handler: F) -> Self
    where
        F: Fn(C, Json) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.insert(name, Arc::new(move |cx, _, params| handler(cx, params).boxed()))
    }

    /// Sets the handler of every name that has none of its own.
    #[must_use]
    pub fn fallback<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(C, CommandName, Json) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.fallback = Some(Arc::new(move |cx, name, params| handler(cx, name, params).boxed()));
        self
    }

    /// Tells the first fault in the registrations.
    pub fn check(&self) -> Result<(), HandlersError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    /// The names that have a handler, sorted.
    pub fn names(&self) -> impl Iterator<Item = &CommandName> {
        self.by_name.keys()
    }

    /// Whether a command of this name would be run.
    #[must_use]
    pub fn knows(&self, name: &CommandName) -> bool {
        self.fallback.is_some() || self.by_name.contains_key(name)
    }

    /// What is answered for a name without a handler.
    #[must_use]
    pub fn unknown(&self, name: &CommandName) -> String {
        let mut known: Vec<&str> = self.names().take(LISTED).map(CommandName::as_str).collect();
        if known.is_empty() {
            return format!("no command named {name:?}; there are none");
        }
        if self.by_name.len() > LISTED {
            known.push("…");
        }
        format!("no command named {name:?}; known are {}", known.join(", "))
    }

    /// Runs a command to its end. The future owns all it needs; it is in a box, for whoever awaits it
    /// moves it, and a runtime's task is moved several times.
    pub fn run(&self, cx: C, name: CommandName, params: Json) -> BoxFuture<'static, Outcome> {
        let handler = self.by_name.get(&name).or(self.fallback.as_ref()).cloned();
        let unknown = handler.is_none().then(|| self.unknown(&name));
        async move {
            let Some(handler) = handler else {
                return Outcome::ended(DeliveryState::Rejected, unknown.unwrap_or_default());
            };
            let start = Instant::now();
            // The handler's own call may panic, too, before it gives a future.
            let running = catch_unwind(AssertUnwindSafe(move || handler(cx, name, params)));
            let ended = match running {
                Ok(running) => AssertUnwindSafe(running).catch_unwind().await,
                Err(panic) => Err(panic),
            };
            let mut outcome = match ended {
                Ok(outcome) => checked(outcome),
                Err(panic) => Outcome::ended(DeliveryState::Failed, panicked(panic.as_ref())),
            };
            let ran = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            outcome.ran_ms.get_or_insert(ran);
            outcome
        }
        .boxed()
    }

    fn insert(mut self, name: &str, handler: Handler<C>) -> Self {
        let fault = match CommandName::new(name) {
            Ok(name) => {
                self.by_name.insert(name.clone(), handler).map(|_| HandlersError::Twice(name))
            }
            Err(error) => Some(error.into()),
        };
        self.fault = self.fault.or(fault);
        self
    }
}

async fn typed<C, P, R, F, Fut>(handler: Arc<F>, cx: C, params: Json) -> Outcome
where
    P: DeserializeOwned,
    R: Serialize,
    F: Fn(C, P) -> Fut,
    Fut: Future<Output = Result<R, HandlerError>>,
{
    // `{}` is what a command without parameters has; a handler that takes `()` has none either.
    let params = match params.to::<P>() {
        Err(_) if params.text() == "{}" && Json::null().to::<P>().is_ok() => Json::null().to(),
        read => read,
    };
    let params = match params {
        Ok(params) => params,
        Err(error) => {
            let reason = format!("params are not valid: {error}");
            return Outcome::ended(DeliveryState::Rejected, reason);
        }
    };
    match handler(cx, params).await.map(|value| Json::new(&value)) {
        Ok(Ok(result)) => Outcome::succeeded(result),
        Ok(Err(error)) => Outcome::ended(
            DeliveryState::Failed,
            format!("the result cannot be written as JSON: {error}"),
        ),
        Err(error) => Outcome::ended(error.kind.into(), error.message),
    }
}

fn checked(outcome: Outcome) -> Outcome {
    if outcome.state.is_answer() {
        return outcome;
    }
    let reason = format!("the handler ended as {:?}, which is not an answer", outcome.state.name());
    Outcome::ended(DeliveryState::Failed, reason)
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a value that is not text");
    format!("the handler panicked: {text}")
}

impl<C: Send + 'static> Default for Handlers<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> Clone for Handlers<C> {
    fn clone(&self) -> Self {
        Self {
            by_name: self.by_name.clone(),
            fallback: self.fallback.clone(),
            fault: self.fault.clone(),
        }
    }
}

impl<C> fmt::Debug for Handlers<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// Why a handler has no result.
///
/// It comes from any error with `?`, with its sources in the message, or from text with
/// `.into()`; such a one is `failed`. For `?` to work it is not itself an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    /// How the command ends.
    pub kind: HandlerErrorKind,
    /// Why, in words.
    pub message: String,
}

/// How a command without a result ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandlerErrorKind {
    /// It was tried, and did not work.
    Failed,
    /// It was not tried.
    Rejected,
    /// It took longer than its limit.
    TimedOut,
    /// It was stopped because it was asked to.
    Cancelled,
}

impl HandlerError {
    /// It was tried, and did not work.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: HandlerErrorKind::Failed, message: message.into() }
    }

    /// It was not tried.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self { kind: HandlerErrorKind::Rejected, message: message.into() }
    }

    /// It took longer than its limit.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self { kind: HandlerErrorKind::TimedOut, message: message.into() }
    }

    /// It was stopped because it was asked to.
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self { kind: HandlerErrorKind::Cancelled, message: message.into() }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::failed(message)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<HandlerErrorKind> for DeliveryState {
    fn from(kind: HandlerErrorKind) -> Self {
        match kind {
            HandlerErrorKind::Failed => Self::Failed,
            HandlerErrorKind::Rejected => Self::Rejected,
            HandlerErrorKind::TimedOut => Self::TimedOut,
            HandlerErrorKind::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(handlers: &Handlers<u8>, name: &str, params: &str) -> (DeliveryState, String) {
        let outcome = handlers.run(7, name.parse().unwrap(), params.parse().unwrap()).await;
        assert!(outcome.ran_ms.is_some() || outcome.state == DeliveryState::Rejected);
        let text = outcome.reason.or(outcome.result.map(|json| json.to_string()));
        (outcome.state, text.unwrap_or_default())
    }

    fn some() -> Handlers<u8> {
        Handlers::new()
            .on("double", |cx, n: u32| async move { Ok(n * 2 + u32::from(cx)) })
            .on("echo", |_, params: Json| async move { Ok(params) })
            .on("parse", |_, text: String| async move { Ok(text.parse::<u32>()?) })
            .on("no", |_, (): ()| async move { Err::<(), _>(HandlerError::rejected("not today")) })
            .on("text", |_, (): ()| async move { Err::<(), _>(format!("disk {}", 3).into()) })
            .on("early", |_, (): ()| -> std::future::Ready<Result<(), HandlerError>> {
                panic!("before the future")
            })
            .on("late", |_, n: u32| async move {
                assert!(n != 3, "n is {n}");
                Ok(())
            })
            .on_raw("raw", |_, _| async { Outcome::ended(DeliveryState::TimedOut, "slow") })
            .on_raw("odd", |_, _| async { Outcome::ended(DeliveryState::Queued, "") })
    }

    #[tokio::test]
    async fn handlers_take_and_give_typed_and_raw_values() {
        let handlers = some();
        assert_eq!(run(&handlers, "double", "4").await, (DeliveryState::Succeeded, "15".into()));
        assert_eq!(run(&handlers, "echo", "{\"a\": 1.0}").await.1, "{\"a\": 1.0}");
        assert_eq!(run(&handlers, "raw", "{}").await, (DeliveryState::TimedOut, "slow".into()));
        assert_eq!(run(&handlers, "no", "null").await.0, DeliveryState::Rejected);
        assert_eq!(run(&handlers, "text", "null").await, (DeliveryState::Failed, "disk 3".into()));
        assert_eq!(run(&handlers, "text", "{}").await, (DeliveryState::Failed, "disk 3".into()));
        assert_eq!(run(&handlers, "text", "{\"a\": 1}").await.0, DeliveryState::Rejected);
    }

    #[tokio::test]
    async fn errors_panics_and_bad_params_end_the_command_with_a_reason() {
        let handlers = some();
        let (state, reason) = run(&handlers, "parse", "\"x\"").await;
        assert_eq!((state, &*reason), (DeliveryState::Failed, "invalid digit found in string"));
        let (state, reason) = run(&handlers, "double", "\"x\"").await;
        assert_eq!(state, DeliveryState::Rejected);
        assert!(reason.starts_with("params are not valid: invalid type: string \"x\""), "{reason}");
        let (state, reason) = run(&handlers, "late", "3").await;
        assert_eq!((state, &*reason), (DeliveryState::Failed, "the handler panicked: n is 3"));
        assert!(run(&handlers, "early", "null").await.1.contains("before the future"));
        assert!(run(&handlers, "odd", "null").await.1.contains("\"queued\""));
    }

    #[tokio::test]
    async fn a_name_without_a_handler_is_rejected_or_falls_back() {
        let handlers = Handlers::new().on("echo", |_, params: Json| async move { Ok(params) });
        let (state, reason) = run(&handlers, "ehco", "1").await;
        assert_eq!(state, DeliveryState::Rejected);
        assert_eq!(reason, "no command named \"ehco\"; known are echo");
        let handlers = handlers.fallback(|_, name, _| async move {
            Outcome::succeeded(Json::new(name.as_str()).unwrap())
        });
        assert_eq!(run(&handlers, "ehco", "1").await.1, "\"ehco\"");
    }

    #[test]
    fn bad_registrations_are_told() {
        assert_eq!(some().check(), Ok(()));
        let twice = some().on("echo", |_, (): ()| async { Ok(()) });
        assert_eq!(twice.check().unwrap_err().to_string(), "command echo has two handlers");
        let bad = some().on("a b", |_, (): ()| async { Ok(()) });
        assert!(bad.check().unwrap_err().to_string().contains("\"a b\""));
    }
}

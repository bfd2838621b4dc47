//! Why a command cannot be done, and the exit code that goes with it.

use std::io;

use crate::access::AccessError;
use crate::remote::RemoteError;
use crate::store::StoreError;

/// Why a command cannot be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The command line, a file or a value in it is not valid.
    #[error("{0}")]
    Usage(String),
    /// There is no server to ask, or no token for it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The server cannot be reached, or refuses.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The same thing was asked for several times over; this many were refused.
    #[error("{failed} of {total} could not be done")]
    Several {
        /// Refused.
        failed: usize,
        /// Asked for.
        total: usize,
        /// The exit code of the first refusal.
        exit_code: u8,
    },
    /// A store that no server has open refuses: no such thing, or not in a state for it.
    #[error("{0}")]
    Refused(String),
    /// The server, or the agent, cannot start or cannot go on.
    #[error("{0}")]
    Server(String),
    /// A result cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// What keeps a server or an agent from starting or going on.
    pub(super) fn server(error: impl std::fmt::Display) -> Self {
        Self::Server(error.to_string())
    }

    /// What keeps a store from being used.
    pub(super) fn store(error: StoreError) -> Self {
        match error {
            StoreError::OtherKind { .. } => Self::Usage(error.to_string()),
            error => Self::server(error),
        }
    }

    /// What cannot be done with a file.
    pub(super) fn file(action: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::Server(format!("cannot {action} {}: {error}", path.display()))
    }

    /// The process's exit code; see [`super`].
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Several { exit_code, .. } => *exit_code,
            Self::Output(_) if self.is_closed_pipe() => 0,
            Self::Output(_) => 1,
            Self::Remote(RemoteError::Refused { kind, .. }) => match kind.as_str() {
                "invalid" | "bad_request" | "too_large" => 2,
                "denied" | "stopped" => 3,
                _ => 4,
            },
            Self::Usage(_) | Self::Remote(RemoteError::Url { .. } | RemoteError::Name(_)) => 2,
            Self::Access(_) | Self::Remote(_) => 3,
            Self::Refused(_) => 4,
            Self::Server(_) => 5,
        }
    }

    /// Whether the reader of standard output has gone, as `head` does: no reason to complain.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_exit_code() {
        let refused = |kind: &str| {
            let (kind, message) = (kind.to_owned(), String::new());
            CliError::Remote(RemoteError::Refused { kind, message }).exit_code()
        };
        assert_eq!(["invalid", "denied", "not_found", "conflict"].map(refused), [2, 3, 4, 4]);
        let connect = RemoteError::Connect { url: String::new(), cause: String::new() };
        assert_eq!(CliError::from(connect).exit_code(), 3);
        let pipe = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((pipe.exit_code(), pipe.is_closed_pipe()), (0, true));
        assert_eq!(CliError::from(io::Error::other("full")).exit_code(), 1);
    }
}

//! The open files that a server needs: a socket for each connection, and some beside.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::api::MAX_CONNECTIONS as HTTP_CONNECTIONS;

/// Files beside the connections: the store's, the standard streams, those of the runtime.
const OTHERS: usize = 256;

/// Raises the limit of this process to what so many connections of clients need, as far as the
/// system lets it; most shells begin with 1,024. What is missing then is told by the log: above it
/// connections are not accepted.
pub(super) fn allow(connections: usize) {
    let wanted = (connections + HTTP_CONNECTIONS + OTHERS) as u64;
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return tracing::warn!(%error, "the limit of open files cannot be read"),
    };
    let allowed = wanted.min(hard);
    if soft < allowed
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, allowed, hard)
    {
        return tracing::warn!(%error, soft, wanted, "the limit of open files cannot be raised");
    }
    if allowed < wanted {
        tracing::warn!(
            wanted,
            hard,
            "the system allows fewer open files than --max-connections may need: raise the hard \
             limit (ulimit -Hn, or LimitNOFILE of the service)"
        );
    }
}

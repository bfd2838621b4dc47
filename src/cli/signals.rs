//! What ends a process in an orderly way: SIGINT (Ctrl-C), SIGTERM, and the end of its standard
//! input, if another program has started it.

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;

/// Listens from its creation on, so that no signal falls between.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(CliError::server);
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn first(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for the end of standard input.
pub(super) async fn stdin_ends() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 256];
    while let Ok(1..) = stdin.read(&mut ignored).await {}
}

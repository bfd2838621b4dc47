//! What the whole-system tests share: servers as processes of the built binary, the command line,
//! clients that note what they run, and waits that end by an event or fail by name.
//!
//! Nothing here waits for a length of time: a wait ends when its log line, message or state is
//! there, and fails after [`PATIENCE`] with what it waited for.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it, as its own module"
)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test tells how much it looked at, or that it was skipped"
)]

pub mod disk;
pub mod fleet;
pub mod log;
pub mod server;
pub mod survival;

use std::future::Future;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::str::FromStr;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

/// How long a wait may take at most: far more than a busy machine needs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The pause between two looks at a state that nothing announces.
const LOOK: Duration = Duration::from_millis(20);

/// The built binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_fleetcron");

/// The result of `future`, which has to come within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain for: {what}"))
}

/// The number in a variable of the environment, such as how often to do something.
pub fn number<N: FromStr<Err = ParseIntError>>(variable: &str, otherwise: N) -> N {
    std::env::var(variable).map_or(otherwise, |number| number.parse().unwrap())
}

/// Looks at a state until it has a value; for states that nothing announces.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for: {what}");
        sleep(LOOK).await;
    }
}

/// What a command of the command line did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the exit code is 0.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The binary, with nothing of this machine's environment that it would listen to.
pub fn binary(home: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command
        .env_remove("RUST_LOG")
        .env_remove("FLEETCRON_SERVER")
        .env_remove("FLEETCRON_TOKEN")
        .env_remove("STATE_DIRECTORY")
        .env_remove("XDG_STATE_HOME")
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs the binary to its end, in `home`.
pub async fn run<S: AsRef<std::ffi::OsStr>>(home: &Path, args: &[S]) -> Ran {
    let mut command = binary(home);
    command.args(args);
    Ran::of(within("the end of a command", command.output()).await.unwrap())
}

/// Writes a file below `dir`, and gives its path.
pub fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

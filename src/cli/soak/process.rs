//! Processes that a soak starts: the same program, tied to this one, with a log in a file.
//!
//! Promises: a process ends when this one does, by whatever way, because its standard input ends
//! then; it does not hear the terminal's Ctrl-C; its log has a bound.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::sync::watch;

use super::super::error::CliError;

/// Lines of a log that an error shows.
const SHOWN: usize = 12;

/// How large a log becomes before it is put aside, in place of the one put aside before.
const LOG_BYTES: u64 = 32 * 1_024 * 1_024;

/// How long an end in order may take before it is made short.
const PATIENCE: Duration = Duration::from_secs(30);

/// The end of a log, and the line that a process was to say.
type Said = watch::Receiver<Option<serde_json::Value>>;

/// A process that was started.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    /// Its end is what ends the child in order.
    stdin: Option<ChildStdin>,
    pid: i32,
    /// The last lines of its log.
    last: Arc<Mutex<VecDeque<String>>>,
    said: Said,
}

impl Process {
    /// Starts this program with these arguments. `name` is for people; the log goes to `log`, and
    /// the line whose message is `awaited` is kept.
    pub(super) fn start(
        name: String,
        args: Vec<OsString>,
        log: &Path,
        awaited: Option<&'static str>,
    ) -> Result<Self, CliError> {
        let program = std::env::current_exe().map_err(CliError::server)?;
        let log = Log::open(log.to_owned())?;
        let mut child = Command::new(&program)
            .args(args)
            .args(["--log", "json"])
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CliError::file("start", &program, &error))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let (Some(pid), Some(stderr)) = (pid, child.stderr.take()) else {
            return Err(CliError::Server(format!("{name} ended before it began")));
        };
        let (last, stdin) = (Arc::default(), child.stdin.take());
        let (say, said) = watch::channel(None);
        tokio::spawn(read(stderr, log, Arc::clone(&last), say, awaited));
        Ok(Self { name, child, stdin, pid, last, said })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the awaited line. That it does not come is an error with the end of the log.
    pub(super) async fn said(&mut self, limit: Duration) -> Result<serde_json::Value, CliError> {
        let line = async {
            let line = self.said.wait_for(Option::is_some).await.ok()?;
            line.clone()
        };
        match tokio::time::timeout(limit, line).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => {
                let status = self.child.wait().await.map_err(CliError::server)?;
                Err(self.failed(&format!("did not come up: it ended with {status}")))
            }
            Err(_) => Err(self.failed(&format!("did not come up within {limit:?}"))),
        }
    }

    /// Fails if it has ended by itself.
    pub(super) fn check(&mut self) -> Result<(), CliError> {
        match self.child.try_wait().map_err(CliError::server)? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("has ended by itself with {status}"))),
        }
    }

    fn failed(&self, problem: &str) -> CliError {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = last.iter().map(String::as_str).collect();
        let lines = if lines.is_empty() { "its log is empty".into() } else { lines.join("\n  ") };
        CliError::Server(format!("{} {problem}; the end of its log:\n  {lines}", self.name))
    }

    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended cannot be signalled, and need not be: it is not reaped before `check`
        // or an end, so that the number is still its own.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<(), CliError> {
        self.child.kill().await.map_err(CliError::server)
    }

    /// Ends it in order.
    pub(super) async fn stop(mut self) -> Result<(), CliError> {
        drop(self.stdin.take());
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(CliError::server(error)),
            Err(_) => {
                let error = self.failed(&format!("did not end within {PATIENCE:?}"));
                self.child.kill().await.map_err(CliError::server)?;
                Err(error)
            }
        }
    }
}

/// A log file.
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self, CliError> {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| CliError::file("write", &path, &error))?;
        let bytes = file.metadata().map_or(0, |file| file.len());
        Ok(Self { path, file, bytes })
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.bytes >= LOG_BYTES {
            std::fs::rename(&self.path, self.path.with_extension("log.before"))?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        self.bytes += line.len() as u64 + 1;
        writeln!(self.file, "{line}")
    }
}

async fn read(
    stderr: ChildStderr,
    mut log: Log,
    last: Arc<Mutex<VecDeque<String>>>,
    say: watch::Sender<Option<serde_json::Value>>,
    awaited: Option<&'static str>,
) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // A log that cannot be written must not stop who writes it: the pipe is read on.
        let _ = log.write(&line);
        if let Some(awaited) = awaited.filter(|awaited| line.contains(*awaited))
            && say.borrow().is_none()
        {
            let read = serde_json::from_str::<serde_json::Value>(&line).ok();
            let found = read.filter(|line| line["message"] == awaited);
            if let Some(found) = found {
                say.send_replace(Some(found));
            }
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(line);
        if last.len() > SHOWN {
            last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program is that of the tests here, which does not know the flag and says so.
    #[tokio::test]
    async fn one_that_does_not_come_up_is_told_with_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("server.log");
        let args = vec!["--no-such-flag".into()];
        let started = Process::start("the server".into(), args, &log, Some("serving"));
        let error = started.unwrap().said(PATIENCE).await.unwrap_err().to_string();
        assert!(error.starts_with("the server did not come up: it ended with exit"), "{error}");
        assert!(error.contains("no-such-flag"), "{error}");
        assert!(std::fs::read_to_string(&log).unwrap().contains("no-such-flag"));
    }
}

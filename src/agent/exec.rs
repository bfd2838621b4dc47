//! Runs a program in a process group of its own, without a shell.
//!
//! Promises: the program gets the given arguments and environment and nothing else; when it has
//! ended, or its time is over, or it is cancelled, or the future is dropped, its whole group is
//! ended, grandchildren included; nothing that a process does holds up the answer for longer
//! than its grace and [`SETTLE`]. A process that makes a group of its own leaves this reach.
//! Imports the allow-list's command.

use std::ffi::OsString;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::config::AllowedCommand;
use super::output::{Captured, Text};
use super::seen::Seen;
use crate::live::{LiveSink, OutputStream};

/// How long after SIGKILL processes and pipes have to end before they are left alone.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Why a program is not running any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It ended by itself.
    Ended,
    /// Its time was over.
    TimeLimit,
    /// Somebody cancelled it.
    Cancelled,
}

/// How a program ended and what it printed.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) why: Why,
    /// `None`: it could not even be killed.
    pub(super) status: Option<ExitStatus>,
    /// Whether SIGKILL was needed, the grace being over.
    pub(super) killed: bool,
    pub(super) stdout: Text,
    pub(super) stderr: Text,
    /// Whether a process outside the group held the output open, so that more may follow.
    pub(super) left_open: bool,
}

/// Runs a command's program with these arguments; the error says why it could not be started.
pub(super) async fn execute(
    command: &AllowedCommand,
    args: &[OsString],
    deadline: Instant,
    stop: &CancellationToken,
    sink: &dyn LiveSink,
) -> Result<Execution, String> {
    let mut group = Group::start(command, args)?;
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let mut out = Captured::new(command.output_limit);
    let mut err = Captured::new(command.output_limit);
    let (why, killed, settled) = {
        let seen = Seen::new(sink, OutputStream::Stdout, command.progress);
        let said = Seen::new(sink, OutputStream::Stderr, false);
        let reading = async { tokio::join!(out.read(stdout, seen), err.read(stderr, said)) };
        let mut reading = pin!(reading.fuse());
        let why = loop {
            // Reading comes last: it may use up the task's budget, and the others are seldom ready.
            tokio::select! {
                biased;
                () = group.leader_ended() => break Why::Ended,
                () = stop.cancelled() => break Why::Cancelled,
                () = sleep_until(deadline) => break Why::TimeLimit,
                _ = &mut reading, if !reading.is_terminated() => {}
            }
        };
        let mut killed = false;
        if why != Why::Ended {
            group.signal(Signal::SIGTERM);
            killed = timeout(command.grace, all_ended(&mut group, reading.as_mut())).await.is_err();
        }
        group.signal(Signal::SIGKILL);
        let settled = timeout(SETTLE, all_ended(&mut group, reading.as_mut())).await.is_ok();
        (why, killed, settled)
    };
    let status = group.reap();
    let (stdout, stderr) = (out.into_text(), err.into_text());
    let left_open = !settled && status.is_some();
    Ok(Execution { why, status, killed, stdout, stderr, left_open })
}

/// Waits until the leader has ended and nobody has its pipes open.
async fn all_ended(group: &mut Group, reading: impl FusedFuture + Unpin) {
    let read = async {
        if !reading.is_terminated() {
            reading.await;
        }
    };
    tokio::join!(group.leader_ended(), read);
}

/// A program and the processes that it started, in a process group of their own.
struct Group {
    child: Child,
    id: Pid,
    child_signals: Signals,
    /// The leader is reaped: its number may now be another's.
    reaped: bool,
}

impl Group {
    fn start(command: &AllowedCommand, args: &[OsString]) -> Result<Self, String> {
        // Before the start, so that no end is missed.
        let child_signals = signal(SignalKind::child())
            .map_err(|error| format!("the end of processes cannot be watched: {error}"))?;
        let child = Command::new(&command.program)
            .args(args)
            .env_clear()
            .envs(&command.env)
            .current_dir(&command.working_dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_started(command, &error))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let id = id.ok_or("the process has no number")?;
        Ok(Self { child, id, child_signals, reaped: false })
    }

    /// Waits until the leader has ended. May be dropped and called again.
    async fn leader_ended(&mut self) {
        while self.leader_runs() {
            self.child_signals.recv().await;
        }
    }

    /// Whether the leader runs. It is looked at without being reaped: while it is a zombie, the
    /// group's number cannot become that of a stranger, and the group can be signalled.
    #[cfg(target_os = "linux")]
    fn leader_runs(&mut self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.id), flags) == Ok(WaitStatus::StillAlive)
    }

    /// Whether the leader runs. Systems without `WNOWAIT` reap it here; a group's number is not
    /// given away while it has members, and else not soon.
    #[cfg(not(target_os = "linux"))]
    fn leader_runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // The only error that can be is that no process is left.
        let _ = killpg(self.id, signal);
    }

    /// The leader's status, if it has ended.
    fn reap(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.reaped = status.is_some();
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::SIGKILL);
        }
    }
}

fn not_started(command: &AllowedCommand, error: &std::io::Error) -> String {
    // The system's error does not say which of the two is missing.
    if !command.working_dir.is_dir() {
        return format!("working directory {} is missing", command.working_dir.display());
    }
    format!("program {} cannot be started: {error}", command.program.display())
}

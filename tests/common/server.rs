//! Servers as processes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fleetcron::access::{self, Access};
use fleetcron::api::message::ClientRequest;
use fleetcron::remote::Remote;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use super::log::Log;
use super::{BINARY, Ran, run};

/// A process that does not outlive the test.
pub struct Process {
    child: Child,
    pub stdout: Log,
    pub stderr: Log,
}

impl Process {
    /// Starts the binary in `home`, with its standard input open.
    pub fn start<S: AsRef<std::ffi::OsStr>>(home: &Path, args: &[S]) -> Self {
        Self::run(home, Command::new(BINARY).args(args))
    }

    /// Starts the binary after what a shell does first, such as setting a limit.
    pub fn start_after<S: AsRef<std::ffi::OsStr>>(home: &Path, first: &str, args: &[S]) -> Self {
        let script = format!("{first}; exec \"$0\" \"$@\"");
        Self::run(home, Command::new("sh").arg("-c").arg(script).arg(BINARY).args(args))
    }

    fn run(home: &Path, command: &mut Command) -> Self {
        let mut child = command
            .env_remove("RUST_LOG")
            .env_remove("FLEETCRON_SERVER")
            .env_remove("FLEETCRON_TOKEN")
            .env_remove("STATE_DIRECTORY")
            .env_remove("XDG_STATE_HOME")
            .env("HOME", home)
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Log::read(child.stdout.take().unwrap());
        let stderr = Log::read(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Ends it as a power cut would: nothing of its own runs any more.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end; `None`: a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        self.stderr.ended().await;
        self.stdout.ended().await;
        // Its streams have ended with it.
        self.child.wait().unwrap().code()
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its resident memory, in MiB.
    pub fn rss_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is this test's for as long as this lives.
///
/// The socket is bound and does not listen: with `SO_REUSEADDR` on both, a server can listen
/// there, and the kernel gives the port neither to another test nor to an outgoing connection.
struct Reserved {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Reserved {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { _socket: socket, address }
    }
}

/// A directory and two addresses, at which a server can be started again and again.
pub struct Place {
    pub dir: TempDir,
    pub data: PathBuf,
    listen: Reserved,
    http: Reserved,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self { dir, data, listen: Reserved::new(), http: Reserved::new() }
    }

    /// With the server's data elsewhere, such as on a file system of its own.
    pub fn with_data(data: PathBuf) -> Self {
        Self { data, ..Self::new() }
    }

    /// The arguments of a server there, for [`Process::start`].
    pub fn args(&self, more: &[&str]) -> Vec<String> {
        let (listen, http) = (self.listen.address.to_string(), self.http.address.to_string());
        let data = self.data.to_str().unwrap();
        let all = ["serve", "--data", data, "--listen", &listen, "--http", &http, "--log", "json"];
        all.iter().chain(more).map(ToString::to_string).collect()
    }

    /// Starts a server there.
    pub async fn start(&self) -> Server {
        self.start_with(&[]).await
    }

    /// Starts a server there, with further arguments.
    pub async fn start_with(&self, more: &[&str]) -> Server {
        let (listen, http) = (self.listen.address.to_string(), self.http.address.to_string());
        Server::at(self.data.clone(), (&listen, &http), None, more).await
    }
}

/// A running server.
pub struct Server {
    pub process: Process,
    pub data: PathBuf,
    pub listen: String,
    pub access: Access,
    dir: Option<TempDir>,
}

impl Server {
    /// A server on a new directory and free ports.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::at(dir.path().join("data"), ("127.0.0.1:0", "127.0.0.1:0"), Some(dir), &[]).await
    }

    async fn at(
        data: PathBuf,
        (listen, http): (&str, &str),
        dir: Option<TempDir>,
        more: &[&str],
    ) -> Self {
        let data_arg = data.to_str().unwrap();
        let args = ["serve", "--data", data_arg, "--listen", listen, "--http", http];
        let process =
            Process::start(data.parent().unwrap(), &[&args[..], more, &["--log", "json"]].concat());
        let serving = process.stderr.json("serving", &[]).await;
        let listen = serving["listen"].as_str().unwrap().to_owned();
        let access = Access::load(&data.join(access::FILE)).unwrap();
        Self { process, data, listen, access, dir }
    }

    /// The directory above the data: a home for commands.
    pub fn home(&self) -> &Path {
        self.data.parent().unwrap()
    }

    pub fn log(&self) -> &Log {
        &self.process.stderr
    }

    pub fn remote(&self) -> Remote {
        Remote::new(&self.access.server, &self.access.token).unwrap()
    }

    /// Runs a command of the command line that has access to this server.
    pub async fn cli<S: AsRef<str>>(&self, args: &[S]) -> Ran {
        let access = self.data.join(access::FILE).to_str().unwrap().to_owned();
        let mut all: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
        all.extend(["--access", &access]);
        run(self.home(), &all).await
    }

    /// Defines a client; its token is `token_of` its id.
    pub async fn define(&self, id: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| group.parse().unwrap()).collect();
        let token = Some(token_of(id));
        let request = ClientRequest { id: id.parse().unwrap(), groups, token };
        self.remote().add_client(request).await.unwrap();
    }
}

/// The token of a test's client.
pub fn token_of(id: &str) -> String {
    format!("token-of-{id}-0123456789")
}

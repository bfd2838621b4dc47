//! The server as a process, on a directory of its own beside the build.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fleetcron::access::{self, Access};
use fleetcron::api::message::ClientRequest;
use fleetcron::remote::Remote;
use futures_util::{StreamExt as _, stream};
use tempfile::TempDir;

use super::process::processor_seconds;
use super::{load, stores};

/// Clients that are defined at once.
const AT_ONCE: usize = 64;

/// A running server. It ends, and its data with it, when this is dropped.
pub(crate) struct Server {
    child: Child,
    /// Where clients connect.
    pub(crate) listen: String,
    access: Access,
    directory: Option<TempDir>,
}

/// A directory beside the build: the store shall be on a disk, and `/tmp` need not be on one.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

impl Server {
    /// Starts one, and waits until it serves.
    pub(crate) fn start() -> Self {
        Self::start_on(directory(), &[])
    }

    /// Starts one on what there is in `data` of a directory, with further arguments.
    pub(crate) fn start_on(directory: TempDir, more: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", directory, more)
    }

    /// The same, with the address at which it listens for clients.
    pub(crate) fn start_at(listen: &str, directory: TempDir, more: &[&str]) -> Self {
        let data = directory.path().join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleetcron"))
            .args(["serve", "--listen", listen, "--http", "127.0.0.1:0", "--log", "json"])
            .arg("--data")
            .arg(&data)
            .args(stores::arguments())
            .args(more)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let listen = log.by_ref().find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.ok()?).ok()?;
            (line["message"] == "serving").then(|| line["listen"].as_str().map(str::to_owned))?
        });
        // A pipe that nobody reads would stop the server when it is full.
        std::thread::spawn(move || log.for_each(drop));
        let access = Access::load(&data.join(access::FILE)).unwrap();
        let listen = listen.expect("the server says where it listens");
        Self { child, listen, access, directory: Some(directory) }
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(&self.access.server, &self.access.token).unwrap()
    }

    /// Where its HTTP interface is, and the token that opens it.
    pub(crate) fn access(&self) -> (&str, &str) {
        (&self.access.server, &self.access.token)
    }

    /// Defines as many clients.
    pub(crate) async fn define(&self, clients: usize) {
        let remote = &self.remote();
        let define = |number| async move {
            let id = load::name(number).parse().unwrap();
            let token = Some(load::token(number));
            remote.add_client(ClientRequest { id, groups: [].into(), token }).await.unwrap();
        };
        stream::iter(0..clients)
            .map(define)
            .buffer_unordered(AT_ONCE)
            .for_each(async |()| {})
            .await;
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The directory of its store.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.as_ref().expect("it is there while the server is").path().join("data")
    }

    /// The processor time that it has used, in seconds.
    pub(crate) fn processor_seconds(&self) -> f64 {
        processor_seconds(self.id())
    }
}

impl Server {
    /// Ends it at once, and gives its directory.
    pub(crate) fn end(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.directory.take().expect("it is taken once")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

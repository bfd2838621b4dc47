//! The demonstration's agents: processes of their own, each with its token and its log.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::super::error::CliError;
use crate::access;
use crate::agent::DEMO_COMMANDS;
use crate::client_record::TokenHash;
use crate::engine::NewClient;
use crate::id::ClientId;
use crate::node::{CallError, Handle};

/// The clients of the demonstration and their groups.
const FLEET: [(&str, &str); 3] = [("web-01", "web"), ("web-02", "web"), ("db-01", "db")];

/// How long an agent may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The demonstration's agents.
pub(super) struct Agents {
    directory: PathBuf,
    list: PathBuf,
    connect: SocketAddr,
    running: Vec<(&'static str, Child)>,
}

impl Agents {
    /// Defines the clients, and writes what their processes need.
    pub(super) async fn prepare(
        data: &Path,
        connect: SocketAddr,
        handle: &Handle,
    ) -> Result<Self, CliError> {
        let directory = data.join("agents");
        fs::create_dir_all(&directory)
            .map_err(|error| CliError::file("make", &directory, &error))?;
        let list = directory.join("commands.toml");
        fs::write(&list, DEMO_COMMANDS).map_err(|error| CliError::file("write", &list, &error))?;
        let agents = Self { directory, list, connect, running: Vec::new() };
        for (id, group) in FLEET {
            agents.define(id, group, handle).await?;
        }
        Ok(agents)
    }

    /// Defines a client whose token is in its file; one that is defined and whose token is lost
    /// is defined anew.
    async fn define(&self, id: &str, group: &str, handle: &Handle) -> Result<(), CliError> {
        let client = ClientId::new(id).map_err(CliError::server)?;
        let path = self.token_file(id);
        let known = match handle.client(client.clone()).await {
            Ok(_) => true,
            Err(CallError::Refused(_)) => false,
            Err(error) => return Err(CliError::server(error)),
        };
        if known && path.exists() {
            return Ok(());
        }
        if known {
            handle.remove_client(client.clone()).await.map_err(CliError::server)?;
        }
        let token = access::new_token().map_err(CliError::server)?;
        write_secret(&path, &token).map_err(|error| CliError::file("write", &path, &error))?;
        let groups = [group.parse().map_err(CliError::server)?].into();
        let new = NewClient { id: client, groups, token: Some(TokenHash::of(&token)) };
        handle.add_client(new).await.map_err(CliError::server)?;
        Ok(())
    }

    fn token_file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.token"))
    }

    /// Starts every agent.
    pub(super) fn start_all(&mut self) -> Result<(), CliError> {
        for (id, _) in FLEET {
            self.start(id)?;
        }
        Ok(())
    }

    /// Starts one agent. It ends by itself if this process dies, because its standard input ends
    /// then; in a process group of its own, it does not hear the terminal's Ctrl-C.
    pub(super) fn start(&mut self, id: &'static str) -> Result<(), CliError> {
        let program = std::env::current_exe().map_err(CliError::server)?;
        let path = self.directory.join(format!("{id}.log"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| CliError::file("write", &path, &error))?;
        let child = Command::new(&program)
            .args(["agent", "--with-stdin", "--client", id, "--connect"])
            .arg(self.connect.to_string())
            .arg("--config")
            .arg(&self.list)
            .arg("--token-file")
            .arg(self.token_file(id))
            .arg("--journal")
            .arg(self.directory.join(format!("{id}.journal")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CliError::file("start", &program, &error))?;
        self.running.push((id, child));
        Ok(())
    }

    /// Ends one agent and waits until it is gone.
    pub(super) async fn stop(&mut self, id: &str) {
        let Some(place) = self.running.iter().position(|(name, _)| *name == id) else { return };
        let (_, mut child) = self.running.swap_remove(place);
        // The wait closes its standard input, and the end of that is what ends it in order. A signal
        // beside it would be a second one to an agent that has heard the first, and end it at once.
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            // It is reaped when it is dropped; that it is killed is enough.
            let _ = child.start_kill();
        }
    }

    /// Ends every agent.
    pub(super) async fn stop_all(&mut self) {
        for (id, _) in FLEET {
            self.stop(id).await;
        }
    }
}

fn write_secret(path: &Path, secret: &str) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

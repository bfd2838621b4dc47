//! A process that a benchmark starts: this program again as one part of a measurement, and what
//! the kernel tells of any process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::stores;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// File descriptors beside the connections.
const OTHERS: u64 = 500;

/// One part of a measurement, in a process of its own. It is ended when this is dropped.
pub(crate) struct Part {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this program as the part that the first of the arguments names.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(args)
            .args(stores::arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { name: args[0].to_owned(), child, stdin, stdout }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).unwrap();
        assert!(read > 0, "{} has ended early", self.name);
        line.trim_end().to_owned()
    }

    /// Says a line to it.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// Ends its input, and gives what it then prints.
    pub(crate) fn end(self) -> String {
        let Self { name, mut child, stdin, mut stdout } = self;
        drop(stdin);
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{name} has failed");
        text
    }
}

/// The processor time that a process has used so far, in seconds.
pub(crate) fn processor_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // After the name in brackets, user and system time are the 12th and 13th field, in ticks of
    // 10 ms on every Linux.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = |n| fields.split_whitespace().nth(n).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// The memory that a process has resident, in bytes.
pub(crate) fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1_024.0
}

/// Allows this process, and those that it starts, the sockets that so many clients need.
pub(crate) fn allow_sockets(clients: usize) {
    let wanted = clients as u64 + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(
        hard >= wanted,
        "{clients} clients need {wanted} file descriptors, and the hard limit is {hard}: raise it \
         (ulimit -Hn)"
    );
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    }
}

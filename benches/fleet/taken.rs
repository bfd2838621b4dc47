//! Which runs the clients have executed, as their process tells of it, and what is wrong with it.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetcron::Serial;

/// Counts executions where there are too many to note.
#[derive(Default)]
pub(crate) struct Tally {
    executed: AtomicU64,
}

impl Tally {
    /// A client executes a run.
    pub(crate) fn count(&self) {
        self.executed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn print(&self) {
        println!("{}", self.executed.load(Ordering::Relaxed));
    }
}

/// Notes the serials that the clients execute, and prints them when all is over.
pub(crate) struct Taken {
    by_client: Vec<Mutex<Vec<Serial>>>,
}

impl Taken {
    pub(crate) fn new(clients: usize) -> Self {
        Self { by_client: (0..clients).map(|_| Mutex::default()).collect() }
    }

    /// A client executes a run.
    pub(crate) fn note(&self, client: usize, serial: Serial) {
        self.by_client[client].lock().unwrap().push(serial);
    }

    /// How many were executed by a client that had done so before; then a line for each run: its
    /// serial and how many clients have executed it.
    pub(crate) fn print(&self) {
        let mut doubled = 0;
        let mut clients: HashMap<Serial, usize> = HashMap::new();
        for serials in &self.by_client {
            let mut serials = serials.lock().unwrap();
            let all = serials.len();
            serials.sort_unstable();
            serials.dedup();
            doubled += all - serials.len();
            for serial in serials.iter() {
                *clients.entry(*serial).or_default() += 1;
            }
        }
        let mut text = format!("{doubled}\n");
        for (serial, clients) in clients {
            writeln!(text, "{serial} {clients}").unwrap();
        }
        print!("{text}");
    }
}

/// What the executions of a number of runs come to.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Deliveries that were to be.
    pub(crate) expected: usize,
    /// Different ones that came.
    pub(crate) came: usize,
    /// Those that came again.
    pub(crate) doubled: usize,
    /// Those of runs that nobody has submitted.
    pub(crate) strange: usize,
}

impl Executed {
    /// From what the clients printed, and the runs that were submitted, each for so many clients.
    pub(crate) fn parse(text: &str, submitted: &[Serial], clients: usize) -> Self {
        let mut lines = text.lines();
        let doubled = lines.next().expect("the clients tell").parse().unwrap();
        let expected = submitted.len() * clients;
        let submitted: HashSet<Serial> = submitted.iter().copied().collect();
        let (mut came, mut strange) = (0, 0);
        for line in lines {
            let (serial, clients) = line.split_once(' ').expect("a serial and a count a line");
            let clients: usize = clients.parse().unwrap();
            if submitted.contains(&serial.parse().unwrap()) {
                came += clients;
            } else {
                strange += clients;
            }
        }
        Self { expected, came, doubled, strange }
    }

    pub(crate) fn missing(&self) -> usize {
        self.expected.saturating_sub(self.came)
    }
}

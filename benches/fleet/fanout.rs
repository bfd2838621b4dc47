//! One command for a million clients at the engine's boundary: decided by the engine and committed
//! by the store's writer, without sockets. A process of its own, so that its memory is theirs.
//!
//! What defines and connects the clients is not stored: the store then holds the commands alone,
//! and its cache is not counted as the engine's memory.

use std::time::{Duration, Instant};

use fleetcron::engine::{CallId, Effect, Engine, Input, NewClient, Request, SessionId, Snapshot};
use fleetcron::store::Op;
use fleetcron::store::writer::{Commit, Writer};
use fleetcron::{Actor, Proof, Timestamp};
use serde::{Deserialize, Serialize};

use super::broadcast::size;
use super::capture::Capturing;
use super::options::{FanoutArgs, Options};
use super::pace::{as_float, submission};
use super::process::{Part, resident};
use super::report::Figure;
use super::server::directory;
use super::{load, stores};

const CLIENTS: u64 = 1_000_000;
const CLIENTS_QUICK: u64 = 100_000;

/// Commands, one after the other, all of them open: fewer than a connection's window holds.
const COMMANDS: u32 = 8;
const COMMANDS_QUICK: u32 = 4;

/// Inputs after which what was decided is thrown away.
const TOGETHER: u64 = 1_000;

/// Milliseconds to decide and commit one command for all, at most.
const TARGET_TIME: f64 = 250.0;

/// KiB by which the store grows for one command, at most.
const TARGET_GROWTH: f64 = 256.0;

/// Bytes of memory for each client of an open command, at most.
const TARGET_BYTES: f64 = 64.0;

/// In this time jemalloc gives back what was freed.
const GIVEN_BACK: Duration = Duration::from_secs(12);

const NOW: Timestamp = Timestamp::from_millis(1_780_000_000_000);

/// What the process found; bytes are of memory unless said otherwise.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    /// For each client that is defined, and for each that is connected, beyond that.
    defined: f64,
    connected: f64,
    /// For each client of the first command: while it is handed out, and when it has left.
    handed_out: f64,
    open: f64,
    /// Medians, in seconds.
    decided: f64,
    committed: f64,
    /// Bytes that one command writes, and by which the files grow.
    written: f64,
    growth: f64,
    /// Deliveries that were not handed out.
    missing: u64,
}

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let (clients, commands) =
        if options.quick { (CLIENTS_QUICK, COMMANDS_QUICK) } else { (CLIENTS, COMMANDS) };
    let (clients, commands) = (clients.to_string(), commands.to_string());
    let part = Part::start(&["fanout", "--clients", &clients, "--commands", &commands]);
    let found: Found = serde_json::from_str(part.end().trim_end()).unwrap();
    let figure = |name: &str, value, unit| Figure::new(format!("fanout.{name}"), value, unit);
    let ms = |seconds: f64| seconds * 1_000.0;
    vec![
        figure("decided and committed", ms(found.decided + found.committed), "ms")
            .at_most(TARGET_TIME),
        figure("decided", ms(found.decided), "ms"),
        figure("committed", ms(found.committed), "ms"),
        figure("store growth", found.growth / 1_024.0, "KiB/command").at_most(TARGET_GROWTH),
        figure("written", found.written / 1_024.0, "KiB/command"),
        figure("memory of an open command", found.open, "bytes/client").at_most(TARGET_BYTES),
        figure("memory while it is handed out", found.handed_out, "bytes/client"),
        figure("memory of a defined client", found.defined, "bytes/client"),
        figure("memory of its connection", found.connected, "bytes/client"),
        figure("missing", as_float(found.missing), "deliveries").must_be_zero(),
    ]
}

/// The engine with its clients.
struct World {
    engine: Engine,
    last_call: u64,
}

impl World {
    fn call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    fn ask(&mut self, request: Request) {
        let (call, actor) = (self.call(), Actor::Library);
        let entropy = u128::from(self.last_call);
        self.engine.handle(NOW, Input::Call { call, actor, request, entropy });
    }

    /// Throws away what was decided; none of it may be a refusal.
    fn forget(&mut self) {
        for effect in self.engine.take().effects {
            if let Effect::Reply { answer: Err(error), .. } = effect {
                panic!("{error}");
            }
        }
    }

    fn define(&mut self, clients: u64) {
        for number in 0..clients {
            let id = load::name(usize::try_from(number).unwrap()).parse().unwrap();
            self.ask(Request::AddClient(NewClient { id, groups: [].into(), token: None }));
            if number % TOGETHER == 0 {
                self.forget();
            }
        }
        self.forget();
    }

    fn connect(&mut self, clients: u64) {
        for number in 0..clients {
            let client = load::name(usize::try_from(number).unwrap()).parse().unwrap();
            let (call, session) = (self.call(), SessionId(number + 1));
            let (proof, taken) = (Proof::Vouched, Vec::new());
            self.engine.handle(NOW, Input::Connect { call, session, client, proof, taken });
            if number % TOGETHER == 0 {
                self.forget();
            }
        }
        self.forget();
    }
}

/// Measures, and prints what it found.
pub(crate) fn measure(args: &FanoutArgs) {
    let clients = as_float(args.clients);
    let memory = || resident(std::process::id());
    let mut world = World { engine: Engine::restore(Snapshot::default(), NOW), last_call: 0 };
    let empty = memory();
    world.define(args.clients);
    let defined = memory();
    world.connect(args.clients);
    let connected = memory();
    let directory = directory();
    let data = directory.path().join("data");
    let store = Capturing::new(stores::open(&data));
    let mut writer = Writer::open(&store).unwrap();
    let (size_before, with_store) = (size(&data), memory());
    store.begin();
    let (mut decided, mut committed) = (Vec::new(), Vec::new());
    let (mut handed_out, mut open) = (0.0, 0.0);
    let mut missing = 0;
    for number in 0..args.commands {
        let begun = Instant::now();
        world.ask(Request::Submit(submission("all")));
        let (commit, effects) = Commit::of(world.engine.take());
        decided.push(begun.elapsed());
        let begun = Instant::now();
        writer.write(&store, &commit).unwrap();
        committed.push(begun.elapsed());
        missing += args.clients - sent(&effects);
        if number == 0 {
            handed_out = memory() - with_store;
        }
        drop((commit, effects));
        if number == 0 {
            open = settled(memory) - with_store;
        }
    }
    let commits = store.end();
    let ops = commits.iter().flatten().flatten();
    let written: usize = ops.map(|op| op.key().len() + value(op)).sum();
    let commands = f64::from(args.commands);
    let found = Found {
        defined: (defined - empty) / clients,
        connected: (connected - defined) / clients,
        handed_out: handed_out / clients,
        open: open / clients,
        decided: median(decided),
        committed: median(committed),
        written: as_float(written as u64) / commands,
        growth: as_float(size(&data) - size_before) / commands,
        missing,
    };
    println!("{}", serde_json::to_string(&found).unwrap());
}

/// What a process holds once its allocator has given back what it keeps for a while.
fn settled(memory: impl Fn() -> f64) -> f64 {
    let begun = Instant::now();
    let mut lowest = memory();
    while begun.elapsed() < GIVEN_BACK {
        std::thread::sleep(Duration::from_millis(100));
        lowest = lowest.min(memory());
    }
    lowest
}

fn sent(effects: &[Effect]) -> u64 {
    let refused = effects.iter().find_map(|effect| match effect {
        Effect::Reply { answer, .. } => answer.as_ref().err(),
        _ => None,
    });
    assert!(refused.is_none(), "{refused:?}");
    effects.iter().filter(|effect| matches!(effect, Effect::Send { .. })).count() as u64
}

fn value(op: &Op) -> usize {
    match op {
        Op::Put(_, value) => value.len(),
        Op::Delete(_) => 0,
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

//! Decisions of the engine, without writing anything.

use divan::Bencher;
use divan::counter::ItemsCount;
use fleetcron::engine::{
    Apply, CallId, Effect, Engine, Input, NewClient, Request, SessionId, Snapshot,
};
use fleetcron::{
    Actor, Attempt, JobSpec, Json, Outcome, Overlap, Proof, Rule, Submission, Timestamp,
};

/// Decisions that are taken together, as a busy node does.
const TOGETHER: usize = 100;

const CLIENTS: usize = 1_000;

const BEGIN: Timestamp = Timestamp::from_millis(1_780_000_000_000);

/// An engine with clients.
struct World {
    engine: Engine,
    now: Timestamp,
    calls: u64,
    submits: usize,
}

impl World {
    /// Clients that are defined and, if so asked, connected.
    fn new(connected: bool) -> Self {
        let engine = Engine::restore(Snapshot::default(), BEGIN);
        let mut world = Self { engine, now: BEGIN, calls: 0, submits: 0 };
        for number in 0..CLIENTS {
            let id = format!("client-{number}").parse().unwrap();
            world.ask(Request::AddClient(NewClient { id, groups: [].into(), token: None }));
            if connected {
                world.connect(number);
            }
        }
        world.engine.take();
        world
    }

    fn connect(&mut self, number: usize) {
        self.calls += 1;
        let (call, session) = (CallId(self.calls), SessionId(number as u64 + 1));
        let client = format!("client-{number}").parse().unwrap();
        let (proof, taken) = (Proof::Vouched, Vec::new());
        self.engine.handle(self.now, Input::Connect { call, session, client, proof, taken });
    }

    fn ask(&mut self, request: Request) {
        self.calls += 1;
        let (call, actor) = (CallId(self.calls), Actor::Library);
        let entropy = u128::from(self.calls);
        self.engine.handle(self.now, Input::Call { call, actor, request, entropy });
    }

    /// Submits for one client after the other.
    fn submit(&mut self) {
        for _ in 0..TOGETHER {
            self.submits += 1;
            let target = format!("client:client-{}", self.submits % CLIENTS);
            let command = "work".parse().unwrap();
            self.ask(Request::Submit(Submission::new(target.parse().unwrap(), command)));
        }
    }

    /// What is to be sent.
    fn sent(&mut self) -> Vec<(SessionId, Attempt)> {
        let sent = |effect| match effect {
            Effect::Send { session, dispatch } => {
                Some((session, Attempt { serial: dispatch.serial, number: dispatch.attempt }))
            }
            _ => None,
        };
        self.engine.take().effects.into_iter().filter_map(sent).collect()
    }

    fn respond(&mut self, sent: &[(SessionId, Attempt)]) {
        for (session, attempt) in sent {
            let outcome = Outcome::succeeded(Json::null());
            let (session, attempt) = (*session, *attempt);
            self.engine.handle(self.now, Input::Responded { session, attempt, outcome });
        }
    }
}

/// Submissions for clients that are away: what is queued is the same for each sample.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn submit(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(TOGETHER)).with_inputs(|| World::new(false)).bench_local_refs(
        |world| {
            world.submit();
            world.engine.take()
        },
    );
}

/// Submissions for clients that are connected, with what is to be sent.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn submit_and_send(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(TOGETHER)).with_inputs(|| World::new(true)).bench_local_refs(
        |world| {
            world.submit();
            world.sent()
        },
    );
}

/// Responses to commands for one client each.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn respond(bencher: Bencher<'_, '_>) {
    let with_inputs = || {
        let mut world = World::new(true);
        world.submit();
        let sent = world.sent();
        assert_eq!(sent.len(), TOGETHER);
        (world, sent)
    };
    bencher.counter(ItemsCount::new(TOGETHER)).with_inputs(with_inputs).bench_local_refs(
        |(world, sent)| {
            world.respond(sent);
            world.engine.take()
        },
    );
}

/// Responses of all clients to one command.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn respond_to_broadcast(bencher: Bencher<'_, '_>) {
    let with_inputs = || {
        let mut world = World::new(true);
        let command = "work".parse().unwrap();
        world.ask(Request::Submit(Submission::new("all".parse().unwrap(), command)));
        let sent = world.sent();
        assert_eq!(sent.len(), CLIENTS);
        (world, sent)
    };
    bencher.counter(ItemsCount::new(CLIENTS)).with_inputs(with_inputs).bench_local_refs(
        |(world, sent)| {
            world.respond(sent);
            world.engine.take()
        },
    );
}

/// Firings of jobs that are due at the same moment, each for one client.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn fire(bencher: Bencher<'_, '_>) {
    let with_inputs = || {
        let mut world = World::new(true);
        let jobs = (0..TOGETHER).map(job).collect();
        world.ask(Request::Apply(Apply { jobs, ..Apply::default() }));
        world.engine.take();
        world.now = world.engine.next_deadline().unwrap();
        world
    };
    bencher.counter(ItemsCount::new(TOGETHER)).with_inputs(with_inputs).bench_local_refs(|world| {
        while world.engine.next_deadline().is_some_and(|at| at <= world.now) {
            world.engine.handle_deadline(world.now);
        }
        let sent = world.sent();
        assert_eq!(sent.len(), TOGETHER);
        sent
    });
}

fn job(number: usize) -> JobSpec {
    let name = format!("job-{number}").parse().unwrap();
    let target = format!("client:client-{number}").parse().unwrap();
    let rule = Rule::every(std::time::Duration::from_secs(60)).unwrap();
    let mut spec = JobSpec::new(name, target, "work".parse().unwrap(), rule);
    spec.overlap = Overlap::Allow;
    spec
}

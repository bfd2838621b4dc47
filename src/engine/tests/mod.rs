//! A bench for the engine, with a store behind it so that it can be started again.

mod attempts;
mod calendars;
mod definitions;
mod deliveries;
mod drain;
mod forecast;
mod late;
mod leaving;
mod limits;
mod membership;
mod overlap;
mod past;
mod pause;
mod policies;
mod priority;
mod queue;
mod repeats;
mod replays;
mod resolve;
mod restart;
mod rollout;
mod spread;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Apply, CallId, Change, CloseReason, Effect, Engine, Input, JobAction, NewClient, Page, Pause,
    Reply, Request, RequestError, SessionId, Status, URGENT_WINDOW, WINDOW, What,
};
use crate::client_record::{ClientView, Proof, TokenHash};
use crate::id::{JobName, Serial};
use crate::job::{CatchUp, JobSpec, JobState, Offline, Overlap, OverlapScope};
use crate::json::Json;
use crate::run::{Cause, DeliveryState, Outcome, Run, Submission};
use crate::schedule::Rule;
use crate::store::{MemoryStore, Store, records};
use crate::target::Target;
use crate::time::Timestamp;

/// What of the window deliveries that are not urgent use.
const ROUTINE: usize = WINDOW - URGENT_WINDOW;

const DAY: i64 = 86_400_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * DAY + seconds * 1_000)
}

/// An engine on a store that has one job at hand, as far as it may: the others are read each time.
fn restored(store: &MemoryStore, now: Timestamp) -> Engine {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    Engine::restore(records::load_some(&store, 1).unwrap(), now)
}

/// An engine and what it let out.
struct Bench {
    engine: Engine,
    now: Timestamp,
    effects: Vec<Effect>,
    changes: Vec<Change>,
    store: MemoryStore,
    calls: u64,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::new();
        let engine = restored(&store, at(0));
        let mut bench =
            Self { engine, now: at(0), effects: Vec::new(), changes: Vec::new(), store, calls: 0 };
        for id in ["a", "b", "c"] {
            bench.add(id, &["abc"]);
        }
        bench
    }

    fn input(&mut self, input: Input) {
        self.deadlines();
        self.engine.handle(self.now, input);
        self.settle();
    }

    fn deadlines(&mut self) {
        while self.engine.next_deadline().is_some_and(|due| due <= self.now) {
            self.engine.handle_deadline(self.now);
        }
    }

    fn settle(&mut self) {
        self.deadlines();
        let decision = self.engine.take();
        if let Some(error) = self.engine.failure() {
            panic!("a stored job was not read: {error}");
        }
        records::write(&self.store, &decision.units).unwrap();
        self.engine.durable(decision.number);
        self.effects = decision.effects;
        self.changes = decision.units.into_iter().flatten().collect();
    }

    fn wait_until(&mut self, now: Timestamp) {
        self.now = now;
        self.settle();
    }

    fn ask(&mut self, request: Request) -> Result<Reply, RequestError> {
        self.calls += 1;
        let entropy = u128::from(self.calls);
        self.input(Input::Call {
            call: CallId(self.calls),
            actor: crate::Actor::Library,
            request,
            entropy,
        });
        let answer = self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answer.expect("every call is answered")
    }

    fn call(&mut self, request: Request) -> Reply {
        self.ask(request).expect("the call succeeds")
    }

    fn apply(&mut self, spec: JobSpec) {
        self.call(Request::Apply(Apply { jobs: vec![spec], ..Apply::default() }));
    }

    fn submit(&mut self, target: &str) -> Run {
        let submission = Submission::new(target.parse().unwrap(), "noop".parse().unwrap());
        match self.call(Request::Submit(submission)) {
            Reply::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self, id: &str, session: u64, taken: &[Serial]) -> Vec<Serial> {
        self.calls += 1;
        self.input(Input::Connect {
            call: CallId(self.calls),
            session: SessionId(session),
            client: id.parse().unwrap(),
            proof: Proof::Token(TokenHash::of(id)),
            taken: taken.iter().copied().map(crate::Attempt::from).collect(),
        });
        self.sent()
    }

    fn sent(&self) -> Vec<Serial> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send { dispatch, .. } => Some(dispatch.serial),
                _ => None,
            })
            .collect()
    }

    fn accept(&mut self, session: u64, serial: Serial) {
        self.input(Input::Accepted { session: SessionId(session), attempt: serial.into() });
    }

    fn succeed(&mut self, session: u64, serial: Serial) {
        let outcome = Outcome::succeeded(Json::null());
        self.input(Input::Responded {
            session: SessionId(session),
            attempt: serial.into(),
            outcome,
        });
    }

    fn disconnect(&mut self, session: u64) {
        self.input(Input::Disconnect { session: SessionId(session), reason: "test".into() });
    }

    /// How deliveries ended in the last decision: client and state.
    fn ends(&self) -> Vec<(String, DeliveryState)> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Notify(event) => match &event.what {
                    What::DeliveryEnded { response, .. } => {
                        Some((response.client.to_string(), response.outcome.state))
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    fn runs_put(&self) -> Vec<Run> {
        self.changes
            .iter()
            .filter_map(|change| match change {
                Change::PutRun(run) => Some(run.as_ref().clone()),
                _ => None,
            })
            .collect()
    }

    fn state(&mut self, name: &str) -> JobState {
        match self.call(Request::GetJob(name.parse().unwrap())) {
            Reply::Job(view) => view.state,
            other => panic!("{other:?}"),
        }
    }

    /// A new engine on what the old one had stored.
    fn restart(&mut self, now: Timestamp) {
        self.now = now;
        self.engine = restored(&self.store, now);
        self.settle();
    }

    fn status(&mut self) -> Status {
        match self.call(Request::Status) {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn client(&mut self, id: &str) -> ClientView {
        match self.call(Request::GetClient(id.parse().unwrap())) {
            Reply::Client(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, id: &str, groups: &[&str]) {
        self.call(Request::AddClient(NewClient {
            id: id.parse().unwrap(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            token: Some(TokenHash::of(id)),
        }));
    }
}

/// A job whose runs may overlap, so that tests of other matters need not answer each.
fn every(name: &str, target: &str, seconds: u64) -> JobSpec {
    let rule = Rule::every(Duration::from_secs(seconds)).unwrap();
    let (name, target) = (name.parse().unwrap(), target.parse().unwrap());
    let mut spec = JobSpec::new(name, target, "noop".parse().unwrap(), rule);
    spec.overlap = Overlap::Allow;
    spec
}

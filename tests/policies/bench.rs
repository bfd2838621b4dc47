//! One job, an engine on a store in memory, and two clients that do as they are told by a test.
//!
//! Times are whole seconds after the job was defined. Runs of the job are numbered from 1 in the
//! order in which they fired, so that a table can say `run #1`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetcron::engine::{
    Apply, CallId, Change, Effect, Engine, Input, NewClient, Reply, Request, SessionId, What,
};
use fleetcron::store::{MemoryStore, records};
use fleetcron::{
    Attempt, ClientId, DeliveryState, JobSpec, JobState, Json, Missed, Outcome, Proof, Rule, Run,
    Serial, Timestamp, history,
};

/// The job is defined at this moment.
const START: i64 = 1_800_000_000_000;

/// Turns of a conversation after which a test gives up.
const TURNS: usize = 100;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1_000)
}

pub(crate) fn seconds(at: Timestamp) -> i64 {
    let millis = at.millis() - START;
    assert_eq!(millis % 1_000, 0, "{at} is not a whole second");
    millis / 1_000
}

/// A job of both clients, every 10 s from its definition on.
pub(crate) fn tick() -> JobSpec {
    let rule = Rule::every(Duration::from_secs(10)).unwrap();
    JobSpec::new("tick".parse().unwrap(), "all".parse().unwrap(), "tick".parse().unwrap(), rule)
}

#[derive(Default)]
struct Client {
    session: Option<SessionId>,
    /// What it was sent and has not answered.
    holds: BTreeSet<Serial>,
    /// What it was told, in order.
    told: Vec<String>,
}

/// The engine, its store, and the clients `a` and `b`.
pub(crate) struct Bench {
    engine: Engine,
    store: MemoryStore,
    now: Timestamp,
    calls: u64,
    clients: BTreeMap<ClientId, Client>,
    /// The job's runs in the order in which they fired.
    runs: Vec<Run>,
    /// How many of `runs` a test has looked at.
    seen: usize,
    /// Every event of missed firings, and how often the job was said to have ended.
    pub(crate) missed: Vec<Missed>,
    pub(crate) ended: usize,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let store = MemoryStore::new();
        let engine = Engine::restore(records::load(&store).unwrap(), at(0));
        let mut bench = Self {
            engine,
            store,
            now: at(0),
            calls: 0,
            clients: BTreeMap::new(),
            runs: Vec::new(),
            seen: 0,
            missed: Vec::new(),
            ended: 0,
        };
        for name in ["a", "b"] {
            let id: ClientId = name.parse().unwrap();
            bench.clients.insert(id.clone(), Client::default());
            bench.call(Request::AddClient(NewClient { id, groups: [].into(), token: None }));
        }
        bench
    }

    pub(crate) fn apply(&mut self, spec: JobSpec) {
        self.call(Request::Apply(Apply { jobs: vec![spec], ..Apply::default() }));
    }

    pub(crate) fn call(&mut self, request: Request) -> Reply {
        self.calls += 1;
        let call = CallId(self.calls);
        let entropy = u128::from(self.calls);
        self.input(Input::Call { call, actor: fleetcron::Actor::Library, request, entropy })
            .expect("a call is answered")
            .unwrap()
    }

    /// Brings the engine to a moment, as the node would: what is due is done before.
    pub(crate) fn wait_until(&mut self, now: Timestamp) {
        self.now = now;
        self.settle();
    }

    /// A new engine at a moment, on what the old one had stored. No client is connected.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.now = now;
        for client in self.clients.values_mut() {
            client.session = None;
        }
        self.engine = Engine::restore(records::load(&self.store).unwrap(), now);
        self.settle();
    }

    /// Sets the clock to a moment without the engine's being asked for anything on the way.
    pub(crate) fn jump(&mut self, now: Timestamp) {
        self.now = now;
        self.input(Input::ClockJumped);
    }

    fn input(&mut self, input: Input) -> Option<Result<Reply, fleetcron::RequestError>> {
        self.deadlines();
        self.engine.handle(self.now, input);
        self.settle()
    }

    fn deadlines(&mut self) {
        while self.engine.next_deadline().is_some_and(|due| due <= self.now) {
            self.engine.handle_deadline(self.now);
        }
    }

    /// Stores what was decided and hands it out; gives back the last answer to a caller.
    fn settle(&mut self) -> Option<Result<Reply, fleetcron::RequestError>> {
        self.deadlines();
        let decision = self.engine.take();
        records::write(&self.store, &decision.units).unwrap();
        for change in decision.units.iter().flatten() {
            if let Change::PutRun(run) = change
                && !self.runs.iter().any(|known| known.serial == run.serial)
            {
                self.runs.push(run.as_ref().clone());
            }
        }
        let mut answered = None;
        for effect in decision.effects {
            match effect {
                Effect::Reply { answer, .. } => answered = Some(answer),
                Effect::Send { session, dispatch } => self.tell(session, "send", dispatch.serial),
                Effect::Cancel { session, serial } => self.tell(session, "cancel", serial),
                Effect::Notify(event) => match &event.what {
                    What::Missed { missed, .. } => self.missed.push(missed.clone()),
                    What::Job { change, .. } if change == "ended" => self.ended += 1,
                    _ => {}
                },
                Effect::Ack { .. } | Effect::Close { .. } => {}
            }
        }
        answered
    }

    fn tell(&mut self, session: SessionId, what: &str, serial: Serial) {
        let text = format!("{what} {}", self.number(serial));
        let client = self.clients.values_mut().find(|client| client.session == Some(session));
        let client = client.expect("only a connection that stands is told anything");
        if what == "send" {
            let new = client.holds.insert(serial);
            assert!(new, "{serial} is sent to a client that has it");
        }
        client.told.push(text);
    }

    fn number(&self, serial: Serial) -> String {
        let position = self.runs.iter().position(|run| run.serial == serial);
        format!("#{}", position.expect("a run is stored before it is sent") + 1)
    }

    fn client(&mut self, id: &str) -> &mut Client {
        self.clients.get_mut(&id.parse::<ClientId>().unwrap()).unwrap()
    }

    fn session(&mut self, id: &str) -> SessionId {
        self.client(id).session.expect("the client is connected")
    }

    /// Connects a client that has what it was sent, or that has lost all of it.
    pub(crate) fn connect(&mut self, id: &str, keeps: bool) {
        self.calls += 1;
        let (call, session) = (CallId(self.calls), SessionId(self.calls));
        let client = self.client(id);
        client.session = Some(session);
        if !keeps {
            client.holds.clear();
        }
        let taken = client.holds.iter().copied().map(Attempt::from).collect();
        let client = id.parse().unwrap();
        self.input(Input::Connect { call, session, client, proof: Proof::Vouched, taken });
    }

    pub(crate) fn disconnect(&mut self, id: &str) {
        let session = self.session(id);
        self.client(id).session = None;
        self.input(Input::Disconnect { session, reason: "test".into() });
    }

    /// Removes a client, defines it anew and connects it; it has forgotten everything.
    pub(crate) fn remove(&mut self, id: &str) {
        let name: ClientId = id.parse().unwrap();
        let client = self.client(id);
        client.session = None;
        client.holds.clear();
        self.call(Request::RemoveClient(name.clone()));
        self.call(Request::AddClient(NewClient { id: name, groups: [].into(), token: None }));
        self.connect(id, false);
    }

    pub(crate) fn connected(&mut self, id: &str) -> bool {
        self.client(id).session.is_some()
    }

    /// A client takes what it was sent.
    pub(crate) fn accept(&mut self, id: &str, run: usize) {
        let (session, serial) = (self.session(id), self.serial(run));
        self.input(Input::Accepted { session, attempt: serial.into() });
    }

    /// A client ends what it was sent.
    pub(crate) fn answer(&mut self, id: &str, run: usize) {
        let serial = self.serial(run);
        self.answer_serial(id, serial);
    }

    fn answer_serial(&mut self, id: &str, serial: Serial) {
        let session = self.session(id);
        assert!(self.client(id).holds.remove(&serial), "{id} has {serial}");
        let outcome = Outcome::succeeded(Json::null());
        self.input(Input::Responded { session, attempt: serial.into(), outcome });
    }

    /// Lets both clients end all that they have, the oldest first, until nothing more comes.
    pub(crate) fn answer_all(&mut self) {
        for _ in 0..TURNS {
            let mut ids = self.clients.iter();
            let next = ids.find_map(|(id, client)| {
                let serial = client.holds.first().filter(|_| client.session.is_some())?;
                Some((id.to_string(), *serial))
            });
            let Some((id, serial)) = next else { return };
            self.answer_serial(&id, serial);
        }
        panic!("the clients are sent more and more");
    }

    /// What a client was told since the last time that somebody asked.
    pub(crate) fn told(&mut self, id: &str) -> String {
        std::mem::take(&mut self.client(id).told).join(", ")
    }

    pub(crate) fn serial(&self, run: usize) -> Serial {
        self.runs[run - 1].serial
    }

    /// The runs that have fired since the last time that somebody asked.
    pub(crate) fn fired(&mut self) -> Vec<Run> {
        let fired = self.runs[self.seen..].to_vec();
        self.seen = self.runs.len();
        fired
    }

    pub(crate) fn state(&mut self) -> JobState {
        match self.call(Request::GetJob("tick".parse().unwrap())) {
            Reply::Job(view) => view.state,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn open(&mut self) -> u64 {
        match self.call(Request::Status) {
            Reply::Status(status) => status.deliveries_open,
            other => panic!("{other:?}"),
        }
    }

    /// Where a delivery stands, with the reason if it has ended: `skipped: run #1 has …`. Of a
    /// run that never was for anybody, its own reason: `never: …`.
    pub(crate) fn delivery(&mut self, id: &str, run: usize) -> String {
        let serial = self.serial(run);
        let client: ClientId = id.parse().unwrap();
        let open = match self.call(Request::OpenDeliveries(serial)) {
            Reply::Deliveries(open) => open,
            other => panic!("{other:?}"),
        };
        if let Some(open) = open.iter().find(|delivery| delivery.client == client) {
            return open.state.to_string();
        }
        let text = if let Some(response) = history::response(&self.store, serial, &client).unwrap()
        {
            match (response.outcome.state, response.outcome.reason) {
                (DeliveryState::Succeeded, None) => "succeeded".to_owned(),
                (state, reason) => format!("{state}: {}", reason.expect("an end has a reason")),
            }
        } else {
            let run = history::run(&self.store, serial).unwrap().expect("the run is stored");
            assert!(run.ended_at.is_some() && run.counts.total == 0, "{run:?}");
            format!("never: {}", run.reason.expect("a run for nobody has a reason"))
        };
        self.numbered(text)
    }

    /// A text with the numbers of runs in place of their serials.
    fn numbered(&self, mut text: String) -> String {
        for run in &self.runs {
            text = text.replace(&run.serial.to_string(), &self.number(run.serial));
        }
        text
    }
}

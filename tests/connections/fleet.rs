//! A stand-in for the node: it knows clients by token, remembers what it was told, and sends what
//! a test tells it to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fleetcron::engine::{CloseReason, Dispatch, RequestError, SessionId};
use fleetcron::node::{CallError, LiveBoard, LiveDelivery, Outlet, ToSession};
use fleetcron::server::Fleet;
use fleetcron::{
    Attempt, ClientId, Command, CommandLimit, Facts, Json, OnClientCrash, Outcome, Priority, Proof,
    Serial, Timestamp, TokenHash,
};
use tokio::sync::watch;
use tokio::time::timeout;

/// What the node was told, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Connected { session: u64, client: String, taken: Vec<Serial> },
    Accepted(u64, Serial),
    Started(u64, Attempt),
    Responded(u64, Serial, Outcome),
    Leaving(u64),
    Disconnected(u64, String),
}

#[derive(Clone)]
pub(crate) struct FakeFleet(Arc<Inner>);

struct Inner {
    told: watch::Sender<Vec<Told>>,
    links: Mutex<HashMap<u64, (String, Outlet<ToSession>)>>,
    acking: AtomicBool,
    board: LiveBoard,
    asked: AtomicU32,
}

/// The token that every client of the fake has.
pub(crate) const TOKEN: &str = "s3cret";

impl FakeFleet {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            told: watch::Sender::new(Vec::new()),
            links: Mutex::default(),
            acking: AtomicBool::new(true),
            board: LiveBoard::default(),
            asked: AtomicU32::new(0),
        }))
    }

    /// Whether responses are acknowledged at once.
    pub(crate) fn acking(&self, yes: bool) {
        self.0.acking.store(yes, Ordering::SeqCst);
    }

    /// What is seen of running commands.
    pub(crate) fn board(&self) -> &LiveBoard {
        &self.0.board
    }

    /// How often it was asked for the place of a delivery.
    pub(crate) fn asked(&self) -> u32 {
        self.0.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.0.told.borrow().clone()
    }

    /// Waits until what was told meets a condition; an hour of (paused) time is too long.
    pub(crate) async fn until(&self, met: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let mut told = self.0.told.subscribe();
        let waiting = told.wait_for(|told| met(told));
        let told = timeout(Duration::from_secs(3_600), waiting).await;
        told.unwrap_or_else(|_| panic!("never met; told: {:#?}", self.told())).unwrap().clone()
    }

    pub(crate) async fn until_count(
        &self,
        count: usize,
        like: impl Fn(&Told) -> bool,
    ) -> Vec<Told> {
        self.until(|told| told.iter().filter(|one| like(one)).count() >= count).await
    }

    pub(crate) fn send(&self, session: u64, message: ToSession) {
        let links = self.0.links.lock().unwrap();
        links[&session].1.try_send(message).unwrap();
    }

    fn tell(&self, told: Told) {
        self.0.told.send_modify(|all| all.push(told));
    }
}

impl Fleet for FakeFleet {
    async fn connect(
        &self,
        client: ClientId,
        proof: Proof,
        taken: Vec<Attempt>,
        outbound: Outlet<ToSession>,
    ) -> Result<(SessionId, Option<CommandLimit>), CallError> {
        let denied = |why: &str| Err(CallError::Refused(RequestError::Denied(why.to_owned())));
        if client.as_str().starts_with("unknown") {
            return denied("no such client");
        }
        if proof != Proof::Vouched && proof != Proof::Token(TokenHash::of(TOKEN)) {
            return denied("wrong token");
        }
        let session = {
            let mut links = self.0.links.lock().unwrap();
            for (name, link) in links.values() {
                if name == client.as_str() {
                    let _ = link.try_send(ToSession::Close(CloseReason::Displaced));
                }
            }
            let session = links.len() as u64 + 1;
            links.insert(session, (client.to_string(), outbound));
            session
        };
        self.tell(Told::Connected {
            session,
            client: client.to_string(),
            taken: taken.into_iter().map(|attempt| attempt.serial).collect(),
        });
        let limit = client.as_str().starts_with("limited").then_some(CommandLimit::ONE);
        Ok((SessionId(session), limit))
    }

    async fn accepted(&self, session: SessionId, attempt: Attempt) -> Result<(), CallError> {
        self.tell(Told::Accepted(session.0, attempt.serial));
        Ok(())
    }

    async fn started(&self, session: SessionId, attempt: Attempt) -> Result<(), CallError> {
        self.tell(Told::Started(session.0, attempt));
        Ok(())
    }

    async fn responded(
        &self,
        session: SessionId,
        attempt: Attempt,
        outcome: Outcome,
    ) -> Result<(), CallError> {
        self.tell(Told::Responded(session.0, attempt.serial, outcome));
        if self.0.acking.load(Ordering::SeqCst) {
            self.send(session.0, ToSession::Ack(attempt));
        }
        Ok(())
    }

    async fn told_facts(&self, _: SessionId, _: Facts) -> Result<(), CallError> {
        Ok(())
    }

    async fn leaving(&self, session: SessionId) -> Result<(), CallError> {
        self.tell(Told::Leaving(session.0));
        Ok(())
    }

    async fn live(
        &self,
        session: SessionId,
        attempt: Attempt,
    ) -> Result<Option<Arc<LiveDelivery>>, CallError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let client = self.0.links.lock().unwrap()[&session.0].0.parse().unwrap();
        let told = self.told();
        let accepted = told.contains(&Told::Accepted(session.0, attempt.serial));
        let place = || self.0.board.open(attempt.serial, &client, attempt.number);
        Ok(if accepted { place() } else { None })
    }

    async fn disconnected(&self, session: SessionId, reason: String) -> Result<(), CallError> {
        self.tell(Told::Disconnected(session.0, reason));
        Ok(())
    }
}

pub(crate) fn serial(n: u128) -> Serial {
    Serial::from_parts(Timestamp::from_millis(1_700_000_000_000), n)
}

pub(crate) fn command(n: u128, name: &str, params: &str) -> ToSession {
    ToSession::Command(Arc::new(Dispatch {
        serial: serial(n),
        attempt: 1,
        timeout: None,
        command: Command::new(name.parse().unwrap(), params.parse::<Json>().unwrap()).unwrap(),
        job: Some("disk/daily".parse().unwrap()),
        scheduled_at: Timestamp::from_millis(1_700_000_000_000),
        in_turn: false,
        on_client_crash: OnClientCrash::default(),
        priority: Priority::default(),
        per_client: None,
        frame: OnceLock::new(),
    }))
}

pub(crate) fn is_connected(told: &Told) -> bool {
    matches!(told, Told::Connected { .. })
}

pub(crate) fn is_responded(told: &Told) -> bool {
    matches!(told, Told::Responded(..))
}

pub(crate) fn is_disconnected(told: &Told) -> bool {
    matches!(told, Told::Disconnected(..))
}

//! What the engine wants stored, in the domain's words. The store knows the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Effect;
use super::definitions::{Definitions, JobHeads};
use super::replays::{ReplayParts, ReplayRecord};
use crate::calendar::CalendarRecord;
use crate::client_record::{ClientRecord, Presence};
use crate::id::{CalendarName, ClientNo, JobId, ReplayId, Serial};
use crate::idempotency::{Repeat, RepeatKey};
use crate::job::{Job, JobState};
use crate::job_past::{JobRevision, MissedRow, RemovedJob};
use crate::replay::Replay;
use crate::run::{Counts, DeliveryState, LateAnswer, Outcome, Run};
use crate::time::Timestamp;

/// Clients to a chunk of a run's set of open deliveries.
pub const CHUNK: u32 = 4_096;

/// Bytes of results after which a page of responses is full.
pub const PAGE_BYTES: usize = 16 * 1024;

/// One write.
#[derive(Debug, Clone)]
pub enum Change {
    /// A job's definition.
    PutJob(Arc<Job>),
    /// A job's standing. The job tells what its head says, see [`JobHead`](super::JobHead).
    PutJobState(Arc<Job>, JobState),
    /// A job and its standing are gone.
    RemoveJob(JobId),
    /// A run: when it fires, when it is cancelled and when it ends.
    PutRun(Arc<Run>),
    /// The open deliveries of a run among the clients `chunk * CHUNK ..`; an empty set is deleted.
    PutOpen {
        /// The run.
        serial: Serial,
        /// Which clients: numbers `chunk * CHUNK .. (chunk + 1) * CHUNK`.
        chunk: u32,
        /// The numbers of those whose delivery is open, counted from 0 for client 0.
        open: RoaringBitmap,
    },
    /// From this serial on an open run for one client may have no [`Change::PutOpen`]: its record
    /// tells all. Below it each has. Until there is one, it is below every serial.
    PutBorder(Serial),
    /// Marks on open deliveries of a run, among the same clients; an empty set is deleted.
    PutMarks {
        /// The run.
        serial: Serial,
        /// What they say.
        mark: Mark,
        /// Which clients, as above.
        chunk: u32,
        /// The numbers of those that have the mark.
        clients: RoaringBitmap,
    },
    /// A page of responses.
    PutPage {
        /// The run.
        serial: Serial,
        /// 0 for the run's first page, one more for each.
        page: u32,
        /// The responses, in the order in which they were recorded.
        entries: Vec<PageEntry>,
    },
    /// A client of the registry.
    PutClient(Arc<ClientRecord>),
    /// When a client was last here.
    PutPresence(ClientNo, Presence),
    /// A bounded part of an ended run, of its pages and its results is gone, in the end all of it;
    /// the run itself last, and until then it is marked as forgotten. Several in one unit are one
    /// bounded part together: the first first.
    ForgetRun(Serial),
    /// A row of missed firings, in the unit of the standing that counts it. It takes the place of
    /// the one [`MISSED_KEPT`](crate::MISSED_KEPT) before it.
    PutMissed(MissedRow),
    /// A revision that is no longer the current one, or a removal, in the unit of that change. It
    /// takes the place of the one [`REVISIONS_KEPT`](crate::REVISIONS_KEPT) before it.
    PutRevision(Box<JobRevision>),
    /// A job was removed: by this its past is found.
    PutRemoved(RemovedJob),
    /// A bounded part of the past of a removed job is gone, in the end all of it. Several in one
    /// unit are one bounded part together.
    ForgetJob(RemovedJob),
    /// A calendar.
    PutCalendar(Arc<CalendarRecord>),
    /// A calendar is gone.
    RemoveCalendar(CalendarName),
    /// A submit is remembered, in the unit of its run.
    PutRepeat(Box<Repeat>),
    /// A submit is no longer remembered.
    ForgetRepeat(RepeatKey),
    /// The server's settings as of this start.
    PutSettings(BTreeMap<String, String>),
    /// A client's late answer; of several the last is kept. It goes with its run.
    PutLate {
        /// The run.
        serial: Serial,
        /// The client's number.
        client: ClientNo,
        /// What it answered.
        answer: Box<LateAnswer>,
    },
    /// A replay: when it is made, and in the unit of each run of its that begins or ends.
    PutReplay(Box<Replay>),
    /// What a replay is to run, in the unit in which it is made.
    PutReplayParts(ReplayId, Arc<ReplayParts>),
    /// Which run an item of a replay has become, in the unit in which that begins.
    PutReplayRun {
        /// The replay.
        replay: ReplayId,
        /// The item's number.
        item: u32,
        /// The run.
        serial: Serial,
    },
    /// A bounded part of a replay is gone, in the end all of it.
    ForgetReplay(ReplayId),
}

/// What a mark on an open delivery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Mark {
    /// It may be sent once, and was.
    Sent = 1,
    /// Its own cancellation was asked for.
    Cancelled = 2,
}

impl Mark {
    /// All marks.
    pub const ALL: [Self; 2] = [Self::Sent, Self::Cancelled];
}

/// A response in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageEntry {
    /// The client.
    pub client: ClientNo,
    /// When it was recorded.
    pub at: Timestamp,
    /// Which attempt ended.
    pub attempt: u32,
    /// Whether another attempt follows: then the delivery has not ended.
    pub retried: bool,
    /// How the delivery or the attempt ended.
    pub outcome: Outcome,
}

/// What one commit holds: atomic units of changes, and what to do once they are durable.
#[derive(Debug, Default)]
pub struct Decision {
    /// Each unit is written as a whole or not at all, in this order.
    pub units: Vec<Vec<Change>>,
    /// To be released in this order, after every unit is durable.
    pub effects: Vec<Effect>,
    /// One more than the last one's, see [`Engine::durable`](super::Engine::durable).
    pub number: u64,
}

impl Decision {
    /// Whether there is nothing to store and nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty() && self.effects.is_empty()
    }
}

/// All that the engine keeps in memory, as the store gives it back at the start.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Every job that is at hand.
    pub jobs: Vec<(Job, JobState)>,
    /// The jobs that are not, if there are such.
    pub stored_jobs: Option<StoredJobs>,
    /// Every client, removed ones too.
    pub clients: Vec<(ClientRecord, Presence)>,
    /// Every run with open deliveries, in serial order.
    pub open_runs: Vec<OpenRunRecord>,
    /// The highest serial of any run.
    pub last_serial: Option<Serial>,
    /// The last [`Change::PutBorder`]; `None`: below every serial.
    pub border: Option<Serial>,
    /// Every calendar.
    pub calendars: Vec<CalendarRecord>,
    /// Every submit that is remembered.
    pub repeats: Vec<Repeat>,
    /// The settings of the last start.
    pub settings: BTreeMap<String, String>,
    /// Where the ledger ends; `None`: it is empty.
    pub ledger_end: Option<LedgerEnd>,
    /// Every replay that has not ended.
    pub replays: Vec<ReplayRecord>,
}

/// The jobs that are not at hand when an engine begins, and where they are.
#[derive(Debug)]
pub struct StoredJobs {
    /// What is in memory of them.
    pub heads: JobHeads,
    /// Where these and others are read from.
    pub definitions: Arc<dyn Definitions>,
    /// How many jobs stay at hand that are stored as they are.
    pub at_hand: usize,
}

/// The end of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerEnd {
    /// The time of its last event.
    pub at: Timestamp,
    /// Whether that event is the server's stop in order.
    pub stopped: bool,
}

/// A run with open deliveries, as the store gives it back.
#[derive(Debug)]
pub struct OpenRunRecord {
    /// The run as last put; its counts are rebuilt from its pages.
    pub run: Run,
    /// The numbers of the clients whose delivery is open.
    pub open: RoaringBitmap,
    /// The numbers of the clients whose delivery has a mark.
    pub marks: BTreeMap<Mark, RoaringBitmap>,
    /// Open deliveries that were tried before: the client's number, the last attempt that ended,
    /// and when.
    pub tried: Vec<(ClientNo, u32, Timestamp)>,
    /// How its ended deliveries ended, if it has a rollout; otherwise empty.
    pub ends: Vec<(ClientNo, DeliveryState)>,
    /// Pages written so far.
    pub pages: u32,
    /// How the ended deliveries ended, with the run's total.
    pub counts: Counts,
    /// About how many bytes those pages take.
    pub bytes: u64,
    /// Of a run with open membership: the numbers of the clients whose delivery has ended.
    pub ended: RoaringBitmap,
    /// Whether its set of open deliveries is not stored, see [`Change::PutBorder`].
    pub young: bool,
}

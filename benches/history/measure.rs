//! Queries of each kind, with arguments that change from call to call.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use fleetcron::engine::VERSION;
use fleetcron::history::{EventKind, EventOrder, EventQuery, events};
use fleetcron::store::{Order, Store, key, records};
use fleetcron::{Actor, DeliveryState, Serial, Timestamp};
use roaring::RoaringBitmap;
use serde_json::json;

use super::generate::{self, CLIENTS, GROUPS, Generator, JOBS};

/// Calls of each kind.
const CALLS: usize = 20;

/// A page takes no longer than this, by its median.
const PROMISED: Duration = Duration::from_millis(50);

/// The same of a text that is nowhere: one look as long as looks may be.
const ONE_LOOK: Duration = Duration::from_secs(1);

/// Of fewer records pages need not be full.
const FULL: u64 = 1_000_000;

/// What the queries ask for.
pub(crate) struct Sample {
    broadcasts: Vec<Serial>,
    unicasts: Vec<Serial>,
    end: Timestamp,
}

impl Sample {
    pub(crate) fn of(made: &Generator) -> Self {
        let (broadcasts, unicasts) = (made.broadcasts.clone(), made.unicasts.clone());
        Self { broadcasts, unicasts, end: made.now }
    }

    /// One of some that are spread over all.
    fn pick<T: Copy>(all: &[T], n: usize) -> T {
        all[(n * 7 + 3) * all.len() / (CALLS * 7 + 3)]
    }

    /// A moment, the earlier the greater `n` is.
    fn moment(&self, n: usize) -> Timestamp {
        let all = self.end.since(generate::BEGIN);
        let back = all * u32::try_from(n).unwrap() / u32::try_from(CALLS).unwrap();
        self.end.minus(back)
    }
}

/// One kind of query.
struct Kind {
    name: &'static str,
    /// Events that the page must have.
    least: usize,
    query: fn(&Sample, usize) -> EventQuery,
}

const TEXT: &str = "a text that nothing has, one look";

const KINDS: &[Kind] = &[
    Kind { name: "the newest", least: 100, query: |_, _| EventQuery::default() },
    Kind {
        name: "a span of a minute",
        least: 100,
        query: |sample, n| EventQuery {
            from: Some(sample.moment(n).minus(Duration::from_secs(60))),
            to: Some(sample.moment(n)),
            ..EventQuery::default()
        },
    },
    Kind { name: "a client", least: 100, query: |_, n| client(n) },
    Kind {
        name: "a client, before a moment",
        least: 1,
        query: |sample, n| EventQuery { to: Some(sample.moment(n)), ..client(n) },
    },
    Kind {
        name: "a client's failures",
        least: 1,
        query: |_, n| EventQuery { states: vec![DeliveryState::Failed], ..client(n) },
    },
    Kind {
        name: "a job",
        least: 100,
        query: |_, n| EventQuery {
            job: Some(generate::job(n % (2 * JOBS))),
            ..EventQuery::default()
        },
    },
    Kind {
        name: "a rare job",
        least: 1,
        query: |_, n| EventQuery {
            job: Some("rare".parse().unwrap()),
            order: if n % 2 == 0 { EventOrder::Newest } else { EventOrder::Oldest },
            ..EventQuery::default()
        },
    },
    Kind {
        name: "a group of 50",
        least: 100,
        query: |_, n| EventQuery {
            group: Some(format!("g{}", n % GROUPS).parse().unwrap()),
            ..EventQuery::default()
        },
    },
    Kind {
        name: "failures",
        least: 100,
        query: |_, _| EventQuery { states: vec![DeliveryState::Failed], ..EventQuery::default() },
    },
    Kind {
        name: "a state that nothing has",
        least: 0,
        query: |_, _| EventQuery { states: vec![DeliveryState::Expired], ..EventQuery::default() },
    },
    Kind {
        name: "a kind",
        least: 100,
        query: |_, _| EventQuery { kinds: vec![EventKind::RunEnded], ..EventQuery::default() },
    },
    Kind {
        name: "an actor",
        least: 100,
        query: |_, _| EventQuery {
            actor: Some(Actor::token("bench").unwrap()),
            ..EventQuery::default()
        },
    },
    Kind {
        name: "a run of all clients",
        least: 100,
        query: |sample, n| run(Sample::pick(&sample.broadcasts, n)),
    },
    Kind {
        name: "a run of one client",
        least: 3,
        query: |sample, n| run(Sample::pick(&sample.unicasts, n)),
    },
    Kind {
        name: TEXT,
        least: 0,
        query: |sample, n| EventQuery {
            text: Some(format!("Nowhere {n}")),
            to: Some(sample.moment(n)),
            ..EventQuery::default()
        },
    },
];

fn client(n: usize) -> EventQuery {
    let client = generate::client(n * 37 % CLIENTS);
    EventQuery { client: Some(client), ..EventQuery::default() }
}

fn run(serial: Serial) -> EventQuery {
    EventQuery { serial: Some(serial), ..EventQuery::default() }
}

/// What the calls of one kind came to.
pub(crate) struct Row {
    name: &'static str,
    median: Duration,
    max: Duration,
    /// Of the call that found the fewest.
    found: usize,
    least: usize,
    /// Calls that gave a page that is not full and goes on.
    unfinished: usize,
}

/// Calls each kind of query.
pub(crate) fn queries(store: &dyn Store, sample: &Sample) -> Vec<Row> {
    KINDS.iter().map(|kind| measure(store, sample, kind)).collect()
}

fn measure(store: &dyn Store, sample: &Sample, kind: &Kind) -> Row {
    let mut took = Vec::new();
    let (mut found, mut unfinished) = (usize::MAX, 0);
    for n in 0..CALLS {
        let query = (kind.query)(sample, n);
        let members = query.group.as_ref().map(|_| members(store, n % GROUPS));
        let begun = Instant::now();
        let page = events(store, &query, members).unwrap();
        took.push(begun.elapsed());
        found = found.min(page.events.len());
        unfinished += usize::from(page.next.is_some() && page.events.len() < 100);
    }
    took.sort();
    let (median, max) = (took[CALLS / 2], took[CALLS - 1]);
    Row { name: kind.name, median, max, found, least: kind.least, unfinished }
}

fn members(store: &dyn Store, group: usize) -> RoaringBitmap {
    let members = (group..CLIENTS).step_by(GROUPS);
    members.map(|n| records::client_no(store, &generate::client(n)).unwrap().unwrap().0).collect()
}

/// Bytes of the index's keys and values.
pub(crate) fn index_bytes(store: &dyn Store) -> u64 {
    let keys = key::all(key::INDEX);
    fleetcron::store::walk(store, keys, Order::Up)
        .map(|entry| entry.map(|(key, value)| (key.len() + value.len()) as u64).unwrap())
        .sum()
}

/// What is not as it was promised.
pub(crate) fn faults(rows: &[Row], records: u64) -> Vec<String> {
    let mut faults = Vec::new();
    for Row { name, median, found, least, .. } in rows {
        let promised = if *name == TEXT { ONE_LOOK } else { PROMISED };
        if median > &promised {
            faults.push(format!("{name}: {median:?}, more than {promised:?}"));
        }
        if records >= FULL && found < least {
            faults.push(format!("{name}: {found} events, fewer than {least}"));
        }
    }
    faults
}

/// Prints the rows, beside those that were measured without the index.
pub(crate) fn print(rows: &[Row], without: &[Row], json: bool) {
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    if json {
        for (row, other) in rows.iter().zip(without) {
            let object = json!({
                "name": row.name, "unit": "ms", "median": ms(row.median), "max": ms(row.max),
                "found": row.found, "unfinished": row.unfinished, "calls": CALLS,
                "without_index": ms(other.median), "unfinished_without_index": other.unfinished,
                "version": VERSION,
            });
            println!("{object}");
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "a page of",
        "median ms",
        "max ms",
        "found",
        "unfinished",
        "without index ms",
        "unfinished",
    ]);
    for (row, other) in rows.iter().zip(without) {
        table.add_row([
            row.name.to_owned(),
            format!("{:.2}", ms(row.median)),
            format!("{:.2}", ms(row.max)),
            row.found.to_string(),
            row.unfinished.to_string(),
            format!("{:.2}", ms(other.median)),
            other.unfinished.to_string(),
        ]);
    }
    for column in 1..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}

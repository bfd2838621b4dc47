//! Open runs and who has not answered them.
//!
//! Imports the rest of the records and the form of open sets.

use roaring::RoaringBitmap;
use serde::Deserialize;

use super::{
    Ended, Order, Store, StoreError, client_no, ended, key, marks, open_set, part_of, read, run,
    walk,
};
use crate::engine::OpenRunRecord;
use crate::id::{ClientId, Serial};
use crate::run::Run;
use crate::target::Target;

const WHAT: &str = "open deliveries";

/// What tells whether a run is open, and for whom.
#[derive(Deserialize)]
struct Brief {
    target: Target,
    #[serde(default)]
    ended_at: Option<serde::de::IgnoredAny>,
}

/// The serial from which on runs can be open without a set of open deliveries, see
/// [`Change::PutBorder`](crate::engine::Change::PutBorder); `None`: any can.
pub(super) fn border(store: &dyn Store) -> Result<Option<Serial>, StoreError> {
    let key = key::border();
    let Some(value) = store.get(&key)? else { return Ok(None) };
    let bytes = value.as_slice().try_into().map_err(|_| {
        StoreError::corrupt("border", &key, format!("{} bytes, not 16", value.len()))
    })?;
    Ok(Some(Serial::from_bytes(bytes)))
}

/// The serials of runs that are open, or that a set of open deliveries is stored of, in order.
/// Beside commits, one that ends meanwhile is among them, and one that begins need not be.
pub(crate) fn open_serials(store: &dyn Store) -> Result<Vec<Serial>, StoreError> {
    let mut serials: Vec<Serial> = young(store)?.into_iter().map(|(serial, _)| serial).collect();
    let mut keys = key::all(key::OPEN);
    while let Some((open, _)) = store.scan(&keys.start..&keys.end, Order::Up, 1)?.pop() {
        let serial = part_of(WHAT, &open, key::serial_in)?;
        keys.start = key::of_run(key::OPEN, serial).end;
        serials.push(serial);
    }
    serials.sort_unstable();
    serials.dedup();
    Ok(serials)
}

/// The open runs for one client from the border on, and for whom they are.
fn young(store: &dyn Store) -> Result<Vec<(Serial, ClientId)>, StoreError> {
    let mut runs = key::all(key::RUN);
    if let Some(border) = border(store)? {
        runs.start = key::run(border);
    }
    let mut found = Vec::new();
    for entry in walk(store, runs, Order::Up) {
        let (key, value) = entry?;
        let brief: Brief = read("run", &key, &value)?;
        if let Brief { target: Target::One(client), ended_at: None } = brief {
            found.push((part_of("run", &key, key::serial_in)?, client));
        }
    }
    Ok(found)
}

/// The set of one client.
fn only(store: &dyn Store, serial: Serial, client: &ClientId) -> Result<RoaringBitmap, StoreError> {
    let no = client_no(store, client)?.ok_or_else(|| {
        let problem = format!("its client {client} is not in the registry");
        StoreError::corrupt("run", &key::run(serial), problem)
    })?;
    Ok(RoaringBitmap::from_iter([no.0]))
}

pub(super) fn load(store: &dyn Store) -> Result<Vec<OpenRunRecord>, StoreError> {
    let mut found: Vec<(Serial, RoaringBitmap, bool)> = Vec::new();
    for entry in walk(store, key::all(key::OPEN), Order::Up) {
        let (key, value) = entry?;
        let serial = part_of(WHAT, &key, key::serial_in)?;
        let chunk = part_of(WHAT, &key, key::chunk_in)?;
        if found.last().is_none_or(|(last, ..)| *last != serial) {
            found.push((serial, RoaringBitmap::new(), false));
        }
        if let Some((_, open, _)) = found.last_mut() {
            open_set::decode(chunk, &value, open)
                .map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
        }
    }
    let with_sets = found.len();
    for (serial, client) in young(store)? {
        if found[..with_sets].binary_search_by_key(&serial, |(serial, ..)| *serial).is_err() {
            found.push((serial, only(store, serial, &client)?, true));
        }
    }
    found.sort_unstable_by_key(|(serial, ..)| *serial);
    found
        .into_iter()
        .map(|(serial, open, young)| {
            let run = run(store, serial)?
                .ok_or_else(|| StoreError::corrupt("run", &key::run(serial), "it is missing"))?;
            let Ended { pages, counts, bytes, tried, clients, ends } = ended(store, &run)?;
            let tried = tried.into_iter().filter(|(no, ..)| open.contains(no.0)).collect();
            let marks = marks(store, serial)?;
            let ended = clients;
            let record =
                OpenRunRecord { run, open, marks, tried, ends, pages, counts, bytes, ended, young };
            Ok(record)
        })
        .collect()
}

/// The clients whose delivery of a run is open.
pub fn open_clients(store: &dyn Store, serial: Serial) -> Result<RoaringBitmap, StoreError> {
    let mut open = RoaringBitmap::new();
    for entry in walk(store, key::of_run(key::OPEN, serial), Order::Up) {
        let (key, value) = entry?;
        let chunk = part_of(WHAT, &key, key::chunk_in)?;
        open_set::decode(chunk, &value, &mut open)
            .map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
    }
    if open.is_empty()
        && border(store)?.is_none_or(|border| serial >= border)
        && let Some(Run { target: Target::One(client), ended_at: None, .. }) = run(store, serial)?
    {
        return only(store, serial, &client);
    }
    Ok(open)
}

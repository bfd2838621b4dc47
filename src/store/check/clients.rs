//! The registry: a client's record, its number and its presence belong together.

use super::report::LEFTOVER;
use super::{Known, Report};
use crate::client_record::ClientRecord;
use crate::store::{Order, Store, StoreError, key, records, walk};

const RULE: &str = "client and number";

pub(super) fn check(
    store: &dyn Store,
    known: &mut Known,
    report: &mut Report,
) -> Result<(), StoreError> {
    for entry in walk(store, key::all(key::CLIENT), Order::Up) {
        let (key, value) = entry?;
        // What cannot be read is told by itself; its number is there all the same.
        let Some(no) = key::client_in(&key) else { continue };
        known.clients.insert(no.0);
        let Ok(client) = records::read::<ClientRecord>(RULE, &key, &value) else { continue };
        let number = store.get(&key::client_id(&client.id))?;
        if number.as_deref() != Some(&no.0.to_be_bytes()) {
            let told = number
                .map_or("it is missing".to_owned(), |number| format!("it is {}", shown(&number)));
            let problem = format!("client {} has number {}, but by its id {told}", client.id, no.0);
            report.broken(&key, RULE, problem);
        }
    }
    for entry in walk(store, key::all(key::CLIENT_ID), Order::Up) {
        let (key, value) = entry?;
        let Ok(number) = <[u8; 4]>::try_from(value.as_slice()) else { continue };
        let number = crate::id::ClientNo(u32::from_be_bytes(number));
        let record = store.get(&key::client(number))?;
        let record = record.and_then(|value| {
            records::read::<ClientRecord>(RULE, &key::client(number), &value).ok()
        });
        if record.is_none_or(|record| key::client_id(&record.id) != key) {
            let problem = format!("number {} is no client of this id", number.0);
            report.broken(&key, RULE, problem);
        }
    }
    for entry in walk(store, key::all(key::PRESENCE), Order::Up) {
        let (key, _) = entry?;
        if let Some(no) = key::client_in(&key)
            && !known.clients.contains(no.0)
        {
            let problem = format!("number {} is no client", no.0);
            report.fault(&key, "presence of a client", problem, LEFTOVER);
        }
    }
    Ok(())
}

fn shown(number: &[u8]) -> String {
    match <[u8; 4]>::try_from(number) {
        Ok(number) => u32::from_be_bytes(number).to_string(),
        Err(_) => format!("{} bytes", number.len()),
    }
}

//! What became of a run at its clients, read from its pages of responses.

use roaring::RoaringBitmap;

use super::cancels;
use super::item::Delivery;
use super::names::Names;
use crate::id::{ClientNo, Serial};
use crate::json::Json;
use crate::run::{Counts, DeliveryState, Run};
use crate::store::page::{Row, StoredResult, rows};
use crate::store::{Store, StoreError, key, records};
use crate::time::Timestamp;

const WHAT: &str = "page of responses";

/// Characters of a result that are told, at most.
const RESULT_SHOWN: usize = 200;

/// Of which clients deliveries are asked for.
#[derive(Debug, Clone, Default)]
pub(super) enum Asked {
    /// All.
    #[default]
    All,
    /// One.
    One(ClientNo),
    /// The members of a group.
    These(RoaringBitmap),
}

impl Asked {
    pub(super) fn has(&self, no: ClientNo) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == no,
            Self::These(these) => these.contains(no.0),
        }
    }

    fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// The deliveries of a run that are asked for.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// How they ended.
    pub(super) counts: Counts,
    /// Those that did not succeed, or all of them.
    pub(super) told: Vec<Delivery>,
    /// How many more there are of these.
    pub(super) more: u64,
    /// Whether it is for any of those that are asked for.
    pub(super) is_for_any: bool,
}

/// Which deliveries a summary has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Those that succeeded, too.
    pub(super) successes: bool,
    /// At most so many.
    pub(super) most: usize,
}

/// Reads the deliveries of a run. Those that are open are told as queued: the store does not know
/// more.
pub(super) fn summary(
    store: &dyn Store,
    run: &Run,
    asked: &Asked,
    wanted: Wanted,
    names: &mut Names,
) -> Result<Summary, StoreError> {
    if run.all_succeeded() && asked.is_all() && !wanted.successes {
        let counts = run.counts;
        return Ok(Summary { counts, is_for_any: true, ..Summary::default() });
    }
    // First: what ends between the two looks is then seen twice rather than not at all.
    let mut open = if run.ended_at.is_none() {
        records::open_clients(store, run.serial)?
    } else {
        RoaringBitmap::new()
    };
    let mut summary = Summary::default();
    'pages: for entry in records::pages(store, key::of_run(key::PAGE, run.serial)) {
        let (key, value) = entry?;
        let damaged = |problem| StoreError::corrupt(WHAT, &key, problem);
        for row in rows(&value).map_err(damaged)? {
            let row = row.map_err(damaged)?;
            if !asked.has(row.client) {
                continue;
            }
            if row.retried {
                summary.counts.retried += 1;
                continue;
            }
            open.remove(row.client.0);
            summary.counts.total += 1;
            summary.counts.add(row.state);
            if wanted.successes || row.state != DeliveryState::Succeeded {
                if summary.told.len() < wanted.most {
                    summary.told.push(ended(store, run, &row, names)?);
                } else {
                    summary.more += 1;
                }
            }
            if let Asked::One(_) = asked {
                break 'pages;
            }
        }
    }
    for no in open.iter().map(ClientNo).filter(|no| asked.has(*no)) {
        summary.counts.total += 1;
        if summary.told.len() < wanted.most {
            summary.told.push(waiting(names.of(store, no)?));
        } else {
            summary.more += 1;
        }
    }
    summary.is_for_any = summary.counts.total > 0;
    Ok(summary)
}

/// An open delivery, as far as the store knows it.
pub(super) fn waiting(client: crate::id::ClientId) -> Delivery {
    Delivery {
        client,
        state: DeliveryState::Queued,
        at: None,
        after_ms: None,
        attempt: None,
        ran_ms: None,
        reason: None,
        result: None,
        by: None,
        cancelled_by: None,
        waits: None,
    }
}

/// A delivery that has ended.
pub(super) fn ended(
    store: &dyn Store,
    run: &Run,
    row: &Row<'_>,
    names: &mut Names,
) -> Result<Delivery, StoreError> {
    let client = names.of(store, row.client)?;
    let cancelled_by = match row.state {
        DeliveryState::Cancelled => cancels::who(store, run, &client, row.at)?,
        _ => None,
    };
    let result = match row.result {
        _ if row.state == DeliveryState::Succeeded => None,
        Some(StoredResult::Inline(text)) => first_line(text),
        Some(StoredResult::Outside { bytes }) => Some(format!("a result of {bytes} bytes")),
        None => None,
    };
    let reason = row.reason.map(str::to_owned);
    Ok(Delivery {
        client,
        state: row.state,
        at: Some(row.at),
        after_ms: Some(millis(row.at, run.scheduled_at)),
        attempt: (row.attempt != 1).then_some(row.attempt),
        ran_ms: row.ran_ms,
        by: reason.as_deref().and_then(serial_in),
        reason,
        result,
        cancelled_by,
        waits: None,
    })
}

/// How many milliseconds one moment is after another.
pub(super) fn millis(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

/// The run that a reason names.
pub(super) fn serial_in(reason: &str) -> Option<Serial> {
    let mut words = reason.split([' ', ':', ',']);
    words.by_ref().find(|word| *word == "run")?;
    words.next()?.parse().ok()
}

/// The first line that a result has to say: of a program that was run the first of its errors, or
/// of what it printed; of a text the first of it; otherwise the JSON.
fn first_line(text: &str) -> Option<String> {
    let json: Json = text.parse().ok()?;
    let value: serde_json::Value = serde_json::from_str(json.text()).ok()?;
    let printed = ["stderr", "stdout"].into_iter().filter_map(|name| value.get(name)?.as_str());
    let mut said = printed.chain(value.as_str()).flat_map(str::lines).map(str::trim);
    let line = match said.find(|line| !line.is_empty()) {
        Some(line) => line,
        None if value.is_null() || value.is_string() || value.get("stdout").is_some() => {
            return None;
        }
        None => json.text(),
    };
    Some(match line.char_indices().nth(RESULT_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_that_a_reason_names_is_found() {
        let serial = "01JD0000000000000000000000";
        let expected = serial.parse::<Serial>().ok();
        for reason in [
            "run 01JD0000000000000000000000 has not ended on this client",
            "skipped: run 01JD0000000000000000000000 waits already",
            "the client's queue was full: run 01JD0000000000000000000000 took its place",
        ] {
            assert_eq!(serial_in(reason), expected, "{reason}");
        }
        assert_eq!(serial_in("no run is named"), None);
        assert_eq!(serial_in("the client was away"), None);
    }

    #[test]
    fn a_result_says_one_line() {
        let line = |text: &str| first_line(text);
        assert_eq!(line(r#""disk full\nand more""#).as_deref(), Some("disk full"));
        let report = r#"{"exit_code":1,"stdout":"out\n","stderr":"\ncannot open x\nmore\n"}"#;
        assert_eq!(line(report).as_deref(), Some("cannot open x"));
        assert_eq!(line(r#"{"exit_code":1,"stdout":"","stderr":""}"#), None);
        assert_eq!(line(r#"{"code": 7}"#).as_deref(), Some(r#"{"code": 7}"#));
        assert_eq!(line("null"), None);
        let long = format!("\"{}\"", "x".repeat(500));
        assert_eq!(line(&long).unwrap().chars().count(), RESULT_SHOWN + 1);
    }
}

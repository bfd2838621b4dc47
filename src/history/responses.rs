//! The responses of a run.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, ClientNo, Serial};
use crate::run::Response;
use crate::store::page::{self, Row};
use crate::store::{Store, StoreError, key, records};

/// Pages after which one read stops.
pub const MAX_RESPONSES_PAGES: usize = 256;

/// Responses after which one read stops, at the end of a page.
pub const MAX_RESPONSES_COUNT: usize = 1_000;

/// Bytes of results after which one read stops, at the end of a page.
pub const MAX_RESPONSES_BYTES: usize = 1024 * 1024;

const WHAT: &str = "page of responses";

/// A part of a run's responses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponsePage {
    /// The responses, in the order in which they were recorded.
    pub responses: Vec<Response>,
    /// Where to read on. When it is the page that was asked for, there is nothing there, or
    /// nothing yet while the run is open.
    pub next_page: u32,
}

/// Responses of a run from a page on; the first page is 0. A run that is not known has none.
///
/// Gives whole pages, one at least where there is one, and stops after
/// [`MAX_RESPONSES_PAGES`], [`MAX_RESPONSES_COUNT`] or [`MAX_RESPONSES_BYTES`], whichever
/// comes first.
pub fn responses(
    store: &dyn Store,
    serial: Serial,
    from_page: u32,
) -> Result<ResponsePage, StoreError> {
    let mut responses = Vec::new();
    let mut next_page = from_page;
    let (mut pages, mut bytes) = (0, 0);
    for entry in records::pages(store, key::pages_from(serial, from_page)) {
        let (key, value) = entry?;
        let (page, part) = records::part_of(WHAT, &key, key::page_in)?;
        if part == 0 {
            let full = pages >= MAX_RESPONSES_PAGES
                || responses.len() >= MAX_RESPONSES_COUNT
                || bytes >= MAX_RESPONSES_BYTES;
            if full {
                break;
            }
            pages += 1;
        }
        next_page = page.saturating_add(1);
        for row in page::rows(&value).map_err(|problem| StoreError::corrupt(WHAT, &key, problem))? {
            let row = row.map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
            let outcome = records::outcome(store, serial, &key, &row)?;
            bytes += outcome.result.as_ref().map_or(0, |result| result.text().len());
            let client = name(store, row.client)?;
            let Row { at, attempt, retried, .. } = row;
            responses.push(Response { serial, client, at, attempt, retried, outcome });
        }
    }
    Ok(ResponsePage { responses, next_page })
}

/// What a client answered to a run; `None` when it has not, or when either is not known.
///
/// Reads the run's pages up to the one that has it.
pub fn response(
    store: &dyn Store,
    serial: Serial,
    client: &ClientId,
) -> Result<Option<Response>, StoreError> {
    let Some(no) = records::client_no(store, client)? else {
        return Ok(None);
    };
    for entry in records::pages(store, key::of_run(key::PAGE, serial)) {
        let (key, value) = entry?;
        for row in page::rows(&value).map_err(|problem| StoreError::corrupt(WHAT, &key, problem))? {
            let row = row.map_err(|problem| StoreError::corrupt(WHAT, &key, problem))?;
            if row.client == no && !row.retried {
                let outcome = records::outcome(store, serial, &key, &row)?;
                let client = client.clone();
                let Row { at, attempt, retried, .. } = row;
                return Ok(Some(Response { serial, client, at, attempt, retried, outcome }));
            }
        }
    }
    Ok(None)
}

fn name(store: &dyn Store, no: ClientNo) -> Result<ClientId, StoreError> {
    match records::client(store, no)? {
        Some(client) => Ok(client.id),
        None => Err(StoreError::corrupt("client", &key::client(no), "it is missing")),
    }
}

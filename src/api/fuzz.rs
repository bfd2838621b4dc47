//! Any bytes as what a request brings, for [`crate::fuzzing`].

use std::fmt::Debug;

use axum::extract::FromRequestParts as _;
use axum::http::{Request, Uri};
use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{ApiError, ErrorKind};
use super::extract::{Params, parse};
use super::message::{
    CalendarRequest, ClientRequest, GroupsChange, LabelsChange, LimitChange, PauseRequest,
    ResumeRequest,
};
use super::{forecast, history, past, runs, store};
use crate::fuzz::told;
use crate::{Backfill, JobSpec, PauseTerms, RunAgain, Submission, engine::Apply, id::JobName};

/// The query of each path that has one, with the first byte to say which.
pub(crate) fn query(data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    match which % 6 {
        0 => comes_back(text, |params| history::query(params, true, false)),
        1 => comes_back(text, |params| history::query(params, false, true)),
        2 => comes_back(text, runs::query),
        3 => comes_back(text, forecast::query),
        4 => comes_back(text, store::query),
        _ => {
            checked(text, past::query);
            checked(text, Params::page::<JobName>);
            checked(text, |params| params.take_with("wait", runs::parse_wait));
        }
    }
}

/// The JSON body of each path that has one, with the first byte to say which.
pub(crate) fn body(data: &[u8]) {
    const BODIES: &[fn(&[u8])] = &[
        of::<Submission>,
        of::<JobSpec>,
        of::<Apply>,
        of::<ClientRequest>,
        of::<GroupsChange>,
        of::<LabelsChange>,
        of::<LimitChange>,
        of::<PauseTerms>,
        of::<PauseRequest>,
        of::<ResumeRequest>,
        of::<RunAgain>,
        of::<Backfill>,
        of::<CalendarRequest>,
    ];
    let Some((which, json)) = data.split_first() else { return };
    BODIES[usize::from(*which) % BODIES.len()](json);
}

fn of<T: Serialize + DeserializeOwned>(json: &[u8]) {
    let read = match parse::<T>(json) {
        Ok(read) => read,
        Err(error) => {
            assert!(matches!(error.kind, ErrorKind::BadRequest | ErrorKind::Invalid));
            return drop(told(&error.message, json.len()));
        }
    };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    let again = match parse::<T>(&written) {
        Ok(again) => serde_json::to_vec(&again).expect("again"),
        Err(error) => panic!("{}: {}", error.message, String::from_utf8_lossy(&written)),
    };
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&written));
}

fn params(text: &str) -> Option<Params> {
    let uri: Uri = format!("/?{text}").parse().ok()?;
    let (mut parts, ()) = Request::builder().uri(uri).body(()).ok()?.into_parts();
    let read = Params::from_request_parts(&mut parts, &()).now_or_never();
    match read.expect("nothing is waited for") {
        Ok(params) => Some(params),
        Err(error) => {
            told(&error.message, text.len());
            None
        }
    }
}

/// Reads a query to its end, or tells what is wrong with it.
fn checked<T>(text: &str, read: impl Fn(&mut Params) -> Result<T, ApiError>) -> Option<T> {
    let mut params = params(text)?;
    let read = read(&mut params).and_then(|read| params.finish().map(|()| read));
    read.map_err(|error| {
        assert!(matches!(error.kind, ErrorKind::BadRequest | ErrorKind::Invalid));
        told(&error.message, text.len())
    })
    .ok()
}

/// A query that is read is one that the client of this library writes, and reads as the same.
fn comes_back<T: Serialize + PartialEq + Debug>(
    text: &str,
    read: impl Fn(&mut Params) -> Result<T, ApiError>,
) {
    let Some(query) = checked(text, &read) else { return };
    let value = serde_json::to_value(&query).expect("a query can be written");
    let mut url = reqwest::Url::parse("http://fleetcron/").expect("a constant URL");
    for (name, value) in value.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        url.query_pairs_mut().append_pair(name, &value);
    }
    let written = url.query().unwrap_or_default();
    assert_eq!(checked(written, read).as_ref(), Some(&query), "{written}");
}

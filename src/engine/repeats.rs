//! Submits that are made again give back the run of the first.
//!
//! Two ways lead to an earlier run: the caller's key, and the content for a submit that wants to be
//! unique for a time. Both are one table, stored with the run that they lead to, so that a crash
//! leaves either both or none. What has run out counts no more at once; it leaves memory and store
//! a little later, many together, so that each does not cost a commit of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::change::Change;
use super::core::Engine;
use super::effect::RequestError;
use crate::id::Serial;
use crate::idempotency::{
    Fingerprint, IDEMPOTENCY_WINDOW, IdempotencyKey, MAX_REPEATS, MAX_UNIQUE_WITHIN, Repeat,
    RepeatKey,
};
use crate::json::Json;
use crate::run::Submission;
use crate::time::{Timestamp, duration};

/// What has run out stays for so long, at most, so that it goes with others.
const GRAIN: Duration = Duration::from_secs(60);

/// Entries that one call of the deadline forgets, at most: one batch of the store.
const FORGOTTEN_AT_ONCE: usize = 128;

/// The submits that are remembered.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    known: BTreeMap<RepeatKey, Repeat>,
    by_end: BTreeSet<(Timestamp, RepeatKey)>,
    /// What is to be stored in the unit of a run.
    unsaved: BTreeMap<Serial, Vec<Change>>,
}

impl Repeats {
    pub(super) fn put(&mut self, repeat: Repeat) {
        let (until, key) = (repeat.until, repeat.key.clone());
        self.by_end.insert((until, key.clone()));
        if let Some(before) = self.known.insert(key, repeat)
            && before.until != until
        {
            self.by_end.remove(&(before.until, before.key));
        }
    }

    /// When something is to be forgotten.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(until, _)| until.plus(GRAIN))
    }

    /// What is to be stored with the runs.
    pub(super) fn unsaved(&mut self) -> BTreeMap<Serial, Vec<Change>> {
        std::mem::take(&mut self.unsaved)
    }

    fn get(&self, key: &RepeatKey, now: Timestamp) -> Option<&Repeat> {
        self.known.get(key).filter(|repeat| repeat.until > now)
    }
}

/// By what a submit is known, and known again.
pub(super) struct Sought {
    key: Option<IdempotencyKey>,
    same: Option<(Fingerprint, Duration)>,
    content: Fingerprint,
}

impl Sought {
    /// `None`: every submit is a run of its own.
    pub(super) fn of(submission: &Submission) -> Result<Option<Self>, RequestError> {
        let within = submission.unique_within;
        if let Some(within) = within.filter(|it| it.is_zero() || *it > MAX_UNIQUE_WITHIN) {
            let (within, most) = (duration::format(within), duration::format(MAX_UNIQUE_WITHIN));
            return Err(RequestError::Invalid(format!(
                "unique_within {within} is not valid: it is above 0 and at most {most}"
            )));
        }
        if submission.idempotency_key.is_none() && within.is_none() {
            return Ok(None);
        }
        let same = within.map(|within| (same(submission), within));
        let key = submission.idempotency_key.clone();
        Ok(Some(Self { key, same, content: content(submission)? }))
    }
}

/// Of command, target and parameters.
fn same(submission: &Submission) -> Fingerprint {
    let target = submission.target.to_string();
    let params = compact(submission.params.text());
    fingerprint(&[submission.command.as_str().as_bytes(), target.as_bytes(), &params])
}

/// Of all but the key.
fn content(submission: &Submission) -> Result<Fingerprint, RequestError> {
    let params = compact(submission.params.text());
    let bare = Submission { idempotency_key: None, params: Json::empty(), ..submission.clone() };
    let bare = serde_json::to_vec(&bare).map_err(|error| {
        RequestError::Invalid(format!("the submission cannot be written as JSON: {error}"))
    })?;
    Ok(fingerprint(&[&bare, &params]))
}

fn fingerprint(fields: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for field in fields {
        // Lengths first: no two lists of fields are the same bytes.
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    Fingerprint(hash.finalize().into())
}

/// JSON without the space between its parts.
fn compact(text: &str) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let mut kept = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if !quoted && byte.is_ascii_whitespace() {
            continue;
        }
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && byte == b'\\' && !escaped;
        kept.push(byte);
    }
    kept
}

impl Engine {
    /// The run that a submit gives back instead of a new one.
    pub(super) fn repeat_of(&mut self, sought: &Sought) -> Result<Option<Serial>, RequestError> {
        let now = self.now;
        if let Some(key) = &sought.key
            && let Some(first) = self.repeats.get(&RepeatKey::Key(key.clone()), now)
        {
            if first.content == sought.content {
                return Ok(Some(first.serial));
            }
            return Err(RequestError::Conflict(format!(
                "idempotency key {:?} was used for run {} with a different submission",
                key.as_str(),
                first.serial
            )));
        }
        let Some((same, within)) = sought.same else { return Ok(None) };
        let first = self.repeats.get(&RepeatKey::Same(same), now);
        let Some(first) = first.filter(|first| first.at.plus(within) > now) else {
            return Ok(None);
        };
        let serial = first.serial;
        if sought.key.is_some() {
            // The caller may ask again by its key alone.
            let by_key = Sought { key: sought.key.clone(), same: None, content: sought.content };
            self.make_room(&by_key)?;
            self.remember(by_key, serial);
        }
        Ok(Some(serial))
    }

    /// Refuses a submit that could not be remembered.
    pub(super) fn make_room(&mut self, sought: &Sought) -> Result<(), RequestError> {
        let key = sought.key.clone().map(RepeatKey::Key);
        let same = sought.same.map(|(same, _)| RepeatKey::Same(same));
        let new = [key, same].into_iter().flatten();
        let new = new.filter(|key| !self.repeats.known.contains_key(key)).count();
        if self.repeats.known.len() + new > MAX_REPEATS {
            self.forget_repeats();
        }
        match self.repeats.by_end.first() {
            Some((until, _)) if self.repeats.known.len() + new > MAX_REPEATS => {
                Err(RequestError::Limit(format!(
                    "{MAX_REPEATS} idempotency keys and unique submits are remembered, which is \
                     the most; the oldest is forgotten at {until}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Remembers a submit, in the unit of its run.
    pub(super) fn remember(&mut self, sought: Sought, serial: Serial) {
        let Sought { key, same, content } = sought;
        let at = self.now;
        let key = key.map(|key| (RepeatKey::Key(key), at.plus(IDEMPOTENCY_WINDOW)));
        let same = same.map(|(same, within)| {
            let key = RepeatKey::Same(same);
            let until = at.plus(within);
            // An earlier one may have asked for longer: who asks as it did finds this one.
            let longer = self.repeats.known.get(&key).map_or(until, |it| it.until.max(until));
            (key, longer)
        });
        for (key, until) in [key, same].into_iter().flatten() {
            let repeat = Repeat { key, serial, at, until, content };
            let change = Change::PutRepeat(Box::new(repeat.clone()));
            self.repeats.unsaved.entry(serial).or_default().push(change);
            self.repeats.put(repeat);
        }
    }

    /// Forgets what is due to be, a bounded part of it.
    pub(super) fn forget_repeats_due(&mut self) {
        if self.repeats.next_deadline().is_some_and(|at| at <= self.now) {
            self.forget_repeats();
        }
    }

    fn forget_repeats(&mut self) {
        let mut gone = Vec::new();
        while gone.len() < FORGOTTEN_AT_ONCE
            && let Some((until, _)) = self.repeats.by_end.first()
            && *until <= self.now
            && let Some((_, key)) = self.repeats.by_end.pop_first()
        {
            self.repeats.known.remove(&key);
            gone.push(Change::ForgetRepeat(key));
        }
        if !gone.is_empty() {
            // One of them may not be stored yet.
            self.close();
            self.store(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_between_the_parts_of_json_means_nothing_and_space_within_does() {
        let text = |json: &str| String::from_utf8(compact(json)).unwrap();
        assert_eq!(text("{ \"a b\" :\n [1, 2]\t}"), r#"{"a b":[1,2]}"#);
        assert_eq!(text(r#"{ "a\" b": "c\\" , "d": " " }"#), r#"{"a\" b":"c\\","d":" "}"#);
    }
}

//! Any bytes as recorded inputs, for [`crate::fuzzing`].

use super::{Moment, Recorder, Told, read};
use crate::engine::Input;
use crate::fuzz::told;

/// Times further than this from 1970, in milliseconds, are no engine's.
const FAR: i64 = 1 << 52;

/// The most bytes that one input may ask for.
const LARGEST: usize = 64 * 1024 * 1024;

/// Results of more bytes than this are not gathered.
const LARGE: usize = 64 * 1024;

/// The inputs of a commit. What is read whole is recorded as what reads as the same.
pub(crate) fn recording(data: &[u8]) {
    let Some(moments) = all(data) else { return };
    if moments.iter().any(|moment| moment.at.millis().unsigned_abs() > FAR.unsigned_abs()) {
        return;
    }
    let mut recorder = Recorder::default();
    let mut kept = Vec::new();
    for Moment { at, told } in moments {
        // It is not recorded.
        if matches!(&told, Told::Input(Input::Call { request, .. }) if request.is_question()) {
            continue;
        }
        match &told {
            Told::Restored(how) => recorder.restored(at, how),
            Told::Deadline => recorder.deadline(at),
            Told::Input(input) => recorder.input(at, input),
        }
        kept.push(format!("{at} {told:?}"));
    }
    let bytes = recorder.take();
    if kept.is_empty() {
        return assert!(bytes.is_empty());
    }
    let again = all(&bytes).expect("what was recorded can be read");
    let again: Vec<String> =
        again.into_iter().map(|Moment { at, told }| format!("{at} {told:?}")).collect();
    assert_eq!(again, kept);
}

/// The moments of good bytes; none of those with large results, which take their time.
fn all(bytes: &[u8]) -> Option<Vec<Moment>> {
    let mut moments = Vec::new();
    let mut large = 0;
    let recorded = read(bytes).map_err(|damaged| told(&damaged, bytes.len())).ok()?;
    for moment in recorded {
        let moment = moment.map_err(|damaged| told(&damaged, bytes.len())).ok()?;
        if let Told::Input(Input::Responded { outcome, .. }) = &moment.told {
            let length = outcome.result.as_ref().map_or(0, |result| result.text().len());
            assert!(length <= LARGEST, "{length} bytes for a few");
            large += length;
        }
        if large > LARGE {
            return None;
        }
        moments.push(moment);
    }
    Some(moments)
}

//! Keys of what retention and statistics keep beside the history.

use std::ops::Range;

use super::{DERIVED, META, of, under};
use crate::id::{JobId, Serial};
use crate::statistics::{Slot, Span, Subject};

/// The key that is there once every ended run is listed by its job.
#[must_use]
pub fn ended_runs_listed() -> Vec<u8> {
    of(META, &[b"ended runs"])
}

/// The key that is there while not every standing of a job has its head.
#[must_use]
pub fn standings_without_heads() -> Vec<u8> {
    of(META, &[b"standings without heads"])
}

const FORGETTING: &[u8] = b"forgetting ";

/// The key of a run of which a part is forgotten.
#[must_use]
pub fn forgetting(serial: Serial) -> Vec<u8> {
    of(META, &[FORGETTING, &serial.to_bytes()])
}

/// Every run of which a part is forgotten.
#[must_use]
pub fn all_forgetting() -> Range<Vec<u8>> {
    under(of(META, &[FORGETTING]))
}

/// The serial in a key of a run of which a part is forgotten.
#[must_use]
pub fn forgetting_in(key: &[u8]) -> Option<Serial> {
    Some(Serial::from_bytes(key.get(1 + FORGETTING.len()..)?.try_into().ok()?))
}

/// What stands for the job of a run that has none.
const NO_JOB: [u8; 16] = [0; 16];

const ENDED: u8 = 0;

/// The key of an ended run among those of its job; `None`: those of no job.
#[must_use]
pub fn ended(job: Option<JobId>, serial: Serial) -> Vec<u8> {
    of(DERIVED, &[&[ENDED], &job.map_or(NO_JOB, JobId::to_bytes), &serial.to_bytes()])
}

/// Every ended run of a job; `None`: those of no job.
#[must_use]
pub fn ended_of(job: Option<JobId>) -> Range<Vec<u8>> {
    under(of(DERIVED, &[&[ENDED], &job.map_or(NO_JOB, JobId::to_bytes)]))
}

/// Every ended run.
#[must_use]
pub fn all_ended() -> Range<Vec<u8>> {
    under(of(DERIVED, &[&[ENDED]]))
}

/// Job and serial in a key of an ended run.
#[must_use]
pub fn ended_in(key: &[u8]) -> Option<(Option<JobId>, Serial)> {
    let job: [u8; 16] = key.get(2..18)?.try_into().ok()?;
    let serial = Serial::from_bytes(key.get(18..)?.try_into().ok()?);
    Some(((job != NO_JOB).then(|| JobId::from_bytes(job)), serial))
}

/// The key of where the statistics are.
#[must_use]
pub fn counted() -> Vec<u8> {
    of(META, &[b"statistics"])
}

/// The key of a record of statistics.
#[must_use]
pub fn statistics(slot: Slot) -> Vec<u8> {
    let (kind, span) = match (slot.subject, slot.span) {
        (Subject::Job(_), Span::Hour(hour)) => (1, hour),
        (Subject::Job(_), Span::Day(day)) => (2, day),
        (Subject::Clients(_), Span::Hour(hour)) => (3, hour),
        (Subject::Clients(_), Span::Day(day)) => (4, day),
    };
    let head = [DERIVED, kind];
    match slot.subject {
        Subject::Job(job) => [&head[..], &span.to_be_bytes(), &job.to_bytes()].concat(),
        Subject::Clients(page) => [&head[..], &span.to_be_bytes(), &page.to_be_bytes()].concat(),
    }
}

/// The records of statistics of hours before one, and of days before one.
#[must_use]
pub fn statistics_before(hour: u32, day: u32) -> [Range<Vec<u8>>; 4] {
    [(1, hour), (2, day), (3, hour), (4, day)].map(|(kind, span)| {
        let end = [&[DERIVED, kind][..], &span.to_be_bytes()].concat();
        vec![DERIVED, kind]..end
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_key_gives_back_what_it_was_made_of_and_is_in_its_range(
            time in 0_u64..1 << 48, low in 0_u128..1 << 80, other in any::<[u8; 16]>(),
        ) {
            let at = Timestamp::from_millis(i64::try_from(time).unwrap());
            let serial = Serial::from_parts(at, low);
            let job = JobId::from_bytes(serial.to_bytes());
            prop_assert_eq!(ended_in(&ended(None, serial)), Some((None, serial)));
            prop_assert_eq!(forgetting_in(&forgetting(serial)), Some(serial));
            prop_assert!(all_forgetting().contains(&forgetting(serial)));
            if time > 0 {
                prop_assert_eq!(ended_in(&ended(Some(job), serial)), Some((Some(job), serial)));
            }
            prop_assert!(ended_of(Some(job)).contains(&ended(Some(job), serial)));
            let other = JobId::from_bytes(other);
            let within = ended_of(Some(job)).contains(&ended(Some(other), serial));
            prop_assert_eq!(within, job == other);
            prop_assert!(all_ended().contains(&ended(Some(other), serial)));
        }

        #[test]
        fn reading_any_key_never_panics(key in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (ended_in(&key), forgetting_in(&key));
        }
    }

    #[test]
    fn a_range_holds_the_statistics_of_earlier_spans_and_no_others() {
        let job = Subject::Job(JobId::from_bytes([0xff; 16]));
        let clients = Subject::Clients(u32::MAX);
        let earlier = |slot| {
            let key = statistics(slot);
            statistics_before(7, 3).iter().filter(|range| range.contains(&key)).count()
        };
        for subject in [job, clients] {
            for (span, ranges) in
                [(Span::Hour(6), 1), (Span::Hour(7), 0), (Span::Day(2), 1), (Span::Day(3), 0)]
            {
                assert_eq!(earlier(Slot { span, subject }), ranges, "{span:?} {subject:?}");
            }
        }
        let serial = Serial::from_bytes([0; 16]);
        let listed = ended(None, serial);
        assert!(statistics_before(u32::MAX, u32::MAX).iter().all(|range| !range.contains(&listed)));
    }
}

//! The index against ordered maps of the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

use proptest::prelude::*;

use super::{JobIndex, Slots};
use crate::id::JobId;
use crate::time::Timestamp;

/// What the index replaces.
#[derive(Debug, Default)]
struct Maps {
    jobs: BTreeMap<JobId, (String, Option<Timestamp>)>,
}

impl Maps {
    fn names(&self) -> BTreeMap<&str, JobId> {
        self.jobs.iter().map(|(id, (name, _))| (name.as_str(), *id)).collect()
    }

    fn due(&self) -> BTreeSet<(Timestamp, JobId)> {
        self.jobs.iter().filter_map(|(id, (_, due))| Some(((*due)?, *id))).collect()
    }
}

fn id(number: u16) -> JobId {
    // Not in the order of the numbers.
    JobId::from_parts(at(u64::from(number % 7)), u128::from(number))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(millis).unwrap())
}

/// Of lengths from 1 to the longest.
fn name(number: u16, turn: u8) -> String {
    let length = usize::from(number) * 31 % 120;
    format!("{}{number}.{turn}", "x".repeat(length))
}

#[derive(Debug, Clone)]
enum Step {
    Put(u16, u8, Option<u64>),
    SetDue(u16, Option<u64>),
    Remove(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let due = || prop::option::of(0..50_u64);
    let step = prop_oneof![
        4 => (0..1_500_u16, 0..2_u8, due()).prop_map(|(job, turn, due)| Step::Put(job, turn, due)),
        2 => (0..1_500_u16, due()).prop_map(|(job, due)| Step::SetDue(job, due)),
        3 => (0..1_500_u16).prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..3_000)
}

fn assert_same(index: &JobIndex, maps: &Maps) {
    let (names, due) = (maps.names(), maps.due());
    assert_eq!(index.len(), maps.jobs.len());
    assert_eq!(index.active(), due.len());
    assert_eq!(index.next_due(), due.first().map(|(at, _)| *at));
    assert!(index.from(Unbounded).eq(names.iter().map(|(name, id)| (*name, *id))));
    for sought in ["", "x", "xxxxxxxxxxxx", "5", "zz", name(77, 0).as_str()] {
        for bound in [Included(sought), Excluded(sought)] {
            let expected = names.range::<str, _>((bound, Unbounded));
            assert!(index.from(bound).eq(expected.map(|(name, id)| (*name, *id))), "{bound:?}");
        }
    }
    for now in [0, 7, 25, 60].map(at) {
        let expected = due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id);
        assert!(index.due(now).eq(expected));
    }
    for number in 0..1_500 {
        assert_eq!(index.contains(id(number)), maps.jobs.contains_key(&id(number)));
        for turn in 0..2 {
            let name = name(number, turn);
            assert_eq!(index.find(&name), names.get(name.as_str()).copied());
        }
    }
}

fn take(index: &mut JobIndex, maps: &mut Maps, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Put(job, turn, due) => {
                let due = due.map(at);
                index.put(id(job), &name(job, turn), due);
                maps.jobs.insert(id(job), (name(job, turn), due));
            }
            Step::SetDue(job, due) => {
                index.set_due(id(job), due.map(at));
                if let Some(entry) = maps.jobs.get_mut(&id(job)) {
                    entry.1 = due.map(at);
                }
            }
            Step::Remove(job) => {
                assert_eq!(index.remove(id(job)), maps.jobs.remove(&id(job)).is_some());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_is_as_ordered_maps_are(
        stored in prop::collection::btree_map(0..1_500_u16, prop::option::of(0..50_u64), 0..1_500),
        first in prop::collection::btree_set(1_500..1_510_u16, 0..10),
        steps in steps(),
    ) {
        let (mut index, mut maps) = (JobIndex::default(), Maps::default());
        for job in first {
            index.put(id(job), &name(job, 0), None);
            maps.jobs.insert(id(job), (name(job, 0), None));
        }
        let mut slots = Slots::default();
        for (job, due) in stored {
            slots.add(id(job), &name(job, 0), due.map(at));
            maps.jobs.insert(id(job), (name(job, 0), due.map(at)));
        }
        index.restore(slots);
        assert_same(&index, &maps);
        take(&mut index, &mut maps, steps);
        assert_same(&index, &maps);
    }
}

#[test]
fn all_may_come_and_go() {
    let (mut index, mut maps) = (JobIndex::default(), Maps::default());
    for round in 0..3_u64 {
        let put = |job: u16| Step::Put(job, 0, Some(round * 1_000 + u64::from(job)));
        take(&mut index, &mut maps, (0..1_500).rev().map(put).collect());
        assert_same(&index, &maps);
        take(&mut index, &mut maps, (0..1_500).map(Step::Remove).collect());
        assert_eq!((index.len(), index.active(), index.next_due()), (0, 0, None));
    }
}

#[test]
fn a_name_that_another_job_has_taken_stays_its_own() {
    let mut index = JobIndex::default();
    index.put(id(1), "a", None);
    index.put(id(2), "a", None);
    assert!(index.remove(id(1)));
    assert_eq!(index.find("a"), Some(id(2)));
}

/// Jobs read from both ends, which may have met within what both have read.
#[test]
fn what_was_read_from_both_ends_is_there_once() {
    let job = |number: u16| {
        let id = JobId::from_parts(at(u64::from(number)), 1);
        (id, name(number, 0), (!number.is_multiple_of(3)).then(|| at(u64::from(number))))
    };
    let add = |slots: &mut Slots, number| {
        let (id, name, due) = job(number);
        slots.add(id, &name, due);
    };
    for all in [0_u16, 1, 255, 256, 257, 700, 1_024, 1_500] {
        for met in
            [0, 1, all / 2, all.saturating_sub(256), all].into_iter().filter(|met| *met <= all)
        {
            for overlap in [0, 1, 128, 256, 300] {
                let (mut up, mut down) = (Slots::default(), Slots::default());
                (0..met).for_each(|number| add(&mut up, number));
                let begin = met.saturating_sub(overlap);
                (begin..all).rev().for_each(|number| add(&mut down, number));
                let after = met.checked_sub(1).map_or(JobId::from_bytes([0; 16]), |it| job(it).0);
                up.append(down, after);
                let (mut index, mut maps) = (JobIndex::default(), Maps::default());
                index.restore(up);
                (0..all).for_each(|number| {
                    let (id, name, due) = job(number);
                    maps.jobs.insert(id, (name, due));
                });
                assert_eq!(index.len(), maps.jobs.len(), "{all} {met} {overlap}");
                let names = maps.names();
                let expected = names.iter().map(|(name, id)| (*name, *id));
                assert!(index.from(Unbounded).eq(expected), "{all} {met} {overlap}");
                let due = maps.due();
                assert!(index.due(at(2_000)).eq(due.iter().map(|(_, id)| *id)));
            }
        }
    }
}

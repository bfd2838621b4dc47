//! What a connection has been sent and what waits for it, in flat lists.
//!
//! Most connections have one command at a time or none: a list of one takes a tenth of the memory
//! of a tree of one, and there can be a million of them. What is new has the highest serial nearly
//! always, so that lists grow at their end.

use std::collections::VecDeque;

use crate::id::Serial;
use crate::policy::Priority;
use crate::time::Timestamp;

/// A delivery that was sent over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    serial: Serial,
    /// Until when the client must have taken it; [`Timestamp::MAX`]: it has.
    accept_by: Timestamp,
    /// Which attempt.
    pub(super) attempt: u32,
}

impl InFlight {
    /// Until when the client must have taken it; `None`: it has.
    pub(super) fn accept_by(&self) -> Option<Timestamp> {
        (self.accept_by != Timestamp::MAX).then_some(self.accept_by)
    }

    /// The client has taken it; tells whether it had not.
    pub(super) fn take(&mut self) -> bool {
        std::mem::replace(&mut self.accept_by, Timestamp::MAX) != Timestamp::MAX
    }
}

/// The deliveries that were sent over a connection, in serial order.
#[derive(Debug, Default)]
pub(super) struct Sent(Vec<InFlight>);

impl Sent {
    fn place(&self, serial: Serial) -> Result<usize, usize> {
        if self.0.last().is_none_or(|last| last.serial < serial) {
            return Err(self.0.len());
        }
        self.0.binary_search_by_key(&serial, |sent| sent.serial)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, serial: Serial) -> bool {
        self.place(serial).is_ok()
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&InFlight> {
        self.place(serial).ok().map(|at| &self.0[at])
    }

    pub(super) fn get_mut(&mut self, serial: Serial) -> Option<&mut InFlight> {
        self.place(serial).ok().map(|at| &mut self.0[at])
    }

    /// Puts a delivery, in place of an earlier attempt if there is one; `accept_by` as in
    /// [`InFlight::accept_by`].
    pub(super) fn put(&mut self, serial: Serial, attempt: u32, accept_by: Option<Timestamp>) {
        let sent = InFlight { serial, attempt, accept_by: accept_by.unwrap_or(Timestamp::MAX) };
        match self.place(serial) {
            Ok(at) => self.0[at] = sent,
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, sent);
            }
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<InFlight> {
        self.place(serial).ok().map(|at| self.0.remove(at))
    }

    /// Those that the client has not taken, in order.
    pub(super) fn untaken(&self) -> impl Iterator<Item = Serial> {
        self.iter().filter(|(_, sent)| sent.accept_by().is_some()).map(|(serial, _)| serial)
    }

    /// All of them with their serials, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Serial, &InFlight)> {
        self.0.iter().map(|sent| (sent.serial, sent))
    }
}

/// The deliveries that wait for a connection's window: the highest class first, then the lowest
/// serial.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(Priority, Serial)>);

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn first(&self) -> Option<(Priority, Serial)> {
        self.0.front().copied()
    }

    pub(super) fn pop_first(&mut self) -> Option<(Priority, Serial)> {
        let first = self.0.pop_front();
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        first
    }

    pub(super) fn insert(&mut self, class: Priority, serial: Serial) {
        let one = (class, serial);
        if self.0.back().is_none_or(|last| *last < one) {
            self.0.push_back(one);
        } else if let Err(at) = self.0.binary_search(&one) {
            self.0.insert(at, one);
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) {
        if self.0.is_empty() {
            return;
        }
        for class in Priority::ALL {
            if let Ok(at) = self.0.binary_search(&(class, serial)) {
                self.0.remove(at);
            }
        }
    }

    /// The highest serial.
    pub(super) fn highest(&self) -> Option<Serial> {
        self.0.iter().map(|(_, serial)| *serial).max()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn serial(n: u8) -> Serial {
        Serial::from_bytes([n; 16])
    }

    proptest! {
        #[test]
        fn the_lists_do_what_trees_do(
            steps in proptest::collection::vec((0_u8..5, 0_u8..20, 0_usize..3), 0..200),
        ) {
            let (mut sent, mut map) = (Sent::default(), BTreeMap::new());
            let (mut waiting, mut set) = (Waiting::default(), BTreeSet::new());
            for (step, n, class) in steps {
                let (serial, class) = (serial(n), Priority::ALL[class % Priority::ALL.len()]);
                match step {
                    0 => {
                        let by = (n % 2 == 0).then(|| Timestamp::from_millis(n.into()));
                        sent.put(serial, n.into(), by);
                        map.insert(serial, (u32::from(n), by));
                        waiting.insert(class, serial);
                        set.insert((class, serial));
                    }
                    1 => {
                        let removed = sent.remove(serial).map(|it| (it.attempt, it.accept_by()));
                        prop_assert_eq!(removed, map.remove(&serial));
                        waiting.remove(serial);
                        set.retain(|(_, other)| *other != serial);
                    }
                    2 => prop_assert_eq!(waiting.pop_first(), set.pop_first()),
                    3 => {
                        let was = map.get_mut(&serial).is_some_and(|it| it.1.take().is_some());
                        prop_assert_eq!(sent.get_mut(serial).is_some_and(InFlight::take), was);
                    }
                    _ => prop_assert_eq!(sent.contains(serial), map.contains_key(&serial)),
                }
                let all: Vec<_> = sent.iter().map(|(no, it)| (no, (it.attempt, it.accept_by()))).collect();
                prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!((sent.len(), waiting.len()), (map.len(), set.len()));
                prop_assert_eq!(waiting.first(), set.first().copied());
                prop_assert_eq!(waiting.highest(), set.iter().map(|(_, serial)| *serial).max());
            }
        }
    }

    #[test]
    fn one_that_was_sent_takes_32_bytes() {
        assert_eq!(size_of::<InFlight>(), 32);
    }
}

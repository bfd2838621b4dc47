//! The memory of one rollout: its order, its places and its rate.
//!
//! Promises: the order is the same whenever it is made from the same clients; what has been
//! released is a beginning of it.

use roaring::RoaringBitmap;

use super::spread;
use crate::id::{ClientId, ClientNo, JobId};
use crate::rollout::{Decimal, RolloutState, Tally};
use crate::run::DeliveryState;
use crate::time::Timestamp;

/// What one start costs of a rate's credit. A rate in thousandths a second earns so many
/// millionths in a millisecond.
const START: u64 = 1_000_000;

/// Starts that are nearer to each other than this go together, so that a high rate does not wake
/// the engine for each.
const GRAIN_MS: u64 = 20;

/// For how long unused credit is kept: an engine that wakes late may make up for so much.
const KEPT_MS: u64 = 100;

/// A rollout under way.
#[derive(Debug)]
pub(super) struct Rolling {
    /// Every client of the run, in the rollout's order.
    order: Vec<u32>,
    /// Those that have had their turn: the beginning of the order.
    pub(super) released: RoaringBitmap,
    /// Those of the wave at hand.
    wave: RoaringBitmap,
    /// Those that hold a place: what they were given is under way.
    pub(super) placed: RoaringBitmap,
    /// Those whose moment, by spread or after a failed attempt, is still to come.
    pub(super) later: RoaringBitmap,
    succeeded: RoaringBitmap,
    /// Those that count neither for their wave nor against it.
    left_out: RoaringBitmap,
    /// The job whose earlier runs go first, client by client.
    pub(super) behind: Option<JobId>,
    pub(super) bucket: Bucket,
    /// When it wants to be looked at.
    pub(super) wake: Option<Timestamp>,
    /// After a start: when clients have had their time to say what they run.
    pub(super) settles_at: Option<Timestamp>,
    /// Since when ends are counted for the pace, and how many there were.
    pub(super) pace: (Timestamp, u32),
}

impl Rolling {
    /// A rollout to these clients, of which so many have had their turn.
    pub(super) fn new(
        order: Vec<u32>,
        released: u32,
        bucket: Bucket,
        pace: (Timestamp, u32),
    ) -> Self {
        let had_turn = order.iter().take(released as usize).copied().collect();
        Self {
            order,
            released: had_turn,
            wave: RoaringBitmap::new(),
            placed: RoaringBitmap::new(),
            later: RoaringBitmap::new(),
            succeeded: RoaringBitmap::new(),
            left_out: RoaringBitmap::new(),
            behind: None,
            bucket,
            wake: None,
            settles_at: None,
            pace,
        }
    }

    /// How many have had their turn.
    pub(super) fn turns(&self) -> usize {
        // Each client is in the order once, and no set has more than the order.
        usize::try_from(self.released.len()).unwrap_or(usize::MAX)
    }

    /// The next to have its turn, of the first so many.
    pub(super) fn next(&self, end: u32) -> Option<u32> {
        let turn = self.turns();
        self.order.get(turn).copied().filter(|_| turn < end as usize)
    }

    /// Notes which wave is at hand: from one place of the order to another.
    pub(super) fn set_wave(&mut self, from: u32, to: u32) {
        let of_wave = self.order.get(from as usize..to as usize).unwrap_or_default();
        self.wave = of_wave.iter().copied().collect();
    }

    /// Notes how a delivery ended.
    pub(super) fn ended(&mut self, ClientNo(no): ClientNo, state: DeliveryState) {
        self.placed.remove(no);
        self.later.remove(no);
        if state == DeliveryState::Succeeded {
            self.succeeded.insert(no);
        } else if RolloutState::leaves_out(state) {
            self.left_out.insert(no);
        }
    }

    /// How the deliveries of the wave at hand stand.
    pub(super) fn tally(&self, open: &RoaringBitmap) -> Tally {
        Tally {
            counted: self.wave.len() - self.wave.intersection_len(&self.left_out),
            succeeded: self.wave.intersection_len(&self.succeeded),
            open: self.wave.intersection_len(open),
        }
    }

    /// Whether no client is in the wave at hand, left out or not.
    pub(super) fn wave_is_empty(&self) -> bool {
        self.wave.is_empty()
    }
}

/// The order of a rollout: by a hash of the client and of the job or run.
pub(super) fn order<'a>(
    seed: [u8; 16],
    clients: impl Iterator<Item = (u32, &'a ClientId)>,
) -> Vec<u32> {
    let mut hashed: Vec<(u64, u32)> =
        clients.map(|(no, id)| (spread::hash(&[&seed, id.as_str().as_bytes()]), no)).collect();
    hashed.sort_unstable();
    hashed.into_iter().map(|(_, no)| no).collect()
}

/// What a rate allows, as credit that grows with time: a token bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<Decimal>,
    credit: u64,
    at: Timestamp,
}

impl Bucket {
    /// A bucket that allows one start at once.
    pub(super) fn new(rate: Option<Decimal>, now: Timestamp) -> Self {
        Self { rate, credit: START, at: now }
    }

    /// A bucket after a start of the engine: what there was before it is not known.
    pub(super) fn empty(rate: Option<Decimal>, now: Timestamp) -> Self {
        Self { rate, credit: 0, at: now }
    }

    /// Adds what the time has earned, by the rate that held in it; from now on another may hold.
    pub(super) fn fill(&mut self, now: Timestamp, rate: Option<Decimal>) {
        if let Some(old) = self.rate {
            let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
            let earned = old.millis().saturating_mul(millis);
            let most = START.max(old.millis() * KEPT_MS);
            self.credit = self.credit.saturating_add(earned).min(most);
        }
        self.at = now;
        self.rate = rate;
    }

    /// Whether one may start now.
    pub(super) fn has_one(&self) -> bool {
        self.rate.is_none() || self.credit >= START
    }

    /// Notes that one has started.
    pub(super) fn take(&mut self) {
        self.credit = self.credit.saturating_sub(START);
    }

    /// When the next may start, or a few that are near to each other.
    pub(super) fn ready_at(&self) -> Option<Timestamp> {
        let rate = self.rate?.millis();
        let wanted = START.max(rate * GRAIN_MS).saturating_sub(self.credit);
        Some(self.at.plus(std::time::Duration::from_millis(wanted.div_ceil(rate))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(rate: &str, seconds: i64) -> usize {
        let mut now = Timestamp::from_millis(0);
        let rate: Option<Decimal> = Some(rate.parse().unwrap());
        let mut bucket = Bucket::new(rate, now);
        let mut starts = 0;
        while now <= Timestamp::from_millis(seconds * 1_000) {
            bucket.fill(now, rate);
            while bucket.has_one() {
                bucket.take();
                starts += 1;
            }
            let next = bucket.ready_at().unwrap();
            assert!(next > now, "it would never sleep");
            now = next;
        }
        starts
    }

    #[test]
    fn a_rate_is_kept_over_time_and_has_no_burst() {
        assert_eq!(starts("1", 10), 11);
        assert_eq!(starts("0.5", 10), 6);
        assert_eq!(starts("0.001", 10), 1);
        assert!((999..=1_002).contains(&starts("100", 10)), "{}", starts("100", 10));
        assert!((99_000..=102_001).contains(&starts("10000", 10)), "{}", starts("10000", 10));
    }

    #[test]
    fn a_rate_that_rises_does_not_pay_for_the_time_before() {
        let mut bucket = Bucket::empty(Some("1".parse().unwrap()), Timestamp::from_millis(0));
        let fast = Some("1000".parse().unwrap());
        bucket.fill(Timestamp::from_millis(100), fast);
        assert!(!bucket.has_one(), "a tenth");
        bucket.fill(Timestamp::from_millis(101), fast);
        assert!(bucket.has_one());
    }

    #[test]
    fn the_order_depends_on_the_seed_and_not_on_how_the_clients_come() {
        let ids: Vec<ClientId> = (0..50).map(|n| format!("c{n}").parse().unwrap()).collect();
        let clients = || (0_u32..).zip(&ids);
        let one = order([1; 16], clients());
        assert_eq!(order([1; 16], clients().collect::<Vec<_>>().into_iter().rev()), one);
        assert_ne!(order([2; 16], clients()), one);
        let mut all = one;
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}

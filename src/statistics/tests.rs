//! Statistics add up, and come back as they were written.

use proptest::prelude::*;

use super::*;

/// Something that is counted.
#[derive(Debug, Clone)]
enum Happened {
    Fired(u64),
    Ended(u32, u32),
    Delivery(u8, u64, Option<u64>),
    Retried,
}

fn happened() -> impl Strategy<Value = Vec<Happened>> {
    let one = prop_oneof![
        (0_u64..100_000).prop_map(Happened::Fired),
        (0_u32..4, 0_u32..4).prop_map(|(total, succeeded)| Happened::Ended(total, succeeded)),
        (0_u8..12, 0_u64..1 << 40, proptest::option::of(0_u64..1 << 40))
            .prop_map(|(state, late, ran)| Happened::Delivery(state, late, ran)),
        Just(Happened::Retried),
    ];
    proptest::collection::vec(one, 0..100)
}

fn of(happened: &[Happened]) -> Statistics {
    let mut statistics = Statistics::default();
    for one in happened {
        match *one {
            Happened::Fired(late) => statistics.add_fired(Duration::from_millis(late)),
            Happened::Ended(total, succeeded) => {
                statistics.add_ended(&Counts { total, succeeded, ..Counts::default() });
            }
            Happened::Delivery(code, late, ran) => {
                let state = DeliveryState::from_code(code).unwrap();
                statistics.add_delivery(state, Duration::from_millis(late), ran);
            }
            Happened::Retried => statistics.retried += 1,
        }
    }
    statistics
}

proptest! {
    #[test]
    fn the_statistics_of_two_spans_are_those_of_both(a in happened(), b in happened()) {
        let mut sum = of(&a);
        sum.merge(&of(&b));
        prop_assert_eq!(sum, of(&[a, b].concat()));
    }

    #[test]
    fn what_was_written_comes_back(
        clients in proptest::collection::btree_map(0_u8..16, happened(), 0..5), until in any::<u64>(),
    ) {
        let of = clients.into_iter().map(|(place, happened)| (place, of(&happened))).collect();
        let record = Record { until, of };
        prop_assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
    }

    #[test]
    fn reading_any_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = (Record::from_bytes(&bytes), Statistics::from_bytes(&bytes));
    }
}

#[test]
fn the_largest_record_is_a_value_of_the_store() {
    let mut most = Statistics::default();
    for doubling in 0..34 {
        for step in 0..8 {
            let time = (8_u64 + step) << doubling >> 3;
            most.add_delivery(DeliveryState::Failed, Duration::from_millis(time), Some(time));
        }
    }
    for _ in 0..28 {
        // Each bucket comes to 2²⁸ times: more deliveries than one client has in a day.
        most.merge(&most.clone());
    }
    let of = (0..16).map(|place| (place, most.clone())).collect();
    let size = Record { until: u64::MAX, of }.to_bytes().len();
    assert!(size < 60 * 1024, "{size}");
}

#[test]
fn spans_are_hours_and_days_in_utc() {
    let at: Timestamp = "2026-11-22T06:59:59.999Z".parse().unwrap();
    assert_eq!(Span::Hour(Span::hour_of(at)).begin(), "2026-11-22T06:00:00Z".parse().unwrap());
    assert_eq!(Span::Day(Span::day_of(at)).begin(), "2026-11-22T00:00:00Z".parse().unwrap());
}

#[test]
fn a_period_tells_shares_and_times() {
    let mut statistics = Statistics::default();
    for n in 0..100 {
        let state = if n < 75 { DeliveryState::Succeeded } else { DeliveryState::Failed };
        statistics.add_delivery(state, Duration::from_millis(n), Some(7));
    }
    let period = Period::of(Timestamp::from_millis(0), &statistics, false);
    assert_eq!((period.deliveries, period.success_rate), (100, Some(0.75)));
    assert_eq!(period.states[&DeliveryState::Failed], 25);
    let ran = period.times.ran_ms.unwrap();
    assert_eq!((ran.p50, ran.p99, ran.max), (7, 7, 7));
    assert_eq!(period.times.recorded_late_ms.unwrap().max, 99);
    assert_eq!(period.runs, None);
}

//! The examples of RFC 5545, section 3.8.5.3, as far as they are of a day and more: what is
//! written there is expected here. All begin in New York, where clocks change.

use super::*;
use crate::schedule::RRule;

const ZONE: &str = "America/New_York";

/// Local times from the beginning on, as `1997-09-02` or `1997-09-02 10:00` (default 09:00); with
/// `…` at the end the rule goes on, else it has ended.
fn assert_example(rrule: &str, from: &str, expected: &str) {
    let recurring = RRule::new(rrule, from, ZONE).unwrap_or_else(|error| panic!("{error}"));
    let goes_on = expected.ends_with('…');
    let expected: Vec<String> = expected
        .trim_end_matches('…')
        .split(',')
        .map(str::trim)
        .filter(|at| !at.is_empty())
        .map(|at| if at.len() == 10 { format!("{at} 09:00") } else { at.to_owned() })
        .collect();
    let mut after = Timestamp::MIN;
    let found = std::iter::from_fn(|| {
        after = recurring.next_after(after)?;
        let local = after.to_chrono()?.with_timezone(&chrono_tz::America::New_York);
        Some(local.format("%Y-%m-%d %H:%M").to_string())
    });
    let found: Vec<String> = found.take(expected.len() + 1).collect();
    assert_eq!(found[..expected.len().min(found.len())], expected, "{rrule} from {from}");
    assert_eq!(found.len() > expected.len(), goes_on, "{rrule} from {from}: {found:?}");
}

/// Days of a month: `1997-09: 2 4 9`.
fn month(year_month: &str, days: &[u32]) -> String {
    days.iter().map(|day| format!("{year_month}-{day:02}")).collect::<Vec<_>>().join(",")
}

fn months(months: &[(&str, &[u32])]) -> String {
    months.iter().map(|(name, days)| month(name, days)).collect::<Vec<_>>().join(",")
}

#[test]
fn daily() {
    let from = "1997-09-02T09:00";
    assert_example(
        "RRULE:FREQ=DAILY;COUNT=10",
        from,
        &month("1997-09", &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    );
    let recurring = RRule::new("FREQ=DAILY;UNTIL=19971224T000000Z", from, ZONE).unwrap();
    assert_eq!(recurring.next_after(at("1997-12-22T14:00Z")), Some(at("1997-12-23T14:00Z")));
    assert_eq!(recurring.next_after(at("1997-12-23T14:00Z")), None);
    assert_example(
        "FREQ=DAILY;INTERVAL=2",
        from,
        &(month("1997-09", &[2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30])
            + ",1997-10-02…"),
    );
    assert_example(
        "FREQ=DAILY;INTERVAL=10;COUNT=5",
        from,
        &months(&[("1997-09", &[2, 12, 22]), ("1997-10", &[2, 12])]),
    );
    for january in [
        "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA",
        "FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1",
    ] {
        let all: Vec<u32> = (1..=31).collect();
        let expected = months(&[("1998-01", &all), ("1999-01", &all), ("2000-01", &all)]);
        assert_example(january, "1998-01-01T09:00", &expected);
    }
}

#[test]
fn weekly() {
    let from = "1997-09-02T09:00";
    let ten =
        [("1997-09", &[2, 9, 16, 23, 30][..]), ("1997-10", &[7, 14, 21, 28]), ("1997-11", &[4])];
    assert_example("FREQ=WEEKLY;COUNT=10", from, &months(&ten));
    let recurring = RRule::new("FREQ=WEEKLY;UNTIL=19971224T000000Z", from, ZONE).unwrap();
    assert_eq!(recurring.next_after(at("1997-12-16T14:00Z")), Some(at("1997-12-23T14:00Z")));
    assert_eq!(recurring.next_after(at("1997-12-23T14:00Z")), None);
    assert_example(
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU",
        from,
        &(months(&[("1997-09", &[2, 16, 30]), ("1997-10", &[14, 28]), ("1997-11", &[11, 25])])
            + "…"),
    );
    let five = months(&[("1997-09", &[2, 4, 9, 11, 16, 18, 23, 25, 30]), ("1997-10", &[2])]);
    assert_example("FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH", from, &five);
    assert_example("FREQ=WEEKLY;COUNT=10;WKST=SU;BYDAY=TU,TH", from, &five);
    assert_example(
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        "1997-09-01T09:00",
        &months(&[
            ("1997-09", &[1, 3, 5, 15, 17, 19, 29]),
            ("1997-10", &[1, 3, 13, 15, 17, 27, 29, 31]),
            ("1997-11", &[10, 12, 14, 24, 26, 28]),
            ("1997-12", &[8, 10, 12, 22]),
        ]),
    );
    assert_example(
        "FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH",
        from,
        &months(&[("1997-09", &[2, 4, 16, 18, 30]), ("1997-10", &[2, 14, 16])]),
    );
    assert_example(
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO",
        "1997-08-05T09:00",
        &month("1997-08", &[5, 10, 19, 24]),
    );
    assert_example(
        "FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU",
        "1997-08-05T09:00",
        &month("1997-08", &[5, 17, 19, 31]),
    );
}

#[test]
fn monthly_by_weekday() {
    let firsts = "1997-09-05,1997-10-03,1997-11-07,1997-12-05";
    assert_example(
        "FREQ=MONTHLY;COUNT=10;BYDAY=1FR",
        "1997-09-05T09:00",
        &(firsts.to_owned() + ",1998-01-02,1998-02-06,1998-03-06,1998-04-03,1998-05-01,1998-06-05"),
    );
    assert_example("FREQ=MONTHLY;UNTIL=19971224T000000Z;BYDAY=1FR", "1997-09-05T09:00", firsts);
    assert_example(
        "FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU",
        "1997-09-07T09:00",
        &months(&[
            ("1997-09", &[7, 28]),
            ("1997-11", &[2, 30]),
            ("1998-01", &[4, 25]),
            ("1998-03", &[1, 29]),
            ("1998-05", &[3, 31]),
        ]),
    );
    assert_example(
        "FREQ=MONTHLY;COUNT=6;BYDAY=-2MO",
        "1997-09-22T09:00",
        "1997-09-22,1997-10-20,1997-11-17,1997-12-22,1998-01-19,1998-02-16",
    );
    let tuesdays = months(&[
        ("1997-09", &[2, 9, 16, 23, 30]),
        ("1997-11", &[4, 11, 18, 25]),
        ("1998-01", &[6, 13, 20, 27]),
        ("1998-03", &[3, 10, 17, 24, 31]),
    ]);
    assert_example("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", "1997-09-02T09:00", &(tuesdays + "…"));
    // The example there leaves out its own beginning by an EXDATE; it is no match here.
    assert_example(
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        "1997-09-02T09:00",
        "1998-02-13,1998-03-13,1998-11-13,1999-08-13,2000-10-13…",
    );
    assert_example(
        "FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13",
        "1997-09-13T09:00",
        "1997-09-13,1997-10-11,1997-11-08,1997-12-13,1998-01-10,1998-02-07,1998-03-07,\
         1998-04-11,1998-05-09,1998-06-13…",
    );
}

#[test]
fn monthly_by_day() {
    assert_example(
        "FREQ=MONTHLY;BYMONTHDAY=-3",
        "1997-09-28T09:00",
        "1997-09-28,1997-10-29,1997-11-28,1997-12-29,1998-01-29,1998-02-26…",
    );
    assert_example(
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15",
        "1997-09-02T09:00",
        &months(&[
            ("1997-09", &[2, 15]),
            ("1997-10", &[2, 15]),
            ("1997-11", &[2, 15]),
            ("1997-12", &[2, 15]),
            ("1998-01", &[2, 15]),
        ]),
    );
    assert_example(
        "FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1",
        "1997-09-30T09:00",
        "1997-09-30,1997-10-01,1997-10-31,1997-11-01,1997-11-30,1997-12-01,1997-12-31,\
         1998-01-01,1998-01-31,1998-02-01",
    );
    assert_example(
        "FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15",
        "1997-09-10T09:00",
        &months(&[("1997-09", &[10, 11, 12, 13, 14, 15]), ("1999-03", &[10, 11, 12, 13])]),
    );
    assert_example(
        "FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5",
        "2007-01-15T09:00",
        "2007-01-15,2007-01-30,2007-02-15,2007-03-15,2007-03-30",
    );
    assert_example(
        "FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3",
        "1997-09-04T09:00",
        "1997-09-04,1997-10-07,1997-11-06",
    );
    assert_example(
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2",
        "1997-09-29T09:00",
        "1997-09-29,1997-10-30,1997-11-27,1997-12-30,1998-01-29,1998-02-26,1998-03-30…",
    );
}

#[test]
fn yearly() {
    assert_example(
        "FREQ=YEARLY;COUNT=10;BYMONTH=6,7",
        "1997-06-10T09:00",
        "1997-06-10,1997-07-10,1998-06-10,1998-07-10,1999-06-10,1999-07-10,2000-06-10,\
         2000-07-10,2001-06-10,2001-07-10",
    );
    assert_example(
        "FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3",
        "1997-03-10T09:00",
        "1997-03-10,1999-01-10,1999-02-10,1999-03-10,2001-01-10,2001-02-10,2001-03-10,\
         2003-01-10,2003-02-10,2003-03-10",
    );
    assert_example(
        "FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200",
        "1997-01-01T09:00",
        "1997-01-01,1997-04-10,1997-07-19,2000-01-01,2000-04-09,2000-07-18,2003-01-01,\
         2003-04-10,2003-07-19,2006-01-01",
    );
    assert_example(
        "FREQ=YEARLY;BYDAY=20MO",
        "1997-05-19T09:00",
        "1997-05-19,1998-05-18,1999-05-17…",
    );
    assert_example(
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "1997-05-12T09:00",
        "1997-05-12,1998-05-11,1999-05-17…",
    );
    assert_example(
        "FREQ=YEARLY;BYMONTH=3;BYDAY=TH",
        "1997-03-13T09:00",
        &(months(&[
            ("1997-03", &[13, 20, 27]),
            ("1998-03", &[5, 12, 19, 26]),
            ("1999-03", &[4, 11, 18, 25]),
        ]) + "…"),
    );
    assert_example(
        "FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8",
        "1997-06-05T09:00",
        &(months(&[
            ("1997-06", &[5, 12, 19, 26]),
            ("1997-07", &[3, 10, 17, 24, 31]),
            ("1997-08", &[7, 14, 21, 28]),
            ("1998-06", &[4, 11, 18, 25]),
        ]) + "…"),
    );
    assert_example(
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        "1996-11-05T09:00",
        "1996-11-05,2000-11-07,2004-11-02…",
    );
}

#[test]
fn every_twenty_minutes_of_a_working_day() {
    let rrule = "FREQ=DAILY;BYHOUR=9,10,11,12,13,14,15,16;BYMINUTE=0,20,40";
    let times = "1997-09-02 09:00,1997-09-02 09:20,1997-09-02 09:40,1997-09-02 10:00…";
    assert_example(rrule, "1997-09-02T09:00", times);
    let recurring = RRule::new(rrule, "1997-09-02T09:00", ZONE).unwrap();
    assert_eq!(recurring.next_after(at("1997-09-02T20:40Z")), Some(at("1997-09-03T13:00Z")));
}

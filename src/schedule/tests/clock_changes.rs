//! What the changes between summer and winter time do to cron expressions.

use super::*;

#[test]
fn a_time_that_does_not_exist_fires_once_after_the_gap() {
    for (expression, zone, after, expected) in [
        // Berlin: 29 March, 02:00 becomes 03:00 at 01:00Z.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00Z",
            &["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"][..],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            &["2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T00:30Z"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            &["2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-30T01:00Z"],
        ),
        ("0 2 29 3 *", "Europe/Berlin", "2026-03-29T00:59:59Z", &["2026-03-29T01:00Z"]),
        // New York: 8 March, 02:00 becomes 03:00 at 07:00Z.
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00Z",
            &["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
        ),
        ("59 59 2 * * *", "America/New_York", "2026-03-07T12:00Z", &["2026-03-08T07:00Z"]),
        // Lord Howe: 4 October, 02:00 becomes 02:30 at 15:30Z the day before.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00Z",
            &["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
        ),
        (
            "45 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00Z",
            &["2026-10-03T15:45Z", "2026-10-04T15:45Z"],
        ),
        // Samoa left out 30 December 2011: a gap of a day.
        (
            "0 6 30 12 *",
            "Pacific/Apia",
            "2011-12-01T00:00Z",
            &["2011-12-30T10:00Z", "2012-12-29T16:00Z"],
        ),
    ] {
        assert_series(expression, zone, after, expected);
    }
}

#[test]
fn a_time_that_occurs_twice_fires_at_the_first() {
    for (expression, zone, after, expected) in [
        // Berlin: 25 October, 03:00 becomes 02:00 at 01:00Z.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            &["2026-10-25T00:30Z", "2026-10-26T01:30Z"][..],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            &["2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-26T01:00Z"],
        ),
        (
            "0 1-3 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            &["2026-10-24T23:00Z", "2026-10-25T00:00Z", "2026-10-25T02:00Z"],
        ),
        // Asked from within the second hour.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00.500Z", &["2026-10-26T01:30Z"]),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00Z",
            &["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
        ),
        // Lord Howe: 5 April, 02:00 becomes 01:30 at 15:00Z the day before.
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00Z",
            &["2026-04-04T14:45Z", "2026-04-05T15:15Z"],
        ),
    ] {
        assert_series(expression, zone, after, expected);
    }
}

#[test]
fn interval_patterns_keep_running() {
    for (expression, zone, after, expected) in [
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00Z",
            &["2026-03-29T00:30Z", "2026-03-29T01:30Z"][..],
        ),
        // The hour of which this is a part does not happen on 29 March.
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00Z",
            &["2026-03-30T00:00Z", "2026-03-30T00:30Z"],
        ),
        (
            "30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00Z",
            &["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"],
        ),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00Z",
            &[
                "2026-10-25T00:00Z",
                "2026-10-25T00:30Z",
                "2026-10-25T01:00Z",
                "2026-10-25T01:30Z",
                "2026-10-26T01:00Z",
            ],
        ),
        (
            "*/20 1 * * *",
            "America/New_York",
            "2026-11-01T05:20Z",
            &["2026-11-01T05:40Z", "2026-11-01T06:00Z", "2026-11-01T06:20Z", "2026-11-01T06:40Z"],
        ),
        (
            "*/15 * * * *",
            "Australia/Lord_Howe",
            "2026-10-03T15:10Z",
            &["2026-10-03T15:15Z", "2026-10-03T15:30Z", "2026-10-03T15:45Z"],
        ),
        (
            "30 * * * *",
            "Australia/Lord_Howe",
            "2026-04-04T14:00Z",
            &["2026-04-04T14:30Z", "2026-04-04T15:00Z", "2026-04-04T16:00Z"],
        ),
        (
            "@hourly",
            "Australia/Lord_Howe",
            "2026-04-04T13:30Z",
            &["2026-04-04T14:00Z", "2026-04-04T15:30Z", "2026-04-04T16:30Z"],
        ),
    ] {
        assert_series(expression, zone, after, expected);
    }
}

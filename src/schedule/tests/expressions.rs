//! What expressions mean, and what is said of those that mean nothing.

use super::*;

#[test]
fn fields_nicknames_and_names() {
    for (expression, zone, after, expected) in [
        ("*/10 * * * * *", "UTC", "2026-11-22T06:00:05Z", &["2026-11-22T06:00:10Z"][..]),
        ("* * * * *", "UTC", "2026-11-22T06:00:00.001Z", &["2026-11-22T06:01Z"]),
        ("* * * * *", "UTC", "2026-11-22T05:59:59.999Z", &["2026-11-22T06:00Z"]),
        ("@hourly", "UTC", "2026-11-22T06:00Z", &["2026-11-22T07:00Z"]),
        ("@daily", "Europe/Berlin", "2026-11-22T06:00Z", &["2026-11-22T23:00Z"]),
        ("@midnight", "UTC", "2026-11-22T06:00Z", &["2026-11-23T00:00Z"]),
        ("@Weekly", "UTC", "2026-11-22T00:00Z", &["2026-11-29T00:00Z"]),
        ("@monthly", "UTC", "2026-11-22T00:00Z", &["2026-12-01T00:00Z"]),
        ("@yearly", "UTC", "2026-11-22T00:00Z", &["2027-01-01T00:00Z"]),
        ("@annually", "UTC", "2026-11-22T00:00Z", &["2027-01-01T00:00Z"]),
        ("0 0 * * 7", "UTC", "2026-11-21T00:00Z", &["2026-11-22T00:00Z"]),
        (
            "0 0 1 jan,JUL *",
            "UTC",
            "2026-11-22T00:00Z",
            &["2027-01-01T00:00Z", "2027-07-01T00:00Z"],
        ),
        ("30 6 * * mon-fri", "Europe/Berlin", "2026-11-20T12:00Z", &["2026-11-23T05:30Z"]),
        (
            "10-50/20 6 * * *",
            "UTC",
            "2026-11-22T06:10Z",
            &["2026-11-22T06:30Z", "2026-11-22T06:50Z"],
        ),
        ("0 0 L * *", "UTC", "2027-02-01T00:00Z", &["2027-02-28T00:00Z", "2027-03-31T00:00Z"]),
        ("0 0 * * 2#1", "UTC", "2026-11-22T00:00Z", &["2026-12-01T00:00Z"]),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", &["2104-02-29T00:00Z"]),
    ] {
        assert_series(expression, zone, after, expected);
    }
}

#[test]
fn a_day_fires_when_either_day_field_matches() {
    assert_series(
        "0 0 13 * fri",
        "UTC",
        "2026-11-10T00:00Z",
        &[
            "2026-11-13T00:00Z",
            "2026-11-20T00:00Z",
            "2026-11-27T00:00Z",
            "2026-12-04T00:00Z",
            "2026-12-11T00:00Z",
            "2026-12-13T00:00Z",
        ],
    );
    assert_series("0 0 13 * *", "UTC", "2026-11-13T00:00Z", &["2026-12-13T00:00Z"]);
    assert_series("0 0 * * fri", "UTC", "2026-11-13T00:00Z", &["2026-11-20T00:00Z"]);
    assert_series("0 0 13 * +fri", "UTC", "2026-11-13T00:00Z", &["2027-08-13T00:00Z"]);
}

#[test]
fn errors_name_the_expression_the_field_and_the_problem() {
    let never = "it never fires: no month has such a day";
    for (expression, problem) in [
        ("61 * * * *", "minute \"61\": number out of bounds; it holds 0 to 59"),
        ("* 24 * * *", "hour \"24\": number out of bounds; it holds 0 to 23"),
        ("60 * * * * *", "second \"60\": number out of bounds; it holds 0 to 59"),
        ("* * 0 * *", "day of month \"0\": number out of bounds; it holds 1 to 31, L and W"),
        (
            "* * * foo *",
            "month \"foo\": a character that it cannot have; it holds 1 to 12 and jan to dec",
        ),
        ("* 22-2 * * *", "hour \"22-2\": range out of bounds or downwards; it holds 0 to 23"),
        ("*/0 * * * *", "minute \"*/0\": step cannot be zero; it holds 0 to 59"),
        ("1,,2 * * * *", "minute \"1,,2\": an item of the list is empty; it holds 0 to 59"),
        ("0 0 30 2 *", never),
        ("0 0 31 4,6,9,11 *", never),
        ("0 0 31 2 +mon", never),
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("* *", "it has 2 fields; write 5, or 6 with leading seconds"),
        (
            "0 0 0 1 1 * 2027",
            "it has 7 fields; a field for years is not supported, use start and end",
        ),
        ("@reboot", "known are @yearly, @monthly, @weekly, @daily and @hourly"),
    ] {
        let error = Cron::new(expression, "UTC").unwrap_err().to_string();
        assert_eq!(error, format!("cron expression {expression:?} is not valid: {problem}"));
    }
    let long = format!("{} * * * *", "1,".repeat(200));
    assert!(Cron::new(&long, "UTC").unwrap_err().to_string().ends_with("the most is 256"));
}

#[test]
fn an_unknown_time_zone_is_told_with_the_nearest_one() {
    let error = Cron::new("* * * * *", "Europe/Berln").unwrap_err().to_string();
    assert_eq!(
        error,
        "time zone \"Europe/Berln\" is not known; write an IANA name such as \
         Europe/Berlin or UTC; did you mean \"Europe/Berlin\"?"
    );
}

#[test]
fn the_series_ends_with_the_year_4999() {
    let cron = Cron::new("0 0 1 1 *", "UTC").unwrap();
    assert_eq!(cron.next_after(at("4998-06-01T00:00Z")), Some(at("4999-01-01T00:00Z")));
    assert_eq!(cron.next_after(at("4999-01-01T00:00Z")), None);
    assert_eq!(cron.next_after(Timestamp::from_millis(i64::MAX)), None);
    assert_eq!(cron.next_after(Timestamp::MIN), Some(at("1970-01-01T00:00Z")));
}

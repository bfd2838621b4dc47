//! Tests of the pure part: one job's way ahead, and the merge of many.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::JobId;
use crate::job::{Job, JobSpec};
use crate::schedule::Rule;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOON: &str = "2026-11-22T12:00:00Z";

/// A job as it stands after the occurrences up to `now`.
fn outlook(name: &str, rule: Rule, now: Timestamp, deliveries: u64) -> Outlook {
    let created_at = at(NOON).minus(Duration::from_secs(3_600));
    let id = JobId::from_parts(created_at, 1);
    let spec = JobSpec::new(name.parse().unwrap(), Target::All, "ping".parse().unwrap(), rule);
    let job = Job { id, revision: 1, created_at, updated_at: created_at, spec };
    let next_due = job.spec.rule.next_after(now, created_at);
    Outlook { job: Arc::new(job), next_due, occurrences: 0, paused_at: None, deliveries }
}

fn every(seconds: u64) -> Rule {
    Rule::every(Duration::from_secs(seconds)).unwrap()
}

fn span(seconds: u64) -> Span {
    Span { from: at(NOON), to: at(NOON).plus(Duration::from_secs(seconds)) }
}

fn times(firings: &[Timestamp]) -> Vec<String> {
    firings.iter().map(ToString::to_string).collect()
}

#[test]
fn next_firings_end_with_the_count_and_with_the_end() {
    let mut rule = every(60);
    rule.count = Some(5);
    let mut counted = outlook("a", rule.clone(), at(NOON), 0);
    counted.occurrences = 3;
    let next = next_firings(counted, at(NOON), 10);
    assert_eq!(times(&next.firings), ["2026-11-22T12:01:00.000Z", "2026-11-22T12:02:00.000Z"]);
    rule.count = None;
    rule.end = Some(at("2026-11-22T12:01:00Z"));
    let next = next_firings(outlook("a", rule, at(NOON), 0), at(NOON), 10);
    assert_eq!(times(&next.firings), ["2026-11-22T12:01:00.000Z"]);
}

#[test]
fn next_firings_of_a_cron_rule_tell_its_time_zone() {
    let rule = Rule::cron("0 9 * * *", "Europe/Stockholm").unwrap();
    let next = next_firings(outlook("a", rule, at(NOON), 0), at(NOON), 1);
    assert_eq!(next.time_zone.as_deref(), Some("Europe/Stockholm"));
    assert_eq!(times(&next.firings), ["2026-11-23T08:00:00.000Z"]);
}

#[test]
fn a_paused_job_foresees_what_it_would_fire_from_now_on() {
    let paused = |count: Option<u64>, hours: u64| {
        let mut rule = every(1);
        rule.count = count;
        let mut paused = outlook("a", rule, at(NOON), 0);
        paused.paused_at = Some(at(NOON));
        let now = at(NOON).plus(Duration::from_secs(hours * 3_600));
        let next = next_firings(paused, now, 2);
        assert_eq!(next.paused_at, Some(at(NOON)));
        times(&next.firings)
    };
    let later = ["2026-11-22T13:00:01.000Z", "2026-11-22T13:00:02.000Z"];
    assert_eq!(paused(None, 1), later);
    assert_eq!(paused(Some(3_601), 1), later[..1], "what was missed counts");
    assert!(paused(Some(3_600), 1).is_empty());
    // Ten hours are more occurrences than are counted one by one.
    assert_eq!(paused(Some(1_000_000), 10)[0], "2026-11-22T22:00:01.000Z");
}

#[test]
fn firings_are_merged_counted_and_listed_in_the_order_of_their_times_and_names() {
    let a = outlook("b", every(60), at(NOON), 2);
    let b = outlook("a", every(120), at(NOON), 5);
    let mut asleep = outlook("c", every(1), at(NOON), 100);
    asleep.paused_at = Some(at(NOON));
    let seen = forecast(vec![a, asleep, b], span(301), Some(4));
    assert_eq!(seen.total, Load { firings: 7, deliveries: 20 });
    assert_eq!((seen.jobs, seen.paused, seen.cut), (2, 1, None));
    let listed: Vec<_> =
        seen.firings.iter().map(|firing| (firing.job.as_str(), firing.at.to_string())).collect();
    let expected = [
        ("b", "2026-11-22T12:01:00.000Z"),
        ("a", "2026-11-22T12:02:00.000Z"),
        ("b", "2026-11-22T12:02:00.000Z"),
        ("b", "2026-11-22T12:03:00.000Z"),
    ];
    assert_eq!(listed, expected.map(|(job, at)| (job, at.to_owned())));
    let busiest: Vec<_> =
        seen.busiest.iter().map(|minute| (minute.at.to_string(), minute.load)).collect();
    let load = |firings, deliveries| Load { firings, deliveries };
    assert_eq!(busiest[0], ("2026-11-22T12:02:00.000Z".into(), load(2, 7)));
    assert_eq!(busiest[1], ("2026-11-22T12:04:00.000Z".into(), load(2, 7)));
    assert_eq!(busiest[2], ("2026-11-22T12:01:00.000Z".into(), load(1, 2)));
    assert_eq!(busiest.len(), 5, "minutes without a firing are left out");
    let buckets: Vec<_> = seen.buckets.iter().map(|bucket| bucket.load.firings).collect();
    assert_eq!(buckets, [0, 1, 2, 1, 2, 1]);
}

#[test]
fn the_end_is_not_part_of_a_span_and_the_begin_is() {
    let job = || outlook("a", every(60), at(NOON).minus(Duration::from_secs(1)), 1);
    let seen = forecast(vec![job()], span(60), None);
    assert_eq!(times(&[seen.firings[0].at]), ["2026-11-22T12:00:00.000Z"]);
    assert_eq!(seen.total.firings, 1);
    let later = Span { from: at(NOON).plus(Duration::from_secs(60)), ..span(61) };
    let seen = forecast(vec![job()], later, None);
    assert_eq!(times(&[seen.firings[0].at]), ["2026-11-22T12:01:00.000Z"]);
}

#[test]
fn what_fires_before_the_span_uses_up_the_count() {
    let mut rule = every(60);
    rule.count = Some(3);
    let later = Span { from: at(NOON).plus(Duration::from_secs(150)), ..span(3_600) };
    let seen = forecast(vec![outlook("a", rule, at(NOON), 1)], later, None);
    assert_eq!(seen.total.firings, 1);
    assert_eq!(times(&[seen.firings[0].at]), ["2026-11-22T12:03:00.000Z"]);
}

#[test]
fn a_forecast_of_too_much_says_where_and_why_it_is_cut() {
    let jobs = || (1..=3).map(|n| outlook(&format!("job-{n}"), every(1), at(NOON), 1)).collect();
    let seen = load::bounded(jobs(), span(3_600), None, 31);
    let cut = seen.cut.unwrap();
    assert_eq!(cut.at.to_string(), "2026-11-22T12:00:11.000Z");
    assert_eq!(cut.reason, "31 occurrences were looked at, which is the most");
    assert_eq!(seen.total.firings, 31);
    assert_eq!(seen.buckets.len(), 1, "of later ones nothing is known");
    assert_eq!(load::bounded(jobs(), span(11), None, 31).cut, None, "30 firings are all");

    let mut counted = every(1);
    counted.count = Some(1_000);
    let later = Span { from: at("2026-11-22T12:10:00Z"), ..span(3_600) };
    let seen = load::bounded(vec![outlook("a", counted, at(NOON), 1)], later, None, 31);
    assert_eq!((seen.total.firings, seen.cut.unwrap().at), (0, later.from));
}

#[test]
fn what_cannot_be_looked_at_is_not_kept() {
    let mut few: Vec<_> = (1..9).map(|n| outlook("a", every(n), at(NOON), 1)).collect();
    let before = few.clone();
    earliest(&mut few);
    assert_eq!(few, before);
    let shared = outlook("a", every(1), at(NOON), 1);
    let due = |n: usize| Some(at(NOON).plus(Duration::from_secs(n as u64)));
    let many = (0..3 * MAX_LOOKED_AT).rev();
    let mut many: Vec<_> = many.map(|n| Outlook { next_due: due(n), ..shared.clone() }).collect();
    earliest(&mut many);
    assert_eq!(many.len(), MAX_LOOKED_AT + 1);
    assert_eq!(many.iter().filter_map(|outlook| outlook.next_due).max(), due(MAX_LOOKED_AT));
}

#[test]
fn buckets_grow_with_the_span_and_stay_few() {
    for (days, bucket, most) in
        [(1, 60, 1_441), (2, 1_800, 97), (31, 1_800, 1_489), (32, 43_200, 65)]
    {
        let from = at("2026-11-22T12:00:30Z");
        let to = from.plus(Duration::from_secs(days * 86_400));
        let seen = forecast(Vec::new(), Span { from, to }, None);
        assert_eq!((seen.bucket.as_secs(), seen.buckets.len()), (bucket, most), "{days} days");
        assert!(seen.buckets[0].at <= from);
        assert!(seen.busiest.is_empty());
    }
    let to = at(NOON).plus(MAX_SPAN);
    assert_eq!(forecast(Vec::new(), Span { from: at(NOON), to }, None).buckets.len(), 732);
}

#[test]
fn a_query_that_cannot_be_is_refused_with_its_values() {
    let now = at(NOON);
    let query = |from: &str, to: &str| ForecastQuery {
        from: Some(from).filter(|text| !text.is_empty()).map(at),
        to: Some(to).filter(|text| !text.is_empty()).map(at),
        ..ForecastQuery::default()
    };
    let message = |query: &ForecastQuery| query.span(now).unwrap_err().to_string();
    assert_eq!(
        message(&query("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z")),
        "from 2026-12-02T00:00:00.000Z is not before to 2026-12-01T00:00:00.000Z"
    );
    assert!(message(&query("", "2026-11-22T12:00:00Z")).starts_with("to 2026-11-22T12:00"));
    assert_eq!(
        message(&query("", "2027-11-24T00:00:00Z")),
        "from 2026-11-22T12:00:00.000Z to 2027-11-24T00:00:00.000Z is too long: the longest span \
         is 366 days"
    );
    let mut limited = ForecastQuery { limit: Some(0), ..ForecastQuery::default() };
    assert_eq!(message(&limited), "limit 0 is not valid: it is 1 to 10000");
    limited.limit = Some(10_001);
    assert!(limited.span(now).is_err());
    limited.limit = Some(10_000);
    assert_eq!(limited.span(now), Ok(span(86_400)));
    assert_eq!(
        query("2020-01-01T00:00:00Z", "").span(now),
        Ok(span(86_400)),
        "now at the earliest"
    );
    assert_eq!(check_count(0).unwrap_err().to_string(), "count 0 is not valid: it is 1 to 1000");
    assert!(check_count(1).is_ok() && check_count(1_000).is_ok() && check_count(1_001).is_err());
}

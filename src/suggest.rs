//! The nearest known name to one that is not known, for `did you mean …?`.
//!
//! Promises: the same names in any order give the same suggestion, as long as they are few enough
//! to be compared within a fixed amount of work. Imports nothing of fleetcron.

/// How many character comparisons one search may cost: some 10 ms. Names beyond it are not
/// looked at, so that a typing error does not hold up a server with very many names.
const MAX_WORK: usize = 4_000_000;

/// The shortest name that is looked for as a part of others.
const MIN_PART: usize = 3;

/// The name of `among` that was most likely meant by `name`; `None` when none is near.
///
/// Near is: at most one typing error (a character too many, too few, other, or two exchanged) for
/// every three characters, letter case aside; or one name is a part of the other. The fewest
/// errors win, then the first in the alphabet.
///
/// ```
/// # use fleetcron::suggest::nearest;
/// let jobs = ["db-backup", "disk-report"];
/// assert_eq!(nearest("disk-reprot", jobs.into_iter()).as_deref(), Some("disk-report"));
/// assert_eq!(nearest("backup", jobs.into_iter()).as_deref(), Some("db-backup"));
/// assert_eq!(nearest("cert-check", jobs.into_iter()), None);
/// ```
#[must_use]
pub fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = name.to_lowercase();
    let length = wanted.chars().count();
    let mut work = 0_usize;
    let mut best: Option<(usize, &str)> = None;
    for candidate in among {
        // Each candidate costs at least its own length, however different it is.
        work = work.saturating_add(candidate.len() + 1);
        let lower = candidate.to_lowercase();
        let other = lower.chars().count();
        let part = length.min(other) >= MIN_PART
            && (lower.contains(&wanted) || wanted.contains(lower.as_str()));
        let allowed = (length.max(other) / 3).max(1);
        if !part && length.abs_diff(other) > allowed {
            continue;
        }
        work = work.saturating_add(length.saturating_mul(other));
        if work > MAX_WORK {
            break;
        }
        let distance = strsim::damerau_levenshtein(&wanted, &lower);
        if (part || distance <= allowed) && best.is_none_or(|best| (distance, candidate) < best) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

/// The end of an error message about a name that is not known: `; did you mean "…"?` with the
/// nearest known one, or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    hint(nearest(name, among.into_iter()).as_deref())
}

/// The end of an error message: `; did you mean "…"?`, or nothing.
pub(crate) fn hint(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_with_the_fewest_typing_errors_is_suggested() {
        for (name, among, expected) in [
            ("web-10", vec!["web-01", "db-01"], Some("web-01")),
            ("WEB-01", vec!["web-02", "web-01"], Some("web-01")),
            ("catchup", vec!["catch_up_window", "catch_up"], Some("catch_up")),
            ("time-zone", vec!["cron", "time_zone"], Some("time_zone")),
            ("web-0", vec!["web-02", "web-01"], Some("web-01")),
            ("xy", vec!["ab", "cd"], None),
            ("", vec!["a-long-name"], None),
            ("anything", vec![], None),
        ] {
            assert_eq!(nearest(name, among.iter().copied()).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_long_list_is_given_up_rather_than_waited_for() {
        let names: Vec<String> = (0..100_000).map(|n| format!("{n:0>100}")).collect();
        let wanted = format!("{:x>100}", "");
        assert_eq!(nearest(&wanted, names.iter().map(String::as_str)), None);
    }
}

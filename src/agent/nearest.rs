//! "Did you mean …?": the known word nearest to a mistyped one.
//!
//! Imports nothing of fleetcron.

/// How alike two words must be, from 0 to 1, to suggest one for the other.
const ALIKE: f64 = 0.6;

/// The known word most like `word`, if any is like it at all.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "…"?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known)
        .map(|candidate| format!("; did you mean {candidate:?}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_like_word_is_suggested() {
        let known = ["disk.report", "db.check", "host.uptime"];
        assert_eq!(nearest("disk.reprot", known), Some("disk.report"));
        assert_eq!(nearest("dbcheck", known), Some("db.check"));
        assert_eq!(nearest("reboot", known), None);
        assert_eq!(did_you_mean("uptime", ["up"]), "");
    }
}

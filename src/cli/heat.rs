//! A heat map of load over time, for a terminal of 80 columns. Computes lines, prints nothing.

use std::time::Duration;

use crate::forecast::Bucket;
use crate::time::Timestamp;

/// The marks of the levels, the least load first; nothing is [`Marks::none`].
pub(super) struct Marks {
    levels: [char; 8],
    none: char,
}

/// For terminals that can show them.
pub(super) const BLOCKS: Marks =
    Marks { levels: ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'], none: '·' };

/// For files, pipes and plain terminals.
pub(super) const ASCII: Marks =
    Marks { levels: ['-', ':', '=', '+', '*', 'o', '%', '@'], none: '.' };

/// How buckets of one length are laid out: so many a row, labelled so, with a ruler above.
struct Layout {
    cells: usize,
    /// How the label of a row writes its begin.
    label: &'static str,
    ruler: &'static str,
}

/// Columns of the terminal.
const WIDTH: usize = 80;

const MINUTE: Duration = Duration::from_secs(60);
const HALF_HOUR: Duration = Duration::from_secs(30 * 60);

fn layout(bucket: Duration) -> Layout {
    match bucket {
        MINUTE => Layout {
            cells: 60,
            label: "%m-%d %H:00",
            ruler: ":00       :10       :20       :30       :40       :50",
        },
        HALF_HOUR => Layout {
            cells: 48,
            label: "%Y-%m-%d ",
            ruler: "00h   03h   06h   09h   12h   15h   18h   21h",
        },
        _ => Layout {
            cells: 56,
            label: "%Y-%m-%d ",
            ruler: "+0d           +7d           +14d          +21d",
        },
    }
}

/// The rows of a heat map of buckets without gaps, a ruler above and a legend below. `value` is
/// the load of a bucket, called `unit`. Rows begin at whole hours or days in UTC.
pub(super) fn rows(
    buckets: &[Bucket],
    bucket: Duration,
    marks: &Marks,
    unit: &str,
    value: impl Fn(&Bucket) -> u64,
) -> Vec<String> {
    let most = buckets.iter().map(&value).max().unwrap_or(0);
    let Layout { cells, label, ruler } = layout(bucket);
    let mut rows = vec![format!("{:11} {ruler}", "UTC")];
    let begin = |at: Timestamp| match cells {
        // Four weeks have no begin of their own.
        56 => floor(at, 86_400),
        _ => floor(at, bucket.as_secs() * cells as u64),
    };
    let mut rest = buckets;
    let mut start = buckets.first().map(|first| begin(first.at));
    while let (Some(at), Some(first)) = (start, rest.first()) {
        let length = u32::try_from(cells).unwrap_or(u32::MAX);
        let end = at.plus(bucket * length);
        let here = rest.iter().take_while(|bucket| bucket.at < end).count();
        let before = first.at.since(at).as_millis() / bucket.as_millis().max(1);
        let before = " ".repeat(usize::try_from(before).unwrap_or(0).min(cells));
        let shown: String = rest[..here].iter().map(|one| marks.of(value(one), most)).collect();
        let label = at.to_chrono().map(|at| at.format(label).to_string()).unwrap_or_default();
        rows.push(format!("{label:11} {before}{shown}"));
        rest = &rest[here..];
        start = Some(end);
    }
    rows.extend(marks.legend(most, unit, bucket));
    rows
}

impl Marks {
    /// The mark of a load, of which there is `most` at most.
    pub(super) fn of(&self, load: u64, most: u64) -> char {
        match load {
            0 => self.none,
            load => self.levels[level(load, most)],
        }
    }

    /// What the marks in use mean.
    fn legend(&self, most: u64, unit: &str, bucket: Duration) -> Vec<String> {
        let each = match bucket {
            MINUTE => "minute".to_owned(),
            bucket => humantime::format_duration(bucket).to_string(),
        };
        let mut words = vec![format!("{} none", self.none)];
        let mut from = 1;
        for (at, mark) in self.levels.iter().enumerate() {
            let to = highest(at, most);
            if to >= from {
                let range = if to == from { to.to_string() } else { format!("{from}-{to}") };
                words.push(format!("{mark} {range}"));
                from = to + 1;
            }
        }
        let mut lines = vec![format!("{unit} in each {each}:")];
        for word in words {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 2 + word.chars().count() <= WIDTH => {
                    line.push_str("  ");
                    line.push_str(&word);
                }
                _ => lines.push(word),
            }
        }
        lines
    }
}

/// The level of a load that is not 0: the most has the highest.
fn level(load: u64, most: u64) -> usize {
    (0..7).find(|at| load <= highest(*at, most)).unwrap_or(7)
}

/// The highest load that has a level.
fn highest(level: usize, most: u64) -> u64 {
    let share = u128::from(most) * (level as u128 + 1) / 8;
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn floor(at: Timestamp, seconds: u64) -> Timestamp {
    let step = i64::try_from(seconds.max(1) * 1_000).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().div_euclid(step) * step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::Load;

    fn buckets(from: &str, bucket: Duration, loads: &[u64]) -> Vec<Bucket> {
        let from: Timestamp = from.parse().unwrap();
        let at = |n: usize| from.plus(bucket * u32::try_from(n).unwrap());
        let load = |firings: u64| Load { firings, deliveries: 0 };
        loads.iter().enumerate().map(|(n, it)| Bucket { at: at(n), load: load(*it) }).collect()
    }

    fn shown(buckets: &[Bucket], bucket: Duration, marks: &Marks) -> Vec<String> {
        rows(buckets, bucket, marks, "firings", |bucket| bucket.load.firings)
    }

    #[test]
    fn minutes_stand_in_rows_of_hours() {
        let mut loads = vec![0; 70];
        loads[0..9].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0]);
        let buckets = buckets("2026-11-22T05:55:00Z", MINUTE, &loads);
        let text = shown(&buckets, MINUTE, &BLOCKS);
        assert_eq!(text[0], "UTC         :00       :10       :20       :30       :40       :50");
        assert_eq!(text[1], format!("11-22 05:00 {}▁▂▃▄▅", " ".repeat(55)));
        assert_eq!(text[2], format!("11-22 06:00 ▆▇█{}", "·".repeat(57)));
        assert_eq!(text[3], "11-22 07:00 ·····");
        assert_eq!(
            text[4],
            "firings in each minute:  · none  ▁ 1  ▂ 2  ▃ 3  ▄ 4  ▅ 5  ▆ 6  ▇ 7  █ 8"
        );
        assert_eq!(text.len(), 5);
    }

    #[test]
    fn plain_text_has_no_other_characters() {
        let buckets = buckets("2026-11-22T06:00:00Z", MINUTE, &[0, 1, 10, 40, 80]);
        let text = shown(&buckets, MINUTE, &ASCII);
        assert_eq!(text[1], "11-22 06:00 .--+@");
        assert!(text.iter().all(|line| line.is_ascii()), "{text:?}");
        let legend = [
            "firings in each minute:  . none  - 1-10  : 11-20  = 21-30  + 31-40  * 41-50",
            "o 51-60  % 61-70  @ 71-80",
        ];
        assert_eq!(text[2..], legend);
    }

    #[test]
    fn every_row_fits_80_columns() {
        for (bucket, count) in [(60, 1_441), (1_800, 1_489), (43_200, 732)] {
            let bucket = Duration::from_secs(bucket);
            let buckets = buckets("2026-11-22T00:00:00Z", bucket, &vec![9_999_999_999; count]);
            for line in shown(&buckets, bucket, &BLOCKS) {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }

    #[test]
    fn nothing_to_show_is_shown_as_nothing() {
        let text = shown(&buckets("2026-11-22T00:00:00Z", HALF_HOUR, &[0; 3]), HALF_HOUR, &ASCII);
        assert_eq!(text[0].split_whitespace().nth(1), Some("00h"));
        assert_eq!(text[1], "2026-11-22  ...");
        assert_eq!(text[2], "firings in each 30m:  . none");
    }
}

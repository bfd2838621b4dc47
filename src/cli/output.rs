//! How results look: the only place that prints.
//!
//! Promises: colours and shortened texts on a terminal alone; what clients and owners wrote can
//! not steer the terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use console::Term;
use serde::Serialize;

use super::args::{Format, Global};
use super::error::CliError;
use crate::time::{Clock as _, SystemClock, Timestamp};

/// What stands where there is nothing.
pub(super) const NOTHING: &str = "-";

/// Spaces between two columns.
const GAP: u16 = 2;

/// The least width to which the last column of a table is shortened.
const LEAST: usize = 20;

/// The colours that names have in turn.
const NAMES: [console::Color; 6] = [
    console::Color::Cyan,
    console::Color::Magenta,
    console::Color::Blue,
    console::Color::Green,
    console::Color::Yellow,
    console::Color::Red,
];

/// What a text means, shown as its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Under way, or worth a look.
    Busy,
    /// Less important than the rest.
    Quiet,
}

impl Tone {
    fn color(self) -> Color {
        match self {
            Self::Good => Color::Green,
            Self::Bad => Color::Red,
            Self::Busy => Color::Yellow,
            Self::Quiet => Color::DarkGrey,
        }
    }

    fn style(self) -> console::Style {
        let style = console::Style::new();
        match self {
            Self::Good => style.green(),
            Self::Bad => style.red(),
            Self::Busy => style.yellow(),
            Self::Quiet => style.dim(),
        }
    }
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub(super) struct Field {
    text: String,
    tone: Option<Tone>,
}

impl Field {
    /// A text with a meaning.
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { tone: Some(tone), ..Self::from(text.into()) }
    }
}

impl Field {
    /// What it shows.
    pub(super) fn text(&self) -> String {
        self.text.clone()
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self { text: clean(&text), tone: None }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Where results go, and how.
pub(super) struct Out {
    format: Format,
    colours: bool,
    width: Option<usize>,
    /// The moment from which relative times are told.
    pub(super) now: Timestamp,
}

impl Out {
    /// As the command line says and standard output allows.
    pub(super) fn new(global: &Global) -> Self {
        let term = Term::stdout();
        let width = term.is_term().then(|| usize::from(term.size().1));
        Self { format: global.output, colours: colours(&term), width, now: SystemClock.now() }
    }

    /// Whether results are JSON.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether results may hold characters that a plain terminal or a file would not show well.
    pub(super) fn has_blocks(&self) -> bool {
        self.width.is_some() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
    }

    /// Writes a value as JSON, indented.
    pub(super) fn json<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.raw(&serde_json::to_string_pretty(value).map_err(io::Error::from)?)
    }

    /// Writes a value as JSON on one line.
    pub(super) fn json_line<T: Serialize>(&self, value: &T) -> Result<(), CliError> {
        self.raw(&serde_json::to_string(value).map_err(io::Error::from)?)
    }

    /// Writes a line.
    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        self.raw(&clean(text))
    }

    /// Writes a line that has a meaning.
    pub(super) fn toned(&self, text: &str, tone: Tone) -> Result<(), CliError> {
        let styled = tone.style().force_styling(self.colours).apply_to(clean(text));
        self.raw(&styled.to_string())
    }

    /// Writes a line of somebody, the name before it in a colour of its own.
    pub(super) fn named(&self, name: &str, between: &str, text: &str) -> Result<(), CliError> {
        let sum = name.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
        let style = console::Style::new().fg(NAMES[sum % NAMES.len()]);
        let name = style.force_styling(self.colours).apply_to(format!("{} {between}", clean(name)));
        // Colours of a program's own would come out as their codes.
        self.raw(&format!("{name} {}", clean(&console::strip_ansi_codes(text))))
    }

    /// Writes rows under headings; nothing without rows. The last column is shortened to the
    /// width of the terminal.
    pub(super) fn table(&self, headings: &[&str], rows: Vec<Vec<Field>>) -> Result<(), CliError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.raw(&self.layout(headings, rows))
    }

    /// Writes names and values, one pair a line.
    pub(super) fn pairs(&self, pairs: Vec<(&str, Field)>) -> Result<(), CliError> {
        let rows = pairs
            .into_iter()
            .map(|(name, value)| vec![Field::toned(name, Tone::Quiet), value])
            .collect();
        self.table(&[], rows)
    }

    fn layout(&self, headings: &[&str], mut rows: Vec<Vec<Field>>) -> String {
        self.shorten(headings, &mut rows);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !headings.is_empty() {
            table.set_header(
                headings.iter().map(|heading| Cell::new(heading).fg(Tone::Quiet.color())),
            );
        }
        let columns = 0..rows[0].len();
        let numeric: Vec<bool> = columns.map(|at| is_numeric(&rows, at)).collect();
        for row in rows {
            table.add_row(row.into_iter().map(|field| match field.tone {
                Some(tone) => Cell::new(field.text).fg(tone.color()),
                None => Cell::new(field.text),
            }));
        }
        for (column, numeric) in table.column_iter_mut().zip(numeric) {
            column.set_padding((0, GAP));
            if numeric {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }

    /// The width of a table's last column on this terminal, after columns of these widths; `None`:
    /// there is no terminal, and all of it is shown.
    pub(super) fn room(&self, before: &[usize]) -> Option<usize> {
        let before: usize = before.iter().map(|width| width + usize::from(GAP)).sum();
        // What is coloured is filled up to the gap behind it.
        let before = before + usize::from(GAP);
        self.width.map(|width| width.saturating_sub(before).max(LEAST))
    }

    fn shorten(&self, headings: &[&str], rows: &mut [Vec<Field>]) {
        let Some(width) = self.width else { return };
        let last = rows[0].len() - 1;
        let of = |text: &str| console::measure_text_width(text);
        let before: usize = (0..last)
            .map(|at| {
                let cells = rows.iter().map(|row| of(&row[at].text));
                cells.chain(headings.get(at).map(|text| of(text))).max().unwrap_or(0)
                    + usize::from(GAP)
            })
            .sum();
        let left = width.saturating_sub(before).max(LEAST);
        for field in rows.iter_mut().filter_map(|row| row.last_mut()) {
            if of(&field.text) > left {
                field.text = console::truncate_str(&field.text, left, "…").into_owned();
            }
        }
    }

    #[expect(clippy::unused_self, reason = "whoever writes a result has asked how it looks")]
    fn raw(&self, text: &str) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.write_all(b"\n")?;
        Ok(stdout.flush()?)
    }
}

/// Says something on standard error that is not a result.
pub(super) fn note(text: &str) {
    // Who cannot be told cannot be told that either.
    let _ = writeln!(io::stderr(), "{}", clean(text));
}

/// Says on standard error why a command cannot be done.
pub(super) fn complain(error: &dyn std::fmt::Display) {
    let term = Term::stderr();
    let label = console::Style::new().red().bold().force_styling(colours(&term)).apply_to("error:");
    // A message may have several lines: one for each thing that is wrong.
    let text = error.to_string().lines().map(clean).collect::<Vec<_>>().join("\n");
    let _ = writeln!(io::stderr(), "{label} {text}");
}

/// Whether colours go to a terminal; `NO_COLOR`, if it is not empty, forbids them.
pub(super) fn colours(term: &Term) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    term.is_term() && !forbidden
}

/// Writes a line of the demonstration. A closed pipe does not end it: its agents are to be ended
/// in good order.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Whether somebody sits before standard error.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// The text without what could steer a terminal or break a row.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether a column has numbers, and nothing else but places where there is none.
fn is_numeric(rows: &[Vec<Field>], at: usize) -> bool {
    let mut texts = rows.iter().map(|row| row[at].text.as_str()).filter(|text| *text != NOTHING);
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    texts.next().is_some_and(is_number) && texts.all(is_number)
}

/// A moment in UTC and how far it is: `2026-11-22 06:00:00Z (in 3m)`.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    let relative = relative(at, now);
    match at.to_chrono() {
        Some(utc) => format!("{} ({relative})", utc.format("%Y-%m-%d %H:%M:%SZ")),
        None => format!("{at} ({relative})"),
    }
}

/// How far a moment is: `in 3m`, `now`, `2h ago`. Rounded down to one unit.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead.as_secs() > 0 {
        format!("in {}", rough(ahead))
    } else if behind.as_secs() > 0 {
        format!("{} ago", rough(behind))
    } else {
        "now".to_owned()
    }
}

fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How long something ran: `12ms`, `1.5s`, `2m 3s`.
pub(super) fn ran(millis: u64) -> String {
    match millis {
        ..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        _ => humantime::format_duration(Duration::from_secs(millis / 1_000)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(width: Option<usize>, colours: bool) -> Out {
        Out { format: Format::Table, colours, width, now: Timestamp::from_millis(0) }
    }

    fn rows() -> Vec<Vec<Field>> {
        vec![
            vec![
                "web-01".into(),
                Field::toned("succeeded", Tone::Good),
                "7".into(),
                "x".repeat(40).into(),
            ],
            vec![
                "db".into(),
                Field::toned("failed", Tone::Bad),
                "120".into(),
                "disk\nfull\u{1b}[2J".into(),
            ],
        ]
    }

    #[test]
    fn columns_are_aligned_and_the_last_one_is_shortened() {
        let headings = ["CLIENT", "STATE", "N", "REASON"];
        let text = out(Some(45), false).layout(&headings, rows());
        let expected = "\
CLIENT  STATE        N  REASON
web-01  succeeded    7  xxxxxxxxxxxxxxxxxxxx…
db      failed     120  disk full [2J";
        assert_eq!(text, expected);
        let text = out(None, false).layout(&headings, rows());
        assert!(text.contains(&"x".repeat(40)), "nothing is shortened without a terminal");
    }

    #[test]
    fn colours_come_only_where_they_are_wanted() {
        let plain = out(None, false).layout(&["A", "B", "C", "D"], rows());
        assert!(!plain.contains('\u{1b}'));
        let coloured = out(None, true).layout(&["A", "B", "C", "D"], rows());
        assert!(coloured.contains('\u{1b}'));
    }

    #[test]
    fn moments_are_told_in_utc_and_from_now() {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let later = now.plus(Duration::from_secs(200));
        assert_eq!(moment(later, now), "2026-11-22 06:03:20Z (in 3m)");
        assert_eq!(relative(now, now.plus(Duration::from_secs(7_300))), "2h ago");
        assert_eq!(relative(now, now.plus(Duration::from_millis(900))), "now");
        assert_eq!(relative(now.plus(Duration::from_secs(90_000)), now), "in 1d");
    }

    #[test]
    fn running_times_are_short() {
        assert_eq!([12, 1_540, 123_000].map(ran), ["12ms", "1.5s", "2m 3s"]);
    }
}

//! The report: one HTML file that needs nothing else, with the verdict, plots over time and the
//! faults, readable without scripts.

mod plot;

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::book::{Fault, Offender};
use super::marks::Mark;
use super::run::Ran;
use super::verdict::Judgement;
use crate::time::Timestamp;

/// Offenders that the report shows; all are in the file beside it.
const SHOWN: usize = 200;

/// Faults that are listed, at most; the plots have all.
const LISTED: usize = 2_000;

/// How the page looks. Colours of text and lines follow the reader's setting.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1040px;margin:2em auto;padding:0 1em}\
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\
table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.15em 1.2em .15em 0}\
th{font-weight:600;white-space:nowrap}\
.good{color:#1a7f37}.bad{color:#cf222e}\
svg{width:100%;height:auto;font:12px system-ui,sans-serif}\
summary{cursor:pointer;margin:1em 0}code{font-size:.9em}";

/// Writes the page, whole or not at all.
pub(super) fn write(path: &Path, page: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, page)?;
    std::fs::rename(&beside, path)
}

/// The page.
pub(super) fn page(judgement: &Judgement, ran: &Ran) -> String {
    let mut page = String::new();
    let verdict = judgement.verdict;
    let title = format!("fleetcron soak: {verdict}");
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body>\n\
         <h1>fleetcron soak: <span class=\"{verdict}\">{verdict}</span></h1>\n\
         <p>Begun {}.</p>\n",
        text(&judgement.started_at)
    );
    table(&mut page, &judgement.rows());
    offenders(&mut page, judgement, &ran.book.offenders);
    page.push_str("<h2>Over time</h2>\n");
    let begun = ran.started.millis();
    page.push_str(&plot::all(&ran.samples, &ran.marks, begun));
    page.push_str(
        "\n<p>Minutes since the begin. Vertical lines and shades are faults, by colour; the row \
         on top tells of each when it is pointed at. Lateness is how long after a job was due a \
         client began its command, by the clients' own ledger and the server's clock, on a \
         logarithmic scale. Where a line has a gap, the server was down or stood still.</p>\n",
    );
    faults(&mut page, &ran.marks, begun);
    page.push_str("</body></html>\n");
    page
}

fn table(page: &mut String, rows: &[(&'static str, String)]) {
    page.push_str("<table>\n");
    for (name, value) in rows {
        let wrong = matches!(*name, "lost" | "doubled" | "unexplained" | "problems");
        let class = if wrong && value != "0" { " class=\"bad\"" } else { "" };
        let _ = writeln!(page, "<tr><th>{name}</th><td{class}>{}</td></tr>", text(value));
    }
    page.push_str("</table>\n");
}

fn offenders(page: &mut String, judgement: &Judgement, offenders: &[Offender]) {
    if offenders.is_empty() {
        return;
    }
    page.push_str("<h2>Offenders</h2>\n<table>\n");
    page.push_str("<tr><th>fault</th><th>of</th><th>client</th><th>why</th></tr>\n");
    for offender in offenders.iter().take(SHOWN) {
        let fault = match offender.fault {
            Fault::Lost => "lost",
            Fault::Doubled => "doubled",
            Fault::Unexplained => "unexplained",
        };
        let mut of: Vec<String> = offender.job.iter().cloned().collect();
        of.extend(offender.submit.map(|number| format!("submit {number}")));
        of.extend(offender.due.clone());
        of.extend(offender.serial.map(|serial| serial.to_string()));
        let client = offender.client.as_deref().unwrap_or_default();
        let why = [std::slice::from_ref(&offender.why), &offender.executions].concat().join("; ");
        let _ = writeln!(
            page,
            "<tr><td>{fault}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text(&of.join(" ")),
            text(client),
            text(&why)
        );
    }
    page.push_str("</table>\n");
    if let Some(path) = &judgement.offenders {
        let _ =
            writeln!(page, "<p>All are in <code>{}</code>.</p>", text(&path.display().to_string()));
    }
}

fn faults(page: &mut String, marks: &[Mark], begun: i64) {
    let _ = write!(
        page,
        "<details><summary>{} faults</summary>\n<table>\n\
         <tr><th>at</th><th>minute</th><th>lasted</th><th>what</th></tr>\n",
        marks.len()
    );
    for mark in marks.iter().take(LISTED) {
        let minute = seconds(begun, mark.from) / 60.0;
        let lasted = mark
            .until
            .map_or("to the end".to_owned(), |until| format!("{:.1} s", seconds(mark.from, until)));
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{minute:.2}</td><td>{lasted}</td><td>{}</td></tr>",
            Timestamp::from_millis(mark.from),
            text(&mark.what)
        );
    }
    page.push_str("</table></details>\n");
}

fn seconds(from: i64, until: i64) -> f64 {
    Duration::from_millis(u64::try_from(until - from).unwrap_or(0)).as_secs_f64()
}

/// A text as it stands in HTML.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_by_others_cannot_become_markup() {
        assert_eq!(text("<b> & \"c\""), "&lt;b&gt; &amp; &quot;c&quot;");
    }

    #[test]
    fn a_page_is_written_whole_beside_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("none/report.html"), "").is_err());
    }
}

//! Plots over time, as one SVG: all plots have the same axis of time, and the same faults.
//!
//! Pure: samples in, text out. A crate for charts would cost more to build than these lines, and
//! has no marks with a word for whoever points at them.

#![expect(clippy::cast_precision_loss, reason = "a plot shows a few digits")]

use std::fmt::Write as _;

use super::super::args::FaultKind;
use super::super::marks::Mark;
use super::super::sample::Sample;
use super::text;

/// The whole width, and what is left and right of the plots.
const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 14.0;

/// The height of a plot, of the row of faults, and what is between plots.
const HEIGHT: f64 = 130.0;
const ROW: f64 = 14.0;
const GAP: f64 = 46.0;

/// Lines across a plot, about.
const LINES: u32 = 4;

/// A line of a plot.
struct Series {
    name: &'static str,
    colour: &'static str,
    value: fn(&Sample) -> Option<f64>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// From nothing to this.
    Linear(f64),
    /// From 1 to this, by powers of ten.
    Logarithmic(f64),
}

struct Plot {
    title: &'static str,
    logarithmic: bool,
    series: &'static [Series],
}

const BLUE: &str = "#2f6fdb";
const ORANGE: &str = "#d9730d";
const GREEN: &str = "#2a9d5c";

const PLOTS: [Plot; 6] = [
    Plot {
        title: "a second",
        logarithmic: false,
        series: &[
            Series { name: "runs begun", colour: ORANGE, value: |sample| Some(sample.runs) },
            Series {
                name: "commands begun at clients",
                colour: BLUE,
                value: |sample| Some(sample.executions),
            },
        ],
    },
    Plot {
        title: "lateness, ms",
        logarithmic: true,
        series: &[
            Series { name: "longest", colour: ORANGE, value: |sample| late(sample, 2) },
            Series { name: "p99", colour: GREEN, value: |sample| late(sample, 1) },
            Series { name: "p50", colour: BLUE, value: |sample| late(sample, 0) },
        ],
    },
    Plot {
        title: "server's memory, MiB",
        logarithmic: false,
        series: &[Series { name: "resident", colour: BLUE, value: |sample| mib(sample.memory) }],
    },
    Plot {
        title: "store on disk, MiB",
        logarithmic: false,
        series: &[Series { name: "taken", colour: BLUE, value: |sample| mib(Some(sample.disk)) }],
    },
    Plot {
        title: "server's processor time, processors",
        logarithmic: false,
        series: &[Series { name: "busy", colour: BLUE, value: |sample| sample.processor }],
    },
    Plot {
        title: "at the server",
        logarithmic: false,
        series: &[
            Series {
                name: "open runs",
                colour: ORANGE,
                value: |sample| sample.runs_open.map(|runs| runs as f64),
            },
            Series {
                name: "connected clients",
                colour: BLUE,
                value: |sample| sample.connected.map(|clients| clients as f64),
            },
        ],
    },
];

fn late(sample: &Sample, place: usize) -> Option<f64> {
    sample.late.map(|late| late[place] as f64)
}

fn mib(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))
}

fn colour(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Kill => "#cf222e",
        FaultKind::Disconnect => "#8250df",
        FaultKind::Pause => "#bf8700",
        FaultKind::Clock => "#0a7ea4",
    }
}

/// All plots. `begun` is when the first sample's time began, in milliseconds.
pub(super) fn all(samples: &[Sample], marks: &[Mark], begun: i64) -> String {
    let seconds = samples.last().map_or(1.0, |sample| sample.at.max(1.0));
    let top = GAP + ROW * FaultKind::ALL.len() as f64;
    let height = top + PLOTS.len() as f64 * (HEIGHT + GAP) + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"plots over time\">\n"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "<defs><g id=\"faults\">{}</g></defs>", across(marks, begun, seconds));
    rows(&mut svg, marks, begun, seconds);
    for (place, plot) in PLOTS.iter().enumerate() {
        let y = top + GAP * 0.6 + place as f64 * (HEIGHT + GAP);
        let _ = writeln!(svg, "<g transform=\"translate(0 {y:.1})\">");
        one(&mut svg, plot, samples, seconds);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>");
    svg
}

/// Where a moment is on the axis of time.
fn x(at: f64, seconds: f64) -> f64 {
    LEFT + (at / seconds).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

/// Where a fault begins on the axis of time, and how wide it is.
fn span(mark: &Mark, begun: i64, seconds: f64) -> (f64, f64) {
    let at = |millis: i64| x((millis - begun) as f64 / 1_000.0, seconds);
    let from = at(mark.from);
    let until = mark.until.map_or(x(seconds, seconds), at);
    (from, (until - from).max(1.0))
}

/// The faults as they go across each plot.
fn across(marks: &[Mark], begun: i64, seconds: f64) -> String {
    let mut across = String::new();
    for mark in marks {
        let ((from, width), colour) = (span(mark, begun, seconds), colour(mark.kind));
        let _ = write!(
            across,
            "<rect x=\"{from:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\" \
             fill=\"{colour}\" opacity=\".22\"/>"
        );
    }
    across
}

/// A row of faults for each kind, which tell what they were.
fn rows(svg: &mut String, marks: &[Mark], begun: i64, seconds: f64) {
    for (place, kind) in FaultKind::ALL.into_iter().enumerate() {
        let y = 20.0 + place as f64 * ROW;
        let (name, colour) = (kind.name(), colour(kind));
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>",
            LEFT - 6.0,
            y + 10.0
        );
        for mark in marks.iter().filter(|mark| mark.kind == kind) {
            let (from, width) = span(mark, begun, seconds);
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" \
                 fill=\"{colour}\"><title>{}</title></rect>",
                width.max(2.0),
                ROW - 3.0,
                text(&mark.what)
            );
        }
    }
}

fn one(svg: &mut String, plot: &Plot, samples: &[Sample], seconds: f64) {
    let values = plot.series.iter().flat_map(|series| samples.iter().filter_map(series.value));
    let most = values.fold(0.0, f64::max);
    let scale = if plot.logarithmic {
        Scale::Logarithmic(10_f64.powf(most.max(10.0).log10().ceil()))
    } else {
        Scale::Linear(round_up(most.max(0.01)))
    };
    let _ = writeln!(svg, "<use href=\"#faults\"/>");
    let _ = write!(svg, "<text x=\"{LEFT}\" y=\"-7\" fill=\"currentColor\" font-weight=\"600\">");
    let _ = write!(svg, "{}</text>", plot.title);
    legend(svg, plot);
    for value in scale.lines() {
        let y = scale.y(value);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" \
             opacity=\".15\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" \
             fill=\"currentColor\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            number(value)
        );
    }
    for at in steps(seconds) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"currentColor\" \
             opacity=\".7\">{}</text>",
            x(at, seconds),
            HEIGHT + 14.0,
            number(at / 60.0)
        );
    }
    for series in plot.series {
        line(svg, series, samples, scale, seconds);
    }
}

fn legend(svg: &mut String, plot: &Plot) {
    let mut at = WIDTH - RIGHT;
    for series in plot.series {
        let (name, colour) = (series.name, series.colour);
        let _ = write!(
            svg,
            "<text x=\"{at}\" y=\"-7\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>"
        );
        at -= name.len() as f64 * 6.6 + 18.0;
    }
    svg.push('\n');
}

/// A line through the samples; it has a gap where there is no value.
fn line(svg: &mut String, series: &Series, samples: &[Sample], scale: Scale, seconds: f64) {
    let mut path = String::new();
    let mut pen = 'M';
    for sample in samples {
        match (series.value)(sample) {
            Some(value) => {
                let _ = write!(path, "{pen}{:.1} {:.1}", x(sample.at, seconds), scale.y(value));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.4\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
        series.colour
    );
}

impl Scale {
    /// Where a value is, from the top of the plot.
    fn y(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear(most) => value / most,
            Self::Logarithmic(most) => value.max(1.0).log10() / most.log10(),
        };
        HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }

    /// The values that have a line across the plot.
    fn lines(self) -> Vec<f64> {
        match self {
            Self::Linear(most) => {
                let step = round_up(most / f64::from(LINES));
                (0..=LINES).map(|n| f64::from(n) * step).filter(|at| *at <= most).collect()
            }
            Self::Logarithmic(most) => {
                let powers = (0..).map(|power| 10_f64.powi(power));
                powers.take_while(|at| *at <= most * 1.001).collect()
            }
        }
    }
}

/// The next number that is 1, 2, 2.5, 4 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let next =
        [1.0, 2.0, 2.5, 4.0, 5.0, 10.0].into_iter().find(|n| n * power >= value * (1.0 - 1e-9));
    next.unwrap_or(10.0) * power
}

/// The moments that are written below a plot, in seconds.
fn steps(seconds: f64) -> Vec<f64> {
    let step = round_up(seconds / 60.0 / 8.0) * 60.0;
    let mut steps = Vec::new();
    let mut at = 0.0;
    while at <= seconds {
        steps.push(at);
        at += step;
    }
    steps
}

fn number(value: f64) -> String {
    let rounded = if value.abs() >= 10.0 { value.round() } else { (value * 100.0).round() / 100.0 };
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u32) -> Sample {
        let value = u64::from(at);
        Sample {
            at: f64::from(at),
            runs: 3.0,
            executions: f64::from(at),
            late: (!at.is_multiple_of(5)).then_some([1, value, 10 * value]),
            memory: Some(value << 20),
            disk: value << 20,
            processor: Some(0.5),
            runs_open: Some(value),
            connected: Some(7),
        }
    }

    fn marks() -> Vec<Mark> {
        let mark = |kind, from, until| Mark { kind, what: "a <b>".to_owned(), from, until };
        vec![mark(FaultKind::Kill, 11_000, Some(12_000)), mark(FaultKind::Clock, 20_000, None)]
    }

    #[test]
    fn every_element_that_is_opened_is_closed_and_nothing_lies_outside() {
        let samples: Vec<Sample> = (0..100).map(sample).collect();
        for samples in [&samples[..], &samples[..1], &[]] {
            let svg = all(samples, &marks(), 1_000);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("<title>a &lt;b&gt;</title>"));
            let mut open = Vec::new();
            for element in svg.split('<').skip(1) {
                let (tag, _) = element.split_once('>').unwrap();
                let name = |tag: &str| tag.split_whitespace().next().unwrap().to_owned();
                match tag.strip_prefix('/') {
                    Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
                    None if tag.ends_with('/') => {}
                    None => open.push(name(tag)),
                }
            }
            assert!(open.is_empty(), "{open:?}");
        }
        let svg = all(&samples, &marks(), 1_000);
        let path = svg.split(" d=\"").nth(3).unwrap().split('"').next().unwrap();
        let gaps = path.matches('M').count();
        assert_eq!(gaps, 20, "a gap at every fifth of 100 samples");
        for point in path.split(['M', 'L']).skip(1) {
            let (x, y) = point.split_once(' ').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (0.0..=HEIGHT).contains(&y));
        }
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (value, round) in [(0.01, 0.01), (3.0, 4.0), (41.0, 50.0), (99.0, 100.0), (700.0, 1e3)]
        {
            assert!((round_up(value) - round).abs() < 1e-9, "{value}: {}", round_up(value));
        }
        assert_eq!(Scale::Linear(40.0).lines(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(Scale::Logarithmic(1_000.0).lines(), [1.0, 10.0, 100.0, 1_000.0]);
        assert!((Scale::Logarithmic(100.0).y(10.0) - HEIGHT / 2.0).abs() < 1e-9);
        assert_eq!(number(0.25), "0.25");
        assert_eq!(number(12.4), "12");
    }
}

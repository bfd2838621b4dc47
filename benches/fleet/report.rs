//! Figures, what several repeats of them come to, and how they are printed.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

/// One measured value.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    baseline: Option<f64>,
    must_be_zero: bool,
    targets: Vec<Target>,
}

/// What a figure should come to.
#[derive(Debug, Clone, Copy)]
struct Target {
    of: Of,
    bound: f64,
    /// It is the least and not the most.
    least: bool,
}

/// What a target is about.
#[derive(Debug, Clone, Copy)]
enum Of {
    Value,
    Ratio,
}

impl Target {
    /// Whether the medians meet it; a figure that was not to be had does not.
    fn is_met(self, value: f64, ratio: Option<f64>) -> bool {
        let found = match self.of {
            Of::Value => value,
            Of::Ratio => ratio.unwrap_or(f64::NAN),
        };
        if self.least { found >= self.bound } else { found <= self.bound }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = match self.of {
            Of::Value => "",
            Of::Ratio => "ratio ",
        };
        let sign = if self.least { ">=" } else { "<=" };
        write!(f, "{of}{sign} {}", self.bound)
    }
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let (name, targets) = (name.into(), Vec::new());
        Self { name, unit, value, baseline: None, must_be_zero: false, targets }
    }

    /// The value should be at least that.
    pub(crate) fn at_least(self, bound: f64) -> Self {
        self.target(Of::Value, bound, true)
    }

    /// The value should be at most that.
    pub(crate) fn at_most(self, bound: f64) -> Self {
        self.target(Of::Value, bound, false)
    }

    /// The value should be at least that part of the baseline.
    pub(crate) fn ratio_at_least(self, bound: f64) -> Self {
        self.target(Of::Ratio, bound, true)
    }

    /// The value should be at most so many times the baseline.
    pub(crate) fn ratio_at_most(self, bound: f64) -> Self {
        self.target(Of::Ratio, bound, false)
    }

    fn target(mut self, of: Of, bound: f64, least: bool) -> Self {
        self.targets.push(Target { of, bound, least });
        self
    }

    /// With what the baseline came to.
    pub(crate) fn beside(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// Anything else is a fault.
    pub(crate) fn must_be_zero(mut self) -> Self {
        self.must_be_zero = true;
        self
    }
}

/// A figure over all repeats.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    /// The median.
    value: f64,
    /// The median.
    baseline: Option<f64>,
    /// The median of the repeats' ratios of value to baseline.
    ratio: Option<f64>,
    repeats: usize,
    min: f64,
    max: f64,
    must_be_zero: bool,
    targets: Vec<Target>,
}

impl Row {
    fn of(repeats: &[&Figure]) -> Self {
        let first = repeats[0];
        let values: Vec<f64> = repeats.iter().map(|figure| figure.value).collect();
        let baselines = repeats.iter().filter_map(|figure| figure.baseline);
        let ratios = repeats.iter().filter_map(|figure| Some(figure.value / figure.baseline?));
        Self {
            name: first.name.clone(),
            unit: first.unit,
            value: median(values.clone()).unwrap_or(f64::NAN),
            baseline: median(baselines.collect()),
            ratio: median(ratios.filter(|ratio| ratio.is_finite()).collect()),
            repeats: values.len(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            must_be_zero: first.must_be_zero,
            targets: first.targets.clone(),
        }
    }

    /// Whether every target is met; `None`: there is none.
    fn is_met(&self) -> Option<bool> {
        let met = || self.targets.iter().all(|target| target.is_met(self.value, self.ratio));
        (!self.targets.is_empty()).then(met)
    }

    /// The targets in words; none: a dash.
    fn target(&self) -> String {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        if targets.is_empty() { "-".to_owned() } else { targets.join(", ") }
    }

    /// What is short of its target.
    pub(crate) fn missed(&self) -> Option<String> {
        let missed = self.is_met() == Some(false);
        let ratio = self.ratio.map(|ratio| format!(", ratio {}", number(ratio)));
        missed.then(|| {
            let (value, ratio) = (number(self.value), ratio.unwrap_or_default());
            format!("{}: {value} {}{ratio}; target {}", self.name, self.unit, self.target())
        })
    }

    /// What is wrong in any of the repeats.
    pub(crate) fn fault(&self) -> Option<String> {
        let wrong = self.must_be_zero && self.max > 0.0;
        wrong.then(|| format!("{}: {} {}; must be 0", self.name, self.max, self.unit))
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => Some(f64::midpoint(*values.get(middle.checked_sub(1)?)?, values[middle])),
        _ => Some(values[middle]),
    }
}

/// One row for each figure of the repeats, which all have the same figures in the same order.
pub(crate) fn rows(repeats: &[Vec<Figure>]) -> Vec<Row> {
    let row = |n| Row::of(&repeats.iter().map(|repeat| &repeat[n]).collect::<Vec<_>>());
    (0..repeats[0].len()).map(row).collect()
}

/// One object a line.
pub(crate) fn print_json(rows: &[Row]) {
    for row in rows {
        let Row { name, unit, value, baseline, ratio, repeats, min, max, .. } = row;
        let targets: Vec<String> = row.targets.iter().map(ToString::to_string).collect();
        let object = json!({
            "name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio,
            "repeats": repeats, "min": min, "max": max, "target": targets, "met": row.is_met(),
        });
        println!("{object}");
    }
}

/// Aligned columns.
pub(crate) fn print_table(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "what", "value", "unit", "baseline", "ratio", "repeats", "min", "max", "target", "met",
    ]);
    for row in rows {
        let or_dash = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        table.add_row([
            row.name.clone(),
            number(row.value),
            row.unit.to_owned(),
            or_dash(row.baseline),
            or_dash(row.ratio),
            row.repeats.to_string(),
            number(row.min),
            number(row.max),
            row.target(),
            row.is_met().map_or("-", |met| if met { "yes" } else { "NO" }).to_owned(),
        ]);
    }
    for column in [1, 3, 4, 5, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}

/// Three digits, or whole if it is a count.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        return format!("{value}");
    }
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

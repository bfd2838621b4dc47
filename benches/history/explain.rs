//! Explanations of each kind, read part by part to their sums.

use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use fleetcron::explain::{
    ClientExplainer, ClientQuery, Item, JobExplainer, JobQuery, Only, Span, Sums,
};
use fleetcron::store::{Store, StoreError, records};
use fleetcron::{JobId, JobName, Timestamp};
use serde_json::json;

use super::generate::{self, BEGIN, JOBS, STEADY};

/// Calls of each kind.
const CALLS: usize = 5;

/// The span that most are asked for.
const HOUR: Duration = Duration::from_secs(3_600);

/// What one kind came to.
pub(crate) struct Row {
    name: &'static str,
    /// In milliseconds.
    median: f64,
    max: f64,
    /// The longest time in which one part was read: so long a reader waits for more.
    part: f64,
    items: u64,
    sums: Box<Sums>,
}

/// What is asked for: a job, or a client.
enum Asked {
    Job(JobQuery),
    Client(ClientQuery),
}

/// Asks for each kind.
pub(crate) fn measure(store: &dyn Store, end: Timestamp) -> Vec<Row> {
    let now = end.plus(Duration::from_secs(1));
    let since = if end.since(BEGIN) > HOUR { now.minus(HOUR) } else { BEGIN };
    let jobs = records::load(store).unwrap().jobs;
    let of_job = |name: JobName, since: Timestamp| {
        let mut query = JobQuery::new(name);
        query.since = Some(since);
        query
    };
    let steady: JobName = STEADY.parse().unwrap();
    let one = JobQuery { client: Some(generate::client(37)), ..of_job(generate::job(0), since) };
    let problems = JobQuery { only: Only::Problems, ..of_job(generate::job(0), since) };
    let client = |since| {
        let mut query = ClientQuery::new(generate::client(37));
        query.since = Some(since);
        Asked::Client(query)
    };
    let kinds = [
        ("a job every 10 s, an hour", Asked::Job(of_job(steady.clone(), since))),
        ("a job every 10 s, all", Asked::Job(of_job(steady, BEGIN))),
        ("a job of all clients, an hour", Asked::Job(of_job(generate::job(0), since))),
        ("its problems", Asked::Job(problems)),
        ("the same for one client", Asked::Job(one)),
        ("a job of one client, an hour", Asked::Job(of_job(generate::job(JOBS), since))),
        ("a client, an hour", client(since)),
        ("a client, all", client(BEGIN)),
    ];
    kinds
        .into_iter()
        .map(|(name, asked)| {
            let live = match &asked {
                Asked::Job(query) => jobs.iter().find(|(job, _)| job.spec.name == query.job),
                Asked::Client(_) => None,
            };
            row(name, live.map(|(job, _)| job.id), now, |live, now| {
                part_of(store, &asked, live, now)
            })
        })
        .collect()
}

type Parts<'a> = Box<dyn FnMut() -> Result<Option<Vec<Item>>, StoreError> + 'a>;

/// Begins an explanation, and gives what reads its next part.
fn part_of<'a>(
    store: &'a dyn Store,
    asked: &Asked,
    live: Option<JobId>,
    now: Timestamp,
) -> Parts<'a> {
    match asked {
        Asked::Job(query) => {
            let span = Span::of(query.since, query.until, now).unwrap();
            let mut it = JobExplainer::open(store, query.clone(), live, span, now).unwrap();
            Box::new(move || it.part(store))
        }
        Asked::Client(query) => {
            let span = Span::of(query.since, query.until, now).unwrap();
            let mut it = ClientExplainer::open(store, query.clone(), span).unwrap().unwrap();
            Box::new(move || it.part(store))
        }
    }
}

fn row<'a>(
    name: &'static str,
    live: Option<JobId>,
    now: Timestamp,
    open: impl Fn(Option<JobId>, Timestamp) -> Parts<'a>,
) -> Row {
    let ms = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let (mut took, mut longest) = (Vec::new(), Duration::ZERO);
    let (mut items, mut sums) = (0, None);
    for _ in 0..CALLS {
        let begun = Instant::now();
        let mut next = open(live, now);
        let mut part_begun = begun;
        items = 0;
        while let Some(part) = next().unwrap() {
            longest = longest.max(part_begun.elapsed());
            part_begun = Instant::now();
            items += part.len() as u64;
            if let Some(Item::Sums(last)) = part.into_iter().next_back() {
                sums = Some(last);
            }
        }
        took.push(ms(begun.elapsed()));
    }
    took.sort_by(f64::total_cmp);
    let (median, max) = (took[CALLS / 2], took[CALLS - 1]);
    let sums = sums.expect("the sums are the last item");
    Row { name, median, max, part: ms(longest), items, sums }
}

/// What is not as it must be: every firing is explained.
pub(crate) fn faults(rows: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for Row { name, sums, .. } in rows {
        if sums.unexplained > 0 {
            faults.push(format!("{name}: {} unexplained", sums.unexplained));
        }
        if sums.expected + sums.others + u64::from(sums.deliveries.total) == 0 {
            faults.push(format!("{name}: nothing was explained"));
        }
    }
    faults
}

/// Prints the rows.
pub(crate) fn print(rows: &[Row], as_json: bool) {
    if as_json {
        for Row { name, median, max, part, items, sums } in rows {
            let object = json!({
                "name": format!("explain {name}"), "unit": "ms", "median": median, "max": max,
                "longest_part": part, "items": items, "calls": CALLS, "sums": sums,
            });
            println!("{object}");
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "explain",
        "median ms",
        "max ms",
        "longest part ms",
        "items",
        "expected",
        "other runs",
        "deliveries",
        "unexplained",
    ]);
    for Row { name, median, max, part, items, sums } in rows {
        table.add_row([
            (*name).to_owned(),
            format!("{median:.1}"),
            format!("{max:.1}"),
            format!("{part:.1}"),
            items.to_string(),
            sums.expected.to_string(),
            sums.others.to_string(),
            sums.deliveries.total.to_string(),
            sums.unexplained.to_string(),
        ]);
    }
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}

//! Whether a server grows that works for long: 30 minutes at half of what it can do, with commands
//! for all of 1,000 clients and retention at work. Its memory and its files are looked at every
//! second, and a line is fitted to what comes after the first minutes.

use std::time::{Duration, Instant};

use fleetcron::Serial;
use fleetcron::remote::Remote;

use super::broadcast::size;
use super::load::Load;
use super::options::{Note, Options};
use super::pace::{Pace, as_float, drained, submission};
use super::process::resident;
use super::report::Figure;
use super::server::{Server, directory};

const CLIENTS: usize = 1_000;

/// Runs that are open while it is found out what the server can do.
const OPEN: usize = 64;

/// How long each part takes.
struct Times {
    /// As fast as it goes.
    full: Duration,
    /// At half of that, all in all.
    half: Duration,
    /// Of these the first, which the line leaves out.
    settling: Duration,
    /// How long history is kept: shorter than the settling.
    keep: &'static str,
}

const LONG: Times = Times {
    full: Duration::from_secs(15),
    half: Duration::from_secs(1_800),
    settling: Duration::from_secs(300),
    keep: "2m",
};

const QUICK: Times = Times {
    full: Duration::from_secs(5),
    half: Duration::from_secs(60),
    settling: Duration::from_secs(25),
    keep: "10s",
};

/// Seconds of which the mean is one point of the line.
const BIN: usize = 10;

/// What was seen at a moment.
#[derive(Clone, Copy)]
struct Look {
    seconds: f64,
    memory: f64,
    disk: f64,
}

/// One repeat.
pub(crate) fn run(options: &Options) -> Vec<Figure> {
    let times = if options.quick { QUICK } else { LONG };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let keep = times.keep;
    let server = Server::start_on(
        directory(),
        &["--keep", keep, "--keep-ledger", keep, "--keep-inputs", keep, "--retention-every", "1s"],
    );
    runtime.block_on(server.define(CLIENTS));
    let load = Load::start(&server.listen, CLIENTS, Note::Count);
    let remote = server.remote();
    let full = pace(times.full);
    let full = runtime.block_on(full.keep(&remote, |_| submission("all"), || ()));
    let half = full.rate() / 2.0;
    let (submitted, looks, left_open) = runtime.block_on(work(&server, &remote, half, &times));
    let came: u64 = load.end().trim_end().parse().unwrap();
    let expected = ((full.submitted.len() + submitted.len()) * CLIENTS) as u64;
    let mut figures = vec![
        Figure::new("soak-growth.at first", full.rate(), "deliveries/s"),
        Figure::new("soak-growth.load", half, "deliveries/s"),
        Figure::new("soak-growth.missing", as_float(expected.saturating_sub(came)), "deliveries")
            .must_be_zero(),
        Figure::new("soak-growth.doubled", as_float(came.saturating_sub(expected)), "deliveries")
            .must_be_zero(),
        Figure::new("soak-growth.left open", as_float(left_open), "runs").must_be_zero(),
    ];
    let memory = growth("memory", &looks, times.settling, |look| look.memory);
    let disk = growth("disk", &looks, times.settling, |look| look.disk);
    for [level, slope, error, beyond] in [memory, disk] {
        // In the short form the store's cache still fills.
        let beyond = if options.quick { beyond } else { beyond.at_most(0.0) };
        figures.extend([level, slope, error, beyond]);
    }
    figures
}

fn pace(measured: Duration) -> Pace {
    let warm_up = Duration::from_secs(1);
    Pace { open: OPEN, callers: 16, clients: CLIENTS as u64, warm_up, measured }
}

/// Submits at a rate of deliveries, and looks at the server every second.
async fn work(
    server: &Server,
    remote: &Remote,
    rate: f64,
    times: &Times,
) -> (Vec<Serial>, Vec<Look>, u64) {
    let begun = Instant::now();
    let period = Duration::from_secs_f64(as_float(CLIENTS as u64) / rate);
    let mut due = tokio::time::interval(period);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let (mut submitted, mut looks) = (Vec::new(), Vec::new());
    while begun.elapsed() < times.half {
        tokio::select! {
            _ = due.tick() => {
                submitted.push(remote.submit(submission("all")).await.unwrap().serial);
            }
            _ = second.tick() => looks.push(Look {
                seconds: begun.elapsed().as_secs_f64(),
                memory: resident(server.id()),
                disk: as_float(size(&server.data())),
            }),
        }
    }
    let left_open = drained(remote).await;
    (submitted, looks, left_open)
}

/// How much it grows in an hour, how uncertain that is, and how much of it is beyond doubt.
///
/// Neighbouring points are not independent, for the store's files swing over minutes: the standard
/// error is that of as many points as tell as much, by the correlation of neighbours ρ, which are
/// n(1 - ρ)/(1 + ρ) of n, and taken as no fewer than three (Santer et al. 2000,
/// <https://doi.org/10.1029/1999JD901105>).
fn growth(
    what: &str,
    looks: &[Look],
    settling: Duration,
    of: impl Fn(&Look) -> f64,
) -> [Figure; 4] {
    let settled: Vec<&Look> =
        looks.iter().filter(|look| look.seconds >= settling.as_secs_f64()).collect();
    let float = |count: usize| as_float(count as u64);
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / f64::from(count)
    };
    let points: Vec<(f64, f64)> = settled
        .chunks(BIN)
        .map(|bin| {
            let seconds = mean(&mut bin.iter().map(|look| look.seconds));
            (seconds / 3_600.0, mean(&mut bin.iter().map(|look| of(look) / 1_048_576.0)))
        })
        .collect();
    let middle = mean(&mut points.iter().map(|(at, _)| *at));
    let level = mean(&mut points.iter().map(|(_, value)| *value));
    let spread: f64 = points.iter().map(|(at, _)| (at - middle).powi(2)).sum();
    let slope = points.iter().map(|(at, value)| (at - middle) * (value - level)).sum::<f64>();
    let slope = slope / spread;
    let off: Vec<f64> =
        points.iter().map(|(at, value)| value - level - slope * (at - middle)).collect();
    let residual: f64 = off.iter().map(|off| off.powi(2)).sum();
    let neighbours: f64 = off.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let correlation = (neighbours / residual).max(0.0);
    let independent = float(points.len()) * (1.0 - correlation) / (1.0 + correlation);
    let error = (residual / (independent.max(3.0) - 2.0) / spread).sqrt();
    let name = |part: &str| format!("soak-growth.{what} {part}");
    [
        Figure::new(name("level"), level, "MiB"),
        Figure::new(name("slope"), slope, "MiB/h"),
        Figure::new(name("standard error"), error, "MiB/h"),
        Figure::new(name("growth beyond noise"), (slope - 2.0 * error).max(0.0), "MiB/h"),
    ]
}

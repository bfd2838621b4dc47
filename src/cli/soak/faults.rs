//! The faults: which come when, by a seed, and how each is injected and ended.
//!
//! Each kind has its own row of faults, so that faults of different kinds overlap. A row follows
//! from the seed alone; what it meets does not.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use super::super::error::CliError;
use super::args::{FaultKind, SoakArgs};
use super::proxy::{Proxy, Weather};
use super::world::World;
use crate::time::{Clock as _, SystemClock};

/// The most by which the server's clock is off, either way, in milliseconds: set back, it is silent
/// until the time has come again, and a soak shall not wait for long.
const MOST_OFF: i64 = 20_000;

/// The least by which it is set, in milliseconds: a jump that the server tells as one.
const LEAST_JUMP: i64 = 6_000;

/// The longest that a process stands still.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The longest that connections stall or are slow.
const LONGEST_STALL: Duration = Duration::from_secs(15);

/// Answers that are lost at once, at most.
const MOST_LOST: u32 = 5;

/// The longest that a piece of bytes is held when connections are slow, in milliseconds.
const SLOWEST: u64 = 400;

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Server,
    /// One of the client processes.
    Clients(u32),
}

/// Which connections a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Clients,
    Http,
}

/// A fault.
#[derive(Debug, Clone, PartialEq)]
enum Fault {
    Kill(Whom),
    Pause(Whom, Duration),
    /// So many per cent of the connections are closed.
    Cut(Line, u8),
    /// So many per cent of the connections carry nothing any more, and are not closed.
    Silence(Line, u8),
    /// So many of the next answers of the server are lost, each with its connection.
    Lose(Line, u32),
    /// Nothing passes for a time.
    Stall(Line, Duration),
    /// All that passes is late for a time.
    Slow(Line, Duration, Duration),
    /// The server's clock is set so that it is off by so many milliseconds.
    Clock(i64),
}

/// A row of faults of one kind.
#[derive(Debug)]
struct Row {
    kind: FaultKind,
    random: Rng,
    /// The mean time between two faults of this row.
    every: Duration,
    /// The mean time between two faults of any kind: no fault lasts longer.
    longest: Duration,
    processes: u32,
    offset: i64,
}

impl Row {
    fn new(kind: FaultKind, args: &SoakArgs, seed: u64) -> Self {
        let kinds = u32::try_from(args.faults.0.len()).unwrap_or(1).max(1);
        Self {
            kind,
            random: Rng::with_seed(seed ^ (1 << (kind as u32 + 56))),
            every: args.fault_every.saturating_mul(kinds),
            longest: args.fault_every,
            processes: args.processes(),
            offset: 0,
        }
    }

    /// How long to wait, and what comes then. The waits are those of a process without memory, cut
    /// at four times their mean.
    fn next(&mut self) -> (Duration, Fault) {
        let wait = self.every.mul_f64((-(1.0 - self.random.f64()).ln()).min(4.0));
        let fault = match self.kind {
            FaultKind::Kill => Fault::Kill(self.whom()),
            FaultKind::Pause => Fault::Pause(self.whom(), self.lasting(LONGEST_PAUSE)),
            FaultKind::Disconnect => self.disconnect(),
            FaultKind::Clock => Fault::Clock(self.clock()),
        };
        (wait, fault)
    }

    fn whom(&mut self) -> Whom {
        if self.random.bool() {
            Whom::Server
        } else {
            Whom::Clients(self.random.u32(0..self.processes))
        }
    }

    fn lasting(&mut self, most: Duration) -> Duration {
        most.min(self.longest).mul_f64(0.1 + 0.9 * self.random.f64())
    }

    fn disconnect(&mut self) -> Fault {
        let line = if self.random.u8(0..5) < 2 { Line::Http } else { Line::Clients };
        let share = self.random.u8(10..=100);
        match self.random.u8(0..5) {
            0 => Fault::Cut(line, share),
            1 => Fault::Silence(line, share),
            2 => Fault::Lose(line, self.random.u32(1..=MOST_LOST)),
            3 => Fault::Stall(line, self.lasting(LONGEST_STALL)),
            _ => {
                let late = Duration::from_millis(self.random.u64(20..=SLOWEST));
                Fault::Slow(line, late, self.lasting(LONGEST_STALL))
            }
        }
    }

    fn clock(&mut self) -> i64 {
        loop {
            let offset = self.random.i64(-MOST_OFF..=MOST_OFF);
            if (offset - self.offset).abs() >= LEAST_JUMP {
                self.offset = offset;
                return offset;
            }
        }
    }
}

impl Fault {
    fn what(&self, offset: i64) -> String {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        match self {
            Self::Kill(whom) => format!("kill -9 of {}", whom.name()),
            Self::Pause(whom, time) => {
                format!("{} stands still for {}", whom.name(), seconds(time))
            }
            Self::Cut(line, share) => format!("{share} % of {} are cut", line.name()),
            Self::Silence(line, share) => {
                format!("{share} % of {} go silent, half open", line.name())
            }
            Self::Lose(line, answers) => {
                format!("the next {answers} answers over {} are lost", line.name())
            }
            Self::Stall(line, time) => format!("{} stall for {}", line.name(), seconds(time)),
            Self::Slow(line, late, time) => {
                let late = late.as_millis();
                format!("{} are {late} ms slower for {}", line.name(), seconds(time))
            }
            Self::Clock(to) => {
                let by = *to - offset;
                let seconds = Duration::from_millis(by.unsigned_abs()).as_secs_f64();
                let way = if by < 0 { "back" } else { "forward" };
                format!("the server's clock is set {way} by {seconds:.1} s")
            }
        }
    }
}

impl Whom {
    fn name(self) -> String {
        match self {
            Self::Server => "the server".to_owned(),
            Self::Clients(number) => format!("client process {number}"),
        }
    }
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "client connections",
            Self::Http => "HTTP connections",
        }
    }

    fn proxy(self, world: &World) -> &Proxy {
        match self {
            Self::Clients => &world.clients_line,
            Self::Http => &world.http_line,
        }
    }
}

/// Injects faults of one kind until it is told to stop; what it injected has ended then. The error
/// is that something did not come up again.
pub(super) async fn inject(
    world: Arc<World>,
    kind: FaultKind,
    args: Arc<SoakArgs>,
    seed: u64,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let mut row = Row::new(kind, &args, seed);
    loop {
        let (wait, fault) = row.next();
        if sleep_or(&stop, wait).await {
            return Ok(());
        }
        let now = || SystemClock.now().millis();
        let place = world.marks.begin(kind, fault.what(world.offset()), now());
        injected(&world, &fault, &mut row.random, &stop).await?;
        world.marks.end(place, now());
    }
}

async fn injected(
    world: &World,
    fault: &Fault,
    random: &mut Rng,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let lasting = |time: Duration| async move { _ = sleep_or(stop, time).await };
    match *fault {
        Fault::Kill(Whom::Server) => world.kill_server().await?,
        Fault::Kill(Whom::Clients(number)) => world.kill_crew(number).await?,
        Fault::Pause(Whom::Server, time) => world.pause_server(lasting(time)).await,
        Fault::Pause(Whom::Clients(number), time) => {
            world.pause_crew(number, lasting(time)).await;
        }
        Fault::Cut(line, share) => {
            line.proxy(world).cut(|| random.u8(0..100) < share);
        }
        Fault::Silence(line, share) => {
            line.proxy(world).silence(|| random.u8(0..100) < share);
        }
        Fault::Lose(line, answers) => line.proxy(world).lose(answers),
        Fault::Stall(line, time) => {
            line.proxy(world).set(Weather { stalled: true, ..Weather::default() });
            lasting(time).await;
            line.proxy(world).set(Weather::default());
        }
        Fault::Slow(line, late, time) => {
            line.proxy(world).set(Weather { delay: late, ..Weather::default() });
            lasting(time).await;
            line.proxy(world).set(Weather::default());
        }
        Fault::Clock(to) => world.set_clock(to)?,
    }
    Ok(())
}

/// Waits so long; `true`: it was told to stop.
async fn sleep_or(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        () = stop.cancelled() => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;

    fn row(kind: FaultKind, seed: u64) -> Row {
        Row::new(kind, &args("--processes 3"), seed)
    }

    #[test]
    fn a_seed_gives_the_same_row_again_and_another_another() {
        for kind in FaultKind::ALL {
            let faults = |seed| {
                let mut row = row(kind, seed);
                (0..50).map(|_| row.next()).collect::<Vec<_>>()
            };
            assert_eq!(faults(7), faults(7));
            assert_ne!(faults(7), faults(8));
        }
    }

    #[test]
    fn the_mean_wait_is_what_was_asked_for_and_every_form_comes() {
        let mut kill = row(FaultKind::Kill, 1);
        let waits: Duration = (0..4_000).map(|_| kill.next().0).sum();
        let mean = waits.as_secs_f64() / 4_000.0;
        assert!((75.0..=85.0).contains(&mean), "{mean} s, of four kinds every 20 s");
        let mut disconnect = row(FaultKind::Disconnect, 1);
        let forms: Vec<Fault> = (0..100).map(|_| disconnect.next().1).collect();
        let has = |is: fn(&Fault) -> bool| forms.iter().any(is);
        assert!(has(|it| matches!(it, Fault::Cut(..))) && has(|it| matches!(it, Fault::Slow(..))));
        assert!(
            has(|it| matches!(it, Fault::Silence(..))) && has(|it| matches!(it, Fault::Lose(..)))
        );
        assert!(has(|it| matches!(it, Fault::Stall(..))));
    }

    #[test]
    fn the_clock_jumps_each_time_and_stays_near() {
        let mut clock = row(FaultKind::Clock, 3);
        let mut before = 0;
        for _ in 0..500 {
            let Fault::Clock(offset) = clock.next().1 else { panic!("a clock's fault") };
            assert!((offset - before).abs() >= LEAST_JUMP && offset.abs() <= MOST_OFF);
            before = offset;
        }
    }
}

//! Tests of the journal, and what they share.

mod bytes;
mod failures;
mod remembering;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use super::*;
use crate::id::Serial;
use crate::json::Json;
use crate::time::Timestamp;

fn serial(n: u64) -> Serial {
    Serial::from_parts(Timestamp::from_millis(1_700_000_000_000), u128::from(n))
}

/// The first attempt at a run.
fn first(n: u64) -> Attempt {
    serial(n).into()
}

fn client() -> ClientId {
    "web-01".parse().unwrap()
}

fn command(n: u64, on_client_crash: OnClientCrash) -> CommandFrame {
    CommandFrame {
        serial: serial(n),
        attempt: 1,
        timeout_ms: None,
        command: "backup.run".parse().unwrap(),
        params: Json::new(&serde_json::json!({ "n": n })).unwrap(),
        job: Some("nightly/backup".parse().unwrap()),
        scheduled_at: Timestamp::from_millis(1_700_000_000_000),
        in_turn: true,
        on_client_crash,
        priority: crate::Priority::default(),
        per_client: None,
    }
}

fn fail(n: u64) -> CommandFrame {
    command(n, OnClientCrash::Fail)
}

fn retry(n: u64) -> CommandFrame {
    command(n, OnClientCrash::Retry)
}

fn done(n: u64) -> Outcome {
    Outcome::succeeded(Json::new(&format!("result of {n}")).unwrap())
}

fn cut_short(n: u64) -> Remembered {
    let reason = "interrupted: the client ended while it ran";
    Remembered::Ended(first(n), Outcome::ended(DeliveryState::Failed, reason))
}

/// Opens a journal; what it remembers of acknowledged commands is left out.
fn open(options: &JournalOptions) -> (Journal, Vec<Remembered>) {
    let Opened { journal, remembered, .. } = Journal::open(options, &client()).unwrap();
    (journal, open_ones(remembered))
}

fn open_ones(mut remembered: Vec<Remembered>) -> Vec<Remembered> {
    remembered.retain(|one| !matches!(one, Remembered::Acknowledged(..)));
    remembered
}

fn refusal(directory: &Path) -> String {
    Journal::open(&directory.into(), &client()).err().unwrap().to_string()
}

/// Opens a journal, and closes it again.
async fn reopened(options: &JournalOptions) -> Vec<Remembered> {
    let (journal, remembered) = open(options);
    journal.close().await;
    remembered
}

async fn take(journal: &Journal, command: CommandFrame) -> Result<(), NotJournalled> {
    journal.pen().write(Note::Taken(command)).await
}

async fn end(journal: &Journal, n: u64) -> Result<(), NotJournalled> {
    journal.pen().write(Note::Ended(first(n), done(n))).await
}

fn length(directory: &Path) -> u64 {
    fs::metadata(directory.join(files::FILE)).unwrap().len()
}

/// Options with which every step is noted, and fails while `broken` says so.
fn watched(directory: &Path) -> (JournalOptions, Arc<Mutex<Watched>>) {
    let watched = Arc::new(Mutex::new(Watched::default()));
    let shared = Arc::clone(&watched);
    let probe = move |step| {
        let mut watched = shared.lock().unwrap();
        watched.steps.push(step);
        if watched.broken.contains(&step) {
            return Err(io::Error::from_raw_os_error(28));
        }
        Ok(())
    };
    let options = JournalOptions { probe: Some(Arc::new(probe)), ..directory.into() };
    (options, watched)
}

#[derive(Default)]
struct Watched {
    steps: Vec<Step>,
    broken: Vec<Step>,
}

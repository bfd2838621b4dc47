//! The lines that a process writes, to wait for.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::watch;

use super::within;

/// The lines of a stream so far, and those to come.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Log {
    /// Reads a stream to its end on a thread of its own, so that the writer never waits.
    pub fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let shared = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut lines = shared.lock().unwrap();
                lines.push(line);
                told.send_replace(lines.len());
            }
        });
        Self { lines, count }
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The first line for which `find` gives something; waits for it. Panics with the whole log
    /// when the stream ends without it.
    pub async fn find<T>(&self, what: &str, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let mut count = self.count.clone();
        let mut seen = 0;
        let found = async {
            loop {
                count.borrow_and_update();
                {
                    let lines = self.lines.lock().unwrap();
                    if let Some(found) = lines[seen..].iter().find_map(|line| find(line)) {
                        return Some(found);
                    }
                    seen = lines.len();
                }
                if count.changed().await.is_err() {
                    let lines = self.lines.lock().unwrap();
                    return lines[seen..].iter().find_map(|line| find(line));
                }
            }
        };
        match within(what, found).await {
            Some(found) => found,
            None => panic!("the stream ended without {what}:\n{}", self.text()),
        }
    }

    /// The first line that has all these parts.
    pub async fn line(&self, parts: &[&str]) -> String {
        let has_all = |line: &str| parts.iter().all(|part| line.contains(part));
        let what = format!("a line with {parts:?}");
        self.find(&what, |line| has_all(line).then(|| line.to_owned())).await
    }

    /// The first JSON line with this message and these fields.
    pub async fn json(&self, message: &str, fields: &[(&str, &str)]) -> Value {
        let what = format!("log line {message:?} with {fields:?}");
        self.find(&what, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let fits = line["message"] == message
                && fields.iter().all(|(name, value)| line[*name] == *value);
            fits.then_some(line)
        })
        .await
    }

    /// Waits for the end of the stream.
    pub async fn ended(&self) {
        let mut count = self.count.clone();
        within("the end of a stream", async { while count.changed().await.is_ok() {} }).await;
    }
}

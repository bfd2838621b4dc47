//! What running commands let be seen, as lines with their client's name before them.
//!
//! Promises: whole lines only, however the pieces were cut; what clients print cannot steer the
//! terminal.

use std::collections::{BTreeMap, HashMap};

use futures_util::TryStreamExt as _;

use super::error::CliError;
use super::output::{Out, note};
use super::progress::Progress as Bar;
use crate::id::{ClientId, Serial};
use crate::live::{Live, OutputStream, Piece, Progress};
use crate::remote::Remote;

/// A line that is longer is cut in two, in bytes.
const LINE: usize = 64 * 1024;

/// Lines under way, and what was told last.
struct Seen<'a> {
    out: &'a Out,
    bar: &'a Bar,
    lines: BTreeMap<(ClientId, OutputStream), String>,
    told: HashMap<ClientId, (Option<u8>, Option<String>)>,
}

/// Shows what is seen of a run, or of one client, until the run has ended. A connection that breaks
/// ends the show alone: the answers are what counts.
pub(super) async fn show(
    out: &Out,
    bar: &Bar,
    remote: &Remote,
    (serial, client): (Serial, Option<ClientId>),
) -> Result<(), CliError> {
    let mut stream = remote.output(serial, client, true);
    let mut seen = Seen { out, bar, lines: BTreeMap::new(), told: HashMap::new() };
    loop {
        match stream.try_next().await {
            Ok(Some(live)) if out.is_json() => out.json_line(&*live)?,
            Ok(Some(live)) => seen.show(&live)?,
            Ok(None) => return seen.end(),
            Err(error) if error.is_connection() => {
                seen.end()?;
                tracing::warn!(%serial, %error, "the stream of output broke; the answers still come");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Seen<'_> {
    fn show(&mut self, live: &Live) -> Result<(), CliError> {
        match live {
            Live::Output { client, piece, .. } => self.piece(client, piece),
            Live::Progress { client, progress, .. } => {
                self.progress(client, progress);
                Ok(())
            }
            Live::Ended { client, .. } => self.end_of(client),
            Live::Missed { count } => {
                self.bar.around(|| note(&format!("{count} pieces came too fast to be shown")));
                Ok(())
            }
        }
    }

    fn piece(&mut self, client: &ClientId, piece: &Piece) -> Result<(), CliError> {
        let key = (client.clone(), piece.stream);
        if piece.dropped > 0 {
            let line = self.lines.remove(&key).unwrap_or_default();
            self.line(client, piece.stream, &line)?;
            let dropped = piece.dropped;
            self.print(client, piece.stream, &format!("… {dropped} bytes left out"))?;
        }
        let mut line = self.lines.remove(&key).unwrap_or_default();
        for part in piece.text.split_inclusive('\n') {
            line.push_str(part);
            if part.ends_with('\n') || line.len() > LINE {
                self.print(client, piece.stream, line.trim_end_matches(['\n', '\r']))?;
                line.clear();
            }
        }
        if !line.is_empty() {
            self.lines.insert(key, line);
        }
        Ok(())
    }

    /// Tells a progress: on the bar where there is one, else when it has come a good deal further.
    fn progress(&mut self, client: &ClientId, progress: &Progress) {
        if self.bar.tell(progress) {
            return;
        }
        let step = (progress.percent.map(|percent| percent / 10), progress.note.clone());
        if self.told.get(client) != Some(&step) {
            self.bar.around(|| note(&format!("{client}: {progress}")));
            self.told.insert(client.clone(), step);
        }
    }

    fn end_of(&mut self, client: &ClientId) -> Result<(), CliError> {
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let line = self.lines.remove(&(client.clone(), stream)).unwrap_or_default();
            self.line(client, stream, &line)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), CliError> {
        for ((client, stream), line) in std::mem::take(&mut self.lines) {
            self.line(&client, stream, &line)?;
        }
        Ok(())
    }

    /// A line that was under way, if there was one.
    fn line(&self, client: &ClientId, stream: OutputStream, line: &str) -> Result<(), CliError> {
        if line.is_empty() { Ok(()) } else { self.print(client, stream, line) }
    }

    fn print(&self, client: &ClientId, stream: OutputStream, line: &str) -> Result<(), CliError> {
        let between = match stream {
            OutputStream::Stdout => "|",
            OutputStream::Stderr => "!",
        };
        self.bar.around(|| self.out.named(client.as_str(), between, line))
    }
}

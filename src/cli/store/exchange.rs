//! `fleetcron export`, `fleetcron store export` and `fleetcron store import`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::TryStreamExt as _;
use serde::Deserialize;

use super::{NewData, open_as_it_is};
use crate::api::message::ErrorBody;
use crate::cli::args::Global;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::{Done, Verdict};
use crate::id::JobName;
use crate::remote::RemoteError;
use crate::store::exchange::{
    ExportError, ExportQuery, ImportError, ImportOptions, Imported, MAX_LINE, export, import,
};
use crate::time::{Clock as _, SystemClock, Timestamp};

/// The arguments of `export`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Only the jobs that have this name or have had it, and what belongs to them.
    #[arg(long, value_name = "NAME")]
    job: Option<JobName>,
    /// Only runs that were due then or later, RFC 3339 with an offset.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only runs that were due before.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
}

impl ExportArgs {
    fn query(self) -> ExportQuery {
        let Self { job, from, to } = self;
        ExportQuery { job, from, to }
    }
}

/// The arguments of `store import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The export.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave open runs out. Otherwise they are taken into an empty store, and refused by another.
    #[arg(long)]
    ended_only: bool,
}

/// An export of the server's store to standard output.
pub(super) async fn running(args: ExportArgs, global: &Global) -> Done {
    let remote = connect(global)?;
    let mut pieces = remote.export(args.query()).await?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut last = LastLine::default();
    while let Some(piece) = pieces.try_next().await? {
        out.write_all(&piece)?;
        last.add(&piece);
    }
    out.flush()?;
    last.end()
}

/// An export of a store that no server has open.
pub(super) fn idle(data: &Path, args: ExportArgs) -> Done {
    let store = open_as_it_is(data)?;
    let out = BufWriter::new(io::stdout().lock());
    let written = export(store.as_ref(), &args.query(), SystemClock.now(), out);
    written.map_err(|error| match error {
        ExportError::Write(error) => CliError::Output(error),
        ExportError::NoJob { .. } => CliError::Refused(error.to_string()),
        ExportError::NoSpan { .. } => CliError::Usage(error.to_string()),
        ExportError::Store(error) => CliError::server(error),
    })?;
    Ok(Verdict::Succeeded)
}

/// Takes an export into a store.
pub(super) fn import_file(out: &Out, data: &NewData, args: &ImportArgs) -> Done {
    let shown = args.file.display();
    let file = File::open(&args.file)
        .map_err(|error| CliError::Usage(format!("cannot read {shown}: {error}")))?;
    let options = ImportOptions { ended_only: args.ended_only, store: data.store };
    let imported =
        import(BufReader::new(file), &data.data, options).map_err(|error| match error {
            ImportError::Conflict { .. } => CliError::Refused(format!("{shown}, {error}")),
            ImportError::Line { .. } => CliError::Usage(format!("{shown}, {error}")),
            ImportError::Read(error) => CliError::Usage(format!("cannot read {shown}: {error}")),
            ImportError::Store(error) => CliError::store(error),
        })?;
    if out.is_json() {
        out.json(&imported)?;
        return Ok(Verdict::Succeeded);
    }
    let Imported { imported, skipped } = imported;
    let mut records: Vec<&String> = imported.keys().chain(skipped.keys()).collect();
    records.sort_unstable();
    records.dedup();
    let count = |counts: &std::collections::BTreeMap<String, u64>, record: &String| {
        counts.get(record).copied().unwrap_or(0).to_string().into()
    };
    let row = |record: &String| {
        vec![count(&imported, record), count(&skipped, record), record.as_str().into()]
    };
    out.table(&["IMPORTED", "SKIPPED", "RECORD"], records.into_iter().map(row).collect())?;
    Ok(Verdict::Succeeded)
}

/// The last line that has passed, by which it is seen whether all have.
#[derive(Default)]
struct LastLine {
    text: Vec<u8>,
    /// Whether the line has ended; then the next piece begins another.
    ended: bool,
}

#[derive(Deserialize)]
struct Tag {
    record: String,
}

impl LastLine {
    fn add(&mut self, piece: &[u8]) {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.ended {
                self.text.clear();
            }
            // A longer one is no trailer, and no error either.
            if self.text.len() <= MAX_LINE {
                self.text.extend_from_slice(line);
            }
            self.ended = line.ends_with(b"\n");
        }
    }

    fn end(self) -> Done {
        if let Ok(tag) = serde_json::from_slice::<Tag>(&self.text)
            && self.ended
            && tag.record == "trailer"
        {
            return Ok(Verdict::Succeeded);
        }
        match serde_json::from_slice::<ErrorBody>(&self.text) {
            Ok(body) => Err(RemoteError::from(body).into()),
            Err(_) => Err(CliError::Server(
                "the export broke off before its trailer: it is not whole".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(pieces: &[&str]) -> Result<(), String> {
        let mut last = LastLine::default();
        for piece in pieces {
            last.add(piece.as_bytes());
        }
        last.end().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn an_export_without_its_trailer_is_told() {
        let trailer = "{\"record\":\"trailer\",\"counts\":{}}\n";
        assert_eq!(end(&["{\"record\":\"header\"}\n", trailer]), Ok(()));
        assert_eq!(end(&["{\"record\":\"header\"}\n{\"rec", "ord\":\"trailer\"}", "\n"]), Ok(()));
        let broken = "the export broke off before its trailer: it is not whole".to_owned();
        for pieces in [&[][..], &["{\"record\":\"run\"}\n"], &[trailer.trim_end()], &[trailer, "{"]]
        {
            assert_eq!(end(pieces), Err(broken.clone()), "{pieces:?}");
        }
        let error = r#"{"error":{"kind":"stopped","message":"the node has stopped"}}"#;
        assert_eq!(end(&[trailer, error, "\n"]), Err("the node has stopped".to_owned()));
    }
}

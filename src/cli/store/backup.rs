//! `fleetcron backup`, `fleetcron store backup` and `fleetcron store restore`.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::TryStreamExt as _;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use super::new_file::NewFile;
use super::open_as_it_is;
use crate::cli::args::Global;
use crate::cli::connect::connect;
use crate::cli::error::CliError;
use crate::cli::output::{Out, is_watched};
use crate::cli::{Done, Verdict};
use crate::store::StoreKind;
use crate::store::backup::{self, BackupError, RestoreError, Summary};
use crate::time::{Clock as _, SystemClock};

/// The arguments of `backup`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BackupArgs {
    /// The file to write. It is there once it is whole.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

/// A backup of the server's store, while it goes on.
pub(super) async fn running(out: &Out, args: &BackupArgs, global: &Global) -> Done {
    let mut file = NewFile::create(&args.file, args.force)?;
    let bar = Bytes::new();
    let mut pieces = connect(global)?.backup().await?;
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).map_err(|error| file.error("write", &error))?;
        bar.add(piece.len());
    }
    drop(bar);
    finish(out, file, &args.file)
}

/// A backup of a store that no server has open.
pub(super) fn idle(out: &Out, data: &Path, args: &BackupArgs) -> Done {
    let store = open_as_it_is(data)?;
    let mut file = NewFile::create(&args.file, args.force)?;
    let bar = Bytes::new();
    let written = backup::write_idle(store.as_ref(), || SystemClock.now(), bar.around(&mut file));
    written.map_err(|error| match error {
        BackupError::Write(error) => file.error("write", &error),
        error => CliError::server(error),
    })?;
    drop(bar);
    finish(out, file, &args.file)
}

/// Reads what was written, from the disk as far as that can be had, before it gets its name.
fn finish(out: &Out, mut file: NewFile, path: &Path) -> Done {
    file.sync()?;
    let partial = file.partial().to_owned();
    let written = File::open(&partial).map_err(|error| CliError::file("read", &partial, &error))?;
    let summary = backup::verify(BufReader::new(written)).map_err(|error| {
        CliError::Server(format!("the backup cannot be used and was not kept: {error}"))
    })?;
    file.finish()?;
    tell(out, &summary, "backed up", &format!("in {}", path.display()))
}

/// Makes a store of a backup.
pub(super) fn restore(out: &Out, path: &Path, data: &Path, kind: StoreKind) -> Done {
    let file = File::open(path)
        .map_err(|error| CliError::Usage(format!("cannot read {}: {error}", path.display())))?;
    let bar = Bytes::new();
    let restored = backup::restore(bar.around(BufReader::new(file)), data, kind);
    drop(bar);
    let summary = restored.map_err(|error| match error {
        RestoreError::File(error) => CliError::Usage(format!("{}: {error}", path.display())),
        error @ RestoreError::Store(_) => CliError::server(error),
    })?;
    tell(out, &summary, "restored", &format!("into {}", data.display()))
}

fn tell(out: &Out, summary: &Summary, done: &str, place: &str) -> Done {
    if out.is_json() {
        out.json(&json!({ "done": done, "place": place, "backup": summary }))?;
        return Ok(Verdict::Succeeded);
    }
    let Summary { done_at, entries, puts, deletes, bytes, .. } = summary;
    let size = HumanBytes(*bytes);
    out.line(&format!(
        "{done} the store as of {done_at} {place}: {entries} records and {} changes, {size}",
        puts + deletes
    ))?;
    Ok(Verdict::Succeeded)
}

/// How many bytes have passed, where somebody watches.
struct Bytes(ProgressBar);

impl Bytes {
    fn new() -> Self {
        let bar = if is_watched() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        // A template that cannot be read leaves indicatif's own look.
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {bytes} {bytes_per_sec} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Self(bar)
    }

    fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// What counts the bytes that pass it.
    fn around<T>(&self, inner: T) -> Counted<'_, T> {
        Counted { bar: self, inner }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

struct Counted<'a, T> {
    bar: &'a Bytes,
    inner: T,
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bar.add(read);
        Ok(read)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bar.add(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

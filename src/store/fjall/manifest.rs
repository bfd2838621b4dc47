//! fjall's manifests, looked over before fjall reads them: it does not check their sums, and takes
//! whatever memory a number in them asks for.
//!
//! Imports nothing of fleetcron. The form is that of fjall 3: the file `current` has the number of
//! the manifest's file, its 128-bit XXH3, both little endian, and a zero; every other file of a
//! keyspace has its sum in the manifest or in itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

/// The keyspace of fjall's own and the one that holds all keys.
const KEYSPACES: [&str; 2] = ["0", "1"];

/// Looks over the manifests of a store. The inner error says what is wrong with one.
pub(super) fn look_over(files: &Path) -> io::Result<Result<(), String>> {
    for keyspace in KEYSPACES {
        let directory = Path::new("keyspaces").join(keyspace);
        let current = directory.join("current");
        let Some(bytes) = read(&files.join(&current))? else { return Ok(missing(&current)) };
        let Some((number, sum)) = parse(&bytes) else {
            return Ok(Err(format!("the file {} is not what was written", current.display())));
        };
        let manifest = directory.join(format!("v{number}"));
        match read(&files.join(&manifest))? {
            None => return Ok(missing(&manifest)),
            Some(bytes) if xxh3_128(&bytes) != sum => {
                let manifest = manifest.display();
                return Ok(Err(format!("the file {manifest} is not what was written")));
            }
            Some(_) => {}
        }
    }
    Ok(Ok(()))
}

/// The number and the sum of a manifest, as the file `current` has them.
pub(super) fn parse(bytes: &[u8]) -> Option<(u64, u128)> {
    let (number, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    (rest == [0]).then(|| (u64::from_le_bytes(*number), u128::from_le_bytes(*sum)))
}

fn missing(file: &Path) -> Result<(), String> {
    Err(format!("the file {} is missing", file.display()))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

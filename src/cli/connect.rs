//! From the command line to the server: access, the remote, and lists read to their end.

use std::path::PathBuf;

use super::args::Global;
use super::error::CliError;
use crate::access::{self, Access, Search};
use crate::engine::Page;
use crate::remote::{Remote, RemoteError};

/// The server that the command line, the environment or an access file names.
pub(super) fn connect(global: &Global) -> Result<Remote, CliError> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let search = Search {
        server: global.server.clone(),
        token: global.token.clone(),
        file: global.access.clone(),
        candidates: access::default_candidates(home.as_deref()),
    };
    let access = Access::find(search)?;
    Ok(Remote::new(&access.server, &access.token)?)
}

/// A list, part by part, up to its end or `limit` items; and whether there are more.
pub(super) async fn read_all<K: Clone, T>(
    limit: usize,
    key: impl Fn(&T) -> K,
    read: impl AsyncFn(Page<K>) -> Result<Vec<T>, RemoteError>,
) -> Result<(Vec<T>, bool), RemoteError> {
    let mut items: Vec<T> = Vec::new();
    loop {
        // One more than is shown tells whether there are more.
        let wanted = (limit.saturating_add(1) - items.len()).min(Page::<K>::MAX);
        let part = read(Page { after: items.last().map(&key), limit: wanted }).await?;
        // A part may be shorter than it could be: only an empty one is the end.
        if part.is_empty() {
            return Ok((items, false));
        }
        items.extend(part);
        if items.len() > limit {
            items.truncate(limit);
            return Ok((items, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn read(stored: usize, limit: usize) -> (usize, bool, u32) {
        let asked = Cell::new(0);
        let part = async |page: Page<usize>| {
            asked.set(asked.get() + 1);
            let first = page.after.map_or(0, |after| after + 1);
            Ok((first..stored).take(page.limit.min(700)).collect())
        };
        let (items, more) = read_all(limit, |item| *item, part).await.unwrap();
        assert!(
            items.iter().enumerate().all(|(at, item)| at == *item),
            "none twice, none left out"
        );
        (items.len(), more, asked.get())
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_end_or_its_limit() {
        assert_eq!(read(0, 10).await, (0, false, 1));
        assert_eq!(read(10, 10).await, (10, false, 2));
        assert_eq!(read(11, 10).await, (10, true, 1));
        assert_eq!(read(2_500, 10_000).await, (2_500, false, 5));
        assert_eq!(read(2_500, 1_000).await, (1_000, true, 2));
        assert_eq!(read(1_000, usize::MAX).await, (1_000, false, 3));
    }
}

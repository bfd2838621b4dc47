//! What lies on the server's disk, for those who look at it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::server::{Place, token_of};
use fleetcron::store::StoreKind;

/// Every file in a directory and below.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

fn has(path: &Path, text: &str) -> bool {
    memchr::memmem::find(&fs::read(path).unwrap(), text.as_bytes()).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_directory_has_no_clients_token_and_is_its_owners_alone() {
    for kind in StoreKind::ALL {
        let place = Place::new();
        let mut server = place.start_with(&["--store", kind.name()]).await;
        server.define("web-01", &[]).await;
        let token = token_of("web-01");
        // It is let in by its token: the hello has been through all of the server.
        let client =
            fleetcron::client::Client::builder(server.listen.clone(), "web-01".parse().unwrap());
        let client = client.token(token.clone()).start().unwrap();
        common::within("the client to be let in", client.connected()).await.unwrap();
        server.process.kill();
        client.stop().await;
        let files = files(&server.data);
        let named = files.iter().any(|path| has(path, "web-01"));
        assert!(named, "{kind}: what is stored of the client is found as text");
        for path in &files {
            assert!(!has(path, &token), "{kind}: {}", path.display());
        }
        let with_access: Vec<_> =
            files.iter().filter(|path| has(path, &server.access.token)).collect();
        assert_eq!(with_access, [&server.data.join("access.toml")], "{kind}");
        let mode = fs::metadata(&server.data).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{kind}");
    }
}

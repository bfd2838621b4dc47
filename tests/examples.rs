//! Every example runs to its end by itself and says what its head promises.
//!
//! Cargo builds the examples for the integration tests; their binaries lie beside the tests' own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio::time::timeout;

/// Beyond what any example needs, and below a heartbeat, on which none may have to wait.
const LIMIT: Duration = Duration::from_secs(12);

/// One test an example, and the table of all of them.
macro_rules! examples {
    ($($name:ident says $lines:expr;)*) => {
        const TABLE: &[&str] = &[$(stringify!($name)),*];

        $(
            #[tokio::test]
            async fn $name() {
                check(stringify!($name), &$lines).await;
            }
        )*
    };
}

examples! {
    call says [
        "region = eu-west",
        "name = door-12",
        "colour: call of config.get: the server answered: failed: no setting named \"colour\"",
        "call of config.set: the server answered: no command named \"config.set\"; known are config.get",
    ];
    client says ["add {\"a\":40,\"b\":2}: succeeded Some(42) None"];
    embed says ["run 1: succeeded me", "run 2: succeeded me", "run 3: succeeded me"];
    remote says ["added web-01", "web-01: expired", "error: no job named \"no-such-job\""];
    server says [
        "with the wrong badge: Refused(\"no such badge\")",
        "lift-7 has come",
        "lift-7 has gone: the client said bye: the client stops",
    ];
    simulate says ["every promise was kept"];
    submit says [
        "web-01 succeeded: \"reloaded\"",
        "web-03 failed: the configuration has no server section",
        "2 of 3 succeeded",
    ];
}

#[test]
fn every_example_is_in_the_table() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let table: BTreeSet<String> = TABLE.iter().map(ToString::to_string).collect();
    assert_eq!(files, table);
}

async fn check(name: &str, lines: &[&str]) {
    let Output { status, stdout, stderr } = run(name).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let shown = format!("{name}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    assert!(status.success(), "{shown}");
    for line in lines {
        assert!(stdout.lines().any(|said| said == *line), "no line {line:?} from {shown}");
    }
}

async fn run(name: &str) -> Output {
    let child = tokio::process::Command::from(Command::new(binary(name)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let ended = timeout(LIMIT, child.wait_with_output()).await;
    assert!(ended.is_ok(), "{name} has not ended by itself within {LIMIT:?}");
    ended.unwrap().unwrap()
}

/// `target/debug/examples/NAME`, found from `target/debug/deps/examples-HASH`.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo test builds it", path.display());
    path
}

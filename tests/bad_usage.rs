//! Bad input to every command of the command line: the exit code, and an error that names the
//! thing and the value.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use common::fleet::{Record, apply, client, connect, job, leave};
use common::server::{Process, Server};
use common::{Ran, run, write};

/// A command line, its exit code, and what its standard error must have. `HOME` stands for the
/// directory that it runs in.
type Case<'a> = (&'a [&'a str], i32, &'a [&'a str]);

fn judge(args: &[String], ran: &Ran, code: i32, parts: &[String], wrong: &mut Vec<String>) {
    let missing: Vec<_> = parts.iter().filter(|part| !ran.stderr.contains(*part)).collect();
    let quiet = ran.stdout.is_empty() || code < 2;
    if ran.code != code || !missing.is_empty() || !quiet {
        wrong.push(format!("{args:?}\n  wanted {code}, missing {missing:?}\n  {ran:?}"));
    }
}

/// Runs each case in `home`; `access` is given to all.
async fn check(home: &Path, access: Option<&Path>, cases: &[Case<'_>]) {
    let place = home.to_str().unwrap();
    let mut wrong = Vec::new();
    for (args, code, parts) in cases {
        let mut args: Vec<String> = args.iter().map(|arg| arg.replace("HOME", place)).collect();
        if let Some(access) = access {
            args.extend(["--access".to_owned(), access.to_str().unwrap().to_owned()]);
        }
        let parts: Vec<String> = parts.iter().map(|part| part.replace("HOME", place)).collect();
        let ran = run(home, &args).await;
        judge(&args, &ran, *code, &parts, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_itself() {
    let home = tempfile::tempdir().unwrap();
    let params = ["run", "ping", "--to", "all", "--params", "{\"a\":\n }"];
    check(
        home.path(),
        None,
        &[
            (&[], 2, &["Usage:"]),
            (&["jbos"], 2, &["'jbos'", "jobs"]),
            (&["jobs", "list", "--output", "nonsense"], 2, &["'nonsense'", "table, json"]),
            (&["soak", "--faults", "kill,fire"], 2, &["\"fire\" is no fault", "disconnect"]),
            (&["soak", "--duration", "0s"], 2, &["--duration 0s is too short", "1s"]),
            (&["soak", "--clients", "0"], 2, &["'0'", "--clients", "1..=10000"]),
            (&["soak", "--keep", "1m"], 2, &["--keep 1m is too short", "5m"]),
            (&["soak", "--duration", "7d", "--submit-every", "100ms"], 2, &["100000"]),
            (&["serve", "--clock-offset-file", "nowhere"], 2, &["--clock-offset-file nowhere"]),
            (&["status", "--log", "xml"], 2, &["'xml'", "human, json"]),
            (&["jobs", "list", "--limit", "few"], 2, &["'few'", "--limit"]),
            (&["jobs", "--limit", "5", "show", "a"], 2, &["--limit belongs after: jobs list"]),
            (&["runs", "--limit", "5", "show", "01JD0000000000000000000000"], 2, &["runs list"]),
            (&["clients", "--limit", "5", "show", "a"], 2, &["belong after: clients list"]),
            (&["jobs", "show", "a%b"], 2, &["job name \"a%b\" is not valid"]),
            (&["jobs", "next"], 2, &["<NAME>"]),
            (&["jobs", "next", "a%b"], 2, &["job name \"a%b\" is not valid"]),
            (&["jobs", "next", "a", "--count", "0"], 2, &["'0'", "--count", "from 1 to 1000"]),
            (&["jobs", "next", "a", "--count", "1001"], 2, &["'1001'", "from 1 to 1000"]),
            (&["jobs", "next", "a", "--count", "few"], 2, &["'few'", "from 1 to 1000"]),
            (&["forecast", "--from", "tomorrow"], 2, &["time \"tomorrow\"", "RFC 3339"]),
            (&["forecast", "--for", "long"], 2, &["\"long\"", "5m"]),
            (&["forecast", "--for", "0s"], 2, &["--for 0s is no span"]),
            (&["forecast", "--target", "web-01"], 2, &["target \"web-01\"", "client:ID"]),
            (&["forecast", "--prefix", "a b"], 2, &["job name \"a b\" is not valid"]),
            (&["forecast", "--limit", "0"], 2, &["'0'", "--limit", "from 1 to 10000"]),
            (&["forecast", "--limit", "10001"], 2, &["'10001'", "from 1 to 10000"]),
            (&["jobs", "pause"], 2, &["<NAME>"]),
            (&["jobs", "resume", "a", "--all"], 2, &["--all", "cannot be used with"]),
            (&["jobs", "pause", "a", "--until", "soon"], 2, &["\"soon\"", "--until"]),
            (&["jobs", "pause", "a", "--for", "soon"], 2, &["\"soon\"", "--for"]),
            (
                &["jobs", "pause", "a", "--for", "1h", "--until", "2999-01-01T00:00:00Z"],
                2,
                &["--for", "--until", "cannot be used with"],
            ),
            (&["runs", "show", "17"], 2, &["\"17\" is not a ULID"]),
            (&["runs", "follow", "17"], 2, &["\"17\" is not a ULID"]),
            (&["runs", "cancel", "17"], 2, &["\"17\" is not a ULID"]),
            (&["clients", "add", "a b"], 2, &["client id \"a b\" is not valid"]),
            (&["clients", "add", "a", "--group", "b c"], 2, &["group name \"b c\" is not valid"]),
            (&["clients", "group", "a"], 2, &["--add"]),
            (&["clients", "limit", "a", "0"], 2, &["\"0\" commands at once is not valid"]),
            (&["clients", "limit", "a", "many"], 2, &["\"many\" commands at once"]),
            (&["clients", "label", "a"], 2, &["<LABEL>"]),
            (&["clients", "label", "a", "Rack=1"], 2, &["label key \"Rack\" is not valid"]),
            (&["clients", "label", "a", "rack"], 2, &["KEY=VALUE", "KEY-"]),
            (&["serve", "--trust-labels", "os,Rack"], 2, &["--trust-labels", "\"Rack\""]),
            (&["run", "p", "--to", "10% group:a"], 2, &["at 5: expected \"of\" after \"10%\""]),
            (&["run", "p", "--to", "all", "--membership", "x"], 2, &["'x'", "snapshot, open"]),
            (&["run", "ping"], 2, &["--to"]),
            (&["run", "a b", "--to", "all"], 2, &["command name \"a b\" is not valid"]),
            (&["run", "ping", "--to", "web-01"], 2, &["target \"web-01\"", "client:ID"]),
            (&["run", "ping", "--to", "group:a b"], 2, &["target \"group:a b\"", "at 9: expected"]),
            (&params, 2, &["--params", "line 2 column 2"]),
            (&["run", "ping", "--to", "all", "--offline", "keep"], 2, &["'keep'", "latest"]),
            (&["run", "ping", "--to", "all", "--timeout", "5m"], 2, &["--wait"]),
            (
                &["run", "p", "--to", "all", "--idempotency-key", "\u{e9}"],
                2,
                &["at position 1", "128"],
            ),
            (&["run", "p", "--to", "all", "--unique-within", "soon"], 2, &["\"soon\"", "5m"]),
            (&["run", "p", "--to", "all", "--wait", "--timeout", "5"], 2, &["\"5\"", "5m"]),
            (&["run", "p", "--to", "all", "--expires-after", "soon"], 2, &["\"soon\"", "5m"]),
            (&["demo", "--for", "a while"], 2, &["\"a while\"", "5m"]),
            (&["serve", "--keep", "ever"], 2, &["\"ever\"", "5m"]),
            (&["serve", "--cache", "1"], 2, &["'1'", "16..=65536"]),
            (&["serve", "--disk-reserve", "1KiB"], 2, &["'1KiB'", "write 8MiB or more"]),
            (&["serve", "--queue-limit", "0"], 2, &["queue of 0 deliveries", "1 to 10000"]),
            (&["serve", "--queue-bytes", "1KiB"], 2, &["queue of 1024 bytes", "48 KiB"]),
            (&["serve", "--queue-bytes", "1MB"], 2, &["'1MB'", "KiB, MiB, GiB or TiB"]),
            (&["serve", "--queue-full", "wait"], 2, &["'wait'", "refuse-newest, drop-oldest"]),
            (&["run", "a", "--to", "all", "--priority", "high"], 2, &["'high'", "urgent, normal"]),
            (&["serve", "--admit-rate", "0"], 2, &["--admit-rate", "'0'", "1..=1000000"]),
            (&["serve", "--admit-burst", "9999999"], 2, &["--admit-burst", "1..=1000000"]),
            (&["serve", "--drain-rate", "0"], 2, &["--drain-rate", "'0'", "1..=1000000"]),
            (&["serve", "--listen", "here"], 2, &["'here'", "--listen"]),
            (&["agent"], 2, &["--config"]),
            (&["agent", "--config", "x", "--concurrency", "0"], 2, &["'0'", "1..=256"]),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_that_is_missing_or_not_private() {
    let server = Server::new().await;
    let home = server.home();
    let url = &*server.access.server;
    let open = write(home, "open.toml", "server = \"http://127.0.0.1:1\"\ntoken = \"t\"\n");
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let wrong = write(home, "wrong.toml", "server = \"http://127.0.0.1:1\"\ntokn = \"secret\"\n");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let cases: &[Case<'_>] = &[
        (&["status"], 3, &["no server and token; tried: --server and --token", "not there"]),
        (&["status", "--server", url], 3, &["no token for server", url]),
        (
            &["status", "--access", "HOME/open.toml"],
            3,
            &["HOME/open.toml holds a token and has mode 0644", "chmod 600 HOME/open.toml"],
        ),
        (&["status", "--access", "HOME/wrong.toml"], 3, &["not an access file", "tokn"]),
        (&["status", "--access", "HOME/none"], 3, &["cannot read HOME/none: No such file"]),
        (&["status", "--server", "x", "--token", "t"], 2, &["server URL \"x\" is not valid"]),
        (&["status", "--server", "https://x", "--token", "t"], 2, &["\"https://x\""]),
    ];
    check(home, None, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_tells_that_nobody_is_there_or_lets_it_in() {
    let server = Server::new().await;
    let (home, url) = (server.home(), &server.access.server);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let commands: [&[&str]; 24] = [
        &["status"],
        &["forecast"],
        &["jobs", "next", "a"],
        &["jobs"],
        &["jobs", "show", "a"],
        &["jobs", "pause", "a", "b"],
        &["runs"],
        &["runs", "show", "01JD0000000000000000000000"],
        &["runs", "follow", "01JD0000000000000000000000"],
        &["runs", "cancel", "01JD0000000000000000000000"],
        &["clients"],
        &["calendars"],
        &["calendars", "show", "a"],
        &["calendars", "remove", "a"],
        &["clients", "add", "a"],
        &["clients", "group", "a", "--add", "b"],
        &["clients", "remove", "a"],
        &["run", "ping", "--to", "all"],
        &["replays"],
        &["replay", "show", "01JD0000000000000000000000", "--follow"],
        &["replay", "cancel", "01JD0000000000000000000000"],
        &["replay", "run", "--last", "1h", "--state", "failed"],
        &["replay", "backfill", "a", "--from", "2026-01-01T00:00:00Z"],
        &["apply", "HOME/job.toml"],
    ];
    let text = "name = 'a'\ntarget = 'all'\ncommand = 'c'\nrule = 'now'\n";
    write(home, "job.toml", text);
    let cannot = format!("cannot connect to {nobody}: ");
    let refused = format!("{url} does not accept the token: ");
    for args in commands {
        let to = |url| [args, &["--token", "t", "--server", url]].concat();
        check(
            home,
            None,
            &[(&to(nobody.as_str()), 3, &[&cannot]), (&to(url.as_str()), 3, &[&refused])],
        )
        .await;
    }
    assert_eq!(server.remote().status().await.unwrap().jobs, 0);
}

/// A server with a job, and a client that has been there and gone.
async fn furnished() -> Server {
    let server = Server::new().await;
    server.define("web-01", &["web"]).await;
    let backup =
        json!({ "name": "backup", "target": "all", "command": "work", "rule": { "every": "1h" } });
    apply(&server.remote(), vec![job(backup)]).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_in_a_state_for_it() {
    let server = furnished().await;
    let near_job = &["error: no job named \"backpu\"; did you mean \"backup\"?"];
    let near_client = &["error: no client named \"web-1\"; did you mean \"web-01\"?"];
    let no_run = &["no run named \"01JD0000000000000000000000\""];
    let serial = "01JD0000000000000000000000";
    write(server.home(), "empty", "\n");
    write(server.home(), "short", "short\n");
    check(
        server.home(),
        Some(&server.data.join("access.toml")),
        &[
            (&["jobs", "show", "backpu"], 4, near_job),
            (&["jobs", "next", "backpu"], 4, near_job),
            (&["forecast", "--target", "client:web-1"], 4, near_client),
            (&["forecast", "--target", "group:wbe"], 4, &["no group named \"wbe\"", "\"web\"?"]),
            (&["forecast", "--for", "367days"], 2, &["is too long", "366 days"]),
            (
                &["forecast", "--from", "2020-01-01T00:00:00Z"],
                2,
                &["error: to 2020-01-02T00:00:00.000Z has passed: "],
            ),
            (&["jobs", "pause", "backpu"], 4, near_job),
            (&["jobs", "resume", "backpu"], 4, near_job),
            (&["jobs", "pause", "dbs/"], 4, &["no group of jobs named \"dbs/\""]),
            (
                &["jobs", "pause", "backup", "--until", "2001-01-01T00:00:00Z"],
                2,
                &["until 2001-01-01T00:00:00.000Z has passed; it is "],
            ),
            (&["jobs", "trigger", "backpu"], 4, near_job),
            (&["jobs", "remove", "backpu"], 4, near_job),
            (&["jobs", "remove", "x1", "x2"], 4, &["\"x1\"", "\"x2\"", "2 of 2 could not be"]),
            (&["clients", "show", "web-1"], 4, near_client),
            (&["clients", "remove", "web-1"], 4, near_client),
            (&["clients", "group", "web-1", "--add", "a"], 4, near_client),
            (&["clients", "limit", "web-1", "4"], 4, near_client),
            (&["clients", "add", "web-01"], 4, &["\"web-01\""]),
            (&["clients", "list", "--group", "wbe"], 4, &["no group named \"wbe\"", "\"web\"?"]),
            (&["clients", "add", "a", "--token-file", "none"], 2, &["cannot read none: No such"]),
            (&["clients", "add", "a", "--token-file", "empty"], 2, &["file empty is empty"]),
            (&["clients", "add", "a", "--token-file", "short"], 2, &["5 characters; allowed"]),
            (&["runs", "show", serial], 4, no_run),
            (&["runs", "follow", serial], 4, no_run),
            (&["runs", "cancel", serial], 4, no_run),
            (&["run", "ping", "--to", "client:web-1"], 4, near_client),
            (&["run", "ping", "--to", "group:wbe"], 4, &["no group named \"wbe\"", "\"web\"?"]),
        ],
    )
    .await;
    let status = server.remote().status().await.unwrap();
    assert_eq!((status.jobs, status.clients_defined, status.runs_open), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_job_files_are_told_with_file_line_job_field_and_value() {
    let home = tempfile::tempdir().unwrap();
    let files = [
        ("cron.toml", "name = 'a'\ntarget = 'all'\ncommand = 'c'\nrule.cron = '61 * * * *'\n"),
        (
            "zone.toml",
            "name = 'a'\ntarget = 'all'\ncommand = 'c'\nrule.cron = '@daily'\nrule.time_zone = 'Europe/Berln'\n",
        ),
        ("field.toml", "name = 'a'\ntarget = 'all'\ncomand = 'c'\nrule = 'now'\n"),
        (
            "target.json",
            "{\"name\": \"a\",\n \"target\": \"web\", \"command\": \"c\", \"rule\": \"now\"}",
        ),
        ("days.toml", "[[calendar]]\nname = 'se'\ndates = ['2026-02-30']\n"),
        ("syntax.toml", "name = 'a'\ntarget = \n"),
        ("syntax.json", "{\"name\": \"a\",\n}"),
        ("nothing.toml", "# nothing yet\n"),
        ("notes.txt", "hello"),
        ("two/a.toml", "name = 'a'\ntarget = 'all'\ncommand = 'c'\nrule = 'now'\n"),
        ("two/b.toml", "\nname = 'a'\ntarget = 'all'\ncommand = 'c'\nrule = 'now'\n"),
        ("none/notes.txt", "hello"),
    ];
    for (name, text) in files {
        write(home.path(), name, text);
    }
    let cases: &[Case<'_>] = &[
        (&["apply", "cron.toml"], 2, &["cron.toml:4: job \"a\": rule.cron: ", "\"61 * * * *\""]),
        (
            &["apply", "zone.toml"],
            2,
            &["zone.toml:5: job \"a\": rule.time_zone: ", "did you mean \"Europe/Berlin\"?"],
        ),
        (
            &["apply", "field.toml"],
            2,
            &["field.toml:3: job \"a\": comand: is not a known field; did you mean \"command\"?"],
        ),
        (&["apply", "field.toml"], 2, &["command: is missing"]),
        (&["apply", "target.json"], 2, &["target.json:2: job \"a\": target: target \"web\""]),
        (
            &["apply", "days.toml"],
            2,
            &["days.toml:3: calendar \"se\": dates[0]: ", "\"2026-02-30\""],
        ),
        (&["apply", "syntax.toml"], 2, &["syntax.toml:2: "]),
        (&["apply", "syntax.json"], 2, &["syntax.json:2: "]),
        (&["apply", "nothing.toml"], 2, &["nothing.toml: defines no job"]),
        (&["apply", "notes.txt"], 2, &["notes.txt: is neither a .toml nor a .json file"]),
        (&["apply", "two"], 2, &["two/b.toml:2: job \"a\": name: ", "at two/a.toml:1"]),
        (&["apply", "none"], 2, &["none: holds no job file (*.toml, *.json)"]),
        (&["apply", "nowhere"], 2, &["nowhere: cannot be read: No such file"]),
        (&["demo", "--data", "HOME/d", "--jobs", "HOME/nowhere"], 2, &["HOME/nowhere: cannot be"]),
        (&["demo", "--data", "HOME/d", "--jobs", "HOME/none"], 2, &["HOME/none: holds no job"]),
    ];
    check(home.path(), None, cases).await;
    assert!(!home.path().join("d").exists(), "a demonstration without jobs leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cannot_start_say_why() {
    let server = Server::new().await;
    let pid = format!("store HOME/data is in use by process {};", server.process.pid());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = format!("cannot listen on {address}: Address already in use");
    write(server.home(), "file", "");
    let any = "127.0.0.1:0";
    check(
        server.home(),
        None,
        &[
            (&["serve", "--data", "HOME/data", "--listen", any, "--http", any], 5, &[&pid]),
            (&["demo", "--data", "HOME/data", "--jobs", "HOME/jobs"], 2, &["HOME/jobs: cannot"]),
            (&["serve", "--data", "HOME/file"], 5, &["HOME/file is not a directory"]),
            (
                &["serve", "--data", "HOME/b", "--listen", &address, "--http", any],
                5,
                &["--listen: ", &in_use],
            ),
            (
                &["serve", "--data", "HOME/b", "--listen", any, "--http", &address],
                5,
                &["--http: ", &in_use],
            ),
            (
                &["serve", "--data", "HOME/c", "--listen", "0.0.0.0:0", "--http", any],
                2,
                &["--listen 0.0.0.0:0 is not a loopback address", "--allow-unencrypted"],
            ),
            (
                &["serve", "--data", "HOME/c", "--listen", any, "--http", "0.0.0.0:0"],
                2,
                &["--http 0.0.0.0:0 is not a loopback address", "--allow-unencrypted"],
            ),
        ],
    )
    .await;
    assert!(!server.home().join("c").exists(), "what is not allowed leaves nothing");
    server.remote().status().await.expect("the first server is not disturbed");

    // With the flag it may.
    let data = server.home().join("open");
    let args = ["serve", "--data", data.to_str().unwrap(), "--listen", "0.0.0.0:0", "--http", any];
    let flags = ["--allow-unencrypted", "--log", "json"];
    let open = Process::start(server.home(), &[&args[..], &flags[..]].concat());
    open.stderr.json("serving", &[]).await;
}

/// A directory with a good list of an agent, and a token.
fn agent_home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    write(home.path(), "good.toml", "[[command]]\nname = 'a'\nprogram = 'true'\n");
    write(home.path(), "token", "0123456789abcdef\n");
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_cannot_start_say_why() {
    let home = agent_home();
    write(home.path(), "field.toml", "[[command]]\nname = 'a'\nprogramm = 'true'\n");
    write(home.path(), "program.toml", "[[command]]\nname = 'a'\nprogram = 'no-such-one'\n");
    write(home.path(), "name.toml", "[[command]]\nname = 'a b'\nprogram = 'true'\n");
    write(home.path(), "syntax.toml", "[[command]\n");
    write(home.path(), "blank", " \n");
    let good = ["agent", "--config", "good.toml"];
    let to = |more: &[&'static str]| [&good[..], &["--connect", "127.0.0.1:1"], more].concat();
    let [client, no_file, blank] = [
        to(&["--token-file", "token"]),
        to(&["--client", "a", "--token-file", "none"]),
        to(&["--client", "a", "--token-file", "blank"]),
    ];
    let token = to(&["--client", "a"]);
    write(home.path(), ".local/state/fleetcron/journal-a/journal", "what somebody wrote\n");
    let [no_journal, no_directory, both] =
        [&[][..], &["--journal", "token/below"], &["--journal", "x", "--no-journal"]]
            .map(|more| to(&[&["--client", "a", "--token-file", "token"], more].concat()));
    let cases: &[Case<'_>] = &[
        (&["agent", "--config", "none.toml"], 2, &["none.toml: cannot be read: No such file"]),
        (&["agent", "--config", "field.toml"], 2, &["field.toml:3: ", "programm"]),
        (&["agent", "--config", "program.toml"], 2, &["program.toml:3: ", "no-such-one"]),
        (&["agent", "--config", "name.toml"], 2, &["name.toml:2: ", "\"a b\""]),
        (&["agent", "--config", "syntax.toml"], 2, &["syntax.toml:1: "]),
        (&good, 2, &["give --connect, or server in the [agent] table of good.toml"]),
        (&client, 2, &["give --client, or client in the [agent] table of good.toml"]),
        (&token, 2, &["give --token-file, or token_file in the [agent] table of good.toml"]),
        (&no_file, 2, &["cannot read the token file none: No such file"]),
        (&blank, 2, &["the token file blank is empty"]),
        (&no_directory, 2, &["the journal token/below cannot be used: Not a directory"]),
        (&no_journal, 2, &["journal-a/journal is not a client's journal, and was not touched"]),
        (&both, 2, &["--journal", "--no-journal", "cannot be used with"]),
    ];
    check(home.path(), None, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_tells_by_its_exit_code_whether_all_succeeded() {
    let server = furnished().await;
    let (record, _news) = Record::new();
    let web = connect(client(&server.listen, "web-01", &record)).await;
    let to = ["--to", "client:web-01", "--wait"];
    let ran = server.cli(&[&["run", "work"][..], &to].concat()).await.ok();
    assert!(ran.stdout.contains("web-01") && ran.stdout.contains("succeeded"), "{ran:?}");
    assert!(ran.stderr.contains("1 succeeded, of 1"), "{ran:?}");

    let ran = server.cli(&[&["run", "wrok"][..], &to].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("rejected") && ran.stdout.contains("\"wrok\""), "{ran:?}");
    assert!(ran.stdout.contains("known are work"), "{ran:?}");

    leave(&server, &web).await;
    let ran = server.cli(&[&["run", "work"][..], &to, &["--timeout", "100ms"]].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("queued"), "{ran:?}");
    let told = "1 of 1 deliveries are still open and stay so; see: fleetcron runs show ";
    assert!(ran.stderr.contains(told), "{ran:?}");
    assert_eq!(server.remote().status().await.unwrap().deliveries_open, 1);

    let ran = server.cli(&["run", "work", "--to", "client:web-01"]).await.ok();
    assert_eq!(ran.stdout.trim().len(), 26, "without --wait the serial alone: {ran:?}");
}

//! The agent on real processes: how they end, what they get, what is kept of their output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use fleetcron::agent::{Config, Runner};
use fleetcron::{CommandName, DeliveryState, Json, Outcome};
use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio_util::sync::CancellationToken;

fn runner(list: &str) -> Runner {
    Runner::new(Config::parse(list, Path::new("test.toml")).unwrap())
}

/// A runner of one command, `c`: a shell with this script, and further fields.
fn shell(script: &str, fields: &str) -> Runner {
    runner(&format!(
        "[[command]]\nname = 'c'\nprogram = 'sh'\nargs = ['-c', '''{script}''']\n\
         env = ['PATH']\n{fields}"
    ))
}

fn name(name: &str) -> CommandName {
    name.parse().unwrap()
}

async fn run(runner: &Runner, command: &str, params: Value) -> Outcome {
    runner.run(&name(command), &Json::new(&params).unwrap(), CancellationToken::new()).await
}

async fn run_shell(script: &str, fields: &str) -> Outcome {
    run(&shell(script, fields), "c", json!({})).await
}

fn result(outcome: &Outcome) -> Value {
    outcome.result.as_ref().expect("a result").to().unwrap()
}

fn reason(outcome: &Outcome) -> &str {
    outcome.reason.as_deref().expect("a reason")
}

/// A directory with a fifo, through which a process tells its number.
struct Report {
    dir: tempfile::TempDir,
    fifo: Receiver,
}

impl Report {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fifo = make_fifo(&dir.path().join("fifo"));
        Self { dir, fifo }
    }

    /// For a script: tells the number of the shell, which is that of its group.
    fn tell(&self) -> String {
        format!("echo $$ > {}", self.dir.path().join("fifo").display())
    }

    /// Waits until the script has told it.
    async fn told(&mut self) -> Pid {
        let mut told = String::new();
        BufReader::new(&mut self.fifo).read_line(&mut told).await.unwrap();
        Pid::from_raw(told.trim().parse().unwrap())
    }
}

/// Runs `c` and cancels it once its script has told its group, which has members then.
async fn cancelled_when_told(runner: &Runner, report: &mut Report) -> (Outcome, Pid) {
    let stop = CancellationToken::new();
    let (c, params) = (name("c"), Json::empty());
    let cancelled = async {
        let group = report.told().await;
        assert!(!members(group).is_empty());
        stop.cancel();
        group
    };
    tokio::join!(runner.run(&c, &params, stop.clone()), cancelled)
}

/// A fifo, open for reading; also for writing, so that opening does not wait for a writer.
fn make_fifo(path: &Path) -> Receiver {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    OpenOptions::new().read_write(true).open_receiver(path).unwrap()
}

/// Waits until no process of the group is left. They were sent SIGKILL, but those that are not
/// the agent's children are reaped by whoever adopted them, whenever that is: zombies count as
/// gone. Fails after 10 s.
async fn assert_gone(group: Pid) {
    let until = Instant::now() + Duration::from_secs(10);
    while killpg(group, None) != Err(Errno::ESRCH) && !members(group).is_empty() {
        assert!(Instant::now() < until, "group {group} lives: {:?}", members(group));
        tokio::task::yield_now().await;
    }
}

/// The processes of a group that are no zombies, from /proc.
fn members(group: Pid) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = stats.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let of_group = |stat: &String| {
        // After the name in brackets: state, parent, group.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        fields[2] == group.to_string() && fields[0] != "Z"
    };
    stats.filter(of_group).collect()
}

#[tokio::test]
async fn exit_codes_decide() {
    let outcome = run_shell("echo out; echo err >&2", "").await;
    assert_eq!((outcome.state, &outcome.reason), (DeliveryState::Succeeded, &None));
    assert!(outcome.ran_ms.is_some());
    let expected =
        json!({"exit_code":0,"stdout":"out\n","stderr":"err\n","stdout_cut":0,"stderr_cut":0});
    assert_eq!(result(&outcome), expected);

    let outcome = run_shell("exit 3", "").await;
    assert_eq!((outcome.state, reason(&outcome)), (DeliveryState::Failed, "exit code 3"));
    assert_eq!(result(&outcome)["exit_code"], 3);
    let outcome = run_shell("exit 3", "success_codes = [3]").await;
    assert_eq!(outcome.state, DeliveryState::Succeeded);
    let outcome = run_shell("exit 0", "success_codes = [3]").await;
    assert_eq!((outcome.state, reason(&outcome)), (DeliveryState::Failed, "exit code 0"));

    let outcome = run_shell("kill -9 $$", "").await;
    assert_eq!((outcome.state, reason(&outcome)), (DeliveryState::Failed, "killed by signal 9"));
    let result = result(&outcome);
    assert_eq!((&result["signal"], result.get("exit_code")), (&json!(9), None));
}

#[tokio::test]
async fn the_time_limit_ends_the_whole_tree() {
    let mut report = Report::new();
    let script = format!("echo begun; (sleep 1000 & sleep 1000) & {}; sleep 1000", report.tell());
    let runner = shell(&script, "time_limit = '1s'\ngrace = '10s'");
    let began = Instant::now();
    let (outcome, group) = tokio::join!(run(&runner, "c", json!({})), report.told());
    assert!(began.elapsed() < Duration::from_secs(9), "SIGTERM was enough");
    assert_eq!(outcome.state, DeliveryState::TimedOut);
    assert_eq!(reason(&outcome), "ran longer than its limit of 1s");
    assert_eq!(result(&outcome)["stdout"], "begun\n");
    assert!(outcome.ran_ms.unwrap() >= 1_000);
    assert_gone(group).await;
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed_after_the_grace() {
    let mut report = Report::new();
    // Ignored signals stay ignored in the children.
    let script = format!("trap \"\" TERM; sleep 1000 & {}; sleep 1000", report.tell());
    let (outcome, group) =
        cancelled_when_told(&shell(&script, "grace = '200ms'"), &mut report).await;
    assert_eq!(outcome.state, DeliveryState::Cancelled);
    assert_eq!(reason(&outcome), "cancelled while it ran; killed after a grace of 200ms");
    assert_eq!(result(&outcome)["signal"], 9);
    assert_gone(group).await;
}

#[tokio::test]
async fn a_program_may_clean_up_within_the_grace() {
    // Closes its output, so that only its own end can tell that it has cleaned up.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cleaned");
    let mut report = Report::new();
    let script = format!(
        "exec >/dev/null 2>&1; trap \"sleep 0.2; echo yes > {}; exit 7\" TERM; {}; \
         while :; do sleep 0.05; done",
        file.display(),
        report.tell()
    );
    let runner = shell(&script, "grace = '30s'");
    let (outcome, _) = cancelled_when_told(&runner, &mut report).await;
    assert_eq!(outcome.state, DeliveryState::Cancelled);
    assert_eq!(reason(&outcome), "cancelled while it ran");
    assert_eq!(result(&outcome)["exit_code"], 7);
    assert_eq!(fs::read_to_string(&file).unwrap(), "yes\n");
}

#[tokio::test]
async fn cancelling_ends_the_whole_tree() {
    let mut report = Report::new();
    let runner = shell(&format!("sleep 1000 & {}; sleep 1000", report.tell()), "");
    let (outcome, group) = cancelled_when_told(&runner, &mut report).await;
    assert_eq!(outcome.state, DeliveryState::Cancelled);
    assert_gone(group).await;

    let stop = CancellationToken::new();
    stop.cancel();
    let outcome = runner.run(&name("c"), &Json::empty(), stop).await;
    assert_eq!(outcome.state, DeliveryState::Cancelled);
    assert_eq!(reason(&outcome), "cancelled before its program was started");
}

#[tokio::test]
async fn dropping_the_run_ends_the_whole_tree() {
    let mut report = Report::new();
    let runner = shell(&format!("sleep 1000 & {}; sleep 1000", report.tell()), "");
    let group = tokio::select! {
        outcome = run(&runner, "c", json!({})) => panic!("ended: {outcome:?}"),
        group = report.told() => group,
    };
    assert_gone(group).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_ends_with_it() {
    let mut report = Report::new();
    let runner = shell(&format!("sleep 1000 & {}; echo done", report.tell()), "");
    let (outcome, group) = tokio::join!(run(&runner, "c", json!({})), report.told());
    assert_eq!(outcome.state, DeliveryState::Succeeded);
    let result = result(&outcome);
    assert_eq!((&result["stdout"], result.get("left_open")), (&json!("done\n"), None));
    assert_gone(group).await;
}

#[tokio::test]
async fn a_process_that_left_the_group_does_not_hold_up_the_answer() {
    let mut report = Report::new();
    // The stranger has the pipe open; the shell waits until it is in its own session.
    let stranger = report.tell();
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let _open = make_fifo(&gate);
    let gate = gate.display();
    let script = format!(
        "setsid sh -c \"echo > {gate}; {}; exec sleep 1000\" & read x < {gate}; echo done",
        stranger.replace("$$", "\\$\\$")
    );
    let runner = shell(&script, "");
    let (outcome, group) = tokio::join!(run(&runner, "c", json!({})), report.told());
    assert_eq!(outcome.state, DeliveryState::Succeeded);
    let result = result(&outcome);
    assert_eq!((&result["stdout"], &result["left_open"]), (&json!("done\n"), &json!(true)));
    killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn output_beyond_the_limit_is_drained_and_counted() {
    let script =
        "head -c 300000 /dev/zero | tr \"\\0\" x; head -c 5000 /dev/zero | tr \"\\0\" y >&2";
    let outcome = run_shell(script, "output_limit = 1000").await;
    assert_eq!(outcome.state, DeliveryState::Succeeded);
    let expected = json!({
        "exit_code": 0,
        "stdout": "x".repeat(1_000),
        "stderr": "y".repeat(1_000),
        "stdout_cut": 299_000,
        "stderr_cut": 4_000,
    });
    assert_eq!(result(&outcome), expected);

    let outcome = run_shell("printf \"a\\377b\"", "").await;
    let result = result(&outcome);
    assert_eq!((&result["stdout"], &result["stdout_lossy"]), (&json!("a\u{fffd}b"), &json!(true)));
}

#[tokio::test]
async fn endless_output_does_not_hold_up_the_time_limit() {
    let began = Instant::now();
    let outcome = run_shell("exec yes", "time_limit = '200ms'\noutput_limit = 4").await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(outcome.state, DeliveryState::TimedOut);
    assert_eq!(result(&outcome)["stdout"], "y\ny", "a line's end takes two bytes in JSON");
}

#[tokio::test]
async fn the_environment_is_what_the_list_says() {
    assert!(std::env::vars_os().count() > 3, "there is something to keep out");
    let list = "[[command]]\nname = 'c'\nprogram = 'env'\nenv = ['PATH', 'FLEETCRON_NOT_SET']\n\
                set_env = { LC_ALL = 'C' }";
    let outcome = run(&runner(list), "c", json!({})).await;
    let path = std::env::var("PATH").unwrap();
    assert_eq!(result(&outcome)["stdout"], format!("LC_ALL=C\nPATH={path}\n"));

    let outcome =
        run_shell("pwd; cat; cut -d \" \" -f 5 /proc/$$/stat; echo $$", "working_dir = '/usr'");
    let outcome = outcome.await;
    let stdout = result(&outcome)["stdout"].as_str().unwrap().to_owned();
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines[0], "/usr", "and stdin is empty: cat has ended");
    assert_eq!(lines[1], lines[2], "it leads a process group of its own");
}

#[tokio::test]
async fn values_reach_the_program_as_single_arguments() {
    let list = r#"
        [[command]]
        name = "c"
        program = "printf"
        args = ["[%s]", "{text}", "of={text}"]
        params.text = { type = "string" }
    "#;
    let runner = runner(list);
    let text = "a b; $(reboot) `x` {text} \"' * \n&& é";
    let outcome = run(&runner, "c", json!({ "text": text })).await;
    assert_eq!(result(&outcome)["stdout"], format!("[{text}][of={text}]"));

    let outcome = run(&runner, "c", json!({"text": "-v"})).await;
    assert_eq!(outcome.state, DeliveryState::Rejected);
    assert_eq!(
        reason(&outcome),
        "param \"text\" = \"-v\": begins with \"-\", which the program would take for an option"
    );
    assert_eq!((outcome.result, outcome.ran_ms), (None, None));
}

#[tokio::test]
async fn paths_do_not_leave_their_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), "inside").unwrap();
    fs::write(dir.path().join("secret"), "outside").unwrap();
    symlink("../secret", root.join("link")).unwrap();
    let list = format!(
        "[[command]]\nname = 'c'\nprogram = 'cat'\nargs = ['{{p}}']\n\
         params.p = {{ type = 'path', below = '{}', must_exist = true }}",
        root.display()
    );
    let runner = runner(&list);
    for inside in ["file", "./file", "../root/file"] {
        let outcome = run(&runner, "c", json!({ "p": inside })).await;
        assert_eq!(result(&outcome)["stdout"], "inside", "{inside}");
    }
    for outside in ["../secret", "link", "/etc/passwd"] {
        let outcome = run(&runner, "c", json!({ "p": outside })).await;
        assert_eq!(outcome.state, DeliveryState::Rejected);
        let expected = format!("param \"p\" = \"{outside}\": is not below {}", root.display());
        assert_eq!(reason(&outcome), expected);
    }
}

#[tokio::test]
async fn a_command_that_is_not_listed_is_rejected() {
    let runner = Runner::demo().unwrap();
    let outcome = run(&runner, "disk.reprot", json!({})).await;
    assert_eq!(outcome.state, DeliveryState::Rejected);
    assert_eq!(
        reason(&outcome),
        "command \"disk.reprot\" is not on this agent's list; did you mean \"disk.report\"?; \
         allowed are 9: cert.check, db.check, db.export, disk.report, host.uptime, logs.rotate, \
         maintenance.announce, packages.list, web.reload"
    );
    let outcome = run(&runner, "reboot", json!({})).await;
    assert!(
        reason(&outcome).starts_with("command \"reboot\" is not on this agent's list; allowed")
    );
}

#[tokio::test]
async fn what_went_missing_since_the_list_was_loaded_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::copy("/bin/true", &program).unwrap();
    let (program, work) = (program.display(), work.display());
    let runner = runner(&format!(
        "[[command]]\nname = 'gone'\nprogram = '{program}'\n\
         [[command]]\nname = 'homeless'\nprogram = 'true'\nworking_dir = '{work}'"
    ));
    dir.close().unwrap();
    let outcome = run(&runner, "gone", json!({})).await;
    assert_eq!(outcome.state, DeliveryState::Failed);
    let missing = "No such file or directory (os error 2)";
    assert_eq!(reason(&outcome), format!("program {program} cannot be started: {missing}"));
    let outcome = run(&runner, "homeless", json!({})).await;
    assert_eq!(outcome.state, DeliveryState::Failed);
    assert_eq!(reason(&outcome), format!("working directory {work} is missing"));
}

#[tokio::test]
async fn the_demo_commands_run() {
    let runner = Runner::demo().unwrap();
    for (command, params, printed) in [
        ("disk.report", json!({}), "Mounted on"),
        ("cert.check", json!({"host": "example.org"}), "certificate of example.org, port 443\n"),
        ("logs.rotate", json!({}), "/var/log\n"),
        ("packages.list", json!({}), "\n"),
        ("maintenance.announce", json!({"message": "-- at 5%"}), "announced: -- at 5%\n"),
        ("db.check", json!({}), "database main is sound\n"),
        ("db.export", json!({}), "journal of main exported\n"),
        ("host.uptime", json!({}), "."),
        ("web.reload", json!({"service": "caddy"}), "would reload caddy\n"),
    ] {
        let outcome = run(&runner, command, params).await;
        assert_eq!(outcome.state, DeliveryState::Succeeded, "{command}: {outcome:?}");
        let stdout = result(&outcome)["stdout"].as_str().unwrap().to_owned();
        assert!(stdout.contains(printed), "{command} printed {stdout:?}");
    }
    assert_eq!(runner.commands().count(), 9);
}

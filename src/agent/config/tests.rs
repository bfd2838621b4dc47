//! What a configuration may say, and how it is told what it may not.

use std::path::Path;
use std::time::Duration;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/fleetcron/agent.toml"))
}

/// The error of a document, without the file.
fn error(text: &str) -> String {
    let message = parse(text).expect_err(text).to_string();
    message.strip_prefix("/etc/fleetcron/agent.toml:").expect("names the file").to_owned()
}

/// The error of a command that is right but for these lines, the first of which is line 4.
fn command_error(lines: &str) -> String {
    error(&format!("[[command]]\nname = \"c\"\nprogram = \"cat\"\n{lines}"))
}

#[test]
fn a_full_configuration_is_read() {
    let config = parse(
        r#"
        [agent]
        server = "[::1]:7400"
        client = "web-01"
        token_file = "token"
        journal = "state/journal"

        [[command]]
        name = "disk.report"
        description = "Free space."
        program = "df"
        args = ["-P", "{path}"]
        working_dir = "/usr"
        env = ["PATH", "FLEETCRON_NOT_SET"]
        set_env = { LC_ALL = "C" }
        time_limit = "30s"
        output_limit = 0x1000
        grace = "0s"
        success_codes = [0, 3]
        params.path = { type = "path", below = "/", default = "/" }

        [[command]]
        name = "host.uptime"
        program = "/bin/cat"
        "#,
    )
    .unwrap();
    let connection = Connection {
        server: Some("[::1]:7400".into()),
        client: Some("web-01".parse().unwrap()),
        token_file: Some("/etc/fleetcron/token".into()),
        journal: Some(JournalChoice::At("/etc/fleetcron/state/journal".into())),
    };
    assert_eq!(config.connection, connection);
    let command = &config.commands["disk.report"];
    assert!(command.program.is_absolute() && command.program.ends_with("df"));
    assert_eq!(command.time_limit, Duration::from_secs(30));
    assert_eq!((command.grace, command.output_limit), (Duration::ZERO, 4096));
    assert_eq!(command.success_codes, [0, 3]);
    let names: Vec<_> = command.env.keys().collect();
    assert_eq!(names, ["LC_ALL", "PATH"], "a variable that is not set is not passed");
    let plain = &config.commands["host.uptime"];
    assert_eq!((plain.time_limit, plain.grace), (DEFAULT_TIME_LIMIT, DEFAULT_GRACE));
    assert_eq!(plain.output_limit, DEFAULT_OUTPUT_LIMIT);
    assert_eq!(plain.success_codes, [0]);
    assert!(plain.env.is_empty() && plain.working_dir == Path::new("/"));
}

#[test]
fn an_agent_may_keep_no_journal() {
    let list = "[[command]]\nname = \"c\"\nprogram = \"cat\"\n";
    let choice = |agent: &str| parse(&format!("{agent}\n{list}")).unwrap().connection.journal;
    assert_eq!(choice("[agent]\njournal = false"), Some(JournalChoice::None));
    assert_eq!(choice("[agent]\njournal = \"/var/j\""), Some(JournalChoice::At("/var/j".into())));
    assert_eq!(choice("[agent]"), None);
}

#[test]
fn an_unreadable_file_is_told() {
    let message = Config::load(Path::new("/nonesuch.toml")).unwrap_err().to_string();
    assert_eq!(message, "/nonesuch.toml: cannot be read: No such file or directory (os error 2)");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("long.toml");
    std::fs::write(&file, "#".repeat((1 << 20) + 1)).unwrap();
    let message = Config::load(&file).unwrap_err().to_string();
    assert_eq!(message, format!("{}: is longer than 1048576 bytes", file.display()));
}

#[test]
fn errors_of_documents_are_exact() {
    for (text, expected) in [
        ("a = ", "1: string values must be quoted, expected literal string"),
        ("", "1: command: is missing"),
        ("command = 3", "1: command = 3: must be an array, not of type integer"),
        (
            "[[comand]]",
            "1: comand: unknown field; did you mean \"command\"?; known are agent, labels, command",
        ),
        (
            "[agent]\nserver = \"7400\"",
            "2: agent.server = \"7400\": must be host:port, such as 127.0.0.1:7400",
        ),
        (
            "[agent]\nserver = \"a:0\"",
            "2: agent.server = \"a:0\": must be host:port, such as 127.0.0.1:7400",
        ),
        (
            "[agent]\ngroups = []",
            "2: agent.groups: unknown field; known are server, client, token_file, journal",
        ),
        ("[agent]\njournal = true", "2: agent.journal = true: must be a directory, or false"),
        ("[agent]\njournal = \"\"", "2: agent.journal = \"\": must be a directory, or false"),
        (
            "[labels]\nRack = \"r7\"",
            "2: labels.Rack = \"r7\": label key \"Rack\" is not valid; allowed are 1 to 64 characters \
             of [a-z0-9._-]",
        ),
        ("[labels]\nrack = 7", "2: labels.rack = 7: must be a string, not of type integer"),
        (
            "[labels]\nos = \"plan9\"",
            "1: labels = {…}: label os is not valid: the client's own fact has this name",
        ),
        (
            "[agent]\nclient = \"a b\"",
            "2: agent.client = \"a b\": client id \"a b\" is not valid: character ' ' at position 2; \
             allowed are 1 to 64 characters of [A-Za-z0-9._:-]",
        ),
        ("[[command]]\nprogram = \"cat\"", "1: command.name: is missing"),
        ("[[command]]\nname = 3", "2: command.name = 3: must be a string, not of type integer"),
        ("[[command]]\nname = \"c\"", "1: command \"c\": program: is missing"),
        (
            "[[command]]\nname = \"c\"\nprogram = \"cat\"\n\n[[command]]\nname = \"c\"\nprogram = \"ls\"",
            "5: command \"c\" is already defined on line 1",
        ),
        ("[[command]]\nname = \"c\"\nname = \"d\"", "3: duplicate key"),
        (
            "[[command]]\nname = \"c\"\nprogram = \"fleetcron-none\"",
            "3: command \"c\": program = \"fleetcron-none\": is not found in PATH",
        ),
        (
            "[[command]]\nname = \"c\"\nprogram = \"bin/cat\"",
            "3: command \"c\": program = \"bin/cat\": must be an absolute path, or a name that PATH has",
        ),
        (
            "[[command]]\nname = \"c\"\nprogram = \"/etc/passwd\"",
            "3: command \"c\": program = \"/etc/passwd\": is not a program that can be run",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn errors_of_commands_are_exact() {
    for (lines, expected) in [
        (
            "arg = []",
            "arg: unknown field; did you mean \"args\"?; known are name, description, program, args, working_dir, env, set_env, time_limit, grace, output_limit, success_codes, progress, result, artefacts, artefact_limit, params",
        ),
        ("args = [\"a\", \"{b\"]", "args[1] = \"{b\": has a { without a }; write {{ for a brace"),
        ("args = [1]", "args[0] = 1: must be a string, not of type integer"),
        ("args = [\"{path}\"]", "args[0] = \"{path}\": param \"path\" is not declared"),
        ("working_dir = \"tmp\"", "working_dir = \"tmp\": must be absolute"),
        ("working_dir = \"/nonesuch\"", "working_dir = \"/nonesuch\": is not a directory"),
        ("env = [\"A=B\"]", "env[0] = \"A=B\": \"A=B\" is not the name of an environment variable"),
        (
            "env = [\"A\"]\nset_env = { A = \"1\" }",
            "set_env.A = \"1\": is also passed through by env",
        ),
        ("time_limit = 30", "time_limit = 30: must be a string, not of type integer"),
        ("time_limit = \"0s\"", "time_limit = \"0s\": must be 1ms to 1day"),
        ("time_limit = \"25h\"", "time_limit = \"25h\": must be 1ms to 1day"),
        ("grace = \"2m\"", "grace = \"2m\": must be 0s to 1m"),
        ("output_limit = 262145", "output_limit = 262145: must be 0 to 262144"),
        ("output_limit = -1", "output_limit = -1: must be 0 to 262144"),
        ("success_codes = []", "success_codes = []: must have at least one code"),
        ("success_codes = [256]", "success_codes[0] = 256: must be 0 to 255"),
        ("progress = \"yes\"", "progress = \"yes\": must be true or false, not of type string"),
        ("result = \"yaml\"", "result = \"yaml\": must be text or json"),
        (
            "artefacts = [\"a\", \"../b\"]",
            "artefacts[1] = \"../b\": must be relative to working_dir, without ..",
        ),
        (
            "artefacts = [\"a/x\", \"b/x\"]",
            "artefacts[1] = \"b/x\": has the same name, \"x\", as one before it",
        ),
        ("artefact_limit = 262145", "artefact_limit = 262145: must be 0 to 262144"),
        ("params.a = { type = \"integer\" }", "params.a = {…}: no argument uses it"),
    ] {
        let error = command_error(lines);
        let (line, problem) = error.split_once(": ").unwrap();
        assert_eq!(line, (3 + lines.lines().count()).to_string(), "{lines}");
        assert_eq!(problem, format!("command \"c\": {expected}"), "{lines}");
    }
}

#[test]
fn errors_of_params_are_exact() {
    for (param, expected) in [
        ("{}", ".type: is missing"),
        ("{ type = \"text\" }", ".type = \"text\": must be string, integer, choice or path"),
        (
            "{ type = \"string\", min = 1 }",
            ".min: unknown field; known are type, default, allow_leading_dash, pattern, max_length",
        ),
        (
            "{ type = \"string\", patern = \"a\" }",
            ".patern: unknown field; did you mean \"pattern\"?; known are type, default, allow_leading_dash, pattern, max_length, min, max, of, below, must_exist",
        ),
        (
            "{ type = \"string\", pattern = \"a(\" }",
            ".pattern = \"a(\": is no regular expression: unclosed group",
        ),
        (
            "{ type = \"string\", pattern = \"a)|(b\" }",
            ".pattern = \"a)|(b\": is no regular expression: unopened group",
        ),
        ("{ type = \"string\", max_length = 0 }", ".max_length = 0: must be 1 to 16384"),
        (
            "{ type = \"string\", max_length = 2, default = \"abc\" }",
            ".default = \"abc\": has 3 characters; the most is 2",
        ),
        (
            "{ type = \"string\", default = \"-a\" }",
            ".default = \"-a\": begins with \"-\", which the program would take for an option",
        ),
        (
            "{ type = \"string\", default = true }",
            ".default = true: must be a string or an integer",
        ),
        ("{ type = \"string\", default = 1 }", ".default = 1: must be a string, not an integer"),
        ("{ type = \"integer\", min = 2, max = 1 }", ".max = 1: is below min = 2"),
        (
            "{ type = \"integer\", min = 2, default = 1 }",
            ".default = 1: must be 2 to 9223372036854775807",
        ),
        (
            "{ type = \"integer\", min = 9223372036854775808 }",
            ".min = 9223372036854775808: is not within the range of 64 bits",
        ),
        ("{ type = \"choice\" }", ".of: is missing"),
        ("{ type = \"choice\", of = [] }", ".of = []: must have at least one choice"),
        ("{ type = \"choice\", of = [\"a\", \"a\"] }", ".of[1] = \"a\": is given twice"),
        (
            "{ type = \"choice\", of = [\"nginx\"], default = \"ngnix\" }",
            ".default = \"ngnix\": must be one of nginx; did you mean \"nginx\"?",
        ),
        ("{ type = \"path\" }", ".below: is missing"),
        (
            "{ type = \"path\", below = \"var\" }",
            ".below = \"var\": must be absolute and without ..",
        ),
        (
            "{ type = \"path\", below = \"/var/..\" }",
            ".below = \"/var/..\": must be absolute and without ..",
        ),
        (
            "{ type = \"path\", below = \"/usr\", default = \"/etc\" }",
            ".default = \"/etc\": is not below /usr",
        ),
    ] {
        let error = command_error(&format!("args = [\"{{p}}\"]\nparams.p = {param}"));
        assert_eq!(error, format!("5: command \"c\": params.p{expected}"), "{param}");
    }
}

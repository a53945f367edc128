//! The command line as its users see it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(std::iter::once("tinclaw").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

/// Commands that print something for a script. The others run a host, print what a shell or a manual reads, or show something to a
/// person only.
#[test]
fn every_command_takes_json_but_those_that_have_nothing_for_a_script() {
    fn without_json(command: &clap::Command, name: &str, found: &mut Vec<String>) {
        if command.has_subcommands() {
            for inner in command.get_subcommands() {
                without_json(inner, &format!("{name} {}", inner.get_name()), found);
            }
        } else if !command.get_arguments().any(|argument| argument.get_id() == "json") {
            found.push(name.trim().to_owned());
        }
    }
    let mut found = Vec::new();
    without_json(&Arguments::command(), "", &mut found);
    assert_eq!(found, ["run", "secrets show", "completions", "man"]);
}

#[test]
fn a_line_means_what_it_says() {
    let rows = [
        ("a bare command", "run", "Run(RunArgs { listen: None,"),
        ("a value after a blank", "run --listen 127.0.0.1:1", "listen: Some(127.0.0.1:1)"),
        ("a value after =", "run --listen=[::1]:0", "listen: Some([::1]:0)"),
        ("an empty text", "run --agent=", "agent: Some(\"\")"),
        ("a value with =", "call a on-poll --http-rewrite a=b", "http_rewrite: [\"a=b\"]"),
        ("a value with a dash", "run --agent=-x", "agent: Some(\"-x\")"),
        ("standard input", "call a on-poll --input -", "input: Some(\"-\")"),
        ("an option several times", "run --channels a --channels=b", "channels: [\"a\", \"b\"]"),
        ("switches", "call a on-poll --no-start --json", "no_start: true, output: JsonArgs { json: true }"),
        ("an old name of an option", "call --channel-config={} a on-poll", "settings: Some(\"{}\")"),
        ("several arguments", "check a b --json c", "CheckArgs { paths: [\"a\", \"b\", \"c\"]"),
        ("a dash alone is an argument", "check -", "paths: [\"-\"]"),
        ("after -- nothing is an option", "check a -- --json -- -h", "[\"a\", \"--json\", \"--\", \"-h\"]"),
        (
            "arguments in their order",
            "call a.wasm on-poll",
            "channel: \"a.wasm\", callback: Some(\"on-poll\")",
        ),
        ("a number", "messages show 18446744073709551615", "Show(OneRow { id: 18446744073709551615,"),
        ("a state", "replies list --state dead", "state: Some(Dead), before: None, limit: 50 }"),
        ("a page", "messages list --before 9 --limit 3", "before: Some(9), limit: 3 }"),
        ("a word that is a command elsewhere", "pairing approve a ACDE --as run", "identity: Some(\"run\")"),
        ("help where there are no commands", "secrets remove help", "Remove { name: \"help\", output:"),
        (
            "common options",
            "--config a health --log b",
            "config: Some(\"a\"), state_dir: None, host: None, log: Some(\"b\")",
        ),
        ("a common option after the command", "run --config b", "config: Some(\"b\")"),
        ("between commands", "channels --state-dir a list", "state_dir: Some(\"a\")"),
        ("a host", "--host http://[::1]:9 health", "host: Some(\"http://[::1]:9\")"),
        ("an address of the admin API", "run --admin unix:/a", "admin: Some(Unix(\"/a\"))"),
        ("a screen that follows changes", "status --watch", "Status { channel: None, watch: true,"),
        ("verbose", "run -vv", "verbose: 2, quiet: 0"),
        ("quiet before the command", "-q check a", "verbose: 0, quiet: 1"),
        (
            "a recording",
            "record a --callbacks 1000",
            "channel: \"a\", callbacks: 1000, seconds: 600, output: None",
        ),
        ("a trace", "trace Ev1 --kind provider", "id: \"Ev1\", kind: Some(Provider)"),
        ("a shell", "completions fish", "Completions { shell: Fish }"),
    ];
    for (case, line, expected) in rows {
        let meaning = parse(line).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(format!("{meaning:?}").contains(expected), "{case}: {meaning:?}");
    }
}

#[test]
fn an_invalid_line_is_refused_with_what_was_meant() {
    let rows: &[(&str, &[&str])] = &[
        ("rum", &["unrecognized subcommand 'rum'", "'run'"]),
        ("xyzzy", &["unrecognized subcommand 'xyzzy'"]),
        ("chanels list", &["'chanels'", "'channels'"]),
        ("secrets lst", &["'lst'", "'list'"]),
        ("run --chanels x", &["'--chanels'", "'--channels'"]),
        ("run --confg x", &["'--confg'", "'--config'"]),
        ("run --json", &["unexpected argument '--json'"]),
        ("run -x", &["unexpected argument '-x'"]),
        ("--webchat run", &["'--webchat'", "'run --webchat' exists"]),
        ("run --listen", &["'--listen <ADDRESS>'"]),
        ("run --config=", &["'--config <FILE>'"]),
        ("messages list --state", &["'--state <STATE>'", "pending, acked, dropped"]),
        ("run --webchat=yes", &["'yes'", "'--webchat'"]),
        ("run --listen 127.0.0.1:1 --listen 127.0.0.1:1", &["'--listen <ADDRESS>'", "multiple times"]),
        ("check", &["<PATH>..."]),
        ("call", &["<CHANNEL.wasm>", "<CALLBACK>"]),
        ("run extra", &["unexpected argument 'extra'"]),
        ("messages show 1 2", &["unexpected argument '2'"]),
        ("run --listen 8080", &["'8080'", "expected an IP address and a port, such as 127.0.0.1:8080"]),
        ("messages show x", &["invalid value 'x' for '<ID>': expected a whole number"]),
        ("messages show 18446744073709551616", &["it is too large"]),
        ("messages list --before x", &["expected a whole number"]),
        ("replies list --state Dead", &["'Dead'", "pending, delivered, dead, dropped"]),
        ("messages list --state delivered", &["pending, acked, dropped, dead"]),
        ("run -v -q", &["cannot be used with"]),
        ("run -v --log debug", &["cannot be used with"]),
        ("completions csh", &["'csh'", "bash", "zsh"]),
    ];
    for (line, parts) in rows {
        let error = parse(line).expect_err(line).to_string();
        assert!(error.starts_with("error: "), "{line}: {error}");
        for part in *parts {
            assert!(error.contains(part), "{line}: {part}: {error}");
        }
    }
}

#[test]
fn a_command_is_needed_and_help_is_shown_without_one() {
    for line in ["", "channels"] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, "{line}");
        assert!(error.to_string().contains("Usage: tinclaw"), "{line}: {error}");
    }
}

#[test]
fn paths_may_be_anything_and_texts_are_utf_8() {
    let parse = |words: &[&[u8]]| {
        let words = words.iter().map(|word| OsString::from_vec(word.to_vec()));
        Arguments::try_parse_from(std::iter::once(OsString::from("tinclaw")).chain(words))
    };
    assert!(format!("{:?}", parse(&[b"check", b"a\xff"]).unwrap()).contains("\"a\\xFF\""));
    assert_eq!(parse(&[b"secrets", b"remove", b"a\xff"]).unwrap_err().kind(), ErrorKind::InvalidUtf8);
    assert!(parse(&[b"check", b""]).is_err());
}

#[test]
fn the_environment_names_the_state_directory_when_the_line_does_not() {
    let rows = [
        ("neither", None, None, None),
        ("the environment", None, Some("e"), Some("e")),
        ("the line goes first", Some("l"), Some("e"), Some("l")),
        ("an empty variable is none", None, Some(""), None),
    ];
    for (case, line, variable, expected) in rows {
        let mut common = Common { state_dir: line.map(PathBuf::from), ..Common::default() };
        common.state_dir_from(variable.map(OsString::from));
        assert_eq!(common.state_dir, expected.map(PathBuf::from), "{case}");
    }
}

/// Every command, with those before it.
fn every_command(command: &clap::Command, all: &mut Vec<clap::Command>) {
    all.push(command.clone());
    command.get_subcommands().for_each(|below| every_command(below, all));
}

#[test]
fn every_command_and_argument_has_help_that_ends_without_a_full_stop() {
    let mut all = Vec::new();
    let mut command = Arguments::command();
    command.build();
    every_command(&command, &mut all);
    for command in all {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about}", command.get_name());
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn the_version_names_the_target_and_the_features() {
    assert!(
        reference::LONG_VERSION.contains("\ntarget: ") && reference::LONG_VERSION.contains("cli"),
        "{}",
        reference::LONG_VERSION
    );
    assert!(reference::SHORT_VERSION.starts_with(env!("CARGO_PKG_VERSION")), "{}", reference::SHORT_VERSION);
}

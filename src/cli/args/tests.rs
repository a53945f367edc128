//! The command line as its users see it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::commands::{COMMON, TINCLAW};
use super::help::{WIDTH, page, title};
use super::spec::{Kind, Parameter, Spec, Then};
use super::{Arguments, Command, MessagesCommand, Parsed, parse};

/// Words between blanks.
fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// What is meant, as text; or the error.
fn meaning(words: Vec<OsString>) -> Result<String, String> {
    match parse(words, &|_| None) {
        Ok(Parsed::Arguments(arguments)) => Ok(format!("{arguments:?}")),
        Ok(Parsed::Help(page)) => Ok(page),
        Ok(Parsed::Version) => Ok("version".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The first paragraph of the error on one line, without its first word.
fn complaint(words: Vec<OsString>) -> String {
    let error = meaning(words).expect_err("the line is wrong");
    let what = error.strip_prefix("error: ").and_then(|error| error.split("\n\n").next());
    what.expect("an error says what it is").replace('\n', " ")
}

/// Every command of the table, with those before it.
fn every_command() -> Vec<Vec<&'static Spec>> {
    fn below(path: &[&'static Spec], all: &mut Vec<Vec<&'static Spec>>) {
        all.push(path.to_vec());
        if let Then::Commands(commands) = path[path.len() - 1].then {
            commands.iter().for_each(|command| below(&[path, &[command]].concat(), all));
        }
    }
    let mut all = Vec::new();
    below(&[&TINCLAW], &mut all);
    all
}

/// A command, and whatever it needs.
fn least_line(path: &[&Spec]) -> String {
    let [.., command] = path else { return String::new() };
    let arguments = command.parameters.iter().filter(|parameter| parameter.kind == Kind::Argument);
    path[1..].iter().map(|command| command.name).chain(arguments.map(|_| "7")).collect::<Vec<_>>().join(" ")
}

/// An option with a value that it may have.
fn sample(option: &Parameter) -> String {
    match (option.kind, option.choices) {
        (Kind::Switch, _) => format!("--{}", option.name),
        (_, [(name, _), ..]) => format!("--{}={name}", option.name),
        (Kind::Value("ADDRESS"), _) => format!("--{}=127.0.0.1:7", option.name),
        _ => format!("--{}=7", option.name),
    }
}

#[test]
fn a_line_means_what_it_says() {
    let rows = [
        ("a bare command", "run", "Run(RunArgs { listen: None, channels: [], webchat: false, agent: None,"),
        ("a value after a blank", "run --listen 127.0.0.1:1", "listen: Some(127.0.0.1:1)"),
        ("a value after =", "run --listen=[::1]:0", "listen: Some([::1]:0)"),
        ("an empty text", "run --agent=", "agent: Some(\"\")"),
        ("a value with =", "call a b --http-rewrite a=b", "http_rewrite: [\"a=b\"]"),
        ("a value with a dash", "run --agent=-x", "agent: Some(\"-x\")"),
        ("standard input", "call a b --input -", "input: Some(\"-\")"),
        ("an option several times", "run --channels a --channels=b", "channels: [\"a\", \"b\"]"),
        ("switches", "call a b --no-start --json", "no_start: true, output: JsonArgs { json: true }"),
        ("several arguments", "check a b --json c", "CheckArgs { paths: [\"a\", \"b\", \"c\"]"),
        ("a dash alone is an argument", "check -", "paths: [\"-\"]"),
        ("after -- nothing is an option", "check a -- --json -- -h", "[\"a\", \"--json\", \"--\", \"-h\"]"),
        ("arguments in their order", "call a.wasm on-poll", "channel: \"a.wasm\", callback: \"on-poll\""),
        ("a number", "messages show 18446744073709551615", "Show(OneRow { id: 18446744073709551615,"),
        ("a state", "replies list --state dead", "state: Some(\"dead\"), before: None, limit: 50 }"),
        ("a page", "messages list --before 9 --limit 3", "before: Some(9), limit: 3 }"),
        ("a word that is taken elsewhere", "pairing approve a ACDE --as run", "identity: Some(\"run\")"),
        ("help where there are no commands", "secrets remove help", "Remove { name: \"help\" }"),
        (
            "common options",
            "--config a health --log b",
            "config: Some(\"a\"), state_dir: None, log: Some(\"b\")",
        ),
        ("one of them again after the command", "--config a run --config b", "config: Some(\"b\")"),
        ("between commands", "channels --state-dir a list", "state_dir: Some(\"a\")"),
        ("the version", "--version", "version"),
        ("the version in a letter", "-V", "version"),
    ];
    for (case, line, expected) in rows {
        let meaning = meaning(words(line)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(meaning.contains(expected), "{case}: {meaning}");
    }
}

#[test]
fn what_can_be_written_in_two_ways_means_the_same() {
    let rows = [
        ("--log debug health", "health --log=debug"),
        ("call a b --settings {}", "call --channel-config={} a b"),
        ("messages --config a drop 3", "messages drop --config=a -- 3"),
        ("help", "--help"),
        ("help help", "-h"),
        ("help run", "run --help"),
        ("run -h", "run --help --unknown"),
        ("help channels install", "channels help install"),
        ("channels install --help", "channels help install"),
        ("channels help", "channels -h list"),
    ];
    for (one, other) in rows {
        assert_eq!(meaning(words(one)).unwrap(), meaning(words(other)).unwrap(), "{one} and {other}");
    }
}

#[test]
fn a_wrong_line_is_told_with_what_was_meant() {
    let rows = [
        (
            "",
            "`tinclaw` needs a command: run, check, call, channels, messages, replies, pairing, secrets, health or help",
        ),
        ("channels", "`tinclaw channels` needs a command: list, install or help"),
        ("rum", "`tinclaw` has no command `rum`; did you mean `run`?"),
        ("xyzzy", "`tinclaw` has no command `xyzzy`"),
        ("chanels list", "`tinclaw` has no command `chanels`; did you mean `channels`?"),
        ("secrets lst", "`tinclaw secrets` has no command `lst`; did you mean `list`?"),
        ("help run more", "`tinclaw run` has no command `more`"),
        ("run --chanels x", "there is no option `--chanels`; did you mean `--channels`?"),
        ("run --LISTEN x", "there is no option `--LISTEN`; did you mean `--listen`?"),
        ("run --confg x", "there is no option `--confg`; did you mean `--config`?"),
        ("call --channel-conf x", "there is no option `--channel-conf`; did you mean `--channel-config`?"),
        ("run --foo", "there is no option `--foo`"),
        ("run --foo --help", "there is no option `--foo`"),
        ("run --json", "there is no option `--json`"),
        ("run -x", "there is no option `-x`"),
        ("run -V", "there is no option `-V`"),
        ("--webchat run", "`--webchat` comes after its command, as in `tinclaw run --webchat`"),
        ("channels --json list", "`--json` comes after its command, as in `tinclaw channels list --json`"),
        ("--force", "`--force` comes after its command, as in `tinclaw channels install --force`"),
        (
            "messages show -1",
            "there is no option `-1`; an argument that looks like one goes after `--`, as in `-- -1`",
        ),
        ("run --listen", "`--listen <ADDRESS>` needs a value"),
        ("run --config=", "`--config <FILE>` needs a value"),
        ("run --channels -- x", "`--channels <PATH>` needs a value; if `--` is it, write `--channels=--`"),
        ("messages list --limit -5", "`--limit <N>` needs a value; if `-5` is it, write `--limit=-5`"),
        ("messages list --state", "`--state <STATE>` needs a value: pending, acked or dropped"),
        ("run --webchat=yes", "`--webchat` takes no value, but has `yes`"),
        ("run --listen 127.0.0.1:1 --listen 127.0.0.1:1", "`--listen <ADDRESS>` may be given only once"),
        ("run --webchat --webchat", "`--webchat` may be given only once"),
        ("call a b --settings {} --channel-config {}", "`--settings <JSON>` may be given only once"),
        ("--log a --log b run", "`--log <FILTER>` may be given only once"),
        ("check", "`<PATH>...` is missing"),
        ("check --", "`<PATH>...` is missing"),
        ("call", "`<CHANNEL.wasm>` and `<CALLBACK>` are missing"),
        ("call a.wasm", "`<CALLBACK>` is missing"),
        ("run extra", "unexpected argument `extra`"),
        ("messages show 1 2", "unexpected argument `2`"),
        (
            "run --listen 8080",
            "invalid value `8080` for `--listen <ADDRESS>`: expected an IP address and a port, such as 127.0.0.1:8080",
        ),
        ("messages show x", "invalid value `x` for `<ID>`: expected a whole number"),
        ("messages show -- -1", "invalid value `-1` for `<ID>`: expected a whole number"),
        (
            "messages show 18446744073709551616",
            "invalid value `18446744073709551616` for `<ID>`: it is too large",
        ),
        ("messages list --limit 5x", "invalid value `5x` for `--limit <N>`: expected a whole number"),
        (
            "replies list --state Dead",
            "invalid value `Dead` for `--state <STATE>`: expected pending, delivered, dead or dropped; did you mean `dead`?",
        ),
        (
            "messages list --state dead",
            "invalid value `dead` for `--state <STATE>`: expected pending, acked or dropped",
        ),
        ("run \u{1b}[2J", "unexpected argument `\\u{1b}[2J`"),
    ];
    for (line, expected) in rows {
        assert_eq!(complaint(words(line)), expected, "{line}");
    }
}

#[test]
fn an_error_says_where_to_read_on() {
    let expected = "error: `tinclaw messages list` has no command `x`";
    assert_eq!(complaint(words("help messages list x")), expected["error: ".len()..]);
    let error = meaning(words("call a.wasm --chanel-config {}")).unwrap_err();
    assert_eq!(
        error,
        "error: there is no option `--chanel-config`; did you mean `--channel-config`?\n\n\
         Usage: tinclaw call [OPTIONS] <CHANNEL.wasm> <CALLBACK>\n\n\
         For more information, try `tinclaw call --help`."
    );
    let error = meaning(Vec::new()).unwrap_err();
    assert!(error.lines().all(|line| line.len() <= WIDTH), "{error}");
}

#[test]
fn paths_may_be_anything_and_texts_are_utf_8() {
    let strange = || OsString::from_vec(vec![b'a', 0xff]);
    assert!(meaning(vec!["check".into(), strange()]).unwrap().contains("\"a\\xFF\""));
    let expected = "invalid value `a\u{fffd}` for `<NAME>`: it is not UTF-8";
    assert_eq!(complaint(vec!["secrets".into(), "remove".into(), strange()]), expected);
    assert_eq!(complaint(vec![strange()]), "`tinclaw` has no command `a\u{fffd}`");
    assert_eq!(complaint(vec!["check".into(), OsString::new()]), "`<PATH>...` needs a value");
}

#[test]
fn the_environment_names_the_state_directory_when_the_line_does_not() {
    let rows = [
        ("neither", "health", None, None),
        ("the environment", "health", Some("e"), Some("e")),
        ("the line goes first", "health --state-dir l", Some("e"), Some("l")),
        ("an empty variable is none", "health", Some(""), None),
    ];
    for (case, line, variable, expected) in rows {
        let environment = |name: &str| variable.filter(|_| name == "TINCLAW_STATE_DIR").map(OsString::from);
        let Ok(Parsed::Arguments(Arguments { common, .. })) = parse(words(line), &environment) else {
            panic!("{case}: the line is good")
        };
        assert_eq!(common.state_dir, expected.map(Into::into), "{case}");
    }
}

#[test]
fn every_option_of_the_table_is_read_and_on_its_help_page() {
    for path in every_command() {
        let [.., command] = path.as_slice() else { unreachable!("a path has a command") };
        let page = page(&path);
        for parameter in command.parameters.iter().chain(COMMON) {
            assert!(page.contains(&format!("{parameter} ")), "{}: {parameter}", title(&path));
        }
        if !matches!(command.then, Then::Read(_)) {
            continue;
        }
        let least = least_line(&path);
        let without = meaning(words(&least)).unwrap();
        for option in command.parameters.iter().chain(COMMON).filter(|parameter| parameter.is_option()) {
            let with = meaning(words(&format!("{least} {}", sample(option)))).unwrap();
            assert_ne!(with, without, "{}: {option} changes nothing", title(&path));
        }
    }
}

#[test]
fn names_are_told_apart() {
    for path in every_command() {
        let [.., command] = path.as_slice() else { unreachable!("a path has a command") };
        let parameters = command.parameters.iter().chain(COMMON);
        let mut names: Vec<&str> = parameters.flat_map(|one| [Some(one.name), one.alias]).flatten().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", title(&path));
    }
}

#[test]
fn help_fits_a_terminal_and_says_how_a_command_is_written() {
    for path in every_command() {
        let page = page(&path);
        let [.., command] = path.as_slice() else { unreachable!("a path has a command") };
        let usage = format!("\n\nUsage: {} [OPTIONS]", title(&path));
        assert!(
            page.starts_with(&command.about[..20.min(command.about.len())]) && page.contains(&usage),
            "{page}"
        );
        for line in page.lines() {
            assert!(line.is_ascii() && line.len() <= WIDTH && line == line.trim_end(), "{line:?}");
        }
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"), "{page}");
        if let Then::Commands(commands) = command.then {
            for command in commands {
                assert!(page.contains(&format!("\n  {} ", command.name)), "{page}");
            }
        }
    }
}

#[test]
fn a_help_page_lists_what_the_table_says() {
    let expected = "\
The newest messages

Usage: tinclaw messages list [OPTIONS]

Options:
      --channel <NAME>   Only of this channel
      --state <STATE>    Only those in this state:
                           pending  waits for the agent
                           acked    was answered
                           dropped  was dropped by an operator
      --before <ID>      Only those with a smaller id: the last id of one page
                         gives the next
      --limit <N>        How many, at most 1000 [default: 50]
      --json             Print JSON
      --config <FILE>    Configuration file; without this, ./tinclaw.toml when
                         there is one
      --state-dir <DIR>  Where the host keeps its state; default
                         $XDG_STATE_HOME/tinclaw, else ~/.local/state/tinclaw
                         [env: TINCLAW_STATE_DIR]
      --log <FILTER>     What to log, as RUST_LOG says it: `debug`, or
                         `info,echo=debug` for one channel
  -h, --help             Print help
";
    assert_eq!(meaning(words("messages list --help")).unwrap(), expected);
}

#[test]
fn the_default_that_help_names_is_the_default() {
    let Ok(Parsed::Arguments(arguments)) = parse(words("messages list"), &|_| None) else {
        panic!("the line is good")
    };
    let Command::Messages(MessagesCommand::List { rows, .. }) = arguments.command else {
        panic!("it is a list")
    };
    assert!(meaning(words("help messages list")).unwrap().contains(&format!("[default: {}]", rows.limit)));
}

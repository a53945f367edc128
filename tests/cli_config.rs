//! What commands say about a configuration, the command line and JSON that is not as it should be.

mod cli_support;
mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use cli_support::{Place, Ran};

/// Every one of these ended with a panic, exit code 101, and `new`, `sign` and `install` had done their work by then.
#[test]
fn a_path_that_is_not_utf8_is_printed_with_replacements() {
    let place = Place::new();
    let folder = place.path().join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir_all(folder.join("channels")).unwrap();
    let wasm = place.channel("echo");
    for ending in ["wasm", "capabilities.json"] {
        let from = wasm.with_file_name(format!("echo.{ending}"));
        std::fs::copy(from, folder.join("channels").join(format!("echo.{ending}"))).unwrap();
    }
    std::fs::write(folder.join("tinclaw.toml"), "channels = [\"channels\"]\n").unwrap();
    let run = |arguments: &[&OsStr]| {
        let mut command = place.command(&[]);
        command.args(arguments).current_dir(&folder).env("TINCLAW_STATE_DIR", folder.join("state"));
        command.env("TINCLAW_TOOLS_DIR", folder.join("tools"));
        command.stdin(std::fs::File::open(place.file("input", "value\n")).unwrap());
        Ran::from(command.output().unwrap())
    };
    let (key, guest, root) = (folder.join("key"), folder.join("channels/echo.wasm"), folder.join("root"));
    let (key, guest, root) = (key.as_os_str(), guest.as_os_str(), root.as_os_str());
    let config = folder.join("tinclaw.toml");
    let config = config.as_os_str();
    let text = OsStr::new;
    for (command, paths, field) in [
        ("config check", &[text("--config"), config][..], "config"),
        ("config show", &[text("--config"), config], "config"),
        ("secrets set a", &[], "file"),
        ("secrets remove a", &[], "file"),
        ("tools install notes", &[], "installed"),
        ("tools remove notes", &[], "removed"),
        ("sign", &[text("--new-key"), text("--key"), key], "secret_key"),
        ("sign", &[guest, text("--key"), key], "manifest"),
        // Not this program: it may lie where the unit cannot see it.
        ("service install", &[text("--root"), root, text("--program"), text("/usr/bin/env")], "written"),
        ("service uninstall", &[text("--root"), root], "removed"),
        ("status", &[], ""),
        ("doctor", &[], ""),
        ("setup", &[], ""),
        ("channels list", &[], ""),
    ] {
        let words: Vec<&OsStr> = command.split(' ').map(OsStr::new).collect();
        let ran = run(&[&words, paths, &[text("--json")]].concat());
        assert!(ran.code.is_some_and(|code| code <= 1), "{command}: {:?} {}{}", ran.code, ran.out, ran.err);
        if !field.is_empty() {
            let value = ran.json()[field].to_string();
            assert!(value.contains("caf\u{fffd}"), "{command}: {value}");
        }
    }
}

/// Names and values.
type Variables<'a> = &'a [(&'a str, &'a str)];

fn with_variables(place: &Place, arguments: &[&str], variables: Variables) -> Ran {
    Ran::from(place.command(arguments).envs(variables.iter().copied()).output().unwrap())
}

/// A table that a variable set as a whole was shown as it was, with the headers and passwords that its fields hide.
#[test]
fn config_show_hides_secrets_of_tables_that_variables_set() {
    let place = Place::new();
    for (variable, value) in [
        ("TINCLAW_AGENT", r#"{"kind":"http:http://127.0.0.1:1/","headers":{"authorization":"LIVEKEY"}}"#),
        ("TINCLAW_AGENT", r#"{"kind":"http:http://u:LIVEKEY@127.0.0.1:1/"}"#),
        ("TINCLAW_HTTP_REWRITE", r#"{"a.example":"http://u:LIVEKEY@127.0.0.1:1"}"#),
        ("TINCLAW_AGENT", "http:http://u:LIVEKEY@127.0.0.1:1/"),
    ] {
        for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
            let ran = with_variables(&place, arguments, &[(variable, value)]);
            assert!(!ran.good().contains("LIVEKEY"), "{variable}: {}", ran.out);
        }
    }
    let kind = ("TINCLAW_AGENT__KIND", "http:http://127.0.0.1:1/");
    let headers = ("TINCLAW_AGENT__HEADERS", r#"{"authorization":"LIVEKEY"}"#);
    let ran = with_variables(&place, &["config", "show"], &[kind, headers]);
    assert!(
        !ran.good().contains("LIVEKEY") && ran.out.contains("agent.headers.authorization"),
        "{}",
        ran.out
    );
    let ran = with_variables(&place, &["config", "show"], &[("TINCLAW_AGENT", "{}")]);
    assert!(ran.good().contains("agent.concurrency"), "the defaults are shown: {}", ran.out);
}

/// Errors quoted URLs with their passwords, and the values of headers.
#[test]
fn no_error_quotes_a_password_or_a_header() {
    let place = Place::new();
    place.file("headers.toml", "[agent]\nkind = \"http://a/\"\nheaders = { a = \"LIVEKEY\\nb: c\" }\n");
    let commands: [(&[&str], Variables); 9] = [
        (&["config", "check"], &[("TINCLAW_AGENT", "htp:http://u:LIVEKEY@127.0.0.1:1")]),
        (&["config", "check"], &[("TINCLAW_AGENT", "http:http://u:LIVEKEY@127.0.0.1:99999")]),
        (&["config", "check"], &[("TINCLAW_AGENT__KIND", "http:ftp://u:LIVEKEY@127.0.0.1:1")]),
        (&["config", "check"], &[("TINCLAW_PUBLIC_URL", "http://u:LIVEKEY@127.0.0.1:1")]),
        (&["config", "check", "--config", "headers.toml"], &[]),
        (&["setup", "agent", "openai:ftp://u:LIVEKEY@h/v1"], &[]),
        (&["status", "--host", "http://u:LIVEKEY@h"], &[]),
        (&["run", "--public-url", "http://u:LIVEKEY@h"], &[]),
        (&["run", "--admin=http://u:LIVEKEY@h"], &[]),
    ];
    for (arguments, variables) in commands {
        for json in [false, true] {
            let arguments = [arguments, if json { &["--json"][..] } else { &[] }].concat();
            let ran = with_variables(&place, &arguments, variables);
            assert_eq!(ran.code, Some(2), "{arguments:?}: {}{}", ran.out, ran.err);
            assert!(
                !(ran.out.clone() + &ran.err).contains("LIVEKEY"),
                "{arguments:?}: {}{}",
                ran.out,
                ran.err
            );
        }
    }
}

/// What `run` refused about the web chat of the program was good for `config check`.
#[test]
fn config_check_looks_at_the_web_chat_of_the_program() {
    let place = Place::new();
    for capabilities in ["foo = 1", "channel.memory_mb = 0", "channel.webhook.foo = 1"] {
        place.file(
            "tinclaw.toml",
            format!("webchat = true\n[channel.webchat.capabilities]\n{capabilities}\n"),
        );
        let ran = place.run(&["config", "check"]);
        assert_eq!(ran.code, Some(1), "{capabilities}: {}{}", ran.out, ran.err);
        let last =
            capabilities.split([' ', '.']).rev().find(|word| word.parse::<u8>().is_err() && *word != "=");
        assert!(ran.out.contains(last.unwrap()), "{capabilities}: {}", ran.out);
    }
    place.file("tinclaw.toml", "webchat = true\n");
    assert_eq!(place.run(&["config", "check"]).code, Some(0));
}

/// Errors blamed `tinclaw.toml` for what a variable or the command line said, or named neither file nor line.
#[test]
fn an_error_names_the_line_or_the_variable_that_it_is_about() {
    let place = Place::new();
    let text =
        "channels = [\"no\"]\nlog = \"nonsense=\"\nproxy = \"p\"\n[http_rewrite]\n\"a.example\" = \"b\"\n";
    place.file("tinclaw.toml", text);
    let ran = place.run(&["config", "check"]);
    for part in [
        "tinclaw.toml, line 1: ",
        "tinclaw.toml, line 2: log: ",
        "tinclaw.toml, line 3: outbound HTTP: proxy: ",
    ] {
        assert!(ran.out.contains(part), "{part}: {}{}", ran.out, ran.err);
    }
    assert_eq!(ran.out.matches("no does not exist").count(), 1, "once: {}", ran.out);
    place.file("tinclaw.toml", text.replace("proxy", "# "));
    let ran = place.run(&["config", "check"]);
    assert!(
        ran.out.contains("tinclaw.toml, line 5: outbound HTTP: http_rewrite: "),
        "{}{}",
        ran.out,
        ran.err
    );
    place.file("tinclaw.toml", "webchat = true\n");
    let ran = with_variables(&place, &["config", "check"], &[("TINCLAW_LIMITS__MEMORY_MB", "0")]);
    assert!(ran.err.starts_with("error: TINCLAW_LIMITS__MEMORY_MB: limits.memory_mb: "), "{}", ran.err);
    let ran = place.run(&["run", "--admin", "0.0.0.0:9"]);
    assert!(ran.err.starts_with("error: --admin: "), "{}", ran.err);
}

/// A script that reads JSON found nothing on standard output when a command could not begin.
#[test]
fn a_command_that_fails_before_it_prints_prints_its_error_as_an_object() {
    let place = Place::new();
    place.file("bad.toml", "= 1");
    place.file("twice", "{\"content\": \"a\", \"content\": \"b\"}");
    let echo = place.channel("echo");
    let echo = echo.to_str().unwrap();
    for (arguments, code, part) in [
        (&["config", "check", "--config", "bad.toml", "--json"][..], 2, "line 1"),
        (&["status", "nope", "--json"], 1, "no channel nope"),
        (&["setup", "nope", "--json"], 1, "no channel nope"),
        (&["call", echo, "on-start", "--input", "/nope", "--json"], 1, "/nope"),
        (&["call", "/nope.wasm", "on-start", "--json"], 1, "/nope.wasm"),
        (&["egress", "explain", "nope", "GET", "https://a/", "--json"], 1, "nope"),
        (&["call", echo, "on-respond", "--input", "twice", "--json"], 2, "duplicate field `content`"),
        (&["call", echo, "on-start", "--settings", "{\"a\":1,\"a\":2}", "--json"], 2, "duplicate field `a`"),
        (&["tools", "call", "clock", "{}", "--context", "{", "--json"], 2, "--context is no JSON object"),
        (&["messages", "list", "--state", "\u{1b}[31m", "--json"], 2, "\\u{1b}[31m"),
        (&["nonsense", "--json"], 2, "nonsense"),
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.out, ran.err);
        let object: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let error = object["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(ran.err.starts_with("error: "), "{arguments:?}: {}", ran.err);
    }
}

//! `tinclaw run`: a conversation, its signals, its errors, its configuration.

mod cli_support;
mod support;

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Instant;

use cli_support::Place;
use support::{client, eventually};

#[test]
fn with_no_channels_the_web_chat_echoes_and_sigterm_ends_it_cleanly() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    assert!(host.said.contains("agent     echo") && host.said.contains("channels  webchat"), "{}", host.said);
    assert!(host.said.contains(&place.state().display().to_string()), "{}", host.said);
    host.say("1", "hello");
    host.hears("hello");
    assert!(client::request(host.address, "GET", "/chat", &[], b"").status == 200);
    let socket = place.state().join("admin.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let log = host.stop();
    assert!(log.contains("INFO  channel webchat is ready: ") && log.contains("stopped"), "{log}");
    // What clients can make the server use at most is said before any of them comes.
    assert!(log.contains("at most 256 connections, ") && log.contains(" MiB of memory"), "{log}");
    assert!(!socket.exists());
    assert_eq!(place.state().join("tinclaw.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

// SIGTERM waited ten seconds for a long poll, in which nothing is lost when it is cut off.
#[test]
fn sigterm_does_not_wait_for_a_long_poll() {
    let place = Place::new();
    place.channel("everything");
    // A service that takes requests and never responds.
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = service.local_addr().unwrap();
    place.file(
        "tinclaw.toml",
        format!(
            "channels = [\"channels\"]\nmin_poll_interval_ms = 20\n\
             [http_rewrite]\n\"api.everything.example\" = \"http://{address}\"\n\
             [channel.everything.config]\npoll_interval_ms = 20\n\
             [channel.everything.capabilities.channel]\nmin_poll_interval_ms = 20\n"
        ),
    );
    let host = place.host(&[], &[]);
    let poll = r#"{"do": "http-request", "method": "GET", "url": "https://api.everything.example/updates"}"#;
    let task = format!(r#"{{"do": "workspace-write", "path": "tasks/on-poll", "content": {poll}}}"#);
    eventually("the guest has its task", || {
        let reply = client::request(host.address, "POST", "/webhook/everything", &[], task.as_bytes());
        (reply.status == 200).then_some(())
    });
    let _poll = service.accept().unwrap();
    let log = host.stop();
    assert!(log.contains("stopped") && !log.contains("did not end in time"), "{log}");
}

// Whoever connected while a host stopped waited until the process ended, for ten seconds or more, and was reset without a
// response: a copy of the listening socket, which another host may take over, was open until then.
#[test]
fn connections_during_shutdown_are_refused_at_once() {
    let place = Place::new();
    place.channel("everything");
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = service.local_addr().unwrap();
    let rewrite = format!("[http_rewrite]\n\"api.everything.example\" = \"http://{address}\"\n");
    place.file("tinclaw.toml", format!("channels = [\"channels\"]\n{rewrite}"));
    let mut host = place.host(&[], &[]);
    let address = host.address;
    let ask = |task: &str| client::request(address, "POST", "/webhook/everything", &[], task.as_bytes());
    eventually("the channel starts", || (ask(r#"{"do": "none"}"#).status == 200).then_some(()));
    thread::scope(|scope| {
        let call = r#"{"do": "http-request", "method": "GET", "url": "https://api.everything.example/"}"#;
        let held = scope.spawn(|| ask(call));
        let (mut called, _) = service.accept().unwrap();
        host.signal("TERM");
        eventually("connections are refused", || TcpStream::connect(address).is_err().then_some(()));
        // The host has not stopped: the callback goes on, and so does its response.
        called.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!(held.join().unwrap().status, 200);
    });
    assert!(host.wait().success(), "{}", host.log());
}

// An agent that sent messages in a loop wrote 600 lines a second into the log.
#[test]
fn endless_agent_output_does_not_fill_the_log() {
    let place = Place::new();
    let line = r#"{"type":"broadcast","channel":"webchat","user_id":"nobody","content":"news"}"#;
    let agent = format!("exec:yes '{line}' | head -n 700; cat >/dev/null");
    let begin = Instant::now();
    let host = place.host(&["--agent", &agent], &[]);
    eventually("all are stored", || {
        let last = place.run(&["replies", "show", "700", "--json"]);
        (last.code == Some(0)).then_some(())
    });
    let minutes = begin.elapsed().as_secs() as usize / 60 + 1;
    let lines = host.log().matches("the agent sends reply").count();
    assert!((1..=600 * minutes).contains(&lines), "{lines} in {minutes} minutes");
    host.stop();
}

// Nothing showed, at any level, that a provider's requests went to a path that no channel has.
#[test]
fn requests_that_no_channel_takes_are_logged_once_with_what_is_near_and_counted() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    let rows = [
        ("GET", "/chat/", 404, "no channel has this path; /chat differs by a trailing slash"),
        ("POST", "/chat//send", 404, "no channel has this path; /chat/send differs by a doubled slash"),
        (
            "POST",
            "/send",
            404,
            "no channel has this path; /chat/send begins with more: a proxy in front may strip it",
        ),
        ("GET", "/.env", 404, "no channel has this path"),
        ("DELETE", "/chat", 405, "this path takes GET"),
    ];
    for (method, path, status, _) in rows.iter().chain(&rows) {
        let reply = client::request(host.address, method, path, &[], b"");
        assert_eq!(reply.status, *status, "{method} {path}");
    }
    let health = place.run(&["health", "--json"]).json();
    assert_eq!(health["unrouted_requests"], 2 * rows.len());
    let health = place.run(&["health"]);
    assert!(health.good().contains("requests  10 to paths or methods"), "{}", health.out);
    let log = host.stop();
    for (method, path, _, reason) in rows {
        let line = format!("INFO  refused {method} {path}: {reason}\n");
        assert_eq!(log.matches(&line).count(), 1, "{line}{log}");
    }
}

// A core dump of the daemon holds every secret.
#[test]
fn the_daemon_writes_no_core_dumps() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", host.process())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let most: Vec<u64> = core.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(most == [1, 1] || most == [0, 0], "{core}");
}

#[test]
fn conversations_survive_a_restart() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.say("1", "remember this");
    host.hears("remember this");
    host.stop();
    let host = place.host(&[], &[]);
    host.hears("remember this");
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let place = Place::new();
    // A channel whose secret is generated at the first start.
    place.channel("echo");
    let given = "[channel.echo.capabilities.channel.webhook]\ngive_secret_to_guest = true\n";
    place.file("tinclaw.toml", format!("channels = [\"channels\"]\n{given}"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = place.run(&["run", "--listen", &address]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains(&format!("cannot listen on {address}")) && ran.err.contains("--listen"),
        "{}",
        ran.err
    );
    // It ran `on-start` of every channel first, which registers webhooks again. Without its state nothing can have run.
    assert!(!place.state().join("tinclaw.db").exists());
    // It generated secrets, too.
    assert!(!place.state().join("secrets.enc").exists() && !ran.err.contains("a random one"), "{}", ran.err);
}

/// `--channels nodir` said that it is not a guest, and an empty directory started the web chat without a word.
#[test]
fn a_path_without_channels_is_an_error_and_an_empty_directory_a_warning() {
    let place = Place::new();
    place.file("note.txt", "");
    for (path, expected) in [
        ("nodir", "nodir does not exist: name a directory, or a .wasm file"),
        ("note.txt", "note.txt is not a guest: its name must end in .wasm"),
    ] {
        let ran = place.run(&["run", "--listen", "127.0.0.1:0", "--channels", path]);
        assert!(ran.code == Some(1) && ran.err.contains(expected), "{path}: {}", ran.err);
    }
    place.file("empty/readme", "");
    let host = place.host(&["--channels", "empty"], &[]);
    let log = host.log();
    assert!(log.contains("there is no channel in empty") && log.contains("running the web chat"), "{log}");
}

#[test]
fn a_second_host_in_one_state_directory_is_refused() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    let ran = place.run(&["run", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("in use by another tinclaw"), "{}", ran.err);
    host.say("1", "still here");
    host.hears("still here");
}

#[test]
fn channels_secrets_and_everything_else_come_from_the_configuration_file() {
    let place = Place::new();
    place.channel("echo");
    place.file("secrets/echo_token", "t");
    place.file("secrets/echo_webhook_secret", "\u{feff} \"the secret\"\n\n");
    place.file(
        "tinclaw.toml",
        "listen = \"127.0.0.1:1\"\nchannels = [\"channels\"]\nwebchat = true\nmin_poll_interval_ms = 50\n\
         [secrets]\ndirectory = \"secrets\"\nenv_prefixed_only = true\n[limits]\nmemory_mb = 40\n\
         [channel.webchat.config]\ntitle = \"A title of ours\"\n",
    );
    let host = place.host(&[], &[]);
    assert!(host.said.contains("channels  echo, webchat"), "{}", host.said);
    let body = serde_json::json!({"user": "ann", "text": "hello"});
    let reply = eventually("the channel starts", || {
        let reply = client::webhook(host.address, "/webhook/echo", "the secret", &body);
        (reply.status != 503).then_some(reply)
    });
    assert_eq!(reply.status, 200);
    assert_eq!(client::webhook(host.address, "/webhook/echo", "another", &body).status, 401);
    let page = eventually("the page", || {
        let reply = client::request(host.address, "GET", "/chat", &[], b"");
        (reply.status == 200).then_some(reply)
    });
    assert!(String::from_utf8_lossy(&page.body).contains("A title of ours"));
    let log = host.stop();
    assert!(log.contains("secret 'echo_webhook_secret': white space, quotes or a byte order mark"), "{log}");
    assert!(!log.contains("secret 'echo_token'"), "{log}");
}

#[test]
fn a_missing_secret_is_logged_at_start() {
    let place = Place::new();
    place.channel("echo");
    let host = place.host(&["--channels", "channels"], &[]);
    let logged = |host: &cli_support::RunningHost| {
        let log = host.log();
        (log.contains("WARN  channel echo: secret echo_token is not stored")).then_some(())
    };
    eventually("it is logged", || logged(&host));
}

#[test]
fn a_secret_that_a_channel_lets_the_host_choose_is_made_once_and_never_shown() {
    let place = Place::new();
    place.channel("echo");
    // The guest is given the secret, as Telegram's is, which tells its provider: nobody has to enter it anywhere.
    let given = "[channel.echo.capabilities.channel.webhook]\ngive_secret_to_guest = true\n";
    place.file("tinclaw.toml", format!("channels = [\"channels\"]\n{given}"));
    let host = place.host(&[], &[]);
    let body = serde_json::json!({"user": "ann", "text": "hello"});
    let refused = eventually("the channel starts", || {
        let reply = client::webhook(host.address, "/webhook/echo", "a guess", &body);
        (reply.status != 503).then_some(reply)
    });
    assert_eq!(refused.status, 401);
    let log = host.stop();
    assert!(log.contains("secret echo_webhook_secret was not stored"), "{log}");
    // What it cannot generate is logged with the command that stores it.
    assert!(log.contains("`tinclaw secrets set echo_token` stores it"), "{log}");
    assert!(!log.contains("secret echo_webhook_secret: "), "{log}");
    let longest = log.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest < Some(32), "{log}");
    let listed = place.run(&["secrets", "list", "--json"]).json();
    assert_eq!(listed["stored"], serde_json::json!(["echo_webhook_secret"]));
    let file = place.state().join("secrets.enc");
    let made = std::fs::read(&file).unwrap();
    let log = place.host(&[], &[]).stop();
    assert!(!log.contains("was not stored"), "{log}");
    assert_eq!(std::fs::read(&file).unwrap(), made);
}

/// A random verify token or signing key was generated that a person had to enter at the provider, and that nobody could see.
#[test]
fn a_secret_that_must_be_entered_at_the_provider_is_not_generated() {
    let place = Place::new();
    place.channel("echo");
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    let log = place.host(&[], &[]).stop();
    assert_eq!(log.matches("secret echo_webhook_secret is not stored").count(), 1, "{log}");
    assert!(!place.state().join("secrets.enc").exists());
    let made = place.run(&["secrets", "set", "echo_webhook_secret", "--generate"]);
    let shown = made.out.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert_eq!(shown, Some(64), "32 bytes, shown this once: {}", made.out);
}

#[test]
fn settings_of_channels_that_are_not_there_and_keys_that_are_not_declared_are_reported() {
    let place = Place::new();
    place.channel("echo");
    // Its file declares `path`, so other keys are probably misspelt.
    place.channel("abi_v1");
    let settings = "[channel.ecco]\nowner_id = 1\n[channel.abi_v1.config]\n\"pth\\u001b[2J\\u202e\" = 1\n";
    place.file("tinclaw.toml", format!("channels = [\"channels\"]\n{settings}"));
    let log = place.host(&[], &[]).stop();
    // Whatever a line quotes, it moves no cursor and reorders no text.
    let undeclared =
        "`channel.abi_v1.config.pth\\u{1b}[2J\\u{202e}`: channel abi_v1 does not declare this key";
    assert!(log.contains(undeclared) && !log.contains(['\u{1b}', '\u{202e}']), "{log}");
    let checked = place.run(&["check", "channels"]).out;
    assert!(checked.contains(undeclared) && !checked.contains(['\u{1b}', '\u{202e}']), "{checked}");
    let expected = "`channel.ecco`: there is no channel ecco; did you mean [channel.echo]?";
    assert!(log.contains(expected), "{log}");
    assert!(place.run(&["check", "channels"]).out.contains(expected));
}

#[test]
fn no_secret_is_made_where_there_is_one_or_where_it_is_turned_off() {
    let place = Place::new();
    place.channel("echo");
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    place.host(&[], &[("ECHO_WEBHOOK_SECRET", "ours")]).stop();
    assert!(!place.state().join("secrets.enc").exists());
    place.file("tinclaw.toml", "channels = [\"channels\"]\n[secrets]\ngenerate = false\n");
    let log = place.host(&[], &[]).stop();
    assert!(!place.state().join("secrets.enc").exists());
    assert!(log.contains("`tinclaw secrets set echo_webhook_secret --generate` makes one"), "{log}");
    let checked = place.run(&["check", "channels"]);
    let command = "`tinclaw secrets set echo_webhook_secret --generate` makes one";
    assert!(checked.good().contains(command), "{}", checked.out);
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_with_its_line() {
    let place = Place::new();
    for (text, part) in [
        (
            "agent = \"echo\"\nlissten = \"a\"\n",
            "tinclaw.toml, line 2: unknown field `lissten`; did you mean `listen`?",
        ),
        ("[limits]\nmemory = 1\n", "limits.memory: there is no such limit; did you mean `memory_mb`?"),
    ] {
        place.file("tinclaw.toml", text);
        let ran = place.run(&["run"]);
        assert_eq!(ran.code, Some(2), "{text}");
        assert!(ran.err.contains(part), "{text}: {}", ran.err);
    }
    let ran = place.run(&["run", "--config", "nowhere.toml"]);
    assert!(
        ran.code == Some(2) && ran.err.contains("cannot read the configuration nowhere.toml"),
        "{}",
        ran.err
    );
}

/// SIGHUP ended the program.
#[test]
fn sighup_without_a_terminal_stops_nothing() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.signal("HUP");
    eventually("the configuration is read", || host.log().contains("was reloaded").then_some(()));
    host.say("1", "hello");
    host.hears("hello");
    host.stop();
}

#[test]
fn a_log_filter_that_names_no_level_is_refused() {
    let place = Place::new();
    let levels = "is not a log level: use off, error, warn, info, debug or trace";
    // Without channels, so that a host that takes the filter ends as well.
    let run = ["run", "--listen", "127.0.0.1:0", "--channels", "nodir"];
    for arguments in [&[&run[..], &["--log", "verbose"]].concat()[..], &["check", "--log", "verbose", "."]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.starts_with("error: --log: \"verbose\"") && ran.err.contains(levels), "{}", ran.err);
    }
    place.file("tinclaw.toml", "log = \"loud\"\n");
    let ran = place.run(&run);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("\"loud\"") && ran.err.contains(levels), "{}", ran.err);
    place.file("tinclaw.toml", "");
    let mut command = place.command(&["check", "."]);
    let output = command.env("RUST_LOG", "loud").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.starts_with("warning: RUST_LOG is ignored: \"loud\""), "{error}");
}

#[test]
fn completions_and_manual_pages_are_printed_and_written() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]);
        assert!(script.good().contains("channels"), "{shell}");
    }
    // A new user has no `~/.local/share/man/man1`, and was told "No such file or directory".
    place.run(&["man", "new/man"]).good();
    let page = std::fs::read_to_string(place.path().join("new/man/tinclaw-messages-list.1")).unwrap();
    assert!(page.contains("state"), "{page}");
    assert!(place.path().join("new/man/tinclaw.1").exists());
    place.file("taken", "");
    let ran = place.run(&["man", "taken"]);
    assert!(ran.code == Some(1) && ran.err.contains("cannot write manual pages into taken"), "{}", ran.err);
}

#[test]
fn the_version_names_commit_target_and_features() {
    let place = Place::new();
    let said = place.run(&["--version"]);
    let said = said.good();
    assert!(said.starts_with(&format!("tinclaw {}", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.contains("\ntarget: ") && said.contains("\nfeatures: ") && said.contains("cli"), "{said}");
}

#[test]
fn an_argument_that_would_move_the_cursor_is_quoted_escaped() {
    let place = Place::new();
    let ran = place.run(&["run", "\u{1b}[2J\u{202e}"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("'\\u{1b}[2J\\u{202e}'") && !ran.err.contains(['\u{1b}', '\u{202e}']),
        "{}",
        ran.err
    );
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    for command in [
        "run",
        "check",
        "call",
        "channels list",
        "channels install",
        "messages list",
        "replies retry",
        "pairing approve",
        "secrets set",
        "health",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = place.run(&arguments);
        assert!(ran.good().contains("Usage: tinclaw"), "{command}");
    }
    assert!(place.run(&["--help"]).good().contains("Exit codes"));
    assert_eq!(place.run(&["runn"]).code, Some(2));
}

use crate::cli_support::{Place, RunningHost};
use crate::home::*;
use crate::support::{client, eventually};

fn configure(place: &Place, text: &str) {
    place.file("tinclaw.toml", format!("channels = [\"channels\"]\nwebchat = true\n{text}"));
}

fn reload(place: &Place) -> String {
    place.run(&["reload"]).good().to_owned()
}

/// `reload` named it once, and then nobody knew it any more until the restart.
fn restart_is_needed_for(place: &Place, fields: &[&str]) {
    let health = place.run(&["health", "--json"]).json();
    assert_eq!(health["restart_for"], serde_json::json!(fields));
    for command in ["status", "health", "doctor"] {
        let shown = place.run(&[command]).out;
        let line = format!("other values of {}", fields.join(", "));
        assert_eq!(shown.contains(&line), !fields.is_empty(), "{command}: {shown}");
    }
}

#[test]
fn sighup_and_reload_read_the_configuration_again() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    configure(&place, "[channel.everything.config]\ndisplay_name = \"by signal\"\n");
    host.signal("HUP");
    wait_for_version(&place, "by signal");
    configure(&place, "workers = 7\n[channel.everything.config]\ndisplay_name = \"by command\"\n");
    let said = reload(&place);
    assert!(said.contains("changed: channel.everything.config.display_name\n"), "{said}");
    assert!(
        said.contains("channels changed: everything\n") && said.contains("needs a restart: workers\n"),
        "{said}"
    );
    assert_eq!(running_version(&place).as_deref(), Some("by command"));
    // As long as the host runs with another value, and no longer.
    assert_eq!(reload(&place), "needs a restart: workers\n");
    restart_is_needed_for(&place, &["workers"]);
    configure(&place, "[channel.everything.config]\ndisplay_name = \"by command\"\n");
    assert_eq!(reload(&place), "nothing has changed\n");
    restart_is_needed_for(&place, &[]);
    host.stop();
}

#[test]
fn the_last_good_configuration_stays_on_an_error() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    for (text, expected) in [
        ("workers = \"many\"\n", "workers must be a whole number"),
        ("[channel.everything.capabilities.channel]\nmemory_mb = \"x\"\n", "nothing was changed"),
    ] {
        configure(&place, text);
        let ran = place.run(&["reload"]);
        assert!(ran.code == Some(2) || ran.code == Some(1), "{text}: {}", ran.out);
        host.signal("HUP");
        eventually("the log says so", || host.log().contains(expected).then_some(()));
        assert_eq!(post(&host), 200);
    }
    host.stop();
}

/// The exit code was 0, the channel was among those that had changed too, and the log said three times why it failed.
#[test]
fn a_channel_that_cannot_start_with_its_new_settings_goes_on_with_the_old_ones() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    configure(&place, "[channel.everything.config]\nfail = \"no token\"\n");
    for _ in 0..2 {
        let ran = place.run(&["reload"]);
        assert!(ran.code == Some(1) && ran.out.contains("failed: channel everything: "), "{}", ran.out);
        assert!(!ran.out.contains("channels changed"), "{}", ran.out);
        assert_eq!((post(&host), running_version(&place).as_deref()), (200, Some("Everything")));
    }
    configure(&place, "[channel.everything.config]\ndisplay_name = \"repaired\"\n");
    assert!(reload(&place).contains("channels changed: everything\n"));
    let log = host.stop();
    assert_eq!(log.matches("no token").count(), 2, "{log}");
}

/// One channel that nobody had approved kept every reload from doing anything, and a start left it out.
#[test]
fn a_channel_that_is_refused_keeps_no_other_from_changing() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    let guest = std::fs::read(place.path().join("channels/everything.wasm")).unwrap();
    place.file("channels/unknown.wasm", guest);
    configure(&place, "[channel.everything.config]\ndisplay_name = \"other\"\n");
    let ran = place.run(&["reload"]);
    assert!(ran.code == Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("failed: channel unknown: it has not been approved"), "{}", ran.out);
    assert!(ran.out.contains("channels changed: everything\n"), "{}", ran.out);
    assert_eq!((post(&host), running_version(&place).as_deref()), (200, Some("other")));
    // A file that is refused takes out nothing that runs.
    let wasm = place.path().join("channels/everything.wasm");
    std::fs::rename(&wasm, place.path().join("elsewhere.wasm")).unwrap();
    std::os::unix::fs::symlink(place.path().join("elsewhere.wasm"), &wasm).unwrap();
    let ran = place.run(&["reload"]);
    assert!(ran.code == Some(1) && ran.out.contains("is a symbolic link"), "{}", ran.out);
    assert!(!ran.out.contains("removed"), "{}", ran.out);
    assert_eq!(post(&host), 200);
    host.stop();
}

/// It said that nothing had changed.
#[test]
fn a_reloaded_channel_is_named() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    assert_eq!(place.run(&["reload", "everything"]).good(), "channels changed: everything\n");
    let done = place.run(&["reload", "everything", "--json"]).json();
    assert_eq!((&done["channel"], &done["upgraded"][0]), (&"everything".into(), &"everything".into()));
    host.stop();
}

/// The bound of the log held at once for the log, and not for the access log, and nothing said so.
#[test]
fn the_access_log_changes_without_a_restart() {
    let place = home();
    configure(&place, "access_log = \"a.log\"\n");
    let host = place.host(&[], &[]);
    configure(&place, "access_log = \"b.log\"\nlog_format = \"json\"\n");
    assert_eq!(reload(&place), "changed: access_log, log_format\n");
    client::request(host.address, "GET", "/healthz", &[], b"");
    eventually("the other file has the request, in the other format", || {
        let log = std::fs::read_to_string(place.path().join("b.log")).ok()?;
        log.contains("\"target\":\"/healthz\"").then_some(())
    });
    configure(&place, "log_format = \"json\"\n");
    for _ in 0..2 {
        assert_eq!(reload(&place).lines().last(), Some("needs a restart: access_log"));
    }
    host.stop();
}

#[test]
fn channels_come_and_go_with_the_configuration() {
    let place = home();
    let host = place.host(&[], &[]);
    place.channel("everything");
    let ran = place.run(&["reload"]);
    assert!(ran.code == Some(1) && ran.out.contains("it has not been approved"), "{}{}", ran.out, ran.err);
    place.run(&["approve", "everything", "--yes"]).good();
    wait_for_version(&place, "Everything");
    let text = "[channel.second]\nguest = \"everything\"\n";
    configure(&place, text);
    assert!(reload(&place).contains("channels added: second\n"));
    assert_eq!(second(&host), 200);
    configure(&place, "");
    assert!(reload(&place).contains("channels removed: second\n"));
    assert_eq!((second(&host), post(&host)), (404, 200));
    host.stop();
}

#[test]
fn the_log_and_the_limits_change_without_a_restart() {
    let place = home();
    place.channel("everything");
    configure(&place, "log = \"warn\"\n");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    configure(&place, "log = \"info\"\nlog_file = \"host.log\"\n[limits]\nmax_message_size = 4096\n");
    let said = reload(&place);
    assert!(said.contains("changed: limits.max_message_size, log, log_file\n"), "{said}");
    assert!(said.contains("channels changed: everything\n"), "{said}");
    assert_eq!(post(&host), 200);
    eventually("the file has lines at info", || {
        let log = std::fs::read_to_string(place.path().join("host.log")).ok()?;
        log.contains("INFO").then_some(())
    });
    // A filter that is none changes nothing.
    configure(&place, "log = \"loud\"\nlog_file = \"other.log\"\n");
    let ran = place.run(&["reload"]);
    assert!(ran.err.contains("\"loud\" is not a log level"), "{}", ran.err);
    assert!(!place.path().join("other.log").exists());
    host.stop();
}

fn second(host: &RunningHost) -> u16 {
    eventually("it has started", || {
        let target = "/second/webhook/everything";
        let status = client::request(host.address, "POST", target, &[], b"{\"do\": \"none\"}").status;
        (status != 503).then_some(status)
    })
}

/// Providers call the new address, so every channel registers again.
#[test]
fn the_public_address_changes_without_a_restart() {
    let place = home();
    place.channel("everything");
    let host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    let read = r#"{"do": "workspace-read", "path": "seen/on-start"}"#;
    let address = || {
        let reply = client::request(host.address, "POST", "/webhook/everything", &[], read.as_bytes());
        String::from_utf8(reply.body).unwrap()
    };
    assert!(!address().contains("bot.example.org"));
    configure_url(&place, "https://bot.example.org");
    assert!(reload(&place).contains("changed: public_url\n"));
    assert!(address().contains("https://bot.example.org"), "{}", address());
    host.stop();
}

fn configure_url(place: &Place, url: &str) {
    place
        .file("tinclaw.toml", format!("channels = [\"channels\"]\nwebchat = true\npublic_url = \"{url}\"\n"));
}

#[test]
fn config_check_reports_errors_and_config_show_says_where_each_value_is_from() {
    let place = home();
    place.channel("everything");
    assert!(place.run(&["config", "check"]).good().contains("0 errors"));
    let bad = place.file("bad.toml", "lisen = \"127.0.0.1:1\"\n");
    let ran = place.run(&["config", "check", text(&bad)]);
    assert!(ran.code == Some(2) && ran.err.contains("did you mean `listen`"), "{}", ran.err);
    place.file(
        "tinclaw.toml",
        "channels = [\"channels\"]\npublic_url = \"https://${NAME}/\"\n[queue]\nmax_messages = 5\n",
    );
    let mut command = place.command(&["config", "show"]);
    command.env("NAME", "bot.example.org").env("TINCLAW_QUEUE__MAX_REPLIES", "9").env("TINCLAW_LOG", "debug");
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let line = |field: &str| {
        let found = shown.lines().find(|line| line.starts_with(&format!("{field} ")));
        let words = found.unwrap_or_else(|| panic!("{field}: {shown}")).split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("public_url"), "public_url tinclaw.toml, line 2 \"https://bot.example.org/\"");
    assert_eq!(line("queue.max_messages"), "queue.max_messages tinclaw.toml, line 4 5");
    assert_eq!(line("queue.max_replies"), "queue.max_replies TINCLAW_QUEUE__MAX_REPLIES 9");
    assert_eq!(line("log"), "log TINCLAW_LOG \"debug\"");
    assert_eq!(line("workers"), "workers default 32");
    // Which file it was, and where things are, was not said; a password was.
    assert!(shown.starts_with("configuration file: tinclaw.toml\n"), "{shown}");
    assert_eq!(line("channels"), "channels tinclaw.toml, line 1 [\"channels\"]");
    let state = format!("state_dir TINCLAW_STATE_DIR {:?}", text(&place.state()));
    assert_eq!(line("state_dir"), state);
    assert!(line("tools").starts_with("tools default "), "{shown}");
    configure(
        &place,
        "agent = \"http:http://u:hunter3@127.0.0.1:1/\"\nproxy = \"http://u:hunter3@127.0.0.1:1\"\n",
    );
    let shown = place.run(&["config", "show"]);
    assert!(shown.good().contains("http:http://(not shown)@127.0.0.1:1/"), "{}", shown.out);
    let host = place.host(&[], &[]);
    assert!(host.said.contains("(not shown)@127.0.0.1:1"), "{}", host.said);
    assert!(!shown.out.contains("hunter3") && !host.said.contains("hunter3"), "{}", shown.out);
    host.stop();
    std::fs::remove_file(place.path().join("tinclaw.toml")).unwrap();
    assert!(
        place.run(&["config", "show"]).good().starts_with("configuration file: none; ./tinclaw.toml, else ")
    );
}

/// A variable that is not UTF-8 was left out, and one that sets nothing was never named.
#[test]
fn variables_that_set_nothing_are_told_from_those_that_cannot_be_read() {
    use std::os::unix::ffi::OsStrExt as _;

    let place = home();
    let mut command = place.command(&["config", "check"]);
    let said = String::from_utf8(command.env("TINCLAW_BOGUS", "1").output().unwrap().stdout).unwrap();
    assert!(said.contains("warning: TINCLAW_BOGUS sets nothing: unknown field `bogus`\n"), "{said}");
    let mut command = place.command(&["config", "check"]);
    let output =
        command.env("TINCLAW_LISTEN", std::ffi::OsStr::from_bytes(b"127.0.0.1:\xff")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && said.contains("TINCLAW_LISTEN: the value is not UTF-8"),
        "{said}"
    );
    let ran = place.run(&["--log", "bogus", "health"]);
    assert!(ran.code == Some(2) && ran.err.contains("--log: \"bogus\" is not a log level"), "{}", ran.err);
}

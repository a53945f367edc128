//! What an operator sees of a host: its log, its access log, what systemd is told, and why requests are refused.

mod cli_support;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cli_support::{Place, Ran, RunningHost};
use serde_json::{Value, json};
use support::upstream::Upstream;
use support::{client, eventually};

/// A line of a log of text that has all of these.
fn has_line(log: &str, parts: &[&str]) -> bool {
    log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn every_message_leaves_a_line_for_each_step_with_its_id() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    let log = host.stop();
    for parts in [
        ["INFO", "channel webchat: message 1 is accepted (POST /chat/send from 127.0.0.1, "],
        ["INFO", "channel webchat: message 1 is delivered to the agent (attempt 1)"],
        ["INFO", "channel webchat: the agent replied to message 1 with reply 1"],
        ["INFO", "channel webchat: reply 1 was delivered in "],
    ] {
        assert!(has_line(&log, &parts), "{parts:?}: {log}");
    }
}

#[test]
fn the_log_is_json_with_channel_and_ids_as_fields_where_that_is_wanted() {
    let place = Place::new();
    let host = place.host(&["--log-format", "json"], &[]);
    host.say("1", "hello");
    host.hears("hello");
    let log = host.stop();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let has = |channel: &str, message: u64, text: &str| {
        lines.iter().any(|line| {
            line["channel"] == channel
                && line["message_id"] == message
                && line["level"] == "info"
                && line["message"].as_str().is_some_and(|said| said.contains(text))
                && line["time"].as_str().is_some_and(|time| time.ends_with('Z'))
        })
    };
    assert!(has("webchat", 1, "is accepted") && has("webchat", 1, "replied to message 1"), "{log}");
    assert!(lines.iter().any(|line| line["reply_id"] == 1 && line["channel"] == "webchat"), "{log}");
    assert!(lines.iter().any(|line| line["message"] == "stopped" && line["channel"].is_null()), "{log}");
}

#[test]
fn a_log_file_is_for_its_owner_and_replaces_standard_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.file("tinclaw.toml", "log_file = \"host.log\"\nlog_file_max_mb = 1\nlog_files = 2\n");
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    assert_eq!(host.stop(), "");
    let file = place.path().join("host.log");
    let log = fs::read_to_string(&file).unwrap();
    assert!(has_line(&log, &["INFO", "message 1 is accepted"]) && log.contains("stopped"), "{log}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = place.run(&["run", "--log-file", "/nodir/host.log"]);
    assert!(ran.code == Some(1) && ran.err.contains("--log-file \"/nodir/host.log\": "), "{}", ran.err);
}

#[test]
fn each_request_is_a_line_of_the_access_log_and_no_value_of_a_query_is_in_it() {
    for (arguments, is_json) in [(&[][..], false), (&["--log-format", "json"], true)] {
        let place = Place::new();
        place.file("tinclaw.toml", "access_log = \"access.log\"\n");
        let host = place.host(arguments, &[]);
        let headers = [("user-agent", "te\"st/1")];
        assert_eq!(client::request(host.address, "GET", "/nothing?token=hunter2", &headers, b"").status, 404);
        assert_eq!(client::request(host.address, "GET", "/healthz", &[], b"").status, 200);
        host.stop();
        let log = fs::read_to_string(place.path().join("access.log")).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && !log.contains("hunter2"), "{log}");
        if is_json {
            let line: Value = serde_json::from_str(lines[0]).unwrap();
            assert_eq!((&line["status"], &line["target"]), (&404.into(), &"/nothing?token=-".into()));
            assert_eq!((&line["client"], &line["method"]), (&"127.0.0.1".into(), &"GET".into()));
        } else {
            assert!(lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains(" +0000] "), "{log}");
            assert!(lines[0].contains("\"GET /nothing?token=- HTTP/1.1\" 404 "), "{log}");
            assert!(lines[0].ends_with(" \"-\" \"te\\\"st/1\""), "{log}");
        }
    }
}

/// What the service manager was told until now.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut bytes = [0; 512];
    let mut told = Vec::new();
    while let Ok(length) = socket.recv(&mut bytes) {
        told.extend(String::from_utf8_lossy(&bytes[..length]).lines().map(str::to_owned));
    }
    told
}

#[test]
fn systemd_is_told_of_readiness_status_watchdog_and_stop() {
    let place = Place::new();
    let socket = UnixDatagram::bind(place.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let path = place.path().join("notify").display().to_string();
    let host = place.host(&[], &[("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "100000")]);
    let mut found = Vec::new();
    eventually("the watchdog is fed twice, and the status is told", || {
        found.extend(told(&socket));
        let is_ready = found.iter().any(|line| line.starts_with("STATUS=1 of 1 channels ready"));
        let fed = found.iter().filter(|line| *line == "WATCHDOG=1").count();
        (is_ready && fed >= 2).then_some(())
    });
    assert_eq!(found[0], "READY=1");
    host.stop();
    found.extend(told(&socket));
    assert!(found.contains(&"STOPPING=1".to_owned()), "{found:?}");
}

#[test]
fn the_service_is_installed_as_systemd_reads_it_and_removed_again() {
    let place = Place::new();
    let root = place.path().join("root");
    let root = root.to_str().unwrap();
    // A program that a service can see, wherever this one was built.
    let program = "/usr/bin/env";
    let ran = place.run(&["service", "install", "--root", root, "--program", program]);
    assert!(ran.good().contains("systemctl enable --now tinclaw.service"), "{}", ran.out);
    let unit = format!("{root}/etc/systemd/system/tinclaw.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains(&format!("ExecStart={program} run --config /etc/tinclaw/tinclaw.toml")), "{text}");
    assert!(text.contains("Type=notify") && text.contains("WatchdogSec="), "{text}");
    let socket = format!("{root}/etc/systemd/system/tinclaw.socket");
    if let Ok(verified) =
        Command::new("systemd-analyze").args(["verify", "--man=no", &unit, &socket]).output()
    {
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success(), "{said}");
        assert!(!said.contains("tinclaw"), "{said}");
        let security = ["security", "--offline=true", "--threshold=20", &unit];
        let rated = Command::new("systemd-analyze").args(security).output().unwrap();
        assert!(rated.status.success(), "an exposure above 2.0: {}", String::from_utf8_lossy(&rated.stdout));
    }
    let again = place.run(&["service", "install", "--root", root, "--program", program]);
    assert!(again.good().contains("kept   "), "the configuration is the operator's: {}", again.out);
    // Units that are gone cannot be stopped: they are disabled first.
    let wants = place.file("root/etc/systemd/system/multi-user.target.wants/tinclaw.service", "");
    let early = place.run(&["service", "uninstall", "--root", root]);
    assert!(early.code == Some(1) && early.err.contains("systemctl disable --now"), "{}", early.err);
    assert!(std::path::Path::new(&unit).exists());
    fs::remove_file(wants).unwrap();
    place.run(&["service", "uninstall", "--root", root]).good();
    assert!(!std::path::Path::new(&unit).exists() && !std::path::Path::new(&socket).exists());
    assert!(std::path::Path::new(&format!("{root}/etc/tinclaw/tinclaw.toml")).exists());
    let installed = place.run(&["service", "install", "--root", root, "--program", program, "--json"]).json();
    assert_eq!(installed["kept"], json!([format!("{root}/etc/tinclaw/tinclaw.toml")]));
    assert_eq!(installed["written"].as_array().unwrap().len(), 3, "{installed}");
    let removed = place.run(&["service", "uninstall", "--root", root, "--json"]).json();
    assert_eq!(removed["removed"], installed["written"]);
    let bad = place.run(&["service", "install", "--root", root, "--program", "relative"]);
    assert!(bad.code == Some(2) && bad.err.contains("absolute path"), "{}", bad.err);
}

/// A place with the channel `echo` and its secrets.
fn echo() -> Place {
    let place = Place::new();
    place.channel("echo");
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    for (name, value) in
        [("echo_token", "a-token-of-the-api"), ("echo_webhook_secret", "a-secret-of-webhooks")]
    {
        place.run_with_input(&["secrets", "set", name], value).good();
    }
    place
}

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let checks = json["checks"].as_array().unwrap();
    checks.iter().find(|check| check["code"] == name).unwrap_or_else(|| panic!("{name}: {json}"))
}

#[test]
fn a_request_of_a_channel_is_explained_check_by_check_without_a_secret() {
    let place = echo();
    place.file(
        "tinclaw.toml",
        "channels = [\"channels\"]\n[http_rewrite]\n\"api.echo.example\" = \"http://127.0.0.1:9\"\n",
    );
    let explain = |method: &str, url: &str| {
        let ran = place.run(&["egress", "explain", "echo", method, url, "--json"]);
        assert!(!ran.out.contains("a-token-of-the-api"), "{}", ran.out);
        (ran.code, ran.json())
    };
    let (code, good) = explain("POST", "https://api.echo.example/send");
    assert_eq!((code, &good["allowed"]), (Some(0), &true.into()), "{good}");
    let credentials = check(&good, "credentials")["message"].as_str().unwrap();
    assert!(credentials.contains("echo_token in the header"), "{credentials}");
    assert!(check(&good, "address")["message"].as_str().unwrap().contains("127.0.0.1:9"), "{good}");
    for (method, url, refused) in [
        ("GET", "https://api.echo.example/send", "allow_list"),
        ("POST", "https://other.example/", "allow_list"),
        ("POST", "ftp://api.echo.example/", "url"),
        ("BREW", "https://api.echo.example/send", "method"),
        ("POST", "https://api.echo.example/a-token-of-the-api", "leaks"),
    ] {
        let (code, found) = explain(method, url);
        assert_eq!(code, Some(1), "{found}");
        let first = found["checks"].as_array().unwrap().iter().find(|check| check["state"] == "refused");
        assert_eq!(first.unwrap()["code"], refused, "{found}");
    }
    let text = place.run(&["egress", "explain", "echo", "GET", "https://api.echo.example/send"]);
    assert!(text.out.contains("REFUSED allow_list") && text.code == Some(1), "{}", text.out);
}

/// The file on disk was looked at, whatever rights the running channel had.
#[test]
fn a_request_of_a_running_channel_is_explained_with_the_rights_that_it_has() {
    let place = echo();
    let host = place.host(&[], &[]);
    say_to_echo(&host, "before");
    let file = place.path().join("channels/echo.capabilities.json");
    let changed = fs::read_to_string(&file).unwrap().replace("api.echo.example", "other.example");
    fs::write(&file, changed).unwrap();
    let url = "https://api.echo.example/send";
    let ran = place.run(&["egress", "explain", "echo", "POST", url, "--json"]).json();
    let entry = |found: &Value| check(found, "allow_list")["state"].clone();
    assert_eq!((&ran["source"], entry(&ran)), (&json!("host"), json!("ok")), "{ran}");
    let text = place.run(&["egress", "explain", "echo", "POST", url]);
    assert!(text.out.contains("the rights that the channel has in the running host"), "{}", text.out);
    host.stop();
    let ran = place.run(&["egress", "explain", "echo", "POST", url, "--json"]).json();
    assert_eq!((&ran["source"], entry(&ran)), (&json!("files"), json!("refused")), "{ran}");
}

#[test]
fn a_webhook_is_verified_from_a_file_and_what_is_wrong_is_named_without_the_secret() {
    let place = echo();
    let verify = |request: &str| -> Ran {
        place.file("request", request);
        place.run(&["verify-webhook", "echo", "--input", "request", "--json"])
    };
    let good =
        verify("POST /webhook/echo HTTP/1.1\nHost: a.example\nX-Webhook-Secret: a-secret-of-webhooks\n\n{}");
    assert_eq!((good.code, &good.json()["verdict"]), (Some(0), &"authentic".into()), "{}", good.out);
    let missing = verify("POST /webhook/echo HTTP/1.1\nHost: a.example\n\n{}");
    assert_eq!(missing.json()["checks"][0]["headers"][0]["count"], 0, "{}", missing.out);
    assert!(missing.code == Some(1) && missing.json()["message"].as_str().unwrap().contains("is missing"));
    let wrong = verify("POST / HTTP/1.1\nX-Webhook-Secret: guess\nContent-Length: 9\n\n{}");
    assert!(wrong.json()["message"].as_str().unwrap().contains("does not match"), "{}", wrong.out);
    assert!(wrong.json()["notes"][0].as_str().unwrap().contains("says 9 bytes"), "{}", wrong.out);
    for ran in [good, missing, wrong] {
        assert!(!ran.out.contains("a-secret-of-webhooks"), "{}", ran.out);
    }
    let none = verify("no request");
    assert!(none.code == Some(2) && none.err.contains("empty line"), "{}", none.err);
}

/// What happened in a story, in its order.
fn whats(story: &Value) -> Vec<&str> {
    story["steps"].as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap()).collect()
}

#[test]
fn a_message_is_followed_by_its_id_that_of_its_reply_and_that_of_its_sender_while_the_host_runs_and_after() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.say("a-name-of-its-own", "hello");
    host.hears("hello");
    let trace = |arguments: &[&str]| place.run(&[&["trace"], arguments, &["--json"]].concat());
    let all = ["accepted", "acknowledged", "replied", "sent"];
    let running = eventually("the last step is stored", || {
        let story = trace(&["1"]).json()["traces"][0].clone();
        (whats(&story).len() == all.len()).then_some(story)
    });
    let mut found = whats(&running);
    // The agent replies before it acknowledges, or the other way around.
    found.sort_by_key(|what| all.iter().position(|known| known == what));
    assert_eq!(found, all, "{running}");
    let message = &running["message"];
    assert_eq!((&message["id"], &message["state"]), (&1.into(), &"acked".into()), "{running}");
    assert_eq!(running["replies"][0]["state"], "delivered", "{running}");
    let steps = running["steps"].as_array().unwrap();
    let accepted = steps.iter().find(|step| step["what"] == "accepted").unwrap();
    assert!(
        accepted["fuel"].as_u64().unwrap() > 0 && accepted["duration_us"].as_u64().unwrap() > 0,
        "{running}"
    );
    assert!(accepted["text"].as_str().unwrap().contains("POST /chat/send"), "{running}");
    host.stop();
    for arguments in [
        &["1"][..],
        &["1", "--kind", "message"],
        &["1", "--kind", "reply"],
        &["a-name-of-its-own"],
        &["a-name-of-its-own", "--kind", "provider"],
    ] {
        assert_eq!(trace(arguments).json()["traces"][0], running, "{arguments:?}");
    }
    let text = place.run(&["trace", "1"]);
    let lines: Vec<&str> = text.good().lines().collect();
    assert!(lines[0].starts_with("message 1 of channel webchat, from "), "{}", text.out);
    assert!(has_line(&text.out, &["message 1 accepted (", " fuel)", "POST /chat/send"]), "{}", text.out);
    assert!(has_line(&text.out, &["message 1 delivered to the agent and acknowledged (attempt 1"]));
    assert_eq!(lines[lines.len() - 1], "reply 1 of channel webchat: delivered after 1 attempt");
    for arguments in [&["2"][..], &["1", "--kind", "provider"], &["hello"]] {
        let ran = trace(arguments);
        assert!(ran.code == Some(1) && ran.err.contains("nothing is known of "), "{}", ran.err);
        assert_eq!(ran.json()["traces"], Value::Array(vec![]));
    }
}

#[test]
fn a_failed_attempt_of_the_agent_and_the_next_one_are_steps_with_their_number_and_the_reason() {
    let place = Place::new();
    let server = Upstream::start(|_, before| match before {
        0 => (500, vec![], b"not now".to_vec()),
        _ => (200, vec![("content-type".to_owned(), "text/plain".to_owned())], b"now".to_vec()),
    });
    let host = place.host(&["--agent", &format!("http:{}", server.url())], &[]);
    host.say("1", "hello");
    host.hears("now");
    let story = eventually("the message is acknowledged", || {
        let story = place.run(&["trace", "1", "--json"]).json()["traces"][0].clone();
        whats(&story).contains(&"acknowledged").then_some(story)
    });
    let step = |what: &str| {
        let steps = story["steps"].as_array().unwrap();
        steps.iter().find(|step| step["what"] == what).unwrap_or_else(|| panic!("{what}: {story}"))
    };
    let failed = step("agent_failed");
    assert_eq!(failed["attempt"], 1, "{story}");
    assert!(failed["text"].as_str().unwrap().contains("status 500"), "{story}");
    assert_eq!(step("acknowledged")["attempt"], 2, "{story}");
    host.stop();
}

/// `tinclaw record` with these arguments, once it records.
fn recording(place: &Place, arguments: &[&str]) -> Child {
    let mut command = place.command(&[&["record"], arguments].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("recording channel "), "{line}");
    child
}

/// Sends a webhook of the channel `echo`, once it is there.
fn say_to_echo(host: &RunningHost, text: &str) {
    let body = json!({"user": "someone", "text": text});
    eventually("echo takes the webhook", || {
        let secret = "a-secret-of-webhooks";
        (client::webhook(host.address, "/webhook/echo", secret, &body).status == 200).then_some(())
    });
}

#[test]
fn recorded_callbacks_are_run_again_without_the_network_and_what_differs_is_shown() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = echo();
    let server = Upstream::start(|_, _| (200, vec![], b"{\"your_token\":\"a-token-of-the-api\"}".to_vec()));
    let settings =
        format!("channels = [\"channels\"]\n[http_rewrite]\n\"api.echo.example\" = \"{}\"\n", server.url());
    place.file("tinclaw.toml", settings);
    let host = place.host(&[], &[]);
    let replied = |message: &str| {
        eventually("the reply is delivered", || {
            let ran = place.run(&["trace", message, "--kind", "message", "--json"]);
            (ran.code == Some(0) && whats(&ran.json()["traces"][0]).contains(&"sent")).then_some(())
        })
    };
    say_to_echo(&host, "before");
    // Its reply is a callback too, which would be recorded when it was still under way.
    replied("1");
    let child = recording(&place, &["echo", "--output", "echo.jsonl", "--json"]);
    // Whoever writes may know a secret, and the guest gets what was written.
    say_to_echo(&host, "while it records a-token-of-the-api");
    replied("2");
    Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
    let ran = child.wait_with_output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{said}");
    let done: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&done["channel"], &done["recording"]), (&json!("echo"), &json!("echo.jsonl")));
    assert!(done["callbacks"].as_u64() >= Some(2) && done["left_out"] == 0, "{done}");
    let file = place.path().join("echo.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let written = fs::read_to_string(&file).unwrap();
    for secret in ["a-token-of-the-api", "a-secret-of-webhooks", "before"] {
        assert!(!written.contains(secret), "{secret}: {written}");
    }
    host.stop();
    let asked = server.requests().len();

    let replay = |arguments: &[&str]| {
        place.run(&[&["replay", "channels/echo.wasm", "--recording"], arguments].concat())
    };
    let same = replay(&["echo.jsonl", "--json"]);
    assert_eq!((same.code, &same.json()["different"]), (Some(0), &0.into()), "{}", same.out);
    let names: Vec<Value> =
        same.json()["callbacks"].as_array().unwrap().iter().map(|row| row["callback"].clone()).collect();
    assert!(names.contains(&"on-http-request".into()) && names.contains(&"on-respond".into()), "{names:?}");
    assert!(replay(&["echo.jsonl", "--diff"]).good().ends_with(": 0 different\n"));
    assert_eq!(server.requests().len(), asked, "a replay makes no request");

    // As if the build that was recorded had said something else in both directions.
    place.file(
        "other.jsonl",
        written.replace("while it records", "another text").replacen("another text", "while it records", 1),
    );
    let other = replay(&["other.jsonl", "--diff"]);
    assert_eq!(other.code, Some(1), "{}", other.out);
    assert!(
        has_line(&other.out, &["messages[0]: was ", "another text", ", is ", "while it records"]),
        "{}",
        other.out
    );

    let one = place.run(&["call", "channels/echo.wasm", "--replay", "echo.jsonl"]);
    assert_eq!((one.code, &one.json()["callback"]), (Some(0), &names[0]), "{}{}", one.out, one.err);
    for number in ["0", "99"] {
        let none = place.run(&["call", "channels/echo.wasm", "--replay", "echo.jsonl", "--number", number]);
        assert!(none.code == Some(2) && none.err.contains("the recording has "), "{}", none.err);
    }
    let broken = replay(&["tinclaw.toml"]);
    assert!(broken.code == Some(2) && broken.err.contains("line 1: "), "{}", broken.err);
}

#[test]
fn a_recording_ends_by_itself_when_it_has_as_many_callbacks_as_are_wanted() {
    let place = echo();
    let settings =
        "channels = [\"channels\"]\n[http_rewrite]\n\"api.echo.example\" = \"http://127.0.0.1:9\"\n";
    place.file("tinclaw.toml", settings);
    let absent = place.run(&["record", "echo"]);
    assert!(absent.code == Some(1) && absent.err.contains("no host is running"), "{}", absent.err);
    let host = place.host(&[], &[]);
    say_to_echo(&host, "before");
    let child = recording(&place, &["echo", "--callbacks", "1"]);
    say_to_echo(&host, "first");
    let ran = child.wait_with_output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success() && said.starts_with("1 callback in echo.jsonl"), "{said}");
    assert_eq!(fs::read_to_string(place.path().join("echo.jsonl")).unwrap().lines().count(), 1);
    let unknown = place.run(&["record", "nothing"]);
    assert!(
        unknown.code == Some(1) && unknown.err.contains("there is no channel nothing"),
        "{}",
        unknown.err
    );
    for number in ["0", "1001"] {
        assert_eq!(place.run(&["record", "echo", "--callbacks", number]).code, Some(2));
    }
    host.stop();
}

/// A second recording of a channel took the first one's callbacks, and both ended with none. That a file cannot be written was found
/// out at the end, and one that was there before stayed readable for everybody.
#[test]
fn a_recording_takes_nothing_from_another_and_no_file_by_accident() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = echo();
    let settings =
        "channels = [\"channels\"]\n[http_rewrite]\n\"api.echo.example\" = \"http://127.0.0.1:9\"\n";
    place.file("tinclaw.toml", settings);
    let host = place.host(&[], &[]);
    say_to_echo(&host, "before");
    let old = place.file("old.jsonl", "precious\n");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    for (arguments, part) in [
        (&["--output", "old.jsonl"][..], "old.jsonl exists; --force"),
        (&["--output", "no/such/directory"], "no/such/directory: "),
    ] {
        let ran = place.run(&[&["record", "echo"], arguments].concat());
        assert!(
            ran.code == Some(1) && ran.err.contains(part) && !ran.err.contains("recording"),
            "{}",
            ran.err
        );
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "precious\n");

    let first = recording(&place, &["echo", "--callbacks", "1", "--output", "old.jsonl", "--force"]);
    let second = place.run(&["record", "echo", "--output", "second.jsonl"]);
    assert!(second.code == Some(1) && second.err.contains("is being recorded already"), "{}", second.err);
    assert!(!place.path().join("second.jsonl").exists());
    say_to_echo(&host, "first");
    let ran = first.wait_with_output().unwrap();
    assert!(ran.status.success() && ran.stdout.starts_with(b"1 callback in old.jsonl"), "{ran:?}");
    assert_eq!(fs::read_to_string(&old).unwrap().lines().count(), 1);
    assert_eq!(fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
    host.stop();

    place.file("empty.jsonl", "\n");
    let empty = place.run(&["replay", "channels/echo.wasm", "--recording", "empty.jsonl"]);
    assert!(empty.code == Some(2) && empty.err.contains("it has no callbacks"), "{}", empty.err);
}

/// It waited for as long as a response may take, whatever signals came; `health` said nothing meanwhile.
#[test]
fn a_host_that_does_not_respond_is_named_and_keeps_no_recording_from_ending() {
    let place = echo();
    let host = place.host(&[], &[]);
    say_to_echo(&host, "before");
    let child = recording(&place, &["echo"]);
    host.signal("STOP");
    let mut asks = place
        .command(&["health"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(asks.stderr.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("the host at ") && line.contains("does not respond yet"), "{line}");
    Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(!place.path().join("echo.jsonl").exists());
    host.signal("CONT");
    assert!(asks.wait().is_ok());
    host.stop();
}

/// What `tinclaw doctor` says of a check: its states with their texts.
fn found(json: &Value, name: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["code"] == name);
    checks.map(|check| (text(&check["state"]), text(&check["message"]))).collect()
}

/// Whether one of them has this state and has this in its text.
fn says(json: &Value, name: &str, state: &str, part: &str) -> bool {
    found(json, name).iter().any(|(found, text)| found == state && text.contains(part))
}

#[test]
fn the_doctor_finds_what_works_and_names_what_does_not_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = echo();
    let server = Upstream::start(|_, _| (404, vec![], b"nothing".to_vec()));
    let configure = |api: &str, public: &str| {
        let path = place.file(
            "tinclaw.toml",
            format!(
                "channels = [\"channels\"]\npublic_url = \"https://bot.example\"\n[http_rewrite]\n\
                 \"api.echo.example\" = \"{api}\"\n\"bot.example\" = \"{public}\"\n"
            ),
        );
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    let doctor = || {
        let ran = place.run(&["doctor", "--json"]);
        (ran.code, ran.json())
    };
    configure(&server.url(), &server.url());
    let (code, json) = doctor();
    assert_eq!(code, Some(0), "{json}");
    assert!(
        says(&json, "host", "note", "no host runs") && says(&json, "public_url", "unknown", "no host runs")
    );

    let host = place.host(&[], &[]);
    say_to_echo(&host, "hello");
    configure(&server.url(), &format!("http://{}", host.address));
    let (code, json) = doctor();
    assert_eq!(code, Some(0), "{json}");
    for (check, part) in [
        ("clock", ""),
        ("permissions", ""),
        ("outbound", "api.echo.example responds with 404"),
        ("public_url", "https://bot.example leads to this host"),
        ("channel", "echo can be loaded"),
        ("store", "up"),
    ] {
        assert!(says(&json, check, "ok", part), "{check}: {json}");
    }
    assert!(!found(&json, "disk").is_empty(), "{json}");

    configure("http://127.0.0.1:9", &server.url());
    let database = place.state().join("tinclaw.db");
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    place.run(&["secrets", "remove", "echo_token"]).good();
    let (code, json) = doctor();
    assert_eq!(code, Some(1), "{json}");
    for (check, part) in [
        ("permissions", "tinclaw.db can be read by others: mode 644"),
        ("outbound", "api.echo.example"),
        ("public_url", "leads to something else, which responded with 404"),
    ] {
        assert!(says(&json, check, "error", part), "{check}: {json}");
    }
    assert!(
        found(&json, "secrets").iter().any(|(state, text)| state != "ok" && text.contains("echo_token")),
        "{json}"
    );
    let is_wrong = |check: &&Value| check["state"] == "error";
    for check in json["checks"].as_array().unwrap().iter().filter(is_wrong) {
        assert!(check["help"].as_str().is_some_and(|help| !help.is_empty()), "{check}");
    }
    let text = place.run(&["doctor"]);
    assert!(
        text.code == Some(1) && has_line(&text.out, &["ERROR", "public_url", "something else"]),
        "{}",
        text.out
    );
    assert!(has_line(&text.out, &["chmod 600 "]), "{}", text.out);
    host.stop();
}

/// The thread that logged wrote the line itself: with a standard error that nobody read, the host stood after 150 messages.
#[test]
fn a_host_whose_output_nobody_reads_goes_on() {
    let place = Place::new();
    place.file("tinclaw.toml", "access_log = true\nchannels = [\"channels\"]\n");
    place.channel("everything");
    let mut command = place.command(&["run", "--listen", "127.0.0.1:0", "--log", "debug"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _unread = child.stderr.take();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the host ended");
        if let Some(address) = line.strip_prefix("listening on http://") {
            break address.trim().parse().unwrap();
        }
    };
    let task = json!({"do": "emit-message", "user_id": "ann", "content": "hello"}).to_string();
    let headers = [("content-type", "application/json")];
    let post = || client::request(address, "POST", "/webhook/everything", &headers, task.as_bytes()).status;
    eventually("the channel starts", || (post() == 200).then_some(()));
    (0..1000).for_each(|_| assert_eq!(post(), 200));
    let process = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
    let status = eventually("the host ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

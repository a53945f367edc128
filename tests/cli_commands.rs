//! The commands beside `run`: check, call, channels, messages, replies, pairing, secrets, health.

mod cli_support;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use cli_support::{Place, Ran, RunningHost};
use serde_json::{Value, json};
use support::upstream::{Upstream, ok};
use support::{client, eventually};

#[test]
fn check_warns_about_missing_secrets_and_reports_none_when_they_are_stored() {
    let place = Place::new();
    let echo = place.channel("echo");
    let echo = echo.to_str().unwrap();
    let ran = place.run(&["check", echo]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    for part in [
        "component",
        "on-http-request",
        "/webhook/echo",
        "https://api.echo.example/",
        "echo_token (not stored)",
        "warning: secret echo_token is not stored",
        "1 channel, 2 warnings",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let mut command = place.command(&["check", "--json", echo]);
    let sound =
        command.envs([("TINCLAW_SECRET_ECHO_TOKEN", "t"), ("TINCLAW_SECRET_ECHO_WEBHOOK_SECRET", "s")]);
    let output = sound.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let channel = &found["channels"][0];
    assert_eq!((&channel["name"], &channel["kind"]), (&json!("echo"), &json!("component")));
    assert_eq!(channel["secrets"][0], json!({"name": "echo_token", "optional": false, "stored": true}));
    assert_eq!(channel["diagnostics"], json!([]));
    assert_eq!((&found["error_count"], &found["warning_count"]), (&json!(0), &json!(0)));
}

#[test]
fn check_says_of_files_that_are_no_channels_what_they_lack() {
    let place = Place::new();
    place.channel("webchat");
    place.file("channels/torn.wasm", "no wasm");
    place.file("channels/typo.wasm", "no wasm either");
    place.file("channels/typo.capabilities.json", r#"{"capabilities": {"channel": {"allowed_path": []}}}"#);
    let ran = place.run(&["check", "channels"]);
    assert_eq!(ran.code, Some(1));
    for part in [
        "webchat\n",
        "error: channel `torn`",
        "allowed_path",
        "warning: torn: there is no torn.capabilities.json",
        "1 channel, 2 errors, ",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let nowhere = place.run(&["check", "nowhere"]);
    assert!(nowhere.code == Some(1) && nowhere.err.contains("nowhere does not exist"), "{}", nowhere.err);
    place.file("empty/readme", "");
    let empty = place.run(&["check", "empty"]);
    assert!(
        empty.code == Some(1) && empty.out.contains("error: there is no channel in empty"),
        "{}",
        empty.out
    );
}

#[test]
fn check_says_which_path_prefixes_are_unbounded() {
    let place = Place::new();
    let echo = place.channel("echo");
    let path = "channels/echo.capabilities.json";
    let mut file: Value = serde_json::from_slice(&std::fs::read(place.path().join(path)).unwrap()).unwrap();
    file["capabilities"]["http"]["allowlist"] =
        json!([{"host": "a.example", "path_prefix": "/bot"}, {"host": "b.example", "path_prefix": "/api/"}]);
    place.file(path, file.to_string());
    let ran = place.run(&["check", echo.to_str().unwrap()]);
    let said = |host: &str| {
        ran.out.lines().find(|line| line.contains(host)).map(|line| line.contains("inside a name"))
    };
    assert_eq!(
        (said("https://a.example/bot"), said("https://b.example/api/")),
        (Some(true), Some(false)),
        "{}",
        ran.out
    );
}

#[test]
fn a_name_that_no_secret_can_have_is_no_part_of_a_command() {
    let place = Place::new();
    let echo = place.channel("echo");
    let path = "channels/echo.capabilities.json";
    let mut file: Value = serde_json::from_slice(&std::fs::read(place.path().join(path)).unwrap()).unwrap();
    file["setup"]["required_secrets"] = json!([{"name": "a; reboot", "auto_generate": {}}, {"name": "fine"}]);
    place.file(path, file.to_string());
    let ran = place.run(&["check", echo.to_str().unwrap()]);
    assert!(ran.good().contains("`tinclaw secrets set fine` stores it"), "{}", ran.out);
    assert!(ran.out.contains("a; reboot") && !ran.out.contains("set a; reboot"), "{}", ran.out);
}

/// A server that the operator named with `http://` was shown with `https://`.
#[test]
fn check_shows_the_scheme_of_a_server_that_the_operator_named() {
    let place = Place::new();
    let echo = place.channel("echo");
    let path = "channels/echo.capabilities.json";
    let mut file: Value = serde_json::from_slice(&std::fs::read(place.path().join(path)).unwrap()).unwrap();
    file["capabilities"]["http"]["allowlist"] =
        json!([{"host": "{box}"}, {"host": "{far}"}, {"host": "a.example"}]);
    place.file(path, file.to_string());
    place.file(
        "tinclaw.toml",
        "[channel.echo.config]\nbox = \"http://192.168.1.5:8123\"\nfar = \"https://far.example\"\n",
    );
    let ran = place.run(&["check", echo.to_str().unwrap()]);
    for place in ["http://192.168.1.5:8123/…", "https://far.example:443/…", "https://a.example/…"] {
        assert!(ran.out.contains(&format!(" {place}")), "{place}: {}", ran.out);
    }
    let ran = place.run(&["check", "--json", echo.to_str().unwrap()]);
    let schemes: Vec<Value> = ran.json()["channels"][0]["http"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| place["scheme"].clone())
        .collect();
    assert_eq!(schemes, ["http", "https", "https"]);
}

/// Guests of common tool chains that cannot run were refused with a parser's words for an instruction.
#[test]
fn check_says_which_compiler_option_made_a_guest_that_cannot_run() {
    let place = Place::new();
    let hostile = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile");
    let text = |name: &str| std::fs::read_to_string(hostile.join(format!("{name}.wat"))).unwrap();
    let honest = text("honest");
    // A good guest with one thing more.
    let with = |more: &str| format!("{}{more})", honest.trim_end().strip_suffix(')').unwrap());
    let libraries = r#"(component
        (core module $libc (@custom "dylink.0" "\01\04\00\00\00\00"))
        (core module $app (@custom "dylink.0" "\01\04\00\00\00\00"))
        (core instance (instantiate $libc)) (core instance (instantiate $app)))"#;
    for (name, text, parts) in [
        ("plain", with(""), &[][..]),
        (
            "simd",
            with("(func (drop (v128.const i64x2 0 0)))"),
            &["vector instructions (SIMD)", "+simd128", "-msimd128"],
        ),
        ("threads", text("feature_shared_memory"), &["threads", "+atomics", "-pthread", "-threads"]),
        ("atomics", with("(func (drop (i32.atomic.load (i32.const 0))))"), &["threads", "+atomics"]),
        ("exceptions", with("(tag)"), &["exceptions", "-fwasm-exceptions", "panic=abort"]),
        ("wasm64", text("feature_memory64"), &["64-bit memories", "wasm32"]),
        (
            "asynchronous",
            "(component (core func (canon subtask.drop)))".into(),
            &["asynchronous", "without `async`"],
        ),
        ("libraries", libraries.into(), &["links several modules", "componentize-py"]),
    ] {
        let Ok(guest) = wat::parse_str(&text) else { panic!("{name}: {text}") };
        let file = place.file(&format!("{name}.wasm"), guest);
        let channel = json!({"allowed_paths": ["/webhook/hostile"], "webhook": {"auth": "none"}});
        let capabilities = json!({"capabilities": {"channel": channel}});
        place.file(&format!("{name}.capabilities.json"), capabilities.to_string());
        let ran = place.run(&["check", file.to_str().unwrap()]);
        assert_eq!(ran.code, Some(i32::from(!parts.is_empty())), "{name}: {}{}", ran.out, ran.err);
        for part in parts.iter().chain(if parts.is_empty() { &[][..] } else { &["are known to work"] }) {
            assert!(ran.out.contains(part), "{name}, {part}: {}", ran.out);
        }
        if name == "libraries" {
            // What componentize-py makes has 18 MB and more, most of it before its own code; a smaller one would not run either.
            let mut guest = std::fs::read(&file).unwrap();
            guest.push(0);
            guest.extend([0x84, 0x80, 0x80, 0x09, 0x01, b'x']);
            guest.resize(guest.len() + 18 * 1024 * 1024 + 2, 0);
            place.file("libraries.wasm", guest);
            let ran = place.run(&["check", file.to_str().unwrap()]);
            assert!(ran.out.contains("links several modules") && !ran.out.contains("smaller"), "{}", ran.out);
        }
        if let [feature, ..] = parts {
            let others =
                ["SIMD", "threads", "exceptions", "64-bit memories", "asynchronous", "several modules"];
            let others =
                others.into_iter().filter(|other| !feature.contains(other) && !ran.out.contains("-threads"));
            for other in others {
                assert!(!ran.out.contains(other), "{name}: {other}: {}", ran.out);
            }
        }
    }
}

/// WhatsApp as it is published names only the verify token: nothing was reported, and Meta got 401 for every message.
#[test]
fn check_reports_a_verify_token_that_is_taken_for_a_signing_key() {
    let place = Place::new();
    let guest = place.channel("echo");
    let file = |webhook: Value| {
        let channel = json!({"allowed_paths": ["/webhook/echo"], "webhook": webhook});
        let secrets = json!([{"name": "verify"}, {"name": "app_secret"}]);
        let file = json!({"capabilities": {"channel": channel}, "setup": {"required_secrets": secrets}});
        place.file("channels/echo.capabilities.json", file.to_string());
        place.run(&["check", "--json", guest.to_str().unwrap()])
    };
    let published = json!({
        "secret_header": "X-Hub-Signature-256", "secret_name": "verify", "verify_token_param": "hub.verify_token",
    });
    let ran = file(published.clone());
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    let first = &ran.json()["channels"][0]["diagnostics"][0];
    assert_eq!((&first["severity"], &first["code"]), (&json!("error"), &json!("verify-token-as-key")));
    let help = first["help"].as_str().unwrap();
    assert!(help.contains("app secret"), "{first}");
    // Health and the log say it too.
    let said = "the verify token verify is taken for the key of signatures";
    let host = place.host(&["--channels", "channels"], &[]);
    eventually("health says it", || place.run(&["health"]).out.contains(said).then_some(()));
    let log = host.stop();
    assert_eq!(log.matches(said).count(), 1, "{log}");
    // The published file stays as it is.
    assert!(help.contains("`[channel.echo.capabilities.channel.webhook]` in tinclaw.toml"), "{first}");
    place.file(
        "tinclaw.toml",
        "[channel.echo.capabilities.channel.webhook]\nhmac_secret_name = \"app_secret\"\n",
    );
    assert_eq!(file(published.clone()).code, Some(0));
    std::fs::remove_file(place.path().join("tinclaw.toml")).unwrap();
    let mut complete = published;
    complete["hmac_secret_name"] = json!("app_secret");
    assert_eq!(file(complete).code, Some(0));
}

#[test]
fn check_runs_on_start_when_asked() {
    let place = Place::new();
    let echo = place.channel("echo");
    let echo = echo.to_str().unwrap();
    assert!(!place.run(&["check", echo]).good().contains("on-start succeeded"));
    assert!(place.run(&["check", "--start", echo]).good().contains("note: on-start succeeded as"));
    let wat = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile/trap_in_on_start.wat");
    let guest = place.file("trap.wasm", wat::parse_file(wat).unwrap());
    let ran = place.run(&["check", "--start", guest.to_str().unwrap()]);
    assert!(
        ran.code == Some(1) && ran.out.contains("error: channel `trap`: on-start trapped"),
        "{}",
        ran.out
    );
}

/// A tool with a tool's capability file was refused for the file's `type`, as if that were a mistake in it.
#[test]
fn check_says_that_a_tool_is_a_tool_whatever_its_file_holds() {
    let place = Place::new();
    let tool = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $t (export "execute" (func $f)))
        (export "near:agent/tool@0.3.0" (instance $t)))"#;
    let guest = place.file("channels/search.wasm", wat::parse_str(tool).unwrap());
    let expected = "`search` is a tool, not a channel: it exports `near:agent/tool@0.3.0`";
    for file in [None, Some(r#"{"type": "tool"}"#), Some(r#"{"http": {"allowlist": []}}"#), Some("{")] {
        if let Some(file) = file {
            place.file("channels/search.capabilities.json", file);
        }
        let ran = place.run(&["check", guest.to_str().unwrap()]);
        assert!(ran.code == Some(1) && ran.out.contains(expected), "{file:?}: {}", ran.out);
    }
}

#[test]
fn check_and_health_say_why_nothing_arrives_through_a_websocket() {
    let place = Place::new();
    let echo = place.channel("echo");
    let path = "channels/echo.capabilities.json";
    let mut file: Value = serde_json::from_slice(&std::fs::read(place.path().join(path)).unwrap()).unwrap();
    file["capabilities"]["websocket"] = json!({"url": "wss://gateway.example/"});
    place.file(path, file.to_string());
    let expected = "the websocket to gateway.example is not on the channel's allow-list";
    let ran = place.run(&["check", echo.to_str().unwrap()]);
    assert!(ran.out.contains(expected), "{}", ran.out);
    let host = place.host(&["--channels", "channels"], &[]);
    eventually("it has started", || host.log().contains("channel echo is ready").then_some(()));
    for command in [&["channels", "list"][..], &["health"]] {
        eventually("the link has stopped", || {
            let ran = place.run(command);
            ran.out.contains("channel echo: the websocket to gateway.example is closed").then_some(())
        });
        assert!(place.run(command).out.contains(expected));
    }
    let shown: Value = serde_json::from_str(&place.run(&["health", "--json"]).out).unwrap();
    assert_eq!(shown["channels"][0]["link"]["state"], "stopped", "{shown}");
    let log = host.stop();
    assert_eq!(log.matches(expected).count(), 1, "{log}");
}

#[test]
fn call_runs_one_callback_and_shows_what_it_did() {
    let place = Place::new();
    let echo = place.channel("echo");
    let echo = echo.to_str().unwrap();
    let input = r#"{"body": {"user": "ann", "text": "hello"}}"#;
    let ran = place.run_with_input(&["call", echo, "on-http-request", "--input", "-", "--json"], input);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    let did = ran.json();
    assert_eq!(did["result"]["status"], 200);
    assert_eq!(did["messages"][0]["content"], "hello");
    assert!(did["fuel"].as_u64().unwrap() > 1000 && did["peak_memory_bytes"].as_u64().unwrap() > 0, "{did}");
    let shown = place.run(&["call", echo, "on-start"]);
    assert!(shown.good().contains("log       info: echo listens"), "{}", shown.out);
    assert!(shown.good().contains("on-start returned") && shown.out.contains("fuel"), "{}", shown.out);
}

#[test]
fn call_sends_requests_where_it_is_told_and_fails_when_the_callback_does() {
    let place = Place::new();
    let echo = place.channel("echo");
    let echo = echo.to_str().unwrap();
    let upstream = Upstream::start(|_, _| ok());
    let rewrite = format!("api.echo.example={}", upstream.url());
    let respond = |rewrite: &str, input: &str| {
        let path = place.file("input.json", input);
        let mut command = place.command(&["call", echo, "on-respond", "--http-rewrite", rewrite, "--input"]);
        command.arg(path).env("TINCLAW_SECRET_ECHO_TOKEN", "a-token-of-ours").output().unwrap()
    };
    let output = respond(&rewrite, r#"{"content": "hi", "metadata": {"user": "ann"}}"#);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("on-respond succeeded") && text.contains("1 HTTP calls"), "{text}");
    assert_eq!(upstream.requests()[0].header("authorization"), Some("Bearer a-token-of-ours"));
    assert!(!text.contains("a-token-of-ours"));
    let failed = respond("api.echo.example=http://127.0.0.1:1", r#"{"metadata": {"user": "ann"}}"#);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("on-respond failed"));
    for (arguments, part) in [
        (["call", echo, "on-pol"], "possible values: on-start"),
        (["call", "nowhere.wasm", "on-poll"], "nowhere.wasm"),
    ] {
        let ran = place.run(&arguments);
        assert!(ran.code != Some(0) && ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn a_guest_that_loops_ends_with_its_fuel_and_exit_code_1() {
    let place = Place::new();
    let wat = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile/loop_on_broadcast.wat");
    let guest = place.file("looper.wasm", wat::parse_file(wat).unwrap());
    let ran = place.run(&["call", guest.to_str().unwrap(), "on-broadcast", "--no-start"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("failed") && ran.out.contains("fuel"), "{}", ran.out);
}

#[test]
fn channels_are_listed_with_and_without_a_host_and_installed() {
    let place = Place::new();
    assert!(place.run(&["channels", "list"]).good().contains("no host is running; it would load: webchat"));
    let directory = place.path().join("mine");
    let directory = directory.to_str().unwrap();
    let installed = place.run(&["channels", "install", "webchat", "--yes", "--to", directory]);
    assert!(installed.good().contains(&format!("tinclaw run --channels {directory}")), "{}", installed.out);
    let again = place.run(&["channels", "install", "webchat", "--yes", "--to", directory]);
    assert!(again.code == Some(1) && again.err.contains("--force"), "{}", again.err);
    assert_eq!(place.run(&["channels", "install", "nothing"]).code, Some(1));
    let typo = place.run(&["channels", "install", "telgram"]);
    assert!(typo.code == Some(1) && typo.err.contains("did you mean telegram?"), "{}", typo.err);
    let telegram = place.run(&["channels", "install", "telegram", "--yes", "--to", "others"]);
    let needs = "it needs a secret: tinclaw secrets set telegram_bot_token\n";
    assert!(telegram.good().contains(needs), "{}", telegram.out);
    assert!(
        !telegram.out.contains("secrets set telegram_webhook_secret"),
        "the host makes it: {}",
        telegram.out
    );
    let again = place
        .run(&["channels", "install", "telegram", "--yes", "--to", "others", "--force", "--json"])
        .json();
    let expected = json!({
        "channel": "telegram",
        "installed": "others/telegram.wasm",
        "missing_secrets": ["telegram_bot_token"],
        "loaded_by_default": false,
    });
    assert_eq!(again, expected);
    let host = place.host(&["--channels", directory], &[]);
    host.say("1", "hello");
    let list = place.run(&["channels", "list", "--json"]).json();
    assert_eq!((&list["running"], &list["channels"][0]["name"]), (&json!(true), &json!("webchat")));
    assert!(place.run(&["channels", "list"]).good().contains("ready"));
}

#[test]
fn health_is_that_of_the_running_host() {
    let place = Place::new();
    let none = place.run(&["health"]);
    assert!(none.code == Some(1) && none.err.contains("no host is running"), "{}", none.err);
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    assert!(place.run(&["health"]).good().contains("store     up"));
    assert_eq!(place.run(&["health", "--json"]).json()["channels"][0]["state"], "ready");
}

#[test]
fn messages_are_shown_redelivered_and_dropped_while_a_host_runs_and_when_none_does() {
    let place = Place::new();
    let nothing = place.run(&["messages", "list"]);
    assert!(nothing.code == Some(1) && nothing.err.contains("no host is running"), "{}", nothing.err);
    let host = place.host(&[], &[]);
    host.say("1", "hello\u{1b}[2J\u{202e}");
    host.hears("hello\u{1b}[2J\u{202e}");
    acked(&place, 1);
    let listed = place.run(&["messages", "list"]);
    assert!(listed.good().contains("hello\\u{1b}[2J\\u{202e}"), "{}", listed.out);
    for shown in [&listed, &place.run(&["messages", "show", "1"])] {
        assert!(!shown.good().contains(['\u{1b}', '\u{202e}']), "{}", shown.out);
    }
    let shown = place.run(&["messages", "show", "1", "--json"]).json();
    assert_eq!(shown["content"], "hello\u{1b}[2J\u{202e}");
    assert!(place.run(&["messages", "redeliver", "1"]).good().contains("message 1 will be redelivered"));
    eventually("the echo is redelivered", || (host.heard().len() == 2).then_some(()));
    // The name was also that of `tinclaw replay`, which runs a recording.
    let old = place.run(&["messages", "replay", "1"]);
    assert!(old.code == Some(2) && old.err.contains("is now called `messages redeliver`"), "{}", old.err);
    let dropped = place.run(&["messages", "drop", "1"]);
    assert!(dropped.code == Some(1) && dropped.err.contains("left as it is"), "{}", dropped.err);
    assert_eq!(place.run(&["messages", "show", "99"]).code, Some(1));
    host.stop();
    assert!(place.run(&["messages", "redeliver", "1"]).good().contains("redelivered"));
    let pending = ["messages", "list", "--state", "pending", "--json"];
    assert_eq!(place.run(&pending).json()["messages"][0]["id"], 1);
    place.run(&["messages", "drop", "1", "--json"]).good();
    assert_eq!(place.run(&pending).json(), json!({"messages": []}));
    assert_eq!(place.run(&["messages", "list", "--state", "pending"]).good(), "no messages\n");
    for limit in ["0", "1001"] {
        let ran = place.run(&["messages", "list", "--limit", limit]);
        assert!(ran.code == Some(2) && ran.err.contains("is not in 1..=1000"), "{limit}: {}", ran.err);
    }
    assert_eq!(place.run(&["messages", "list", "--limit", "1000"]).code, Some(0));
}

fn acked(place: &Place, id: u64) {
    eventually("the message is acknowledged", || {
        let shown = place.run(&["messages", "show", &id.to_string(), "--json"]).json();
        (shown["state"] == "acked").then_some(())
    });
}

#[test]
fn a_dead_reply_is_listed_with_its_error_and_sent_again() {
    let place = Place::new();
    place.channel("echo");
    // Statuses are requests to the upstream too; only the first message fails.
    let has_failed = AtomicBool::new(false);
    let upstream = Upstream::start(move |request, _| {
        let fails = request.target == "/messages" && !has_failed.swap(true, Ordering::Relaxed);
        if fails { (500, Vec::new(), b"{}".to_vec()) } else { ok() }
    });
    place.file(
        "tinclaw.toml",
        format!(
            "channels = [\"channels\"]\nagent = \"exec:python3 agent.py\"\n[retry]\nmax_elapsed_secs = 0\n\
             initial_backoff_secs = 1\nmax_backoff_secs = 1\n[http_rewrite]\n\"api.echo.example\" = \"{}\"\n",
            upstream.url()
        ),
    );
    place.file(
        "agent.py",
        "import json, sys\nfor line in sys.stdin:\n    \
         print(json.dumps({'type': 'broadcast', 'channel': 'echo', 'user_id': 'bob', 'content': 'to bob'}))\n    \
         print(json.dumps({'type': 'done', 'id': json.loads(line)['id']}), flush=True)\n",
    );
    let secrets = [("TINCLAW_SECRET_ECHO_TOKEN", "t"), ("TINCLAW_SECRET_ECHO_WEBHOOK_SECRET", "s")];
    let host = place.host(&[], &secrets);
    let body = json!({"user": "ann", "text": "hello"});
    eventually("the webhook is taken", || {
        (client::webhook(host.address, "/webhook/echo", "s", &body).status == 200).then_some(())
    });
    let reply = eventually("the broadcast is given up", || {
        let list = place.run(&["replies", "list", "--state", "dead", "--json"]).json();
        list["replies"].get(0).cloned()
    });
    assert_eq!(reply["broadcast_to"], "bob");
    let id = reply["id"].as_u64().unwrap().to_string();
    assert!(place.run(&["replies", "list"]).good().contains("to bob"));
    assert!(place.run(&["replies", "show", &id]).good().contains("error"));
    assert!(place.run(&["replies", "retry", &id]).good().contains("retried"));
    eventually("the broadcast is delivered", || {
        let shown = place.run(&["replies", "show", &id, "--json"]).json();
        (shown["state"] == "delivered").then_some(())
    });
    let dropped = place.run(&["replies", "drop", &id]);
    assert!(dropped.code == Some(1) && dropped.err.contains("left as it is"), "{}", dropped.err);
}

#[test]
fn a_sender_is_approved_while_the_host_runs_listed_with_and_without_it_and_revoked() {
    let place = Place::new();
    place.channel("everything");
    let host = place.host(&["--channels", "channels"], &[]);
    let asked = task(
        &host,
        &json!({"do": "pairing-upsert-request", "channel": "everything", "id": "u1", "meta_json": "{}"}),
    );
    let waiting = place.run(&["pairing", "list", "--json"]).json();
    assert_eq!(waiting["pending"][0]["external_id"], "u1", "{asked}");
    assert_eq!(waiting["approved"], json!([]));
    let code = waiting["pending"][0]["code"].as_str().unwrap();
    assert!(place.run(&["pairing", "list"]).good().contains(code));
    let wrong = place.run(&["pairing", "approve", "everything", "WRONG111"]);
    assert!(wrong.code == Some(1) && wrong.err.contains("no unknown sender"), "{}", wrong.err);
    let approved = place.run(&["pairing", "approve", "everything", code, "--as", "ann", "--json"]).json();
    assert_eq!(approved, json!({"channel": "everything", "external_id": "u1", "identity": "ann"}));
    let who =
        task(&host, &json!({"do": "pairing-resolve-identity", "channel": "everything", "external_id": "u1"}));
    assert!(who.to_string().contains("ann"), "{who}");
    let lists = |with: &dyn Fn(&Value)| {
        let lists = place.run(&["pairing", "list", "--json"]).json();
        assert_eq!(lists["pending"], json!([]));
        with(&lists["approved"]);
    };
    let ann = |approved: &Value| {
        let known = &approved[0];
        let shown = (&known["channel"], &known["external_id"], &known["identity"]);
        assert_eq!(shown, (&json!("everything"), &json!("u1"), &json!("ann")), "{approved}");
        assert!(
            known["approved_at"].as_str().is_some_and(|at| at.starts_with("20") && at.ends_with('Z')),
            "{approved}"
        );
        assert_eq!(approved.as_array().unwrap().len(), 1);
    };
    lists(&ann);
    host.stop();
    lists(&ann);
    let listed = place.run(&["pairing", "list"]);
    assert!(listed.good().starts_with("no sender waits for approval\n\nCHANNEL"), "{}", listed.out);
    assert!(listed.out.contains("everything  u1  ann"), "{}", listed.out);
    // By the name that they are known as; by their id it would be the same.
    let revoked = place.run(&["pairing", "revoke", "everything", "ann", "--json"]).json();
    assert_eq!(revoked, json!({"channel": "everything", "revoked": "ann"}));
    assert_eq!(place.run(&["pairing", "revoke", "everything", "u1"]).code, Some(1));
    lists(&|approved| assert_eq!(*approved, json!([])));
    assert_eq!(
        place.run(&["pairing", "list"]).good(),
        "no sender waits for approval\n\nno sender is approved\n"
    );
}

fn task(host: &RunningHost, task: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let reply = eventually("the channel starts", || {
        let body = task.to_string();
        let reply = client::request(host.address, "POST", "/webhook/everything", &headers, body.as_bytes());
        (reply.status != 503).then_some(reply)
    });
    reply.json()
}

#[test]
fn secrets_are_set_listed_and_removed_and_never_shown() {
    let place = Place::new();
    place.channel("echo");
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    let missing = place.run(&["secrets", "list"]);
    assert!(missing.good().contains("echo_token is missing: channel echo needs it"), "{}", missing.out);
    let set = place.run_with_input(&["secrets", "set", "ECHO_TOKEN"], "the value of ours\n");
    assert!(
        set.good().contains("a new key is in") && set.out.contains("echo_token is stored"),
        "{}",
        set.out
    );
    let generated = place.run(&["secrets", "set", "echo_webhook_secret", "--generate"]);
    generated.good();
    for file in ["secrets.enc", "secrets.key"] {
        let path = place.state().join(file);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        assert!(!String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("the value of ours"));
    }
    let listed = place.run(&["secrets", "list", "--json"]).json();
    assert_eq!(listed, json!({"stored": ["echo_token", "echo_webhook_secret"], "missing": []}));
    assert_eq!(place.run(&["check", "channels"]).code, Some(0));
    assert!(place.run(&["secrets", "remove", "echo_token"]).good().contains("is removed"));
    assert_eq!(place.run(&["secrets", "remove", "echo_token"]).code, Some(1));
    for (arguments, input) in [(["secrets", "set", "a b"], "x"), (["secrets", "set", "empty"], "")] {
        let ran = place.run_with_input(&arguments, input);
        assert!(ran.code != Some(0), "{arguments:?}");
    }
    std::fs::remove_file(place.state().join("secrets.key")).unwrap();
    let lost = place.run_with_input(&["secrets", "set", "other"], "x");
    assert!(lost.code == Some(1) && lost.err.contains("restore the key"), "{}", lost.err);
}

#[test]
fn a_script_reads_what_became_of_a_secret() {
    let place = Place::new();
    let set = place.run_with_input(&["secrets", "set", "A", "--json"], "the value of ours\n");
    assert!(!set.out.contains("the value of ours"), "{}", set.out);
    let set = set.json();
    let (file, key) = (place.state().join("secrets.enc"), place.state().join("secrets.key"));
    let expected = json!({"name": "a", "file": file, "new_key_file": key, "generated_value": null});
    assert_eq!(set, expected);
    let made = place.run(&["secrets", "set", "b", "--generate", "--json"]).json();
    assert!(made["generated_value"].as_str().is_some_and(|value| value.len() >= 32), "{made}");
    assert_eq!(made["new_key_file"], Value::Null);
    let removed = place.run(&["secrets", "remove", "a", "--json"]).json();
    assert_eq!(removed, json!({"name": "a", "file": file}));
}

#[test]
fn a_secret_that_is_set_while_the_host_runs_is_used_at_once() {
    let place = Place::new();
    place.channel("echo");
    place.file("tinclaw.toml", "[secrets]\ngenerate = false\n");
    let host = place.host(&["--channels", "channels"], &[]);
    let body = json!({"user": "ann", "text": "hello"});
    assert_eq!(client::webhook(host.address, "/webhook/echo", "s", &body).status, 503);
    let degraded = eventually("the channel has started", || {
        let health = place.run(&["health"]);
        health.out.contains("ready").then_some(health)
    });
    assert!(
        degraded.code == Some(1) && degraded.out.contains("webhooks respond with 503"),
        "{}",
        degraded.out
    );
    // The configuration does not name the channel: the running host says what it lacks.
    let lacking = |ran: &Ran| ran.json()["missing"].as_array().expect("a list").clone();
    let missing = lacking(&place.run(&["secrets", "list", "--json"]));
    let names: Vec<_> = missing.iter().map(|missing| (&missing["name"], &missing["channel"])).collect();
    let (token, secret, echo) = (json!("echo_token"), json!("echo_webhook_secret"), json!("echo"));
    assert_eq!(names, [(&secret, &echo), (&token, &echo)]);
    for (name, value) in [("echo_token", "t"), ("echo_webhook_secret", "s")] {
        place.run_with_input(&["secrets", "set", name], value).good();
    }
    assert_eq!(lacking(&place.run(&["secrets", "list", "--json"])), Vec::<Value>::new());
    assert!(!place.run(&["health"]).good().contains("secret "));
    eventually("the webhook is taken", || {
        (client::webhook(host.address, "/webhook/echo", "s", &body).status == 200).then_some(())
    });
}

/// A named pipe in place of a file held a command up for ever.
#[test]
fn a_named_pipe_in_place_of_a_file_is_refused_in_a_sentence() {
    let place = Place::new();
    let echo = place.channel("echo");
    let (echo, pipe) = (echo.to_str().unwrap(), place.path().join("pipe.tar.gz"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["call", echo, "on-http-request", "--input", pipe],
        &["replay", echo, "--recording", pipe],
        &["verify-webhook", "echo", "--input", pipe],
        &["install", pipe, "--yes"],
        &["config", "check", "--config", pipe],
    ];
    for command in commands {
        let ran = place.run(command);
        assert!(ran.code != Some(0) && ran.err.contains("not a regular file"), "{command:?}: {}", ran.err);
    }
}

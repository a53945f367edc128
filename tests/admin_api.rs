//! The admin API of a running host: who may ask, what it returns, and how the command line finds it.

mod cli_support;
mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use cli_support::{Place, RunningHost};
use serde_json::{Value, json};
use support::client::{self, Reply};

const TOKEN: &str = "a token of the admin API";

/// A host whose admin API is at a free port too, and that port's address.
fn host(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> (RunningHost, SocketAddr) {
    let host = place.host(&[&["--admin", "127.0.0.1:0"], arguments].concat(), environment);
    let line = host.said.lines().find_map(|line| line.strip_prefix("  admin     http://"));
    let address = line.expect("it says where").parse().expect("an address");
    (host, address)
}

fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    client::request(address, "GET", path, headers, b"")
}

/// Sends bytes to a Unix socket and reads to the end of the connection.
fn exchange(place: &Place, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(place.state().join("admin.sock")).unwrap();
    // What is not read is an error of the writer.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

#[test]
fn the_socket_speaks_http_and_returns_what_json_shows() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    let response = exchange(&place, b"GET /api/v1/messages/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Tinclaw-Version: "), "{head}");
    assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, place.run(&["messages", "show", "1", "--json"]).json());
    assert_eq!(body["content"], "hello");
    host.stop();
}

#[test]
fn every_resource_can_be_read_and_what_is_not_one_is_refused_with_a_sentence() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    for (path, field) in [
        ("health", "channels"),
        ("messages", "messages"),
        ("messages?channel=webchat&state=acked&limit=1000", "messages"),
        ("replies?before=99&state=delivered", "replies"),
        ("replies/1", "content"),
        ("pairing", "pending"),
        ("tools", "tools"),
        ("reminders", "reminders"),
    ] {
        let reply = get(address, &format!("/api/v1/{path}"), &[]);
        assert!(reply.status == 200 && !reply.json()[field].is_null(), "{path}: {}", reply.json());
    }
    for (method, path, body, status, code, words) in [
        ("GET", "messages/99", "", 404, "not_found", "there is no message 99"),
        ("GET", "messages/-1", "", 400, "invalid", "is not an id"),
        ("GET", "messages?limit=1001", "", 400, "invalid", "give 1 to 1000"),
        ("GET", "messages?limit=0", "", 400, "invalid", "give 1 to 1000"),
        ("GET", "messages?state=lost", "", 400, "invalid", "there are pending, acked, dropped, dead"),
        ("GET", "messages?stat=dead", "", 400, "invalid", "unknown parameter `stat`"),
        ("GET", "everything", "", 404, "no_resource", "there is no resource GET /api/v1/everything"),
        ("POST", "messages", "", 405, "method_not_allowed", "its methods are GET, HEAD"),
        ("GET", "health?zzz=1", "", 400, "invalid", "unknown parameter `zzz`; there are none here"),
        ("GET", "messages?limit=1&limit=2", "", 400, "invalid", "duplicate parameter `limit`"),
        (
            "POST",
            "pairing/approve",
            "{\"channel\": \"echo\", \"code\": \"AAAAAAAA\"}",
            404,
            "not_found",
            "has this code",
        ),
        (
            "POST",
            "pairing/approve",
            "{\"channel\": \"echo\", \"code\": \"a\", \"code\": \"b\"}",
            400,
            "invalid",
            "the body: duplicate field `code`; remove one",
        ),
        (
            "POST",
            "channels/webchat/recording",
            "{\"seconds\": 0}",
            400,
            "invalid",
            "`seconds` must be 1 to 3600, not 0",
        ),
        ("POST", "channels/webchat/recording", "{\"second\": 1}", 400, "invalid", "did you mean `seconds`?"),
        ("POST", "messages/1/drop", "", 409, "unchanged", "it is not pending any more"),
        ("POST", "pairing/approve", "{\"channel\": \"a\"}", 400, "invalid", "`code` is missing"),
        ("POST", "pairing/approve", "nonsense", 400, "invalid", "the body: "),
        ("POST", "channels/absent/start", "", 404, "not_found", "there is no channel absent"),
        (
            "POST",
            "change",
            "{\"change\": \"disable\", \"channel\": \"absent\"}",
            404,
            "not_found",
            "there is no channel absent",
        ),
        ("POST", "channels/A%20B/start", "", 400, "invalid", "is not a channel name"),
    ] {
        let reply = client::request(address, method, &format!("/api/v1/{path}"), &[], body.as_bytes());
        let said = reply.json();
        assert!(reply.status == status && said["error"] == code, "{method} {path}: {said}");
        assert!(said["message"].as_str().unwrap().contains(words), "{method} {path}: {said}");
    }
    let replayed = client::request(address, "POST", "/api/v1/messages/1/redeliver", &[], b"");
    assert_eq!(replayed.json(), json!({"changed": true}));
    host.stop();
}

#[test]
fn health_and_readiness_are_open_and_say_nothing_else() {
    let place = Place::new();
    let token = [("TINCLAW_SECRET_ADMIN_TOKEN", TOKEN)];
    place.file("tinclaw.toml", "admin_token = \"admin_token\"\n");
    let (host, address) = host(&place, &[], &token);
    host.say("1", "hello");
    assert_eq!(get(address, "/healthz", &[]).json(), json!({"status": "ok"}));
    support::eventually("it is ready", || (get(address, "/readyz", &[]).status == 200).then_some(()));
    assert_eq!(get(address, "/readyz", &[("host", "probe.example")]).json(), json!({"status": "ready"}));
    assert_eq!(get(address, "/api/v1/health", &[]).status, 401);
    host.stop();
}

#[test]
fn a_host_whose_channel_does_not_start_is_not_ready() {
    let place = Place::new();
    let wat = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile/trap_in_on_start.wat");
    place.file("channels/trap.wasm", wat::parse_file(wat).unwrap());
    place.file("tinclaw.toml", "channels = [\"channels\"]\n");
    let (host, address) = host(&place, &[], &[]);
    let reply = get(address, "/readyz", &[]);
    let expected = json!({"status": "degraded", "reasons": ["channel_not_started"]});
    assert!(reply.status == 503 && reply.json() == expected, "{}", reply.json());
    assert_eq!(get(address, "/healthz", &[]).status, 200);
    host.stop();
}

/// Channels that were not loaded at all were not looked at: a host that ran half of them was ready.
#[test]
fn a_host_that_could_not_load_an_installed_channel_is_not_ready() {
    let place = Place::new();
    place.file("tinclaw.toml", "channels = [\"channels\"]\nwebchat = true\n");
    std::fs::create_dir(place.path().join("channels")).unwrap();
    let (first, address) = host(&place, &[], &[]);
    support::eventually("it is ready", || (get(address, "/readyz", &[]).status == 200).then_some(()));
    // A package that waits is not installed.
    place.run(&["install", "webhook"]).waiting();
    assert_eq!(get(address, "/readyz", &[]).status, 200);
    place.run(&["approve", "webhook", "--reject"]).good();
    // Nor is a file one that runs before somebody approves it, but somebody wants it to run.
    place.channel("everything");
    let reply = get(address, "/readyz", &[]);
    let expected = json!({"status": "degraded", "reasons": ["channel_not_loaded"]});
    assert!(reply.status == 503 && reply.json() == expected, "{}", reply.json());
    place.run(&["disable", "everything"]).good();
    assert_eq!(get(address, "/readyz", &[]).status, 200);
    first.stop();
}

/// Pages that are open everywhere wait all the time, over the connections that one address may have.
#[test]
fn requests_that_wait_for_a_change_leave_room_for_others() {
    const LIMIT: usize = 16;
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    support::eventually("it is ready", || (get(address, "/readyz", &[]).status == 200).then_some(()));
    let revision = || get(address, "/api/v1/changes", &[]).json()["revision"].as_u64().unwrap();
    let wait_for = |revision: u64| {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET /api/v1/changes?after={revision} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let has_response = |stream: &TcpStream| stream.peek(&mut [0; 1]).is_ok();
    let count = |streams: &[TcpStream]| streams.iter().filter(|stream| has_response(stream)).count();
    // Two past the limit: two of them are to ask again. What a start still changes ends the wait of all.
    let (now, mut waiting) = support::eventually("two are sent away", || {
        let now = revision();
        let waiting: Vec<TcpStream> = (0..LIMIT + 2).map(|_| wait_for(now)).collect();
        support::eventually("some have a response", || (count(&waiting) >= 2).then_some(()));
        let sent_away = count(&waiting);
        (sent_away == 2 && revision() == now).then_some((now, waiting))
    });
    // Far more than one address may have of connections: each that is sent away leaves its place.
    for _ in 0..3 * LIMIT {
        waiting.retain(|stream| !has_response(stream));
        waiting.push(wait_for(now));
        assert_eq!(get(address, "/healthz", &[]).status, 200);
    }
    assert_eq!(get(address, "/api/v1/health", &[]).status, 200);
    host.stop();
}

/// A page of any site could have made the browser of the operator send requests to the API.
#[test]
fn pages_of_other_sites_can_neither_read_nor_change_anything() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    let own = format!("http://{address}");
    let rebound = get(address, "/api/v1/health", &[("host", "evil.example")]);
    assert!(rebound.status == 403 && rebound.json()["error"] == "host", "{}", rebound.json());
    let change =
        |headers: &[(&str, &str)]| client::request(address, "POST", "/api/v1/messages/9/drop", headers, b"");
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://localhost:1")],
        &[("sec-fetch-site", "cross-site")],
    ] {
        let reply = change(headers);
        assert!(reply.status == 403 && reply.json()["error"] == "origin", "{headers:?}: {}", reply.json());
    }
    // There is no message 9.
    for headers in [&[][..], &[("origin", own.as_str()), ("sec-fetch-site", "same-origin")]] {
        assert_eq!(change(headers).status, 404, "{headers:?}");
    }
    assert!(get(address, "/api/v1/health", &[]).header("access-control-allow-origin").is_none());
    host.stop();
}

#[test]
fn with_a_token_only_who_knows_it_may_ask_and_the_command_line_gives_it() {
    let place = Place::new();
    place.file("tinclaw.toml", "admin_token = \"admin_token\"\n");
    let refused = place.run(&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("there is no secret admin_token"),
        "{}",
        refused.err
    );
    let (host, address) = host(&place, &[], &[("TINCLAW_SECRET_ADMIN_TOKEN", TOKEN)]);
    for header in ["Bearer another token of it", "Bearer", "Basic YTpi"] {
        let reply = get(address, "/api/v1/health", &[("authorization", header)]);
        assert!(reply.status == 401 && reply.json()["error"] == "token", "{header}: {}", reply.json());
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"tinclaw\""));
    }
    let right = format!("Bearer {TOKEN}");
    assert_eq!(get(address, "/api/v1/health", &[("authorization", &right)]).status, 200);
    // The socket in the state directory needs none: its file is for the user of the host alone.
    assert_eq!(place.run(&["health", "--json"]).json()["store"]["state"], "up");
    let url = format!("http://{address}");
    let without = place.run(&["--host", &url, "health"]);
    assert!(without.code == Some(1) && without.err.contains("TINCLAW_ADMIN_TOKEN"), "{}", without.err);
    let mut with = place.command(&["messages", "list", "--json"]);
    let output = with.env("TINCLAW_ADMIN_TOKEN", TOKEN).env("TINCLAW_HOST", &url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = host.stop();
    assert!(!log.contains(TOKEN), "{log}");
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let place = Place::new();
    let refused = place.run(&["run", "--admin", "0.0.0.0:0"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains("can be reached from other machines; name the secret"), "{}", refused.err);
    assert_eq!(place.run(&["run", "--admin", "9191"]).code, Some(2));
}

#[test]
fn the_api_can_be_at_a_socket_of_its_own() {
    let place = Place::new();
    let socket = place.path().join("own.sock");
    let address = format!("unix:{}", socket.display());
    let host = place.host(&["--admin", &address], &[]);
    assert!(host.said.contains(&format!("  admin     {address}\n")), "{}", host.said);
    let socket_path = socket.to_str().unwrap();
    for named in [address.as_str(), socket_path, place.state().to_str().unwrap()] {
        assert_eq!(
            place.run(&["--host", named, "health", "--json"]).json()["store"]["state"],
            "up",
            "{named}"
        );
    }
    host.stop();
    assert!(!socket.exists());
}

/// Clients of the control socket were served one after the other, each with 5 seconds: `tinclaw health` gave up after 30
/// seconds when 300 idle ones were connected.
#[test]
fn idle_and_slow_clients_keep_no_command_waiting() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    let connect = || UnixStream::connect(place.state().join("admin.sock")).unwrap();
    let idle: Vec<UnixStream> = (0..300).map(|_| connect()).collect();
    assert_eq!(place.run(&["health", "--json"]).json()["store"]["state"], "up");
    // Beyond the bound the one that has waited longest is told so and closed.
    let mut first = &idle[0];
    let mut said = String::new();
    first.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    drop(idle);
    // Those that send half a request wait for the other half, alone.
    let slow: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    for mut client in &slow {
        client
            .write_all(b"POST /api/v1/pairing/approve HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{")
            .unwrap();
    }
    assert_eq!(place.run(&["health", "--json"]).json()["store"]["state"], "up");
    host.stop();
}

/// A request whose work lasts must not be worked on by the thread that serves all clients.
#[test]
fn a_request_that_takes_long_keeps_no_other_waiting() {
    let place = Place::new();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let rewrite = format!("\"a.many.example\" = \"http://{}\"", service.local_addr().unwrap());
    let configure = |channel: &str| {
        let text = format!(
            "channels = [\"channels\"]\n[http_rewrite]\n{rewrite}\n[channel.everything.config]\n{channel}"
        );
        place.file("tinclaw.toml", text);
    };
    place.channel("everything");
    configure("");
    let (host, address) = host(&place, &[], &[]);
    let start = || client::request(address, "POST", "/api/v1/channels/everything/start", &[], b"");
    assert_eq!(start().status, 200);
    // The new version's `on-start` lasts until the service responds.
    configure(
        "on_start = { do = \"http-request\", method = \"GET\", url = \"https://a.many.example/v1/x\", headers_json = \"{}\" }",
    );
    std::thread::scope(|scope| {
        let slow = scope.spawn(start);
        let (mut asks, _) = service.accept().unwrap();
        let health = get(address, "/api/v1/health", &[]);
        assert!(health.status == 200 && !slow.is_finished(), "{}", health.json());
        asks.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(slow.join().unwrap().status, 200);
    });
    host.stop();
}

#[test]
fn sixty_four_clients_are_served_at_a_time_and_one_more_takes_the_place_of_the_oldest() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    let connect = || UnixStream::connect(place.state().join("admin.sock")).unwrap();
    let mut clients: Vec<UnixStream> = (0..64).map(|_| connect()).collect();
    let response = |mut client: UnixStream| {
        client.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response
    };
    // Who came last is served when all have been accepted.
    for client in [clients.pop().unwrap(), clients.remove(0)] {
        let response = response(client);
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    clients.extend([connect(), connect(), connect()]);
    let mut told = String::new();
    clients.remove(0).read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    let response = response(clients.remove(0));
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    host.stop();
}

#[test]
fn misbehaving_clients_get_a_response_or_are_closed_and_never_keep_the_host_from_ending() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    for (request, status) in [
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        ("{\"ask\":\"health\"}\n\n", "HTTP/1.1 400 "),
        (
            "POST /api/v1/pairing/approve HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n",
            "HTTP/1.1 413 ",
        ),
        ("GET /api/v1/health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 "),
    ] {
        let response = exchange(&place, request.as_bytes());
        assert!(response.starts_with(status), "{request}: {response}");
    }
    let largest = format!("{{\"channel\": \"{}\"}}", "x".repeat(65_536 - 15));
    let head = "POST /api/v1/pairing/approve HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n";
    let response = exchange(&place, format!("{head}{largest}").as_bytes());
    assert!(response.starts_with("HTTP/1.1 400 ") && response.contains("`code` is missing"), "{response}");
    // Cut off somewhere after the limit.
    let flood = exchange(&place, &vec![b'x'; 1 << 20]);
    assert!(flood.is_empty() || flood.starts_with("HTTP/1.1 4"), "{flood}");
    assert_eq!(place.run(&["health", "--json"]).json()["store"]["state"], "up");
    let _silent = UnixStream::connect(place.state().join("admin.sock")).unwrap();
    host.stop();
}

#[test]
fn a_command_says_where_it_looked_for_the_host() {
    let place = Place::new();
    let socket = place.state().join("admin.sock");
    for command in [&["health"][..], &["messages", "list"]] {
        let ran = place.run(command);
        let looked = format!("looked at {} (not there)", socket.display());
        assert!(ran.code == Some(1) && ran.err.contains("no host is running"), "{}", ran.err);
        assert!(ran.err.contains(&looked), "{}", ran.err);
    }
    let ran = place.run(&["--host", "http://127.0.0.1:1", "messages", "list"]);
    let expected = "no host is running there: looked at http://127.0.0.1:1 (nobody listens)";
    assert!(ran.code == Some(1) && ran.err.contains(expected), "{}", ran.err);
    let ran = place.run(&["--host", "shelf", "health"]);
    assert!(ran.code == Some(2) && ran.err.contains("--host: \"shelf\" is no host"), "{}", ran.err);
    // Without a state directory of its own, the service's is looked at.
    let mut command = place.command(&["health"]);
    let output = command.env_remove("TINCLAW_STATE_DIR").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains(".local/state/tinclaw/admin.sock") && said.contains("/var/lib/tinclaw/admin.sock"),
        "{said}"
    );
}

/// Something that listens at a socket and responds to everything with these bytes.
fn impostor(place: &Place, name: &str, response: &'static [u8]) {
    std::fs::create_dir_all(place.state()).unwrap();
    let listener = UnixListener::bind(place.state().join(name)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The request fits into one read.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(response);
        }
    });
}

#[test]
fn a_host_of_another_version_gets_a_clear_error() {
    let older = Place::new();
    impostor(&older, "control.sock", b"{\"error\":\"the request is not understood\"}\n");
    let ran = older.run(&["health"]);
    assert!(ran.code == Some(1) && ran.err.contains("an older tinclaw runs at"), "{}", ran.err);
    let newer = Place::new();
    let response = b"HTTP/1.1 404 Not Found\r\nTinclaw-Version: 99.0.0\r\nContent-Length: 23\r\n\r\n{\"error\":\"no_resource\"}";
    impostor(&newer, "admin.sock", response);
    let ran = newer.run(&["messages", "list"]);
    let expected = format!("is tinclaw 99.0.0 and this is tinclaw {}", env!("CARGO_PKG_VERSION"));
    assert!(ran.code == Some(1) && ran.err.contains(&expected), "{}", ran.err);
    let other = Place::new();
    impostor(&other, "admin.sock", b"220 mail.example ESMTP\r\n");
    let ran = other.run(&["health"]);
    assert!(ran.code == Some(1) && ran.err.contains("is something else listening there?"), "{}", ran.err);
}

/// One line of `/metrics` that is no comment: name, labels, value.
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect("labels end");
    let pairs = labels.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (label, value) = pair.split_once('=').expect("a label has a value");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (label.to_owned(), value.expect("it is quoted").to_owned())
    });
    (name.to_owned(), pairs.collect(), value.parse().expect("a number"))
}

#[test]
fn metrics_can_be_read_by_prometheus_and_their_labels_are_bounded() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    let reply = get(address, "/metrics", &[]);
    assert_eq!(
        reply.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut types = std::collections::BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut values = std::collections::BTreeMap::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("name and type");
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} is declared once");
        }
        if line.starts_with('#') {
            continue;
        }
        assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "a series is there once: {line}");
        let (name, labels, value) = sample(line);
        let family = ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let kind = family.and_then(|family| types.get(family)).or(types.get(&name));
        let kind = kind.unwrap_or_else(|| panic!("{name} has no type"));
        assert!(name.starts_with("tinclaw_"), "{name}");
        assert!(kind != "counter" || (name.ends_with("_total") && value >= 0.0), "{line}");
        for (label, _) in &labels {
            let known =
                ["channel", "callback", "result", "lane", "state", "status", "direction", "le", "version"];
            assert!(known.contains(&label.as_str()), "{line}");
        }
        values.insert((name, labels), value);
    }
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        values.get(&(name.to_owned(), labels)).copied().unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let webchat = ("channel", "webchat");
    assert_eq!(value("tinclaw_messages_total", &[webchat]), 1.0);
    assert!(value("tinclaw_fuel_total", &[webchat]) > 1_000.0);
    let requests = [webchat, ("callback", "on-http-request"), ("result", "succeeded")];
    assert!(value("tinclaw_callbacks_total", &requests) >= 2.0);
    assert!(value("tinclaw_webhook_responses_total", &[webchat, ("status", "2xx")]) >= 2.0);
    assert!(value("tinclaw_resident_memory_bytes", &[]) > 1e6);
    assert!(value("tinclaw_uptime_seconds", &[]) > 0.0);
    assert_eq!(value("tinclaw_store_state", &[("state", "up")]), 1.0);
    let commits = value("tinclaw_store_commit_seconds_count", &[]);
    assert!(commits >= 1.0 && value("tinclaw_store_commit_seconds_bucket", &[("le", "+Inf")]) == commits);
    host.stop();
}

#[test]
fn health_tells_of_the_host_its_store_and_the_budget_of_each_channel() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    host.say("1", "hello");
    host.hears("hello");
    let health = place.run(&["health", "--json"]).json();
    assert_eq!(health["host"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["host"]["memory_bytes"].as_u64().unwrap() > 1 << 20, "{health}");
    assert!(health["store"]["commit_us"]["max"].as_u64() >= health["store"]["commit_us"]["mean"].as_u64());
    let budget = &health["channels"][0]["budget"];
    let number = |field: &str| budget[field].as_u64().unwrap_or_else(|| panic!("{field}: {budget}"));
    assert!(0 < number("max_fuel") && number("max_fuel") <= number("fuel"), "{budget}");
    assert!(number("max_fuel") < number("fuel_limit"), "{budget}");
    assert!(0 < number("max_memory_bytes") && number("max_memory_bytes") <= number("memory_limit_bytes"));
    assert!(number("stored_bytes") > 5, "the message and the workspace: {budget}");
    let history = get(address, "/api/v1/history", &[]).json();
    assert_eq!(history["interval_ms"], 10_000);
    let samples = history["memory_bytes"].as_array().unwrap().len();
    assert!(samples >= 1 && history["waiting"].as_array().unwrap().len() == samples, "{history}");
    host.stop();
}

#[test]
fn a_request_waits_for_a_change_and_gets_it() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    let changes = |after: &Value| {
        get(address, &format!("/api/v1/changes?after={after}"), &[]).json()["revision"].clone()
    };
    let revision = changes(&json!(0));
    assert!(revision.as_u64().unwrap() > 0);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| changes(&revision));
        host.say("1", "hello");
        assert_ne!(waiting.join().unwrap(), revision, "a message has arrived meanwhile");
    });
    // Waiting requests take no thread: others are served meanwhile, and the end of the host ends them.
    let target = format!("/api/v1/changes?after={}", changes(&json!(0)));
    std::thread::scope(|scope| {
        let wait = || client::try_request(address, "GET", &target, &[], b"");
        let waiting: Vec<_> = (0..20).map(|_| scope.spawn(wait)).collect();
        assert_eq!(get(address, "/api/v1/health", &[]).status, 200);
        host.stop();
        waiting.into_iter().for_each(|request| drop(request.join().unwrap()));
    });
}

#[test]
fn messages_are_searched_and_the_log_is_filtered() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    for (id, text) in [("1", "apples"), ("2", "Pears and APPLES"), ("3", "plums")] {
        host.say(id, text);
        host.hears(text);
    }
    let texts = |query: &str| {
        let found = get(address, &format!("/api/v1/messages?{query}"), &[]).json()["messages"].clone();
        let rows = found.as_array().unwrap().clone();
        rows.iter().map(|row| row["excerpt"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("text=apples"), ["Pears and APPLES", "apples"]);
    assert_eq!(texts("text=apples&limit=1"), ["Pears and APPLES"]);
    assert!(texts("text=cherries").is_empty());
    let lines = |query: &str| get(address, &format!("/api/v1/log?{query}"), &[]).json()["lines"].clone();
    let ready = lines("text=IS%20READY&level=info");
    assert!(ready[0]["text"].as_str().unwrap().contains("channel webchat is ready"), "{ready}");
    let number = ready[0]["number"].as_u64().unwrap();
    assert!(lines(&format!("text=is%20ready&after={number}")).as_array().unwrap().is_empty());
    assert!(lines("text=is%20ready&level=error").as_array().unwrap().is_empty());
    assert_eq!(get(address, "/api/v1/log?level=loud", &[]).status, 400);
    host.stop();
}

#[test]
fn the_page_is_open_and_allows_nothing_but_its_own_script() {
    let place = Place::new();
    place.file("tinclaw.toml", "admin_token = \"admin_token\"\n");
    let (host, address) = host(&place, &[], &[("TINCLAW_SECRET_ADMIN_TOKEN", TOKEN)]);
    let reply = get(address, "/", &[]);
    let policy = reply.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let page = String::from_utf8(reply.body).unwrap();
    assert!(page.starts_with("<!doctype html>") && !page.contains("webchat"), "it says nothing of the host");
    host.stop();
}

#[test]
fn the_status_screen_is_drawn_again_when_something_changes() {
    let place = Place::new();
    let host = place.host(&[], &[]);
    let plain = place.run(&["status"]);
    assert!(plain.out.starts_with("host      tinclaw ") && !plain.out.contains('\u{1b}'), "{}", plain.out);
    let mut watching =
        place.command(&["status", "--watch"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut out = watching.stdout.take().unwrap();
    let screen = std::sync::Mutex::new(String::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = out.read(&mut piece) {
                screen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        let last = || screen.lock().unwrap().rsplit("\u{1b}[H\u{1b}[J").next().unwrap_or_default().to_owned();
        support::eventually("it is drawn", || last().contains("webchat  ready").then_some(()));
        assert!(!last().contains("last success"), "nobody has written yet: {}", last());
        host.say("1", "hello");
        support::eventually("it is drawn again", || last().contains("last success").then_some(()));
        watching.kill().unwrap();
        watching.wait().unwrap();
    });
    host.stop();
}

/// An address that had 32 requests waiting for a change got 503 for everything else, health checks too.
#[test]
fn health_responds_to_an_address_with_many_waiting_requests() {
    let place = Place::new();
    let (host, address) = host(&place, &[], &[]);
    let waiting: Vec<std::net::TcpStream> = (0..32)
        .map(|_| {
            let revision = get(address, "/api/v1/changes", &[]).json()["revision"].clone();
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let head = format!("GET /api/v1/changes?after={revision} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        assert_eq!(get(address, "/healthz", &[]).status, 200);
    }
    drop(waiting);
    host.stop();
}

/// The API said "its log says why", and the log said nothing.
#[test]
fn the_log_says_why_the_admin_token_cannot_be_read() {
    let place = Place::new();
    place.run_with_input(&["secrets", "set", "admin_token"], "0123456789abcdef").good();
    place.file("tinclaw.toml", "admin_token = \"admin_token\"\n");
    let (host, address) = host(&place, &[], &[]);
    let ask = || get(address, "/api/v1/health", &[("authorization", "Bearer 0123456789abcdef")]).status;
    assert_eq!(ask(), 200);
    place.run(&["secrets", "remove", "admin_token"]).good();
    support::eventually("the token is gone", || (ask() == 503).then_some(()));
    let log = host.stop();
    assert!(log.contains("admin_token: the secret admin_token is not stored"), "{log}");
}

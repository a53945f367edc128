//! What goes to the log: attempts to leak, by name; and no secret at any level that the caps let through.

use std::sync::Mutex;

use log::{LevelFilter, Log, Metadata, Record};
use serde_json::json;

use super::{KEY, Setup, Upstream, assert_no_secret, get, request, response, send};
use crate::egress::OutboundHttpSettings;
use crate::test_support::own_process::is_alone;

struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let cap = OutboundHttpSettings::LOG_CAPS
            .iter()
            .find(|(target, _)| metadata.target().split("::").next() == Some(target));
        cap.is_none_or(|(_, level)| metadata.level() <= *level)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.lock().unwrap().push(format!("{} {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn the_log_shows_attempts_to_leak_and_never_a_secret() {
    // A process has one logger, and every test writes to it.
    if !is_alone(module_path!(), "the_log_shows_attempts_to_leak_and_never_a_secret") {
        return;
    }
    log::set_logger(&KEPT).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let location = format!("Location: https://h/{KEY}\r\n");
    let upstream = Upstream::fixed(response(302, &location, KEY));
    let http = json!({
        "allowlist": [{"host": "api.example.com"}],
        "credentials": {
            "t": {"secret_name": "token", "location": {"type": "bearer"}, "host_patterns": ["api.example.com"]},
            "k": {"secret_name": "key", "location": {"type": "query_param", "name": "k"}, "host_patterns": ["api.example.com"]}
        }
    });
    let channel = Setup::new(http).rewrite("api.example.com", &upstream).build();
    send(&channel, get("https://api.example.com/{KEY}")).unwrap();
    assert!(upstream.only().line.contains(KEY));
    send(&channel, request("POST", "https://api.example.com/", "{}", Some(KEY.as_bytes()))).unwrap();
    send(&channel, get(&format!("https://api.example.com/?{KEY}"))).unwrap_err();
    let lines = KEPT.0.lock().unwrap().clone();
    assert!(lines.iter().any(|line| line.starts_with("ureq")), "ureq logs something: {lines:#?}");
    for said in [
        "URL contains the value of the secret 'key': refused",
        "body contains the value of the secret 'key': sent without it",
    ] {
        let line = format!("channel test: a request's {said}");
        assert!(lines.iter().any(|logged| logged.contains(&line)), "{line}: {lines:#?}");
    }
    // A guest that tries for ever fills no log.
    for _ in 0..100 {
        send(&channel, get(&format!("https://api.example.com/?{KEY}"))).unwrap_err();
    }
    let refused = || KEPT.0.lock().unwrap().iter().filter(|line| line.contains("'key'")).count();
    assert!(refused() <= 12, "{}", refused());
    assert_no_secret(&lines.join("\n"));
}

//! Starting a host: HTTP is served while channels are loaded, and one channel does not wait for another.

mod support;

use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use support::temp_dir::TempDir;
use support::{client, eventually, fixtures};
use tinclaw::HostError;

/// What `echo` checks requests with: one without it is 401 where the channel runs.
const SECRETS: [&str; 1] = ["echo_webhook_secret"];

/// A guest that was slow to prepare kept the host from listening: providers were refused their connections, and some turn a
/// webhook off for that.
#[test]
fn requests_get_503_while_their_channel_is_loaded_and_others_run() {
    let directory = TempDir::new();
    for file in ["echo.wasm", "echo.capabilities.json", "everything.wasm", "everything.capabilities.json"] {
        std::fs::copy(fixtures::path(file), directory.path().join(file)).expect("a copy");
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let builder = fixtures::host(&SECRETS, &[]).listen_on(listener).channels_from(directory.path());
    let builder = builder.before_start(move |channel| {
        if channel.name().as_str() == "everything" {
            let _ = held.lock().expect("no panic").recv();
        }
    });
    let post = |path: &str| client::request(address, "POST", path, &[], b"{}");
    thread::scope(|scope| {
        let host = scope.spawn(|| builder.start());
        // Refused for want of a secret: it runs.
        eventually("the other channel runs", || (post("/webhook/echo").status == 401).then_some(()));
        let loading = post("/webhook/everything");
        assert_eq!(loading.status, 503);
        assert!(loading.header("retry-after").is_some());
        assert_eq!(post("/webhook/unknown").status, 404);
        drop(release);
        let host = host.join().expect("no panic").expect("the host starts");
        assert_eq!(host.health().expect("health").channels.len(), 2);
        eventually("it runs too", || (post("/webhook/everything").status != 503).then_some(()));
    });
}

/// The paths of the second one replaced those of the first, which then responded with 503 for ever.
#[test]
fn a_second_channel_of_a_name_is_refused_and_the_first_keeps_its_paths() {
    let runtime = fixtures::runtime();
    let host = fixtures::host(&SECRETS, &[])
        .channel(fixtures::channel(&runtime, "echo"))
        .start()
        .expect("the host starts");
    let address = host.local_addr().expect("an address");
    let status = || client::request(address, "POST", "/webhook/echo", &[], b"{}").status;
    eventually("the channel runs", || (status() == 401).then_some(()));
    let second = fixtures::channel(&runtime, "echo");
    let error = host.manager().add(Box::new(second)).expect_err("the name is taken");
    assert!(matches!(error, HostError::Add(_)), "{error}");
    assert_eq!(status(), 401);
}

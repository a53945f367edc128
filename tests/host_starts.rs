//! Starting a host: HTTP is served while channels are loaded, and one channel does not wait for another.

mod support;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use support::temp_dir::TempDir;
use support::{client, eventually, fixtures};
use tinclaw::agent::{Agent, EchoAgent};
use tinclaw::{Host, HostBuilder, HostError, ManagerConfig};

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
    let error = host.add(second).expect_err("the name is taken");
    assert!(matches!(error, HostError::Add(_)), "{error}");
    assert_eq!(status(), 401);
}

// `agent::Agent` was called the way to have an agent that stops with its host, and no function took one.
#[test]
fn an_agent_replies_from_the_start_of_its_host_and_ends_with_it() {
    struct Ending(mpsc::Sender<&'static str>);
    impl Agent for Ending {
        fn serve(&self, host: &Host) {
            EchoAgent.serve(host);
            self.0.send("the messages have ended").expect("the test waits");
        }

        fn stop(&self) {
            self.0.send("it is to stop").expect("the test waits");
        }

        fn describe(&self) -> String {
            "echo".to_owned()
        }
    }
    let (said, heard) = mpsc::channel();
    let runtime = fixtures::runtime();
    let builder = fixtures::host(&[], &[]).channel(fixtures::channel(&runtime, "webchat"));
    let host = builder.agent(Ending(said)).start().expect("the host starts");
    let address = host.local_addr().expect("an address");
    let body = br#"{"visitor": "0123456789abcdef0123", "conversation": "1", "text": "hello"}"#;
    drop(client::request(address, "POST", "/chat/send", &[("content-type", "application/json")], body));
    let is_serving = || host.health().ok()?.agent.is_some().then_some(());
    eventually("the agent serves", is_serving);
    assert!(heard.try_recv().is_err());
    thread::scope(|scope| {
        let waits = scope.spawn(|| host.wait());
        host.stop();
        waits.join().expect("no panic");
    });
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["it is to stop", "the messages have ended"]);
    drop(host);
    assert!(heard.recv().is_err(), "it is asked once, and then let go");
}

#[test]
fn an_agent_may_be_given_to_a_host_that_runs_and_no_agent_keeps_one_from_ending() {
    let host = HostBuilder::new(ManagerConfig::default()).start().expect("the host starts");
    host.wait();
    host.serve_with(Arc::new(EchoAgent)).expect("a thread");
    host.shutdown();
}

// `manager(config)` after `state_dir` dropped the directory: state was in memory, and lost, for a wrong order of calls.
#[cfg(feature = "sqlite")]
#[test]
fn a_state_directory_holds_whatever_the_configuration_says() {
    let directory = TempDir::new();
    let host = HostBuilder::new(ManagerConfig::default()).state_dir(directory.join("state")).start();
    drop(host.expect("the host starts"));
    assert!(directory.join("state/tinclaw.db").exists());
}

// What was in the error could not be named outside of the crate.
#[test]
fn an_address_that_is_taken_is_a_variant_of_its_own() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let taken = listener.local_addr().expect("an address");
    let error = Host::builder().listen(taken).start().err().expect("it is taken");
    assert!(
        matches!(&error, HostError::Listen { address, source } if *address == taken && source.kind() == ErrorKind::AddrInUse),
        "{error:?}"
    );
}

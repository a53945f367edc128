//! Another program takes the place of the one that runs, while webhooks come in.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::cli_support::Place;
use crate::home::*;
use crate::support::{client, eventually};

#[test]
fn ten_takeovers_under_a_load_of_webhooks_refuse_no_connection_and_no_request() {
    let place = home();
    place.channel("everything");
    let mut host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    let (address, is_over, sent) = (host.address, AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (is_over, sent) = (&is_over, &sent);
            scope.spawn(move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let task = format!(
                        r#"{{"do": "workspace-write", "path": "sent/{thread}", "content": "{number}"}}"#
                    );
                    let reply =
                        client::try_request(address, "POST", "/webhook/everything", &[], task.as_bytes());
                    let status = reply.map(|reply| reply.status).map_err(|error| error.to_string());
                    is_over.fetch_or(status != Ok(200), Ordering::Relaxed);
                    assert_eq!(status, Ok(200), "request {number} of thread {thread}");
                    number += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 0..10 {
            let before = sent.load(Ordering::Relaxed);
            let next = place.host(&["--takeover"], &[]);
            assert_eq!(next.address, address, "it has the same socket");
            assert_eq!(host.wait().code(), Some(0), "{number}: {}", host.log());
            assert!(next.log().contains("taking over"), "{}", next.log());
            host = next;
            eventually("webhooks go on", || {
                let has_failed = is_over.load(Ordering::Relaxed);
                (has_failed || sent.load(Ordering::Relaxed) > before + 3).then_some(())
            });
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(sent.load(Ordering::Relaxed) > 30);
    assert_eq!(post(&host), 200);
    host.stop();
}

/// Asks a host for its socket as another one does. Reads let go of the socket itself, which no read returns.
fn ask(place: &Place) -> UnixStream {
    let mut asks = UnixStream::connect(place.state().join("takeover.sock")).unwrap();
    asks.read_exact(&mut [0]).unwrap();
    asks
}

/// A successor that was killed after it had acknowledged the socket left no host until somebody started one.
#[test]
fn a_successor_that_dies_at_any_point_leaves_the_old_host_serving_under_load() {
    let place = home();
    place.channel("everything");
    let mut host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    let (address, is_over, sent) = (host.address, AtomicBool::new(false), AtomicUsize::new(0));
    let stops = || host.log().matches("stopping; a second signal").count();
    let starts_again = || host.log().matches("this one starts again").count();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let reply = client::try_request(
                        address,
                        "POST",
                        "/webhook/everything",
                        &[],
                        b"{\"do\": \"none\"}",
                    );
                    let status = reply.map(|reply| reply.status).map_err(|error| error.to_string());
                    is_over.fetch_or(status != Ok(200), Ordering::Relaxed);
                    assert_eq!(status, Ok(200));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let goes_on = |point: &str| {
            let before = sent.load(Ordering::Relaxed);
            eventually(&format!("{point}: webhooks go on: {}", host.log()), || {
                let has_failed = is_over.load(Ordering::Relaxed);
                (has_failed || sent.load(Ordering::Relaxed) > before + 6).then_some(())
            });
            eventually(point, || place.state().join("takeover.sock").exists().then_some(()));
        };
        goes_on("at first");
        drop(ask(&place));
        goes_on("before it has acknowledged the socket");
        assert_eq!((stops(), starts_again()), (0, 0), "the host did not stop for that");
        let mut asks = ask(&place);
        asks.write_all(b"T").unwrap();
        drop(asks);
        eventually("it starts again", || (starts_again() == 1).then_some(()));
        goes_on("after it has acknowledged the socket");
        let mut asks = ask(&place);
        asks.write_all(b"T").unwrap();
        asks.read_exact(&mut [0; 8]).unwrap();
        // Nobody serves now. What comes waits.
        drop(asks);
        eventually("it starts again", || (starts_again() == 2).then_some(()));
        goes_on("after the old host has stopped");
        // A real one, which is killed when it has the store.
        let mut takes = place.command(&["run", "--takeover"]);
        let mut next = takes.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("it has the store", || {
            let holder = std::fs::read_to_string(place.state().join("tinclaw.lock")).unwrap();
            (holder.trim() == next.id().to_string()).then_some(())
        });
        next.kill().unwrap();
        next.wait().unwrap();
        eventually("it starts again", || (starts_again() == 3).then_some(()));
        goes_on("after it had opened the store");
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(!host.has_ended(), "all of it is one process");
    assert_eq!(post(&host), 200);
    let next = place.host(&["--takeover"], &[]);
    assert_eq!(next.address, address, "it can be taken over after all that");
    assert_eq!(host.wait().code(), Some(0), "{}", host.log());
    next.stop();
}

#[test]
fn without_a_host_a_takeover_is_a_start() {
    let place = home();
    place.channel("everything");
    let host = place.host(&["--takeover"], &[]);
    wait_for_version(&place, "Everything");
    assert!(host.log().contains("no host runs that could be taken over"), "{}", host.log());
    host.stop();
}

/// As systemd does it (`sd_listen_fds(3)`): the socket is descriptor 3, and variables say so.
#[test]
fn a_socket_that_systemd_passes_on_is_served() {
    let place = home();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let program = place.command(&[]).get_program().to_owned();
    // A shell puts the socket, which is its standard input, at its place, and its own process id into the variable before it becomes the
    // program.
    let script = format!(
        "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec {} run --listen 127.0.0.1:1",
        program.to_str().unwrap()
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear().env("HOME", place.path());
    shell.env("TINCLAW_STATE_DIR", place.state()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.stdin(OwnedFd::from(listener)).spawn().unwrap();
    let reply = client::request(address, "GET", "/chat", &[], b"");
    let status = reply.status;
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    eventually("it ends", || child.try_wait().unwrap());
    assert!(status == 200 || status == 503, "{status}");
}

/// A successor that found out too late that it could not start had the host stop, and nobody served.
#[test]
fn a_successor_that_cannot_start_leaves_the_running_host_as_it_is() {
    let place = home();
    let host = place.host(&[], &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = "webchat = true\nadmin = \"127.0.0.1:0\"\nadmin_token = \"nobody_stored_it\"\n";
    let config = place.file("successor.toml", settings);
    let ran = place.run(&["run", "--takeover", "--config", text(&config)]);
    assert!(ran.code == Some(1) && ran.err.contains("there is no secret nobody_stored_it"), "{}", ran.err);
    let config = place.file("successor.toml", "webchat = true\ntools = [\"no-such-directory\"]\n");
    let ran = place.run(&["run", "--takeover", "--config", text(&config)]);
    assert!(ran.code == Some(1) && ran.err.contains("no-such-directory"), "{}", ran.err);
    assert!(!host.log().contains("stopping"), "{}", host.log());
    // Who has the address of the admin API cannot be known before; the host does without.
    let address = taken.local_addr().unwrap().to_string();
    let next = place.host(&["--takeover", "--admin", &address], &[]);
    assert_eq!(next.address, host.address);
    assert!(next.log().contains("the host runs without it"), "{}", next.log());
    next.stop();
}

/// A second one found the socket shut and the address taken, said that no host ran, and ended.
#[test]
fn a_second_takeover_waits_for_the_host_that_stops() {
    let place = home();
    place.channel("everything");
    let mut host = place.host(&[], &[]);
    wait_for_version(&place, "Everything");
    // A client in the midst of its request keeps the host from stopping.
    let mut slow = std::net::TcpStream::connect(host.address).unwrap();
    slow.write_all(b"POST /webhook/everything HTTP/1.1\r\nhost: a\r\n").unwrap();
    let address = host.address.to_string();
    let start = |log: &str| {
        let log = place.path().join(log);
        let arguments = ["run", "--takeover", "--listen", &address, "--log-file", text(&log)];
        let mut command = place.command(&arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let says = |log: &str, words: &str| {
        eventually(&format!("{log} says {words}"), || {
            let log = std::fs::read_to_string(place.path().join(log)).ok()?;
            log.contains(words).then_some(())
        });
    };
    let mut first = start("first.log");
    says("first.log", "taking over");
    let mut second = start("second.log");
    says("second.log", "waiting for the running host");
    drop(slow);
    assert_eq!(host.wait().code(), Some(0));
    // The second one takes over from the first one.
    let ended = eventually("the first one ends", || first.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    says("second.log", "taking over");
    assert_eq!(post(&host), 200);
    let id = second.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    assert_eq!(eventually("it ends", || second.try_wait().unwrap()).code(), Some(0));
}

/// It said that the address was taken, and to choose another one.
#[test]
fn a_second_host_with_the_same_state_names_the_takeover() {
    let place = home();
    let host = place.host(&[], &[]);
    let ran = place.run(&["run", "--listen", &host.address.to_string()]);
    let process = format!("(process {})", host.process());
    assert!(ran.code == Some(1) && ran.err.contains(&process), "{}", ran.err);
    assert!(ran.err.contains("`tinclaw run --takeover` takes its place"), "{}", ran.err);
    host.stop();
}

/// It ended with `Interrupted system call`.
#[test]
fn a_signal_ends_the_wait_for_a_host_in_words() {
    let place = home();
    std::fs::create_dir_all(place.state()).unwrap();
    // A host that gives its socket to nobody.
    let deaf = std::os::unix::net::UnixListener::bind(place.state().join("takeover.sock")).unwrap();
    let mut command = place.command(&["run", "--takeover", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let _asks = deaf.accept().unwrap();
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("a signal ended the wait for the running host"), "{said}");
}

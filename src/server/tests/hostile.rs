//! Clients that mean no good: others do not notice them, and nothing of them stays.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::server::{Response, ServerLimits};
use crate::test_support::own_process::{is_alone, test_in_a_child};

#[test]
fn four_hundred_slow_connections_do_not_delay_others() {
    let server = start(ServerLimits::default(), describe);
    let address = server.local_addr();
    let mut slow: Vec<TcpStream> = (0..400).map(|_| slow_connection(address)).collect();
    for round in 0..20 {
        for stream in slow.iter_mut().skip(round).step_by(20) {
            // Those that were closed for newer ones reconnect.
            if stream.write_all(b"x").is_err() {
                *stream = slow_connection(address);
            }
        }
        assert_eq!(status(&get(address, "/")), 200, "round {round}");
    }
    assert!(server.stats().evicted >= 144);
    assert!(server.stats().connections <= 256 + 32);
    drop(slow);
    eventually("all are gone", || server.stats().connections == 0);
}

fn slow_connection(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(b"POST / HTTP/1.1\r\nX-Slow: ").unwrap();
    stream
}

#[test]
fn misbehaving_clients_leave_nothing_behind() {
    if !is_alone(module_path!(), "misbehaving_clients_leave_nothing_behind") {
        return;
    }
    let server = start(ServerLimits::default(), describe);
    let address = server.local_addr();
    assert_eq!(status(&get(address, "/")), 200);
    eventually("it is idle again", || server.stats().private_connections == 4);
    let (files, tasks) = (open_files(), threads());
    for index in 0..1_000 {
        let mut stream = connect(address);
        // Some are refused before they have sent everything, so writing may fail.
        let _ = match index % 6 {
            0 => Ok(()),
            1 => stream.write_all(b"GET / HTTP/1.1\r\nHo"),
            2 => stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\n\n\0\0\0"),
            3 => stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome"),
            4 => stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz"),
            // Leaves before its response has come, or with the response unread, which resets the connection.
            _ => stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        };
        if index % 6 == 5 {
            assert_eq!(status(&get(address, "/")), 200);
        }
    }
    // tiny_http starts its threads and the front its private connections when they are needed: four of each may still have
    // been missing at first. What a client leaves behind would be there hundreds of times.
    let few = || open_files() <= files + 4 && threads() <= tasks + 4;
    eventually("files and threads are as many as before", few);
    let left = || (server.stats().connections, server.stats().in_flight, server.stats().body_memory_used);
    eventually("nothing is left", || left() == (0, 0, 0));
}

#[test]
fn a_header_line_of_a_megabyte_takes_no_memory() {
    if !is_alone(module_path!(), "a_header_line_of_a_megabyte_takes_no_memory") {
        return;
    }
    let server = start(ServerLimits::default(), describe);
    let line = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".as_slice(), &vec![b'x'; 1 << 20]].concat();
    assert_eq!(code(&exchange(server.local_addr(), &line)), "head_too_large");
    let before = resident();
    for _ in 0..50 {
        assert_eq!(code(&exchange(server.local_addr(), &line)), "head_too_large");
    }
    assert!(resident() < before + (4 << 20), "{before} before, {} after", resident());
}

#[test]
fn a_server_that_has_ended_leaves_no_file_and_no_thread() {
    if !is_alone(module_path!(), "a_server_that_has_ended_leaves_no_file_and_no_thread") {
        return;
    }
    let (files, tasks) = (open_files(), threads());
    for _ in 0..3 {
        let server = start(ServerLimits::default(), describe);
        assert_eq!(status(&get(server.local_addr(), "/")), 200);
        server.shutdown();
    }
    // tiny_http's own threads take 5 s to find out that they are not needed.
    // tiny_http starts its threads and the front its private connections when they are needed: four of each may still have
    // been missing at first. What a client leaves behind would be there hundreds of times.
    let few = || open_files() <= files + 4 && threads() <= tasks + 4;
    eventually("files and threads are as many as before", few);
}

/// The server of the test below, in a process of its own. Without the variable that the other test sets, it is nothing.
#[test]
fn child_with_few_files() {
    let Ok(limit) = std::env::var("TINCLAW_TEST_FILES") else { return };
    let limit = limit.parse().unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..getrlimit(Resource::Nofile) }).unwrap();
    let server = start(ServerLimits::default(), |request| {
        if request.path == "/slow" {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                request.responder.respond(Response::json(200, "{}"));
            });
        } else {
            describe(request);
        }
    });
    println!("\nlistening on {}", server.local_addr());
    // Until the other process closes the pipe.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    server.shutdown();
}

fn start_child(files: u64) -> (Child, SocketAddr) {
    let mut child = test_in_a_child(module_path!(), "child_with_few_files")
        .env("TINCLAW_TEST_FILES", files.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.strip_prefix("listening on ")?.to_owned()));
    // Read to its end, so that the child never writes into a closed pipe.
    std::thread::spawn(move || lines.count());
    (child, line.unwrap().parse().unwrap())
}

#[test]
fn a_server_without_file_descriptors_goes_on() {
    let (mut child, address) = start_child(48);
    assert_eq!(status(&get(address, "/")), 200);

    // More connections than it can have files: the oldest go, and everybody with a request is served.
    let slow: Vec<_> = (0..100).map(|_| slow_connection(address)).collect();
    for _ in 0..20 {
        let response = get(address, "/");
        assert_eq!(status(&response), 200, "{response:?}");
    }
    drop(slow);

    // More requests at a time than it can have private connections: they take turns, or are told to retry.
    let clients: Vec<_> =
        (0..40).map(|_| std::thread::spawn(move || status(&get(address, "/slow")))).collect();
    let responses: Vec<_> = clients.into_iter().map(|client| client.join().unwrap_or(0)).collect();
    assert!(responses.iter().filter(|status| **status == 200).count() >= 4, "{responses:?}");
    assert!(responses.iter().all(|status| [0, 200, 503].contains(status)), "{responses:?}");

    assert_eq!(status(&get(address, "/")), 200);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

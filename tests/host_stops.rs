//! Stopping a host under load: whoever has sent a request gets a response, and nobody waits for one that does not come.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{eventually, fixtures};
use tinclaw::host::ChannelState;
use tinclaw::server::ServerLimits;

const REQUEST: &[u8] =
    b"POST /webhook/everything HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n{\"do\":\"none\"}";

/// What a client learns.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    /// The listener was closed before the connection was accepted.
    NoServer,
    /// Nothing came for as long as the test waits.
    Silence,
}

fn ask(address: SocketAddr) -> Outcome {
    let Ok(mut stream) = TcpStream::connect(address) else { return Outcome::NoServer };
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time-out");
    if stream.write_all(REQUEST).is_err() {
        return Outcome::NoServer;
    }
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Outcome::Silence,
        _ if response.is_empty() => Outcome::NoServer,
        _ => {
            let text = String::from_utf8_lossy(&response);
            Outcome::Status(text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"))
        }
    }
}

/// Of a hundred stops under load, five left clients without a response for 10 s. The server here waits for an hour, so a
/// request that is lost is seen as silence.
#[test]
fn every_client_gets_a_response_whenever_the_host_stops() {
    let rounds: u32 = std::env::var("TINCLAW_STOPS").map_or(100, |rounds| rounds.parse().expect("a number"));
    let runtime = fixtures::runtime();
    for round in 0..rounds {
        let limits = ServerLimits { shutdown_timeout: Duration::from_secs(3600), ..ServerLimits::default() };
        let channel = fixtures::channel_with(&runtime, "everything", |file| {
            file["capabilities"]["channel"]["webhook"] = serde_json::json!({"auth": "none"});
        });
        let host =
            fixtures::host(&[], &[]).server_limits(limits).channel(channel).start().expect("the host starts");
        let address = host.local_addr().expect("an address");
        eventually("the channel starts", || {
            let health = host.health().expect("health");
            (health.channels[0].state == ChannelState::Ready).then_some(())
        });
        let stopped = AtomicBool::new(false);
        let outcomes: Vec<Outcome> = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut outcomes = Vec::new();
                        while !stopped.load(Ordering::SeqCst) {
                            outcomes.push(ask(address));
                        }
                        outcomes
                    })
                })
                .collect();
            assert!(!matches!(ask(address), Outcome::NoServer | Outcome::Silence));
            thread::sleep(Duration::from_micros(u64::from(round) * 700 % 5_000));
            host.shutdown();
            stopped.store(true, Ordering::SeqCst);
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        let silent = outcomes.iter().filter(|outcome| **outcome == Outcome::Silence).count();
        assert_eq!(silent, 0, "round {round} of {}", outcomes.len());
        let odd = outcomes
            .iter()
            .find(|outcome| matches!(outcome, Outcome::Status(status) if *status >= 500 && *status != 503));
        assert_eq!(odd, None, "round {round}");
    }
}

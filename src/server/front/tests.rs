//! The front with its parts laid open: what happens when something behind it dies.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::super::backend::Backend;
use super::super::backend::PrivateSocket;
use super::super::http_thread;
use super::super::server_state::ServerState;
use super::super::wire::Token;
use super::super::{HeadDecision, IncomingRequest, Response, ServerLimits};
use super::links::BackendState;
use super::{Front, ListenSocket, Listener};
use crate::net::waker::Waker;

/// A server whose front is turned by hand. The thread behind tiny_http runs only when it is started.
struct Bench {
    front: Front,
    shared: Arc<ServerState>,
    address: SocketAddr,
    /// The listener of the first backend, to break it.
    private_listener: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    fn new(limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, private_listener) = PrivateSocket::create().unwrap();
        let backend = Backend::on(socket, private_listener.try_clone().unwrap()).unwrap();
        let shared =
            Arc::new(ServerState::new(limits, Token::random().unwrap(), Waker::new().unwrap(), backend));
        let front = Front::new(
            shared.clone(),
            Arc::new(|_, _| HeadDecision::Read { max_body_bytes: 1 << 20 }),
            Listener::new(ListenSocket::Tcp(listener)).unwrap(),
        );
        Bench { front, shared, address, private_listener, thread: None }
    }

    fn start_handler(&mut self) -> Receiver<IncomingRequest> {
        let (sender, receiver) = channel();
        let shared = self.shared.clone();
        let handler = Box::new(move |request| drop(sender.send(request)));
        self.thread = Some(thread::spawn(move || http_thread::run(&shared, handler)));
        receiver
    }

    /// Turns the front until something is so.
    fn until(&mut self, what: &str, mut condition: impl FnMut(&mut Front) -> bool) {
        let start = Instant::now();
        while !condition(&mut self.front) {
            assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
            self.shared.waker.wake();
            self.front.turn();
        }
    }

    fn send(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        stream
    }

    fn receive(&mut self, handled: &Receiver<IncomingRequest>) -> IncomingRequest {
        let mut request = None;
        self.until("a request is handled", |_| {
            request = handled.try_recv().ok();
            request.is_some()
        });
        request.unwrap()
    }

    /// The status of the response that a client gets, while the front turns.
    fn status(&mut self, mut client: TcpStream) -> String {
        client.set_nonblocking(true).unwrap();
        let mut response = Vec::new();
        self.until("a response", |_| {
            let mut bytes = [0; 1024];
            match client.read(&mut bytes) {
                Ok(0) => true,
                Ok(count) => {
                    response.extend_from_slice(&bytes[..count]);
                    false
                }
                Err(_) => false,
            }
        });
        String::from_utf8_lossy(&response[9..12]).into_owned()
    }

    fn serve(&mut self, handled: &Receiver<IncomingRequest>) -> u64 {
        let client = self.send("/");
        let request = self.receive(handled);
        let arrival = request.arrival;
        request.responder.respond(Response::json(200, "{}"));
        assert_eq!(self.status(client), "200");
        arrival
    }

    fn busy_links(front: &Front) -> usize {
        front.links.iter().filter(|(_, link)| link.is_busy()).count()
    }

    fn cut_all_links(&mut self) {
        for (_, link) in self.front.links.iter() {
            link.stream.shutdown(Shutdown::Both).unwrap();
        }
    }

    fn restarts(&self) -> u64 {
        self.shared.counters.snapshot().backend_restarts
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shared.end_at(Instant::now());
        while self.front.turn() {}
        self.shared.front_ended.store(true, std::sync::atomic::Ordering::Release);
        self.shared.backend().unblock();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn idle_private_connections_that_die_are_replaced() {
    let mut bench = Bench::new(ServerLimits::default());
    let handled = bench.start_handler();
    assert_eq!(bench.serve(&handled), 0);
    bench.until("all are idle", |front| front.links.count() == 4 && !front.links.is_proving());
    bench.cut_all_links();
    bench.until("the dead are gone", |front| {
        front.links.iter().all(|(_, link)| link.stream.take_error().is_ok())
    });
    for arrival in 1..10 {
        assert_eq!(bench.serve(&handled), arrival);
    }
    assert_eq!(bench.restarts(), 0);
}

/// The test once held up itself: a private connection that was still to prove itself could not, because the thread that
/// responds to probes waited for the lock held here, and the front then gave up what it had, which takes the same lock.
#[test]
fn a_request_whose_connection_dies_before_the_handler_has_it_holds_up_no_other() {
    let limits = ServerLimits { dispatch_timeout: Duration::from_secs(3600), ..ServerLimits::default() };
    let mut bench = Bench::new(limits);
    let handled = bench.start_handler();
    assert_eq!(bench.serve(&handled), 0);
    bench.until("all are idle", |front| front.links.count() == 4 && !front.links.is_proving());
    // Nothing that tiny_http yields is taken while this is locked, as if its threads were slow.
    let shared = bench.shared.clone();
    let sequence = shared.sequence.lock().unwrap();
    let lost = bench.send("/lost");
    bench.until("it is handed over", |front| Bench::busy_links(front) == 1);
    let later = bench.send("/later");
    bench.until("both are handed over", |front| Bench::busy_links(front) == 2);
    let first = bench
        .front
        .links
        .iter()
        .find(|(_, link)| matches!(&link.state, BackendState::Busy(job) if job.arrival == 1));
    first.unwrap().1.stream.shutdown(Shutdown::Both).unwrap();
    drop(sequence);
    // Whether the handler has got it by now is a race; what matters is that both ways end well.
    let mut paths = vec![bench.receive(&handled)];
    if paths[0].path == "/lost" {
        paths.push(bench.receive(&handled));
    }
    assert_eq!(paths.last().unwrap().path, "/later");
    paths.pop().unwrap().responder.respond(Response::json(200, "{}"));
    assert_eq!(bench.status(later), "200");
    assert_eq!(bench.status(lost), "503");
    bench.serve(&handled);
}

#[test]
fn a_request_that_the_handler_has_is_not_given_up_however_long_it_takes() {
    let limits = ServerLimits { dispatch_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let mut bench = Bench::new(limits);
    let handled = bench.start_handler();
    assert_eq!(bench.serve(&handled), 0);
    bench.until("all are idle", |front| front.links.count() == 4 && !front.links.is_proving());
    let slow = bench.send("/slow");
    let request = bench.receive(&handled);
    thread::sleep(Duration::from_millis(150));
    for _ in 0..3 {
        bench.shared.waker.wake();
        bench.front.turn();
    }
    request.responder.respond(Response::json(201, "{}"));
    assert_eq!(bench.status(slow), "201");
    assert_eq!(bench.serve(&handled), 2);
}

#[test]
fn without_anybody_behind_it_the_front_refuses_in_time() {
    let limits = ServerLimits { dispatch_timeout: Duration::from_millis(100), ..ServerLimits::default() };
    let mut bench = Bench::new(limits);
    let client = bench.send("/");
    assert_eq!(bench.status(client), "503");
    // And serves when there is somebody again.
    let handled = bench.start_handler();
    bench.serve(&handled);
}

#[test]
fn a_dead_accept_loop_is_replaced_and_requests_in_flight_get_their_responses() {
    let mut bench = Bench::new(ServerLimits::default());
    let handled = bench.start_handler();
    let before = bench.send("/before");
    let pending = bench.receive(&handled);
    bench.until("all are idle or busy", |front| front.links.count() == 4 && !front.links.is_proving());
    rustix::net::shutdown(&bench.private_listener, rustix::net::Shutdown::Both).unwrap();
    bench.until("tiny_http is restarted", |front| front.shared.counters.snapshot().backend_restarts == 1);
    let clients: Vec<_> = (0..8).map(|_| bench.send("/after")).collect();
    let requests: Vec<_> = (0..8).map(|_| bench.receive(&handled)).collect();
    for request in requests {
        request.responder.respond(Response::json(200, "{}"));
    }
    for client in clients {
        assert_eq!(bench.status(client), "200");
    }
    pending.responder.respond(Response::json(202, "{}"));
    assert_eq!(bench.status(before), "202");
    assert_eq!(bench.restarts(), 1);
}

// What happened: whoever had a large response wrote it into the private connection, which takes as much as the front reads.
// It was the store's thread, and all commits waited with it.
#[test]
fn writing_a_large_response_does_not_block_its_worker() {
    let mut bench = Bench::new(ServerLimits::default());
    let handled = bench.start_handler();
    let client = bench.send("/");
    let request = bench.receive(&handled);
    let (responded, has_responded) = channel();
    thread::spawn(move || {
        request.responder.respond(Response::json(200, vec![b' '; 4 << 20]));
        let _ = responded.send(());
    });
    // The front is not turned meanwhile.
    has_responded.recv_timeout(Duration::from_secs(60)).expect("it goes on");
    assert_eq!(bench.status(client), "200");
}

#[test]
fn private_connections_are_opened_as_needed_and_closed_again() {
    let mut bench = Bench::new(ServerLimits::default());
    let handled = bench.start_handler();
    let clients: Vec<_> = (0..40).map(|_| bench.send("/")).collect();
    let requests: Vec<_> = (0..40).map(|_| bench.receive(&handled)).collect();
    assert_eq!(Bench::busy_links(&bench.front), 40);
    assert!(requests.iter().map(|request| request.arrival).eq(0..40));
    drop(requests);
    for client in clients {
        assert_eq!(bench.status(client), "500");
    }
    bench.until("the surplus is closed", |front| front.links.count() == 4);
    bench.serve(&handled);
}

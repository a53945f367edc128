//! A fake websocket service on loopback: each connection is played by what the test says.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

/// What a connection brought within some time.
pub enum Within {
    Frame(Value),
    Nothing,
    Closed,
}

impl Within {
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// The service's side of a connection.
pub struct Connection(WebSocket<TcpStream>, Arc<AtomicUsize>);

impl Connection {
    /// How many connections there were so far. A client that sees itself connected has been counted.
    pub fn of_so_many(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    pub fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string());
    }

    pub fn send_text(&mut self, frame: &str) {
        let _ = self.0.send(Message::text(frame));
    }

    /// Whether the connection took a ping.
    pub fn ping(&mut self) -> bool {
        self.0.send(Message::Ping(Default::default())).is_ok()
    }

    /// The next text frame as JSON, or nothing when the host has closed the connection.
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            match self.0.read().ok()? {
                Message::Text(text) => return Some(serde_json::from_str(text.as_str()).expect("JSON")),
                Message::Close(_) => return None,
                _ => {}
            }
        }
    }

    /// What arrives within this time: a frame as JSON, nothing, or the end of the connection.
    pub fn receive_within(&mut self, time: Duration) -> Within {
        let _ = self.0.get_ref().set_read_timeout(Some(time));
        match self.0.read() {
            Ok(Message::Text(text)) => Within::Frame(serde_json::from_str(text.as_str()).expect("JSON")),
            Ok(Message::Close(_)) => Within::Closed,
            Ok(_) => Within::Nothing,
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Within::Nothing
            }
            Err(_) => Within::Closed,
        }
    }

    /// Closes with this code and waits for the host to do so too.
    pub fn close(&mut self, code: u16, reason: &'static str) {
        let _ = self.0.close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        while self.0.read().is_ok() {}
    }

    /// Keeps the connection open until the host closes it.
    pub fn hold(&mut self) {
        while self.receive().is_some() {}
    }
}

/// The service.
pub struct Gateway {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Gateway {
    /// `play` has each connection with the number of those before it, on a thread of its own.
    pub fn start(play: impl Fn(&mut Connection, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, play) = (connections.clone(), Arc::new(play));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (play, before) = (play.clone(), count.fetch_add(1, Ordering::SeqCst));
                let count = count.clone();
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(90)));
                    if let Ok(socket) = tungstenite::accept(stream) {
                        play(&mut Connection(socket, count), before);
                    }
                });
            }
        });
        Self { url, connections }
    }

    /// The base URL for `http_rewrite`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

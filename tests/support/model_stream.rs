//! A model server whose streams are written in steps: its text so far, until the test goes on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde_json::{Value, json};

/// The end of a stream, as servers write it.
pub const DONE: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";

/// What a model says last.
const FINISH: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// The server, which serves one request after the other.
pub struct ModelStream {
    pub url: String,
    steps: Sender<Step>,
}

/// What the server does next.
pub enum Step {
    /// It writes this piece.
    Say(Value),
    /// The stream ends as it should.
    End,
    /// The model says that it is done, and the stream goes on.
    Finish,
    /// The connection is lost.
    Cut,
}

impl Step {
    /// It writes this text.
    pub fn text(text: &str) -> Self {
        Self::Say(json!({"content": text}))
    }
}

impl ModelStream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (steps, next) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &next);
            }
        });
        Self { url, steps }
    }

    pub fn does(&self, steps: impl IntoIterator<Item = Step>) {
        steps.into_iter().for_each(|step| self.steps.send(step).unwrap());
    }
}

fn serve(mut stream: TcpStream, next: &Receiver<Step>) {
    read_request(&mut stream);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    loop {
        match next.recv_timeout(Duration::from_millis(20)) {
            Ok(Step::Say(delta)) => {
                let chunk = json!({"choices": [{"index": 0, "delta": delta}]});
                stream.write_all(format!("data: {chunk}\n\n").as_bytes()).unwrap();
            }
            Ok(Step::Finish) => stream.write_all(FINISH.as_bytes()).unwrap(),
            Ok(Step::End) => return stream.write_all(DONE.as_bytes()).unwrap(),
            Ok(Step::Cut) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if stream.write_all(b": keep-alive\n\n").is_err() {
                    return;
                }
            }
        }
    }
}

/// Reads a request to its end.
pub fn read_request(stream: &mut TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
}

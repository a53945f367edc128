//! A fake upstream server on loopback. It records every request and responds as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What the server sends: status, extra headers, body.
pub type Response = (u16, Vec<(String, String)>, Vec<u8>);

pub fn ok() -> Response {
    (200, Vec::new(), b"{}".to_vec())
}

pub struct Upstream {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
}

impl Upstream {
    /// A server whose state is shared with the test: it sends what `respond` says of the state and a request.
    pub fn of<S: Send + Sync + 'static>(state: &Arc<S>, respond: fn(&S, &Recorded) -> Response) -> Self {
        let state = state.clone();
        Self::start(move |request, _| respond(&state, request))
    }

    /// A server that sends what `respond` says of each request and of the number of requests before it.
    pub fn start(respond: impl Fn(&Recorded, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = requests.clone();
        let respond = Arc::new(respond);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (recorded, respond) = (recorded.clone(), respond.clone());
                thread::spawn(move || {
                    let _ = serve(&stream, &recorded, &*respond);
                });
            }
        });
        Self { address, requests }
    }

    /// The base URL for `http_rewrite`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that was requested so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits for a request that `wanted` accepts.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Recorded) -> bool) -> Recorded {
        super::eventually(what, || self.requests().into_iter().find(|request| wanted(request)))
    }
}

fn serve(
    stream: &TcpStream,
    recorded: &Mutex<Vec<Recorded>>,
    respond: &(dyn Fn(&Recorded, usize) -> Response + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let before = {
            let mut recorded = recorded.lock().unwrap();
            recorded.push(request.clone());
            recorded.len() - 1
        };
        let (status, headers, body) = respond(&request, before);
        let mut head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut out = stream;
        out.write_all(format!("{head}\r\n").as_bytes())?;
        out.write_all(&body)?;
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Recorded>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Recorded { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    request.body.resize(length, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

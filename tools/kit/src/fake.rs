//! A host for the tests of a tool on the machine that develops it.
//!
//! ```
//! use tinclaw_tool_kit::fake::{FakeHost, response};
//! use tinclaw_tool_kit::http::Request;
//!
//! let host = FakeHost::new().responding(|request| response(200, "text/plain", &request.method));
//! assert_eq!(Request::get("https://api.example/x").send()?.body, b"GET");
//! assert_eq!(host.requests()[0].url, "https://api.example/x");
//! # Ok::<(), String>(())
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::bindings::near::agent::host::{HttpResponse, LogLevel};

/// A request that the tool made.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers, as a JSON object.
    pub headers_json: String,
    /// The body.
    pub body: Vec<u8>,
}

type Service = Rc<dyn Fn(&Sent) -> Result<HttpResponse, String>>;

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, String>,
    sent: Vec<Sent>,
    now_ms: u64,
    service: Option<Service>,
}

thread_local! {
    static CURRENT: RefCell<Inner> = RefCell::default();
}

/// What a server responds with.
pub fn response(status: u16, content_type: &str, body: &str) -> Result<HttpResponse, String> {
    response_bytes(status, content_type, body.as_bytes())
}

/// The same with a body that is no text.
pub fn response_bytes(status: u16, content_type: &str, body: &[u8]) -> Result<HttpResponse, String> {
    let headers_json = serde_json::json!({"content-type": content_type}).to_string();
    Ok(HttpResponse { status, headers_json, body: body.to_vec() })
}

/// A redirection.
pub fn redirect(location: &str) -> Result<HttpResponse, String> {
    let headers_json = serde_json::json!({"location": location}).to_string();
    Ok(HttpResponse { status: 302, headers_json, body: Vec::new() })
}

/// The host of the tool that this thread tests, until it is dropped.
#[derive(Debug)]
pub struct FakeHost(());

impl FakeHost {
    /// A host with nothing in it.
    #[allow(clippy::new_without_default, reason = "it replaces what this thread had before")]
    pub fn new() -> Self {
        CURRENT.set(Inner { now_ms: 1_700_000_000_000, ..Inner::default() });
        Self(())
    }

    /// A server that responds with what this function says.
    #[must_use]
    pub fn responding(self, service: impl Fn(&Sent) -> Result<HttpResponse, String> + 'static) -> Self {
        CURRENT.with_borrow_mut(|host| host.service = Some(Rc::new(service)));
        self
    }

    /// Sets the clock, in milliseconds since 1970.
    pub fn set_now_ms(&self, now_ms: u64) {
        CURRENT.with_borrow_mut(|host| host.now_ms = now_ms);
    }

    /// What the tool requested.
    pub fn requests(&self) -> Vec<Sent> {
        CURRENT.with_borrow(|host| host.sent.clone())
    }

    /// One of the tool's own files.
    pub fn file(&self, path: &str) -> Option<String> {
        CURRENT.with_borrow(|host| host.files.get(path).cloned())
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        CURRENT.take();
    }
}

pub(crate) fn now_millis() -> u64 {
    CURRENT.with_borrow(|host| host.now_ms)
}

pub(crate) fn log(level: LogLevel, message: &str) {
    let _ = (level, message);
}

pub(crate) fn secret_exists(_: &str) -> bool {
    true
}

pub(crate) fn http_request(
    method: &str,
    url: &str,
    headers_json: &str,
    body: Option<&[u8]>,
    _: Option<u32>,
) -> Result<HttpResponse, String> {
    let sent = Sent {
        method: method.to_owned(),
        url: url.to_owned(),
        headers_json: headers_json.to_owned(),
        body: body.unwrap_or_default().to_vec(),
    };
    // Not borrowed while the service runs.
    let service = CURRENT.with_borrow_mut(|host| {
        host.sent.push(sent.clone());
        host.service.clone()
    });
    service.map_or_else(|| Err("the fake host has no server".to_owned()), |service| service(&sent))
}

/// The tool's own files.
pub(crate) mod state {
    use super::CURRENT;

    pub(crate) fn read(path: &str) -> Option<String> {
        CURRENT.with_borrow(|host| host.files.get(path).cloned())
    }

    pub(crate) fn write(path: &str, content: &str) -> Result<(), String> {
        CURRENT.with_borrow_mut(|host| host.files.insert(path.to_owned(), content.to_owned()));
        Ok(())
    }
}

//! A host for the tests of a channel on the machine that develops it.
//!
//! ```
//! use tinclaw_kit::fake::{FakeHost, FakeResponse};
//! use tinclaw_kit::http::Request;
//!
//! let host = FakeHost::new().responding(|request| FakeResponse::json(200, &format!("{{\"got\":\"{}\"}}", request.method)));
//! assert_eq!(Request::get("https://api.example/x").send()?.value()["got"], "GET");
//! assert_eq!(host.requests().len(), 1);
//! # Ok::<(), tinclaw_kit::Failure>(())
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::bindings::near::agent::channel_host::{
    EmittedMessage, HttpResponse, LogLevel, PairingUpsertResult,
};

/// A request that the channel made.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The URL, with its placeholders.
    pub url: String,
    /// The headers, as a JSON object.
    pub headers_json: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What the service responds, or why there is no response.
#[derive(Clone, Debug)]
pub struct FakeResponse(Result<HttpResponse, String>);

impl FakeResponse {
    /// A status and a body in JSON.
    pub fn json(status: u16, body: &str) -> Self {
        Self(Ok(HttpResponse { status, headers_json: "{}".into(), body: body.as_bytes().to_vec() }))
    }

    /// No response, in the host's words.
    pub fn none(words: &str) -> Self {
        Self(Err(words.into()))
    }

    /// With these headers, a JSON object.
    pub fn headers(mut self, headers_json: &str) -> Self {
        if let Ok(response) = &mut self.0 {
            response.headers_json = headers_json.into();
        }
        self
    }
}

type Service = Rc<dyn Fn(&Sent) -> FakeResponse>;

#[derive(Default)]
struct Inner {
    workspace: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
    paired: BTreeMap<String, String>,
    pending: BTreeMap<String, String>,
    sent: Vec<Sent>,
    emitted: Vec<EmittedMessage>,
    stored: BTreeMap<String, Vec<u8>>,
    log: Vec<String>,
    frames: Vec<String>,
    now_ms: u64,
    service: Option<Service>,
}

thread_local! {
    static CURRENT: RefCell<Inner> = RefCell::default();
}

/// The host of the channel that this thread tests, until it is dropped.
#[derive(Debug)]
pub struct FakeHost(());

impl FakeHost {
    /// A host with nothing in it.
    #[allow(clippy::new_without_default, reason = "it replaces what this thread had before")]
    pub fn new() -> Self {
        CURRENT.set(Inner { now_ms: 1_700_000_000_000, ..Inner::default() });
        Self(())
    }

    /// A service that responds what this function says.
    pub fn responding(self, service: impl Fn(&Sent) -> FakeResponse + 'static) -> Self {
        CURRENT.with_borrow_mut(|host| host.service = Some(Rc::new(service)));
        self
    }

    /// Stores a secret.
    pub fn secret(self, name: &str) -> Self {
        CURRENT.with_borrow_mut(|host| host.secrets.insert(name.to_owned()));
        self
    }

    /// Approves a sender.
    pub fn pair(&self, id: &str, identity: &str) {
        CURRENT.with_borrow_mut(|host| host.paired.insert(id.to_owned(), identity.to_owned()));
    }

    /// Sets the clock, in milliseconds since 1970.
    pub fn set_now_ms(&self, now_ms: u64) {
        CURRENT.with_borrow_mut(|host| host.now_ms = now_ms);
    }

    /// What the channel requested.
    pub fn requests(&self) -> Vec<Sent> {
        CURRENT.with_borrow(|host| host.sent.clone())
    }

    /// What the channel gave the agent.
    pub fn emitted(&self) -> Vec<EmittedMessage> {
        CURRENT.with_borrow(|host| host.emitted.clone())
    }

    /// The content of an attachment that the channel stored.
    pub fn stored(&self, id: &str) -> Option<Vec<u8>> {
        CURRENT.with_borrow(|host| host.stored.get(id).cloned())
    }

    /// A file of the workspace.
    pub fn file(&self, path: &str) -> Option<String> {
        CURRENT.with_borrow(|host| host.workspace.get(path).cloned())
    }

    /// What the channel sent through its websocket.
    pub fn frames(&self) -> Vec<String> {
        CURRENT.with_borrow(|host| host.frames.clone())
    }

    /// What the channel logged.
    pub fn log(&self) -> Vec<String> {
        CURRENT.with_borrow(|host| host.log.clone())
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

pub(crate) fn log(_: LogLevel, message: &str) {
    CURRENT.with_borrow_mut(|host| host.log.push(message.to_owned()));
}

pub(crate) fn secret_exists(name: &str) -> bool {
    CURRENT.with_borrow(|host| host.secrets.contains(name))
}

pub(crate) fn workspace_read(path: &str) -> Option<String> {
    CURRENT.with_borrow(|host| host.workspace.get(path).cloned())
}

pub(crate) fn workspace_write(path: &str, content: &str) -> Result<(), String> {
    CURRENT.with_borrow_mut(|host| host.workspace.insert(path.to_owned(), content.to_owned()));
    Ok(())
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
    let service = CURRENT.with_borrow_mut(|host| {
        host.sent.push(sent.clone());
        host.service.clone()
    });
    match service {
        Some(service) => service(&sent).0,
        None => Err("there is no service in this test".to_owned()),
    }
}

pub(crate) fn send(text: &str) -> Result<(), String> {
    CURRENT.with_borrow_mut(|host| host.frames.push(text.to_owned()));
    Ok(())
}

pub(crate) fn emit_message(message: &EmittedMessage) {
    CURRENT.with_borrow_mut(|host| host.emitted.push(message.clone()));
}

pub(crate) fn store_attachment_data(id: &str, data: &[u8]) -> Result<(), String> {
    CURRENT.with_borrow_mut(|host| host.stored.insert(id.to_owned(), data.to_vec()));
    Ok(())
}

pub(crate) fn pairing_upsert_request(_: &str, id: &str, _: &str) -> Result<PairingUpsertResult, String> {
    CURRENT.with_borrow_mut(|host| {
        let created = !host.pending.contains_key(id);
        let next = format!("CODE{}", host.pending.len() + 1);
        let code = host.pending.entry(id.to_owned()).or_insert(next).clone();
        Ok(PairingUpsertResult { code, created })
    })
}

pub(crate) fn pairing_resolve_identity(_: &str, id: &str) -> Result<Option<String>, String> {
    Ok(CURRENT.with_borrow(|host| host.paired.get(id).cloned()))
}

//! Small guests written as text, and a host around them that remembers what it was asked.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wit_abi::types::{HttpResponse, PairingUpsertResult};

use crate::channel::ChannelLimits;
use crate::channel::workspace::WorkspaceSnapshot;
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::event::callback::{Callback, CallbackReport};
use crate::sandbox::{
    CallbackContext, ChannelRuntimeInfo, GuestHttpError, GuestLogRate, GuestServices, HostCallError,
    MemoryBudget, PreparedChannelModule, StopFlag, WasmChannelError, WasmChannelRuntime,
    WasmChannelRuntimeConfig,
};

/// A guest of the newest ABI version as text. Fields are parts of the module.
pub struct Wat {
    /// Imports, one after the other.
    pub imports: &'static str,
    /// The memory section; exported as `memory`.
    pub memory: &'static str,
    /// `cabi_realloc`; the default takes the next free address and grows the memory as needed.
    pub realloc: &'static str,
    /// Anything else: data, globals, functions, a start function.
    pub more: String,
    /// The bodies of the callbacks.
    pub start: &'static str,
    pub http: &'static str,
    pub poll: String,
    pub respond: &'static str,
}

/// Gives out addresses from 64 KiB on.
pub const BUMP: &str = r#"
    (global $next (mut i32) (i32.const 65536))
    (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32) (local $end i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                                (i32.sub (i32.const 0) (local.get 2))))
        (local.set $end (i32.add (local.get $at) (local.get 3)))
        (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
            (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
                    (i32.shr_u (i32.sub (local.get $end) (i32.mul (memory.size) (i32.const 65536))) (i32.const 16)))))
                (then unreachable))))
        (global.set $next (local.get $end))
        (local.get $at))"#;

impl Default for Wat {
    fn default() -> Self {
        Self {
            imports: "",
            memory: r#"(memory (export "memory") 2)"#,
            realloc: BUMP,
            more: String::new(),
            start: "unreachable",
            http: "unreachable",
            poll: String::new(),
            respond: "unreachable",
        }
    }
}

impl Wat {
    /// A guest whose `on-poll` is this.
    pub fn poll(body: impl Into<String>) -> Self {
        Self { poll: body.into(), ..Self::default() }
    }

    pub fn text(&self) -> String {
        let Self { imports, memory, realloc, more, start, http, poll, respond } = self;
        format!(
            r#"(module {imports} {memory} {realloc} {more}
            (func (export "near:agent/channel@0.3.1#on-start") (param i32 i32) (result i32) {start})
            (func (export "near:agent/channel@0.3.1#on-http-request")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {http})
            (func (export "near:agent/channel@0.3.1#on-poll") {poll})
            (func (export "near:agent/channel@0.3.1#on-respond")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {respond})
            (func (export "near:agent/channel@0.3.1#on-shutdown")))"#
        )
    }

    pub fn bytes(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}\n{}", self.text()))
    }
}

/// Responds to everything, and remembers what left the host.
pub struct Services {
    pub requests: Mutex<Vec<(OutboundRequest, u32)>>,
    pub frames: Mutex<Vec<String>>,
    /// How long an HTTP request takes.
    pub delay: Duration,
    pub response: Mutex<Result<OutboundResponse, String>>,
    /// Done while the host holds a response.
    pub while_held: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// Responses for which there was no room.
    pub without_room: AtomicUsize,
    /// Whether files of replies are handed over in envelopes.
    pub seals_attachments: AtomicBool,
    /// Texts in which secrets were looked for: their lengths, and how much of them was asked for.
    pub searched: Mutex<Vec<(usize, usize)>>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            frames: Mutex::default(),
            delay: Duration::ZERO,
            while_held: Mutex::default(),
            without_room: AtomicUsize::default(),
            seals_attachments: AtomicBool::default(),
            searched: Mutex::default(),
            response: Mutex::new(Ok(OutboundResponse {
                response: HttpResponse { status: 200, headers_json: "{}".into(), body: b"ok".to_vec() },
                retry_after: None,
            })),
        }
    }
}

impl GuestServices for Services {
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        assert_ne!(request.method, "PANIC", "a bug in the host");
        self.requests.lock().unwrap().push((request, call.calls_before));
        std::thread::sleep(self.delay.min(call.deadline.saturating_duration_since(Instant::now())));
        let response = self.response.lock().unwrap().clone()?;
        if !room(response.response.body.len() as u64) {
            self.without_room.fetch_add(1, Ordering::Relaxed);
            return Err("no room".to_owned().into());
        }
        if let Some(work) = &*self.while_held.lock().unwrap() {
            work();
        }
        Ok(response)
    }

    fn seals_attachments(&self) -> bool {
        self.seals_attachments.load(Ordering::Relaxed)
    }

    fn without_given_secrets<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        self.searched.lock().unwrap().push((text.len(), limit));
        text.replace("hunter2", "[redacted]").into()
    }

    fn secret_exists(&self, name: &str) -> bool {
        name == "known"
    }

    fn websocket_send(&self, payload: String) -> Result<(), HostCallError> {
        self.frames.lock().unwrap().push(payload);
        Ok(())
    }

    fn pairing_upsert(&self, id: &str, _meta_json: &str) -> Result<PairingUpsertResult, HostCallError> {
        Ok(PairingUpsertResult { code: format!("CODE-{id}"), created: true })
    }

    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, HostCallError> {
        Ok((external_id == "friend").then(|| "alice".to_owned()))
    }

    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        Ok(vec!["friend".to_owned(), "other".to_owned()])
    }

    fn pairing_is_allowed(&self, id: &str, _username: Option<&str>) -> Result<bool, HostCallError> {
        Ok(id == "friend")
    }

    fn now_millis(&self) -> u64 {
        1_700_000_000_123
    }
}

/// A prepared guest with everything it is run with.
pub struct Bench {
    pub prepared: Arc<PreparedChannelModule>,
    pub services: Arc<Services>,
    pub limits: ChannelLimits,
    pub budget: MemoryBudget,
    pub stop: StopFlag,
    pub workspace: WorkspaceSnapshot,
}

pub fn runtime() -> WasmChannelRuntime {
    WasmChannelRuntime::new(WasmChannelRuntimeConfig::for_testing()).unwrap()
}

pub fn prepare(bytes: &[u8]) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
    runtime().prepare("chan", bytes)
}

impl Bench {
    pub fn new(bytes: &[u8]) -> Self {
        Self::with(prepare(bytes).unwrap())
    }

    pub fn with(prepared: Arc<PreparedChannelModule>) -> Self {
        Self {
            prepared,
            services: Arc::default(),
            limits: ChannelLimits::for_testing(),
            budget: MemoryBudget::unlimited(),
            stop: StopFlag::default(),
            workspace: WorkspaceSnapshot::empty(),
        }
    }

    pub fn of(wat: Wat) -> Self {
        Self::new(&wat.bytes())
    }

    pub fn context(&self) -> CallbackContext {
        CallbackContext {
            channel: Arc::new(ChannelRuntimeInfo {
                name: "chan".into(),
                limits: self.limits,
                services: Arc::clone(&self.services) as Arc<dyn GuestServices>,
                log_rate: GuestLogRate::default(),
            }),
            workspace: self.workspace.clone(),
            deadline: Instant::now() + self.limits.callback_timeout,
            stop: self.stop.clone(),
            memory: self.budget.reserve(0).unwrap(),
        }
    }

    pub fn run(&self, callback: &Callback) -> CallbackReport {
        self.prepared.run(self.context(), callback)
    }

    pub fn poll(&self) -> CallbackReport {
        self.run(&Callback::Poll)
    }

    /// The error of `on-poll`.
    pub fn poll_error(&self) -> WasmChannelError {
        self.poll().result.unwrap_err()
    }
}

/// Whether an error is the one that a row expects.
pub type IsExpected = fn(&WasmChannelError) -> bool;

/// Lines of a report's log, without levels.
pub fn lines(report: &CallbackReport) -> Vec<&str> {
    report.logs.iter().map(|line| line.message.as_str()).collect()
}

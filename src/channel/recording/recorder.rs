//! Notes what a guest asks of its host, and keeps it within bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wit_abi::types::PairingUpsertResult;

use super::input::input;
use super::outcome::outcome;
use super::{Bytes, RecordedCall, RecordedCallback, RecordedRequest, RecordedResponse};
use crate::egress::{OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::event::callback::{Callback, CallbackReport};
use crate::model::clock::{millis, unix_ms};
use crate::model::deadline::deadline_after;
use crate::sandbox::{
    CallbackContext, CallbackRunner, ChannelRuntimeInfo, GuestHttpError, GuestServices, HostCallError,
    InvokedTool, PreparedChannelModule, ToolBudget,
};

/// Callbacks that a recording has at most.
pub(crate) const MAX_CALLBACKS: usize = 1_000;

/// Bytes of a recording.
pub(crate) const MAX_RECORDING_BYTES: usize = 4 << 20;

/// How long a recording that is over is kept for whoever began it.
const FETCH_TIME: Duration = Duration::from_secs(10);

/// The recording of one channel: lines of JSON, in the order in which callbacks ended. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    lines: Vec<String>,
    bytes: usize,
    left: usize,
    /// When it ends.
    until: Instant,
    /// Callbacks that found no room.
    left_out: u64,
}

impl Recorder {
    /// One that takes this many callbacks, at most [`MAX_CALLBACKS`], for so long.
    pub fn new(callbacks: usize, time: Duration) -> Self {
        let left = callbacks.min(MAX_CALLBACKS);
        let until = deadline_after(Instant::now(), time);
        Self(Arc::new(Mutex::new(Lines { lines: Vec::new(), bytes: 0, left, until, left_out: 0 })))
    }

    /// Whether it takes another callback.
    pub fn is_full(&self) -> bool {
        let lines = self.lock();
        lines.left == 0 || lines.bytes >= MAX_RECORDING_BYTES || Instant::now() >= lines.until
    }

    /// How long it may still belong to whoever began it; none when its time has been over for long enough to fetch it.
    pub fn time_left(&self) -> Option<Duration> {
        let until = deadline_after(self.lock().until, FETCH_TIME);
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// How many callbacks it has, and how many found no room.
    pub fn counts(&self) -> (usize, u64) {
        let lines = self.lock();
        (lines.lines.len(), lines.left_out)
    }

    /// What it has.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn add(&self, line: String) {
        let mut lines = self.lock();
        if lines.left == 0 || lines.bytes + line.len() > MAX_RECORDING_BYTES {
            lines.left_out += 1;
            return;
        }
        lines.left -= 1;
        lines.bytes += line.len();
        lines.lines.push(line);
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallbackRunner for Recorder {
    fn run(
        &self,
        guest: &PreparedChannelModule,
        context: CallbackContext,
        callback: &Callback,
    ) -> CallbackReport {
        if self.is_full() {
            return guest.run(context, callback);
        }
        let (recording, context) = CallbackRecording::begin(self, context);
        let report = guest.run(context, callback);
        recording.end(callback, &report);
        report
    }
}

/// One callback while it is recorded.
struct CallbackRecording {
    recorder: Recorder,
    services: Arc<RecordingServices>,
    at_ms: u64,
    workspace: BTreeMap<String, String>,
}

impl CallbackRecording {
    /// Begins to record a callback; gives it with what the callback is to be run with.
    fn begin(recorder: &Recorder, context: CallbackContext) -> (Self, CallbackContext) {
        let channel = &context.channel;
        let services =
            Arc::new(RecordingServices { inner: Arc::clone(&channel.services), calls: Mutex::default() });
        let info = Arc::new(ChannelRuntimeInfo {
            name: Arc::clone(&channel.name),
            limits: channel.limits,
            services: services.clone(),
            log_rate: channel.log_rate.clone(),
        });
        let files = context.workspace.files();
        let workspace = files.map(|(path, content)| (path.to_string(), content.to_string())).collect();
        let recording = Self { recorder: recorder.clone(), services, at_ms: unix_ms(), workspace };
        (recording, CallbackContext { channel: info, ..context })
    }

    /// The callback has ended.
    fn end(self, callback: &Callback, report: &CallbackReport) {
        let writes = &report.effects.workspace.writes;
        let written: Vec<_> =
            writes.iter().map(|(path, content)| (path.to_string(), Arc::clone(content))).collect();
        let recorded = RecordedCallback {
            callback: callback.kind().name().to_owned(),
            at_ms: self.at_ms,
            input: input(callback),
            config_json: match callback {
                Callback::Start { config_json } => Some(config_json.to_string()),
                _ => None,
            },
            workspace: self.workspace,
            calls: std::mem::take(&mut *self.services.calls()),
            outcome: outcome(report, &written),
        };
        // Numbers, texts and lists of them: always JSON.
        if let Ok(line) = serde_json::to_string(&recorded) {
            self.recorder.add(self.services.inner.without_secrets(line));
        }
    }
}

/// The services of a channel, with a note of every call.
struct RecordingServices {
    inner: Arc<dyn GuestServices>,
    /// One callback makes its calls one after the other; the lock is for the type alone.
    calls: Mutex<Vec<RecordedCall>>,
}

impl RecordingServices {
    fn calls(&self) -> MutexGuard<'_, Vec<RecordedCall>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, call: RecordedCall) {
        self.calls().push(call);
    }
}

fn error_of<T>(result: &Result<T, HostCallError>) -> Option<String> {
    result.as_ref().err().map(ToString::to_string)
}

impl GuestServices for RecordingServices {
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        let recorded = RecordedRequest {
            method: request.method.clone(),
            url: request.url.clone(),
            headers_json: request.headers_json.clone(),
            body: request.body.as_deref().map(Bytes::of),
        };
        let result = self.inner.http_request(request, call, room);
        let response = match &result {
            Ok(OutboundResponse { response, retry_after }) => RecordedResponse::Response {
                status: response.status,
                headers_json: response.headers_json.clone(),
                body: Bytes::of(&response.body),
                retry_after_ms: retry_after.map(millis),
            },
            Err(error) => {
                RecordedResponse::Error { message: error.message.clone(), is_permanent: error.is_permanent }
            }
        };
        self.note(RecordedCall::Http { request: recorded, response });
        result
    }

    fn without_given_secrets<'t>(&self, text: &'t str, limit: usize) -> Cow<'t, str> {
        self.inner.without_given_secrets(text, limit)
    }

    fn without_secrets(&self, text: String) -> String {
        self.inner.without_secrets(text)
    }

    fn secret_exists(&self, name: &str) -> bool {
        let value = self.inner.secret_exists(name);
        self.note(RecordedCall::SecretExists { name: name.to_owned(), value });
        value
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, HostCallError> {
        self.inner.read_file(path)
    }

    fn tool_invoke(&self, alias: &str, params_json: String, budget: ToolBudget) -> InvokedTool {
        self.inner.tool_invoke(alias, params_json, budget)
    }

    fn websocket_send(&self, payload: String) -> Result<(), HostCallError> {
        let result = self.inner.websocket_send(payload.clone());
        self.note(RecordedCall::WebsocketSend { payload, error: error_of(&result) });
        result
    }

    fn pairing_upsert(&self, id: &str, meta_json: &str) -> Result<PairingUpsertResult, HostCallError> {
        let result = self.inner.pairing_upsert(id, meta_json);
        let (code, created) =
            result.as_ref().map_or((String::new(), false), |found| (found.code.clone(), found.created));
        let error = error_of(&result);
        self.note(RecordedCall::PairingUpsert { id: id.to_owned(), code, created, error });
        result
    }

    fn pairing_resolve(&self, external_id: &str) -> Result<Option<String>, HostCallError> {
        let result = self.inner.pairing_resolve(external_id);
        let value = result.clone().unwrap_or_default();
        let error = error_of(&result);
        self.note(RecordedCall::PairingResolve { id: external_id.to_owned(), value, error });
        result
    }

    fn pairing_allow_from(&self) -> Result<Vec<String>, HostCallError> {
        let result = self.inner.pairing_allow_from();
        let value = result.clone().unwrap_or_default();
        self.note(RecordedCall::PairingAllowFrom { value, error: error_of(&result) });
        result
    }

    fn pairing_is_allowed(&self, id: &str, username: Option<&str>) -> Result<bool, HostCallError> {
        let result = self.inner.pairing_is_allowed(id, username);
        let value = result.clone().unwrap_or_default();
        self.note(RecordedCall::PairingIsAllowed { id: id.to_owned(), value, error: error_of(&result) });
        result
    }

    fn now_millis(&self) -> u64 {
        let value = self.inner.now_millis();
        self.note(RecordedCall::NowMillis { value });
        value
    }

    fn wall_clock(&self) -> Duration {
        let time = self.inner.wall_clock();
        self.note(RecordedCall::WallClock { value: nanos(time) });
        time
    }

    fn monotonic_nanos(&self) -> u64 {
        let value = self.inner.monotonic_nanos();
        self.note(RecordedCall::MonotonicClock { value });
        value
    }

    fn fill_random(&self, bytes: &mut [u8]) -> bool {
        let is_filled = self.inner.fill_random(bytes);
        self.note(RecordedCall::Random { value: Bytes::of(bytes) });
        is_filled
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_takes_as_many_callbacks_and_bytes_as_it_may_and_counts_the_others() {
        let hour = Duration::from_secs(3_600);
        let recorder = Recorder::new(2, hour);
        for _ in 0..3 {
            assert_eq!(recorder.is_full(), recorder.counts().0 == 2);
            recorder.add("{}".to_owned());
        }
        assert_eq!((recorder.counts(), recorder.lines().len()), ((2, 1), 2));

        assert!(Recorder::new(2, Duration::ZERO).is_full(), "its time is over");
        let recorder = Recorder::new(usize::MAX, hour);
        recorder.add("x".repeat(MAX_RECORDING_BYTES - 1));
        assert!(!recorder.is_full());
        recorder.add("xx".to_owned());
        assert_eq!(recorder.counts(), (1, 1), "it would be a byte too much");
        recorder.add("x".to_owned());
        assert!(recorder.is_full() && recorder.counts() == (2, 1));
        let many = Recorder::new(usize::MAX, hour);
        (0..=MAX_CALLBACKS).for_each(|_| many.add(String::new()));
        assert_eq!(many.counts(), (MAX_CALLBACKS, 1));
    }
}

//! Requests that wait for a change: `GET /api/v1/changes?after=N`. What changes is looked at while somebody waits; a thread
//! of its own compares, because what is shown comes from many threads.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::AdminState;
use super::history::{HostSample, SAMPLE_EVERY};
use super::log_tail::last_log_line;
use super::process::ProcessUsage;
use super::records;
use crate::host::Health;
use crate::model::clock::unix_ms;
use crate::model::deadline::deadline_after;
use crate::server::{Responder, Response};

/// How often is looked while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a request waits. Proxies and tunnels give up on silent connections after a minute or so.
const MAX_WAIT: Duration = Duration::from_secs(25);

/// Requests that wait at a time: half of what one address may have of connections, so that others find a place beside them.
const MAX_WAITING: usize = 16;

/// Who waits, and for what.
#[derive(Default)]
pub(crate) struct Watchers {
    /// A lock, because requests come from the listeners' threads; held for a look.
    state: Mutex<WatchState>,
    /// Wakes the thread that looks: somebody waits, or the host ends.
    changed: Condvar,
}

struct WatchState {
    /// Grows with each change. It does not begin with 0, so that a page sees a restart of the host as a change.
    revision: u64,
    fingerprint: u64,
    waiting: Vec<Watcher>,
    is_closed: bool,
}

impl Default for WatchState {
    fn default() -> Self {
        Self { revision: unix_ms(), fingerprint: 0, waiting: Vec::new(), is_closed: false }
    }
}

struct Watcher {
    responder: Responder,
    until: Instant,
}

impl Watchers {
    /// Lets a request wait until something has changed after this revision.
    pub(super) fn wait(&self, after: Option<u64>, responder: Responder) {
        let mut state = self.lock();
        if state.is_closed || after != Some(state.revision) {
            return respond(responder, state.revision);
        }
        if state.waiting.len() >= MAX_WAITING {
            // The one that has waited longest asks again.
            let revision = state.revision;
            respond(state.waiting.remove(0).responder, revision);
        }
        let until = deadline_after(Instant::now(), MAX_WAIT);
        state.waiting.push(Watcher { responder: responder.park(), until });
        self.changed.notify_all();
    }

    /// Nobody waits any more, now or later.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let revision = state.revision;
        state.waiting.drain(..).for_each(|watcher| respond(watcher.responder, revision));
        self.changed.notify_all();
    }

    /// Samples and compares until the watchers are closed.
    pub(super) fn run(&self, host: &AdminState) {
        let mut sample_at = Instant::now();
        loop {
            let now = Instant::now();
            let Ok(health) = host.manager.health() else { return };
            if now >= sample_at {
                host.history.add(sample(&health));
                // Lines that have stopped to repeat say how often they did.
                log::logger().flush();
                sample_at = deadline_after(now, SAMPLE_EVERY);
            }
            if !self.look(fingerprint(&health), now, sample_at) {
                return;
            }
        }
    }

    /// Compares, responds, and sleeps until it is to be looked again. False when there is nothing more to do.
    fn look(&self, fingerprint: u64, now: Instant, sample_at: Instant) -> bool {
        let mut state = self.lock();
        if state.fingerprint != fingerprint {
            state.fingerprint = fingerprint;
            state.revision += 1;
            let revision = state.revision;
            state.waiting.drain(..).for_each(|watcher| respond(watcher.responder, revision));
        }
        let revision = state.revision;
        let is_over = |watcher: &mut Watcher| watcher.until <= now || watcher.responder.is_abandoned();
        state.waiting.extract_if(.., is_over).for_each(|watcher| respond(watcher.responder, revision));
        let sleep = match state.waiting.is_empty() {
            true => sample_at.saturating_duration_since(now),
            false => LOOK_EVERY,
        };
        let somebody = !state.waiting.is_empty();
        let woken = self.changed.wait_timeout_while(state, sleep, |state| {
            !state.is_closed && (somebody || state.waiting.is_empty())
        });
        !woken.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }

    fn lock(&self) -> MutexGuard<'_, WatchState> {
        // Nothing that holds it panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that samples and compares. Ends with the host, or when the watchers are closed.
pub(super) fn start(host: &Arc<AdminState>) {
    let host = Arc::clone(host);
    let run = move || host.watchers.run(&host);
    if let Err(error) = std::thread::Builder::new().name("tinclaw-watch".to_owned()).spawn(run) {
        log::warn!("the admin page has no history and is not live: {error}");
    }
}

fn respond(responder: Responder, revision: u64) {
    let mut response = Response::json(200, json!({"revision": revision}).to_string());
    response.headers.push(("Cache-Control".into(), "no-store".into()));
    responder.respond(response);
}

/// A number for what is shown; another one when it has changed.
fn fingerprint(health: &Health) -> u64 {
    let mut hasher = DefaultHasher::new();
    records::health(health).to_string().hash(&mut hasher);
    last_log_line().hash(&mut hasher);
    hasher.finish()
}

fn sample(health: &Health) -> HostSample {
    let replies: usize = health.channels.iter().map(|channel| channel.replies_pending).sum();
    let times = health.store.commit_times;
    HostSample {
        at_ms: unix_ms(),
        memory_bytes: ProcessUsage::read().memory_bytes.unwrap_or_default(),
        store_bytes: health.store.usage.bytes + health.store.usage.log_bytes,
        waiting: (health.messages_waiting + replies) as u64,
        commits: health.store.groups,
        commit_us: u64::try_from(times.total.as_micros()).unwrap_or(u64::MAX),
        messages: health.channels.iter().map(|channel| channel.emitted).sum(),
    }
}

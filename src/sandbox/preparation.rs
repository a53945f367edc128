//! How long preparing a guest may take.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use wit_abi::abi_version::World;

use super::error::WasmChannelError;
use super::prepared::PreparedChannelModule;
use super::runtime::WasmChannelRuntime;
use crate::capability::limits::ChannelLimits;
use crate::model::deadline::deadline_after;
use crate::model::human_duration::HumanDuration;
use crate::model::wait::receive_until;

/// How long it may take when nothing else is configured.
pub(crate) const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether the host stops.
const STOP_CHECK: Duration = Duration::from_millis(50);

impl WasmChannelRuntime {
    /// Prepares a guest in the time that one may take. One that takes longer is left to its thread, which ends by itself:
    /// what a guest may hold is bounded. The same when the host stops.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), or it is not ready in time.
    pub(crate) fn prepare_within(
        &self,
        limit: Duration,
        world: World,
        name: &str,
        wasm: &[u8],
        limits: &ChannelLimits,
    ) -> Result<Arc<PreparedChannelModule>, WasmChannelError> {
        let (runtime, guest, bytes, limits) = (self.clone(), name.to_owned(), wasm.to_vec(), *limits);
        let prepare = move || runtime.prepare_guest(world, &guest, &bytes, &limits);
        within(limit, &LATE, || self.is_stopping(), prepare)
            .unwrap_or_else(|error| Err(error.explain(name, limit)))
    }
}

/// Guests that took too long may still be on their threads while so many are; then no other is prepared. A thread cannot be
/// ended from outside, and each holds a processor and what its guest takes.
const MAX_LATE: usize = 4;

/// How many are late now, in the whole process, whose threads they hold. Whoever stops waiting adds one, and whichever of the two is
/// [`Ended::is_second`] takes it away: the work when it ends later, or the one that waited when the work has just ended. So it is 0
/// when nothing is late.
static LATE: AtomicUsize = AtomicUsize::new(0);

/// Why there is no result of work with a time limit.
#[derive(Debug)]
enum NotPrepared {
    Late,
    TooManyLate,
    NoThread(io::Error),
    Stopping,
}

impl NotPrepared {
    fn explain(&self, channel: &str, limit: Duration) -> WasmChannelError {
        let reason = match self {
            Self::Late => format!("preparing it took longer than {}", HumanDuration(limit)),
            Self::TooManyLate => format!(
                "{MAX_LATE} guests that took longer than {} are still being prepared: remove them and restart",
                HumanDuration(limit)
            ),
            Self::NoThread(error) => format!("no thread can be started: {error}"),
            Self::Stopping => "the host stops".to_owned(),
        };
        WasmChannelError::NotLoadable { channel: channel.to_owned(), reason }
    }
}

/// Work that has ended, or that is not waited for any more: set by both, never cleared. Whoever comes second finds the other's mark.
#[derive(Default)]
struct Ended(AtomicBool);

impl Ended {
    fn is_second(&self) -> bool {
        self.0.swap(true, Ordering::AcqRel)
    }
}

/// Does `work` on a thread of its own, and waits for it no longer than `limit`, nor when the host stops. `late` counts the work that is
/// not waited for and still goes on.
fn within<T: Send + 'static>(
    limit: Duration,
    late: &'static AtomicUsize,
    is_stopping: impl Fn() -> bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotPrepared> {
    if is_stopping() {
        return Err(NotPrepared::Stopping);
    }
    if late.load(Ordering::Acquire) >= MAX_LATE {
        return Err(NotPrepared::TooManyLate);
    }
    let (done, result) = bounded(1);
    let ended = Arc::new(Ended::default());
    let of_work = Arc::clone(&ended);
    let run = move || {
        let value = catch_unwind(AssertUnwindSafe(work));
        if of_work.is_second() {
            late.fetch_sub(1, Ordering::AcqRel);
        }
        // Nobody may wait for it any more.
        let _ = done.send(value);
    };
    thread::Builder::new().name("tinclaw-prepare".to_owned()).spawn(run).map_err(NotPrepared::NoThread)?;
    let until = deadline_after(Instant::now(), limit);
    loop {
        let look = until.min(deadline_after(Instant::now(), STOP_CHECK));
        return match receive_until(&result, look) {
            Ok(Ok(value)) => Ok(value),
            // Preparing does not panic on any file; if it did, the panic would be the caller's to see.
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) if look < until && !is_stopping() => continue,
            Err(_) => {
                // Before the mark, so that the work does not count down first.
                late.fetch_add(1, Ordering::AcqRel);
                if ended.is_second() {
                    late.fetch_sub(1, Ordering::AcqRel);
                }
                Err(if is_stopping() { NotPrepared::Stopping } else { NotPrepared::Late })
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    // A guest whose preparation took 8 s kept all other channels from starting.
    #[test]
    fn work_that_is_late_is_not_waited_for() {
        static LATE: AtomicUsize = AtomicUsize::new(0);
        let (release, held) = bounded::<()>(0);
        let late = within(Duration::from_millis(1), &LATE, never, move || held.recv().is_ok());
        assert!(matches!(late, Err(NotPrepared::Late)));
        drop(release);
        assert!(matches!(within(Duration::from_secs(600), &LATE, never, || 7), Ok(7)));
    }

    // Each guest that was late kept a thread, and a caller that tried again and again got more and more of them.
    #[test]
    fn four_late_guests_may_be_on_their_threads_and_no_other_is_prepared_meanwhile() {
        static LATE: AtomicUsize = AtomicUsize::new(0);
        let (release, held) = bounded::<()>(0);
        for _ in 0..MAX_LATE {
            let held = held.clone();
            let late = within(Duration::from_millis(1), &LATE, never, move || held.recv().is_ok());
            assert!(matches!(late, Err(NotPrepared::Late)));
        }
        let refused = within(Duration::from_secs(600), &LATE, never, || 7).unwrap_err();
        assert!(matches!(refused, NotPrepared::TooManyLate));
        let text = refused.explain("next", Duration::from_secs(60)).to_string();
        assert!(text.contains("4 guests that took longer than 60 s are still being prepared"), "{text}");
        drop(release);
        while LATE.load(Ordering::Acquire) > 0 {
            thread::yield_now();
        }
        assert!(matches!(within(Duration::from_secs(600), &LATE, never, || 7), Ok(7)));
    }

    #[test]
    fn a_guest_that_takes_too_long_to_prepare_is_refused_with_the_limit() {
        let error = NotPrepared::Late.explain("slow", Duration::from_secs(60)).to_string();
        assert!(error.contains("slow") && error.contains("preparing it took longer than 60 s"), "{error}");
    }

    // SIGTERM was heard when every guest was prepared, up to a minute later for each.
    #[test]
    fn nobody_waits_for_a_guest_when_the_host_stops() {
        static LATE: AtomicUsize = AtomicUsize::new(0);
        let (release, held) = bounded::<()>(0);
        let is_stopping = AtomicBool::new(false);
        let left = thread::scope(|scope| {
            let wait = scope.spawn(|| {
                let stops = || is_stopping.load(Ordering::Relaxed);
                within(Duration::from_secs(600), &LATE, stops, move || held.recv().is_ok())
            });
            is_stopping.store(true, Ordering::Relaxed);
            wait.join().expect("it does not panic")
        });
        assert!(matches!(left, Err(NotPrepared::Stopping)));
        assert!(matches!(within(Duration::from_secs(600), &LATE, || true, || 7), Err(NotPrepared::Stopping)));
        drop(release);
    }
}

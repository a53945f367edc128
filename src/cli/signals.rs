//! Signals that stop the host: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

use std::io::{ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::outcome::Failure;

/// The exit code when a second signal ends the program at once: 128 and the number of SIGINT, as shells have it.
const EXIT_AT_ONCE: i32 = 130;

/// Waits for the signal to stop.
pub struct StopSignal(UnixStream);

impl StopSignal {
    /// From now on the first signal is waited for here, and a second one ends the program at once.
    pub fn install() -> Result<Self, Failure> {
        let failed = |error| Failure::problem(format!("signals cannot be waited for: {error}"));
        let (receiver, sender) = UnixStream::pair().map_err(failed)?;
        let has_come = Arc::new(AtomicBool::new(false));
        // A terminal that closes sends SIGHUP; by default it would end the program without `on-shutdown`.
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the first signal finds the flag unset, and sets it afterwards.
            signal_hook::flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, has_come.clone())
                .and_then(|_| signal_hook::flag::register(signal, has_come.clone()))
                .and_then(|_| signal_hook::low_level::pipe::register(signal, sender.try_clone()?))
                .map_err(failed)?;
        }
        Ok(Self(receiver))
    }

    /// Blocks until a signal comes, and calls `meanwhile` after a second and then every so often.
    pub fn wait(mut self, every: Duration, meanwhile: impl Fn()) {
        let mut pause = Duration::from_secs(1);
        loop {
            // A pause of a second or more can always be set.
            let _ = self.0.set_read_timeout(Some(pause));
            match self.0.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    meanwhile();
                    pause = every;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }
}

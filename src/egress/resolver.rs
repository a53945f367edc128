//! Names to addresses, once per request.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;
use crate::model::oneshot::once;

/// How many lookups may be under way. One that hangs holds a thread until the system gives up on it.
const MAX_LOOKUPS: usize = 32;
/// The longest that a request waits for a lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Finds the addresses of a host. Exchangeable, so that tests can be DNS servers that lie.
pub trait NameResolver: Send + Sync {
    /// All addresses of the host, in the order in which to try them.
    ///
    /// # Errors
    /// When there are none, or not in time.
    fn resolve(&self, host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>>;
}

/// The system's own resolver (`getaddrinfo`), with a time limit that the system's lacks.
///
/// Each lookup runs on a thread of its own, because it cannot be interrupted: when time is up the request goes on without
/// it, and the thread ends when the system does. At most 32 such threads exist.
#[derive(Clone, Default)]
pub struct SystemResolver {
    under_way: Arc<AtomicUsize>,
}

/// Counts a lookup that is under way.
struct Lookup(Arc<AtomicUsize>);

impl Lookup {
    fn begin(under_way: &Arc<AtomicUsize>) -> io::Result<Self> {
        let lookup = Self(Arc::clone(under_way));
        if under_way.fetch_add(1, Ordering::Relaxed) >= MAX_LOOKUPS {
            return Err(io::Error::other("too many lookups are under way"));
        }
        Ok(lookup)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl NameResolver for SystemResolver {
    fn resolve(&self, host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
        let lookup = Lookup::begin(&self.under_way)?;
        let (done, answer) = once();
        let name = host.to_owned();
        std::thread::Builder::new().name("tinclaw-lookup".to_owned()).spawn(move || {
            let addresses =
                (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
            drop(lookup);
            // Nobody listens any more when the time was up.
            done.tell(addresses);
        })?;
        let until = deadline.min(deadline_after(Instant::now(), LOOKUP_TIMEOUT));
        answer.wait_until(until).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_name_is_found_and_nonsense_is_not() {
        let resolver = SystemResolver::default();
        let soon = Instant::now() + Duration::from_secs(10);
        let found = resolver.resolve("localhost", soon).unwrap();
        assert!(found.iter().all(IpAddr::is_loopback));
        assert!(!found.is_empty());
        assert!(resolver.resolve("no spaces in names", soon).is_err());
    }

    #[test]
    fn one_lookup_past_the_limit_is_refused_and_room_comes_back() {
        let under_way = Arc::new(AtomicUsize::new(0));
        let mut lookups: Vec<Lookup> = (0..MAX_LOOKUPS).map(|_| Lookup::begin(&under_way).unwrap()).collect();
        assert!(Lookup::begin(&under_way).is_err());
        lookups.pop();
        assert!(Lookup::begin(&under_way).is_ok());
    }
}

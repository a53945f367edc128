//! Names to addresses, once per request.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::model::deadline::deadline_after;

/// How many lookups run at a time. One that hangs holds its thread until the system gives up on it.
const MAX_LOOKUPS: usize = 32;
/// How many of them are one client's, so that the names of a slow zone leave threads for everybody else's.
const MAX_LOOKUPS_PER_CLIENT: usize = 4;
/// The longest that a request waits for a lookup.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long addresses are kept. `getaddrinfo` does not tell the time to live of what it found, so this is short.
const CACHE_TTL: Duration = Duration::from_secs(30);
/// How many names are kept.
const MAX_CACHED: usize = 256;
/// How long a thread waits for another lookup before it ends.
const THREAD_IDLE: Duration = Duration::from_secs(10);

/// Finds the addresses of a host. Exchangeable, so that tests can be DNS servers that lie.
pub trait NameResolver: Send + Sync {
    /// All addresses of the host, in the order in which to try them. `client` is who asks, as `channel telegram`.
    ///
    /// # Errors
    /// When there are none, or not in time.
    fn resolve(&self, client: &str, host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>>;
}

/// The system's own resolver (`getaddrinfo`), with a time limit that the system's lacks.
///
/// Lookups run on threads of their own, because they cannot be interrupted: when time is up the request goes on without
/// them. At most 32 run at a time, 4 of one client; who asks for a name that is being looked up waits for the same lookup;
/// and what was found is kept for 30 s.
#[derive(Clone)]
pub struct SystemResolver(Arc<LookupQueue>);

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

struct LookupQueue {
    lookup: Box<Lookup>,
    ttl: Duration,
    /// Held for look-ups in the maps, never while a name is resolved.
    state: Mutex<Lookups>,
    /// Notified when a lookup ends.
    ended: Condvar,
    /// Notified when there is a lookup to run.
    queued: Condvar,
}

#[derive(Default)]
struct Lookups {
    cache: HashMap<String, (Vec<IpAddr>, Instant)>,
    /// By host. Each is in `queue` or on a thread.
    running: HashMap<String, Arc<RunningLookup>>,
    queue: VecDeque<(String, Arc<RunningLookup>)>,
    /// Threads, and how many of them run no lookup. Whoever starts a thread counts it into both under the lock that it waits
    /// for, and it takes itself out of both when it ends; so `idle` is never more than `threads`.
    threads: usize,
    idle: usize,
}

/// A lookup that was begun.
struct RunningLookup {
    client: String,
    /// Set once, by the thread that ran it, before `ended` is notified.
    outcome: OnceLock<Result<Vec<IpAddr>, (io::ErrorKind, String)>>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        let system =
            |host: &str| (host, 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect());
        Self::with_lookup(CACHE_TTL, system)
    }
}

impl SystemResolver {
    fn with_lookup(
        ttl: Duration,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(LookupQueue {
            lookup: Box::new(lookup),
            ttl,
            state: Mutex::default(),
            ended: Condvar::new(),
            queued: Condvar::new(),
        }))
    }

    /// The running lookup of this host, which is begun when there is room.
    fn join(&self, state: &mut Lookups, client: &str, host: &str) -> io::Result<Option<Arc<RunningLookup>>> {
        if let Some(running) = state.running.get(host) {
            return Ok(Some(Arc::clone(running)));
        }
        let own = state.running.values().filter(|running| running.client == client).count();
        if own >= MAX_LOOKUPS_PER_CLIENT || state.running.len() >= MAX_LOOKUPS {
            return Ok(None);
        }
        if state.idle <= state.queue.len() {
            let shared = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("tinclaw-lookup".to_owned());
            thread.spawn(move || shared.run())?;
            state.threads += 1;
            state.idle += 1;
        }
        let running = Arc::new(RunningLookup { client: client.to_owned(), outcome: OnceLock::new() });
        state.running.insert(host.to_owned(), Arc::clone(&running));
        state.queue.push_back((host.to_owned(), Arc::clone(&running)));
        self.0.queued.notify_one();
        Ok(Some(running))
    }
}

impl NameResolver for SystemResolver {
    fn resolve(&self, client: &str, host: &str, deadline: Instant) -> io::Result<Vec<IpAddr>> {
        let until = deadline.min(deadline_after(Instant::now(), LOOKUP_TIMEOUT));
        let mut joined: Option<Arc<RunningLookup>> = None;
        let mut state = self.0.lock();
        loop {
            let now = Instant::now();
            if let Some(outcome) = joined.as_ref().and_then(|running| running.outcome.get()) {
                return outcome.clone().map_err(|(kind, text)| io::Error::new(kind, text));
            }
            if joined.is_none() {
                if let Some((addresses, _)) = state.cache.get(host).filter(|(_, until)| *until > now) {
                    return Ok(addresses.clone());
                }
                joined = self.join(&mut state, client, host)?;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return Err(match joined {
                    Some(_) => io::ErrorKind::TimedOut.into(),
                    None => io::Error::other("too many lookups are under way"),
                });
            }
            let woken = self.0.ended.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl LookupQueue {
    fn lock(&self) -> MutexGuard<'_, Lookups> {
        // Nothing panics while the lock is held, so a poisoned one still guards a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's work. It counts as idle from its beginning and whenever it has no lookup.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let Some((host, running)) = state.queue.pop_front() else {
                let woken = self.queued.wait_timeout(state, THREAD_IDLE);
                let (guard, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                state = guard;
                // Checked under the lock, so nothing is queued for a thread that ends.
                if timeout.timed_out() && state.queue.is_empty() {
                    state.idle -= 1;
                    state.threads -= 1;
                    return;
                }
                continue;
            };
            state.idle -= 1;
            drop(state);
            let outcome = (self.lookup)(&host);
            state = self.lock();
            state.idle += 1;
            state.finish(&host, &running, outcome, self.ttl);
            self.ended.notify_all();
        }
    }
}

impl Lookups {
    fn finish(
        &mut self,
        host: &str,
        running: &RunningLookup,
        outcome: io::Result<Vec<IpAddr>>,
        ttl: Duration,
    ) {
        self.running.remove(host);
        if let Ok(addresses) = &outcome {
            let now = Instant::now();
            if self.cache.len() >= MAX_CACHED {
                self.cache.retain(|_, (_, until)| *until > now);
            }
            if self.cache.len() >= MAX_CACHED {
                let oldest = self.cache.iter().min_by_key(|(_, (_, until))| *until);
                let oldest = oldest.map(|(host, _)| host.clone());
                oldest.map(|host| self.cache.remove(&host));
            }
            self.cache.insert(host.to_owned(), (addresses.clone(), deadline_after(now, ttl)));
        }
        // A lookup is finished once: by the thread that took it from the queue.
        let _ = running.outcome.set(outcome.map_err(|error| (error.kind(), error.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// A resolver whose names below `slow.` never resolve while the test runs, and a count of its lookups.
    fn with_slow_zone(ttl: Duration) -> (SystemResolver, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let resolver = SystemResolver::with_lookup(ttl, move |host| {
            counted.fetch_add(1, Ordering::Relaxed);
            if host.ends_with(".slow") {
                std::thread::sleep(Duration::from_secs(600));
            }
            Ok(vec![LOCAL])
        });
        (resolver, count)
    }

    /// Asks for a name and does not wait for the response.
    fn ask(resolver: &SystemResolver, client: &str, host: &str) -> io::Error {
        resolver.resolve(client, host, Instant::now()).unwrap_err()
    }

    #[test]
    fn the_loopback_name_is_found_and_nonsense_is_not() {
        let resolver = SystemResolver::default();
        let found = resolver.resolve("one", "localhost", soon()).unwrap();
        assert!(found.iter().all(IpAddr::is_loopback));
        assert!(!found.is_empty());
        assert!(resolver.resolve("one", "no spaces in names", soon()).is_err());
    }

    // 32 lookups were shared by all channels: one whose name server did not respond took them all, and no other channel could
    // make a request.
    #[test]
    fn a_slow_zone_of_one_client_leaves_lookups_for_the_others() {
        let (resolver, _) = with_slow_zone(CACHE_TTL);
        for at in 0..MAX_LOOKUPS_PER_CLIENT {
            assert_eq!(ask(&resolver, "one", &format!("{at}.slow")).kind(), io::ErrorKind::TimedOut);
        }
        let over = ask(&resolver, "one", "another.slow");
        assert_eq!(over.to_string(), "too many lookups are under way");
        assert_eq!(resolver.resolve("two", "quick", soon()).unwrap(), [LOCAL]);
        // What somebody else found is there for everybody, also for who has no lookup left.
        assert_eq!(resolver.resolve("one", "quick", soon()).unwrap(), [LOCAL]);
    }

    #[test]
    fn all_clients_together_have_so_many_lookups_and_no_more_threads() {
        let (resolver, count) = with_slow_zone(CACHE_TTL);
        for at in 0..MAX_LOOKUPS {
            let client = format!("client{}", at / MAX_LOOKUPS_PER_CLIENT);
            assert_eq!(ask(&resolver, &client, &format!("{at}.slow")).kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(ask(&resolver, "late", "late.slow").to_string(), "too many lookups are under way");
        assert_eq!(resolver.0.lock().threads, MAX_LOOKUPS);
        assert!(count.load(Ordering::Relaxed) <= MAX_LOOKUPS);
    }

    #[test]
    fn concurrent_lookups_of_a_name_share_one_query() {
        let (resolver, count) = with_slow_zone(CACHE_TTL);
        for client in ["one", "two", "three"] {
            ask(&resolver, client, "same.slow");
        }
        assert_eq!(resolver.0.lock().running.len(), 1);
        for _ in 0..3 {
            resolver.resolve("one", "quick", soon()).unwrap();
        }
        assert!(count.load(Ordering::Relaxed) <= 2, "one for each name");
    }

    #[test]
    fn an_expired_cache_entry_is_looked_up_again() {
        let (resolver, count) = with_slow_zone(Duration::ZERO);
        for expected in 1..=3 {
            resolver.resolve("one", "quick", soon()).unwrap();
            assert_eq!(count.load(Ordering::Relaxed), expected);
        }
        assert_eq!(resolver.0.lock().threads, 1, "a thread serves one lookup after the other");
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut state = Lookups::default();
        for at in 0..=MAX_CACHED {
            let running = RunningLookup { client: String::new(), outcome: OnceLock::new() };
            state.finish(&at.to_string(), &running, Ok(vec![LOCAL]), CACHE_TTL);
        }
        assert_eq!(state.cache.len(), MAX_CACHED);
        assert!(state.cache.contains_key(&MAX_CACHED.to_string()));
    }
}

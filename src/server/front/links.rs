//! The private connections to tiny_http: how many there are, and which one serves next.
//!
//! tiny_http's pool counts a thread as waiting until it has in fact taken up its connection, so that of two connections
//! opened at once one may be left without a thread for ever. Therefore they are opened one at a time, and each has to
//! answer a probe before it is used and before the next is opened: then its thread is its own until it is closed.

use std::time::{Duration, Instant};

use super::link::{Link, LinkState};

use crate::model::deadline::deadline_after;

/// Private connections that are kept whether they are needed or not. tiny_http always keeps as many threads.
pub(crate) const KEPT: usize = 4;

/// How long one that is not needed is kept beyond that.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// How long a request waits for one of those that there are before another is opened. Short requests are through sooner,
/// and more threads than needed would only get into each other's way.
const PATIENCE: Duration = Duration::from_millis(2);

/// The private connections, each under a number that stays the same while it is open.
#[derive(Default)]
pub(crate) struct Links {
    slots: Vec<Option<Link>>,
    /// Those without a request, the last used at the end: its thread is the most likely to be warm.
    idle: Vec<usize>,
}

impl Links {
    pub(crate) fn insert(&mut self, link: Link) -> usize {
        let id = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[id] = Some(link);
        id
    }

    pub(crate) fn remove(&mut self, id: usize) -> Option<Link> {
        self.idle.retain(|idle| *idle != id);
        self.slots.get_mut(id)?.take()
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Link> {
        self.slots.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Link> {
        self.slots.get_mut(id)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Link)> {
        self.slots.iter().enumerate().filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Link)> {
        self.slots.iter_mut().enumerate().filter_map(|(id, slot)| Some((id, slot.as_mut()?)))
    }

    pub(crate) fn count(&self) -> usize {
        self.iter().count()
    }

    /// Puts one that has served, or has proved itself, among those that can serve.
    pub(crate) fn make_idle(&mut self, id: usize, now: Instant) {
        if let Some(link) = self.get_mut(id) {
            link.state = LinkState::Idle;
            link.since = now;
            self.idle.push(id);
        }
    }

    /// Takes the one that serves next.
    pub(crate) fn take_idle(&mut self) -> Option<usize> {
        self.idle.pop()
    }

    pub(crate) fn is_proving(&self) -> bool {
        self.iter().any(|(_, link)| matches!(link.state, LinkState::Proving))
    }

    /// When another should be opened, if no more than `most` may be open: at once while fewer are open than are always
    /// kept, else when a request has waited for long enough.
    pub(crate) fn grows_at(
        &self,
        most: usize,
        waiting_since: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let count = self.count();
        if count >= most || self.is_proving() {
            None
        } else if count < KEPT.min(most) {
            Some(now)
        } else if self.idle.is_empty() {
            waiting_since.map(|since| deadline_after(since, PATIENCE))
        } else {
            None
        }
    }

    /// One that is no longer needed, or when there will be one.
    pub(crate) fn surplus(&self, now: Instant) -> Option<Result<usize, Instant>> {
        if self.count() <= KEPT {
            return None;
        }
        // The one that has not been used for longest lies at the bottom.
        let id = *self.idle.first()?;
        let until = deadline_after(self.slots[id].as_ref()?.since, IDLE_TIME);
        Some(if until <= now { Ok(id) } else { Err(until) })
    }
}

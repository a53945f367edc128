//! What the rest of the host has of a link: frames go in, its state comes out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::protocol::Receipt;
use crate::event::link::{ChannelLink, FrameAcknowledgement, LinkHealth, LinkState};
use crate::net::waker::Waker;

/// Frames of the guest that may wait to be sent.
pub const MAX_QUEUED_FRAMES: usize = 32;

/// News for the thread of a link.
#[derive(Debug)]
pub(super) enum News {
    /// The guest wants to send this frame.
    Send(String),
    /// A delivered frame of this many bytes is not in flight any more. [`Receipt::None`] when it is not durable.
    Done(Receipt, usize),
}

/// A link. Clones are the same link.
#[derive(Clone)]
pub struct LinkHandle(pub(super) Arc<SharedLink>);

pub(super) struct SharedLink {
    pub news: Sender<News>,
    /// Wakes the thread after news.
    pub waker: Waker,
    /// Frames of the guest that wait. [`LinkHandle::send`] adds one before the frame is queued; the thread takes one away
    /// when it hands the frame to the socket.
    pub queued: AtomicUsize,
    /// Set once, by the handle; the thread looks at it whenever it was woken.
    pub is_closing: AtomicBool,
    // A lock, because the thread writes it and `health` reads it; nobody holds it for longer than a copy takes.
    health: Mutex<LinkHealth>,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no connection that the service has accepted.
    #[error("the websocket is not connected")]
    NotConnected,
    /// Too much waits.
    #[error("{MAX_QUEUED_FRAMES} frames wait to be sent already")]
    Full,
}

impl LinkHandle {
    pub(super) fn new(host: String, waker: Waker) -> (Self, Receiver<News>) {
        // Its length is bounded by `MAX_QUEUED_FRAMES` and by the frames that are in flight.
        let (news, receiver) = unbounded();
        let health = Mutex::new(LinkHealth::new(host));
        let shared = SharedLink {
            news,
            waker,
            queued: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            health,
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Queues a text frame for the open connection.
    ///
    /// # Errors
    /// [`NotSent`]: there is no connection, or too much waits.
    pub fn send(&self, frame: String) -> Result<(), NotSent> {
        if self.health().state != LinkState::Ready {
            return Err(NotSent::NotConnected);
        }
        if self.0.queued.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUED_FRAMES {
            self.0.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(NotSent::Full);
        }
        self.tell(News::Send(frame));
        Ok(())
    }

    /// What tells this link that a frame is done with.
    pub(super) fn acknowledgement(&self, receipt: Receipt, bytes: usize) -> FrameAcknowledgement {
        let link = self.clone();
        FrameAcknowledgement::new(move |is_durable| {
            let receipt = if is_durable { receipt } else { Receipt::None };
            link.tell(News::Done(receipt, bytes));
        })
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.is_closing.load(Ordering::Relaxed)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut LinkHealth)) {
        change(&mut self.0.health.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, news: News) {
        // Fails only when the thread has ended, and then nobody wants to know.
        let _ = self.0.news.send(news);
        self.0.waker.wake();
    }
}

impl ChannelLink for LinkHandle {
    fn health(&self) -> LinkHealth {
        self.0.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn close(&self) {
        self.0.is_closing.store(true, Ordering::Relaxed);
        self.0.waker.wake();
    }
}

//! What happens to a channel's websocket, for guests that export `tinclaw:socket/handler`: one callback for each frame.
//!
//! They run in the inbound lane, one after the other. A frame is acknowledged when what its callback did is durable. One whose
//! callback fails is tried again, and those behind it wait; after [`MAX_TRIES`] it is given up without an acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::turn::Turn;
use super::{Channel, ChannelLogKind};
use crate::channel::breaker::FAILURES_BEFORE_PAUSE;
use crate::channel::job::{Job, Purpose};
use crate::event::arrival::Due;
use crate::event::callback::Callback;
use crate::event::link::{FrameAcknowledgement, LinkEvent, LinkEventKind};
use crate::model::backoff::Backoff;
use crate::store::Batch;

/// How often the callback of one frame is run: less often than fails before a channel is paused, so that one frame alone does not
/// pause it.
const MAX_TRIES: u32 = FAILURES_BEFORE_PAUSE - 1;
/// Between them.
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(30) };
/// The wait of a frame that arrives while its channel cannot run it.
const NOT_NOW: Duration = Duration::from_secs(5);

impl Channel {
    /// Queues the callback for the oldest news of the websocket, when none is under way.
    pub(super) fn call_for_socket(&mut self, turn: &mut Turn<'_>) {
        if self.is_socket_busy || self.held_news.is_empty() {
            return;
        }
        // The oldest frame has failed: a newer one that arrives meanwhile does not hurry it.
        if self.socket_waits_until.is_some_and(|until| turn.at.now < until) {
            return;
        }
        self.socket_waits_until = None;
        if self.is_ending || !self.is_ready() || !turn.host.takes_messages() {
            return turn.set_after(Due::Frames, NOT_NOW);
        }
        let Some((news, tries)) = self.held_news.pop_front() else { return };
        self.is_socket_busy = true;
        let purpose = Purpose::Socket { acknowledgement: news.acknowledgement, tries: tries + 1 };
        let job = Job::new(callback_for(news.kind), purpose, turn.at.now);
        if let Err(job) = self.enqueue(job, turn) {
            // The lane is full of requests.
            let Purpose::Socket { acknowledgement, .. } = job.purpose else { return };
            self.keep_for_later(&job.callback, acknowledgement, tries, NOT_NOW, turn);
        }
    }

    /// The callback of a frame has succeeded: the frame is acknowledged when that is durable, and the next one may run.
    pub(super) fn socket_called(
        &mut self,
        acknowledgement: FrameAcknowledgement,
        batch: Batch,
        turn: &mut Turn<'_>,
    ) {
        // Also without changes of its own: the guest may know the frame already from an earlier callback, whose
        // batch is still on its way.
        self.store_acknowledged(batch, vec![acknowledgement], turn);
        self.is_socket_busy = false;
        self.call_for_socket(turn);
    }

    /// The callback of a frame has failed.
    pub(super) fn socket_failed(
        &mut self,
        callback: &Callback,
        acknowledgement: FrameAcknowledgement,
        tries: u32,
        turn: &mut Turn<'_>,
    ) {
        let is_frame = matches!(callback, Callback::SocketText(_));
        if is_frame && tries < MAX_TRIES {
            let wait = BACKOFF.half_jitter(tries, turn.host.random());
            return self.keep_for_later(callback, acknowledgement, tries, wait, turn);
        }
        if is_frame {
            self.counters.dropped += 1;
            if let Some(suppressed) = self.may_log(ChannelLogKind::FrameGivenUp, turn) {
                let name = &self.settings.name;
                let text = format!(
                    "channel {name}: on-text failed {MAX_TRIES} times for one frame of the websocket, which is given up\
                     {suppressed}"
                );
                turn.log(Level::Error, text);
            }
        }
        self.is_socket_busy = false;
        self.call_for_socket(turn);
    }

    fn keep_for_later(
        &mut self,
        callback: &Callback,
        acknowledgement: FrameAcknowledgement,
        tries: u32,
        wait: Duration,
        turn: &mut Turn<'_>,
    ) {
        self.is_socket_busy = false;
        if let Some(kind) = news_for(callback) {
            self.held_news.push_front((LinkEvent { kind, acknowledgement }, tries));
        }
        self.socket_waits_until = Some(turn.after(wait));
        turn.set_after(Due::Frames, wait);
    }
}

fn callback_for(news: LinkEventKind) -> Callback {
    match news {
        LinkEventKind::Opened => Callback::SocketOpen,
        LinkEventKind::Frame(text) => Callback::SocketText(text),
        LinkEventKind::Closed { code, reason } => Callback::SocketClose { code, reason },
    }
}

fn news_for(callback: &Callback) -> Option<LinkEventKind> {
    match callback {
        Callback::SocketOpen => Some(LinkEventKind::Opened),
        Callback::SocketText(text) => Some(LinkEventKind::Frame(Arc::clone(text))),
        Callback::SocketClose { code, reason } => {
            Some(LinkEventKind::Closed { code: *code, reason: Arc::clone(reason) })
        }
        _ => None,
    }
}

//! Frames of a channel's websocket: made durable, acknowledged, and worked on by `on-poll`.

use std::sync::Arc;
use std::time::Duration;

use super::Channel;
use super::turn::{Action, Turn};
use crate::channel::frames::{self, MAX_WAITING_BYTES, Moved, PROCESSING_FILE, SESSION_FILE, WAITING_FILE};
use crate::channel::lane::LaneKind;
use crate::channel::workspace::{WorkspaceChanges, workspace_path};
use crate::event::arrival::Due;
use crate::event::link::{FrameAcknowledgement, LinkEvent, LinkEventKind};
use crate::store::Batch;

/// The wait before frames that could not be stored, or that `on-poll` failed at, are looked at again.
const LATER: Duration = Duration::from_secs(5);

impl Channel {
    /// Opens the channel's websocket, unless it is open.
    pub(super) fn open_link(&mut self, turn: &mut Turn<'_>) {
        if self.settings.has_link {
            turn.act(Action::OpenLink);
        }
    }

    /// What the link resumes a session with that it has had before.
    pub fn link_session(&self) -> Option<Arc<str>> {
        self.frame_file(SESSION_FILE)
    }

    /// The websocket could not be opened ([`Action::OpenLink`]): it is tried again.
    pub fn link_not_opened(&mut self, turn: &mut Turn<'_>) {
        turn.set_after(Due::Frames, LATER);
    }

    /// Something has happened to the websocket. While nothing can be stored a frame waits, and its link with it.
    pub fn link_news(&mut self, news: LinkEvent, turn: &mut Turn<'_>) {
        // A guest without a handler only knows frames.
        if self.settings.has_socket_handler || matches!(news.kind, LinkEventKind::Frame(_)) {
            self.held_news.push_back((news, 0));
            self.work_on_frames(turn);
        }
    }

    fn work_on_frames(&mut self, turn: &mut Turn<'_>) {
        if self.settings.has_socket_handler {
            return self.call_for_socket(turn);
        }
        self.store_frames(turn);
        self.poll_for_frames(turn);
    }

    /// Frames that had to wait are looked at again.
    pub(super) fn frames_due(&mut self, turn: &mut Turn<'_>) {
        self.open_link(turn);
        self.work_on_frames(turn);
    }

    /// What was stored of the channel's frames is durable: those that arrived meanwhile are next.
    pub(super) fn frames_stored(&mut self, turn: &mut Turn<'_>) {
        self.is_storing_frames = false;
        self.work_on_frames(turn);
    }

    /// Appends the frames that are held to the waiting file; they are acknowledged when that is durable. Those that arrive
    /// before that are stored together, because each time the whole file is written.
    fn store_frames(&mut self, turn: &mut Turn<'_>) {
        if self.held_news.is_empty() || self.is_storing_frames {
            return;
        }
        let waiting = self.frame_file(WAITING_FILE);
        let has_room = waiting.as_ref().is_none_or(|file| file.len() < MAX_WAITING_BYTES);
        if self.is_ending || !has_room || !turn.host.takes_messages() {
            return turn.set_after(Due::Frames, LATER);
        }
        self.is_storing_frames = true;
        let held: Vec<_> = self.held_news.drain(..).filter_map(|(news, _)| frame_of(news)).collect();
        let texts: Vec<&str> = held.iter().map(|(text, _)| &**text).collect();
        let content = frames::appended(waiting.as_deref(), &texts);
        let batch = self.write_frame_files([(WAITING_FILE, content)]);
        let acknowledgements = held.into_iter().map(|(_, acknowledgement)| acknowledgement).collect();
        self.store_acknowledged(batch, acknowledgements, turn);
    }

    /// Stores what frames have caused, with the session as it is after the last of them, and acknowledges them then.
    pub(super) fn store_acknowledged(
        &mut self,
        mut batch: Batch,
        acknowledgements: Vec<FrameAcknowledgement>,
        turn: &mut Turn<'_>,
    ) {
        let session = acknowledgements.iter().rev().find_map(FrameAcknowledgement::session);
        if let Some(session) = session.map(|session| session.to_string()) {
            batch.changes.extend(self.write_frame_files([(SESSION_FILE, session)]).changes);
        }
        turn.act(Action::StoreFrames(batch, acknowledgements));
    }

    /// Runs `on-poll` when frames wait for it and none runs.
    pub(super) fn poll_for_frames(&mut self, turn: &mut Turn<'_>) {
        let has_files = self.settings.has_link && !self.settings.has_socket_handler;
        if !has_files || self.is_ending || !self.lane(LaneKind::Poll).is_idle() {
            return;
        }
        let (waiting, processing) = (self.frame_file(WAITING_FILE), self.frame_file(PROCESSING_FILE));
        if frames::is_empty(waiting.as_deref()) && frames::is_empty(processing.as_deref()) {
            return;
        }
        if !self.is_ready() || !turn.host.takes_messages() {
            return turn.set_after(Due::Frames, LATER);
        }
        if let Some(Moved { processing, waiting }) = frames::moved(processing.as_deref(), waiting.as_deref())
        {
            let batch = self.write_frame_files([(WAITING_FILE, waiting), (PROCESSING_FILE, processing)]);
            turn.store(batch);
        }
        self.enqueue_poll(turn);
    }

    /// After `on-poll`: what arrived meanwhile is next; what a failed one left is tried again later.
    pub(super) fn polled_frames(&mut self, succeeded: bool, turn: &mut Turn<'_>) {
        let is_left = !frames::is_empty(self.frame_file(PROCESSING_FILE).as_deref());
        if succeeded && !is_left {
            self.poll_for_frames(turn);
        } else if is_left {
            turn.set_after(Due::Frames, LATER);
        }
    }

    fn frame_file(&self, path: &str) -> Option<Arc<str>> {
        self.workspace.snapshot().get(&workspace_path(path).ok()?)
    }

    /// Writes to the channel's workspace as the host. No request waits for that.
    fn write_frame_files<const N: usize>(&mut self, files: [(&str, String); N]) -> Batch {
        let paths =
            files.into_iter().filter_map(|(path, content)| Some((workspace_path(path).ok()?, content)));
        let writes = paths.map(|(path, content)| (path, content.into())).collect();
        let mut batch = Batch::default();
        self.write_quietly(&WorkspaceChanges { writes, ..WorkspaceChanges::default() }, &mut batch);
        batch
    }
}

fn frame_of(news: LinkEvent) -> Option<(Arc<str>, FrameAcknowledgement)> {
    match news.kind {
        LinkEventKind::Frame(text) => Some((text, news.acknowledgement)),
        LinkEventKind::Opened | LinkEventKind::Closed { .. } => None,
    }
}

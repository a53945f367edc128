//! Frames of a channel's websocket: made durable, acknowledged, and worked on by `on-poll`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::ChannelName;
use crate::channel::frames::{self, MAX_WAITING_BYTES, Moved, PROCESSING_FILE, WAITING_FILE};
use crate::channel::job::{Job, Purpose};
use crate::channel::lane::LaneKind;
use crate::channel::workspace::{WorkspaceChanges, workspace_path};
use crate::event::Wakeup;
use crate::event::arrival::FrameArrival;
use crate::event::callback::Callback;
use crate::model::deadline::deadline_after;
use crate::store::{Batch, Change};

use super::core::Router;

/// The wait before frames that could not be stored, or that `on-poll` failed at, are looked at again.
const LATER: Duration = Duration::from_secs(5);

impl Router {
    /// Opens the channel's websocket when it has started for the first time.
    pub(super) fn open_link(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        let Some(open) = &slot.setup.open_link else { return };
        if slot.link.is_some() {
            return;
        }
        match open() {
            Ok(link) => slot.link = Some(link),
            Err(error) => {
                log::error!(
                    target: channel.as_str(),
                    "channel {channel}: its websocket cannot be opened, because the system has no thread or socket left: \
                     {error}; it is tried again"
                );
                self.look_at_frames_later(channel);
            }
        }
    }

    /// A frame arrived. While nothing can be stored it waits, and its link with it.
    pub(super) fn frame_arrived(&mut self, arrival: FrameArrival) {
        let FrameArrival { channel, frame } = arrival;
        let Some(slot) = self.channels.get_mut(&channel) else { return };
        slot.held_frames.push_back(frame);
        self.store_frames(&channel);
        self.poll_for_frames(&channel);
    }

    /// Frames that had to wait are looked at again.
    pub(super) fn frames_due(&mut self, channel: &ChannelName) {
        self.open_link(channel);
        self.store_frames(channel);
        self.poll_for_frames(channel);
    }

    /// What was stored of a channel's frames is durable: those that arrived meanwhile are next.
    pub(super) fn frames_stored(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        slot.is_storing_frames = false;
        self.store_frames(channel);
        self.poll_for_frames(channel);
    }

    /// Appends the frames that are held to the waiting file; they are acknowledged when that is durable. Those that arrive
    /// before that are stored together, because each time the whole file is written.
    fn store_frames(&mut self, channel: &ChannelName) {
        let takes_messages = self.storage.takes_messages() && !self.mailbox.is_full();
        let waiting = self.frame_file(channel, WAITING_FILE);
        let has_room = waiting.as_ref().is_none_or(|file| file.len() < MAX_WAITING_BYTES);
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.held_frames.is_empty() || slot.is_storing_frames {
            return;
        }
        if !takes_messages || !has_room || self.stopping.is_some() {
            return self.look_at_frames_later(channel);
        }
        slot.is_storing_frames = true;
        let held: Vec<_> = slot.held_frames.drain(..).collect();
        let texts: Vec<&str> = held.iter().map(|frame| frame.text.as_str()).collect();
        let content = frames::appended(waiting.as_deref(), &texts);
        let batch = self.write_frame_files(channel, &[(WAITING_FILE, content)]);
        let acknowledgements = held.into_iter().map(|frame| frame.acknowledgement).collect();
        self.storage.commit_frames(channel, batch, acknowledgements, &self.mailbox);
    }

    /// Runs `on-poll` when frames wait for it and none runs.
    pub(super) fn poll_for_frames(&mut self, channel: &ChannelName) {
        let Some(slot) = self.channels.get_mut(channel) else { return };
        if slot.setup.open_link.is_none() || self.stopping.is_some() || !slot.lane(LaneKind::Poll).is_idle() {
            return;
        }
        let (waiting, processing) =
            (self.frame_file(channel, WAITING_FILE), self.frame_file(channel, PROCESSING_FILE));
        if frames::is_empty(waiting.as_deref()) && frames::is_empty(processing.as_deref()) {
            return;
        }
        if !self.is_ready(channel) || !self.storage.takes_messages() || self.mailbox.is_full() {
            return self.look_at_frames_later(channel);
        }
        if let Some(Moved { processing, waiting }) = frames::moved(processing.as_deref(), waiting.as_deref())
        {
            let files = [(WAITING_FILE, waiting), (PROCESSING_FILE, processing)];
            let batch = self.write_frame_files(channel, &files);
            self.storage.commit(batch, &self.mailbox);
        }
        // The lane is idle, so it has room.
        let _ = self.enqueue(channel, Job::new(Callback::Poll, Purpose::Poll));
    }

    /// After `on-poll`: what arrived meanwhile is next; what a failed one left is tried again later.
    pub(super) fn polled_frames(&mut self, channel: &ChannelName, succeeded: bool) {
        let is_left = !frames::is_empty(self.frame_file(channel, PROCESSING_FILE).as_deref());
        if succeeded && !is_left {
            self.poll_for_frames(channel);
        } else if is_left {
            self.look_at_frames_later(channel);
        }
    }

    fn look_at_frames_later(&mut self, channel: &ChannelName) {
        self.scheduler.set(Wakeup::Frames(channel.clone()), deadline_after(Instant::now(), LATER));
    }

    fn frame_file(&self, channel: &ChannelName, path: &str) -> Option<Arc<str>> {
        let path = workspace_path(path).ok()?;
        self.channels.get(channel)?.workspace.snapshot().get(&path)
    }

    /// Writes to the channel's workspace as the host.
    fn write_frame_files(&mut self, channel: &ChannelName, files: &[(&str, String)]) -> Batch {
        let writes = files
            .iter()
            .filter_map(|(path, content)| Some((workspace_path(path).ok()?, Arc::from(content.as_str()))))
            .collect();
        let changes = WorkspaceChanges { writes, ..WorkspaceChanges::default() };
        let mut batch = Batch::default();
        let Some(slot) = self.channels.get_mut(channel) else { return batch };
        for (path, content) in slot.workspace.apply_over(&changes) {
            batch.changes.push(Change::PutFile {
                channel: channel.shared(),
                path: path.as_str().into(),
                content,
            });
        }
        batch
    }
}

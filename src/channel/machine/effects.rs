//! What a callback did, applied in memory and put into a batch.

use log::Level;

use super::served::Served;
use super::turn::Turn;
use super::{Channel, ChannelLogKind};
use crate::channel::changes;
use crate::channel::workspace::{Conflict, WorkspaceChanges};
use crate::event::callback::{Effects, Emitted};
use crate::store::{Batch, Change};

impl Channel {
    pub(super) fn apply_effects(
        &mut self,
        effects: Effects,
        served: &Served,
        batch: &mut Batch,
        turn: &mut Turn<'_>,
    ) {
        self.write_files(&effects.workspace, batch, turn);
        self.add_messages(effects.messages, served, batch, turn);
        self.change_timers(effects.timers, batch, turn);
        self.counters.callbacks.note_stored(batch.bytes());
    }

    /// Writes files, whatever has changed meanwhile. Requests that wait for a change are run again.
    fn write_files(&mut self, changes: &WorkspaceChanges, batch: &mut Batch, turn: &mut Turn<'_>) {
        if self.write_quietly(changes, batch) {
            self.workspace_changed(turn);
        }
    }

    /// Writes files without running the requests that wait for a change. Returns whether anything has changed.
    pub(super) fn write_quietly(&mut self, changes: &WorkspaceChanges, batch: &mut Batch) -> bool {
        let written = self.workspace.apply_over(changes);
        let has_changed = !written.is_empty();
        let channel = &self.settings.name;
        batch.changes.extend(written.into_iter().map(|(path, content)| Change::PutFile {
            channel: channel.shared(),
            path: path.shared(),
            content,
        }));
        has_changed
    }

    /// Messages that carry an id of their own, as far as the capability file says so, are taken once.
    fn add_messages(
        &mut self,
        messages: Vec<Emitted>,
        served: &Served,
        batch: &mut Batch,
        turn: &mut Turn<'_>,
    ) {
        let (name, ids) = (&self.settings.name, &self.settings.ids);
        self.counters.emitted += messages.len() as u64;
        for emitted in messages {
            if self.settings.message_id_from_metadata
                && let Some(id) = changes::own_id(&emitted.message)
            {
                if !self.recent_requests.is_first_message(id, turn.at.steady_ms) {
                    self.counters.dropped += 1;
                    turn.log(Level::Debug, format!("channel {name} emitted a message again; it is dropped"));
                    continue;
                }
                batch.changes.push(changes::dedupe_message(
                    ids.dedupe_key(),
                    &name.shared(),
                    id,
                    turn.at.steady_ms,
                ));
            }
            let id = ids.message();
            let message = changes::add_message(id, &name.shared(), emitted, turn.at.unix_ms);
            batch.changes.push(Change::AddMessage(message));
            batch.changes.push(served.accepted(id, turn.at.unix_ms));
        }
    }

    /// Applies what a failed attempt wrote about how far it came. When there is no room for that, the next attempt begins
    /// again.
    pub(super) fn keep_progress(&mut self, effects: &Effects, turn: &mut Turn<'_>) -> Batch {
        let mut batch = Batch::default();
        if !matches!(self.workspace.check(&effects.workspace), Err(Conflict::Full(_))) {
            self.write_files(&effects.workspace, &mut batch, turn);
        }
        batch
    }

    /// The messages of a channel whose capability file allows none. The rest of the callback counts.
    pub(super) fn drop_messages(&mut self, effects: &mut Effects, turn: &mut Turn<'_>) {
        let count = effects.messages.len();
        if count == 0 {
            return;
        }
        effects.messages.clear();
        self.counters.dropped += count as u64;
        if let Some(suppressed) = self.may_log(ChannelLogKind::MessagesDropped, turn) {
            let name = &self.settings.name;
            let text = format!(
                "channel {name} emitted {count} messages and may emit none: emit_rate_limit is 0{suppressed}"
            );
            turn.log(Level::Warn, text);
        }
    }
}

//! What happened to messages and replies, from the engine without a disk.

use std::collections::HashSet;

use super::TraceQueries;
use super::error::StoreError;
use super::memory::{MemoryStore, Message, Tables};
use super::record::{DedupeId, MessageId, ReplyId, StoredDedupeKey, has_field};
use super::trace::{MAX_FOUND, TraceStep, TraceSubject};

impl TraceQueries for MemoryStore {
    fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError> {
        Ok(self.state().steps.iter().filter(|step| step.subject == subject).cloned().collect())
    }

    fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError> {
        let state = self.state();
        let replies = state.replies.iter().map(|reply| &reply.record);
        Ok(replies.filter(|reply| reply.in_reply_to == Some(id)).map(|reply| reply.id).collect())
    }

    fn messages_of_provider(
        &mut self,
        id: &str,
        keys: &[StoredDedupeKey],
    ) -> Result<Vec<MessageId>, StoreError> {
        Ok(self.state().messages_of_provider(id, keys))
    }
}

impl Tables {
    fn messages_of_provider(&self, id: &str, keys: &[StoredDedupeKey]) -> Vec<MessageId> {
        let requests: HashSet<DedupeId> = self
            .dedupe_keys
            .iter()
            .filter(|stored| keys.contains(&stored.record.key))
            .map(|stored| stored.record.id)
            .collect();
        let mut found: Vec<MessageId> = self
            .steps
            .iter()
            .filter(|step| step.request.is_some_and(|request| requests.contains(&request)))
            .filter_map(|step| match step.subject {
                TraceSubject::Message(id) => Some(id),
                TraceSubject::Reply(_) => None,
            })
            .collect();
        let has_id = |message: &&Message| has_field(&message.record.message.metadata_json, id);
        found.extend(self.messages.iter().filter(has_id).map(|message| message.record.id));
        found.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        found.dedup();
        found.truncate(MAX_FOUND);
        found
    }
}

//! What `tinclaw trace` asks of an engine. Without the daemon nobody asks.

#[cfg(any(feature = "cli", test))]
pub use of_daemon::TraceQueries;

/// Every engine has all that is asked.
#[cfg(not(any(feature = "cli", test)))]
pub trait TraceQueries {}

#[cfg(not(any(feature = "cli", test)))]
impl<Engine> TraceQueries for Engine {}

#[cfg(any(feature = "cli", test))]
mod of_daemon {
    use crate::store::record::StoredDedupeKey;
    use crate::store::trace::{TraceStep, TraceSubject};
    use crate::store::{MessageId, ReplyId, StoreError};

    /// What happened to messages and replies.
    pub trait TraceQueries {
        /// What happened to a message or a reply, oldest first.
        fn trace(&mut self, subject: TraceSubject) -> Result<Vec<TraceStep>, StoreError>;

        /// The replies to a message, oldest first.
        fn replies_to(&mut self, id: MessageId) -> Result<Vec<ReplyId>, StoreError>;

        /// Messages that came of a request with one of these keys, or whose metadata has `id` as the text or whole number of a
        /// field: newest first, at most [`MAX_FOUND`](super::trace::MAX_FOUND).
        fn messages_of_provider(
            &mut self,
            id: &str,
            keys: &[StoredDedupeKey],
        ) -> Result<Vec<MessageId>, StoreError>;
    }
}

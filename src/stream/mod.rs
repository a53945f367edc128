//! MessageStream, deliveries, acknowledgement, replies.

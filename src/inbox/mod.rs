//! Messages on their way to the agent.
//!
//! | file | job |
//! |---|---|
//! | `conversations` | order within a conversation: pure bookkeeping, also used for replies |
//! | `queue` | what waits, what is handed out, what comes back: pure |
//! | `owed` | what is known of messages and could not be stored: pure |
//! | `mailbox` | the queue between the store thread and the readers |
//! | `delivery` | one message in a reader's hands |
//! | `message_stream` | how readers read |

mod conversations;
mod delivery;
mod mailbox;
mod message_stream;
mod owed;
mod queue;

pub(crate) use conversations::Conversations;
pub use delivery::Delivery;
pub(crate) use mailbox::{Mailbox, Posted};
pub use message_stream::{MessageStream, RecvError};
pub use queue::QueueLimits;

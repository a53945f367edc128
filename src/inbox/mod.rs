//! Messages on their way to the agent.
// | file | job |
// |---|---|
// | `conversations` | order within a conversation: pure bookkeeping, also used for replies |
// | `queue` | what waits, what is in flight, what is redelivered or becomes a dead letter: pure |
// | `mailbox` | the queue between the store thread and the readers |
// | `ack_timeout` | the thread that notices deliveries that were not acknowledged in time |
// | `delivery` | one message that is in flight |
// | `dead_letter` | what the sender is told when a message became a dead letter |
// | `agent_report` | what an agent says of its own state |
// | `message_stream` | how readers read |

mod ack_timeout;
mod agent_report;
mod conversations;
mod dead_letter;
mod delivery;
mod mailbox;
mod message_stream;
mod queue;

pub use agent_report::{AgentHealth, AgentReport};
pub(crate) use conversations::Conversations;
pub(crate) use dead_letter::{DeadLetterNotice, FailedAttempt};
pub use delivery::Delivery;
pub(crate) use mailbox::{Mailbox, Posted, StoredMessage};
pub use message_stream::{MessageStream, RecvError};
pub use queue::{DeliveryPolicy, QueueLimits};

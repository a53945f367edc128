//! The records and enums of the worlds `near:agent/sandboxed-channel` and `near:agent/sandboxed-tool`, in their newest
//! shape.
//!
//! Older ABI versions have fewer fields; lifting fills what is missing with the empty value, lowering leaves out what the
//! guest's ABI version does not have.

/// How severe a guest says its log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// Of use only while following every step.
    Trace,
    /// Of use while looking for a fault.
    Debug,
    /// What happens in normal operation.
    Info,
    /// Unexpected, but dealt with.
    Warn,
    /// Something failed.
    Error,
}

/// What the host returns from `http-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code. A status outside 200 to 299 is a response too, not an error.
    pub status: u16,
    /// A JSON object of string to string; header names are in lower case.
    pub headers_json: String,
    /// The body as it came.
    pub body: Vec<u8>,
}

/// A file that came with an inbound message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundAttachment {
    /// The provider's identifier, unique within the message.
    pub id: String,
    /// The media type.
    pub mime_type: String,
    /// The name that the sender gave it.
    pub filename: Option<String>,
    /// The size in bytes, where the provider tells it.
    pub size_bytes: Option<u64>,
    /// Where the content can be fetched, where it has such a place.
    pub source_url: Option<String>,
    /// The key of content that the host already keeps.
    pub storage_key: Option<String>,
    /// A transcript or a caption, where there is one.
    pub extracted_text: Option<String>,
    /// A JSON object with whatever else the channel knows about the file.
    pub extras_json: String,
}

/// A message for the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmittedMessage {
    /// Who wrote it, in the provider's terms.
    pub user_id: String,
    /// The writer's name for display.
    pub user_name: Option<String>,
    /// What was written.
    pub content: String,
    /// The conversation or thread that it belongs to.
    pub thread_id: Option<String>,
    /// Whatever the channel needs to send a reply; handed back in [`AgentResponse::metadata_json`].
    pub metadata_json: String,
    /// The files that came with it. Guests before `near:agent@0.3.0` have none.
    pub attachments: Vec<InboundAttachment>,
}

/// What the host returns from `pairing-upsert-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairingUpsertResult {
    /// The code that the user shows to the operator.
    pub code: String,
    /// Whether this call made the request; `false` when it was already waiting.
    pub created: bool,
}

/// An HTTP path that a channel asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpEndpointConfig {
    /// The path, as the guest wrote it.
    pub path: String,
    /// The methods that it takes, as the guest wrote them.
    pub methods: Vec<String>,
    /// Whether the host must have authenticated a request before the channel sees it.
    pub require_secret: bool,
}

/// How often a channel wants `on-poll`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollConfig {
    /// The time between two polls in milliseconds, before the host applies its minimum.
    pub interval_ms: u32,
    /// Whether to poll at all.
    pub enabled: bool,
}

/// What `on-start` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelConfig {
    /// The channel's name for people.
    pub display_name: String,
    /// The paths that it serves.
    pub http_endpoints: Vec<HttpEndpointConfig>,
    /// Its polling, if it polls.
    pub poll: Option<PollConfig>,
}

/// A request for `on-http-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncomingHttpRequest {
    /// The method, in upper case.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// A JSON object of string to string; header names are in lower case.
    pub headers_json: String,
    /// A JSON object of string to string: the decoded query.
    pub query_json: String,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Whether the host has authenticated the sender.
    pub secret_validated: bool,
}

/// What `on-http-request` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingHttpResponse {
    /// The status code, as the guest gave it: any 16-bit number.
    pub status: u16,
    /// What should be a JSON object of string to string. It is not looked at here.
    pub headers_json: String,
    /// The body to send.
    pub body: Vec<u8>,
}

/// A file that goes out with a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub mime_type: String,
    /// Its content.
    pub data: Vec<u8>,
}

/// A reply of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentResponse {
    /// The identifier of the message that it replies to.
    pub message_id: String,
    /// The text to send.
    pub content: String,
    /// The conversation or thread to send it to.
    pub thread_id: Option<String>,
    /// What the channel gave with the message that it replies to.
    pub metadata_json: String,
    /// Files to send with it. They are left out for guests before `near:agent@0.3.0`.
    pub attachments: Vec<Attachment>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRequest {
    /// The parameters: JSON that fits the tool's schema.
    pub params: String,
    /// A JSON object with the conversation, the channel and the user that the call is for.
    pub context: Option<String>,
}

/// What came of a call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolResponse {
    /// What the tool found or did, as text for the caller.
    pub output: Option<String>,
    /// Why the call failed, where it did.
    pub error: Option<String>,
}

/// What the agent is doing.
///
/// The order is that of the WIT enum. Guests of the first shapes know only the cases up to
/// [`ToolCompleted`](StatusType::ToolCompleted).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StatusType {
    /// The agent has begun to work on a message.
    #[default]
    Thinking,
    /// The agent has finished.
    Done,
    /// The agent was stopped.
    Interrupted,
    /// The agent has called a tool.
    ToolStarted,
    /// The tool has returned.
    ToolCompleted,
    /// What the tool returned, in short.
    ToolResult,
    /// A person must allow the next step.
    ApprovalNeeded,
    /// Anything else worth telling.
    Status,
    /// A job in the background has begun.
    JobStarted,
    /// A person must sign in somewhere.
    AuthRequired,
    /// The person has signed in.
    AuthCompleted,
}

impl AgentResponse {
    /// A reply that is this text.
    #[must_use]
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: content.into(), ..Self::default() }
    }
}

/// A sign of life from the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusUpdate {
    /// What the agent is doing.
    pub status: StatusType,
    /// The same in words.
    pub message: String,
    /// What the channel gave with the message that the agent works on.
    pub metadata_json: String,
}

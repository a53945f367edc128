//! The records and enums of the world `near:agent/sandboxed-channel`, in their newest shape.
//!
//! Older flavours have fewer fields; lifting fills what is missing with the empty value, lowering leaves out what the
//! guest's flavour does not have.

/// How severe a guest says its log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What the host answers to `http-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers_json: String,
    pub body: Vec<u8>,
}

/// A file that came with an inbound message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboundAttachment {
    pub id: String,
    pub mime_type: String,
    pub filename: Option<String>,
    pub size_bytes: Option<u64>,
    pub source_url: Option<String>,
    pub storage_key: Option<String>,
    pub extracted_text: Option<String>,
    pub extras_json: String,
}

/// A message for the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmittedMessage {
    pub user_id: String,
    pub user_name: Option<String>,
    pub content: String,
    pub thread_id: Option<String>,
    pub metadata_json: String,
    pub attachments: Vec<InboundAttachment>,
}

/// What the host answers to `pairing-upsert-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairingUpsertResult {
    pub code: String,
    pub created: bool,
}

/// An HTTP path that a channel asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpEndpointConfig {
    pub path: String,
    pub methods: Vec<String>,
    pub require_secret: bool,
}

/// How often a channel wants `on-poll`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollConfig {
    pub interval_ms: u32,
    pub enabled: bool,
}

/// What `on-start` returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelConfig {
    pub display_name: String,
    pub http_endpoints: Vec<HttpEndpointConfig>,
    pub poll: Option<PollConfig>,
}

/// A request for `on-http-request`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncomingHttpRequest {
    pub method: String,
    pub path: String,
    pub headers_json: String,
    pub query_json: String,
    pub body: Vec<u8>,
    pub secret_validated: bool,
}

/// What `on-http-request` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingHttpResponse {
    pub status: u16,
    pub headers_json: String,
    pub body: Vec<u8>,
}

/// A file that goes out with a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    pub filename: String,
    pub mime_type: String,
    pub data: Vec<u8>,
}

/// A reply of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentResponse {
    pub message_id: String,
    pub content: String,
    pub thread_id: Option<String>,
    pub metadata_json: String,
    pub attachments: Vec<Attachment>,
}

/// What the agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusType {
    Thinking,
    Done,
    Interrupted,
    ToolStarted,
    ToolCompleted,
    ToolResult,
    ApprovalNeeded,
    Status,
    JobStarted,
    AuthRequired,
    AuthCompleted,
}

/// A sign of life from the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    pub status: StatusType,
    pub message: String,
    pub metadata_json: String,
}

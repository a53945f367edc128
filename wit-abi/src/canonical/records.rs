//! What each type of the two worlds looks like in the ABI, and how it moves field by field.

use super::AbiError;
use super::lift::{Lift, Source};
use super::lower::{Lower, Sink, SinkError};
use super::model::{Enum, Record, Type};
use crate::types::*;

/// A type of the host that stands for an interface type.
pub(crate) trait Value {
    /// The interface type.
    const TYPE: Type;
}

macro_rules! primitives {
    ($($rust:ty = $ty:expr;)*) => {
        $(impl Value for $rust {
            const TYPE: Type = $ty;
        })*
    };
}

primitives! {
    bool = Type::Bool;
    u16 = Type::U16;
    u32 = Type::U32;
    u64 = Type::U64;
    str = Type::String;
    String = Type::String;
    [u8] = Type::List(&Type::U8);
    Vec<u8> = Type::List(&Type::U8);
}

impl<T: Value> Value for [T] {
    const TYPE: Type = Type::List(&T::TYPE);
}

impl<T: Value> Value for Vec<T> {
    const TYPE: Type = Type::List(&T::TYPE);
}

impl<T: Value> Value for Option<T> {
    const TYPE: Type = Type::Option(&T::TYPE);
}

impl<T: Value> Value for Result<T, String> {
    const TYPE: Type = Type::Result { ok: Some(&T::TYPE), err: Some(&Type::String) };
}

impl Value for Result<(), String> {
    const TYPE: Type = Type::Result { ok: None, err: Some(&Type::String) };
}

/// A record of the shape that it had before attachments: without its last field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WithoutAttachments<T>(pub T);

/// Describes a record and moves it, field by field in the order of the ABI.
macro_rules! record {
    ($rust:ident = $name:literal { $($field:ident: $ty:ty = $wit:literal,)* }) => {
        impl Value for $rust {
            const TYPE: Type =
                Type::Record(&Record { name: $name, fields: &[$(($wit, <$ty as Value>::TYPE)),*] });
        }

        impl Lift for $rust {
            fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
                source.compound(&Self::TYPE, |source| {
                    Ok($rust { $($field: <$ty as Lift>::lift(source)?,)* })
                })
            }
        }

        impl Lower for $rust {
            fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
                sink.compound(&Self::TYPE, |sink| {
                    $(self.$field.lower(sink)?;)*
                    Ok(())
                })
            }
        }
    };
}

/// Describes the shape without attachments of a record, and moves it.
macro_rules! record_without_attachments {
    ($rust:ident = $name:literal { $($field:ident: $ty:ty = $wit:literal,)* }) => {
        impl Value for WithoutAttachments<$rust> {
            const TYPE: Type =
                Type::Record(&Record { name: $name, fields: &[$(($wit, <$ty as Value>::TYPE)),*] });
        }

        impl Lift for WithoutAttachments<$rust> {
            fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
                source.compound(&Self::TYPE, |source| {
                    let attachments = Vec::new();
                    Ok(WithoutAttachments($rust { $($field: <$ty as Lift>::lift(source)?,)* attachments }))
                })
            }
        }

        impl Value for WithoutAttachments<&$rust> {
            const TYPE: Type = WithoutAttachments::<$rust>::TYPE;
        }

        impl Lower for WithoutAttachments<&$rust> {
            fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
                sink.compound(&Self::TYPE, |sink| {
                    $(self.0.$field.lower(sink)?;)*
                    Ok(())
                })
            }
        }
    };
}

record! {
    HttpResponse = "http-response" {
        status: u16 = "status",
        headers_json: String = "headers-json",
        body: Vec<u8> = "body",
    }
}

record! {
    InboundAttachment = "inbound-attachment" {
        id: String = "id",
        mime_type: String = "mime-type",
        filename: Option<String> = "filename",
        size_bytes: Option<u64> = "size-bytes",
        source_url: Option<String> = "source-url",
        storage_key: Option<String> = "storage-key",
        extracted_text: Option<String> = "extracted-text",
        extras_json: String = "extras-json",
    }
}

record! {
    EmittedMessage = "emitted-message" {
        user_id: String = "user-id",
        user_name: Option<String> = "user-name",
        content: String = "content",
        thread_id: Option<String> = "thread-id",
        metadata_json: String = "metadata-json",
        attachments: Vec<InboundAttachment> = "attachments",
    }
}

record_without_attachments! {
    EmittedMessage = "emitted-message" {
        user_id: String = "user-id",
        user_name: Option<String> = "user-name",
        content: String = "content",
        thread_id: Option<String> = "thread-id",
        metadata_json: String = "metadata-json",
    }
}

record! {
    PairingUpsertResult = "pairing-upsert-result" {
        code: String = "code",
        created: bool = "created",
    }
}

record! {
    HttpEndpointConfig = "http-endpoint-config" {
        path: String = "path",
        methods: Vec<String> = "methods",
        require_secret: bool = "require-secret",
    }
}

record! {
    PollConfig = "poll-config" {
        interval_ms: u32 = "interval-ms",
        enabled: bool = "enabled",
    }
}

record! {
    ChannelConfig = "channel-config" {
        display_name: String = "display-name",
        http_endpoints: Vec<HttpEndpointConfig> = "http-endpoints",
        poll: Option<PollConfig> = "poll",
    }
}

record! {
    IncomingHttpRequest = "incoming-http-request" {
        method: String = "method",
        path: String = "path",
        headers_json: String = "headers-json",
        query_json: String = "query-json",
        body: Vec<u8> = "body",
        secret_validated: bool = "secret-validated",
    }
}

record! {
    OutgoingHttpResponse = "outgoing-http-response" {
        status: u16 = "status",
        headers_json: String = "headers-json",
        body: Vec<u8> = "body",
    }
}

record! {
    Attachment = "attachment" {
        filename: String = "filename",
        mime_type: String = "mime-type",
        data: Vec<u8> = "data",
    }
}

record! {
    AgentResponse = "agent-response" {
        message_id: String = "message-id",
        content: String = "content",
        thread_id: Option<String> = "thread-id",
        metadata_json: String = "metadata-json",
        attachments: Vec<Attachment> = "attachments",
    }
}

record_without_attachments! {
    AgentResponse = "agent-response" {
        message_id: String = "message-id",
        content: String = "content",
        thread_id: Option<String> = "thread-id",
        metadata_json: String = "metadata-json",
    }
}

record! {
    StatusUpdate = "status-update" {
        status: StatusType = "status",
        message: String = "message",
        metadata_json: String = "metadata-json",
    }
}

record! {
    ToolRequest = "request" {
        params: String = "params",
        context: Option<String> = "context",
    }
}

record! {
    ToolResponse = "response" {
        output: Option<String> = "output",
        error: Option<String> = "error",
    }
}

/// The `response` of the first shapes of the tool world, whose text is called `result`. The layout is the same.
pub(crate) const TOOL_RESPONSE_WITH_RESULT: Type = Type::Record(&Record {
    name: "response",
    fields: &[("result", <Option<String>>::TYPE), ("error", <Option<String>>::TYPE)],
});

/// The `status-update` of the guests whose `status-type` has five cases.
pub(crate) const STATUS_UPDATE_5: Type = Type::Record(&Record {
    name: "status-update",
    fields: &[("status", STATUS_TYPE_5), ("message", Type::String), ("metadata-json", Type::String)],
});

/// The `status-type` of the first shapes that had one.
const STATUS_TYPE_5: Type = Type::Enum(&Enum {
    name: "status-type",
    cases: &["thinking", "done", "interrupted", "tool-started", "tool-completed"],
});

/// Describes an enum and moves it.
macro_rules! enumeration {
    ($rust:ident = $name:literal { $($case:ident = $wit:literal,)* }) => {
        impl Value for $rust {
            const TYPE: Type = Type::Enum(&Enum { name: $name, cases: &[$($wit),*] });
        }

        impl Lift for $rust {
            fn lift<'m>(source: &mut impl Source<'m>) -> Result<Self, AbiError> {
                const CASES: &[$rust] = &[$($rust::$case),*];
                let value = source.discriminant()?;
                let case = CASES.get(value as usize).copied();
                case.ok_or(AbiError::InvalidDiscriminant { ty: $name, value, cases: CASES.len() as u32 })
            }
        }

        impl Lower for $rust {
            fn lower<S: Sink>(&self, sink: &mut S) -> Result<(), SinkError<S>> {
                sink.discriminant(*self as u8)
            }
        }
    };
}

enumeration! {
    LogLevel = "log-level" {
        Trace = "trace",
        Debug = "debug",
        Info = "info",
        Warn = "warn",
        Error = "error",
    }
}

enumeration! {
    StatusType = "status-type" {
        Thinking = "thinking",
        Done = "done",
        Interrupted = "interrupted",
        ToolStarted = "tool-started",
        ToolCompleted = "tool-completed",
        ToolResult = "tool-result",
        ApprovalNeeded = "approval-needed",
        Status = "status",
        JobStarted = "job-started",
        AuthRequired = "auth-required",
        AuthCompleted = "auth-completed",
    }
}

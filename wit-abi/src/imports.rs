//! What a guest imports: the functions of the host, the lifting of their parameters, the lowering of their results.
//!
//! The host registers one core function per [`HostFunc`] that the guest imports, of type [`HostFunc::core_type`].
//! When the guest calls it, [`HostCall::lift`] gives the typed call, and the `lower_…` function of the same name
//! hands its result back.

use std::fmt;

use crate::abi_version::{AbiVersion, World};
use crate::canonical::{
    AbiError, Arguments, CoreFuncType, CoreType, CoreValue, Func, GuestAlloc, GuestMemory, Type, Value,
    WithoutAttachments, check_area, lower_to_memory,
};
use crate::types::*;

/// A function that a guest may import from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostFunc {
    /// `log`
    Log,
    /// `now-millis`
    NowMillis,
    /// `workspace-read`
    WorkspaceRead,
    /// `workspace-write`
    WorkspaceWrite,
    /// `http-request`
    HttpRequest,
    /// `secret-exists`
    SecretExists,
    /// `store-attachment-data`
    StoreAttachmentData,
    /// `emit-message`
    EmitMessage,
    /// `websocket-send-text`
    WebsocketSendText,
    /// `pairing-upsert-request`
    PairingUpsertRequest,
    /// `pairing-is-allowed`, which `pairing-resolve-identity` replaced.
    PairingIsAllowed,
    /// `pairing-resolve-identity`
    PairingResolveIdentity,
    /// `pairing-read-allow-from`
    PairingReadAllowFrom,
    /// `set` of the timers.
    TimerSet,
    /// `cancel` of the timers.
    TimerCancel,
    /// `send` of the websocket.
    SocketSend,
    /// `tool-invoke`, for tools.
    ToolInvoke,
    /// `read` of a tool's own files.
    StateRead,
    /// `write` of a tool's own files.
    StateWrite,
}

/// The interface that a [`HostFunc`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostInterface {
    /// `near:agent/channel-host`, at any version of the history.
    ChannelHost,
    /// `tinclaw:timers/host@0.1.0`.
    Timers,
    /// `tinclaw:socket/host@0.1.0`.
    Socket,
    /// `near:agent/host`, at any version of the history: what tools import.
    ToolHost,
    /// `tinclaw:tools/state@0.1.0`.
    ToolState,
}

impl HostInterface {
    /// The world whose guests import it.
    pub fn world(self) -> World {
        match self {
            HostInterface::ChannelHost | HostInterface::Timers | HostInterface::Socket => World::Channel,
            HostInterface::ToolHost | HostInterface::ToolState => World::Tool,
        }
    }
}

const NOTHING_OR_ERROR: Option<Type> = Some(<Result<(), String>>::TYPE);

impl HostFunc {
    /// Every function.
    pub const ALL: [HostFunc; 19] = [
        HostFunc::Log,
        HostFunc::NowMillis,
        HostFunc::WorkspaceRead,
        HostFunc::WorkspaceWrite,
        HostFunc::HttpRequest,
        HostFunc::SecretExists,
        HostFunc::StoreAttachmentData,
        HostFunc::EmitMessage,
        HostFunc::WebsocketSendText,
        HostFunc::PairingUpsertRequest,
        HostFunc::PairingIsAllowed,
        HostFunc::PairingResolveIdentity,
        HostFunc::PairingReadAllowFrom,
        HostFunc::TimerSet,
        HostFunc::TimerCancel,
        HostFunc::SocketSend,
        HostFunc::ToolInvoke,
        HostFunc::StateRead,
        HostFunc::StateWrite,
    ];

    /// The name in its interface.
    pub fn name(self) -> &'static str {
        match self {
            HostFunc::Log => "log",
            HostFunc::NowMillis => "now-millis",
            HostFunc::WorkspaceRead => "workspace-read",
            HostFunc::WorkspaceWrite => "workspace-write",
            HostFunc::HttpRequest => "http-request",
            HostFunc::SecretExists => "secret-exists",
            HostFunc::StoreAttachmentData => "store-attachment-data",
            HostFunc::EmitMessage => "emit-message",
            HostFunc::WebsocketSendText => "websocket-send-text",
            HostFunc::PairingUpsertRequest => "pairing-upsert-request",
            HostFunc::PairingIsAllowed => "pairing-is-allowed",
            HostFunc::PairingResolveIdentity => "pairing-resolve-identity",
            HostFunc::PairingReadAllowFrom => "pairing-read-allow-from",
            HostFunc::TimerSet => "set",
            HostFunc::TimerCancel => "cancel",
            HostFunc::SocketSend => "send",
            HostFunc::ToolInvoke => "tool-invoke",
            HostFunc::StateRead => "read",
            HostFunc::StateWrite => "write",
        }
    }

    /// Whether `interface` has it. Channels and tools have several functions in common.
    pub fn is_in(self, interface: HostInterface) -> bool {
        use HostFunc::*;
        match interface {
            HostInterface::Timers => matches!(self, TimerSet | TimerCancel),
            HostInterface::Socket => matches!(self, SocketSend),
            HostInterface::ToolHost => {
                matches!(self, Log | NowMillis | WorkspaceRead | HttpRequest | ToolInvoke | SecretExists)
            }
            HostInterface::ToolState => matches!(self, StateRead | StateWrite),
            HostInterface::ChannelHost => {
                !matches!(self, TimerSet | TimerCancel | SocketSend | ToolInvoke | StateRead | StateWrite)
            }
        }
    }

    /// The core type under which a guest of this ABI version imports it.
    pub fn core_type(self, abi_version: &AbiVersion) -> CoreFuncType {
        self.func(abi_version).import_type()
    }

    /// The function of this name in `interface`.
    pub(crate) fn named(interface: HostInterface, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|func| func.is_in(interface) && func.name() == name)
    }

    /// The interface function as a guest of this ABI version knows it.
    pub(crate) fn func(self, abi_version: &AbiVersion) -> Func {
        let shapes = self.shapes();
        let newest = match self {
            HostFunc::HttpRequest => abi_version.http_timeout,
            HostFunc::EmitMessage => abi_version.message_attachments,
            _ => true,
        };
        shapes[usize::from(newest) * (shapes.len() - 1)]
    }

    /// Every shape that the function had, oldest first: one, or two.
    pub(crate) fn shapes(self) -> &'static [Func] {
        const STRING: Type = Type::String;
        match self {
            HostFunc::Log => {
                &[Func { params: &[("level", LogLevel::TYPE), ("message", STRING)], result: None }]
            }
            HostFunc::NowMillis => &[Func { params: &[], result: Some(Type::U64) }],
            HostFunc::WorkspaceRead | HostFunc::StateRead => {
                &[Func { params: &[("path", STRING)], result: Some(<Option<String>>::TYPE) }]
            }
            HostFunc::WorkspaceWrite | HostFunc::StateWrite => {
                &[Func { params: &[("path", STRING), ("content", STRING)], result: NOTHING_OR_ERROR }]
            }
            HostFunc::HttpRequest => {
                const PARAMS: &[(&str, Type)] = &[
                    ("method", STRING),
                    ("url", STRING),
                    ("headers-json", STRING),
                    ("body", <Option<Vec<u8>>>::TYPE),
                    ("timeout-ms", <Option<u32>>::TYPE),
                ];
                const RESULT: Option<Type> = Some(<Result<HttpResponse, String>>::TYPE);
                const WITHOUT_TIMEOUT: &[(&str, Type)] = PARAMS.split_at(4).0;
                &[Func { params: WITHOUT_TIMEOUT, result: RESULT }, Func { params: PARAMS, result: RESULT }]
            }
            HostFunc::SecretExists => &[Func { params: &[("name", STRING)], result: Some(Type::Bool) }],
            HostFunc::StoreAttachmentData => &[Func {
                params: &[("attachment-id", STRING), ("data", <Vec<u8>>::TYPE)],
                result: NOTHING_OR_ERROR,
            }],
            HostFunc::EmitMessage => &[
                Func { params: &[("msg", <WithoutAttachments<EmittedMessage>>::TYPE)], result: None },
                Func { params: &[("msg", EmittedMessage::TYPE)], result: None },
            ],
            HostFunc::WebsocketSendText => {
                &[Func { params: &[("payload", STRING)], result: NOTHING_OR_ERROR }]
            }
            HostFunc::PairingUpsertRequest => &[Func {
                params: &[("channel", STRING), ("id", STRING), ("meta-json", STRING)],
                result: Some(<Result<PairingUpsertResult, String>>::TYPE),
            }],
            HostFunc::PairingIsAllowed => &[Func {
                params: &[("channel", STRING), ("id", STRING), ("username", <Option<String>>::TYPE)],
                result: Some(<Result<bool, String>>::TYPE),
            }],
            HostFunc::PairingResolveIdentity => &[Func {
                params: &[("channel", STRING), ("external-id", STRING)],
                result: Some(<Result<Option<String>, String>>::TYPE),
            }],
            HostFunc::PairingReadAllowFrom => {
                &[Func { params: &[("channel", STRING)], result: Some(<Result<Vec<String>, String>>::TYPE) }]
            }
            HostFunc::TimerSet => &[Func {
                params: &[("name", STRING), ("delay-ms", Type::U64), ("payload", STRING)],
                result: NOTHING_OR_ERROR,
            }],
            HostFunc::TimerCancel => &[Func { params: &[("name", STRING)], result: None }],
            HostFunc::SocketSend => &[Func { params: &[("text", STRING)], result: NOTHING_OR_ERROR }],
            HostFunc::ToolInvoke => &[Func {
                params: &[("alias", STRING), ("params-json", STRING)],
                result: Some(<Result<String, String>>::TYPE),
            }],
        }
    }
}

impl fmt::Display for HostFunc {
    /// Writes the name in its interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A call of the host by a guest, with everything that the guest handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// `log`: no result.
    Log {
        /// How severe it is.
        level: LogLevel,
        /// The line.
        message: String,
    },
    /// `now-millis`: lowered by [`lower_now_millis`].
    NowMillis,
    /// `workspace-read`: lowered by [`lower_workspace_read`].
    WorkspaceRead {
        /// The path in the channel's workspace, or in the directory that tools read.
        path: String,
    },
    /// `workspace-write`: lowered by [`lower_nothing_or_error`].
    WorkspaceWrite {
        /// The path in the channel's workspace.
        path: String,
        /// The new content.
        content: String,
    },
    /// `http-request`: lowered by [`lower_http_request`].
    HttpRequest {
        /// The method, as the guest wrote it.
        method: String,
        /// The URL, as the guest wrote it.
        url: String,
        /// What should be a JSON object of string to string. It is not looked at here.
        headers_json: String,
        /// The body, where there is one.
        body: Option<Vec<u8>>,
        /// The timeout in milliseconds; none from guests whose function has no such parameter.
        timeout_ms: Option<u32>,
    },
    /// `secret-exists`: lowered by [`lower_secret_exists`].
    SecretExists {
        /// The secret's name.
        name: String,
    },
    /// `store-attachment-data`: lowered by [`lower_nothing_or_error`].
    StoreAttachmentData {
        /// The attachment's `id`.
        attachment_id: String,
        /// Its content.
        data: Vec<u8>,
    },
    /// `emit-message`: no result.
    EmitMessage(EmittedMessage),
    /// `websocket-send-text`: lowered by [`lower_nothing_or_error`].
    WebsocketSendText {
        /// The frame's text.
        payload: String,
    },
    /// `pairing-upsert-request`: lowered by [`lower_pairing_upsert_request`].
    PairingUpsertRequest {
        /// The channel's name, as the guest gives it.
        channel: String,
        /// The user's identifier on the channel.
        id: String,
        /// What should be a JSON object. It is not looked at here.
        meta_json: String,
    },
    /// `pairing-is-allowed`: lowered by [`lower_pairing_is_allowed`].
    PairingIsAllowed {
        /// The channel's name, as the guest gives it.
        channel: String,
        /// The user's identifier on the channel.
        id: String,
        /// The user's name on the channel.
        username: Option<String>,
    },
    /// `pairing-resolve-identity`: lowered by [`lower_pairing_resolve_identity`].
    PairingResolveIdentity {
        /// The channel's name, as the guest gives it.
        channel: String,
        /// The user's identifier on the channel.
        external_id: String,
    },
    /// `pairing-read-allow-from`: lowered by [`lower_pairing_read_allow_from`].
    PairingReadAllowFrom {
        /// The channel's name, as the guest gives it.
        channel: String,
    },
    /// `set` of the timers: lowered by [`lower_nothing_or_error`].
    TimerSet {
        /// The timer's name.
        name: String,
        /// How long from now, in milliseconds.
        delay_ms: u64,
        /// What `on-timer` gets.
        payload: String,
    },
    /// `cancel` of the timers: no result.
    TimerCancel {
        /// The timer's name.
        name: String,
    },
    /// `send` of the websocket: lowered by [`lower_nothing_or_error`].
    SocketSend {
        /// The frame.
        text: String,
    },
    /// `tool-invoke`: lowered by [`lower_tool_invoke`].
    ToolInvoke {
        /// The alias of the other tool, as the capability file has it.
        alias: String,
        /// What should be JSON that fits the other tool's schema. It is not looked at here.
        params_json: String,
    },
    /// `read` of a tool's own files: lowered by [`lower_workspace_read`].
    StateRead {
        /// The path among the tool's files.
        path: String,
    },
    /// `write` of a tool's own files: lowered by [`lower_nothing_or_error`].
    StateWrite {
        /// The path among the tool's files.
        path: String,
        /// The new content.
        content: String,
    },
}

impl HostCall {
    /// Lifts the parameters of a call of `func` by a guest of this ABI version. `args` are all of its core arguments,
    /// the pointer for the result included; that pointer is checked here too, before the call has an effect.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with what the guest handed over.
    pub fn lift<'m>(
        func: HostFunc,
        abi_version: &AbiVersion,
        args: &[CoreValue],
        memory: impl Into<GuestMemory<'m>>,
    ) -> Result<Self, AbiError> {
        let memory = memory.into();
        let size = memory.size();
        let mut next = Arguments::new(args, memory);
        let call = match func {
            HostFunc::Log => HostCall::Log { level: next.next()?, message: next.next()? },
            HostFunc::NowMillis => HostCall::NowMillis,
            HostFunc::WorkspaceRead => HostCall::WorkspaceRead { path: next.next()? },
            HostFunc::WorkspaceWrite => {
                HostCall::WorkspaceWrite { path: next.next()?, content: next.next()? }
            }
            HostFunc::HttpRequest => HostCall::HttpRequest {
                method: next.next()?,
                url: next.next()?,
                headers_json: next.next()?,
                body: next.next()?,
                timeout_ms: if abi_version.http_timeout { next.next()? } else { None },
            },
            HostFunc::SecretExists => HostCall::SecretExists { name: next.next()? },
            HostFunc::StoreAttachmentData => {
                HostCall::StoreAttachmentData { attachment_id: next.next()?, data: next.next()? }
            }
            HostFunc::EmitMessage => HostCall::EmitMessage(match abi_version.message_attachments {
                true => next.next()?,
                false => next.next::<WithoutAttachments<EmittedMessage>>()?.0,
            }),
            HostFunc::WebsocketSendText => HostCall::WebsocketSendText { payload: next.next()? },
            HostFunc::PairingUpsertRequest => HostCall::PairingUpsertRequest {
                channel: next.next()?,
                id: next.next()?,
                meta_json: next.next()?,
            },
            HostFunc::PairingIsAllowed => {
                HostCall::PairingIsAllowed { channel: next.next()?, id: next.next()?, username: next.next()? }
            }
            HostFunc::PairingResolveIdentity => {
                HostCall::PairingResolveIdentity { channel: next.next()?, external_id: next.next()? }
            }
            HostFunc::PairingReadAllowFrom => HostCall::PairingReadAllowFrom { channel: next.next()? },
            HostFunc::TimerSet => {
                HostCall::TimerSet { name: next.next()?, delay_ms: next.next()?, payload: next.next()? }
            }
            HostFunc::TimerCancel => HostCall::TimerCancel { name: next.next()? },
            HostFunc::SocketSend => HostCall::SocketSend { text: next.next()? },
            HostFunc::ToolInvoke => HostCall::ToolInvoke { alias: next.next()?, params_json: next.next()? },
            HostFunc::StateRead => HostCall::StateRead { path: next.next()? },
            HostFunc::StateWrite => HostCall::StateWrite { path: next.next()?, content: next.next()? },
        };
        check_result_area(&func.func(abi_version), args, size)?;
        Ok(call)
    }
}

fn check_result_area(func: &Func, args: &[CoreValue], memory: usize) -> Result<(), AbiError> {
    match &func.result {
        Some(result) if func.returns_by_memory() => check_area(result, result_pointer(args)?, memory),
        _ => Ok(()),
    }
}

/// The last core argument: where the guest wants a result that goes through memory.
fn result_pointer(args: &[CoreValue]) -> Result<u32, AbiError> {
    match args.last() {
        Some(CoreValue::I32(pointer)) => Ok(*pointer),
        _ => Err(AbiError::WrongArgument { index: args.len().saturating_sub(1), expected: CoreType::I32 }),
    }
}

/// The result of `now-millis`: milliseconds since the Unix epoch.
pub fn lower_now_millis(now: u64) -> CoreValue {
    CoreValue::I64(now)
}

/// The result of `secret-exists`.
pub fn lower_secret_exists(exists: bool) -> CoreValue {
    CoreValue::I32(u32::from(exists))
}

/// Hands back the result of `workspace-write`, `store-attachment-data`, `websocket-send-text`, the timers' `set`,
/// the websocket's `send` or the `write` of a tool's files.
/// `args` are the call's core arguments, as for each of these functions.
///
/// # Errors
///
/// When the guest's area for the result or what its allocator returns is no place in its memory, or when its
/// allocator fails.
pub fn lower_nothing_or_error<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<(), String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `workspace-read`, or of the `read` of a tool's files.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_workspace_read<A: GuestAlloc>(
    args: &[CoreValue],
    content: &Option<String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(content, result_pointer(args)?, alloc)
}

/// Hands back the result of `http-request`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_http_request<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<HttpResponse, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `tool-invoke`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_tool_invoke<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<String, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `pairing-upsert-request`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_pairing_upsert_request<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<PairingUpsertResult, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `pairing-is-allowed`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_pairing_is_allowed<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<bool, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `pairing-resolve-identity`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_pairing_resolve_identity<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<Option<String>, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

/// Hands back the result of `pairing-read-allow-from`.
///
/// # Errors
///
/// As [`lower_nothing_or_error`].
pub fn lower_pairing_read_allow_from<A: GuestAlloc>(
    args: &[CoreValue],
    result: &Result<Vec<String>, String>,
    alloc: &mut A,
) -> Result<(), A::Error> {
    lower_to_memory(result, result_pointer(args)?, alloc)
}

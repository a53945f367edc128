//! What a guest exports: the callbacks, the lowering of their parameters, the lifting of their results.
//!
//! The `lower_…` function of a callback gives the core arguments to call it with. Where
//! [`GuestFunc::returns_pointer`], the core function returns a pointer for the `lift_…` function, and afterwards
//! its `cabi_post_…`, where the guest has one, is called with that same pointer.

use std::fmt;

use crate::abi_version::{AbiVersion, StatusCases, World};
use crate::canonical::{
    AbiError, ArgumentList, CoreArgs, CoreFuncType, Func, GuestAlloc, GuestMemory, STATUS_UPDATE_5,
    TOOL_RESPONSE_WITH_RESULT, Type, Value, WithoutAttachments, lift_from_memory,
};
use crate::types::*;

/// A function that a guest exports to the host: a callback of a channel, or what a tool is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestFunc {
    /// `on-start`
    OnStart,
    /// `on-http-request`
    OnHttpRequest,
    /// `on-poll`
    OnPoll,
    /// `on-respond`
    OnRespond,
    /// `on-status`; optional.
    OnStatus,
    /// `on-broadcast`; optional.
    OnBroadcast,
    /// `on-shutdown`
    OnShutdown,
    /// `on-timer` of the timers; optional.
    OnTimer,
    /// `on-open` of the websocket; optional.
    OnSocketOpen,
    /// `on-text` of the websocket; optional.
    OnSocketText,
    /// `on-close` of the websocket; optional.
    OnSocketClose,
    /// `execute` of a tool.
    Execute,
    /// `schema` of a tool.
    Schema,
    /// `description` of a tool.
    Description,
}

/// The interface that a [`GuestFunc`] belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuestInterface {
    /// `near:agent/channel`, at any version of the history.
    Channel,
    /// `tinclaw:timers/handler@0.1.0`.
    TimerHandler,
    /// `tinclaw:socket/handler@0.1.0`.
    SocketHandler,
    /// `near:agent/tool`, at any version of the history.
    Tool,
}

impl GuestFunc {
    /// Every function of both worlds.
    pub const ALL: [GuestFunc; 14] = [
        GuestFunc::OnStart,
        GuestFunc::OnHttpRequest,
        GuestFunc::OnPoll,
        GuestFunc::OnRespond,
        GuestFunc::OnStatus,
        GuestFunc::OnBroadcast,
        GuestFunc::OnShutdown,
        GuestFunc::OnTimer,
        GuestFunc::OnSocketOpen,
        GuestFunc::OnSocketText,
        GuestFunc::OnSocketClose,
        GuestFunc::Execute,
        GuestFunc::Schema,
        GuestFunc::Description,
    ];

    /// The name in its interface.
    pub fn name(self) -> &'static str {
        match self {
            GuestFunc::OnStart => "on-start",
            GuestFunc::OnHttpRequest => "on-http-request",
            GuestFunc::OnPoll => "on-poll",
            GuestFunc::OnRespond => "on-respond",
            GuestFunc::OnStatus => "on-status",
            GuestFunc::OnBroadcast => "on-broadcast",
            GuestFunc::OnShutdown => "on-shutdown",
            GuestFunc::OnTimer => "on-timer",
            GuestFunc::OnSocketOpen => "on-open",
            GuestFunc::OnSocketText => "on-text",
            GuestFunc::OnSocketClose => "on-close",
            GuestFunc::Execute => "execute",
            GuestFunc::Schema => "schema",
            GuestFunc::Description => "description",
        }
    }

    /// The interface that it belongs to.
    pub fn interface(self) -> GuestInterface {
        match self {
            GuestFunc::OnTimer => GuestInterface::TimerHandler,
            GuestFunc::OnSocketOpen | GuestFunc::OnSocketText | GuestFunc::OnSocketClose => {
                GuestInterface::SocketHandler
            }
            GuestFunc::Execute | GuestFunc::Schema | GuestFunc::Description => GuestInterface::Tool,
            _ => GuestInterface::Channel,
        }
    }

    /// The world whose guests export it.
    pub fn world(self) -> World {
        match self.interface() {
            GuestInterface::Channel | GuestInterface::TimerHandler | GuestInterface::SocketHandler => {
                World::Channel
            }
            GuestInterface::Tool => World::Tool,
        }
    }

    /// Whether a guest of its world is refused without it.
    pub fn is_required(self) -> bool {
        let is_optional = matches!(self, GuestFunc::OnStatus | GuestFunc::OnBroadcast);
        !is_optional
            && !matches!(self.interface(), GuestInterface::TimerHandler | GuestInterface::SocketHandler)
    }

    /// Whether the core function returns a pointer to its result, and may have a `cabi_post_…` to be called with it.
    pub fn returns_pointer(self) -> bool {
        matches!(
            self,
            GuestFunc::OnStart
                | GuestFunc::OnHttpRequest
                | GuestFunc::OnRespond
                | GuestFunc::OnBroadcast
                | GuestFunc::Execute
                | GuestFunc::Schema
                | GuestFunc::Description
        )
    }

    /// The core type under which a guest of this ABI version exports it.
    pub fn core_type(self, abi_version: &AbiVersion) -> CoreFuncType {
        self.func(abi_version).export_type()
    }

    /// The function of this name in `interface`.
    pub(crate) fn named(interface: GuestInterface, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|func| func.interface() == interface && func.name() == name)
    }

    /// The interface function as a guest of this ABI version knows it.
    pub(crate) fn func(self, abi_version: &AbiVersion) -> Func {
        let shapes = self.shapes();
        let newest = match self {
            GuestFunc::OnRespond | GuestFunc::OnBroadcast => abi_version.response_attachments,
            GuestFunc::OnStatus => abi_version.status_cases == StatusCases::Eleven,
            GuestFunc::Execute => abi_version.output_named,
            _ => true,
        };
        shapes[usize::from(newest) * (shapes.len() - 1)]
    }

    /// Every shape that the function had, oldest first: one, or two. A broadcast without attachments never was, but
    /// follows from the record that it shares with `on-respond`.
    pub(crate) fn shapes(self) -> &'static [Func] {
        const STRING: Type = Type::String;
        const NOTHING_OR_ERROR: Option<Type> = Some(<Result<(), String>>::TYPE);
        const OLD_RESPONSE: Type = <WithoutAttachments<AgentResponse>>::TYPE;
        match self {
            GuestFunc::OnStart => &[Func {
                params: &[("config-json", STRING)],
                result: Some(<Result<ChannelConfig, String>>::TYPE),
            }],
            GuestFunc::OnHttpRequest => &[Func {
                params: &[("req", IncomingHttpRequest::TYPE)],
                result: Some(OutgoingHttpResponse::TYPE),
            }],
            GuestFunc::OnPoll | GuestFunc::OnShutdown | GuestFunc::OnSocketOpen => {
                &[Func { params: &[], result: None }]
            }
            GuestFunc::OnRespond => &[
                Func { params: &[("response", OLD_RESPONSE)], result: NOTHING_OR_ERROR },
                Func { params: &[("response", AgentResponse::TYPE)], result: NOTHING_OR_ERROR },
            ],
            GuestFunc::OnStatus => &[
                Func { params: &[("update", STATUS_UPDATE_5)], result: None },
                Func { params: &[("update", StatusUpdate::TYPE)], result: None },
            ],
            GuestFunc::OnBroadcast => &[
                Func { params: &[("user-id", STRING), ("response", OLD_RESPONSE)], result: NOTHING_OR_ERROR },
                Func {
                    params: &[("user-id", STRING), ("response", AgentResponse::TYPE)],
                    result: NOTHING_OR_ERROR,
                },
            ],
            GuestFunc::OnTimer => &[Func { params: &[("name", STRING), ("payload", STRING)], result: None }],
            GuestFunc::OnSocketText => &[Func { params: &[("text", STRING)], result: None }],
            GuestFunc::OnSocketClose => {
                &[Func { params: &[("code", <Option<u16>>::TYPE), ("reason", STRING)], result: None }]
            }
            GuestFunc::Execute => &[
                Func { params: &[("req", ToolRequest::TYPE)], result: Some(TOOL_RESPONSE_WITH_RESULT) },
                Func { params: &[("req", ToolRequest::TYPE)], result: Some(ToolResponse::TYPE) },
            ],
            GuestFunc::Schema | GuestFunc::Description => &[Func { params: &[], result: Some(STRING) }],
        }
    }
}

impl fmt::Display for GuestFunc {
    /// Writes the name in its interface.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The core arguments of `on-start`.
///
/// # Errors
///
/// When what the guest's allocator returns is no place in its memory, or when its allocator fails.
pub fn lower_on_start<A: GuestAlloc>(config_json: &str, alloc: &mut A) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(config_json)?;
    Ok(args.finish())
}

/// The core arguments of `on-http-request`.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_http_request<A: GuestAlloc>(
    request: &IncomingHttpRequest,
    alloc: &mut A,
) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(request)?;
    Ok(args.finish())
}

/// The core arguments of `on-respond`. Attachments are left out for a guest that has none.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_respond<A: GuestAlloc>(
    response: &AgentResponse,
    abi_version: &AbiVersion,
    alloc: &mut A,
) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    lower_response(response, abi_version, &mut args)?;
    Ok(args.finish())
}

/// The core arguments of `on-status`, or none when the guest's enum has no such case: then it is not called.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_status<A: GuestAlloc>(
    update: &StatusUpdate,
    abi_version: &AbiVersion,
    alloc: &mut A,
) -> Result<Option<CoreArgs>, A::Error> {
    if !abi_version.status_cases.contains(update.status) {
        return Ok(None);
    }
    let mut args = ArgumentList::new(alloc);
    args.lower(update)?;
    Ok(Some(args.finish()))
}

/// The core arguments of `on-broadcast`. Attachments are left out for a guest that has none.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_broadcast<A: GuestAlloc>(
    user_id: &str,
    response: &AgentResponse,
    abi_version: &AbiVersion,
    alloc: &mut A,
) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(user_id)?;
    lower_response(response, abi_version, &mut args)?;
    Ok(args.finish())
}

/// The core arguments of `on-timer`.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_timer<A: GuestAlloc>(name: &str, payload: &str, alloc: &mut A) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(name)?;
    args.lower(payload)?;
    Ok(args.finish())
}

/// The core arguments of the websocket's `on-text`.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_socket_text<A: GuestAlloc>(text: &str, alloc: &mut A) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(text)?;
    Ok(args.finish())
}

/// The core arguments of the websocket's `on-close`.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_on_socket_close<A: GuestAlloc>(
    code: Option<u16>,
    reason: &str,
    alloc: &mut A,
) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(&code)?;
    args.lower(reason)?;
    Ok(args.finish())
}

/// The core arguments of a tool's `execute`.
///
/// # Errors
///
/// As [`lower_on_start`].
pub fn lower_execute<A: GuestAlloc>(request: &ToolRequest, alloc: &mut A) -> Result<CoreArgs, A::Error> {
    let mut args = ArgumentList::new(alloc);
    args.lower(request)?;
    Ok(args.finish())
}

fn lower_response<A: GuestAlloc>(
    response: &AgentResponse,
    abi_version: &AbiVersion,
    args: &mut ArgumentList<'_, A>,
) -> Result<(), A::Error> {
    match abi_version.response_attachments {
        true => args.lower(response),
        false => args.lower(&WithoutAttachments(response)),
    }
}

/// The result of `on-start`, from the pointer that it returned. The inner error is the guest's own.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_on_start<'m>(
    pointer: u32,
    memory: impl Into<GuestMemory<'m>>,
) -> Result<Result<ChannelConfig, String>, AbiError> {
    lift_from_memory(pointer, memory)
}

/// The result of `on-http-request`, from the pointer that it returned.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_on_http_request<'m>(
    pointer: u32,
    memory: impl Into<GuestMemory<'m>>,
) -> Result<OutgoingHttpResponse, AbiError> {
    lift_from_memory(pointer, memory)
}

/// The result of `on-respond`, from the pointer that it returned. The inner error is the guest's own.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_on_respond<'m>(
    pointer: u32,
    memory: impl Into<GuestMemory<'m>>,
) -> Result<Result<(), String>, AbiError> {
    lift_from_memory(pointer, memory)
}

/// The result of `on-broadcast`, from the pointer that it returned. The inner error is the guest's own.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_on_broadcast<'m>(
    pointer: u32,
    memory: impl Into<GuestMemory<'m>>,
) -> Result<Result<(), String>, AbiError> {
    lift_from_memory(pointer, memory)
}

/// The result of a tool's `execute`, from the pointer that it returned.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_execute<'m>(pointer: u32, memory: impl Into<GuestMemory<'m>>) -> Result<ToolResponse, AbiError> {
    lift_from_memory(pointer, memory)
}

/// The result of a tool's `schema` or `description`, from the pointer that it returned.
///
/// # Errors
///
/// Whatever is wrong with what the guest handed over.
pub fn lift_text<'m>(pointer: u32, memory: impl Into<GuestMemory<'m>>) -> Result<String, AbiError> {
    lift_from_memory(pointer, memory)
}

//! Which host function stands behind each of a guest's imports, and what it does when a guest calls it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use wasmi::{AsContextMut, Caller, Extern, ExternType, Func, FuncType, Memory, Module, Val};
use wit_abi::abi_version::World;
use wit_abi::canonical::{CoreValue, GuestMemory, MAX_CORE_ARGS};
use wit_abi::guest::{Guest as GuestBinary, ImportKnowledge, ImportName};
use wit_abi::imports::{self, HostCall, HostFunc};
use wit_abi::types::{EmittedMessage, LogLevel};

use super::context::ToolBudget;
use super::error::Halt;
use super::host_call_error::HostCallError;
use super::scan;
use super::state::{ChannelHostState, Guest, core_value, wasmi_value};
use super::wasi::{self, Wasi, WasiFunc};
use super::wechat;
use super::worker_pool::panic_text;
use crate::channel::workspace::workspace_path;
use crate::egress::{OutboundCall, OutboundRequest};

/// Runs one call from its core arguments to its core result.
pub(super) fn run(
    guest: &mut Guest<'_>,
    func: HostFunc,
    args: &[CoreValue],
) -> Result<Option<CoreValue>, Halt> {
    let (memory, state) = guest.memory_and_state();
    let ChannelHostState { limiter, abi_version, .. } = state;
    let mut room = |bytes| limiter.copy(bytes);
    let call = HostCall::lift(func, abi_version, args, GuestMemory::with_room(memory, &mut room))?;
    guest.charge_bytes(moved_bytes(&call))?;
    let result = perform(guest, args, call);
    guest.state().count_what_is_kept();
    result
}

fn perform(guest: &mut Guest<'_>, args: &[CoreValue], call: HostCall) -> Result<Option<CoreValue>, Halt> {
    match call {
        HostCall::Log { level, message } => {
            let state = guest.state();
            let longest = state.channel.limits.log_line_bytes;
            let message = state.channel.services.without_given_secrets(&message, longest);
            state.record.log(level, &message);
        }
        HostCall::NowMillis => {
            let now = guest.state().channel.services.now_millis();
            return Ok(Some(imports::lower_now_millis(now)));
        }
        HostCall::SecretExists { name } => {
            let exists = guest.state().channel.services.secret_exists(&name);
            return Ok(Some(imports::lower_secret_exists(exists)));
        }
        HostCall::WorkspaceRead { path } => {
            let content = match guest.state().abi_version.world {
                World::Channel => workspace_read(guest.state(), "workspace-read", &path),
                World::Tool => guest.blocking(|state| read_file(state, &path))?,
            };
            imports::lower_workspace_read(args, &content, guest)?;
        }
        HostCall::StateRead { path } => {
            let content = workspace_read(guest.state(), "read", &path);
            imports::lower_workspace_read(args, &content, guest)?;
        }
        HostCall::WorkspaceWrite { path, content } | HostCall::StateWrite { path, content } => {
            let result = workspace_write(guest.state(), &path, content);
            imports::lower_nothing_or_error(args, &in_words(result), guest)?;
        }
        HostCall::HttpRequest { method, url, headers_json, body, timeout_ms } => {
            let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
            let request = OutboundRequest { method, url, headers_json, body, timeout };
            let result = guest.blocking(|state| http_request(state, request))?;
            imports::lower_http_request(args, &in_words(result), guest)?;
        }
        HostCall::StoreAttachmentData { attachment_id, data } => {
            let result = guest.state().record.store_attachment(attachment_id, data);
            imports::lower_nothing_or_error(args, &in_words(result), guest)?;
        }
        HostCall::EmitMessage(message) => {
            fetch_encrypted_files(guest, &message)?;
            guest.state().record.emit(message);
        }
        HostCall::WebsocketSendText { payload } | HostCall::SocketSend { text: payload } => {
            let result = guest.blocking(|state| {
                state.record.had_side_effects();
                state.channel.services.websocket_send(payload)
            })?;
            imports::lower_nothing_or_error(args, &in_words(result), guest)?;
        }
        // A guest speaks for its own channel only, whatever name it gives.
        HostCall::PairingUpsertRequest { channel: _, id, meta_json } => {
            let result = guest.blocking(|state| state.channel.services.pairing_upsert(&id, &meta_json))?;
            imports::lower_pairing_upsert_request(args, &in_words(result), guest)?;
        }
        HostCall::PairingIsAllowed { channel: _, id, username } => {
            let result = guest
                .blocking(|state| state.channel.services.pairing_is_allowed(&id, username.as_deref()))?;
            imports::lower_pairing_is_allowed(args, &in_words(result), guest)?;
        }
        HostCall::PairingResolveIdentity { channel: _, external_id } => {
            let result = guest.blocking(|state| state.channel.services.pairing_resolve(&external_id))?;
            imports::lower_pairing_resolve_identity(args, &in_words(result), guest)?;
        }
        HostCall::PairingReadAllowFrom { channel: _ } => {
            let result = guest.blocking(|state| state.channel.services.pairing_allow_from())?;
            imports::lower_pairing_read_allow_from(args, &in_words(result), guest)?;
        }
        HostCall::TimerSet { name, delay_ms, payload } => {
            let result = guest.state().record.set_timer(&name, Duration::from_millis(delay_ms), &payload);
            imports::lower_nothing_or_error(args, &in_words(result), guest)?;
        }
        HostCall::TimerCancel { name } => guest.state().record.cancel_timer(&name),
        HostCall::ToolInvoke { alias, params_json } => {
            let result = tool_invoke(guest, &alias, params_json)?;
            imports::lower_tool_invoke(args, &in_words(result), guest)?;
        }
    }
    Ok(None)
}

/// A tool reads what its capability file allows of a directory that the operator chose.
fn read_file(state: &mut ChannelHostState, path: &str) -> Option<String> {
    state.channel.services.read_file(path).unwrap_or_else(|error| {
        state.record.log(LogLevel::Warn, &format!("workspace-read was refused: {error}"));
        None
    })
}

/// The other tool runs on what is left to this one, which pays for it.
fn tool_invoke(
    guest: &mut Guest<'_>,
    alias: &str,
    params_json: String,
) -> Result<Result<String, HostCallError>, Halt> {
    let fuel = guest.fuel_left();
    let state = guest.state();
    let limit = state.channel.limits.tool_invokes;
    if state.tool_calls >= limit {
        return Ok(Err(HostCallError::TooManyInvokes(limit)));
    }
    state.tool_calls += 1;
    let budget = ToolBudget { fuel, deadline: state.meter.deadline(), stop: state.meter.stop().clone() };
    let invoked = guest.blocking(|state| {
        state.record.had_side_effects();
        state.channel.services.tool_invoke(alias, params_json, budget)
    })?;
    guest.charge_fuel(invoked.fuel)?;
    Ok(invoked.result)
}

/// Fetches files that WeChat keeps encrypted, and keeps them as if the guest had stored them.
fn fetch_encrypted_files(guest: &mut Guest<'_>, message: &EmittedMessage) -> Result<(), Halt> {
    let most = guest.state().channel.limits.attachments_per_message;
    for file in message.attachments.iter().take(most) {
        let (Some(url), Some(key)) = (&file.source_url, wechat::key_of(&file.extras_json)) else { continue };
        if guest.state().record.has_attachment(&file.id) {
            continue;
        }
        let fetched = guest.blocking(|state| fetch_encrypted_file(state, file.id.clone(), url, &key))?;
        if let Err(error) = fetched {
            guest.state().record.log(LogLevel::Warn, &format!("a file of a message is left out: {error}"));
        }
    }
    Ok(())
}

fn fetch_encrypted_file(
    state: &mut ChannelHostState,
    id: String,
    url: &str,
    key: &[u8; 16],
) -> Result<(), String> {
    let request = OutboundRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers_json: "{}".to_owned(),
        body: None,
        timeout: None,
    };
    let response = http_request(state, request).map_err(|error| error.to_string())?;
    if !(200..300).contains(&response.status) {
        return Err(format!("its server responds with {}", response.status));
    }
    let data =
        wechat::decrypted(response.body, key).ok_or("it is not encrypted with the key of the message")?;
    state.record.store_attachment(id, data).map_err(|error| error.to_string())
}

fn workspace_read(state: &mut ChannelHostState, call: &str, path: &str) -> Option<String> {
    match workspace_path(path) {
        Ok(path) => state.workspace.read(&path).map(|content| content.as_ref().to_owned()),
        Err(error) => {
            // The worlds have no error for this call; "no such file" is what the guest gets.
            state.record.log(LogLevel::Warn, &format!("{call} was refused: {error}"));
            None
        }
    }
}

fn workspace_write(state: &mut ChannelHostState, path: &str, content: String) -> Result<(), HostCallError> {
    let path = workspace_path(path)?;
    Ok(state.workspace.write(path, content.into())?)
}

fn http_request(
    state: &mut ChannelHostState,
    request: OutboundRequest,
) -> Result<wit_abi::types::HttpResponse, HostCallError> {
    let deadline = state.meter.deadline();
    let (calls_before, limit) = (state.http_calls, state.channel.limits.http_calls);
    if calls_before >= limit {
        return Err(HostCallError::TooManyRequests(limit));
    }
    let call = OutboundCall { deadline, calls_before, purpose: state.purpose };
    state.http_calls = state.http_calls.saturating_add(1);
    let body_bytes = request.body.as_ref().map_or(0, |body| body.len() as u64);
    state.sent_bytes = state.sent_bytes.saturating_add(body_bytes);
    // Also a request that fails may have reached its server.
    state.record.had_side_effects();
    let url = request.url.clone();
    let services = &state.channel.services;
    // Texts of services are short when they come here.
    let redact = |text: String| services.without_given_secrets(&text, usize::MAX).into_owned();
    let limiter = &mut state.limiter;
    match services.http_request(request, call, &mut |bytes| limiter.copy(bytes)) {
        Ok(response) => {
            state.record.responded(&url, &response, redact);
            Ok(response.response)
        }
        Err(error) => {
            state.record.failed_to_respond(&error, redact);
            Err(HostCallError::Service(error.message))
        }
    }
}

/// The result as the guest gets it, for which an error is a text.
fn in_words<T>(result: Result<T, HostCallError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// How much the host copied and checked to get the call.
fn moved_bytes(call: &HostCall) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    match call {
        HostCall::Log { message, .. } => message.len(),
        HostCall::NowMillis | HostCall::PairingReadAllowFrom { .. } => 0,
        HostCall::WorkspaceRead { path } | HostCall::StateRead { path } => path.len(),
        HostCall::WorkspaceWrite { path, content } | HostCall::StateWrite { path, content } => {
            path.len() + content.len()
        }
        HostCall::HttpRequest { method, url, headers_json, body, .. } => {
            method.len() + url.len() + headers_json.len() + body.as_ref().map_or(0, Vec::len)
        }
        HostCall::SecretExists { name } | HostCall::TimerCancel { name } => name.len(),
        HostCall::StoreAttachmentData { attachment_id, data } => attachment_id.len() + data.len(),
        HostCall::EmitMessage(message) => message_bytes(message),
        HostCall::WebsocketSendText { payload } | HostCall::SocketSend { text: payload } => payload.len(),
        HostCall::PairingUpsertRequest { id, meta_json, .. } => id.len() + meta_json.len(),
        HostCall::PairingIsAllowed { id, username, .. } => id.len() + optional(username),
        HostCall::PairingResolveIdentity { external_id, .. } => external_id.len(),
        HostCall::TimerSet { name, payload, .. } => name.len() + payload.len(),
        HostCall::ToolInvoke { alias, params_json } => alias.len() + params_json.len(),
    }
}

fn message_bytes(message: &EmittedMessage) -> usize {
    // An attachment with nothing in it takes room in the host all the same.
    let attachments = message.attachments.len() * size_of::<wit_abi::types::InboundAttachment>();
    attachments + message.content.len() + super::record::field_bytes(message)
}

/// What an import is.
#[derive(Clone, Copy)]
enum HostImport {
    Channel(HostFunc),
    Wasi(WasiFunc),
    NotGiven,
}

/// What the reader has to know about imports that are not the channel's.
pub(super) fn knowledge(import: &ImportName<'_>) -> ImportKnowledge {
    match wasi::find(import.module, import.name) {
        Some(Wasi::Given(func)) => ImportKnowledge::Typed(func.core_type()),
        Some(Wasi::NotGiven) => ImportKnowledge::AnyType,
        None => ImportKnowledge::Unknown,
    }
}

/// An import that no instance can be linked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnlinkableImport {
    /// Something else than a function.
    #[error("it imports `{module}` `{name}`, which is no function")]
    NoFunction { module: Box<str>, name: Box<str> },
    /// A function that no interface of this host has.
    #[error("it imports `{module}` `{name}`, which this host does not have")]
    Unknown { module: Box<str>, name: Box<str> },
}

/// What an instance is linked with, in the order of the module's imports: no name is looked up any more.
pub(super) struct HostImports(Vec<LinkedImport>);

enum LinkedImport {
    Func {
        ty: FuncType,
        func: HostImport,
        label: Arc<str>,
    },
    /// The memory that scanning has turned into an import.
    Memory,
}

impl HostImports {
    /// Finds what stands behind each import of `module`.
    ///
    /// # Errors
    /// Says which import cannot be linked. The reader has refused nearly all of those.
    pub(super) fn of(module: &Module, guest: &GuestBinary<'_>) -> Result<Self, UnlinkableImport> {
        let slot = |import: wasmi::ImportType<'_>| {
            let (module, name) = (import.module(), import.name());
            match import.ty() {
                ExternType::Func(ty) => Ok(LinkedImport::Func {
                    ty: ty.clone(),
                    func: resolve(guest, module, name)?,
                    label: format!("{module} {name}").into(),
                }),
                ExternType::Memory(_) if (module, name) == scan::MEMORY_IMPORT => Ok(LinkedImport::Memory),
                _ => Err(UnlinkableImport::NoFunction { module: module.into(), name: name.into() }),
            }
        };
        module.imports().map(slot).collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Makes the imports of one instance.
    pub(super) fn externs(
        &self,
        mut store: impl AsContextMut<Data = ChannelHostState>,
        memory: Option<Memory>,
    ) -> Vec<Extern> {
        let mut externs = Vec::with_capacity(self.0.len());
        for slot in &self.0 {
            match slot {
                LinkedImport::Func { ty, func, label } => {
                    let (func, label) = (*func, Arc::clone(label));
                    let run = move |caller: Caller<'_, ChannelHostState>,
                                    params: &[Val],
                                    results: &mut [Val]| {
                        // wasmi's handlers are functions of a foreign calling convention: a panic that reached them
                        // would end the process.
                        let run = AssertUnwindSafe(|| call(caller, func, &label, params, results));
                        Ok(catch_unwind(run).unwrap_or_else(|panic| Err(panicked(&label, panic.as_ref())))?)
                    };
                    externs.push(Func::new(&mut store, ty.clone(), run).into());
                }
                LinkedImport::Memory => externs.extend(memory.map(Extern::from)),
            }
        }
        externs
    }
}

fn resolve(guest: &GuestBinary<'_>, module: &str, name: &str) -> Result<HostImport, UnlinkableImport> {
    let of_channel = guest.imports.iter().find(|import| import.module == module && import.name == name);
    match (of_channel.and_then(|import| import.host_func), wasi::find(module, name)) {
        (Some(func), _) => Ok(HostImport::Channel(func)),
        (None, Some(Wasi::Given(func))) => Ok(HostImport::Wasi(func)),
        (None, Some(Wasi::NotGiven)) => Ok(HostImport::NotGiven),
        (None, None) => Err(UnlinkableImport::Unknown { module: module.into(), name: name.into() }),
    }
}

fn panicked(import: &str, panic: &(dyn Any + Send)) -> Halt {
    Halt::Host(format!("a panic in `{import}`: {}", panic_text(panic)))
}

fn call(
    mut caller: Caller<'_, ChannelHostState>,
    func: HostImport,
    label: &Arc<str>,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), Halt> {
    use wasmi::AsContextMut;
    let mut guest = Guest::new(caller.as_context_mut());
    guest.enter(label)?;
    let mut args = [CoreValue::I32(0); MAX_CORE_ARGS];
    let outcome = match func {
        HostImport::NotGiven => return Err(Halt::NotGiven(Arc::clone(label))),
        HostImport::Channel(func) => run(&mut guest, func, core_args(params, &mut args)?)?,
        HostImport::Wasi(func) => func.call(&mut guest, core_args(params, &mut args)?)?,
    };
    match (results, outcome) {
        ([result], Some(value)) => *result = wasmi_value(value),
        ([], None) => {}
        _ => return Err(Halt::Host(format!("`{label}` was linked with a type that was not checked"))),
    }
    Ok(())
}

fn core_args<'a>(params: &[Val], args: &'a mut [CoreValue; MAX_CORE_ARGS]) -> Result<&'a [CoreValue], Halt> {
    let Some(args) = args.get_mut(..params.len()) else {
        return Err(Halt::Host("an import was linked with a type that was not checked".to_owned()));
    };
    for (arg, param) in args.iter_mut().zip(params) {
        *arg = core_value(param)?;
    }
    Ok(args)
}

//! One tool's access to the world, with that tool's rights, for one call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::files::ToolFiles;
use super::prepared::PreparedTool;
use super::registry::RegisteredTools;
use crate::egress::{ChannelHttp, OutboundCall, OutboundRequest, OutboundResponse, ResponseRoom};
use crate::model::clock::unix_ms;
use crate::model::rate_limit::RateLimit;
use crate::sandbox::{GuestHttpError, GuestServices, HostCallError, InvokedTool, ToolBudget};
use crate::secrets::{AllowedNames, SecretStore};

/// How deep tools may invoke each other: a tool that the agent calls, and four more below it.
const MAX_INVOKE_DEPTH: u32 = 4;

/// What a tool has over all its calls.
pub(super) struct ToolRights {
    pub(super) http: ChannelHttp,
    pub(super) secrets: Arc<dyn SecretStore>,
    pub(super) allowed_secrets: AllowedNames,
    pub(super) files: Option<ToolFiles>,
    /// Calls of this tool on several workers count together; held to take a token.
    pub(super) invoke_rate: Mutex<RateLimit>,
}

/// The same for one call, which knows who called.
pub(super) struct CallRights {
    pub(super) tool: Arc<PreparedTool>,
    pub(super) tools: Arc<RegisteredTools>,
    /// How many tools invoked each other until this one.
    pub(super) depth: u32,
    /// What the call is for, as the agent said it.
    pub(super) context: Option<String>,
}

impl GuestServices for CallRights {
    fn http_request(
        &self,
        request: OutboundRequest,
        call: OutboundCall,
        room: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        self.tool.rights().http.request(request, call, room).map_err(|error| GuestHttpError {
            is_permanent: error.is_permanent(),
            message: error.to_string(),
        })
    }

    fn secret_exists(&self, name: &str) -> bool {
        let rights = self.tool.rights();
        // A store that cannot be read gives no secret either, so for the guest there is none.
        rights.allowed_secrets.exists(&*rights.secrets, name).unwrap_or(false)
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, HostCallError> {
        let workspace = self.tool.capabilities().workspace.as_ref();
        let prefixes = workspace.map(|workspace| workspace.allowed_prefixes.as_slice()).unwrap_or_default();
        if prefixes.is_empty() {
            return Err(HostCallError::service(
                "the tool's capability file has no workspace.allowed_prefixes",
            ));
        }
        match &self.tool.rights().files {
            Some(files) => {
                files.read(path, prefixes, self.tool.limits().tool_file_bytes).map_err(HostCallError::service)
            }
            None => Err(HostCallError::service("the operator has named no directory that tools may read")),
        }
    }

    fn tool_invoke(&self, alias: &str, params_json: String, budget: ToolBudget) -> InvokedTool {
        match self.invoked(alias) {
            Ok(tool) => self.tools.invoke(&tool, params_json, self.context.clone(), self.depth + 1, budget),
            Err(error) => InvokedTool { result: Err(error), fuel: 0 },
        }
    }

    fn now_millis(&self) -> u64 {
        unix_ms()
    }
}

impl CallRights {
    /// The tool that the alias stands for, when it may be invoked now.
    fn invoked(&self, alias: &str) -> Result<Arc<PreparedTool>, HostCallError> {
        let aliases = self.tool.capabilities().tool_invoke.as_ref().map(|invoke| &invoke.aliases);
        let Some(name) = aliases.and_then(|aliases| aliases.get(alias)) else {
            return Err(HostCallError::service(
                "tool_invoke.aliases of the capability file does not have this alias",
            ));
        };
        if self.depth >= MAX_INVOKE_DEPTH {
            return Err(HostCallError::Service(format!(
                "tools may invoke each other {MAX_INVOKE_DEPTH} deep, and this would be deeper"
            )));
        }
        let mut rate = self.tool.rights().invoke_rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.take(1, Instant::now()).map_err(|error| {
            HostCallError::Service(format!(
                "the tool has invoked others too often: {error} (tool_invoke.rate_limit)"
            ))
        })?;
        drop(rate);
        self.tools.find(name).map_err(HostCallError::service)
    }
}

/// For a guest that is only asked what it is: it may do nothing.
pub(super) struct NoRights;

const NO_RIGHTS: &str = "a tool that is being loaded may do nothing";

impl GuestServices for NoRights {
    fn http_request(
        &self,
        _: OutboundRequest,
        _: OutboundCall,
        _: ResponseRoom<'_>,
    ) -> Result<OutboundResponse, GuestHttpError> {
        Err(NO_RIGHTS.to_owned().into())
    }

    fn secret_exists(&self, _: &str) -> bool {
        false
    }

    fn read_file(&self, _: &str) -> Result<Option<String>, HostCallError> {
        Err(HostCallError::service(NO_RIGHTS))
    }

    fn tool_invoke(&self, _: &str, _: String, _: ToolBudget) -> InvokedTool {
        InvokedTool { result: Err(HostCallError::service(NO_RIGHTS)), fuel: 0 }
    }

    fn now_millis(&self) -> u64 {
        unix_ms()
    }
}

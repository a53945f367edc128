//! A tool that was read, checked and asked what it is.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use wit_abi::abi_version::AbiVersion;

use super::rights::ToolRights;
use super::schema::{ParameterProblem, ParameterSchema};
use crate::capability::ToolCapabilities;
use crate::capability::limits::ChannelLimits;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::ChannelName;
use crate::sandbox::{GuestLogRate, PreparedChannelModule};

/// A tool that can be called, through the [`ToolRegistry`](super::ToolRegistry) that it is put into.
pub struct PreparedTool(ToolParts);

/// What a prepared tool is made of.
pub(super) struct ToolParts {
    pub(super) name: ChannelName,
    pub(super) module: Arc<PreparedChannelModule>,
    pub(super) capabilities: ToolCapabilities,
    pub(super) limits: ChannelLimits,
    pub(super) rights: ToolRights,
    pub(super) log_rate: GuestLogRate,
    /// What its calls are told of the operator.
    pub(super) settings: Map<String, Value>,
    pub(super) schema: ParameterSchema,
    pub(super) description: String,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl PreparedTool {
    pub(super) fn new(parts: ToolParts) -> Self {
        Self(parts)
    }

    /// Its name, by which it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name.as_str()
    }

    /// What it is for, in its guest's words.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// The JSON Schema of its parameters, as its guest gives it.
    #[must_use]
    pub fn schema(&self) -> &Value {
        self.0.schema.as_value()
    }

    /// Its capability file.
    #[must_use]
    pub fn capabilities(&self) -> &ToolCapabilities {
        &self.0.capabilities
    }

    /// What is worth knowing about it, although it can be called.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.0.diagnostics
    }

    /// The shape of the tool world that its guest was built for.
    #[must_use]
    pub fn abi_version(&self) -> &AbiVersion {
        self.0.module.abi_version()
    }

    pub(super) fn module(&self) -> &PreparedChannelModule {
        &self.0.module
    }

    pub(super) fn limits(&self) -> &ChannelLimits {
        &self.0.limits
    }

    pub(super) fn rights(&self) -> &ToolRights {
        &self.0.rights
    }

    pub(super) fn log_rate(&self) -> &GuestLogRate {
        &self.0.log_rate
    }

    pub(super) fn settings(&self) -> &Map<String, Value> {
        &self.0.settings
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.0.name.shared()
    }

    pub(super) fn key(&self) -> &ChannelName {
        &self.0.name
    }

    /// What is wrong with the parameters, which are a text of JSON. None at all is as good as an empty object.
    pub(super) fn check(&self, params: &str) -> Vec<String> {
        let limit = self.limits().tool_params_bytes;
        if params.len() > limit {
            let size = params.len();
            return vec![format!("they have {size} bytes and may have {limit} (tool.max_params_bytes)")];
        }
        match serde_json::from_str(params) {
            Ok(value) => self.0.schema.problems(&value).iter().map(ParameterProblem::to_string).collect(),
            Err(error) => vec![format!("they are not JSON: {error}")],
        }
    }
}

impl fmt::Debug for PreparedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedTool").field("name", &self.0.name).finish_non_exhaustive()
    }
}

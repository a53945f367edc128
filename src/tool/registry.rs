//! The tools that can be called, by their names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::call::{ToolCall, ToolReport, checked_params};
use super::error::{ToolError, ToolFailure};
use super::prepared::PreparedTool;
use super::runtime::{EXECUTE, WasmToolRuntime};
use crate::channel::{ChannelFiles, DiscoveredChannel, LoadError, discover_channels};
use crate::model::name::ChannelName;
use crate::model::oneshot;
use crate::sandbox::{PoolError, StopFlag};

/// Tools by name. Cloning shares it, and it can be used from any thread.
#[derive(Clone)]
pub struct ToolRegistry(Arc<RegisteredTools>);

/// The tools, as those that run see them.
pub(super) struct RegisteredTools {
    runtime: WasmToolRuntime,
    /// Held for a look-up or a change only.
    by_name: RwLock<BTreeMap<ChannelName, Arc<PreparedTool>>>,
    stop: StopFlag,
}

/// What became of the tools of a directory.
#[derive(Debug, Default)]
pub(crate) struct LoadedTools {
    /// The names of those that can be called.
    pub(crate) loaded: Vec<String>,
    /// Why the others cannot.
    pub(crate) failed: Vec<ToolError>,
    /// What is worth saying: a tool without a capability file, a capability file without a tool.
    pub(crate) warnings: Vec<String>,
}

impl ToolRegistry {
    /// A registry without tools.
    #[must_use]
    pub fn new(runtime: WasmToolRuntime) -> Self {
        Self(Arc::new(RegisteredTools { runtime, by_name: RwLock::default(), stop: StopFlag::default() }))
    }

    /// The runtime that its tools are prepared with.
    #[must_use]
    pub fn runtime(&self) -> &WasmToolRuntime {
        &self.0.runtime
    }

    /// Loads every tool that `path` names: a directory with `NAME.wasm` and `NAME.capabilities.json` beside it, or one
    /// `.wasm`. A tool that cannot be loaded does not keep the others from it: returned is why each of those cannot.
    ///
    /// # Errors
    /// There is nothing at the path, or it cannot be read.
    pub fn load(&self, path: &Path) -> Result<Vec<ToolError>, ToolError> {
        let LoadedTools { failed, warnings, .. } = self.load_all(path)?;
        warnings.iter().for_each(|warning| log::warn!("{warning}"));
        Ok(failed)
    }

    /// The same with what was loaded, and what is worth saying.
    pub(crate) fn load_all(&self, path: &Path) -> Result<LoadedTools, ToolError> {
        let mut results = LoadedTools::default();
        let found = if path.is_dir() {
            let discovery = discover_channels(path)?;
            results.warnings = discovery.warnings.iter().map(ToString::to_string).collect();
            results.failed.extend(discovery.refused.into_iter().map(ToolError::from));
            discovery.channels
        } else if path.try_exists().unwrap_or(true) {
            vec![DiscoveredChannel::at(path)?]
        } else {
            return Err(LoadError::NotFound { path: path.to_owned() }.into());
        };
        for tool in found {
            match self.load_found(&tool) {
                Ok(()) => results.loaded.push(tool.name.to_string()),
                Err(error) => results.failed.push(error),
            }
        }
        Ok(results)
    }

    fn load_found(&self, found: &DiscoveredChannel) -> Result<(), ToolError> {
        let ChannelFiles { wasm, capabilities } = found.read()?;
        self.add(self.runtime().prepare(found.name.as_str(), &wasm, capabilities.as_deref())?)
    }

    /// Adds a tool.
    ///
    /// # Errors
    /// [`ToolError::NameTaken`].
    pub fn add(&self, tool: PreparedTool) -> Result<(), ToolError> {
        let mut tools = self.0.by_name.write().unwrap_or_else(PoisonError::into_inner);
        if tools.contains_key(tool.key()) {
            return Err(ToolError::NameTaken { tool: tool.name().to_owned() });
        }
        tools.insert(tool.key().clone(), Arc::new(tool));
        Ok(())
    }

    /// Takes a tool out; calls that run go on. False when there is none of this name.
    pub fn remove(&self, name: &str) -> bool {
        let mut tools = self.0.by_name.write().unwrap_or_else(PoisonError::into_inner);
        ChannelName::new(name).is_ok_and(|name| tools.remove(&name).is_some())
    }

    /// All tools, in the order of their names.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<PreparedTool>> {
        self.0.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The tool of this name; `-` is as good as `_`.
    ///
    /// # Errors
    /// [`ToolError::Unknown`] names those that are there.
    pub fn find(&self, name: &str) -> Result<Arc<PreparedTool>, ToolError> {
        self.0.find(name)
    }

    /// Calls a tool with parameters, which are JSON, and waits for what it returns.
    ///
    /// # Errors
    /// Every [`ToolError`] is a text that says what went wrong to whoever called, also to a language model.
    pub fn call(&self, name: &str, params: &str) -> Result<String, ToolError> {
        self.call_with(name, ToolCall { params: params.to_owned(), context: None }).result
    }

    /// The same with a context, and with what the call took.
    pub fn call_with(&self, name: &str, call: ToolCall) -> ToolReport {
        let checked = self.find(name).and_then(|tool| {
            let params = checked_params(&tool, call.params)?;
            Ok((tool, params))
        });
        match checked {
            Ok((tool, params)) => self.on_worker(tool, params, call.context),
            Err(error) => ToolReport::not_run(error),
        }
    }

    fn on_worker(&self, tool: Arc<PreparedTool>, params: String, context: Option<String>) -> ToolReport {
        let (sender, report) = oneshot::channel();
        let name = tool.name().to_owned();
        let tools = Arc::clone(&self.0);
        let job = move || {
            // Nothing of the registry is held here when the caller goes on: the last one to hold it joins the workers.
            let report = {
                let (tools, tool) = (tools, tool);
                tools.execute(&tool, params, context)
            };
            sender.send(report);
        };
        if let Err(error) = self.runtime().room().submit(Box::new(job)) {
            let error = match error {
                PoolError::Full => {
                    ToolError::Busy { tool: name, reason: "too many calls are running".to_owned() }
                }
                other => ToolError::Busy { tool: name, reason: other.to_string() },
            };
            return ToolReport::not_run(error);
        }
        report.wait().unwrap_or_else(|| {
            let failure = ToolFailure::Host { reason: "the call was lost".to_owned() };
            ToolReport::not_run(ToolError::Ended { tool: name, function: EXECUTE, failure })
        })
    }

    /// Ends every call that runs, for the end of the program; later ones end at once.
    pub fn shutdown(&self) {
        self.0.stop.stop();
        self.runtime().shutdown();
    }
}

impl RegisteredTools {
    pub(super) fn runtime(&self) -> &WasmToolRuntime {
        &self.runtime
    }

    /// Ends every call.
    pub(super) fn stop(&self) -> StopFlag {
        self.stop.clone()
    }

    pub(super) fn find(&self, name: &str) -> Result<Arc<PreparedTool>, ToolError> {
        let tools = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let found = ChannelName::new(name).ok().and_then(|name| tools.get(&name).cloned());
        found.ok_or_else(|| ToolError::Unknown {
            tool: crate::model::document::shortened(name),
            known: tools.keys().map(ToString::to_string).collect(),
        })
    }
}

impl fmt::Debug for ToolRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tools()).finish()
    }
}

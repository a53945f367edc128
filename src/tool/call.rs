//! One call of a tool, by an agent or by another tool.

use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use super::error::{ToolError, ToolFailure};
use super::prepared::PreparedTool;
use super::registry::RegisteredTools;
use super::rights::CallRights;
use super::runtime::{EXECUTE, WasmToolRuntime, execute};
use super::settings::with_settings;
use super::state::{CallState, KeepError};
use crate::channel::workspace::WorkspaceSnapshot;
use crate::event::callback::{CallbackReport, CallbackValue};
use crate::model::deadline::deadline_after;
use crate::model::document::shortened;
use crate::model::prefix::prefix;
use crate::sandbox::{GUEST_STACK_BYTES, HostCallError, InvokedTool, ToolBudget, log_level};

/// Bytes that are kept of what a tool says of its own failure.
const MAX_ERROR_BYTES: usize = 4096;
/// How often a call runs while others write its files.
const MAX_RUNS: u32 = 20;
/// What stands at the end of a text that was cut.
const CUT: &str = "…[truncated]";

/// What a tool is called with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The parameters: JSON that fits the tool's schema. Empty: an empty object.
    pub params: String,
    /// A JSON object with the conversation, the channel and the user that the call is for.
    pub context: Option<String>,
}

/// What came of a call, and what it took.
#[derive(Debug)]
#[non_exhaustive]
pub struct ToolReport {
    /// What the tool returned, or why it did not.
    pub result: Result<String, ToolError>,
    /// Units of fuel that it used, with those of the tools that it invoked.
    pub fuel: u64,
    /// The most memory that it had at once, in bytes.
    pub peak_memory: usize,
    /// How long it ran.
    pub elapsed: Duration,
    /// Requests that it made.
    pub http_calls: u32,
    /// What it logged, with the level of each line; already handed to the `log` crate.
    pub logs: Vec<(log::Level, String)>,
}

impl ToolReport {
    /// The report of a call that did not begin.
    pub(super) fn not_run(error: ToolError) -> Self {
        Self {
            result: Err(error),
            fuel: 0,
            peak_memory: 0,
            elapsed: Duration::ZERO,
            http_calls: 0,
            logs: Vec::new(),
        }
    }

    fn of(tool: &PreparedTool, report: CallbackReport) -> Self {
        let usage = report.usage;
        let logs = report.logs.into_iter();
        Self {
            result: result(
                tool,
                report.result.map_err(|error| ToolError::ended(tool.name(), EXECUTE, error)),
            ),
            fuel: usage.fuel,
            peak_memory: usage.peak_memory,
            elapsed: usage.elapsed,
            http_calls: usage.http_calls,
            logs: logs.map(|line| (log_level(line.level), line.message)).collect(),
        }
    }
}

/// What the caller gets of what the guest returned.
fn result(tool: &PreparedTool, value: Result<CallbackValue, ToolError>) -> Result<String, ToolError> {
    let CallbackValue::Executed(response) = value? else {
        let reason = "a call returned what no call returns".to_owned();
        let (tool, failure) = (tool.name().to_owned(), ToolFailure::Host { reason });
        return Err(ToolError::Ended { tool, function: EXECUTE, failure });
    };
    if let Some(mut message) = response.error {
        cut(&mut message, MAX_ERROR_BYTES);
        return Err(ToolError::Failed { tool: tool.name().to_owned(), message });
    }
    let output = response.output.unwrap_or_default();
    let (bytes, limit) = (output.len(), tool.limits().tool_output_bytes);
    if bytes > limit {
        let failure = ToolFailure::ResultTooLarge { bytes, limit, field: "tool.max_output_bytes" };
        return Err(ToolError::Ended { tool: tool.name().to_owned(), function: EXECUTE, failure });
    }
    Ok(output)
}

fn cut(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    text.truncate(prefix(text, limit.saturating_sub(CUT.len())).len());
    text.push_str(CUT);
}

/// The parameters that the guest gets, when they fit its schema.
pub(super) fn checked_params(tool: &PreparedTool, params: String) -> Result<String, ToolError> {
    let params = if params.trim().is_empty() { "{}".to_owned() } else { params };
    match tool.check(&params) {
        problems if problems.is_empty() => Ok(params),
        problems => Err(ToolError::Parameters { tool: tool.name().to_owned(), problems }),
    }
}

impl RegisteredTools {
    /// Runs a call of the agent, on a worker.
    pub(super) fn execute(
        self: &Arc<Self>,
        tool: &Arc<PreparedTool>,
        params: String,
        context: Option<String>,
    ) -> ToolReport {
        let fuel = u64::MAX;
        let deadline = deadline_after(Instant::now(), tool.limits().tool_timeout);
        self.run(tool, params, context, 0, ToolBudget { fuel, deadline, stop: self.stop() })
    }

    /// Runs a call on the calling thread until it has failed or what it wrote is kept. It runs again when another call for
    /// the same person has written what this one read, unless it has sent something already: then the later call wins.
    fn run(
        self: &Arc<Self>,
        tool: &Arc<PreparedTool>,
        params: String,
        context: Option<String>,
        depth: u32,
        budget: ToolBudget,
    ) -> ToolReport {
        let (runtime, ToolBudget { fuel, deadline, stop }) = (self.runtime(), budget);
        let state = runtime.states().of_call(tool, context.as_deref());
        let rights =
            CallRights { tool: Arc::clone(tool), tools: Arc::clone(self), depth, context: context.clone() };
        let context = with_settings(context, tool.settings());
        let (rights, callback) = (Arc::new(rights), execute(params, context));
        let (mut spent, mut runs) = (0u64, 1);
        loop {
            let info = WasmToolRuntime::info_for(tool, rights.clone(), fuel.saturating_sub(spent));
            let files = state.as_ref().map_or_else(WorkspaceSnapshot::empty, CallState::snapshot);
            let mut report = runtime.run(tool.module(), &info, &callback, files, deadline, stop.clone());
            let effects = std::mem::take(&mut report.effects);
            let mut report = ToolReport::of(tool, report);
            spent = spent.saturating_add(report.fuel);
            report.fuel = spent;
            let kept = match &state {
                Some(state) if report.result.is_ok() => {
                    state.keep(&effects.workspace, effects.had_side_effects)
                }
                _ => Ok(()),
            };
            match kept {
                Ok(()) => return report,
                Err(KeepError::Changed) if runs < MAX_RUNS => runs += 1,
                Err(error) => {
                    report.result = Err(ToolError::not_kept(tool.name(), error));
                    return report;
                }
            }
        }
    }

    /// Runs a call of another tool, on what is left to that one. It gets a thread of its own, because native stacks of guests
    /// must not pile up on one thread, and a worker must not be waited for on a worker.
    pub(super) fn invoke(
        self: &Arc<Self>,
        tool: &Arc<PreparedTool>,
        params: String,
        context: Option<String>,
        depth: u32,
        budget: ToolBudget,
    ) -> InvokedTool {
        let refused = |error: String| InvokedTool { result: Err(HostCallError::Service(error)), fuel: 0 };
        let params = match checked_params(tool, params) {
            Ok(params) => params,
            Err(error) => return refused(error.to_string()),
        };
        let deadline = budget.deadline.min(deadline_after(Instant::now(), tool.limits().tool_timeout));
        let budget = ToolBudget { deadline, ..budget };
        let run = || self.run(tool, params, context, depth, budget);
        let outcome = thread::scope(|scope| {
            let name = format!("tinclaw-tool-{depth}");
            let thread = Builder::new().name(name).stack_size(GUEST_STACK_BYTES).spawn_scoped(scope, run);
            thread.map(thread::ScopedJoinHandle::join)
        });
        match outcome {
            Ok(Ok(report)) => {
                let result = report.result.map_err(HostCallError::service);
                InvokedTool { result, fuel: report.fuel }
            }
            Ok(Err(_)) => refused(format!("tool {}: the host failed", shortened(tool.name()))),
            Err(error) => refused(format!("tool {}: no thread could be started: {error}", tool.name())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let mut text = "ä".repeat(MAX_ERROR_BYTES / 2);
        cut(&mut text, MAX_ERROR_BYTES);
        assert_eq!(text.len(), MAX_ERROR_BYTES);
        text.push('x');
        cut(&mut text, MAX_ERROR_BYTES);
        assert!(text.len() <= MAX_ERROR_BYTES && text.ends_with(CUT));
    }
}

//! Settings of the agent that name nothing: tools that are not there, a secret that is not stored. Without this they would show only when
//! a message comes.

use super::config::{AgentChoice, Settings};
use super::output::Failure;
use super::tools::{configured, paths};
use crate::{ToolRegistry, WasmChannelRuntime, WasmToolRuntime};

/// What is wrong with a setting, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProblem {
    /// The setting, and what is wrong with it.
    pub text: String,
    /// What to do.
    pub help: String,
}

/// What names nothing of the settings of the agent.
///
/// # Errors
/// The tools or the secrets cannot be read at all.
pub fn agent_problems(
    settings: &Settings,
    engine: &WasmChannelRuntime,
) -> Result<Vec<AgentProblem>, Failure> {
    let (field, secret) = match &settings.agent {
        AgentChoice::OpenAi(openai) => ("api_key", &openai.api_key),
        AgentChoice::Http(http) => ("auth_secret", &http.auth_secret),
        AgentChoice::Echo | AgentChoice::Exec(_) => return Ok(Vec::new()),
    };
    let mut problems = Vec::new();
    if let Some(name) = secret {
        problems.extend(secret_problem(settings, field, name)?);
    }
    if let AgentChoice::OpenAi(openai) = &settings.agent
        && openai.tools.is_some()
    {
        let tools = tools(settings, engine)?;
        for name in openai.unknown_tools(tools.as_ref()) {
            problems.push(AgentProblem {
                text: format!("agent.tools names {name:?}, and there is no such tool"),
                help: format!(
                    "correct the name (`tinclaw tools list` has all), or `tinclaw tools install {name}`"
                ),
            });
        }
    }
    Ok(problems)
}

fn secret_problem(settings: &Settings, field: &str, name: &str) -> Result<Option<AgentProblem>, Failure> {
    let problem =
        |text: String, help: String| Some(AgentProblem { text: format!("agent.{field}: {text}"), help });
    Ok(match settings.secrets.store()?.get(name) {
        Ok(Some(_)) => None,
        Ok(None) => problem(
            format!("the secret {name} is not set, so no message gets a reply"),
            format!("store it with `tinclaw secrets set {name}`"),
        ),
        Err(error) => problem(
            format!("the secret {name} cannot be read: {error}"),
            "messages wait until it can be; `tinclaw secrets list` says more".to_owned(),
        ),
    })
}

fn tools(settings: &Settings, engine: &WasmChannelRuntime) -> Result<Option<ToolRegistry>, Failure> {
    if paths(settings).is_empty() {
        return Ok(None);
    }
    let runtime = WasmToolRuntime::on(engine, settings.tool_runtime()?).map_err(Failure::problem)?;
    Ok(Some(configured(settings, runtime)?.0))
}

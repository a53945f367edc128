//! The agent: its settings, and whether its server responds.

use super::Finding;
use crate::agent::{HttpAgent, OpenAiAgent};
use crate::cli::agent_check::agent_problems;
use crate::cli::config::{AgentChoice, Settings};
use crate::cli::output::Failure;
use crate::egress::OutboundHttp;
use crate::net::without_credentials;

const CHECK: &str = "agent";

pub(super) fn findings(settings: &Settings) -> Result<Vec<Finding>, Failure> {
    let problems = agent_problems(settings, settings.loader()?.runtime())?;
    let mut findings: Vec<Finding> =
        problems.into_iter().map(|problem| Finding::error(CHECK, problem.text, problem.help)).collect();
    let outbound = || OutboundHttp::new(settings.outbound()).map_err(Failure::usage);
    findings.extend(match &settings.agent {
        AgentChoice::OpenAi(openai) => {
            let agent = OpenAiAgent::new(openai.clone(), settings.secrets.store()?);
            agent.connect(&outbound()?);
            Some(of_model(&without_credentials(&openai.url), openai.model.as_deref(), &agent))
        }
        AgentChoice::Http(http) => {
            let agent = HttpAgent::new(http.clone(), settings.secrets.store()?);
            Some(of_server(&without_credentials(&http.url), agent.reach(&outbound()?)))
        }
        AgentChoice::Echo => Some(Finding::note(
            CHECK,
            "the agent replies with the same text",
            "`agent` in tinclaw.toml chooses another one; docs/agents.md has them all",
        )),
        AgentChoice::Exec(_) => None,
    });
    Ok(findings)
}

/// Whether the server of a language model responds, and has the model.
fn of_model(url: &str, model: Option<&str>, agent: &OpenAiAgent) -> Finding {
    let models = match agent.models() {
        Ok(models) => models,
        Err(error) if error.lists_no_models() => {
            return Finding::note(
                CHECK,
                format!("{url} responds and does not list its models: {error}"),
                "some servers do not; `tinclaw setup agent` asks it a question",
            );
        }
        Err(error) => {
            return Finding::error(
                CHECK,
                format!("{url} does not say which models it has: {error}"),
                "start the server, or correct `kind` under [agent]; then `tinclaw setup agent` asks it a question",
            );
        }
    };
    let names = models.join(", ");
    match model {
        Some(model) if models.is_empty() || models.iter().any(|known| known == model) => {
            Finding::good(CHECK, format!("{url} responds; the model is {model}"))
        }
        // Servers take other names for a model than those that they list.
        Some(model) => Finding::note(
            CHECK,
            format!("{url} responds and does not list the model {model}; it has {names}"),
            "correct `model` under [agent], unless `tinclaw setup agent` gets a reply",
        ),
        None if models.len() == 1 => {
            Finding::good(CHECK, format!("{url} responds; its only model is {names}"))
        }
        None => Finding::error(
            CHECK,
            format!(
                "no model is set, and {url} has {}",
                if models.is_empty() { "none listed" } else { &names }
            ),
            "set `model` under [agent]",
        ),
    }
}

/// Whether the server of an agent responds.
fn of_server(url: &str, reached: Result<u16, String>) -> Finding {
    match reached {
        // It is asked for nothing that it does, so any status is a response.
        Ok(status) => Finding::good(CHECK, format!("{url} responds ({status} to HEAD)")),
        Err(error) => Finding::error(
            CHECK,
            format!("{url} does not respond: {error}"),
            "start the agent, or correct `kind` under [agent]; messages wait meanwhile",
        ),
    }
}

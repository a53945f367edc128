//! The agent that the configuration asks for, and `tinclaw setup agent`, which tries it.

use std::sync::Arc;

use serde_json::json;

use crate::agent::{Agent, EchoAgent, ExecAgent, HttpAgent, OpenAiAgent};
use crate::cli::args::{Common, JsonArgs, RunArgs};
use crate::cli::config::{AgentChoice, Settings};
use crate::cli::output::{CommandResult, Failure, print_json};
use crate::egress::OutboundHttp;
use crate::model::escape::{escaped, escaped_lines};
use crate::net::without_credentials;

/// What a model is asked.
const QUESTION: &str = "Say hello in one short sentence.";

/// Lists the models of the server and asks one of them a question.
pub fn try_agent(
    common: &Common,
    agent: Option<String>,
    model: Option<String>,
    output: JsonArgs,
) -> CommandResult {
    let settings = Settings::load_for_run(common, RunArgs { agent, ..RunArgs::default() })?;
    let AgentChoice::OpenAi(mut openai) = settings.agent.clone() else {
        return Err(Failure::usage(
            "the agent is no language model; name its server, as in \
             `tinclaw setup agent openai:http://127.0.0.1:11434/v1`",
        ));
    };
    openai.model = model.or(openai.model);
    let url = without_credentials(&openai.url).into_owned();
    let agent = OpenAiAgent::new(openai, settings.secrets.store()?);
    agent.connect(&OutboundHttp::new(settings.outbound()).map_err(Failure::usage)?);
    let models = agent.models();
    if output.json {
        let (model, response) = agent.try_question(QUESTION).map_err(Failure::problem)?;
        print_json(&json!({
            "server": url,
            "models": models.as_ref().ok(),
            "models_error": models.as_ref().err().map(ToString::to_string),
            "model": model,
            "question": QUESTION,
            "response": response.trim(),
        }));
        return Ok(());
    }
    outln!("server    {url}");
    match models {
        Ok(models) if models.is_empty() => outln!("models    the server lists none"),
        Ok(models) => outln!("models    {}", escaped(&models.join(", "))),
        // Some servers complete chats and list no models.
        Err(error) => outln!("models    not listed: {}", escaped(&error.to_string())),
    }
    let (model, said) = agent.try_question(QUESTION).map_err(Failure::problem)?;
    let model = escaped(&model);
    outln!("model     {model}\nquestion  {QUESTION}\nresponse  {}", escaped_lines(said.trim()));
    outln!("\nin tinclaw.toml:\n\n[agent]\nkind = \"openai:{url}\"\nmodel = \"{model}\"");
    Ok(())
}

/// The agent of a host.
pub enum RunningAgent {
    /// A language model, whose settings may change while it runs.
    Model(Arc<OpenAiAgent>),
    /// An agent of another kind.
    Other(Arc<dyn Agent>),
}

impl RunningAgent {
    /// Makes the one that the configuration asks for.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let other = |agent: Arc<dyn Agent>| Ok(Self::Other(agent));
        match &settings.agent {
            AgentChoice::Echo => other(Arc::new(EchoAgent)),
            AgentChoice::Exec(exec) => other(Arc::new(ExecAgent::new(exec.clone()))),
            AgentChoice::Http(http) => {
                other(Arc::new(HttpAgent::new(http.clone(), settings.secrets.store()?)))
            }
            AgentChoice::OpenAi(openai) => {
                let agent = OpenAiAgent::new(openai.clone(), settings.secrets.store()?);
                Ok(Self::Model(Arc::new(agent)))
            }
        }
    }

    /// The agent.
    pub fn agent(&self) -> Arc<dyn Agent> {
        match self {
            Self::Model(agent) => agent.clone(),
            Self::Other(agent) => agent.clone(),
        }
    }

    /// The language model, if it is one.
    pub fn model(&self) -> Option<Arc<OpenAiAgent>> {
        match self {
            Self::Model(agent) => Some(agent.clone()),
            Self::Other(_) => None,
        }
    }
}

//! `[agent]`: which agent replies, and the settings of its kind.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use super::find::read_file;
use crate::agent::{ExecSettings, HttpSettings, OpenAiSettings};
use crate::model::bounded;
use crate::model::document::{
    Comments, DocumentError, DocumentProblem, Expected, FoundValue, PathStep, read,
};
use crate::model::document_parts::{Parts, fields_of};
use crate::model::value_error::ValueError;
use crate::net::quotable;

/// The agent that replies.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentChoice {
    /// Replies with the same text.
    Echo,
    /// A program.
    Exec(ExecSettings),
    /// A server.
    Http(HttpSettings),
    /// A language model.
    OpenAi(OpenAiSettings),
}

/// Why there is no such agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It is of no kind.
    #[error("{0:?} is no agent: expected echo, exec:COMMAND, http:URL or openai:URL")]
    NoAgent(String),
    /// A path would be put behind it.
    #[error("the URL of an openai: agent is a base, so it may have neither `?` nor `#`")]
    MoreThanBase,
    /// It has no URL.
    #[error("{text:?} is no URL: {source}")]
    NoUrl {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// It has a URL of another scheme.
    #[error("{0:?} is no http:// or https:// URL")]
    NoHttpUrl(String),
    /// What the model is told cannot be read.
    #[error("system_prompt: {}: {source}", path.display())]
    SystemPrompt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// It has headers that cannot be sent.
    #[error(transparent)]
    Header(#[from] ValueError),
}

impl AgentError {
    /// The field that it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::SystemPrompt { .. } => "agent.system_prompt",
            Self::Header(_) => "agent.headers",
            _ => "agent",
        }
    }
}

/// `[agent]`, or `agent = "…"` for one that needs no settings. It holds what an agent of each kind would get, because the command
/// line may choose another kind.
#[derive(Clone, Debug)]
pub struct AgentTable {
    /// The agent that `kind` names, without the other fields.
    kind: Option<AgentChoice>,
    exec: ExecSettings,
    http: HttpSettings,
    openai: OpenAiSettings,
    /// Where the text is that a model is told before each conversation; relative to the configuration file.
    prompt_file: Option<PathBuf>,
    /// What becomes of messages that the agent cannot process.
    pub failures: FailedMessages,
}

/// What becomes of messages that an agent cannot process, of whichever kind it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailedMessages {
    /// Failed attempts after which a message is a dead letter.
    #[serde(deserialize_with = "bounded::some_count::<_, _, 1, 1000>")]
    pub max_attempts: Option<u32>,
    /// The reply to a sender whose message became a dead letter; none when it is empty.
    pub dead_letter_text: Option<String>,
}

/// A system prompt that is a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptFile {
    file: PathBuf,
}

impl Default for AgentTable {
    fn default() -> Self {
        Self {
            kind: None,
            exec: ExecSettings::new(""),
            http: HttpSettings::new(""),
            openai: OpenAiSettings::new(""),
            prompt_file: None,
            failures: FailedMessages::default(),
        }
    }
}

impl AgentTable {
    /// Reads the table or the text.
    ///
    /// # Errors
    /// The first thing that is wrong. A field that the agent of this table has no use for is refused; when the table names no
    /// agent, its fields are for whichever one the command line names.
    pub fn read(value: Value) -> Result<Self, DocumentError> {
        let mut fields = match value {
            Value::Object(_) => Parts::of(value)?,
            Value::String(text) => {
                let other = |error: AgentError| DocumentProblem::Other(error.to_string());
                let kind = agent_named(&text)
                    .map_err(|error| DocumentError { path: Vec::new(), problem: other(error) })?;
                return Ok(Self { kind: Some(kind), ..Self::default() });
            }
            other => {
                let expected = Expected::Words("a string or a table".to_owned());
                return Err(DocumentError::invalid(expected, FoundValue::of(&other)));
            }
        };
        fields.refuse_unknown(all_fields())?;
        let kind = match fields.take("kind") {
            Some(Value::String(text)) => {
                Some(agent_named(&text).map_err(|error| at("kind", error.to_string()))?)
            }
            Some(other) => {
                let error = DocumentError::invalid(Expected::Text, FoundValue::of(&other));
                return Err(error.within(PathStep::Field("kind".to_owned())));
            }
            None => None,
        };
        if let Some(kind) = &kind {
            refuse_foreign(&fields, kind)?;
        }
        let prompt_file = match fields.take("system_prompt") {
            Some(prompt @ Value::Object(_)) => {
                let within = |error: DocumentError| error.within(PathStep::Field("system_prompt".to_owned()));
                Some(read::<PromptFile>(prompt, Comments::Refused).map_err(within)?.file)
            }
            Some(prompt) => {
                fields.put("system_prompt", prompt);
                None
            }
            None => None,
        };
        let http: HttpSettings = fields.read()?;
        http.check().map_err(|error| at("headers", error.to_string()))?;
        let (exec, openai, failures) = (fields.read()?, fields.read()?, fields.read()?);
        Ok(Self { kind, exec, http, openai, prompt_file, failures })
    }

    /// The agent that is named, else the one of this table, else the one that replies with the same text; with the settings of its
    /// kind.
    ///
    /// # Errors
    /// The file with what a model is told cannot be read.
    pub fn agent(
        &self,
        named: Option<AgentChoice>,
        beside: impl Fn(PathBuf) -> PathBuf,
    ) -> Result<AgentChoice, AgentError> {
        Ok(match named.or_else(|| self.kind.clone()).unwrap_or(AgentChoice::Echo) {
            AgentChoice::Echo => AgentChoice::Echo,
            AgentChoice::Exec(ExecSettings { command, .. }) => {
                AgentChoice::Exec(ExecSettings { command, ..self.exec.clone() })
            }
            AgentChoice::Http(HttpSettings { url, .. }) => {
                AgentChoice::Http(HttpSettings { url, ..self.http.clone() })
            }
            AgentChoice::OpenAi(OpenAiSettings { url, .. }) => {
                let mut settings = OpenAiSettings { url, ..self.openai.clone() };
                if let Some(path) = self.prompt_file.clone().map(beside) {
                    settings.system_prompt =
                        read_file(&path).map_err(|source| AgentError::SystemPrompt { path, source })?;
                }
                AgentChoice::OpenAi(settings)
            }
        })
    }
}

/// Every field of the table.
fn all_fields() -> Vec<&'static str> {
    let mut all = vec!["kind"];
    let settings = [fields_of::<ExecSettings>(), fields_of::<HttpSettings>(), fields_of::<OpenAiSettings>()];
    for field in fields_of::<FailedMessages>().into_iter().chain(settings.concat()) {
        if !all.contains(&field) {
            all.push(field);
        }
    }
    all
}

/// Refuses fields that belong to agents of other kinds. What every kind of agent has that does something is accepted for `echo`
/// too, where it changes nothing.
fn refuse_foreign(fields: &Parts, kind: &AgentChoice) -> Result<(), DocumentError> {
    let kinds = [
        ("exec", fields_of::<ExecSettings>()),
        ("http", fields_of::<HttpSettings>()),
        ("openai", fields_of::<OpenAiSettings>()),
    ];
    let own = match kind {
        AgentChoice::Echo => "echo",
        AgentChoice::Exec(_) => "exec",
        AgentChoice::Http(_) => "http",
        AgentChoice::OpenAi(_) => "openai",
    };
    for name in fields.names() {
        let users: Vec<&str> =
            kinds.iter().filter(|(_, fields)| fields.contains(&name)).map(|(kind, _)| *kind).collect();
        if !users.is_empty() && users.len() < kinds.len() && !users.contains(&own) {
            let users = users.join(" and ");
            return Err(at(
                name,
                format!("agents of the kind `{own}` have no such field, only those of {users}"),
            ));
        }
    }
    Ok(())
}

fn at(field: &str, message: String) -> DocumentError {
    DocumentError { path: vec![PathStep::Field(field.to_owned())], problem: DocumentProblem::Other(message) }
}

/// Reads `echo`, `exec:COMMAND`, `http:URL` or `openai:URL`.
///
/// # Errors
/// The text is none of them.
pub fn agent_named(text: &str) -> Result<AgentChoice, AgentError> {
    if text == "echo" {
        return Ok(AgentChoice::Echo);
    }
    match text.split_once(':') {
        Some(("exec", command)) if !command.trim().is_empty() => {
            Ok(AgentChoice::Exec(ExecSettings::new(command.trim())))
        }
        // `http://host` alone can only be meant as `http:http://host`.
        Some(("http" | "https", rest)) if rest.starts_with("//") => {
            Ok(AgentChoice::Http(HttpSettings::new(agent_url(text)?.as_str())))
        }
        Some(("http", url)) => Ok(AgentChoice::Http(HttpSettings::new(agent_url(url)?.as_str()))),
        Some(("openai", url)) => match agent_url(url)? {
            url if url.query().is_some() || url.fragment().is_some() => Err(AgentError::MoreThanBase),
            url => Ok(AgentChoice::OpenAi(OpenAiSettings::new(url.as_str()))),
        },
        _ => Err(AgentError::NoAgent(quotable(text))),
    }
}

fn agent_url(text: &str) -> Result<url::Url, AgentError> {
    let parsed =
        url::Url::parse(text).map_err(|source| AgentError::NoUrl { text: quotable(text), source })?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
        return Err(AgentError::NoHttpUrl(quotable(text)));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::HistoryWindow;

    #[test]
    fn agents_are_told_apart() {
        let url = |text: &str| Ok(AgentChoice::Http(HttpSettings::new(text)));
        let openai = |text: &str| Ok(AgentChoice::OpenAi(OpenAiSettings::new(text)));
        let rows: [(&str, Result<AgentChoice, &str>); 15] = [
            ("echo", Ok(AgentChoice::Echo)),
            (
                "exec:python3 agent.py --fast",
                Ok(AgentChoice::Exec(ExecSettings::new("python3 agent.py --fast"))),
            ),
            ("exec:", Err("is no agent")),
            ("http:http://127.0.0.1:9/a", url("http://127.0.0.1:9/a")),
            ("http:https://agent.example/a", url("https://agent.example/a")),
            ("http://127.0.0.1:9/a", url("http://127.0.0.1:9/a")),
            ("http:ftp://a/", Err("is no http")),
            ("http:", Err("is no URL")),
            ("openai:http://127.0.0.1:11434/v1", openai("http://127.0.0.1:11434/v1")),
            ("openai:https://a.example/v1/chat/completions", openai("https://a.example/v1")),
            ("openai:llama", Err("is no URL")),
            ("openai:http://a/v1?key=x", Err("neither `?` nor `#`")),
            ("openai:http://a/v1#x", Err("neither `?` nor `#`")),
            ("http://a/b?key=x", url("http://a/b?key=x")),
            ("parrot", Err("expected echo, exec:COMMAND, http:URL or openai:URL")),
        ];
        for (text, expected) in rows {
            match (agent_named(text), expected) {
                (Ok(choice), Ok(expected)) => assert_eq!(choice, expected, "{text}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    fn table(text: &str) -> Result<AgentTable, String> {
        super::super::parse::parse(text).map(|file| file.agent).map_err(|error| error.to_string())
    }

    fn agent(text: &str) -> AgentChoice {
        table(text).unwrap().agent(None, |path| path).unwrap()
    }

    #[test]
    fn an_agent_gets_the_settings_of_its_table() {
        let text = "[agent]\nkind = \"exec:a\"\nconcurrency = 2\ntimeout_secs = 3\nenv = [\"KEY\"]";
        let expected = ExecSettings {
            concurrency: 2,
            timeout: Duration::from_secs(3),
            env: vec!["KEY".to_owned()],
            ..ExecSettings::new("a")
        };
        assert_eq!(agent(text), AgentChoice::Exec(expected));
        let text = "[agent]\nkind = \"http://a/\"\nheaders = { x-team = \"a\" }\nauth_secret = \"k\"\n\
                    auth_header = \"x-key\"";
        let expected = HttpSettings {
            headers: vec![("x-team".to_owned(), "a".to_owned())],
            auth_secret: Some("k".to_owned()),
            auth_header: "x-key".to_owned(),
            ..HttpSettings::new("http://a/")
        };
        assert_eq!(agent(text), AgentChoice::Http(expected));
        let text = "[agent]\nkind = \"openai:http://a/v1\"\nmodel = \"m\"\nsystem_prompt = \"p\"\ntemperature = 1\n\
                    max_tokens = 9\napi_key = \"k\"\nstream = false\nimages = true\ntools = [\"t\"]\n\
                    history = { messages = 5, tokens = 100 }\nreset_command = \"\"\ntimeout_secs = 7";
        let expected = OpenAiSettings {
            model: Some("m".to_owned()),
            system_prompt: "p".to_owned(),
            temperature: Some(1.0),
            max_tokens: Some(9),
            api_key: Some("k".to_owned()),
            stream: false,
            images: true,
            tools: Some(vec!["t".to_owned()]),
            history: HistoryWindow { messages: 5, tokens: 100 },
            reset_command: String::new(),
            timeout: Duration::from_secs(7),
            ..OpenAiSettings::new("http://a/v1")
        };
        assert_eq!(agent(text), AgentChoice::OpenAi(expected));
    }

    /// `model` of an `exec` agent and `env` of a language model were ignored, and nobody was told.
    #[test]
    fn a_field_of_another_kind_of_agent_is_refused() {
        let error = |text: &str| table(text).unwrap_err();
        assert_eq!(
            error("[agent]\nkind = \"exec:a\"\n\nmodel = \"m\""),
            "line 4: agent.model: agents of the kind `exec` have no such field, only those of openai"
        );
        assert_eq!(
            error("[agent]\nkind = \"openai:http://a/\"\nheaders = { a = \"b\" }"),
            "line 3: agent.headers: agents of the kind `openai` have no such field, only those of http"
        );
        assert_eq!(
            error("agent = { kind = \"echo\", env = [] }"),
            "line 1: agent.env: agents of the kind `echo` have no such field, only those of exec"
        );
        for text in [
            "agent = { kind = \"echo\", concurrency = 2, timeout_secs = 3, max_attempts = 4 }",
            "agent = { kind = \"http://a/\", concurrency = 2, auth_secret = \"k\", dead_letter_text = \"\" }",
        ] {
            assert!(table(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_agent_is_named_with_its_line() {
        for (text, expected) in [
            ("agent = 3", "line 1: agent must be a string or a table, not 3"),
            ("[agent]\nkind = 3", "line 2: agent.kind must be a string, not 3"),
            (
                "\nagent = \"parrot\"",
                "line 2: agent: \"parrot\" is no agent: expected echo, exec:COMMAND, http:URL or openai:URL",
            ),
            (
                "[agent]\nsystem_prompt = { fil = \"a\" }",
                "line 2: unknown field `agent.system_prompt.fil`; did you mean `file`?",
            ),
            ("[agent]\nsystem_prompt = 3", "line 2: agent.system_prompt must be a string, not 3"),
            ("[agent]\nkid = \"echo\"", "line 2: unknown field `agent.kid`; did you mean `kind`?"),
        ] {
            assert_eq!(table(text).err().as_deref(), Some(expected), "{text}");
        }
    }

    /// `tinclaw run --agent` goes before the file, also when the file has settings for another kind of agent.
    #[test]
    fn a_named_agent_gets_what_the_table_has_for_its_kind() {
        let file = table("[agent]\nkind = \"openai:http://a/\"\nmodel = \"m\"\nconcurrency = 2").unwrap();
        let named = |text: &str| file.agent(Some(agent_named(text).unwrap()), |path| path).unwrap();
        assert_eq!(named("echo"), AgentChoice::Echo);
        let expected = ExecSettings { concurrency: 2, ..ExecSettings::new("b") };
        assert_eq!(named("exec:b"), AgentChoice::Exec(expected));
        let model = Some("m".to_owned());
        let expected = OpenAiSettings { model, concurrency: 2, ..OpenAiSettings::new("http://b/") };
        assert_eq!(named("openai:http://b/"), AgentChoice::OpenAi(expected));
        // A table without a kind is for whatever is named, so each of its fields may be meant.
        let file = table("[agent]\nmodel = \"m\"\nenv = [\"KEY\"]").unwrap();
        assert_eq!(file.agent(None, |path| path).unwrap(), AgentChoice::Echo);
        let AgentChoice::Exec(exec) = file.agent(Some(agent_named("exec:b").unwrap()), |path| path).unwrap()
        else {
            panic!("another kind");
        };
        assert_eq!(exec.env, ["KEY"]);
    }
}

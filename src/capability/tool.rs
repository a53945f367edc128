//! The capability file of a tool.
//!
//! Its sections stand at the top level or under `capabilities`: tools are published with either. Otherwise it is as that of
//! a channel, and as strict.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::file::read_json;
use super::http::HttpRateLimit;
use super::rights::{SecretsCapability, WorkspaceCapability};
use super::{AuthSection, CapabilityError, CapabilityOverrides, HttpCapability, SetupSection, review};
use crate::model::diagnostic::Diagnostic;
use crate::model::document::{Comments, DocumentError, read, shortened};
use crate::model::name::ChannelName;

/// What a tool may do, and what its file says about it. The default grants nothing: it is what a tool without a file gets.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolCapabilities {
    /// The version of the tool, as text.
    pub(crate) version: Option<String>,
    /// What the tool is for. What its guest says of itself is told by its own `description`.
    pub(crate) description: Option<String>,
    /// Outbound HTTP. Absent: none.
    pub(crate) http: Option<HttpCapability>,
    /// Which secrets the guest may ask about.
    pub(crate) secrets: Option<SecretsCapability>,
    /// Which files `workspace-read` may see. Absent: none.
    pub(crate) workspace: Option<WorkspaceCapability>,
    /// Which other tools it may invoke. Absent: none.
    pub(crate) tool_invoke: Option<ToolInvokeCapability>,
    /// How requests to the tool would be authenticated; known, and not used: tools are not reached by HTTP.
    pub(crate) webhook: Option<ToolWebhook>,
    /// Limits other than the defaults.
    pub(crate) tool: Option<ToolSection>,
    /// Texts for the person who sets the tool up.
    pub(crate) auth: Option<AuthSection>,
    /// The secrets that the tool needs.
    pub(crate) setup: Option<SetupSection>,
    /// Settings of the tool; free-form, and told in the context of its calls.
    pub(crate) config: Map<String, Value>,
    /// What a model is told first about when to use the tool.
    pub(crate) discovery_summary: Option<DiscoverySummary>,
}

/// `tool_invoke`: the other tools that a tool may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolInvokeCapability {
    /// What the guest calls a tool, and the tool's name.
    pub(crate) aliases: BTreeMap<String, String>,
    /// How often; by default 60 a minute and 1,000 an hour.
    pub(crate) rate_limit: Option<HttpRateLimit>,
}

/// `tool`: limits of one call, as in [`LIMITS`](crate::capability::limits::LIMITS). Each is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolSection {
    /// Fuel of a call (500000000).
    pub(crate) call_fuel: Option<u64>,
    /// Seconds of a call (60).
    pub(crate) call_timeout_secs: Option<u64>,
    /// MiB of memory of a call (10).
    pub(crate) call_memory_mb: Option<u64>,
    /// Bytes of a call's parameters (1 MiB).
    pub(crate) max_params_bytes: Option<u64>,
    /// Bytes of what a call returns (1 MiB).
    pub(crate) max_output_bytes: Option<u64>,
    /// Bytes of the schema, and of the description (256 KiB).
    pub(crate) max_schema_bytes: Option<u64>,
    /// Bytes of a file that the tool reads (1 MiB).
    pub(crate) max_file_bytes: Option<u64>,
    /// Bytes of one file of the tool's state (256 KiB).
    pub(crate) max_state_file_bytes: Option<u64>,
    /// Files of its state for one person (64).
    pub(crate) max_state_files: Option<u64>,
    /// Bytes of its state for one person (1 MiB).
    pub(crate) max_state_bytes: Option<u64>,
    /// Bytes of its state for all people together (16 MiB).
    pub(crate) max_state_total_bytes: Option<u64>,
    /// Other tools that a call may invoke (20).
    pub(crate) max_invokes_per_call: Option<u64>,
}

/// `webhook` of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ToolWebhook {
    /// The secret that a request brings.
    pub(crate) secret_name: Option<String>,
    /// The header that it is in.
    pub(crate) secret_header: Option<String>,
    /// The public key of signatures (Ed25519).
    pub(crate) signature_key_secret_name: Option<String>,
    /// The key of signatures (HMAC).
    pub(crate) hmac_secret_name: Option<String>,
    /// The header with the signature.
    pub(crate) hmac_signature_header: Option<String>,
    /// The header with the time that is signed.
    pub(crate) hmac_timestamp_header: Option<String>,
    /// What stands before the signature, such as `sha256=`.
    pub(crate) hmac_prefix: Option<String>,
    /// The query parameter with a token.
    pub(crate) verify_token_param: Option<String>,
    /// Whether the host authenticates requests.
    pub(crate) managed_by_host: Option<bool>,
    /// The methods of requests.
    pub(crate) methods: Vec<String>,
}

/// `discovery_summary`: a short text about a tool whose schema is long.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DiscoverySummary {
    /// Parameters that every call has.
    pub(crate) always_required: Vec<String>,
    /// Parameters that some calls need, and when.
    pub(crate) conditional_requirements: Vec<String>,
    /// What else is worth knowing.
    pub(crate) notes: Vec<String>,
    /// Parameters of calls, as examples; free-form.
    pub(crate) examples: Vec<Value>,
}

/// The file as it is written: every section in one of two places.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ToolDocument {
    #[serde(rename = "type")]
    kind: Option<ToolFileKind>,
    name: Option<String>,
    version: Option<String>,
    wit_version: Option<String>,
    description: Option<String>,
    http: Option<HttpCapability>,
    secrets: Option<SecretsCapability>,
    workspace: Option<WorkspaceCapability>,
    tool_invoke: Option<ToolInvokeCapability>,
    webhook: Option<ToolWebhook>,
    tool: Option<ToolSection>,
    auth: Option<AuthSection>,
    setup: Option<SetupSection>,
    config: Option<Map<String, Value>>,
    discovery_summary: Option<DiscoverySummary>,
    capabilities: Option<Box<ToolDocument>>,
}

/// What a tool's file describes.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ToolFileKind {
    Tool,
}

impl ToolCapabilities {
    /// Reads the capability file of the tool `name`. `file` is what errors call it.
    ///
    /// # Errors
    /// [`CapabilityError`]: as for the file of a channel, or a section stands in both places.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parse(file: &str, name: &ChannelName, bytes: &[u8]) -> Result<Self, CapabilityError> {
        Self::parse_over(file, name, bytes, &CapabilityOverrides::default())
    }

    /// The same with what the operator has set over the file.
    ///
    /// # Errors
    /// Also when the overrides have an unknown field or a value that is not accepted, or change what the tool can reach without
    /// saying so.
    pub(crate) fn parse_over(
        file: &str,
        name: &ChannelName,
        bytes: &[u8],
        overrides: &CapabilityOverrides,
    ) -> Result<Self, CapabilityError> {
        let plain = ToolDocument::read(file, bytes)?;
        let (document, file) = if overrides.is_empty() {
            (plain, file.to_owned())
        } else {
            let table = format!("[tool.{name}] over {file}");
            let refused = |reason: String| CapabilityError::Override { file: table.clone(), reason };
            overrides.check_for("tool").map_err(|error| refused(error.to_string()))?;
            let mut value = read_json(file, bytes)?;
            if let Value::Object(fields) = &mut value {
                overrides.put_into_tool(fields);
            }
            (ToolDocument::of(&table, value)?, table)
        };
        let file = file.as_str();
        if let Some(found) = document.name.as_deref()
            && ChannelName::new(found).as_ref() != Ok(name)
        {
            let (found, accepted) = (format!("{:?}", shortened(found)), format!("{:?}", name.as_str()));
            return Err(CapabilityError::Invalid { file: file.into(), path: "name".into(), found, accepted });
        }
        let capabilities = document.merged(file)?;
        capabilities.check(file)?;
        Ok(capabilities)
    }

    /// The file without its rules, for tests of limits below the lowest value.
    #[cfg(test)]
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, CapabilityError> {
        ToolDocument::read("test", bytes)?.merged("test")
    }

    fn check(&self, file: &str) -> Result<(), CapabilityError> {
        let refuse = |(path, found, accepted): review::RuleError| CapabilityError::Invalid {
            file: file.into(),
            path,
            found,
            accepted,
        };
        review::check_limits(&self.into()).map_err(refuse)?;
        self.setup.as_ref().map_or(Ok(()), review::check_setup).map_err(refuse)
    }

    /// What is worth saying about a file that is accepted: what is known here and not acted on.
    pub(crate) fn inspect(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.webhook.is_some() {
            let text = "tools are not reached by HTTP here: the section is not used";
            found.push(Diagnostic::note("tool-webhook", text).at("webhook"));
        }
        let prefixes = self.workspace.iter().flat_map(|workspace| &workspace.allowed_prefixes);
        found.extend(prefixes.filter_map(|prefix| inspect_prefix(prefix)));
        found
    }
}

/// A prefix that does not mean what it says. Paths lie in the one directory of the operator, whatever is written.
fn inspect_prefix(prefix: &str) -> Option<Diagnostic> {
    let finding = |text: String, help: &str| {
        Diagnostic::warning("tool-prefix", text).at("workspace.allowed_prefixes").help(help)
    };
    if prefix.split('/').any(|step| step == "..") {
        let text =
            format!("the prefix {prefix:?} names nothing: a tool does not leave the operator's directory");
        return Some(finding(text, "name what the tool may read in that directory, such as \"notes/\""));
    }
    let within = prefix.trim_start_matches('/');
    (within.len() < prefix.len()).then(|| {
        let text = format!("the prefix {prefix:?} is relative to the operator's directory, as {within:?} is");
        finding(text, "leave the slash at its beginning out")
    })
}

impl ToolDocument {
    fn read(file: &str, bytes: &[u8]) -> Result<Self, CapabilityError> {
        Self::of(file, read_json(file, bytes)?)
    }

    fn of(file: &str, value: Value) -> Result<Self, CapabilityError> {
        read(value, Comments::Skipped).map_err(|error: DocumentError| CapabilityError::of(file, error))
    }

    /// The sections, wherever they stand.
    fn merged(mut self, file: &str) -> Result<ToolCapabilities, CapabilityError> {
        let inner = self.capabilities.take().map_or_else(Self::default, |inner| *inner);
        let misplaced = [
            ("type", inner.kind.is_some()),
            ("name", inner.name.is_some()),
            ("version", inner.version.is_some()),
            ("wit_version", inner.wit_version.is_some()),
            ("capabilities", inner.capabilities.is_some()),
        ];
        if let Some((field, _)) = misplaced.into_iter().find(|(_, is_there)| *is_there) {
            let path = format!("capabilities.{field}");
            return Err(CapabilityError::UnknownField {
                file: file.into(),
                path,
                nearest: None,
                known: SECTIONS.map(str::to_owned).to_vec(),
            });
        }
        let _ = self.wit_version;
        Ok(ToolCapabilities {
            version: self.version,
            description: either(file, "description", self.description, inner.description)?,
            http: either(file, "http", self.http, inner.http)?,
            secrets: either(file, "secrets", self.secrets, inner.secrets)?,
            workspace: either(file, "workspace", self.workspace, inner.workspace)?,
            tool_invoke: either(file, "tool_invoke", self.tool_invoke, inner.tool_invoke)?,
            webhook: either(file, "webhook", self.webhook, inner.webhook)?,
            tool: either(file, "tool", self.tool, inner.tool)?,
            auth: either(file, "auth", self.auth, inner.auth)?,
            setup: either(file, "setup", self.setup, inner.setup)?,
            config: either(file, "config", self.config, inner.config)?.unwrap_or_default(),
            discovery_summary: either(
                file,
                "discovery_summary",
                self.discovery_summary,
                inner.discovery_summary,
            )?,
        })
    }
}

/// What may stand in either place.
const SECTIONS: [&str; 11] = [
    "http",
    "secrets",
    "workspace",
    "tool_invoke",
    "webhook",
    "tool",
    "auth",
    "setup",
    "config",
    "description",
    "discovery_summary",
];

/// The section from the one place where it stands. Of two, one would be overlooked by whoever reads the file.
fn either<T>(file: &str, name: &str, top: Option<T>, inner: Option<T>) -> Result<Option<T>, CapabilityError> {
    match (top, inner) {
        (Some(_), Some(_)) => {
            Err(CapabilityError::Duplicate { file: file.into(), path: format!("capabilities.{name}") })
        }
        (top, inner) => Ok(top.or(inner)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `../` and `/etc` were taken without a word, as if a tool could leave its directory.
    #[test]
    fn misleading_prefixes_are_warned_about() {
        let cases = [
            ("notes/", None),
            ("", None),
            ("a..b/..c", None),
            ("../", Some("names nothing")),
            ("notes/../../x", Some("names nothing")),
            ("/etc", Some("as \"etc\" is")),
            ("/", Some("as \"\" is")),
        ];
        for (prefix, expected) in cases {
            let found = parse(&json!({"workspace": {"allowed_prefixes": [prefix]}})).unwrap().inspect();
            let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
            match expected {
                None => assert!(texts.is_empty(), "{prefix}: {texts:?}"),
                Some(part) => assert!(texts.len() == 1 && texts[0].contains(part), "{prefix}: {texts:?}"),
            }
        }
    }

    fn parse(document: &Value) -> Result<ToolCapabilities, CapabilityError> {
        let name = ChannelName::new("my_tool").unwrap();
        ToolCapabilities::parse("my-tool.capabilities.json", &name, document.to_string().as_bytes())
    }

    /// Every field that the files of tools have.
    fn sections() -> Value {
        json!({
            "description": "d",
            "http": {"allowlist": [{"host": "api.example.org"}]},
            "secrets": {"allowed_names": ["example_*"]},
            "workspace": {"allowed_prefixes": ["context/"]},
            "tool_invoke": {"aliases": {"search": "web_search"}, "rate_limit": {"requests_per_minute": 5}},
            "webhook": {"hmac_secret_name": "s", "hmac_signature_header": "X-Sig",
                "hmac_timestamp_header": "X-Time", "hmac_prefix": "v0="},
            "auth": {"secret_name": "t", "display_name": "T", "instructions": "i", "setup_url": "u",
                "token_hint": "h", "env_var": "T", "provider": "p",
                "oauth": {"authorization_url": "a", "token_url": "t", "client_id_env": "c",
                    "client_secret_env": "s", "scopes": [], "use_pkce": true, "access_token_field": "f",
                    "extra_params": {}},
                "validation_endpoint": {"url": "u", "method": "GET", "success_status": 200, "headers": {}}},
            "setup": {"required_secrets": [{"name": "t", "prompt": "p"}]},
            "config": {"anything": 1},
            "discovery_summary": {"always_required": ["a"], "conditional_requirements": ["b"],
                "notes": ["c"], "examples": [{"a": 1}]},
            "tool": {"call_fuel": 1_000_000},
        })
    }

    #[test]
    fn every_section_stands_at_the_top_or_under_capabilities() {
        let top = parse(&sections()).unwrap();
        let inner = parse(&json!({"type": "tool", "name": "my-tool", "capabilities": sections()})).unwrap();
        assert_eq!(top, inner);
        assert_eq!(top.tool_invoke.unwrap().aliases["search"], "web_search");
        assert_eq!(top.http.unwrap().allowlist[0].host, "api.example.org");
        assert_eq!(top.workspace.unwrap().allowed_prefixes, ["context/"]);
        assert_eq!(top.discovery_summary.unwrap().always_required, ["a"]);
    }

    #[test]
    fn a_section_in_both_places_is_refused() {
        for (name, section) in sections().as_object().unwrap() {
            let error = parse(&json!({name: section, "capabilities": {name: section}})).unwrap_err();
            assert!(error.to_string().contains(&format!("duplicate field `capabilities.{name}`")), "{error}");
        }
    }

    #[test]
    fn unknown_fields_are_refused_with_their_place() {
        let table: &[(&str, Value, &str)] = &[
            ("typo", json!({"htp": {}}), "unknown field `htp`; did you mean `http`?"),
            (
                "typo below",
                json!({"capabilities": {"secrets": {"allowed": []}}}),
                "`capabilities.secrets.allowed`",
            ),
            ("a channel", json!({"type": "channel"}), "`type`"),
            ("a channel's section", json!({"channel": {}}), "unknown field `channel`"),
            ("another's name", json!({"name": "other"}), "`name` is \"other\""),
            ("name below", json!({"capabilities": {"name": "my_tool"}}), "unknown field `capabilities.name`"),
            ("nested twice", json!({"capabilities": {"capabilities": {}}}), "`capabilities.capabilities`"),
            ("below the least", json!({"tool": {"call_memory_mb": 0}}), "accepted is 1 or more MiB"),
            (
                "alias that is no text",
                json!({"tool_invoke": {"aliases": {"a": 1}}}),
                "`tool_invoke.aliases.a`",
            ),
        ];
        for (case, document, part) in table {
            let error = parse(document).expect_err(case).to_string();
            assert!(error.contains(part), "{case}: {error}");
        }
        assert!(parse(&json!({"$schema": "x", "_why": 1, "x-a": 2})).is_ok());
    }

    #[test]
    fn the_operator_s_fields_go_over_the_file_wherever_it_has_them() {
        let over = |document: &Value, fields: Value, extend_rights: bool| {
            let Value::Object(capabilities) = fields else { panic!("an object") };
            let overrides = CapabilityOverrides { capabilities, extend_rights };
            let name = ChannelName::new("my_tool").unwrap();
            let text = document.to_string();
            ToolCapabilities::parse_over("my_tool.capabilities.json", &name, text.as_bytes(), &overrides)
        };
        let http = json!({"allowlist": [{"host": "a.example"}], "timeout_secs": 5});
        for file in [json!({"http": http}), json!({"capabilities": {"http": http}})] {
            let changes = json!({"http": {"timeout_secs": 7}, "tool": {"call_memory_mb": 3}});
            let changed = over(&file, changes, false).unwrap();
            let http = changed.http.unwrap();
            assert_eq!((http.timeout_secs, http.allowlist[0].host.as_str()), (Some(7), "a.example"));
            assert_eq!(changed.tool.unwrap().call_memory_mb, Some(3));
            let open = json!({"http": {"allowlist": [{"host": "b.example"}]}});
            let refused = over(&file, open.clone(), false).unwrap_err().to_string();
            assert!(refused.contains("[tool.my_tool] over"), "{refused}");
            assert!(refused.contains("what the tool can reach"), "{refused}");
            assert_eq!(over(&file, open, true).unwrap().http.unwrap().allowlist[0].host, "b.example");
        }
        for (fields, part) in [
            (json!({"htp": {}}), "unknown field `htp`"),
            (json!({"tool": {"call_memory_mb": 0}}), "[tool.my_tool] over"),
            (json!({"tool_invoke": {"aliases": {}}}), "extend_rights"),
        ] {
            let error = over(&json!({}), fields, false).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn without_sections_nothing_is_granted() {
        assert_eq!(parse(&json!({})).unwrap(), ToolCapabilities::default());
    }
}

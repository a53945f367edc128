//! `tinclaw check`.

use std::fmt::Write as _;

use serde::Serialize;
use tinclaw::capability::http::AllowlistEntry;
use tinclaw::capability::webhook::WebhookCapability;
use tinclaw::channel::ChannelLimits;
use tinclaw::egress::is_unbounded_prefix;
use tinclaw::event::callback::CallbackKind;
use tinclaw::host::ChannelTrial;
use tinclaw::host::ManagerConfig;
use tinclaw::secrets::SecretStore;
use tinclaw::webhook::{AuthPlan, Requirement};
use tinclaw::{
    ChannelCapabilitiesFile, WasmChannel, WasmChannelLoader, WasmChannelRuntime, WasmChannelRuntimeConfig,
};
use wit_abi::guest::GuestKind;
use wit_abi::imports::HostFunc;

use super::args::{CheckArgs, Common};
use super::config::Settings;
use super::outcome::{Failure, Outcome};
use tinclaw::model::escape::escaped;

/// What is known about one channel.
#[derive(Serialize)]
struct Checked {
    name: String,
    kind: &'static str,
    flavour: String,
    callbacks: Vec<&'static str>,
    imports: Vec<String>,
    initial_memory_bytes: usize,
    paths: Vec<String>,
    auth: String,
    polls: bool,
    websocket: bool,
    http: Vec<Allowed>,
    secrets: Vec<Needed>,
    /// What it will not do as written, although it can run.
    problems: Vec<String>,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct Allowed {
    host: String,
    path_prefix: Option<String>,
    methods: Vec<String>,
    /// The prefix ends in the middle of a name, so `/bot` also allows `/bottom`.
    loose: bool,
}

#[derive(Serialize)]
struct Needed {
    name: String,
    optional: bool,
    stored: bool,
}

/// Everything that was looked at.
#[derive(Serialize)]
struct Findings {
    channels: Vec<Checked>,
    /// Channels that cannot be loaded, and why.
    failed: Vec<String>,
    warnings: Vec<String>,
}

/// Loads what the paths name and says what is wrong with it. Exit code 1 when something is.
pub fn check(common: &Common, options: &CheckArgs) -> Outcome {
    let settings = Settings::load(common)?;
    super::logging::start(common.log.as_deref(), "error");
    let config = settings.manager_in_memory()?;
    let runtime = WasmChannelRuntime::new(WasmChannelRuntimeConfig::default()).map_err(Failure::problem)?;
    let loader = WasmChannelLoader::new(runtime);
    let mut findings = Findings { channels: Vec::new(), failed: Vec::new(), warnings: Vec::new() };
    for path in &options.paths {
        let results = loader.load(path).map_err(Failure::problem)?;
        findings.warnings.extend(results.warnings);
        findings.failed.extend(results.failed.iter().map(ToString::to_string));
        let channels = settings.configure(results.loaded)?;
        let told = settings.inspect_channels(&channels);
        findings.warnings.extend(told.iter().map(ToString::to_string));
        for channel in channels {
            match look_at(&channel, &config) {
                Ok(checked) => findings.channels.push(checked),
                Err(error) => findings.failed.push(error),
            }
        }
    }
    if options.output.json {
        println!("{}", serde_json::to_string(&findings).map_err(Failure::problem)?);
    } else {
        print!("{}", shown(&findings));
    }
    if findings.is_sound() { Ok(()) } else { Err(Failure::Told) }
}

impl Findings {
    fn is_sound(&self) -> bool {
        let nothing = self.channels.is_empty() && self.failed.is_empty();
        self.failed.is_empty() && !nothing && self.channels.iter().all(|channel| channel.problems.is_empty())
    }
}

fn look_at(channel: &WasmChannel, config: &ManagerConfig) -> Result<Checked, String> {
    let trial = ChannelTrial::new(channel, config.clone()).map_err(|error| error.to_string())?;
    let (module, file) = (channel.module(), channel.capabilities_file());
    let capabilities = &file.capabilities;
    let section = capabilities.channel.as_ref();
    let webhook = capabilities.webhook().cloned().unwrap_or_default();
    let plan = AuthPlan::from(&webhook, channel.name().as_str()).map_err(|error| error.to_string())?;
    // A channel that gets less than it asked for works all the same.
    let (_, lowered) = ChannelLimits::resolve(capabilities, &config.ceilings);
    let lowered: Vec<String> = lowered.iter().map(ToString::to_string).collect();
    let problems = trial.problems().iter().filter(|problem| !lowered.contains(problem));
    let remarks = channel.diagnostics().iter().map(ToString::to_string);
    let imports = HostFunc::ALL.into_iter().filter(|func| module.flavour().imports(*func));
    Ok(Checked {
        name: channel.name().to_string(),
        kind: match module.kind() {
            GuestKind::Component => "component",
            _ => "module",
        },
        flavour: module.flavour().to_string(),
        callbacks: CallbackKind::ALL
            .into_iter()
            .filter(|kind| module.exports(*kind))
            .map(CallbackKind::name)
            .collect(),
        imports: imports.map(import_name).collect(),
        initial_memory_bytes: module.initial_memory_bytes(),
        paths: section.map(|section| section.allowed_paths.clone()).unwrap_or_default(),
        auth: auth(&webhook, &plan),
        polls: capabilities.allows_polling(),
        websocket: capabilities.websocket.is_some(),
        http: capabilities.http.iter().flat_map(|http| &http.allowlist).map(allowed).collect(),
        secrets: needed(file, &plan, config),
        problems: problems.cloned().collect(),
        remarks: remarks.chain(lowered.iter().cloned()).collect(),
    })
}

/// The timers' functions have names that say nothing alone.
fn import_name(func: HostFunc) -> String {
    match func {
        HostFunc::TimerSet | HostFunc::TimerCancel => format!("timers/{}", func.name()),
        _ => func.name().to_owned(),
    }
}

fn auth(webhook: &WebhookCapability, plan: &AuthPlan) -> String {
    match plan.requirement() {
        Requirement::NoRoute(_) => "closed: no authentication is declared".to_owned(),
        Requirement::Open => "none: everybody may call it".to_owned(),
        Requirement::Checked => {
            let methods = webhook.methods.join(", ");
            format!("checked by the host with {} ({methods})", plan.secret_names().join(", "))
        }
    }
}

fn allowed(entry: &AllowlistEntry) -> Allowed {
    let port = entry.port.map(|port| format!(":{port}")).unwrap_or_default();
    Allowed {
        host: format!("{}{port}", entry.host),
        path_prefix: entry.path_prefix.clone(),
        methods: entry.methods.clone(),
        loose: entry.path_prefix.as_deref().is_some_and(is_unbounded_prefix),
    }
}

/// Every secret that the files name, each once, and whether it is stored.
fn needed(file: &ChannelCapabilitiesFile, plan: &AuthPlan, config: &ManagerConfig) -> Vec<Needed> {
    let mut names: Vec<(String, bool)> = Vec::new();
    let mut add = |name: &str, optional: bool| {
        let name = name.to_lowercase();
        match names.binary_search_by(|(known, _)| known.cmp(&name)) {
            // Needed by one of them is needed.
            Ok(place) => names[place].1 &= optional,
            Err(place) => names.insert(place, (name, optional)),
        }
    };
    plan.secret_names().into_iter().for_each(|name| add(name, false));
    let http = file.capabilities.http.iter().flat_map(|http| http.credentials.values());
    let required = |name: &str| {
        let secret = file.setup.as_ref().and_then(|setup| setup.required_secret(name));
        secret.is_some_and(|secret| !secret.optional)
    };
    http.for_each(|credential| {
        add(&credential.secret_name, credential.optional || !required(&credential.secret_name));
    });
    let setup = file.setup.iter().flat_map(|setup| &setup.required_secrets);
    setup.for_each(|secret| add(&secret.name, secret.optional));
    let variable = file.auth.as_ref().filter(|_| config.env_variables_of_files);
    let named = |name: &str| {
        variable.and_then(|auth| auth.env_var_for(name)).is_some_and(|v| std::env::var_os(v).is_some())
    };
    let stored = |name: &str| config.secrets.get(name).ok().flatten().is_some() || named(name);
    names.into_iter().map(|(name, optional)| Needed { stored: stored(&name), name, optional }).collect()
}

fn shown(findings: &Findings) -> String {
    let mut text = String::new();
    for channel in &findings.channels {
        text += &shown_channel(channel);
        text.push('\n');
    }
    for warning in &findings.warnings {
        let _ = writeln!(text, "note: {}", escaped(warning));
    }
    for error in &findings.failed {
        let _ = writeln!(text, "wrong: {}", escaped(error));
    }
    let problems: usize = findings.channels.iter().map(|channel| channel.problems.len()).sum();
    let wrong = problems + findings.failed.len();
    let count = findings.channels.len();
    let _ = match (wrong, count) {
        (0, 0) => {
            writeln!(text, "there is no channel here: a channel is NAME.wasm with NAME.capabilities.json")
        }
        (0, _) => {
            writeln!(text, "{count} {}, nothing is wrong", if count == 1 { "channel" } else { "channels" })
        }
        (1, _) => writeln!(text, "1 thing is wrong"),
        _ => writeln!(text, "{wrong} things are wrong"),
    };
    text
}

fn shown_channel(channel: &Checked) -> String {
    let mut text = format!("{}\n", channel.name);
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what:<10}{}", escaped(&value));
        }
    };
    let memory = channel.initial_memory_bytes / 1024;
    line("guest", format!("{}, {}, {memory} KiB of memory at start", channel.kind, channel.flavour));
    line("callbacks", channel.callbacks.join(", "));
    line("imports", channel.imports.join(", "));
    line("paths", channel.paths.join(", "));
    if !channel.paths.is_empty() {
        line("webhooks", channel.auth.clone());
    }
    line("polls", if channel.polls { "yes".into() } else { String::new() });
    for entry in &channel.http {
        let methods =
            if entry.methods.is_empty() { "any method".to_owned() } else { entry.methods.join(", ") };
        let prefix = entry.path_prefix.as_deref().unwrap_or("/");
        let loose =
            if entry.loose { "; the prefix ends inside a name, so longer names are allowed too" } else { "" };
        line("may call", format!("https://{}{prefix}… ({methods}){loose}", entry.host));
    }
    for secret in &channel.secrets {
        let state = match (secret.stored, secret.optional) {
            (true, _) => "stored",
            (false, true) => "not stored, optional",
            (false, false) => "NOT STORED",
        };
        line("secret", format!("{} ({state})", secret.name));
    }
    if channel.websocket {
        line("websocket", "not supported yet: the channel runs without it".into());
    }
    channel.remarks.iter().for_each(|remark| line("note", remark.clone()));
    channel.problems.iter().for_each(|problem| line("WRONG", problem.clone()));
    text
}

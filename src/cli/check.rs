//! `tinclaw check`.

use std::fmt::Write as _;

use log::LevelFilter;
use serde::Serialize;
use wit_abi::guest::GuestKind;
use wit_abi::imports::HostFunc;

use super::args::{CheckArgs, Common};
use super::colours::{self, marked};
use super::config::Settings;
use super::layout::{fitted, terminal_width};
use super::output::{CommandResult, Failure, count, print_json};
use crate::capability::{AllowlistEntry, WebhookCapability};
use crate::egress::{is_unbounded_prefix, setting_hosts};
use crate::event::callback::{Callback, CallbackKind, CallbackValue};
use crate::host::{ChannelHarness, ManagerConfig, inspect};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::escape::escaped;
use crate::package::rights_of;
use crate::secrets::SecretStore;
use crate::webhook::{AuthPlan, Requirement};
use crate::{ChannelCapabilities, ChannelCapabilitiesFile, LoadError, WasmChannel};

/// What is known about one channel.
#[derive(Serialize)]
struct CheckedChannel {
    name: String,
    kind: &'static str,
    abi_version: String,
    callbacks: Vec<&'static str>,
    imports: Vec<String>,
    initial_memory_bytes: usize,
    paths: Vec<String>,
    auth: String,
    polls: bool,
    websocket: bool,
    http: Vec<Allowed>,
    secrets: Vec<Needed>,
    /// Everything that it may do, as it is shown for approval.
    rights: Vec<String>,
    /// The most severe first.
    diagnostics: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Allowed {
    /// `https`, or `http` for a server that the operator named so.
    scheme: &'static str,
    host: String,
    path_prefix: Option<String>,
    methods: Vec<String>,
    /// The prefix ends in the middle of a name, so `/bot` also allows `/bottom`.
    unbounded_prefix: bool,
}

#[derive(Serialize)]
struct Needed {
    name: String,
    optional: bool,
    stored: bool,
}

/// Everything that was looked at.
#[derive(Serialize)]
struct CheckReport {
    channels: Vec<CheckedChannel>,
    /// Channels that cannot be loaded, and files that look like one.
    diagnostics: Vec<Diagnostic>,
    error_count: usize,
    warning_count: usize,
}

/// Loads what the paths name and reports errors and warnings. Exit code 1 when there is an error, or no channel.
pub fn check(common: &Common, options: &CheckArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    let config = settings.manager_in_memory()?;
    let loader = settings.loader()?;
    let mut report =
        CheckReport { channels: Vec::new(), diagnostics: Vec::new(), error_count: 0, warning_count: 0 };
    for path in &options.paths {
        let results = loader.load(path).map_err(Failure::problem)?;
        let not_loaded = |error: &LoadError| Diagnostic::error("not-loaded", error.to_string());
        report.diagnostics.extend(results.failed.iter().map(not_loaded));
        report.diagnostics.extend(results.warnings);
        let channels = results.loaded;
        report.diagnostics.extend(settings.inspect_channels(&channels));
        for channel in channels {
            match check_channel(&channel, &config, options.start) {
                Ok(checked) => report.channels.push(checked),
                Err(error) => report.diagnostics.push(Diagnostic::error("not-loaded", error.to_string())),
            }
        }
    }
    report.error_count = report.count(Severity::Error);
    report.warning_count = report.count(Severity::Warning);
    if options.output.json {
        print_json(&serde_json::to_value(&report).map_err(Failure::problem)?);
    } else {
        let text = fitted(&to_text(&report), terminal_width());
        out!("{}", marked(&text, colours::on_stdout()));
    }
    if report.error_count == 0 && !report.channels.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

impl CheckReport {
    fn count(&self, severity: Severity) -> usize {
        let of_channels = self.channels.iter().flat_map(|channel| &channel.diagnostics);
        of_channels.chain(&self.diagnostics).filter(|found| found.severity == severity).count()
    }
}

fn check_channel(
    channel: &WasmChannel,
    config: &ManagerConfig,
    starts: bool,
) -> Result<CheckedChannel, Failure> {
    let mut diagnostics = inspect(channel, config).map_err(Failure::problem)?;
    if starts {
        diagnostics.extend(run_on_start(channel, config));
        diagnostics.sort_by_key(|found| found.severity);
    }
    if channel.capabilities_file().capabilities == ChannelCapabilities::default() {
        let text = "it may do nothing: no path, no poll, no request";
        let help = "write what it needs into its capability file, NAME.capabilities.json beside NAME.wasm";
        diagnostics.push(Diagnostic::warning("no-capabilities", text).help(help));
        diagnostics.sort_by_key(|found| found.severity);
    }
    let (module, file) = (channel.module(), channel.capabilities_file());
    let capabilities = &file.capabilities;
    let section = capabilities.channel.as_ref();
    let webhook = capabilities.webhook().cloned().unwrap_or_default();
    let plan = AuthPlan::from(&webhook, channel.name().as_str()).map_err(Failure::problem)?;
    let imports = HostFunc::ALL.into_iter().filter(|func| module.abi_version().imports(*func));
    let callbacks = CallbackKind::ALL.into_iter().filter(|kind| module.exports(*kind));
    Ok(CheckedChannel {
        name: channel.name().to_string(),
        kind: match module.kind() {
            GuestKind::Component => "component",
            _ => "module",
        },
        abi_version: module.abi_version().to_string(),
        callbacks: callbacks.map(CallbackKind::name).collect(),
        imports: imports.map(import_name).collect(),
        initial_memory_bytes: module.initial_memory_bytes(),
        paths: section.map(|section| section.allowed_paths.clone()).unwrap_or_default(),
        auth: auth(&webhook, &plan),
        polls: capabilities.allows_polling(),
        websocket: capabilities.websocket.is_some(),
        http: allowed_places(channel, config),
        secrets: needed(file, &plan, config),
        rights: rights_of(channel.guest_name(), file).iter().map(ToString::to_string).collect(),
        diagnostics,
    })
}

/// The allow-list with the hosts that the operator's settings fill in.
fn allowed_places(channel: &WasmChannel, config: &ManagerConfig) -> Vec<Allowed> {
    let http = channel.capabilities_file().capabilities.http.as_ref();
    let settings = config.channels.get(channel.name()).map(|settings| &settings.config);
    let filled = setting_hosts::fill(http, None, settings.unwrap_or(&serde_json::Map::new()));
    let is_plain = |entry: &AllowlistEntry| {
        filled.named.iter().any(|server| !server.is_encrypted() && server.authority() == entry.host)
    };
    filled.http.allowlist.iter().map(|entry| allowed(entry, is_plain(entry))).collect()
}

/// Runs `on-start` and reports what came of it.
fn run_on_start(channel: &WasmChannel, config: &ManagerConfig) -> Vec<Diagnostic> {
    let failed = |error: String| vec![Diagnostic::error("on-start-failed", error)];
    let mut harness = match ChannelHarness::new(channel, config.clone()) {
        Ok(harness) => harness,
        Err(error) => return failed(error.to_string()),
    };
    let config_json = match harness.start_config() {
        Ok(config_json) => config_json,
        Err(error) => return failed(error.to_string()),
    };
    let (report, _) = harness.run(&Callback::Start { config_json });
    match report.result {
        Ok(CallbackValue::Started(started)) => {
            let registration = harness.register(&started);
            let paths: Vec<&str> =
                registration.endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect();
            let paths = if paths.is_empty() { "no paths".to_owned() } else { paths.join(", ") };
            let text = format!("on-start succeeded as {:?}: {paths}", started.display_name);
            let refused = registration.warnings.iter();
            let mut found: Vec<Diagnostic> =
                refused.map(|warning| Diagnostic::warning("registration", warning)).collect();
            found.push(Diagnostic::note("on-start", text));
            found
        }
        Ok(_) => failed("on-start did not return a configuration".to_owned()),
        Err(error) => failed(error.to_string()),
    }
}

/// The functions of the timers and of the websocket have names that say nothing alone.
fn import_name(func: HostFunc) -> String {
    match func {
        HostFunc::TimerSet | HostFunc::TimerCancel => format!("timers/{}", func.name()),
        HostFunc::SocketSend => format!("socket/{}", func.name()),
        HostFunc::StateRead | HostFunc::StateWrite => format!("state/{}", func.name()),
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

fn allowed(entry: &AllowlistEntry, is_plain: bool) -> Allowed {
    let port = entry.port.map(|port| format!(":{port}")).unwrap_or_default();
    Allowed {
        scheme: if is_plain { "http" } else { "https" },
        host: format!("{}{port}", entry.host),
        path_prefix: entry.path_prefix.clone(),
        methods: entry.methods.clone(),
        unbounded_prefix: entry.path_prefix.as_deref().is_some_and(is_unbounded_prefix),
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

fn to_text(report: &CheckReport) -> String {
    let mut text = String::new();
    for channel in &report.channels {
        text += &channel_to_text(channel);
        text.push('\n');
    }
    for found in &report.diagnostics {
        let _ = writeln!(text, "{}: {}", found.severity, escaped(&found.to_string()));
    }
    let channels = count(report.channels.len(), "channel");
    let (errors, warnings) = (count(report.error_count, "error"), count(report.warning_count, "warning"));
    let _ = match (report.error_count, report.warning_count) {
        (0, 0) => writeln!(text, "{channels}, no errors, no warnings"),
        (_, 0) => writeln!(text, "{channels}, {errors}"),
        (0, _) => writeln!(text, "{channels}, {warnings}"),
        _ => writeln!(text, "{channels}, {errors}, {warnings}"),
    };
    text
}

fn channel_to_text(channel: &CheckedChannel) -> String {
    let mut text = format!("{}\n", channel.name);
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what:<10}{}", escaped(&value));
        }
    };
    let memory = channel.initial_memory_bytes / 1024;
    line("guest", format!("{}, {}, {memory} KiB of memory at start", channel.kind, channel.abi_version));
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
        let note = if entry.unbounded_prefix {
            "; the prefix ends inside a name, so longer names are allowed too"
        } else {
            ""
        };
        line("may call", format!("{}://{}{prefix}… ({methods}){note}", entry.scheme, entry.host));
    }
    for secret in &channel.secrets {
        let state = match (secret.stored, secret.optional) {
            (true, _) => "stored",
            (false, true) => "not stored, optional",
            (false, false) => "not stored",
        };
        line("secret", format!("{} ({state})", secret.name));
    }
    if channel.websocket {
        line("websocket", "declared".into());
    }
    for right in &channel.rights {
        line("right", right.clone());
    }
    for found in &channel.diagnostics {
        let _ = writeln!(text, "  {}: {}", found.severity, escaped(&found.to_string()));
    }
    text
}

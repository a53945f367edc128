//! `tinclaw config`: whether the configuration is valid, and what it comes to.

use std::path::{Path, PathBuf};

use log::LevelFilter;
use serde_json::{Value, json};

use super::agent_check::{AgentProblem, agent_problems};
use super::args::{Common, ConfigCommand, JsonArgs};
use super::channels::webchat;
use super::colours::{self, marked};
use super::config::{
    ConfigValue, Settings, ValueSource, documented_defaults, home_file, is_at_or_below, leaves_of,
    unused_variables,
};
use super::layout::{columns, fitted, terminal_width};
use super::logging;
use super::output::{CommandResult, Failure, count, path_text, print_json};
use super::start_checks::{LoadedChannels, load_channels, named_channels, problems};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::escape::escaped;
use crate::net::without_credentials;
use crate::tool::default_tools_dir;

/// The variable that names the state directory.
const STATE_DIR_VARIABLE: &str = "TINCLAW_STATE_DIR";
/// Texts below these places may be secrets.
const NOT_SHOWN: &[&str] = &["agent.headers", "agent.env"];

/// Does what `tinclaw config …` says.
pub fn config(common: &Common, command: &ConfigCommand) -> CommandResult {
    match command {
        ConfigCommand::Check { file, output } => check(common, file.clone(), *output),
        ConfigCommand::Show(output) => show(common, *output),
    }
}

/// Reads the configuration as `tinclaw run` would, with the channels that it names.
fn check(common: &Common, file: Option<PathBuf>, output: JsonArgs) -> CommandResult {
    let common = Common { config: file.or_else(|| common.config.clone()), ..common.clone() };
    let settings = Settings::load(&common)?;
    logging::start(&common, None, LevelFilter::Error)?;
    let loader = settings.loader()?;
    let engine = loader.runtime();
    let LoadedChannels { mut loaded, refused } = load_channels(&settings, engine);
    if named_channels(&settings).is_ok_and(|named| named.has_webchat) {
        // What is wrong with it is among the errors.
        loaded.extend(webchat(&loader));
    }
    let found = problems(&common, &settings, engine);
    let mut diagnostics: Vec<Diagnostic> =
        found.iter().map(|problem| Diagnostic::error("configuration", problem.to_string())).collect();
    for error in refused.iter().map(ToString::to_string) {
        // What keeps a host from starting has its place in front.
        if !diagnostics.iter().any(|known| known.message.ends_with(&error)) {
            diagnostics.push(Diagnostic::error("not-loaded", error));
        }
    }
    diagnostics.extend(settings.inspect_channels(&loaded));
    let unused = unused_variables().into_iter();
    diagnostics.extend(unused.map(|text| Diagnostic::warning("unknown-variable", text)));
    // Why secrets or tools cannot be read at all is among the errors.
    let of_agent = agent_problems(&settings, engine).unwrap_or_default().into_iter();
    diagnostics.extend(
        of_agent.map(|AgentProblem { text, help }| Diagnostic::warning("agent-setting", text).help(help)),
    );
    diagnostics.sort_by_key(|found| found.severity);
    let number = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    if output.json {
        print_json(&json!({
            "config": settings.path.as_ref().map(path_text), "diagnostics": diagnostics, "error_count": errors, "warning_count": warnings,
        }));
    } else {
        let place = settings.path.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        outln!("{place}: {}, {}", count(errors, "error"), count(warnings, "warning"));
        let line = |found: &Diagnostic| format!("{}: {}\n", found.severity, escaped(&found.to_string()));
        let text = fitted(&diagnostics.iter().map(line).collect::<String>(), terminal_width());
        out!("{}", marked(&text, colours::on_stdout()));
    }
    if errors == 0 { Ok(()) } else { Err(Failure::Reported) }
}

/// Every value, with where it comes from.
fn show(common: &Common, output: JsonArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    logging::start(common, None, LevelFilter::Error)?;
    let values = effective(&settings, common);
    if output.json {
        let values: Vec<Value> = values
            .iter()
            .map(|value| json!({"field": value.field, "value": shown(value), "source": source(&settings, value)}))
            .collect();
        print_json(&json!({"config": settings.path.as_ref().map(path_text), "values": values}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|value| vec![value.field.clone(), source(&settings, value), shown(value).to_string()])
        .collect();
    match &settings.path {
        Some(path) => outln!("configuration file: {}", path.display()),
        None => outln!("configuration file: none; {} would be read", places().join(", else ")),
    }
    out!("{}", columns(&["field", "source", "value"], &rows));
    Ok(())
}

/// Where a configuration is looked for.
fn places() -> Vec<String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = home_file(variable).map(|path| path.display().to_string());
    std::iter::once("./tinclaw.toml".to_owned()).chain(home).collect()
}

/// What is set, and the defaults of what is not.
fn effective(settings: &Settings, common: &Common) -> Vec<ConfigValue> {
    let mut values = settings.values.clone();
    let mut on_command_line = |field: &str, value: Value| {
        values.retain(|known| known.field != field);
        values.push(ConfigValue { field: field.to_owned(), value, source: ValueSource::CommandLine });
    };
    if let Some(log) = &common.log {
        on_command_line("log", Value::from(log.as_str()));
    }
    let state_dir = json!(path_text(&settings.state_dir));
    if common.state_dir.is_some() {
        values.retain(|known| known.field != "state_dir");
        let is_variable = variable_is(STATE_DIR_VARIABLE, common.state_dir.as_deref());
        let source = if is_variable { of_variable(STATE_DIR_VARIABLE) } else { ValueSource::CommandLine };
        values.push(ConfigValue { field: "state_dir".to_owned(), value: state_dir.clone(), source });
    }
    let of_place = |field: &str, variable: &str, path: PathBuf| ConfigValue {
        field: field.to_owned(),
        source: if variable_is(variable, Some(&path)) { of_variable(variable) } else { ValueSource::Default },
        value: json!([path_text(&path)]),
    };
    let places = [
        ConfigValue { field: "state_dir".to_owned(), value: state_dir, source: ValueSource::Default },
        of_place("channels", "TINCLAW_CHANNELS_DIR", crate::default_channels_dir()),
        of_place("tools", "TINCLAW_TOOLS_DIR", default_tools_dir()),
    ];
    let defaults = leaves_of(&documented_defaults(), |_| ValueSource::Default);
    for default in places.into_iter().chain(defaults) {
        // `agent = "echo"` is the field `agent.kind` too.
        let is_set = |value: &ConfigValue| {
            value.field == default.field || default.field.starts_with(&format!("{}.", value.field))
        };
        if !values.iter().any(is_set) {
            values.push(default);
        }
    }
    values.sort_by(|a, b| a.field.cmp(&b.field));
    values
}

fn variable_is(variable: &str, path: Option<&Path>) -> bool {
    path.is_some() && std::env::var_os(variable).as_deref() == path.map(Path::as_os_str)
}

fn of_variable(variable: &str) -> ValueSource {
    ValueSource::Environment { variable: variable.to_owned() }
}

fn shown(value: &ConfigValue) -> Value {
    let is_hidden = NOT_SHOWN.iter().any(|place| is_at_or_below(&value.field, place));
    if is_hidden { Value::from("(not shown)") } else { without_passwords(&value.value) }
}

/// A value whose URLs have no user and no password.
fn without_passwords(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(without_credentials(text)),
        Value::Array(items) => items.iter().map(without_passwords).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), without_passwords(value))).collect()
        }
        other => other.clone(),
    }
}

fn source(settings: &Settings, value: &ConfigValue) -> String {
    match (&value.source, &settings.path) {
        (ValueSource::File { line }, Some(path)) => format!("{}, line {line}", path.display()),
        (source, _) => source.to_string(),
    }
}

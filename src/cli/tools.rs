//! `tinclaw tools`.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, JsonArgs, ToolCallArgs, ToolsCommand};
use super::config::Settings;
use super::layout::columns;
use super::output::{CommandResult, Failure, count, path_text, path_texts, print_json};
use crate::egress::is_unbounded_prefix;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::escape::{escaped, escaped_lines};
use crate::model::unique_json::parse_json;
use crate::net::quotable;
use crate::tool::{
    LoadedTools, PreparedTool, ToolCall, ToolRegistry, WasmToolRuntime, bundled_tool_names,
    default_tools_dir, install_bundled_tool, install_tool, remove_tool,
};

/// Bytes of parameters that are read from standard input.
const MAX_INPUT_BYTES: u64 = 16 * 1024 * 1024;
/// Characters of a description in a list.
const SHOWN_DESCRIPTION: usize = 72;

/// Does what `tinclaw tools …` says.
pub fn tools(common: &Common, command: &ToolsCommand) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match command {
        ToolsCommand::List(output) => list(&settings, *output),
        ToolsCommand::Check { paths, output } => check(&settings, paths, *output),
        ToolsCommand::Call(options) => call(&settings, options),
        ToolsCommand::Install { tool, to, force, output } => {
            install(&settings, tool, to.as_deref(), *force, *output)
        }
        ToolsCommand::Remove { name, from, output } => remove(&settings, name, from.as_deref(), *output),
    }
}

/// The tools that the configuration names.
pub fn configured(
    settings: &Settings,
    runtime: WasmToolRuntime,
) -> Result<(ToolRegistry, LoadedTools), Failure> {
    let tools = ToolRegistry::new(runtime);
    let mut loaded = load(&tools, &paths(settings))?;
    let unknown = settings.tool_settings.keys().filter(|name| tools.find(name.as_str()).is_err());
    let unknown = unknown.map(|name| format!("[tool.{name}] is not used: there is no such tool"));
    loaded.warnings.extend(unknown.collect::<Vec<_>>());
    Ok((tools, loaded))
}

/// Where tools are looked for: what was named, else the default directory when it is there.
pub fn paths(settings: &Settings) -> Vec<PathBuf> {
    if !settings.tools.is_empty() {
        return settings.tools.clone();
    }
    Some(default_tools_dir()).filter(|dir| dir.is_dir()).into_iter().collect()
}

/// A runtime with an engine of its own.
fn runtime(settings: &Settings) -> Result<WasmToolRuntime, Failure> {
    WasmToolRuntime::new(settings.tool_runtime()?).map_err(Failure::problem)
}

fn load(tools: &ToolRegistry, paths: &[PathBuf]) -> Result<LoadedTools, Failure> {
    let mut all = LoadedTools::default();
    for path in paths {
        let LoadedTools { loaded, failed, warnings } = tools.load_all(path).map_err(Failure::problem)?;
        all.loaded.extend(loaded);
        all.failed.extend(failed);
        all.warnings.extend(warnings);
    }
    Ok(all)
}

fn list(settings: &Settings, output: JsonArgs) -> CommandResult {
    let (tools, loaded) = configured(settings, runtime(settings)?)?;
    let failed: Vec<String> = loaded.failed.iter().map(ToString::to_string).collect();
    if output.json {
        let tools: Vec<Value> = tools.tools().iter().map(|tool| to_json(tool)).collect();
        print_json(&json!({"tools": tools, "failed": failed}));
    } else {
        let row = |tool: &PreparedTool| vec![tool.name().to_owned(), first_line(tool.description())];
        let rows: Vec<Vec<String>> = tools.tools().iter().map(|tool| row(tool)).collect();
        match rows.is_empty() {
            true => outln!(
                "no tools; tinclaw tools install adds one: a .wasm file, or {}",
                bundled_tool_names().join(", ")
            ),
            false => out!("{}", columns(&["name", "description"], &rows)),
        }
        failed.iter().for_each(|error| outln!("error: {}", escaped(error)));
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(SHOWN_DESCRIPTION) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn to_json(tool: &PreparedTool) -> Value {
    json!({
        "name": tool.name(),
        "description": tool.description(),
        "schema": tool.schema(),
        "abi_version": tool.abi_version().to_string(),
        "diagnostics": tool.diagnostics(),
    })
}

fn check(settings: &Settings, paths: &[PathBuf], output: JsonArgs) -> CommandResult {
    let tools = ToolRegistry::new(runtime(settings)?);
    let named: Result<Vec<PathBuf>, Failure> = paths.iter().map(|path| found(settings, path)).collect();
    let loaded = load(&tools, &named?)?;
    let failed = loaded.failed.iter().map(|error| Diagnostic::error("not-loaded", error.to_string()));
    let warnings = loaded.warnings.iter().map(|text| Diagnostic::warning("tool-files", text.as_str()));
    let diagnostics: Vec<Diagnostic> = warnings.chain(failed).collect();
    let all =
        || tools.tools().into_iter().flat_map(|tool| tool.diagnostics().to_vec()).chain(diagnostics.clone());
    let number = |severity| all().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    if output.json {
        let tools: Vec<Value> = tools.tools().iter().map(|tool| to_json(tool)).collect();
        print_json(
            &json!({"tools": tools, "diagnostics": diagnostics, "error_count": errors, "warning_count": warnings}),
        );
    } else {
        tools.tools().iter().for_each(|tool| out!("{}", to_text(tool)));
        for found in &diagnostics {
            outln!("{}: {}", found.severity, escaped(&found.to_string()));
        }
        let (tools, errors) = (count(loaded.loaded.len(), "tool"), count(errors, "error"));
        outln!("{tools}, {errors}, {}", count(warnings, "warning"));
    }
    let has_errors = all().any(|found| found.severity == Severity::Error);
    if !has_errors && !loaded.loaded.is_empty() { Ok(()) } else { Err(Failure::Reported) }
}

/// A path, or the file of the tool that is installed under this name.
fn found(settings: &Settings, path: &Path) -> Result<PathBuf, Failure> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    let file = format!("{}.wasm", path.display().to_string().replace('-', "_"));
    let mut installed = paths(settings).into_iter().map(|dir| dir.join(&file));
    installed.find(|file| path.components().count() == 1 && file.is_file()).ok_or_else(|| {
        let path = path.display();
        Failure::problem(format!(
            "{path} does not exist: name a directory of tools, a .wasm file, or an installed tool"
        ))
    })
}

/// What a tool is and may do, a line each.
fn to_text(tool: &PreparedTool) -> String {
    let mut text = format!("{}\n", tool.name());
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {what:<12}{}", escaped(value));
        }
    };
    line("guest", &tool.abi_version().to_string());
    line("description", &first_line(tool.description()));
    let parameters = tool.schema()["properties"].as_object();
    let names = parameters.into_iter().flatten().map(|(name, _)| name.as_str());
    line("parameters", &names.collect::<Vec<_>>().join(", "));
    let capabilities = tool.capabilities();
    for entry in capabilities.http.iter().flat_map(|http| &http.allowlist) {
        let methods = match entry.methods.is_empty() {
            true => "any method".to_owned(),
            false => entry.methods.join(", "),
        };
        let port = entry.port.map(|port| format!(":{port}")).unwrap_or_default();
        let prefix = entry.path_prefix.as_deref().unwrap_or("/");
        let note = match entry.path_prefix.as_deref().is_some_and(is_unbounded_prefix) {
            true => "; the prefix ends inside a name, so longer names are allowed too",
            false => "",
        };
        line("may call", &format!("https://{}{port}{prefix}… ({methods}){note}", entry.host));
    }
    if let Some(workspace) = &capabilities.workspace {
        line("may read", &workspace.allowed_prefixes.join(", "));
    }
    for (alias, name) in capabilities.tool_invoke.iter().flat_map(|invoke| &invoke.aliases) {
        line("may invoke", &format!("{name} as {alias}"));
    }
    for found in tool.diagnostics().iter().filter(|found| found.severity <= Severity::Note) {
        let _ = writeln!(text, "  {}: {}", found.severity, escaped(&found.to_string()));
    }
    text
}

fn call(settings: &Settings, options: &ToolCallArgs) -> CommandResult {
    let mut config = settings.tool_runtime()?;
    if let Some(files) = &options.files {
        config.files = Some(files.clone());
    }
    for rewrite in &options.http_rewrite {
        let Some((host, base)) = rewrite.split_once('=') else {
            let rewrite = quotable(rewrite);
            return Err(Failure::usage(format!("--http-rewrite {rewrite:?} is not HOST=URL")));
        };
        config.outbound.http_rewrite.insert(host.to_owned(), base.to_owned());
    }
    let tools = ToolRegistry::new(WasmToolRuntime::new(config).map_err(Failure::problem)?);
    let path = Path::new(&options.tool);
    let name = match path.extension().is_some_and(|extension| extension == "wasm") {
        true => load_one(&tools, path)?,
        false => options.tool.clone(),
    };
    // The configured tools are there for the aliases of this one. What is wrong with others does not keep it from running.
    let others = load(&tools, &paths(settings))?;
    if tools.find(&name).is_err()
        && let Some(error) = others.failed.first()
    {
        return Err(Failure::problem(error));
    }
    let params = match options.params.as_str() {
        "-" => read_params()?,
        params => params.to_owned(),
    };
    if let Some(context) = &options.context {
        check_context(context)?;
    }
    let report = tools.call_with(&name, ToolCall { params, context: options.context.clone() });
    if options.output.json {
        let (output, error) = match &report.result {
            Ok(output) => (Some(output), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let line = |(level, message): &(log::Level, String)| json!({"level": level.as_str().to_ascii_lowercase(), "message": message});
        print_json(&json!({
            "output": output,
            "error": error,
            "logs": report.logs.iter().map(line).collect::<Value>(),
            "fuel": report.fuel,
            "peak_memory_bytes": report.peak_memory,
            "http_calls": report.http_calls,
            "duration_us": u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX),
        }));
        return report.result.map(drop).map_err(|_| Failure::Reported);
    }
    let output = report.result.map_err(Failure::problem)?;
    outln!("{}", escaped_lines(&output));
    Ok(())
}

/// What a guest would be told must be a JSON object, as what agents tell it is.
fn check_context(text: &str) -> Result<(), Failure> {
    let wrong = |reason: String| Failure::usage(format!("--context is no JSON object: {reason}"));
    match parse_json(text.as_bytes()) {
        Ok(Value::Object(_)) => Ok(()),
        Ok(_) => Err(wrong("write it as {\"user\": \"NAME\"}".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn load_one(tools: &ToolRegistry, path: &Path) -> Result<String, Failure> {
    let mut loaded = tools.load_all(path).map_err(Failure::problem)?;
    match (loaded.loaded.pop(), loaded.failed.pop()) {
        (Some(name), _) => Ok(name),
        (None, Some(error)) => Err(Failure::problem(error)),
        (None, None) => Err(Failure::problem(format!("there is no tool in {}", path.display()))),
    }
}

fn read_params() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_INPUT_BYTES).read_to_string(&mut text);
    read.map_err(|error| Failure::problem(format!("standard input cannot be read: {error}")))?;
    Ok(text)
}

/// The directory that tools are put into: the first configured one, else the default one.
fn directory(settings: &Settings, named: Option<&Path>) -> PathBuf {
    let configured = settings.tools.iter().find(|path| path.is_dir());
    named.or(configured.map(PathBuf::as_path)).map_or_else(default_tools_dir, Path::to_owned)
}

/// Installs a file, or a tool that comes with the program, and shows what it may do.
fn install(
    settings: &Settings,
    tool: &Path,
    to: Option<&Path>,
    force: bool,
    output: JsonArgs,
) -> CommandResult {
    let (tools, to) = (ToolRegistry::new(runtime(settings)?), directory(settings, to));
    let is_file = tool.extension().is_some() || tool.components().count() > 1;
    let (name, installed) = if is_file {
        // A file that is no tool is not installed.
        let name = load_one(&tools, tool)?;
        (name, install_tool(tool, &to, force).map_err(Failure::problem)?)
    } else {
        let installed =
            install_bundled_tool(&tool.to_string_lossy(), &to, force).map_err(Failure::problem)?;
        (load_one(&tools, &installed)?, installed)
    };
    let tool = tools.find(&name).map_err(Failure::problem)?;
    if output.json {
        let mut object = to_json(&tool);
        object["installed"] = json!(path_text(&installed));
        print_json(&object);
        return Ok(());
    }
    out!("{}", to_text(&tool));
    outln!("installed {}", escaped(&installed.display().to_string()));
    Ok(())
}

fn remove(settings: &Settings, name: &str, from: Option<&Path>, output: JsonArgs) -> CommandResult {
    let removed = remove_tool(name, &directory(settings, from)).map_err(Failure::problem)?;
    if output.json {
        print_json(&json!({"removed": path_texts(&removed)}));
        return Ok(());
    }
    for path in removed {
        outln!("removed {}", escaped(&path.display().to_string()));
    }
    Ok(())
}

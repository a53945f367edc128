//! `tinclaw doctor`: what of a host's surroundings does not work, and what to do about it.
//!
//! | file | what is looked at |
//! |---|---|
//! | `surroundings` | clock, disk, permissions |
//! | `network` | names, servers of channels, the public address |
//! | `channels` | channels, their secrets, the store |
//! | `agent` | the agent's settings and its server |

mod agent;
mod channels;
mod network;
mod surroundings;

use log::LevelFilter;
use serde_json::{Value, json};

use super::args::{Common, JsonArgs};
use super::client::{HostResponse, ask_running};
use super::colours::{self, marked};
use super::config::Settings;
use super::layout::{terminal_width, wrapped};
use super::output::{CommandResult, Failure, print_json};
use crate::admin::ApiCall;
use crate::model::escape::escaped;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckState {
    Good,
    /// It does not work, or will soon not.
    Error,
    /// Worth knowing.
    Note,
    /// It could not be looked at.
    Unknown,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    check: &'static str,
    health: CheckState,
    text: String,
    /// What to do.
    help: Option<String>,
}

impl Finding {
    fn new(check: &'static str, health: CheckState, text: impl Into<String>) -> Self {
        Self { check, health, text: text.into(), help: None }
    }

    fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, CheckState::Good, text)
    }

    fn error(check: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..Self::new(check, CheckState::Error, text) }
    }

    fn note(check: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..Self::new(check, CheckState::Note, text) }
    }

    fn unknown(check: &'static str, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..Self::new(check, CheckState::Unknown, text) }
    }
}

/// What the running host responds, if one runs.
fn ask_host(settings: &Settings, path: &[&str]) -> Result<Option<Value>, Failure> {
    Ok(match ask_running(settings, &ApiCall::get(path))? {
        HostResponse::Running(value) => Some(value),
        HostResponse::NotRunning(_) => None,
    })
}

/// Looks at everything. Exit code 1 when there is an error.
pub fn doctor(common: &Common, output: JsonArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Off)?;
    let mut findings = surroundings::findings(&settings);
    findings.extend(network::findings(&settings, settings.outbound())?);
    findings.extend(channels::findings(&settings)?);
    findings.extend(agent::findings(&settings)?);
    if output.json {
        let shown = findings.iter().map(|finding| {
            json!({
                "code": finding.check,
                "state": word(finding.health),
                "message": finding.text,
                "help": finding.help,
            })
        });
        print_json(&json!({"checks": shown.collect::<Value>()}));
    } else {
        out!("{}", marked(&text(&findings, terminal_width()), colours::on_stdout()));
    }
    match findings.iter().any(|finding| finding.health == CheckState::Error) {
        true => Err(Failure::Reported),
        false => Ok(()),
    }
}

fn word(health: CheckState) -> &'static str {
    match health {
        CheckState::Good => "ok",
        CheckState::Error => "error",
        CheckState::Note => "note",
        CheckState::Unknown => "unknown",
    }
}

fn text(findings: &[Finding], width: Option<usize>) -> String {
    let mut text = String::new();
    for Finding { check, health, text: found, help } in findings {
        let mark = match health {
            CheckState::Error => "ERROR",
            other => word(*other),
        };
        let lines = [
            Some(format!("{mark:<8}{check:<12}{}", escaped(found))),
            help.as_ref().map(|help| format!("{:20}{}", "", escaped(help))),
        ];
        for line in lines.into_iter().flatten() {
            text += &(wrapped(&line, width.unwrap_or(usize::MAX), 20) + "\n");
        }
    }
    text
}

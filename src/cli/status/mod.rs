//! `tinclaw status`: what works and what is missing, of everything or of one channel.
//!
//! | file | job |
//! |---|---|
//! | `facts` | gathers what is known of one channel: files, secrets, the host, the store, its service |
//! | `steps` | what follows from it, in the order in which a message travels |
//! | `overview` | everything on one screen |
//! | `screen` | its colours, and drawing it again when something changes |

mod facts;
mod overview;
mod screen;
mod steps;

use facts::Facts;
use log::LevelFilter;
use serde_json::json;
use steps::{StatusStep, StepState};

use super::args::{Common, JsonArgs};
use super::config::Settings;
use super::output::{CommandResult, Failure};
use super::output::{now_ms, print_json};
use crate::channel::ChannelName;
use crate::model::escape::escaped;

/// Does what `tinclaw status …` says. Exit code 1 when something does not work.
pub fn status(common: &Common, channel: Option<&str>, is_watched: bool, output: JsonArgs) -> CommandResult {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    match channel {
        None => overview::overview(&settings, output, is_watched),
        Some(name) => {
            let name = ChannelName::new(name).map_err(Failure::usage)?;
            of_channel(&settings, &name, output)
        }
    }
}

fn of_channel(settings: &Settings, name: &ChannelName, output: JsonArgs) -> CommandResult {
    let facts = Facts::gather(settings, name)?;
    let steps = steps::steps(&facts, now_ms());
    if output.json {
        let shown = steps.iter().map(|step| {
            json!({"code": step.label.replace(' ', "_"), "state": step.state.word(), "message": step.text, "help": step.help})
        });
        print_json(&json!({
            "channel": name.as_str(),
            "running": facts.is_running,
            "health": facts.health,
            "checks": shown.collect::<serde_json::Value>(),
        }));
    } else {
        outln!("{name}");
        steps.iter().for_each(print_step);
        let todo: Vec<&str> = steps.iter().filter_map(|step| step.help.as_deref()).collect();
        if !todo.is_empty() {
            outln!("\nto do:");
        }
        todo.iter().for_each(|help| outln!("- {}", escaped(help)));
    }
    match steps.iter().any(|step| step.state == StepState::Error) {
        true => Err(Failure::Reported),
        false => Ok(()),
    }
}

fn print_step(step: &StatusStep) {
    outln!("  {:5} {:10} {}", step.state.mark(), step.label, escaped(&step.text));
}

//! `tinclaw messages` and `tinclaw replies`.

use clap::ValueEnum;
use log::LevelFilter;
use serde_json::Value;

use super::args::{Common, JsonArgs, MessagesCommand, OneRow, RepliesCommand, Rows};
use super::client::ask;
use super::config::Settings;
use super::layout::columns;
use super::output::{CommandResult, Failure, age, now_ms, print_json};
use crate::admin::ApiCall;
use crate::model::escape::{escaped, escaped_lines};

/// Does what `tinclaw messages …` says.
pub fn messages(common: &Common, command: &MessagesCommand) -> CommandResult {
    let settings = quiet(common)?;
    match command {
        MessagesCommand::List { rows, output } => {
            let list = ask(&settings, &list_call("messages", rows))?;
            show_list(
                (&list, "messages"),
                *output,
                &["id", "received", "channel", "from", "state", "attempt", "text", "error"],
                |row| {
                    vec![
                        number(row, "id"),
                        ago(row, "received_at"),
                        text(row, "channel"),
                        text(row, "user_id"),
                        text(row, "state"),
                        number(row, "attempt"),
                        text(row, "excerpt"),
                        text(row, "error"),
                    ]
                },
            );
            Ok(())
        }
        MessagesCommand::Show(row) => show(&settings, *row, "messages"),
        MessagesCommand::Redeliver(row) => {
            change(&settings, *row, ("messages", "redeliver"), ("message", "will be redelivered"))
        }
        MessagesCommand::Replay(_) => {
            Err(Failure::usage("`messages replay` is now called `messages redeliver`"))
        }
        MessagesCommand::Drop(row) => {
            change(&settings, *row, ("messages", "drop"), ("message", "is dropped"))
        }
    }
}

/// Does what `tinclaw replies …` says.
pub fn replies(common: &Common, command: &RepliesCommand) -> CommandResult {
    let settings = quiet(common)?;
    match command {
        RepliesCommand::List { rows, output } => {
            let list = ask(&settings, &list_call("replies", rows))?;
            show_list(
                (&list, "replies"),
                *output,
                &["id", "created", "channel", "state", "attempts", "text", "error"],
                |row| {
                    vec![
                        number(row, "id"),
                        ago(row, "created_at"),
                        text(row, "channel"),
                        text(row, "state"),
                        number(row, "attempts"),
                        text(row, "excerpt"),
                        text(row, "error"),
                    ]
                },
            );
            Ok(())
        }
        RepliesCommand::Show(row) => show(&settings, *row, "replies"),
        RepliesCommand::Retry(row) => {
            change(&settings, *row, ("replies", "retry"), ("reply", "will be retried"))
        }
        RepliesCommand::Drop(row) => change(&settings, *row, ("replies", "drop"), ("reply", "is dropped")),
    }
}

fn quiet(common: &Common) -> Result<Settings, super::output::Failure> {
    let settings = Settings::load(common)?;
    super::logging::start(common, None, LevelFilter::Error)?;
    Ok(settings)
}

fn list_call<S: ValueEnum + Send + Sync>(resource: &str, rows: &Rows<S>) -> ApiCall {
    let name = |state: &S| state.to_possible_value().map(|value| value.get_name().to_owned());
    ApiCall::get(&[resource])
        .with("channel", rows.channel.as_ref())
        .with("state", rows.state.as_ref().and_then(name))
        .with("before", rows.before)
        .with("limit", Some(rows.limit))
}

fn show_list(
    (list, name): (&Value, &str),
    output: JsonArgs,
    headings: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) {
    let items = list[name].as_array().map(Vec::as_slice).unwrap_or_default();
    if output.json {
        print_json(list);
    } else if items.is_empty() {
        outln!("no {name}");
    } else {
        out!("{}", columns(headings, &items.iter().map(row).collect::<Vec<_>>()));
    }
}

fn show(settings: &Settings, row: OneRow, resource: &str) -> CommandResult {
    let record = ask(settings, &ApiCall::get(&[resource, &row.id.to_string()]))?;
    if row.output.json {
        print_json(&record);
        return Ok(());
    }
    for (field, value) in record.as_object().into_iter().flatten().filter(|(field, _)| *field != "content") {
        let shown = match value {
            Value::Null => continue,
            Value::Array(items) if items.is_empty() => continue,
            Value::String(_) if field.ends_with("_at") => ago(&record, field),
            Value::String(text) => escaped(text).into_owned(),
            other => escaped(&other.to_string()).into_owned(),
        };
        outln!("{:<14}{shown}", field.trim_end_matches("_at").trim_end_matches("_json").replace('_', " "));
    }
    outln!("\n{}", escaped_lines(record["content"].as_str().unwrap_or_default()));
    Ok(())
}

fn change(
    settings: &Settings,
    row: OneRow,
    (resource, action): (&str, &str),
    (kind, what): (&str, &str),
) -> CommandResult {
    let response = ask(settings, &ApiCall::post(&[resource, &row.id.to_string(), action]))?;
    if row.output.json {
        print_json(&response);
    } else {
        outln!("{kind} {} {what}", row.id);
    }
    Ok(())
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

fn number(row: &Value, field: &str) -> String {
    row[field].as_u64().unwrap_or_default().to_string()
}

fn ago(row: &Value, field: &str) -> String {
    age(&row[field], now_ms())
}

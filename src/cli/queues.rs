//! `tinclaw messages` and `tinclaw replies`.

use serde_json::Value;

use super::args::{Common, JsonArgs, MessagesCommand, OneRow, RepliesCommand, Rows};
use super::config::Settings;
use super::control::{self, Request, ask};
use super::outcome::Outcome;
use super::table::{age, columns, now_ms};
use tinclaw::model::escape::{escaped, escaped_lines};

/// Does what `tinclaw messages …` says.
pub fn messages(common: &Common, command: &MessagesCommand) -> Outcome {
    let settings = quiet(common)?;
    match command {
        MessagesCommand::List { rows, output } => {
            let list = ask(&settings, Request::ListMessages(asked(rows)))?;
            show_list(
                &list,
                *output,
                &["id", "received", "channel", "from", "state", "attempt", "text", "error"],
                |row| {
                    vec![
                        number(row, "id"),
                        ago(row, "received_ms"),
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
        MessagesCommand::Show(row) => show(&settings, *row, Request::ShowMessage { id: row.id }),
        MessagesCommand::Replay(row) => change(
            &settings,
            *row,
            Request::ReplayMessage { id: row.id },
            "will be delivered to the agent again",
        ),
        MessagesCommand::Drop(row) => {
            change(&settings, *row, Request::DropMessage { id: row.id }, "is dropped")
        }
    }
}

/// Does what `tinclaw replies …` says.
pub fn replies(common: &Common, command: &RepliesCommand) -> Outcome {
    let settings = quiet(common)?;
    match command {
        RepliesCommand::List { rows, output } => {
            let list = ask(&settings, Request::ListReplies(asked(rows)))?;
            show_list(
                &list,
                *output,
                &["id", "created", "channel", "state", "tries", "text", "error"],
                |row| {
                    vec![
                        number(row, "id"),
                        ago(row, "created_ms"),
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
        RepliesCommand::Show(row) => show(&settings, *row, Request::ShowReply { id: row.id }),
        RepliesCommand::Retry(row) => {
            change(&settings, *row, Request::RetryReply { id: row.id }, "will be sent again")
        }
        RepliesCommand::Drop(row) => change(&settings, *row, Request::DropReply { id: row.id }, "is dropped"),
    }
}

fn quiet(common: &Common) -> Result<Settings, super::outcome::Failure> {
    let settings = Settings::load(common)?;
    super::logging::start(common.log.as_deref(), "error");
    Ok(settings)
}

fn asked(rows: &Rows) -> control::Rows {
    control::Rows {
        channel: rows.channel.clone(),
        state: rows.state.map(str::to_owned),
        before: rows.before,
        limit: rows.limit,
    }
}

fn show_list(list: &Value, output: JsonArgs, headings: &[&str], row: impl Fn(&Value) -> Vec<String>) {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if output.json {
        println!("{list}");
    } else if items.is_empty() {
        println!("none");
    } else {
        print!("{}", columns(headings, &items.iter().map(row).collect::<Vec<_>>()));
    }
}

fn show(settings: &Settings, row: OneRow, request: Request) -> Outcome {
    let record = ask(settings, request)?;
    if row.output.json {
        println!("{record}");
        return Ok(());
    }
    for (field, value) in record.as_object().into_iter().flatten().filter(|(field, _)| *field != "content") {
        let shown = match value {
            Value::Null => continue,
            Value::Array(items) if items.is_empty() => continue,
            Value::Number(_) if field.ends_with("_ms") => ago(&record, field),
            Value::String(text) => escaped(text).into_owned(),
            other => escaped(&other.to_string()).into_owned(),
        };
        println!("{:<14}{shown}", field.trim_end_matches("_ms").trim_end_matches("_json").replace('_', " "));
    }
    println!("\n{}", escaped_lines(record["content"].as_str().unwrap_or_default()));
    Ok(())
}

fn change(settings: &Settings, row: OneRow, request: Request, what: &str) -> Outcome {
    let answer = ask(settings, request)?;
    if row.output.json {
        println!("{answer}");
    } else {
        println!("{} {what}", row.id);
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
    age(row[field].as_u64().unwrap_or_default(), now_ms())
}

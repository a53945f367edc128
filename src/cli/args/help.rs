//! Help pages and usage lines, made from the table.

use super::commands::COMMON;
use super::spec::{Parameter, Spec, Then};

/// How wide a page is, in columns.
pub const WIDTH: usize = 80;

/// A line of a list: what can be written, and what it is for.
type Row = (String, String);

/// The help page of the last of these commands.
pub fn page(path: &[&Spec]) -> String {
    let Some(command) = path.last() else { return String::new() };
    let (options, arguments): (Vec<&Parameter>, Vec<&Parameter>) =
        command.parameters.iter().chain(COMMON).partition(|parameter| parameter.is_option());
    let (with_letter, without): (Vec<&Parameter>, Vec<&Parameter>) =
        options.into_iter().partition(|option| option.short.is_some());
    let mut page = format!("{}\n\nUsage: {}\n", wrapped(command.about, WIDTH).join("\n"), usage(path));
    list(&mut page, "Commands", &command_rows(command));
    list(&mut page, "Arguments", &parameter_rows(&arguments));
    list(&mut page, "Options", &parameter_rows(&[without, with_letter].concat()));
    if !command.notes.is_empty() {
        page.push('\n');
        page += command.notes;
    }
    page
}

/// How the last of these commands is written.
pub fn usage(path: &[&Spec]) -> String {
    let mut usage = title(path) + " [OPTIONS]";
    let Some(command) = path.last() else { return usage };
    if matches!(command.then, Then::Commands(_)) {
        usage += " <COMMAND>";
    }
    for argument in command.parameters.iter().filter(|parameter| !parameter.is_option()) {
        usage += &format!(" {argument}");
    }
    usage
}

/// The names of these commands.
pub fn title(path: &[&Spec]) -> String {
    path.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

fn command_rows(command: &Spec) -> Vec<Row> {
    let Then::Commands(commands) = command.then else { return Vec::new() };
    let rows = commands.iter().map(|command| (command.name, command.about));
    let help = ("help", "Print this, or the help of the command that follows");
    rows.chain([help]).map(|(name, about)| (name.to_owned(), about.to_owned())).collect()
}

fn parameter_rows(parameters: &[&Parameter]) -> Vec<Row> {
    parameters.iter().map(|parameter| parameter_row(parameter)).collect()
}

fn parameter_row(parameter: &Parameter) -> Row {
    let letter = match parameter.short {
        Some(letter) => format!("-{letter}, "),
        None if parameter.is_option() => " ".repeat(4),
        None => String::new(),
    };
    let mut text = parameter.help.to_owned();
    if let Some(alias) = parameter.alias {
        text += &format!("\n[alias: --{alias}]");
    }
    let longest = parameter.choices.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, help) in parameter.choices {
        text += &format!("\n  {name:longest$}  {help}");
    }
    (format!("{letter}{parameter}"), text)
}

fn list(page: &mut String, heading: &str, rows: &[Row]) {
    let Some(longest) = rows.iter().map(|(left, _)| left.len()).max() else { return };
    *page += &format!("\n{heading}:\n");
    for (left, text) in rows {
        let mut left = left.as_str();
        for line in wrapped(text, WIDTH - longest - 4) {
            *page += &format!("  {left:longest$}  {line}\n");
            left = "";
        }
    }
}

/// Breaks lines that are too long between words.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for long in text.lines() {
        let mut line = String::new();
        for word in long.split_inclusive(' ') {
            if line.len() + word.trim_end().len() > width {
                lines.push(line.trim_end().to_owned());
                line.clear();
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}

//! What is wrong with a command line, and what was meant.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};

use tinclaw::model::document::nearest;

use super::given::Given;
use super::help::{WIDTH, title, usage, wrapped};
use super::spec::{Parameter, Spec, Then};
use tinclaw::model::escape::escaped;

/// A command line that cannot be meant: what is wrong, and where to read how it is right.
#[derive(Debug)]
pub struct UsageError {
    what: String,
    usage: String,
    command: String,
}

impl UsageError {
    /// What is wrong, after so much of the line was read.
    pub fn new(what: String, given: &Given) -> Self {
        Self { what, usage: usage(given.path()), command: title(given.path()) }
    }
}

impl Display for UsageError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, usage, command } = self;
        let what = wrapped(&format!("error: {what}"), WIDTH).join("\n");
        write!(f, "{what}\n\nUsage: {usage}\n\nFor more information, try `{command} --help`.")
    }
}

/// There is no such option here.
pub fn unknown_option(given: &Given, name: &str) -> String {
    let known: Vec<&str> =
        given.options().flat_map(|option| [Some(option.name), option.alias]).flatten().collect();
    let written = shown(format!("--{name}").as_ref());
    if let Some(command) = with_option(given.command(), name) {
        return format!(
            "`{written}` comes after its command, as in `{} {command} {written}`",
            title(given.path())
        );
    }
    match nearest(name, &known) {
        Some(known) => format!("there is no option `{written}`; did you mean `--{known}`?"),
        None => format!("there is no option `{written}`{}", instead(given, &written)),
    }
}

/// There is no such letter here.
pub fn unknown_letter(given: &Given, letter: char) -> String {
    let written = shown(format!("-{letter}").as_ref());
    format!("there is no option `{written}`{}", instead(given, &written))
}

/// What to write when an argument looks like an option.
fn instead(given: &Given, written: &str) -> String {
    match given.arguments().as_slice() {
        [] => String::new(),
        _ => format!("; an argument that looks like one goes after `--`, as in `-- {written}`"),
    }
}

/// The first command below this one that has an option.
fn with_option(command: &Spec, name: &str) -> Option<String> {
    let Then::Commands(commands) = command.then else { return None };
    commands.iter().find_map(|command| {
        if command.parameters.iter().any(|option| option.is_option() && option.name == name) {
            return Some(command.name.to_owned());
        }
        with_option(command, name).map(|below| format!("{} {below}", command.name))
    })
}

/// There is no such command here.
pub fn unknown_command(given: &Given, written: &OsStr) -> String {
    let what = format!("`{}` has no command `{}`", title(given.path()), shown(written));
    match nearest(&written.to_string_lossy(), &command_names(given.command())) {
        Some(known) => format!("{what}; did you mean `{known}`?"),
        None => what,
    }
}

/// The line ends before a command that does something.
pub fn needs_command(given: &Given) -> String {
    format!("`{}` needs a command: {}", title(given.path()), listed(&command_names(given.command())))
}

/// The line ends before these arguments.
pub fn lacks(arguments: &[&Parameter]) -> String {
    let names: Vec<String> = arguments.iter().map(|argument| format!("`{argument}`")).collect();
    format!("{} {} missing", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

/// An option stands without its value.
pub fn needs_value(parameter: &Parameter) -> String {
    match parameter.choice_names().as_slice() {
        [] => format!("`{parameter}` needs a value"),
        names => format!("`{parameter}` needs a value: {}", listed(names)),
    }
}

/// An option stands without its value, before something that looks like an option.
pub fn needs_value_before(parameter: &Parameter, next: &OsStr) -> String {
    let (why, name, next) = (needs_value(parameter), parameter.name, shown(next));
    format!("{why}; if `{next}` is it, write `--{name}={next}`")
}

/// The parser cannot go on.
pub fn unreadable(error: lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("`{}` takes no value, but has `{}`", shown(option.as_ref()), shown(&value))
        }
        other => other.to_string(),
    }
}

fn command_names(command: &Spec) -> Vec<&'static str> {
    let Then::Commands(commands) = command.then else { return Vec::new() };
    commands.iter().map(|command| command.name).chain(["help"]).collect()
}

/// `a, b or c`.
pub fn listed(words: &[&str]) -> String {
    match words {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => words.concat(),
    }
}

/// What was written, for a terminal.
pub fn shown(written: &OsStr) -> String {
    escaped(&written.to_string_lossy()).into_owned()
}

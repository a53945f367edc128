//! Colours at a terminal, where they are wanted (no-color.org).

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};

use clap::builder::styling::{AnsiColor, Style};

/// Whether standard output is a terminal that wants colours.
pub fn on_stdout() -> bool {
    are_wanted(io::stdout().is_terminal(), |name| std::env::var_os(name))
}

/// The same of standard error.
pub fn on_stderr() -> bool {
    are_wanted(io::stderr().is_terminal(), |name| std::env::var_os(name))
}

fn are_wanted(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    is_terminal
        && variable("NO_COLOR").is_none_or(|value| value.is_empty())
        && variable("TERM").is_none_or(|term| term != "dumb")
}

/// A text whose lines begin with how bad something is (`error:`, `ERROR`, `warning:`, `ok`): that word in its colour, as clap has it.
pub fn marked(text: &str, is_wanted: bool) -> String {
    if !is_wanted {
        return text.to_owned();
    }
    let line = |line: &str| {
        let end = line.find([' ', '\n']).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        match style_of(word) {
            Some(style) => format!("{style}{word}{style:#}{rest}"),
            None => line.to_owned(),
        }
    };
    text.split_inclusive('\n').map(line).collect()
}

fn style_of(word: &str) -> Option<Style> {
    let colour = match word {
        "error:" | "ERROR" | "failed" | "failed:" => AnsiColor::Red,
        "warning:" => AnsiColor::Yellow,
        "ok" => AnsiColor::Green,
        _ => return None,
    };
    Some(colour.on_default().bold())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_line_has_its_colour_where_that_is_wanted() {
        let text = "error: a error:\nwarning: b\nc error: d\nok      e\n";
        assert_eq!(marked(text, false), text);
        let shown = marked(text, true);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m a error:");
        assert!(
            lines[1].starts_with("\u{1b}[1m\u{1b}[33mwarning:\u{1b}[0m") && lines[2] == "c error: d",
            "{shown}"
        );
    }

    #[test]
    fn a_terminal_is_asked_and_what_its_user_says() {
        let of = |is_terminal, set: &'static [(&str, &str)]| {
            are_wanted(is_terminal, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            })
        };
        assert!(of(true, &[]) && of(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!of(false, &[]) && !of(true, &[("NO_COLOR", "1")]) && !of(true, &[("TERM", "dumb")]));
    }
}

//! What the table of commands is made of.

use std::fmt::{self, Display, Formatter};

use super::given::Given;
use super::types::Command;

/// One command of the table.
pub struct Spec {
    /// What is written for it.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Its options, and its arguments in the order in which they are written.
    pub parameters: &'static [Parameter],
    /// What its help page says at the end; lines of at most 80 columns.
    pub notes: &'static str,
    /// What follows it.
    pub then: Then,
}

/// What follows a command.
pub enum Then {
    /// One of these commands.
    Commands(&'static [Spec]),
    /// No other command; this one means what the function makes of everything that was given.
    Read(fn(&Given) -> Result<Command, String>),
}

/// An option or an argument of a command.
pub struct Parameter {
    /// Of an option, what is written after the dashes; of an argument, what the help calls it.
    pub name: &'static str,
    /// The same option in a letter.
    pub short: Option<char>,
    /// Another name of the option.
    pub alias: Option<&'static str>,
    /// What is written for it.
    pub kind: Kind,
    /// Whether it may be given several times.
    pub many: bool,
    /// The only values that it has, each with its help; none when it takes others.
    pub choices: &'static [(&'static str, &'static str)],
    /// What it is for.
    pub help: &'static str,
}

/// What is written for a parameter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value without a name; it must be given.
    Argument,
    /// The name alone.
    Switch,
    /// The name and a value, which the help calls so.
    Value(&'static str),
}

/// An argument, which must be given.
pub const fn argument(name: &'static str, help: &'static str) -> Parameter {
    parameter(name, Kind::Argument, help)
}

/// An option without a value.
pub const fn switch(name: &'static str, help: &'static str) -> Parameter {
    parameter(name, Kind::Switch, help)
}

/// An option with a value.
pub const fn option(name: &'static str, value: &'static str, help: &'static str) -> Parameter {
    parameter(name, Kind::Value(value), help)
}

const fn parameter(name: &'static str, kind: Kind, help: &'static str) -> Parameter {
    Parameter { name, short: None, alias: None, kind, many: false, choices: &[], help }
}

impl Parameter {
    /// The same, also as a letter.
    pub const fn short(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// The same, also by another name.
    pub const fn alias(self, name: &'static str) -> Self {
        Self { alias: Some(name), ..self }
    }

    /// The same, several times.
    pub const fn many(self) -> Self {
        Self { many: true, ..self }
    }

    /// The same, with these values only.
    pub const fn choices(self, choices: &'static [(&'static str, &'static str)]) -> Self {
        Self { choices, ..self }
    }

    /// Whether it is an option, which has a name on the command line.
    pub fn is_option(&self) -> bool {
        self.kind != Kind::Argument
    }

    /// The only values that it has, if they are few.
    pub fn choice_names(&self) -> Vec<&'static str> {
        self.choices.iter().map(|(name, _)| *name).collect()
    }
}

/// As the help shows it.
impl Display for Parameter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let name = self.name;
        match self.kind {
            Kind::Argument if self.many => write!(f, "<{name}>..."),
            Kind::Argument => write!(f, "<{name}>"),
            Kind::Switch => write!(f, "--{name}"),
            Kind::Value(value) => write!(f, "--{name} <{value}>"),
        }
    }
}

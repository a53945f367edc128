//! From words to what they say. No I/O.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use super::error::{
    UsageError, lacks, needs_command, needs_value, needs_value_before, unknown_command, unknown_letter,
    unknown_option, unreadable,
};
use super::given::Given;
use super::help::page;
use super::read::common;
use super::spec::{Kind, Parameter, Spec, Then};
use super::types::Arguments;

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// That something is done.
    Arguments(Arguments),
    /// This help page.
    Help(String),
    /// The version.
    Version,
}

/// The variables of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a command line; its words are those after the program's name.
///
/// # Errors
/// What is wrong with it, for the operator.
pub fn parse(words: Vec<OsString>, environment: Environment<'_>) -> Result<Parsed, UsageError> {
    let mut given = Given::new();
    understand(&mut Parser::from_args(words), &mut given, environment)
        .map_err(|what| UsageError::new(what, &given))
}

fn understand(words: &mut Parser, given: &mut Given, environment: Environment<'_>) -> Result<Parsed, String> {
    let mut is_help_asked = false;
    while let Some(word) = words.next().map_err(unreadable)? {
        let option = match word {
            Arg::Long(name) => long(given, name)?,
            Arg::Short(letter) => short(given, letter)?,
            Arg::Value(word) => {
                match given.command().then {
                    Then::Commands(_) if word == "help" => is_help_asked = true,
                    Then::Commands(commands) => given.enter(command(given, commands, &word)?),
                    Then::Read(_) if is_help_asked => return Err(unknown_command(given, &word)),
                    Then::Read(_) => given.add_argument(word)?,
                }
                continue;
            }
        };
        match option.name {
            "help" => return Ok(Parsed::Help(page(given.path()))),
            "version" => return Ok(Parsed::Version),
            _ => given.add_option(option, value(words, option)?)?,
        }
    }
    if is_help_asked { Ok(Parsed::Help(page(given.path()))) } else { finish(given, environment) }
}

fn finish(given: &Given, environment: Environment<'_>) -> Result<Parsed, String> {
    let Then::Read(read) = given.command().then else { return Err(needs_command(given)) };
    match given.missing().as_slice() {
        [] => {
            let common = common(given, environment)?;
            Ok(Parsed::Arguments(Arguments { common, command: read(given)? }))
        }
        missing => Err(lacks(missing)),
    }
}

fn long(given: &Given, name: &str) -> Result<&'static Parameter, String> {
    let found = given.options().find(|option| option.name == name || option.alias == Some(name));
    found.ok_or_else(|| unknown_option(given, name))
}

fn short(given: &Given, letter: char) -> Result<&'static Parameter, String> {
    let found = given.options().find(|option| option.short == Some(letter));
    found.ok_or_else(|| unknown_letter(given, letter))
}

fn command(given: &Given, commands: &'static [Spec], word: &OsStr) -> Result<&'static Spec, String> {
    commands.iter().find(|command| word == command.name).ok_or_else(|| unknown_command(given, word))
}

/// The value of an option. What looks like the next option is not taken for one, unless `=` stands before it.
fn value(words: &mut Parser, option: &Parameter) -> Result<OsString, String> {
    if option.kind == Kind::Switch {
        // A value that it has none the less is an error of the next word.
        return Ok(OsString::new());
    }
    if let Some(value) = words.optional_value() {
        return Ok(value);
    }
    let is_value = |word: &OsStr| word == "-" || !word.as_encoded_bytes().starts_with(b"-");
    let Some(mut rest) = words.try_raw_args() else { return Err(needs_value(option)) };
    rest.next_if(is_value).ok_or_else(|| match rest.peek() {
        Some(word) => needs_value_before(option, word),
        None => needs_value(option),
    })
}

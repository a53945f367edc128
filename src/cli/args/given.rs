//! What stands on one command line, by name.

use std::ffi::OsString;

use super::commands::{COMMON, TINCLAW};
use super::error::shown;
use super::spec::{Parameter, Spec};
use super::value::Value;

/// What has been read of a command line.
pub struct Given {
    /// The program, and the commands that followed it.
    path: Vec<&'static Spec>,
    values: Vec<Value>,
}

impl Given {
    /// Nothing but the program's name.
    pub fn new() -> Self {
        Self { path: vec![&TINCLAW], values: Vec::new() }
    }

    /// The program, and the commands that followed it.
    pub fn path(&self) -> &[&'static Spec] {
        &self.path
    }

    /// The last command.
    pub fn command(&self) -> &'static Spec {
        self.path.last().expect("the program's name is always there")
    }

    /// Goes on with a command that belongs to the last one.
    pub fn enter(&mut self, command: &'static Spec) {
        self.path.push(command);
    }

    /// The options that may stand here.
    pub fn options(&self) -> impl Iterator<Item = &'static Parameter> {
        self.command().parameters.iter().chain(COMMON).filter(|parameter| parameter.is_option())
    }

    /// The arguments of the last command.
    pub fn arguments(&self) -> Vec<&'static Parameter> {
        self.command().parameters.iter().filter(|parameter| !parameter.is_option()).collect()
    }

    /// Takes note of an option. The same before a command and after it is no contradiction: the latter counts.
    ///
    /// # Errors
    /// It was given already, at the same place.
    pub fn add_option(&mut self, option: &'static Parameter, written: OsString) -> Result<(), String> {
        let depth = self.path.len();
        if !option.many && self.all(option.name).any(|value| value.depth == depth) {
            return Err(format!("`{option}` may be given only once"));
        }
        self.values.push(Value { of: option, depth, written });
        Ok(())
    }

    /// Takes note of an argument.
    ///
    /// # Errors
    /// The command takes none, or no more.
    pub fn add_argument(&mut self, written: OsString) -> Result<(), String> {
        let before = self.values.iter().filter(|value| !value.of.is_option()).count();
        let arguments = self.arguments();
        let takes_all = || arguments.last().filter(|last| last.many);
        let Some(argument) = arguments.get(before).or_else(takes_all) else {
            return Err(format!("unexpected argument `{}`", shown(&written)));
        };
        self.values.push(Value { of: argument, depth: self.path.len(), written });
        Ok(())
    }

    /// The arguments of the last command that were not given.
    pub fn missing(&self) -> Vec<&'static Parameter> {
        let mut arguments = self.arguments();
        arguments.retain(|argument| self.all(argument.name).next().is_none());
        arguments
    }

    /// Whether a switch was given.
    pub fn switch(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// The value of an option, read as a path, a number, ….
    pub fn one<T>(&self, name: &str, read: fn(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
        self.last(name).map(read).transpose()
    }

    /// Every value of an option or an argument.
    pub fn every<T>(&self, name: &str, read: fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
        self.all(name).map(read).collect()
    }

    /// The value of an argument.
    pub fn argument<T>(&self, name: &str, read: fn(&Value) -> Result<T, String>) -> Result<T, String> {
        read(self.last(name).expect("a line that lacks an argument is refused before anybody asks for it"))
    }

    fn last(&self, name: &str) -> Option<&Value> {
        self.all(name).last()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Value> {
        let mut parameters = self.path.iter().flat_map(|command| command.parameters).chain(COMMON);
        debug_assert!(parameters.any(|parameter| parameter.name == name), "{name} is not in the table");
        self.values.iter().filter(move |value| value.of.name == name)
    }
}

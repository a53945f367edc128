//! One value of a command line, and what it is read as.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use tinclaw::model::document::nearest;

use super::error::{listed, needs_value, shown};
use super::spec::Parameter;

/// A value, and what it was given for.
pub struct Value {
    pub of: &'static Parameter,
    /// How many commands stand before it, with the program.
    pub depth: usize,
    /// What was written; empty for a switch.
    pub written: OsString,
}

impl Value {
    /// A path; no path is empty.
    pub fn path(&self) -> Result<PathBuf, String> {
        if self.written.is_empty() { Err(needs_value(self.of)) } else { Ok(PathBuf::from(&self.written)) }
    }

    /// A text, which may be empty.
    pub fn text(&self) -> Result<String, String> {
        self.written.to_str().map(str::to_owned).ok_or_else(|| self.wrong("it is not UTF-8"))
    }

    /// A whole number.
    pub fn number(&self) -> Result<u64, String> {
        self.text()?.parse().map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => self.wrong("it is too large"),
            _ => self.wrong("expected a whole number"),
        })
    }

    /// An address with a port.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let expected = "expected an IP address and a port, such as 127.0.0.1:8080";
        self.text()?.parse().map_err(|_| self.wrong(expected))
    }

    /// One of the few values that the table allows.
    pub fn choice(&self) -> Result<&'static str, String> {
        let names = self.of.choice_names();
        if let Some(name) = names.iter().find(|name| self.written == **name) {
            return Ok(name);
        }
        let mut why = format!("expected {}", listed(&names));
        if let Some(name) = nearest(&self.written.to_string_lossy(), &names) {
            why += &format!("; did you mean `{name}`?");
        }
        Err(self.wrong(&why))
    }

    fn wrong(&self, why: &str) -> String {
        format!("invalid value `{}` for `{}`: {why}", shown(&self.written), self.of)
    }
}

//! How a command ends.

use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;

use crate::model::escape::escaped_lines;

/// Why a command did not do what was asked. The text goes to standard error and says what to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// A problem was found, or the command failed: exit code 1.
    Problem(String),
    /// The command line or the configuration is invalid: exit code 2.
    Usage(String),
    /// The command failed and has printed why: exit code 1.
    Reported,
}

/// The result of a command.
pub type Outcome = Result<(), Failure>;

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(text) | Self::Usage(text) => f.write_str(text),
            Self::Reported => Ok(()),
        }
    }
}

impl Failure {
    /// The command failed.
    pub fn problem(text: impl Display) -> Self {
        Self::Problem(text.to_string())
    }

    /// The command line or the configuration is invalid.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// Prints it and returns the exit code.
    pub fn report(self) -> ExitCode {
        let code = match self {
            Self::Problem(_) => 1,
            Self::Usage(_) => 2,
            Self::Reported => return ExitCode::from(1),
        };
        eprintln!("error: {}", escaped_lines(&self.to_string()));
        ExitCode::from(code)
    }
}

//! How a command ends.

use std::fmt::{self, Display, Formatter};
use std::process::ExitCode;

/// Why a command did not do what was asked. The text goes to standard error and says what to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something is wrong with what was looked at, or could not be done: exit code 1.
    Problem(String),
    /// The command line or the configuration cannot be meant: exit code 2.
    Usage(String),
    /// Everything has been said already: exit code 1.
    Told,
}

/// What a command comes to.
pub type Outcome = Result<(), Failure>;

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(text) | Self::Usage(text) => f.write_str(text),
            Self::Told => Ok(()),
        }
    }
}

impl Failure {
    /// Something went wrong.
    pub fn problem(text: impl Display) -> Self {
        Self::Problem(text.to_string())
    }

    /// The command line or the configuration is wrong.
    pub fn usage(text: impl Display) -> Self {
        Self::Usage(text.to_string())
    }

    /// Says it, and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = match self {
            Self::Problem(_) => 1,
            Self::Usage(_) => 2,
            Self::Told => return ExitCode::from(1),
        };
        eprintln!("tinclaw: {self}");
        ExitCode::from(code)
    }
}

//! One finding about a channel or a configuration, as `check`, the log and health show it.

use std::fmt;

use serde::Serialize;

use super::subject::about_channel;

/// How much a [`Diagnostic`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work as written.
    Error,
    /// It runs, and something about it probably is not what was meant.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding. Its text may quote files and guests: escape it where it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// A stable name for programs, such as `missing-secret`.
    pub code: &'static str,
    /// The field that it is about, such as `capabilities.websocket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What was found.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding of this severity.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity, code, field: None, message: message.into(), help: None }
    }

    /// Something that does not work as written.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Something that probably is not what was meant.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Something good to know.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    /// Names the field that it is about.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Writes it to the log about this channel.
    pub fn log(&self, channel: &str) {
        let level = match self.severity {
            Severity::Error => log::Level::Error,
            Severity::Warning => log::Level::Warn,
            Severity::Note => log::Level::Info,
        };
        log::log!(target: channel, level, "{}", about_channel(channel, &self.to_string()));
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = &self.field {
            write!(f, "`{field}`: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_reads_as_one_sentence_and_serialises_what_it_has() {
        let plain = Diagnostic::note("a-b", "it is so");
        assert_eq!(plain.to_string(), "it is so");
        assert_eq!(
            serde_json::to_string(&plain).unwrap(),
            r#"{"severity":"note","code":"a-b","message":"it is so"}"#
        );
        let full = Diagnostic::warning("a-b", "it is so").at("x.y").help("change it");
        assert_eq!(full.to_string(), "`x.y`: it is so; change it");
    }

    #[test]
    fn the_most_severe_comes_first() {
        let mut all = [Severity::Note, Severity::Error, Severity::Warning];
        all.sort_unstable();
        assert_eq!(all, [Severity::Error, Severity::Warning, Severity::Note]);
    }
}

//! The log on standard error.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use crate::egress::LOG_CAPS;
use crate::model::escape::escaped;
use crate::model::subject::is_about_channel;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::args::Common;
use super::output::Failure;

/// The levels that a filter may name.
const LEVELS: &str = "off, error, warn, info, debug or trace";

/// Starts the log. The command line goes before the configuration, that before `RUST_LOG`, and that before `default`,
/// which `-v` and `-q` change.
///
/// # Errors
/// A filter that would not do what it says: a misspelt level would turn every line off.
pub fn start(common: &Common, configured: Option<&str>, default: LevelFilter) -> Result<(), Failure> {
    let is_valid = |source: &str, filter: &str| {
        check_filter(filter).map_err(|error| Failure::usage(format!("{source}: {error}")))
    };
    if let Some(filter) = &common.log {
        is_valid("--log", filter)?;
    }
    if let Some(filter) = configured.filter(|filter| common.log.as_deref() != Some(*filter)) {
        is_valid("log in the configuration", filter)?;
    }
    let by_count = level_by_count(common.verbose, common.quiet, default).map(|level| level.to_string());
    // The variable is shared with other programs, so it stops nothing.
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let variable = variable.filter(|filter| {
        check_filter(filter).inspect_err(|error| eprintln!("warning: RUST_LOG is ignored: {error}")).is_ok()
    });
    let chosen = common.log.clone().or(by_count).or(configured.map(str::to_owned)).or(variable);
    install(&chosen.unwrap_or_else(|| default.to_string()));
    Ok(())
}

/// What `-v` and `-q` ask for.
fn level_by_count(verbose: u8, quiet: u8, default: LevelFilter) -> Option<LevelFilter> {
    match (verbose, quiet) {
        (0, 0) => None,
        (0, 1) => Some(default.min(LevelFilter::Warn)),
        (0, 2) => Some(default.min(LevelFilter::Error)),
        (0, _) => Some(LevelFilter::Off),
        (1, _) => Some(LevelFilter::Debug),
        (_, _) => Some(LevelFilter::Trace),
    }
}

/// Why a filter would not do what it says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BadFilter {
    #[error("{0:?} is not a log level: use {LEVELS}, or {0}=debug for the target {0}")]
    NoLevel(String),
    #[error("{level:?}, for {target}, is not a log level: use {LEVELS}")]
    UnknownLevel { target: String, level: String },
}

/// Refuses what `env_logger` would take for the name of a target, or leave out.
fn check_filter(filter: &str) -> Result<(), BadFilter> {
    let directives = filter.split('/').next().unwrap_or_default();
    for directive in directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        let is_level = |text: &str| text.trim().parse::<LevelFilter>().is_ok();
        match directive.split_once('=') {
            None if is_level(directive) => {}
            None => {
                return Err(BadFilter::NoLevel(directive.to_owned()));
            }
            Some((_, level)) if is_level(level) => {}
            Some((target, level)) => {
                return Err(BadFilter::UnknownLevel { target: target.to_owned(), level: level.to_owned() });
            }
        }
    }
    Ok(())
}

fn install(filter: &str) {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter).format(|out, record| {
        let style = out.default_level_style(record.level());
        let time = display_or(out.timestamp_seconds(), "(no date)");
        let message = record.args().to_string();
        let target =
            target_prefix(record.target(), &message).map(|target| format!("{target}: ")).unwrap_or_default();
        // The last line of defence: whatever a line quotes, it stays one line and moves no cursor.
        writeln!(out, "{time} {style}{:<5}{style:#} {target}{}", record.level(), escaped(&message))
    });
    let logger = builder.build();
    log::set_max_level(logger.filter());
    // Only a second logger of one process is refused, and there is one.
    let _ = log::set_boxed_logger(Box::new(Capped(logger)));
}

/// What a value prints. A clock beyond the year 9999 has no date, and writing one would panic in every line.
fn display_or(value: impl fmt::Display, otherwise: &str) -> String {
    let mut text = String::new();
    match write!(text, "{value}") {
        Ok(()) => text,
        Err(fmt::Error) => otherwise.to_owned(),
    }
}

/// The target, where the line does not name its subject itself: that of a guest's own lines, and of other crates.
fn target_prefix<'a>(target: &'a str, message: &str) -> Option<&'a str> {
    let is_host = target == "tinclaw" || target.starts_with("tinclaw::");
    (!is_host && !is_about_channel(target, message)).then_some(target)
}

/// Leaves out what would show secrets, whatever the filter says.
struct Capped(env_logger::Logger);

impl Log for Capped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_harmless(metadata.target(), metadata.level()) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_harmless(record.target(), record.level()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn is_harmless(target: &str, level: Level) -> bool {
    LOG_CAPS.iter().all(|(capped, most)| {
        let rest = target.strip_prefix(capped);
        rest.is_none_or(|rest| !(rest.is_empty() || rest.starts_with("::"))) || level <= *most
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoDate;

    impl fmt::Display for NoDate {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    // With the clock in the year 11476 the first line of the log ended the program.
    #[test]
    fn a_time_that_cannot_be_printed_ends_nothing() {
        assert_eq!(display_or(NoDate, "(no date)"), "(no date)");
        assert_eq!(display_or(7, "(no date)"), "7");
    }

    #[test]
    fn no_filter_shows_what_could_be_a_secret() {
        for (target, level, expected) in [
            ("ureq", Level::Trace, false),
            ("ureq::run", Level::Trace, false),
            ("ureq_proto::client", Level::Trace, false),
            ("ureq", Level::Debug, true),
            ("ureqs", Level::Trace, true),
            ("echo", Level::Trace, true),
        ] {
            assert_eq!(is_harmless(target, level), expected, "{target} {level}");
        }
    }

    /// `--log verbose` and `log = "loud"` were taken for the names of targets, and turned every line off.
    #[test]
    fn a_filter_that_is_not_one_is_refused_with_the_levels() {
        for (filter, error) in [
            ("", None),
            ("debug", None),
            ("OFF", None),
            ("info,echo=debug", None),
            ("warn, tinclaw::router=trace ,", None),
            ("info/some text, and=more", None),
            ("verbose", Some("\"verbose\" is not a log level: use off, error, warn, info, debug or trace")),
            ("info,echo", Some("or echo=debug for the target echo")),
            ("echo=loud", Some("\"loud\", for echo, is not a log level")),
            ("echo=", Some("is not a log level")),
        ] {
            let found = check_filter(filter).err();
            match error {
                None => assert_eq!(found, None, "{filter}"),
                Some(part) => {
                    assert!(
                        found.as_ref().is_some_and(|found| found.to_string().contains(part)),
                        "{filter}: {found:?}"
                    )
                }
            }
        }
    }

    #[test]
    fn verbose_and_quiet_change_the_default() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        for (verbose, quiet, default, expected) in [
            (0, 0, Info, None),
            (1, 0, Info, Some(Debug)),
            (2, 0, Error, Some(Trace)),
            (9, 0, Info, Some(Trace)),
            (0, 1, Info, Some(Warn)),
            (0, 1, Error, Some(Error)),
            (0, 2, Info, Some(Error)),
            (0, 3, Info, Some(Off)),
        ] {
            assert_eq!(level_by_count(verbose, quiet, default), expected, "{verbose} {quiet} {default}");
        }
    }

    #[test]
    fn a_line_has_its_subject_once() {
        for (target, message, shown) in [
            ("echo", "hello from the guest", Some("echo")),
            ("echo", "channel echo is ready", None),
            ("echo", "channel `echo`: on-start trapped", None),
            ("tinclaw::router::state", "the store is up again", None),
            ("tinclaw", "stopped", None),
            ("agent", "message 1: it is said again", Some("agent")),
            ("ureq::run", "connecting", Some("ureq::run")),
        ] {
            assert_eq!(target_prefix(target, message), shown, "{target}: {message}");
        }
    }
}

//! The log, on standard error or in a file.
//!
//! | file | job |
//! |---|---|
//! | `line` | one line: for people, for journald, as JSON |
//! | `line_queue` | lines on their way to the thread that writes them |
//! | `panics` | a thread that panics leaves a line |
//! | `repeats` | equal lines are counted |
//! | `rotating_file` | a file of bounded size, and older ones |

mod line;
mod line_queue;
mod panics;
mod repeats;
mod rotating_file;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use env_logger::Logger;
use log::{Level, LevelFilter, Log, Metadata, Record};

use self::line::display_or;
use self::line_queue::LineQueue;
use self::repeats::{RepeatedLine, Repeats};
use super::args::Common;
use super::output::Failure;
use crate::admin::keep_log_line;
use crate::egress::OutboundHttpSettings;
use crate::model::log_throttle::Suppressed;

pub use self::line::LogFormat;
pub use self::rotating_file::{FileLimits, RotatingFile};

/// The levels that a filter may name.
const LEVELS: &str = "off, error, warn, info, debug or trace";

/// Starts the log. The command line goes before the configuration, that before `RUST_LOG`, and that before `default`,
/// which `-v` and `-q` change.
///
/// # Errors
/// A filter that would not do what it says: a misspelt level would turn every line off.
pub fn start(common: &Common, configured: Option<&str>, default: LevelFilter) -> Result<(), Failure> {
    let filter = chosen_filter(common, configured, default, true)?;
    let mut builder = builder(&filter, LogFormat::Text, is_journal());
    PreparedLog { logger: builder.build(), lines: None }.install();
    Ok(())
}

/// The same for a command that runs for long: lines are written by a thread of their own, so that no other one waits for whoever
/// reads them, and a panic is a line of the log.
///
/// # Errors
/// As of [`start`], or the log file cannot be written.
pub fn start_with(
    common: &Common,
    configured: Option<&str>,
    default: LevelFilter,
    output: &LogOutput,
) -> Result<(), Failure> {
    let filter = chosen_filter(common, configured, default, true)?;
    queued_logger(&filter, output)?.install();
    panics::log_panics();
    Ok(())
}

/// A log that takes the place of the one before when it is installed.
///
/// # Errors
/// As of [`start_with`].
pub fn prepare(
    common: &Common,
    configured: Option<&str>,
    default: LevelFilter,
    output: &LogOutput,
) -> Result<PreparedLog, Failure> {
    queued_logger(&chosen_filter(common, configured, default, false)?, output)
}

/// The filter that counts. With `warns`, standard error hears that the variable has none.
fn chosen_filter(
    common: &Common,
    configured: Option<&str>,
    default: LevelFilter,
    warns: bool,
) -> Result<String, Failure> {
    check_filters(common, configured, "")?;
    let by_count = level_by_count(common.verbose, common.quiet, default).map(|level| level.to_string());
    // The variable is shared with other programs, so it stops nothing.
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let variable = variable.filter(|filter| match check_filter(filter) {
        Ok(()) => true,
        Err(error) => {
            if warns {
                errln!("warning: RUST_LOG is ignored: {error}");
            }
            false
        }
    });
    let chosen = common.log.clone().or(by_count).or(configured.map(str::to_owned)).or(variable);
    Ok(chosen.unwrap_or_else(|| default.to_string()))
}

/// Whether the command line and the configuration have filters that do what they say.
///
/// # Errors
/// The first one that does not.
pub fn check_filters(common: &Common, configured: Option<&str>, place: &str) -> Result<(), Failure> {
    let is_valid = |source: &str, filter: &str| {
        check_filter(filter).map_err(|error| Failure::usage(format!("{source}: {error}")))
    };
    if let Some(filter) = &common.log {
        is_valid("--log", filter)?;
    }
    match configured.filter(|filter| common.log.as_deref() != Some(*filter)) {
        Some(filter) => is_valid(&format!("{place}log"), filter),
        None => Ok(()),
    }
}

/// Whether the log can be written. Nothing is made.
///
/// # Errors
/// The file cannot be.
pub fn check_output(output: &LogOutput) -> Result<(), Failure> {
    let Some(file) = &output.file else { return Ok(()) };
    RotatingFile::check(&file.path).map_err(|error| file.failed(&error))
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
    #[error("{0:?} names no target: write a level alone, or the name of a target before `=`")]
    NoTarget(String),
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
            Some((target, _)) if target.trim().is_empty() => {
                return Err(BadFilter::NoTarget(directive.to_owned()));
            }
            Some((_, level)) if is_level(level) => {}
            Some((target, level)) => {
                return Err(BadFilter::UnknownLevel { target: target.to_owned(), level: level.to_owned() });
            }
        }
    }
    Ok(())
}

/// Where the log goes, and how it is written.
#[derive(Clone, Debug, Default)]
pub struct LogOutput {
    /// How lines are written.
    pub format: LogFormat,
    /// The file in place of standard error.
    pub file: Option<LogFile>,
}

/// The file that the log goes to.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it may take.
    pub limits: FileLimits,
    /// What names it: a field or an option.
    pub setting: &'static str,
}

impl LogFile {
    fn failed(&self, error: &io::Error) -> Failure {
        Failure::problem(format!("{} {:?}: {error}", self.setting, self.path.display().to_string()))
    }
}

/// Whether standard error goes to journald.
fn is_journal() -> bool {
    line::is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref())
}

/// A log whose lines are written by a thread of their own.
fn queued_logger(filter: &str, output: &LogOutput) -> Result<PreparedLog, Failure> {
    let format = output.format;
    let is_journal = output.file.is_none() && is_journal();
    let mut builder = builder(filter, format, is_journal);
    let out: Box<dyn io::Write + Send> = match &output.file {
        Some(file) => {
            let file = RotatingFile::open(&file.path, file.limits).map_err(|error| file.failed(&error))?;
            let notice = move |lost| notice(format, false, &format!("{lost} {NOT_WRITTEN}"));
            Box::new(file.with_notice(Box::new(notice)))
        }
        None => {
            if wants_colour() {
                builder.write_style(env_logger::WriteStyle::Always);
            }
            Box::new(stderr_file().map_err(|error| Failure::problem(format!("standard error: {error}")))?)
        }
    };
    let notice = move |count| notice(format, is_journal, &format!("{count} {LEFT_OUT}"));
    let lines = LineQueue::start(out, Box::new(notice))
        .map_err(|error| Failure::problem(format!("the log has no thread: {error}")))?;
    builder.target(env_logger::Target::Pipe(Box::new(lines.clone())));
    Ok(PreparedLog { logger: builder.build(), lines: Some(lines) })
}

/// Standard error without the lock of the standard library: the thread that writes may wait there for ever.
fn stderr_file() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// Whether lines on standard error are coloured, by what terminals and programs agree on.
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let is = |name: &str, text: &str| std::env::var_os(name).is_some_and(|value| value == text);
    let is_refused = is_set("NO_COLOR") || is("CLICOLOR", "0") || is("TERM", "dumb");
    is_set("CLICOLOR_FORCE") || (io::stderr().is_terminal() && !is_refused)
}

fn builder(filter: &str, format: LogFormat, is_journal: bool) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(filter);
    match (format, is_journal) {
        (LogFormat::Json, is_journal) => builder.format(move |out, record| {
            let priority = if is_journal { line::priority(record.level()) } else { "" };
            writeln!(out, "{priority}{}", line::json_line(record, SystemTime::now()))
        }),
        // journald has the time already.
        (LogFormat::Text, true) => builder
            .format(|out, record| writeln!(out, "{}{}", line::priority(record.level()), line::text(record))),
        (LogFormat::Text, false) => builder.format(|out, record| {
            let style = out.default_level_style(record.level());
            let time = display_or(out.timestamp_seconds(), "(no date)");
            writeln!(out, "{time} {style}{:<5}{style:#} {}", record.level(), line::text(record))
        }),
    };
    builder
}

/// What a file says in place of lines that it could not take.
const NOT_WRITTEN: &str = "lines of the log could not be written and are lost";
/// What the queue says in place of lines for which it had no room.
const LEFT_OUT: &str = "lines of the log were left out, because they are written too slowly";

/// A line in place of those that are missing.
fn notice(format: LogFormat, is_journal: bool, text: &str) -> String {
    let args = format_args!("{text}");
    let record = Record::builder().level(Level::Error).target("tinclaw").args(args).build();
    let priority = if is_journal { line::priority(Level::Error) } else { "" };
    let now = SystemTime::now();
    match format {
        LogFormat::Json => format!("{priority}{}\n", line::json_line(&record, now)),
        LogFormat::Text if is_journal => format!("{priority}{text}\n"),
        LogFormat::Text => {
            let at = crate::admin::rfc3339(now);
            format!("{} ERROR {text}\n", at.as_str().unwrap_or("(no date)"))
        }
    }
}

/// Writes what is counted and not written yet, when the program ends.
pub fn finish() {
    let waiting = REPEATS.lock().unwrap_or_else(PoisonError::into_inner).take();
    LOG.write_counts(waiting);
    LOG.wait_until_written();
}

/// A log that is not used yet.
pub struct PreparedLog {
    logger: Logger,
    /// Where its lines go, when a thread of their own writes them.
    lines: Option<LineQueue>,
}

impl PreparedLog {
    /// From now on all lines go to it.
    pub fn install(self) {
        log::set_max_level(self.logger.filter());
        let before = LOG.0.write().unwrap_or_else(PoisonError::into_inner).replace(self);
        // Its last lines go before those of this one, when both are written to the same file.
        if let Some(lines) = before.and_then(|log| log.lines) {
            lines.wait_until_written();
        }
        // Refused when it is installed already, which is as well.
        let _ = log::set_logger(&LOG);
    }
}

/// The log of this process. A lock, because any thread writes a line, and a reload changes where it goes: lines hold it together, the
/// change holds it alone.
static LOG: Capped = Capped(RwLock::new(None));

/// Lines that were written lately. Any thread writes a line; held for a look-up.
static REPEATS: LazyLock<Mutex<Repeats>> = LazyLock::new(Mutex::default);

/// Leaves out what would show secrets, whatever the filter says.
struct Capped(RwLock<Option<PreparedLog>>);

impl Capped {
    /// Says how often lines were repeated.
    fn write_counts(&self, counted: Vec<(RepeatedLine, u64)>) {
        for (RepeatedLine { level, target, text }, count) in counted {
            let text = format!("{text}{}", Suppressed(count));
            keep_log_line(level, &target, &text);
            let repeated = [("repeated", count)];
            let args = format_args!("{text}");
            // Every line that repeats is the program's own or a guest's, which have the same module.
            let record = Record::builder()
                .level(level)
                .target(&target)
                .module_path(Some(module_path!()))
                .key_values(&repeated)
                .args(args)
                .build();
            self.with(|logger| logger.log(&record));
        }
    }

    fn with<T>(&self, f: impl FnOnce(&Logger) -> T) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|log| f(&log.logger))
    }

    /// Waits for the thread that writes, for a second at most; not with the lock, which a reload wants.
    fn wait_until_written(&self) {
        let lines =
            self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|log| log.lines.clone());
        if let Some(lines) = lines {
            lines.wait_until_written();
        }
    }
}

impl Log for Capped {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_harmless(metadata.target(), metadata.level())
            && self.with(|logger| logger.enabled(metadata)) == Some(true)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        let line = RepeatedLine { level: record.level(), target: record.target().to_owned(), text };
        let now = Instant::now();
        let (counted, is_new) = {
            let mut repeats = REPEATS.lock().unwrap_or_else(PoisonError::into_inner);
            (repeats.over(now), repeats.is_new(&line, now))
        };
        self.write_counts(counted);
        if is_new {
            keep_log_line(line.level, &line.target, &line.text);
            self.with(|logger| logger.log(record));
        }
    }

    /// Also writes the counts of lines that have stopped to repeat.
    fn flush(&self) {
        let counted = REPEATS.lock().unwrap_or_else(PoisonError::into_inner).over(Instant::now());
        self.write_counts(counted);
        self.with(Log::flush);
        self.wait_until_written();
    }
}

fn is_harmless(target: &str, level: Level) -> bool {
    OutboundHttpSettings::LOG_CAPS.iter().all(|(capped, most)| {
        let rest = target.strip_prefix(capped);
        rest.is_none_or(|rest| !(rest.is_empty() || rest.starts_with("::"))) || level <= *most
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("info,=debug", Some("\"=debug\" names no target")),
            ("info,=x", Some("\"=x\" names no target")),
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
}

//! The log on standard error.

use std::io::Write as _;

use log::{Level, Log, Metadata, Record};
use tinclaw::egress::LOG_CAPS;
use tinclaw::model::escape::escaped;

/// Starts the log. `filter` (from the command line or the configuration) goes before `RUST_LOG`, and that before
/// `default`.
pub fn start(filter: Option<&str>, default: &str) {
    let variable = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter.or(variable.as_deref()).unwrap_or(default);
    let mut builder = env_logger::Builder::new();
    // What is not understood in a filter is told on standard error, and left out.
    builder.parse_filters(filter).format(|out, record| {
        let style = out.default_level_style(record.level());
        let time = out.timestamp_seconds();
        let target = shown_target(record.target());
        let message = record.args().to_string();
        // The last line of defence: whatever a line quotes, it stays one line and moves no cursor.
        writeln!(out, "{time} {style}{:<5}{style:#} {target}: {}", record.level(), escaped(&message))
    });
    let logger = builder.build();
    log::set_max_level(logger.filter());
    // Only a second logger of one process is refused, and there is one.
    let _ = log::set_boxed_logger(Box::new(Capped(logger)));
}

/// The host's own modules are of no interest to its operator; a channel's lines have its name as target.
fn shown_target(target: &str) -> &str {
    if target.starts_with("tinclaw::") { "tinclaw" } else { target }
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

    #[test]
    fn a_channels_lines_have_its_name() {
        for (target, shown) in
            [("echo", "echo"), ("tinclaw::router::core", "tinclaw"), ("tinclaw", "tinclaw")]
        {
            assert_eq!(shown_target(target), shown);
        }
    }
}

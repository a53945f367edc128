//! How the overview looks at a terminal: colours, the last hour in one line, and drawing it again when something changes.

use std::io::{self, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::layout::fitted;
use crate::cli::output::{CommandResult, Failure};
use crate::cli::print;
use crate::cli::prompt::has_input;

/// The time between two drawings.
const PAUSE: Duration = Duration::from_secs(1);
/// To the alternate screen, without a cursor; and back (xterm's private modes 1049 and 25).
const ALTERNATE: &str = "\u{1b}[?1049h\u{1b}[?25l";
const ORDINARY: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// The cursor to the upper left, and everything below it erased (ECMA-48: CUP, ED).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";
/// Columns of the last hour.
const HISTORY_COLUMNS: usize = 60;

/// Draws again and again, until `q` or a signal: `draw` makes the screen.
pub fn watch(has_colours: bool, mut draw: impl FnMut() -> Result<String, Failure>) -> CommandResult {
    let is_stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, is_stopped.clone())
            .map_err(|error| Failure::problem(format!("signals cannot be waited for: {error}")))?;
    }
    let terminal = WatchTerminal::new();
    let mut last = None;
    while !is_stopped.load(Ordering::Relaxed) {
        let text = draw().unwrap_or_else(|failure| format!("{failure}\n"));
        let text = match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => fitting(&text, size.ws_col.into(), size.ws_row.into()),
            _ => text,
        };
        // Ages change each second; nothing is written when nothing does.
        if last.as_ref() != Some(&text) {
            let shown = if has_colours { coloured(&text) } else { text.clone() };
            out!("{CLEAR}{shown}");
            // A reader that stops is how this ends without a signal.
            if print::finish().is_err() {
                break;
            }
            last = Some(text);
        }
        if terminal.is_to_quit(PAUSE) {
            break;
        }
    }
    Ok(())
}

/// The lines that fit, each broken at the width.
fn fitting(text: &str, columns: usize, rows: usize) -> String {
    let broken = fitted(text, Some(columns));
    // The last row stays empty: a line break there would move everything up.
    broken.lines().take(rows.saturating_sub(1).max(1)).map(|line| format!("{line}\n")).collect()
}

/// The terminal while it shows a screen: what was there before comes back when this is dropped. Keys are read as they are pressed.
struct WatchTerminal {
    before: Option<Termios>,
    has_screen: bool,
}

impl WatchTerminal {
    fn new() -> Self {
        let has_screen = io::stdout().is_terminal();
        let before = tcgetattr(io::stdin()).ok().filter(|_| has_screen);
        if let Some(before) = &before {
            let mut keys = before.clone();
            keys.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            keys.special_codes[SpecialCodeIndex::VMIN] = 0;
            keys.special_codes[SpecialCodeIndex::VTIME] = 0;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &keys);
        }
        if has_screen {
            out!("{ALTERNATE}");
        }
        Self { before, has_screen }
    }

    /// Waits for so long, or until a key is pressed; whether that is `q`.
    fn is_to_quit(&self, time: Duration) -> bool {
        if self.before.is_none() {
            thread::sleep(time);
            return false;
        }
        if !has_input(time) {
            return false;
        }
        let mut keys = [0; 64];
        match io::stdin().read(&mut keys) {
            Ok(count @ 1..) => keys.iter().take(count).any(|key| matches!(key, b'q' | b'Q')),
            // The terminal is gone.
            Ok(0) | Err(_) => {
                thread::sleep(time);
                false
            }
        }
    }
}

impl Drop for WatchTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        if self.has_screen {
            out!("{ORDINARY}");
        }
    }
}

/// Colours the states of the store and of the channels.
pub fn coloured(text: &str) -> String {
    let mut column = None;
    let mut coloured = String::new();
    for line in text.lines() {
        if line.is_empty() {
            column = None;
        }
        let start = if line.starts_with("store ") { Some("store     ".len()) } else { column };
        if line.starts_with("CHANNEL ") {
            column = line.find("STATE");
        }
        coloured += &with_colour(line, start);
        coloured.push('\n');
    }
    coloured
}

/// The line with the word that begins at `start` in the colour of that state.
fn with_colour(line: &str, start: Option<usize>) -> String {
    let Some((before, rest)) = start.and_then(|start| line.split_at_checked(start)) else {
        return line.to_owned();
    };
    let length = rest.find([' ', ',']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(length);
    match colour_of(word) {
        Some(style) => format!("{before}{style}{word}{style:#}{after}"),
        None => line.to_owned(),
    }
}

fn colour_of(state: &str) -> Option<Style> {
    let colour = match state {
        "ready" | "up" => AnsiColor::Green,
        "starting" | "degraded" | "full" | "stopping" => AnsiColor::Yellow,
        "paused" | "down" | "stopped" => AnsiColor::Red,
        _ => return None,
    };
    Some(colour.on_default().bold())
}

/// A column of the history in one line of bars, the newest on the right; empty when there is none.
pub fn bars(column: &Value) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<u64> = column.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let size = values.len().div_ceil(HISTORY_COLUMNS).max(1);
    let highest: Vec<u64> = values.chunks(size).filter_map(|chunk| chunk.iter().max()).copied().collect();
    let most = highest.iter().max().copied().unwrap_or(0).max(1);
    let height = |value: &u64| (u128::from(*value) * 7).div_ceil(u128::from(most));
    let bar = |value: &u64| BARS[usize::try_from(height(value)).unwrap_or(7).min(7)];
    highest.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_coloured_where_they_stand_and_nowhere_else() {
        let text = "store     down (up and away), 1 KiB\n\nCHANNEL  STATE     TEXT\nready    ready     ready\nb        starting\n\nready    ready\n";
        let shown = coloured(text);
        let plain = |line: &str| -> String {
            let mut rest = line;
            let mut plain = String::new();
            while let Some((before, after)) = rest.split_once('\u{1b}') {
                plain += before;
                rest = after.split_once('m').map_or("", |(_, after)| after);
            }
            plain + rest
        };
        assert_eq!(plain(&shown), text);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(
            lines[0].starts_with("store     \u{1b}") && lines[0].ends_with("\u{1b}[0m (up and away), 1 KiB"),
            "{shown}"
        );
        assert!(
            lines[3].starts_with("ready    \u{1b}") && lines[3].ends_with("\u{1b}[0m     ready"),
            "{shown}"
        );
        assert!(lines[4].ends_with("starting\u{1b}[0m"), "{shown}");
        assert_eq!(lines[6], "ready    ready");
    }

    /// At 60 columns and 15 rows each row of a channel took two lines, and the first ones were gone.
    #[test]
    fn a_screen_is_no_larger_than_the_terminal() {
        assert_eq!(fitting("12345\n123456\n", 5, 15), "12345\n12345\n6\n");
        assert_eq!(fitting("a\nb\nc\n", 5, 3), "a\nb\n");
        assert_eq!(fitting("a\nb\n", 1, 1), "a\n");
        assert_eq!(fitting("é▁▁\n", 3, 9), "é▁▁\n");
    }

    #[test]
    fn an_hour_fits_into_one_line() {
        assert_eq!(bars(&json!([0, 1, 7, 14])), "▁▂▅█");
        assert_eq!(bars(&json!([0, 0])), "▁▁");
        assert_eq!(bars(&Value::Null), "");
        let hour: Vec<u64> = (0..360).collect();
        assert_eq!(bars(&json!(hour)).chars().count(), HISTORY_COLUMNS);
        assert_eq!(bars(&json!([u64::MAX, 0])), "█▁");
    }
}

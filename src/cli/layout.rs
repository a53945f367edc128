//! Text for a terminal of any width: tables and lines that are broken at blanks.

use std::io;

use rustix::termios::tcgetwinsize;

use crate::model::escape::escaped;

/// Between two columns.
const GAP: usize = 2;
/// A last column that is narrower than this is read better below its row.
const MIN_LAST: usize = 24;
/// What stands below its row is this far in.
const INDENT: usize = 4;

/// The columns of the terminal that standard output is; none when it is a file or a pipe, whose readers want whole lines.
pub fn terminal_width() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Aligns rows under their headings, within the terminal: the last columns are broken at blanks, or stand below their row. Text is
/// shown [`escaped`].
pub fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    columns_within(headings, rows, terminal_width())
}

/// The same within this width.
pub fn columns_within(headings: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell).into_owned()).collect()).collect();
    let upper: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = std::iter::once(&upper).chain(&rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let table = match width {
        Some(width) => Table::within(widths, width),
        None => Table { widths, width: usize::MAX },
    };
    let beside = table.widths.len();
    let mut text = table.row(&upper);
    for row in &rows {
        text += &table.row(row);
        for (heading, cell) in headings.iter().zip(row).skip(beside).filter(|(_, cell)| !cell.is_empty()) {
            let line = format!("{:INDENT$}{heading}: {cell}", "");
            text += &(wrapped(&line, table.width, INDENT + GAP) + "\n");
        }
    }
    text
}

/// Columns that stand beside each other.
struct Table {
    /// Of each, without the gap.
    widths: Vec<usize>,
    /// Of all of them.
    width: usize,
}

impl Table {
    /// As many of the columns as there is room for, from the left; the last of them is broken where it is too wide.
    fn within(mut widths: Vec<usize>, width: usize) -> Self {
        while widths.len() > 1 {
            let before: usize = widths[..widths.len() - 1].iter().map(|width| width + GAP).sum();
            let last = widths[widths.len() - 1];
            let room = width.saturating_sub(before);
            if room >= last.min(MIN_LAST) {
                let end = widths.len() - 1;
                widths[end] = last.min(room);
                break;
            }
            widths.pop();
        }
        Self { widths, width }
    }

    /// The cells that have a column, on as many lines as they need.
    fn row(&self, cells: &[String]) -> String {
        let cells: Vec<Vec<String>> =
            cells.iter().zip(&self.widths).map(|(cell, width)| broken(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::new();
        for line in 0..height {
            let mut shown = String::new();
            for (cell, width) in cells.iter().zip(&self.widths) {
                let part = cell.get(line).map(String::as_str).unwrap_or_default();
                shown += &format!("{part:width$}{:GAP$}", "");
            }
            text += shown.trim_end();
            text.push('\n');
        }
        text
    }
}

/// Breaks each line of a text that is wider than the terminal. What follows stands under the text behind the line's label.
pub fn fitted(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let line = |line: &str| wrapped(line, width, hanging(line)) + "\n";
    text.lines().map(line).collect()
}

/// How far in the rest of a line stands: where its text begins behind two blanks or more, as in `store     up`.
fn hanging(line: &str) -> usize {
    let own = line.chars().take_while(|character| *character == ' ').count();
    let label = line[own..].find("  ").map(|at| {
        let at = own + at;
        let blanks = line[at..].chars().take_while(|character| *character == ' ').count();
        line[..at].chars().count() + blanks
    });
    label.unwrap_or(own).min(20)
}

/// Breaks a line at blanks; all lines but the first begin with `indent` blanks.
pub fn wrapped(line: &str, width: usize, indent: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let first = line.chars().take_while(|character| *character == ' ').count();
    let room = width.saturating_sub(indent).max(1);
    let mut text = String::new();
    let mut rest = line;
    let mut space = width.max(1);
    loop {
        let skipped = if text.is_empty() { first } else { 0 };
        let (part, after) = cut(rest, space, skipped);
        text += part.trim_end();
        if after.is_empty() {
            return text;
        }
        text += &format!("\n{:indent$}", "");
        rest = after;
        space = room;
    }
}

/// The lines of a cell.
fn broken(cell: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = cell;
    while rest.chars().count() > width.max(1) {
        let (part, after) = cut(rest, width.max(1), 0);
        lines.push(part.trim_end().to_owned());
        rest = after;
    }
    lines.push(rest.to_owned());
    lines
}

/// As much as fits into `width`, up to a blank behind the first `skipped` characters, and what follows the blank. A word that is longer
/// than a line is broken.
fn cut(text: &str, width: usize, skipped: usize) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(width) else { return (text, "") };
    let begin = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
    // The blank may stand right behind what fits.
    let blank = text[..end].rfind(' ').filter(|at| *at > begin);
    let at = if text[end..].starts_with(' ') { Some(end) } else { blank };
    match at {
        Some(at) => (&text[..at], text[at..].trim_start_matches(' ')),
        None => text.split_at(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `messages list` showed `\\u{202e}` as it was, so a sender could reorder what the operator read.
    #[test]
    fn columns_are_aligned_and_hold_no_control_characters() {
        let rows = [vec!["1".into(), "a\u{1b}[2J".into()], vec!["12".into(), "b\u{202e}".into()]];
        assert_eq!(
            columns_within(&["id", "text"], &rows, None),
            "ID  TEXT\n1   a\\u{1b}[2J\n12  b\\u{202e}\n"
        );
    }

    // At 80 columns the terminal broke rows inside words, and `status --watch` cut off why a channel does not work.
    #[test]
    fn a_table_is_no_wider_than_the_terminal_and_loses_nothing() {
        let rows = [
            vec![
                "telegram".into(),
                "degraded".into(),
                "the service refuses its token: ask for another one".into(),
            ],
            vec!["web".into(), "ready".into(), String::new()],
        ];
        let shown = |width| columns_within(&["channel", "state", "problem"], &rows, Some(width));
        assert_eq!(
            shown(45),
            "CHANNEL   STATE     PROBLEM\n\
             telegram  degraded  the service refuses its\n\
             \u{20}                   token: ask for another\n\
             \u{20}                   one\n\
             web       ready\n"
        );
        assert_eq!(
            shown(30),
            "CHANNEL   STATE\n\
             telegram  degraded\n\
             \u{20}   problem: the service\n\
             \u{20}     refuses its token: ask\n\
             \u{20}     for another one\n\
             web       ready\n"
        );
        for width in 1..100 {
            let words = |text: &str| text.split_whitespace().collect::<String>();
            let all = words(&shown(width));
            assert!(all.contains("theservicerefusesitstoken:askforanotherone"), "{width}: {all}");
            assert!(width < 20 || shown(width).lines().all(|line| line.chars().count() <= width), "{width}");
        }
    }

    #[test]
    fn lines_are_broken_at_blanks_and_stand_under_their_text() {
        for (text, width, expected) in [
            ("store     up, 2 KiB\n", 40, "store     up, 2 KiB\n"),
            ("store     up, 2 KiB, 17 commits\n", 20, "store     up, 2 KiB,\n          17 commits\n"),
            ("    a b c d e f\n", 8, "    a b\n    c d\n    e f\n"),
            ("abcdefgh\n", 3, "abc\ndef\ngh\n"),
            ("é▁▁ ▁▁\n", 4, "é▁▁\n▁▁\n"),
            ("a\n\nb\n", 5, "a\n\nb\n"),
        ] {
            assert_eq!(fitted(text, Some(width)), expected, "{text:?}");
            assert_eq!(fitted(text, None), text);
        }
    }
}

//! Columns for a terminal.

use tinclaw::model::escape::escaped;

/// Aligns rows under their headings; the last column is not filled up. Text is shown
/// [`escaped`].
pub fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell).into_owned()).collect()).collect();
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let all = || std::iter::once(&headings).chain(&rows);
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += &format!("{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A time that was some milliseconds ago, or will be.
pub fn age(at_ms: u64, now_ms: u64) -> String {
    let (span, is_past) = if at_ms <= now_ms { (now_ms - at_ms, true) } else { (at_ms - now_ms, false) };
    let seconds = span / 1000;
    let text = match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    };
    if is_past { format!("{text} ago") } else { format!("in {text}") }
}

/// Now, in Unix milliseconds.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_hold_no_control_characters() {
        let rows = [vec!["1".into(), "a\u{1b}[2J".into()], vec!["12".into(), "b".into()]];
        assert_eq!(columns(&["id", "text"], &rows), "ID  TEXT\n1   a\\u{1b}[2J\n12  b\n");
    }

    #[test]
    fn ages_are_short() {
        for (at, now, expected) in [
            (0, 0, "0 s ago"),
            (0, 119_000, "119 s ago"),
            (0, 120_000, "2 min ago"),
            (0, 7_200_000, "2 h ago"),
            (0, 172_800_000, "2 d ago"),
            (61_000, 1_000, "in 60 s"),
        ] {
            assert_eq!(age(at, now), expected);
        }
    }
}

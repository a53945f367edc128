//! What may have been meant by a word that is not known.

/// No name that is known anywhere is half as long; the time to compare grows with the length.
const LONGEST: usize = 128;

/// The known word that is most like what was written: at most a third of its letters differ. Case does not count, and
/// `-` is `_`.
///
/// ```
/// use tinclaw::fields::nearest;
///
/// assert_eq!(nearest("Path-Prefx", &["host", "path_prefix"]), Some("path_prefix"));
/// assert_eq!(nearest("colour", &["host", "path_prefix"]), None);
/// ```
pub fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    if written.len() > LONGEST {
        return None;
    }
    let written = letters(written);
    let mut best: Option<(usize, &str)> = None;
    for &word in known {
        let letters = letters(word);
        let distance = edit_distance(&written, &letters);
        let is_alike = distance <= written.len().max(letters.len()).div_ceil(3);
        if is_alike && best.is_none_or(|best| (distance, word) < best) {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

fn letters(word: &str) -> Vec<char> {
    word.chars().map(|letter| if letter == '-' { '_' } else { letter.to_ascii_lowercase() }).collect()
}

/// Letters to insert, remove or replace to make one word of the other (Levenshtein).
fn edit_distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, distance) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("host", "hots", 2), ("host", "hosts", 1)]
        {
            assert_eq!(edit_distance(&letters(a), &letters(b)), distance, "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_word_is_one_that_may_have_been_meant() {
        let known = ["host", "path_prefix", "channel-config", "ports"];
        for (written, expected) in [
            ("hots", Some("host")),
            ("HOST", Some("host")),
            ("path-prefix", Some("path_prefix")),
            ("channel_conf", Some("channel-config")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &known), expected, "{written}");
        }
        assert_eq!(nearest("host", &[]), None);
        assert_eq!(nearest(&"h".repeat(LONGEST + 1), &known), None);
    }
}

//! Patterns with `*` for any characters.

/// Whether the whole text fits the pattern. Linear in pattern times text at worst: on a mismatch only the last star is
/// tried one character further on.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_run_of_characters() {
        let rows = [
            ("/api/*", "/api/v1/x", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("/bot*", "/bot{TOKEN}/getMe", true),
            ("*/send", "/a/b/send", true),
            ("*/send", "/a/b/send/x", false),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXc", false),
            ("*", "", true),
            ("**", "/x", true),
            ("", "", true),
            ("", "/", false),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}

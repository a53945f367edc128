//! Where a redirection or a link leads (RFC 3986, section 5). The host checks every URL before it asks for it.

/// `link` as it is meant on the page `base`; none when it is no address on the web.
pub fn resolved(base: &str, link: &str) -> Option<String> {
    let link = link.trim().split('#').next().unwrap_or_default();
    if let Some(scheme) = scheme_of(link) {
        return matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https").then(|| link.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    if let Some(other) = link.strip_prefix("//") {
        return Some(format!("{scheme}://{other}"));
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (path, query) = match link.split_once('?') {
        _ if link.is_empty() => (path.to_owned(), String::new()),
        Some(("", query)) => (path.to_owned(), format!("?{query}")),
        Some((link, query)) => (joined(path, link), format!("?{query}")),
        None => (joined(path, link), String::new()),
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{host}{slash}{path}{query}"))
}

/// What stands before the colon, when that is a scheme.
fn scheme_of(link: &str) -> Option<&str> {
    let (scheme, _) = link.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some(scheme)
}

/// A path from another path on, without `.` and `..`.
fn joined(base: &str, link: &str) -> String {
    let whole = match link.starts_with('/') {
        true => link.to_owned(),
        false => format!("{}/{link}", base.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    let mut steps: Vec<&str> = Vec::new();
    for step in whole.split('/').skip(1) {
        match step {
            "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    if whole.ends_with("/.") || whole.ends_with("/..") {
        steps.push("");
    }
    format!("/{}", steps.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolved;

    /// Most rows are those of RFC 3986, section 5.4.
    #[test]
    fn a_link_leads_from_its_page() {
        let base = "http://a/b/c/d;p?q";
        for (link, expected) in [
            ("g:h", None),
            ("mailto:a@b", None),
            ("javascript:alert(1)", None),
            ("g", Some("http://a/b/c/g")),
            ("./g", Some("http://a/b/c/g")),
            ("g/", Some("http://a/b/c/g/")),
            ("/g", Some("http://a/g")),
            ("//g", Some("http://g")),
            ("?y", Some("http://a/b/c/d;p?y")),
            ("g?y", Some("http://a/b/c/g?y")),
            ("g#s", Some("http://a/b/c/g")),
            ("#s", Some("http://a/b/c/d;p")),
            (".", Some("http://a/b/c/")),
            ("..", Some("http://a/b/")),
            ("../g", Some("http://a/b/g")),
            ("../../../g", Some("http://a/g")),
            ("https://x.example/y", Some("https://x.example/y")),
            ("a:b/c", None),
            ("/a:b", Some("http://a/a:b")),
        ] {
            assert_eq!(resolved(base, link).as_deref(), expected, "{link}");
        }
        assert_eq!(resolved("https://a.example", "b").as_deref(), Some("https://a.example/b"));
        assert_eq!(resolved("a.example", "b"), None);
    }
}

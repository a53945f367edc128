//! `http.allowlist`: where a channel's requests may go.

use super::error::OutboundError;
use super::host_pattern::HostPattern;
use super::method::Method;
use super::settings::HttpCapabilityError;
use super::target::{self, OutboundTarget};
use crate::capability::http::AllowlistEntry;

/// The compiled allow-list of a channel. Empty: nothing is allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowlist {
    entries: Vec<AllowedEndpoint>,
}

#[derive(Clone, Debug)]
struct AllowedEndpoint {
    host: HostPattern,
    path: PathPrefix,
    /// Empty: any.
    methods: Vec<Method>,
}

impl Allowlist {
    /// Compiles the entries of a capability file.
    pub(super) fn new(entries: &[AllowlistEntry]) -> Result<Self, HttpCapabilityError> {
        let entries = entries.iter().enumerate().map(|(index, entry)| {
            compile(entry).map_err(|reason| HttpCapabilityError {
                place: format!("http.allowlist[{index}]"),
                reason: reason.to_owned(),
            })
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// Whether a request may go there.
    ///
    /// # Errors
    /// [`OutboundError::NotAllowed`], naming the nearest thing that did not fit: host, port, path or method.
    pub(super) fn permit(&self, method: Method, target: &OutboundTarget) -> Result<(), OutboundError> {
        let fits = |entry: &AllowedEndpoint, depth: usize| {
            entry.host.matches_host(target.host())
                && (depth < 2 || entry.host.port() == target.port())
                && (depth < 3 || entry.path.matches(target.path()))
                && (depth < 4 || entry.methods.is_empty() || entry.methods.contains(&method))
        };
        // The deepest level that some entry still reaches says what the author has to change.
        let depth = (1..=4).take_while(|depth| self.entries.iter().any(|entry| fits(entry, *depth))).last();
        let host = target.host();
        Err(OutboundError::NotAllowed(match depth {
            Some(4) => return Ok(()),
            Some(3) => format!("{method} to this path of {host}"),
            Some(2) => format!("this path of {host}"),
            Some(1) => format!("port {} of {host}", target.port()),
            _ => format!("the host {host}"),
        }))
    }
}

fn compile(entry: &AllowlistEntry) -> Result<AllowedEndpoint, &'static str> {
    let pattern = HostPattern::parse(&entry.host)?;
    let port = match (pattern.named_port(), entry.port) {
        (_, Some(0)) | (Some(0), _) => return Err("port 0 does not exist"),
        (Some(a), Some(b)) if a != b => return Err("'host' and 'port' name different ports"),
        (named, field) => field.or(named),
    };
    let path = PathPrefix::parse(entry.path_prefix.as_deref().unwrap_or_default())?;
    let methods = entry.methods.iter().filter(|method| method.as_str() != "*");
    let methods: Vec<Method> = methods
        .map(|method| {
            Method::parse(method).ok_or("'methods' are GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")
        })
        .collect::<Result<_, _>>()?;
    let any = entry.methods.iter().any(|method| method == "*");
    Ok(AllowedEndpoint {
        host: pattern.with_port(port),
        path,
        methods: if any { Vec::new() } else { methods },
    })
}

/// What a path must begin with.
///
/// With a trailing slash the prefix ends on a segment boundary. Without one it may end inside a segment, as `/bot` must
/// for `/bot123:ABC/getMe`: such a prefix is unbounded, and `check` says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPrefix(String);

impl PathPrefix {
    /// Reads a prefix; the empty one and `/` fit every path.
    pub(super) fn parse(prefix: &str) -> Result<Self, &'static str> {
        Ok(Self(target::normalise_path(prefix)?))
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        path.starts_with(self.0.as_str())
    }
}

/// Whether a published prefix may end inside a segment: it is not empty and has no trailing slash.
#[cfg(any(feature = "cli", test))]
pub fn is_unbounded_prefix(prefix: &str) -> bool {
    !prefix.is_empty() && !prefix.ends_with('/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capability::HttpCapability;
    use crate::model::document::{Comments, read};

    fn list(json: &str) -> Result<Allowlist, HttpCapabilityError> {
        let http = serde_json::from_str(&format!(r#"{{"allowlist": {json}}}"#)).unwrap();
        Allowlist::new(&read::<HttpCapability>(http, Comments::Refused).unwrap().allowlist)
    }

    fn permits(json: &str, method: &str, url: &str) -> Result<(), String> {
        let target = OutboundTarget::parse(url).unwrap();
        list(json).unwrap().permit(Method::parse(method).unwrap(), &target).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        assert!(permits("[]", "GET", "https://a.example/").unwrap_err().contains("the host a.example"));
    }

    #[test]
    fn paths_match_by_prefix() {
        let rows = [
            ("no prefix", "", "/anything", true),
            ("root", "/", "/anything", true),
            ("trailing slash, inside", "/api/", "/api/v1", true),
            ("trailing slash, itself", "/api/", "/api/", true),
            ("trailing slash, without", "/api/", "/api", false),
            ("trailing slash, longer segment", "/api/", "/apiary/v1", false),
            ("published unbounded prefix", "/bot", "/bot123:ABC/getMe", true),
            ("published unbounded prefix and a placeholder", "/bot", "/bot{TELEGRAM_BOT_TOKEN}/getMe", true),
            ("published unbounded prefix, written without its slash", "bot", "/bot123:ABC/getMe", true),
            (
                "prefix with a placeholder",
                "/bot{TELEGRAM_BOT_TOKEN}/",
                "/bot{TELEGRAM_BOT_TOKEN}/getMe",
                true,
            ),
            ("prefix with another placeholder", "/bot{TELEGRAM_BOT_TOKEN}/", "/bot{OTHER}/getMe", false),
            ("unbounded prefix, a longer name", "/bot", "/bottle", true),
            ("unbounded prefix, exactly", "/api/chat.postMessage", "/api/chat.postMessage", true),
            ("unbounded prefix, the next segment", "/api", "/api/v1", true),
            ("unbounded prefix, a shorter path", "/api/v1", "/api/v", false),
            ("unbounded prefix, the segment before it", "/api/v1", "/api/", false),
            ("unbounded prefix, dots out of it", "/bot", "/bot1/../admin", false),
            ("unbounded prefix, dots are part of a name", "/bot", "/bot..", true),
            ("unbounded prefix, a query is no path", "/api/v1", "/?/api/v1", false),
            ("two slashes are two segments", "/api/", "//api/", false),
            ("trailing slash, deep", "/a/b/", "/a/b/c/d", true),
            ("trailing slash, a placeholder after it", "/bot/", "/bot/{TELEGRAM_BOT_TOKEN}/getMe", true),
            ("trailing slash, a placeholder instead of it", "/bot/", "/bot{TELEGRAM_BOT_TOKEN}/getMe", false),
            ("elsewhere", "/bot", "/file/bot123/x", false),
            ("case matters", "/Bot", "/bot1", false),
            ("dots out of the prefix", "/api/", "/api/../admin", false),
            ("dots into the prefix", "/api/", "/x/../api/v1", true),
            ("encoded letters are not guessed", "/api/", "/%61pi/v1", false),
            ("prefix without its slash", "api/", "/api/x", true),
            ("prefix is normalised as paths are", "/a b/", "/a%20b/x", true),
        ];
        for (what, prefix, path, expected) in rows {
            let json = serde_json::json!([{"host": "h.example", "path_prefix": prefix}]).to_string();
            assert_eq!(
                permits(&json, "GET", &format!("https://h.example{path}")).is_ok(),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn methods_and_ports_are_matched() {
        let json = r#"[{"host": "a.example", "methods": ["get", "POST"]},
                       {"host": "b.example:8443"}, {"host": "c.example", "port": 444}, {"host": "d.example", "methods": ["*"]},
                       {"host": "e.example:1", "methods": ["GET", "*"]}, {"host": "f.example:444", "port": 444}]"#;
        let rows = [
            ("listed", "GET", "https://a.example/", true),
            ("listed in another case", "post", "https://a.example/", true),
            ("not listed", "DELETE", "https://a.example/", false),
            ("any", "DELETE", "https://b.example:8443/", true),
            ("wrong port", "GET", "https://b.example/", false),
            ("port field", "GET", "https://c.example:444/", true),
            ("the same port twice", "GET", "https://f.example:444/", true),
            ("star", "PATCH", "https://d.example/", true),
            ("star beside another, and the lowest port", "PATCH", "https://e.example:1/", true),
        ];
        for (what, method, url, expected) in rows {
            assert_eq!(permits(json, method, url).is_ok(), expected, "{what}");
        }
    }

    #[test]
    fn a_refusal_names_what_did_not_fit() {
        let json = r#"[{"host": "a.example", "path_prefix": "/api/", "methods": ["GET"]}]"#;
        let rows = [
            ("https://b.example/api/x", "GET", "the host b.example"),
            ("https://a.example:99/api/x", "GET", "port 99 of a.example"),
            ("https://a.example/x", "GET", "this path of a.example"),
            ("https://a.example/api/x", "POST", "POST to this path"),
        ];
        for (url, method, expected) in rows {
            let text = permits(json, method, url).unwrap_err();
            assert!(text.contains(&format!("allow-list: {expected}")), "{url}: {text}");
        }
    }

    #[test]
    fn an_invalid_entry_is_an_error_at_load() {
        let rows = [
            r#"[{"host": "https://a.example"}]"#,
            r#"[{"host": "*"}]"#,
            r#"[{"host": "a.example:444", "port": 445}]"#,
            r#"[{"host": "a.example", "port": 0}]"#,
            r#"[{"host": "a.example:0"}]"#,
            r#"[{"host": "a.example", "path_prefix": "/x?y"}]"#,
            r#"[{"host": "a.example", "path_prefix": "/a/%2e%2e/"}]"#,
            r#"[{"host": "a.example", "path_prefix": "/api/.."}]"#,
            r#"[{"host": "a.example", "path_prefix": "/api/."}]"#,
            r#"[{"host": "a.example", "path_prefix": ".."}]"#,
            r#"[{"host": "a.example", "path_prefix": " "}]"#,
            r#"[{"host": "a.example", "path_prefix": "/api/ "}]"#,
            r#"[{"host": "a.example", "methods": ["CONNECT"]}]"#,
        ];
        for json in rows {
            assert!(list(json).is_err(), "{json}");
        }
    }

    #[test]
    fn unbounded_prefixes_are_told_apart() {
        assert!(is_unbounded_prefix("/bot"));
        assert!(!is_unbounded_prefix("/bot/"));
        assert!(!is_unbounded_prefix("/"));
        assert!(!is_unbounded_prefix(""));
    }

    proptest! {
        /// What is allowed can be read off the entry and off what another reading of the URL finds; and what `check` does
        /// not call unbounded ends on a segment boundary.
        #[test]
        fn an_allowlist_entry_allows_exactly_what_it_declares(
            pattern in "(\\*\\.)?[ab]{1,2}(\\.[ab]{1,2}){1,2}(:(443|444))?",
            prefix in "(/?[ab.]{0,2}(/([ab.%]|\\{A\\}){0,3}){0,3})?",
            url in "https://[abA]{1,2}(\\.[ab]{1,2}){1,3}(:(443|444))?(/([ab.%;]|\\{A\\}){0,3}){0,4}([?#][ab/.]{0,4})?",
        ) {
            let json = serde_json::json!([{"host": pattern, "path_prefix": prefix}]).to_string();
            let (Ok(list), Ok(target)) = (list(&json), OutboundTarget::parse(&url)) else { return Ok(()) };
            if list.permit(Method::parse("GET").unwrap(), &target).is_err() {
                return Ok(());
            }
            let other = url::Url::parse(&url).unwrap();
            let (host, port) = pattern.split_once(':').unwrap_or((&pattern, "443"));
            let name = other.host_str().unwrap();
            match host.strip_prefix("*.") {
                Some(suffix) => prop_assert!(name.strip_suffix(suffix).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.'))),
                None => prop_assert_eq!(name, host),
            }
            prop_assert_eq!(other.port_or_known_default(), Some(port.parse().unwrap()));
            let rooted = if prefix.starts_with('/') { prefix.clone() } else { format!("/{prefix}") };
            let path = target.path();
            prop_assert!(path.starts_with(&rooted), "{} {}", path, rooted);
            if let Some(whole) = rooted.strip_suffix('/').filter(|_| !is_unbounded_prefix(&prefix)) {
                let expected: Vec<&str> = whole.split('/').collect();
                let segments: Vec<&str> = path.split('/').collect();
                prop_assert_eq!(&segments[..expected.len()], &expected[..]);
            }
        }
    }
}

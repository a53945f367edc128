//! The page: one file that is built in. Its script and its style are allowed by their hashes, and nothing else is.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::server::Response;

const PAGE: &str = include_str!("page.html");

/// The page with the headers that keep everything else out.
pub(super) fn page_response() -> Response {
    static POLICY: OnceLock<String> = OnceLock::new();
    let policy = POLICY.get_or_init(|| policy_of(PAGE));
    let headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy.as_str()),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
    ];
    Response {
        status: 200,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: PAGE.as_bytes().to_vec(),
    }
}

fn policy_of(page: &str) -> String {
    let hash = |element: &str| {
        let hash = digest(&SHA256, content_of(page, element).as_bytes());
        format!("'sha256-{}'", STANDARD.encode(hash))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

/// What stands in the only element of a name.
fn content_of<'a>(page: &'a str, element: &str) -> &'a str {
    let after = page.split_once(&format!("<{element}>")).map_or("", |(_, after)| after);
    after.split_once(&format!("</{element}>")).map_or("", |(content, _)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that loads something from elsewhere would show nothing on a shelf without the internet, and tell others of it.
    #[test]
    fn the_page_is_one_file_with_one_script_and_one_style() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(content_of(PAGE, element).len() > 1_000, "{element}");
        }
        for foreign in
            ["http://", "https://", "src=", "@import", "url(", "innerHTML", "eval(", " onclick=", "style=\""]
        {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_policy_allows_what_has_the_hash_and_nothing_else() {
        let policy = policy_of("<style>a</style><script>b</script>");
        // printf b | openssl dgst -sha256 -binary | base64
        assert!(
            policy.contains("script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='"),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }
}

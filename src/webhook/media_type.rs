//! Which media types a channel's requests may have.

/// Whether a request passes `content_types`; when not, the response is 415.
///
/// `allowed` entries are `type/subtype` or `type/*`; case and parameters (`; charset=utf-8`) do not matter. `None`
/// allows everything, and a request without a body has no type to check.
pub fn media_type_allowed(
    allowed: Option<&[String]>,
    content_type: Option<&str>,
    body_is_empty: bool,
) -> bool {
    let Some(allowed) = allowed else { return true };
    let sent = essence(content_type.unwrap_or_default());
    body_is_empty || allowed.iter().any(|pattern| matches(pattern, sent))
}

/// A media type without its parameters.
pub(super) fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t'])
}

/// Whether an entry of `content_types` is a media type or a `type/*`.
pub(super) fn is_pattern(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && (subtype == "*" || token(subtype)))
}

fn matches(pattern: &str, sent: &str) -> bool {
    let (Some((kind, subtype)), Some((sent_kind, sent_subtype))) =
        (pattern.split_once('/'), sent.split_once('/'))
    else {
        return false;
    };
    let subtype_matches =
        if subtype == "*" { !sent_subtype.is_empty() } else { subtype.eq_ignore_ascii_case(sent_subtype) };
    kind.eq_ignore_ascii_case(sent_kind) && subtype_matches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_types_pass() {
        let allowed = ["application/json".to_owned(), "text/*".to_owned()];
        let cases = [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/json;charset=utf-8"), true),
            (Some("text/plain"), true),
            (Some("text/"), false),
            (Some("application/jsonp"), false),
            (Some("application/xml"), false),
            (Some("application/xml; application/json"), false),
            (Some("json"), false),
            (Some(""), false),
            (None, false),
        ];
        for (sent, passes) in cases {
            assert_eq!(media_type_allowed(Some(&allowed), sent, false), passes, "{sent:?}");
        }
    }

    #[test]
    fn no_list_and_no_body_always_pass() {
        assert!(media_type_allowed(None, None, false));
        assert!(media_type_allowed(Some(&["text/plain".to_owned()]), None, true));
        assert!(!media_type_allowed(Some(&[]), Some("text/plain"), false));
    }

    #[test]
    fn patterns_are_types_with_at_most_a_star_for_the_subtype() {
        for (text, valid) in [
            ("application/json", true),
            ("application/vnd.api+json", true),
            ("text/*", true),
            ("*/*", false),
            ("text", false),
            ("text/", false),
            ("text/plain; charset=utf-8", false),
            ("te xt/plain", false),
        ] {
            assert_eq!(is_pattern(text), valid, "{text}");
        }
    }
}

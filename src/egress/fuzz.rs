//! Fuzzing of what guests write into a request.

use super::allowlist::Allowlist;
use super::headers;
use super::method::Method;
use super::target::OutboundTarget;
use crate::capability::http::AllowlistEntry;
use crate::net::header_field;

/// A URL: what is accepted stays what it is when it is read once more, and stays inside of its allow-list entry.
pub fn outbound_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(target) = OutboundTarget::parse(&text) else { return };
    let written = format!("{}{}", target.origin(), target.path_with(str::to_owned));
    let again = OutboundTarget::parse(&written).expect("a normalised URL is accepted");
    assert_eq!(again.host(), target.host());
    assert_eq!(again.path(), target.path_with(str::to_owned));
    assert!(!target.path().split('/').any(|segment| segment == ".."));
    let entry = serde_json::from_str::<AllowlistEntry>(r#"{"host": "h.example", "path_prefix": "/a/"}"#)
        .expect("the entry is valid");
    let list = Allowlist::new(&[entry]).expect("the entry is valid");
    if list.permit(Method::Get, &target).is_ok() {
        assert_eq!(target.host(), "h.example");
        assert!(target.path().starts_with("/a/") || target.path() == "/a");
    }
}

/// The headers' JSON object: no line break survives, and what is written for a guest is such an object again.
pub fn header_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(mut parsed) = headers::parse(text) else { return };
    headers::drop_host_owned(&mut parsed);
    for header in &parsed {
        assert!(header_field::is_name(&header.name) && header_field::is_value(&header.value));
        assert!(!header.value.contains(['\r', '\n', '\0']));
    }
    let shown = headers::to_json(parsed.iter().map(|header| (header.name.as_str(), header.value.as_str())));
    let again = headers::parse(&shown).expect("headers that were accepted are accepted again");
    assert_eq!(again.len(), parsed.len());
}

//! Why a request is authentic or not, for a person: each check with the headers that it looks at, the time that was signed, what
//! was signed, and what would make the signature match. No secret and no computed signature is shown: with the latter anybody
//! could send the request.

use zeroize::Zeroizing;

use super::plan::{AuthPlan, Ed25519, HmacCheck, Requirement, Scheme};
use super::request::{SecretLookup, WebhookRequest};
use super::template::SignedText;
use super::verify::{AuthFailure, Verdict, usable, verify};

/// Bytes of a body that are shown.
const SHOWN_BYTES: usize = 120;

/// What became of a request, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What the server would decide.
    pub verdict: Verdict,
    /// Each check of the channel, in its order.
    pub checks: Vec<ExplainedCheck>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedCheck {
    /// Which format, such as `hmac-sha256`.
    pub scheme: String,
    /// The name of the stored secret.
    pub secret_name: String,
    /// The headers that it looks at, and how often each is there.
    pub headers: Vec<(String, usize)>,
    /// The header with the time, when a time is signed: its value, and the difference from the clock in seconds (positive: ahead).
    pub timestamp: Option<(String, Option<i64>)>,
    /// How far from the clock the time may be, in seconds.
    pub tolerance_secs: u64,
    /// What the signature is computed over; none where nothing is signed.
    pub signed: Option<String>,
    /// What is probably wrong, where something else would have passed.
    pub hints: Vec<String>,
}

/// Explains what [`verify`] decides.
pub fn explain(plan: &AuthPlan, request: &WebhookRequest<'_>, secrets: &SecretLookup<'_>) -> Explanation {
    let verdict = verify(plan, request, secrets);
    let checks = match plan.requirement() {
        Requirement::Checked => plan.checks().schemes.iter(),
        Requirement::NoRoute(_) | Requirement::Open => [].iter(),
    };
    let checks = checks.map(|scheme| explain_check(scheme, request, secrets)).collect();
    Explanation { verdict, checks }
}

fn explain_check(
    scheme: &Scheme,
    request: &WebhookRequest<'_>,
    secrets: &SecretLookup<'_>,
) -> ExplainedCheck {
    let layout = Layout::of(scheme);
    let count =
        |name: &String| request.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).count();
    ExplainedCheck {
        scheme: layout.name,
        secret_name: scheme.secret_name().to_owned(),
        headers: layout.headers.iter().map(|name| (name.clone(), count(name))).collect(),
        timestamp: layout.timestamp_header.as_deref().and_then(|name| timestamp(scheme, name, request)),
        tolerance_secs: layout.tolerance_secs,
        signed: layout.signed.map(|template| signed_text(&template, request)),
        hints: hints(scheme, request, secrets),
    }
}

/// What a check looks at.
struct Layout {
    name: String,
    headers: Vec<String>,
    timestamp_header: Option<String>,
    tolerance_secs: u64,
    signed: Option<String>,
}

impl Layout {
    fn of(scheme: &Scheme) -> Self {
        let fixed = |name: &str, headers: &[&str], time: Option<&str>, tolerance_secs, signed: &str| Self {
            name: name.to_owned(),
            headers: headers.iter().map(|name| (*name).to_owned()).collect(),
            timestamp_header: time.map(str::to_owned),
            tolerance_secs,
            signed: (!signed.is_empty()).then(|| signed.to_owned()),
        };
        match scheme {
            Scheme::SharedSecret(shared) => fixed("secret", &[&shared.header], None, 0, ""),
            Scheme::Stripe(scheme) => fixed(
                "stripe",
                &["stripe-signature"],
                Some("stripe-signature"),
                scheme.tolerance_secs,
                "{timestamp}.{body}",
            ),
            Scheme::Standard(scheme) => fixed(
                "standard-webhooks",
                &["webhook-id", "webhook-timestamp", "webhook-signature"],
                Some("webhook-timestamp"),
                scheme.tolerance_secs,
                "{id}.{timestamp}.{body}",
            ),
            Scheme::Twilio(scheme) => fixed(
                "twilio",
                &["x-twilio-signature"],
                None,
                scheme.tolerance_secs,
                "{url} and the fields of the form",
            ),
            Scheme::Feishu(scheme) => fixed(
                "feishu",
                &["x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce"],
                Some("x-lark-request-timestamp"),
                scheme.tolerance_secs,
                "{timestamp}{nonce}{key}{body}",
            ),
            Scheme::Keyed(HmacCheck { algorithm, header, signed, tolerance_secs, .. }) => {
                let name = format!("hmac-{}", format!("{algorithm:?}").to_lowercase());
                Self::of_template(name, header, signed, *tolerance_secs)
            }
            Scheme::Ed25519(Ed25519 { header, signed, tolerance_secs, .. }) => {
                Self::of_template("ed25519".to_owned(), header, signed, *tolerance_secs)
            }
        }
    }

    fn of_template(name: String, header: &str, signed: &SignedText, tolerance_secs: u64) -> Self {
        let more = [&signed.timestamp_header, &signed.id_header];
        let headers = std::iter::once(header.to_owned()).chain(more.into_iter().flatten().cloned());
        Self {
            name,
            headers: headers.collect(),
            timestamp_header: signed.timestamp_header.clone(),
            tolerance_secs,
            signed: Some(signed.template.to_string()),
        }
    }
}

/// The time that was signed, and how far it is from the clock.
fn timestamp(scheme: &Scheme, header: &str, request: &WebhookRequest<'_>) -> Option<(String, Option<i64>)> {
    let value = request.only(header).ok()?;
    let text = match scheme {
        Scheme::Stripe(_) => value.split(',').find_map(|item| item.strip_prefix("t="))?,
        _ => value,
    };
    let seconds: Option<i64> = text.parse().ok();
    let now = i64::try_from(request.now_ms / 1000).unwrap_or(i64::MAX);
    Some((text.to_owned(), seconds.and_then(|seconds| seconds.checked_sub(now))))
}

/// The template with what stands for the body.
fn signed_text(template: &str, request: &WebhookRequest<'_>) -> String {
    let start = String::from_utf8_lossy(&request.body[..request.body.len().min(SHOWN_BYTES)]);
    let more = if request.body.len() > SHOWN_BYTES { " …" } else { "" };
    let length = request.body.len();
    let mut text = format!("{template}, where the body has {length} bytes: {start}{more}");
    if template.contains("{url}") {
        text += &format!(", and the URL is {}", request.public_url);
    }
    text
}

/// Changes of the request or the secret with which the check would pass.
fn hints(scheme: &Scheme, request: &WebhookRequest<'_>, secrets: &SecretLookup<'_>) -> Vec<String> {
    let Ok(secret) = usable(scheme.secret_name(), secrets) else { return Vec::new() };
    let failure = match scheme.check(&secret, request) {
        Ok(_) => return Vec::new(),
        Err(error) => error,
    };
    let passes = |secret: &[u8], request: &WebhookRequest<'_>| scheme.check(secret, request).is_ok();
    let mut hints = Vec::new();
    if let super::plan::CheckError::Refused(AuthFailure::TimestampOutsideTolerance { skew_secs }) = &failure {
        let at = i128::from(request.now_ms) + i128::from(*skew_secs) * 1000;
        let then = WebhookRequest { now_ms: u64::try_from(at).unwrap_or(0), ..*request };
        hints.push(match passes(&secret, &then) {
            true => "the signature is good; only the time is refused: set a clock, or use --at with the time of the request",
            false => "the time is refused, and at that time the signature would not match either",
        }.to_owned());
    }
    for (body, hint) in other_bodies(request.body) {
        if passes(&secret, &WebhookRequest { body: &body, ..*request }) {
            hints.push(format!(
                "the signature matches the body {hint}: something has changed the body on its way"
            ));
        }
    }
    let trimmed = Zeroizing::new(secret.trim_ascii().to_vec());
    if trimmed.len() != secret.len() && passes(&trimmed, request) {
        hints.push(
            "the signature matches when blanks around the stored secret are removed: store it again"
                .to_owned(),
        );
    }
    hints
}

/// The body as it may have been before somebody changed it.
fn other_bodies(body: &[u8]) -> Vec<(Vec<u8>, &'static str)> {
    let mut bodies = Vec::new();
    if let Some(rest) = body.strip_suffix(b"\n") {
        bodies.push((rest.strip_suffix(b"\r").unwrap_or(rest).to_vec(), "without the line end behind it"));
    } else {
        bodies.push(([body, b"\n"].concat(), "with a line end behind it"));
    }
    if body.contains(&b'\n') {
        let text = String::from_utf8_lossy(body);
        let crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        bodies.push((crlf.into_bytes(), "with its line ends as CR LF"));
        bodies.push((text.replace("\r\n", "\n").into_bytes(), "with its line ends as LF"));
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        bodies.push((value.to_string().into_bytes(), "as compact JSON"));
    }
    bodies.retain(|(other, _)| other != body);
    bodies
}

#[cfg(test)]
mod tests {
    use ring::hmac;
    use serde_json::json;

    use super::*;
    use crate::capability::webhook::WebhookCapability;
    use crate::model::document::{Comments, read};

    const SECRET: &str = "a long secret";

    fn plan(webhook: serde_json::Value) -> AuthPlan {
        let capability = read::<WebhookCapability>(webhook, Comments::Refused).unwrap();
        AuthPlan::from(&capability, "chat").unwrap()
    }

    fn signed(text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::sign(&key, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn explained(webhook: &str, stored: &str, headers: &[(&str, &str)], body: &str) -> Explanation {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = WebhookRequest {
            method: "POST",
            query: "",
            public_url: "https://a.example/x",
            headers: &headers,
            body: body.as_bytes(),
            now_ms: 1_000_000,
        };
        let stored = stored.as_bytes().to_vec();
        let found = explain(&plan(json!({ "auth": webhook })), &request, &|_| {
            Ok(Some(Zeroizing::new(stored.clone())))
        });
        let shown = format!("{found:?}");
        assert!(!shown.contains(SECRET) && !shown.contains(&signed(body)), "{shown}");
        found
    }

    #[test]
    fn a_good_signature_has_no_hints() {
        let signature = format!("sha256={}", signed("{\"a\":1}"));
        let found = explained("github", SECRET, &[("x-hub-signature-256", &signature)], "{\"a\":1}");
        assert!(matches!(found.verdict, Verdict::Authentic(_)));
        let check = &found.checks[0];
        assert_eq!(
            (check.scheme.as_str(), check.hints.len(), &check.headers[..]),
            ("hmac-sha256", 0, &[("x-hub-signature-256".to_owned(), 1)][..])
        );
        assert_eq!(check.signed.as_deref(), Some("{body}, where the body has 7 bytes: {\"a\":1}"));
    }

    #[test]
    fn changes_of_the_body_are_named_as_hints() {
        for (was, body, hint) in [
            ("{\"a\":1}", "{\"a\":1}\n", "without the line end"),
            ("{\"a\":1}\n", "{\"a\":1}", "with a line end"),
            ("{\"a\":1}", "{ \"a\": 1 }", "as compact JSON"),
            ("a\r\nb", "a\nb", "CR LF"),
            ("a\nb", "a\r\nb", "ends as LF"),
            ("b", "a", ""),
        ] {
            let signature = format!("sha256={}", signed(was));
            let found = explained("github", SECRET, &[("x-hub-signature-256", &signature)], body);
            assert_eq!(found.verdict, Verdict::Refused(AuthFailure::SignatureMismatch), "{body:?}");
            let hints = &found.checks[0].hints;
            assert_eq!(hints.is_empty(), hint.is_empty(), "{hints:?}");
            assert!(hint.is_empty() || hints.iter().any(|found| found.contains(hint)), "{hints:?}");
        }
    }

    #[test]
    fn a_secret_that_was_stored_with_its_line_end_is_found() {
        let signature = format!("sha256={}", signed("a"));
        let found = explained("github", "a long secret\n", &[("x-hub-signature-256", &signature)], "a");
        assert!(found.checks[0].hints[0].contains("stored secret"), "{found:?}");
    }

    #[test]
    fn an_expired_signature_and_a_forged_one_get_different_hints() {
        for (key, hint) in [("v0:100:a", "the signature is good"), ("v0:101:a", "would not match either")] {
            let signature = format!("v0={}", signed(key));
            let headers = [("x-slack-signature", signature.as_str()), ("x-slack-request-timestamp", "100")];
            let found = explained("slack", SECRET, &headers, "a");
            assert!(found.checks[0].hints[0].contains(hint), "{found:?}");
            assert_eq!(found.checks[0].timestamp, Some(("100".to_owned(), Some(-900))));
            assert_eq!(found.checks[0].tolerance_secs, 300);
        }
    }

    #[test]
    fn a_missing_header_is_counted() {
        let found = explained("slack", SECRET, &[("x-slack-request-timestamp", "1000")], "a");
        assert_eq!(
            found.checks[0].headers,
            [("x-slack-signature".to_owned(), 0), ("x-slack-request-timestamp".to_owned(), 1)]
        );
    }
}

//! Behaviour of the authenticator as a whole. Signatures were computed with Python's `hmac` and a textbook Ed25519, or
//! come from the providers' pages: nothing here is checked with the code that is under test.

mod accepted;
mod hostile;
mod plans;
mod properties;
mod secrets;

use zeroize::Zeroizing;

use super::{AuthPlan, Authenticated, Verdict, WebhookRequest, verify};
use crate::capability::webhook::WebhookCapability;
use crate::model::document::{Comments, read};

/// The clock of most requests: 1,700,000,000 s.
const NOW_MS: u64 = 1_700_000_000_000;

/// The key of most requests.
const KEY: &str = "correct horse battery staple";

/// A request that a test owns and changes.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    query: String,
    public_url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    now_ms: u64,
}

impl Sent {
    fn post(headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self {
            method: "POST".to_owned(),
            query: String::new(),
            public_url: "https://bot.example/webhook/x".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.to_vec(),
            now_ms: NOW_MS,
        }
    }

    fn get(query: &str) -> Self {
        Self { method: "GET".to_owned(), query: query.to_owned(), ..Self::post(&[], b"") }
    }

    fn request(&self) -> WebhookRequest<'_> {
        WebhookRequest {
            method: &self.method,
            query: &self.query,
            public_url: &self.public_url,
            headers: &self.headers,
            body: &self.body,
            now_ms: self.now_ms,
        }
    }

    /// The value of a header, to be changed.
    fn header(&mut self, name: &str) -> &mut String {
        let found = self.headers.iter_mut().find(|(key, _)| key == name);
        &mut found.unwrap_or_else(|| panic!("the request has no {name}")).1
    }

    fn set(&mut self, name: &str, value: &str) {
        *self.header(name) = value.to_owned();
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| key != name);
    }

    /// A second line with the same name and value.
    fn repeat(&mut self, name: &str) {
        let value = self.header(name).clone();
        self.add(name, &value);
    }
}

/// The `webhook` object of a capability file.
fn capability(webhook: &str) -> WebhookCapability {
    let value = serde_json::from_str(webhook).unwrap();
    read(value, Comments::Refused).unwrap_or_else(|error| panic!("{webhook}: {error}"))
}

/// A channel's plan with the secrets that are stored for it.
#[derive(Clone, Debug)]
struct Channel {
    plan: AuthPlan,
    secrets: Vec<(String, Vec<u8>)>,
}

impl Channel {
    fn new(webhook: &str, secrets: &[(&str, &[u8])]) -> Self {
        let plan =
            AuthPlan::from(&capability(webhook), "chat").unwrap_or_else(|error| panic!("{webhook}: {error}"));
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
        Self { plan, secrets }
    }

    /// A channel whose only secret has the default name.
    fn with_key(webhook: &str, key: &str) -> Self {
        Self::new(webhook, &[("chat_webhook_secret", key.as_bytes())])
    }

    fn verify(&self, sent: &Sent) -> Verdict {
        verify(&self.plan, &sent.request(), &|name| {
            let found = self.secrets.iter().find(|(key, _)| key == name);
            Ok(found.map(|found| Zeroizing::new(found.1.clone())))
        })
    }

    fn accept(&self, sent: &Sent) -> Authenticated {
        match self.verify(sent) {
            Verdict::Authentic(authenticated) => authenticated,
            other => panic!("{other:?} for {sent:?}"),
        }
    }
}

const BODY: &[u8] = br#"{"text":"hi"}"#;
const GITHUB: &str = "sha256=44fc8396fbf47104044272ab5d5fbf20f2621140232ae629ccb64fe2fc7f3fc8";
const SLACK: &str = "v0=a9142d434909d9256c53c5a3a2dbe9c43f3613b3550cca812856cda9fc04cb53";
const STRIPE: &str = "t=1700000000,v1=4ea585a72548ac57503ac7643dc2ba10aa0c8b0e9e629d263c87a0c30ae92fc3";
const STANDARD: &str = "v1,UkqKCNUxdPnlREGfjCj6iveT0ad84SQFWDyrs1EzmP4=";
const STANDARD_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const LINE: &str = "RPyDlvv0cQQEQnKrXV+/IPJiEUAjKuYpzLZP4vx/P8g=";
const TWILIO_FORM: &str = "tESkf6glwSz2+DX1aVASIptR8Ws=";
const ED25519_KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const ED25519: &str = "0169dd4c76b42cca14131c0a043c826b41f3f10c9f479bd22ad648793c6d09a7\
                       0b9b0285917871fd1afe57d5a02e1d7ace9a87e5bbbd44e81e76bbc7a72be401";

/// A provider's channel and a request that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Provider {
    Secret,
    Bearer,
    Slack,
    Github,
    Stripe,
    Standard,
    Line,
    Twilio,
    TwilioJson,
    Discord,
    Generic,
    Challenge,
}

const PROVIDERS: [Provider; 12] = [
    Provider::Secret,
    Provider::Bearer,
    Provider::Slack,
    Provider::Github,
    Provider::Stripe,
    Provider::Standard,
    Provider::Line,
    Provider::Twilio,
    Provider::TwilioJson,
    Provider::Discord,
    Provider::Generic,
    Provider::Challenge,
];

impl Provider {
    fn channel(self) -> Channel {
        match self {
            Self::Secret => Channel::with_key(r#"{"auth": "secret"}"#, KEY),
            Self::Bearer => Channel::with_key(
                r#"{"auth": {"scheme": "secret", "header": "Authorization", "prefix": "Bearer "}}"#,
                KEY,
            ),
            Self::Slack => Channel::with_key(r#"{"auth": "slack"}"#, KEY),
            Self::Github => Channel::with_key(r#"{"auth": "github"}"#, KEY),
            Self::Stripe => Channel::with_key(r#"{"auth": "stripe"}"#, "whsec_test_key"),
            Self::Standard => Channel::with_key(r#"{"auth": "standard-webhooks"}"#, STANDARD_KEY),
            Self::Line => Channel::with_key(r#"{"auth": "line"}"#, KEY),
            Self::Twilio => Channel::with_key(r#"{"auth": "twilio"}"#, KEY),
            Self::TwilioJson => Channel::with_key(r#"{"auth": "twilio"}"#, "12345"),
            Self::Discord => Channel::with_key(r#"{"auth": "discord"}"#, ED25519_KEY),
            Self::Generic => Channel::with_key(
                r#"{"auth": {"scheme": "hmac", "algorithm": "sha512", "header": "X-Sig", "prefix": "S:",
                    "encoding": "hex-upper", "template": "{id}:{timestamp}:{url}|{body}",
                    "timestamp_header": "X-Time", "id_header": "X-Id"}}"#,
                KEY,
            ),
            Self::Challenge => Channel::new(
                r#"{"auth": "whatsapp", "methods": ["GET", "POST"], "verify_token_param": "hub.verify_token",
                    "secret_name": "Meta_Token", "hmac_secret_name": "meta_app_secret"}"#,
                &[("meta_token", b"tell me & no one"), ("meta_app_secret", KEY.as_bytes())],
            ),
        }
    }

    fn request(self) -> Sent {
        let url = "https://bot.example/webhook/x?a=1";
        match self {
            Self::Secret => Sent::post(&[("x-webhook-secret", KEY)], BODY),
            Self::Bearer => Sent::post(&[("authorization", "Bearer correct horse battery staple")], BODY),
            Self::Slack => {
                Sent::post(&[("x-slack-request-timestamp", "1700000000"), ("x-slack-signature", SLACK)], BODY)
            }
            Self::Github => Sent::post(&[("x-hub-signature-256", GITHUB)], BODY),
            Self::Stripe => Sent::post(&[("stripe-signature", STRIPE)], BODY),
            Self::Standard => Sent::post(
                &[
                    ("webhook-id", "msg_1"),
                    ("webhook-timestamp", "1700000000"),
                    ("webhook-signature", STANDARD),
                ],
                BODY,
            ),
            Self::Line => Sent::post(&[("x-line-signature", LINE)], BODY),
            Self::Twilio => {
                let form = "application/x-www-form-urlencoded; charset=UTF-8";
                let headers = [("content-type", form), ("x-twilio-signature", TWILIO_FORM)];
                let sent = Sent::post(&headers, b"From=%2B1&Body=h%C3%A9+y%2B");
                Sent { query: "a=1".to_owned(), public_url: url.to_owned(), ..sent }
            }
            Self::TwilioJson => {
                // The example of Twilio's own libraries.
                let query =
                    "foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
                let headers = [("x-twilio-signature", "a9nBmqA0ju/hNViExpshrM61xv4=")];
                let sent = Sent::post(&headers, br#"{"property": "value", "boolean": true}"#);
                Sent {
                    public_url: format!("https://mycompany.com/myapp.php?{query}"),
                    query: query.to_owned(),
                    ..sent
                }
            }
            Self::Discord => {
                let headers = [("x-signature-timestamp", "1700000000"), ("x-signature-ed25519", ED25519)];
                Sent::post(&headers, BODY)
            }
            Self::Generic => {
                let signature = "S:5FCD5AE76D6965E6E423A11E38096110452C605A070D4A9546BE626359D3DBAD\
                                 F7F13EACEA33A0C5C4864E3270257A5F7169ACC2D571137E9592BE514289FE4F";
                let headers = [("x-id", "msg_1"), ("x-time", "1700000000"), ("x-sig", signature)];
                Sent { query: "a=1".to_owned(), public_url: url.to_owned(), ..Sent::post(&headers, BODY) }
            }
            Self::Challenge => Sent::get(
                "hub.mode=subscribe&hub.verify_token=tell%20me+%26%20no%20one&hub.challenge=1158201444",
            ),
        }
    }
}

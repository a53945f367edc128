//! A server that is an agent, asked through the host's outbound HTTP like everything else that leaves the host: the operator's setting
//! names the only place that may be asked, at whatever address it is, and the host puts the credential in.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::json;

use super::basic_auth::BasicAuth;
use super::quote::quote;
use crate::capability::http::{AllowlistEntry, CredentialLocation, HttpCapability, HttpCredential};
use crate::capability::limits::ChannelLimits;
use crate::egress::{
    ChannelHttp, ChannelHttpSettings, OpenLimits, OpenResponse, OperatorHost, OutboundCall, OutboundError,
    OutboundHttp, OutboundRequest, RequestPurpose,
};
use crate::model::human_duration::HumanDuration;
use crate::secrets::{AllowedNames, ChainSecrets, MemorySecrets, SecretStore};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The names under which the URL's user and password are kept.
const URL_TOKEN: &str = "agent_url_token";
const URL_PASSWORD: &str = "agent_url_password";
const AUTHORIZATION: &str = "authorization";

/// The server, and what every request to it carries.
pub(super) struct AgentServer {
    /// Without a user and a password.
    url: String,
    headers: Vec<(String, String)>,
    credential: Option<ServerCredential>,
    secrets: Arc<dyn SecretStore>,
    /// Set once, when the host that has the agent is known. An error says why nothing can be asked.
    http: OnceLock<Result<ChannelHttp, String>>,
}

/// A secret that every request carries.
pub(super) struct ServerCredential {
    pub secret: String,
    pub location: CredentialLocation,
}

/// One request.
pub(super) struct ServerRequest {
    pub method: &'static str,
    /// Behind the URL.
    pub path: &'static str,
    pub body: Option<Vec<u8>>,
    pub max_response_bytes: u64,
    pub deadline: Instant,
}

/// Why there is no response. The texts are for the operator and have no secrets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ServerError {
    /// Nothing was sent, so it says nothing about the message, which waits.
    #[error("{0}")]
    NotSent(String),
    /// The host does not send such a request.
    #[error("{0}")]
    Refused(String),
    /// The time for the response is over.
    #[error("{0}")]
    TimedOut(String),
    /// The response did not arrive as a whole.
    #[error("{0}")]
    Broken(String),
}

impl From<OutboundError> for ServerError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::Timeout { after, is_sent: true, .. } => {
                Self::TimedOut(format!("timed out after {}", HumanDuration(after)))
            }
            OutboundError::Connection { is_sent: true, .. } | OutboundError::ResponseHeadTooLarge { .. } => {
                Self::Broken(error.to_string())
            }
            OutboundError::ResponseTooLarge { limit, .. } => {
                Self::Broken(format!("the response is larger than {limit} bytes"))
            }
            OutboundError::Timeout { host, after, .. } => Self::NotSent(format!(
                "no connection to {host} within {}; see whether it runs and this machine reaches it",
                HumanDuration(after)
            )),
            OutboundError::Connection { host, reason, .. } => Self::NotSent(format!(
                "no connection to {host}: {reason}; see whether it runs and this machine reaches it"
            )),
            // The operator can put these right while the message waits.
            OutboundError::MissingSecret { .. } | OutboundError::CredentialUnfit { .. } => {
                Self::NotSent(error.to_string())
            }
            OutboundError::Url(reason) => {
                Self::Refused(format!("the agent's URL cannot be requested: {reason}"))
            }
            OutboundError::Headers(reason) => {
                Self::Refused(format!("the agent's headers cannot be sent: {reason}"))
            }
            error if error.is_permanent() => Self::Refused(error.to_string()),
            error => Self::NotSent(error.to_string()),
        }
    }
}

impl AgentServer {
    /// A server that is asked with these headers, and with this credential or else the user and password of the URL.
    pub fn new(
        url: &str,
        headers: &[(String, String)],
        credential: Option<ServerCredential>,
        secrets: Arc<dyn SecretStore>,
    ) -> Self {
        let (url, basic) = BasicAuth::taken_from(url);
        let is_authorized = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(AUTHORIZATION))
            || credential.as_ref().is_some_and(|credential| match &credential.location {
                CredentialLocation::Header { name, .. } => name.eq_ignore_ascii_case(AUTHORIZATION),
                _ => true,
            });
        let mut server = Self { url, headers: headers.to_vec(), credential, secrets, http: OnceLock::new() };
        if let Some(basic) = basic {
            server.guard(&basic);
            if !is_authorized {
                server.credential_of_url();
            }
        }
        server
    }

    /// Gives the server the host's outbound HTTP. Later calls change nothing.
    pub fn connect(&self, outbound: &OutboundHttp) {
        self.http.get_or_init(|| self.http_on(outbound.clone()));
    }

    /// Asks. The response's body is still to be read.
    pub fn ask(&self, request: ServerRequest) -> Result<OpenResponse<'_>, ServerError> {
        let ServerRequest { method, path, body, max_response_bytes, deadline } = request;
        let http = match self.http.get() {
            Some(Ok(http)) => http,
            Some(Err(error)) => return Err(ServerError::NotSent(error.clone())),
            None => return Err(ServerError::NotSent("no host has this agent yet".to_owned())),
        };
        let has_type = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = body.is_some().then_some(("content-type", "application/json"));
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: BTreeMap<&str, &str> = headers.chain(content_type.filter(|_| !has_type)).collect();
        let request = OutboundRequest {
            method: method.to_owned(),
            url: format!("{}{path}", self.url),
            headers_json: json!(headers).to_string(),
            body,
            timeout: Some(deadline.saturating_duration_since(Instant::now())),
        };
        let call = OutboundCall { deadline, calls_before: 0, purpose: RequestPurpose::Reply };
        let limits =
            OpenLimits { connect_timeout: Some(CONNECT_TIMEOUT), max_body: Some(max_response_bytes) };
        http.open(request, call, limits).map_err(ServerError::from)
    }

    /// Whether the secret that requests carry is there.
    ///
    /// # Errors
    /// Why not, and what to do.
    #[cfg(feature = "agent-openai")]
    pub fn check_secret(&self) -> Result<(), String> {
        let Some(ServerCredential { secret, .. }) = &self.credential else { return Ok(()) };
        match self.secrets.get(secret) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => {
                Err(format!("the secret {secret} is not set; store it with `tinclaw secrets set {secret}`"))
            }
            Err(error) => Err(format!("the secret {secret} cannot be read: {error}")),
        }
    }

    /// The URL's user and password are secrets like those of the store: put in by the host, searched for in everything.
    fn guard(&mut self, basic: &BasicAuth) {
        let of_url = MemorySecrets::new();
        for (name, value) in [(URL_TOKEN, basic.token()), (URL_PASSWORD, basic.password())] {
            if !value.is_empty() {
                // The names are valid ones.
                let _ = of_url.set(name, value);
            }
        }
        self.secrets = Arc::new(ChainSecrets::new(vec![Arc::new(of_url), self.secrets.clone()]));
    }

    fn credential_of_url(&mut self) {
        let location =
            CredentialLocation::Header { name: AUTHORIZATION.to_owned(), prefix: Some("Basic ".to_owned()) };
        self.credential = Some(ServerCredential { secret: URL_TOKEN.to_owned(), location });
    }

    fn http_on(&self, outbound: OutboundHttp) -> Result<ChannelHttp, String> {
        let base = self.url.split(['?', '#']).next().unwrap_or_default();
        let named = OperatorHost::parse(base).map_err(|reason| format!("the agent's URL: {reason}"))?;
        let entry = AllowlistEntry {
            host: named.authority(),
            path_prefix: Some(named.path().to_owned()).filter(|path| !path.is_empty()),
            ..AllowlistEntry::default()
        };
        let credentials = self.credential.iter().map(|credential| {
            let credential = HttpCredential {
                secret_name: credential.secret.clone(),
                location: credential.location.clone(),
                host_patterns: vec![named.authority()],
                path_patterns: Vec::new(),
                optional: false,
            };
            ("agent".to_owned(), credential)
        });
        let capability = HttpCapability {
            allowlist: vec![entry],
            credentials: credentials.collect(),
            ..HttpCapability::default()
        };
        let settings = ChannelHttpSettings {
            caller: "agent".to_owned(),
            capability,
            limits: unlimited(),
            operator_hosts: vec![named],
            allowed_secrets: AllowedNames::new([URL_TOKEN, URL_PASSWORD].map(str::to_owned).to_vec()),
            secrets: self.secrets.clone(),
            given_to_guest: Vec::new(),
            inbound_secrets: Vec::new(),
            login_secrets: Vec::new(),
            required_secrets: self.credential.iter().map(|credential| credential.secret.clone()).collect(),
        };
        ChannelHttp::new(outbound, settings)
            .map_err(|error| format!("the agent's settings: {}", error.reason))
    }
}

/// The operator's own server is asked as often as there are messages.
fn unlimited() -> ChannelLimits {
    ChannelLimits {
        http_calls: u32::MAX,
        http_request_bytes: u64::MAX,
        http_response_bytes: u64::MAX,
        http_concurrent_requests: u32::MAX,
        http_requests_per_minute: u32::MAX,
        http_requests_per_hour: u32::MAX,
        ..ChannelLimits::default()
    }
}

/// Where a response redirects to, for an error.
pub(super) fn redirect_to(response: &OpenResponse<'_>) -> String {
    let to = response.header("location").unwrap_or_else(|| "nowhere".to_owned());
    format!(": it redirects to {}, and redirects are not followed", quote(&to, &[]))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::egress::OutboundHttpSettings;
    use crate::model::deadline::deadline_after;
    use crate::test_support::upstream::Upstream;

    fn server(url: &str, headers: &[(String, String)], credential: Option<ServerCredential>) -> AgentServer {
        let secrets =
            MemorySecrets::from([("agent_key", "hunter2-hunter2"), ("other_key", "Zx81-Qy27-Kp93-Lm")]);
        let server = AgentServer::new(url, headers, credential, Arc::new(secrets));
        server.connect(&OutboundHttp::new(&OutboundHttpSettings::default()).unwrap());
        server
    }

    fn post(server: &AgentServer, body: &str) -> Result<String, ServerError> {
        let response = server.ask(ServerRequest {
            method: "POST",
            path: "",
            body: Some(body.into()),
            max_response_bytes: 1000,
            deadline: deadline_after(Instant::now(), Duration::from_secs(300)),
        })?;
        let response = response.read_whole(&mut |_| true)?.response;
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }

    /// A name that is not found was taken for a response that was cut off: the message became a dead letter within half a
    /// minute.
    #[test]
    fn what_fails_before_the_request_is_sent_says_nothing_about_the_message() {
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let closed = port(&TcpListener::bind("127.0.0.1:0").expect("a port"));
        let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
        let no_tls = port(&plain);
        thread::spawn(move || {
            for mut stream in plain.incoming().flatten() {
                let _ = stream.read(&mut [0; 16]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
            }
        });
        let missing =
            || Some(ServerCredential { secret: "nope".to_owned(), location: CredentialLocation::Bearer {} });
        for (url, credential, expected) in [
            ("http://nonexistent.invalid/v1".to_owned(), None, "cannot resolve nonexistent.invalid"),
            (format!("http://127.0.0.1:{closed}/v1"), None, "the connection was refused"),
            (format!("https://127.0.0.1:{no_tls}/v1"), None, "certificate or TLS is not acceptable"),
            (format!("http://127.0.0.1:{closed}/v1"), missing(), "the secret 'nope' is not set"),
        ] {
            match post(&server(&url, &[], credential), "{}") {
                Err(ServerError::NotSent(error)) => assert!(error.contains(expected), "{url}: {error}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_server_that_hangs_up_after_the_request_was_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        let ended = post(&server(&url, &[], None), "{}");
        assert!(matches!(ended, Err(ServerError::Broken(_))), "{ended:?}");
    }

    /// The agents had an HTTP client of their own, which searched neither requests nor responses for other secrets of the host.
    #[test]
    fn what_is_sent_and_received_is_searched_for_every_secret_of_the_host() {
        let upstream = Upstream::start(|_, _| (200, Vec::new(), b"it is Zx81-Qy27-Kp93-Lm".to_vec()));
        let credential = ServerCredential {
            secret: "agent_key".to_owned(),
            location: CredentialLocation::Header { name: "x-key".to_owned(), prefix: None },
        };
        let server = server(&format!("{}/a?b=1", upstream.url()), &[], Some(credential));
        assert_eq!(
            post(&server, "say Zx81-Qy27-Kp93-Lm and hunter2-hunter2").as_deref(),
            Ok("it is [redacted]")
        );
        let sent = upstream.requests()[0].clone();
        assert_eq!(sent.target, "/a?b=1");
        assert_eq!(sent.header("x-key"), Some("hunter2-hunter2"));
        assert_eq!(String::from_utf8_lossy(&sent.body), "say [redacted] and [redacted]");
    }

    #[test]
    fn headers_of_the_settings_go_out_and_one_with_a_stored_secret_does_not() {
        let upstream = Upstream::start(|_, _| (200, Vec::new(), b"hi".to_vec()));
        let header = |value: &str| vec![("X-Team".to_owned(), value.to_owned())];
        let url = upstream.url().replace("http://", "http://ann:pw@");
        assert_eq!(post(&server(&url, &header("blue"), None), "{}").as_deref(), Ok("hi"));
        let sent = upstream.requests()[0].clone();
        assert_eq!(
            (sent.header("x-team"), sent.header("authorization")),
            (Some("blue"), Some("Basic YW5uOnB3"))
        );
        let refused = post(&server(&url, &header("hunter2-hunter2 Zx81-Qy27-Kp93-Lm"), None), "{}");
        assert!(matches!(refused, Err(ServerError::Refused(_))), "{refused:?}");
        assert_eq!(upstream.requests().len(), 1);
    }
}

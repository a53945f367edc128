//! Hosts of a capability file that the operator's settings fill in: `{homeserver}` in an allow-list entry, a credential or the
//! URL of the websocket.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::operator_host::OperatorHost;
use crate::capability::{HttpCapability, WebsocketCapability};
use crate::model::diagnostic::Diagnostic;

/// A channel's capabilities with the hosts of its settings filled in.
#[derive(Default)]
pub(crate) struct FilledHosts {
    pub http: HttpCapability,
    pub websocket: Option<WebsocketCapability>,
    /// The servers that the operator named, each once.
    pub named: Vec<OperatorHost>,
    /// Settings that are missing or cannot be used.
    pub problems: Vec<Diagnostic>,
}

/// Fills hosts in from the operator's `config` of the channel, and from nothing else: what the capability file itself says
/// there does not open anything. An entry whose setting is missing is left out.
pub(crate) fn fill(
    http: Option<&HttpCapability>,
    websocket: Option<&WebsocketCapability>,
    config: &Map<String, Value>,
) -> FilledHosts {
    let mut filled = FilledHosts { http: http.cloned().unwrap_or_default(), ..FilledHosts::default() };
    let mut hosts = Hosts { config, filled: &mut filled };
    let mut http = hosts.filled.http.clone();
    http.allowlist.retain_mut(|entry| match setting_in(&entry.host) {
        None => true,
        Some(setting) => hosts.named(&setting).is_some_and(|host| {
            entry.host = host.authority();
            let prefix = entry.path_prefix.take().unwrap_or_default();
            entry.path_prefix = Some(format!("{}{prefix}", host.path())).filter(|prefix| !prefix.is_empty());
            true
        }),
    });
    for credential in http.credentials.values_mut() {
        credential.host_patterns.retain_mut(|pattern| match setting_in(pattern) {
            None => true,
            Some(setting) => hosts.named(&setting).is_some_and(|host| {
                *pattern = host.authority();
                true
            }),
        });
    }
    let wanted = websocket.filter(|websocket| websocket.is_wanted(config));
    let websocket = wanted.and_then(|websocket| hosts.websocket(websocket));
    filled.http = http;
    filled.websocket = websocket;
    filled
}

struct Hosts<'a> {
    config: &'a Map<String, Value>,
    filled: &'a mut FilledHosts,
}

impl Hosts<'_> {
    /// The server that a setting names.
    fn named(&mut self, setting: &str) -> Option<OperatorHost> {
        let value = self.config.get(setting).and_then(Value::as_str).unwrap_or_default();
        let problem = match OperatorHost::parse(value) {
            Ok(host) => {
                if !self.filled.named.contains(&host) {
                    self.filled.named.push(host.clone());
                }
                return Some(host);
            }
            Err(_) if value.is_empty() => format!(
                "the setting {setting} is missing: write the server's address, such as \"http://192.168.1.5:8123\" or \
                 \"https://matrix.example.org\", into its config"
            ),
            Err(reason) => format!("the setting {setting} names no server: {reason}"),
        };
        if self.filled.problems.iter().all(|known| known.message != problem) {
            self.filled.problems.push(Diagnostic::error("missing-setting", problem).at(setting));
        }
        None
    }

    /// The websocket with its host filled in. `ws` or `wss` is as the setting says.
    fn websocket(&mut self, websocket: &WebsocketCapability) -> Option<WebsocketCapability> {
        let (scheme, rest) = websocket.url.split_once("://")?;
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = self.path(path);
        let Some(setting) = setting_in(host) else {
            let url = format!("{scheme}://{host}{path}");
            return Some(WebsocketCapability { url, ..websocket.clone() });
        };
        let host = self.named(&setting)?;
        let is_link = matches!(scheme, "ws" | "wss");
        let scheme = match (is_link, host.is_encrypted()) {
            (true, true) => "wss",
            (true, false) => "ws",
            (false, true) => "https",
            (false, false) => "http",
        };
        let url = format!("{scheme}://{}{}{path}", host.authority(), host.path());
        Some(WebsocketCapability { url, ..websocket.clone() })
    }

    /// A path whose segments are filled in. A setting is one segment, whatever is in it.
    fn path(&self, path: &str) -> String {
        let segment = |segment: &str| {
            let value = setting_in(segment).and_then(|setting| self.config.get(&setting)?.as_str());
            value.map_or_else(
                || segment.to_owned(),
                |value| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
            )
        };
        path.split('/').map(segment).collect::<Vec<_>>().join("/")
    }
}

/// The setting that a host of a capability file stands for.
fn setting_in(host: &str) -> Option<String> {
    let name = host.strip_prefix('{')?.strip_suffix('}')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::document::{Comments, read};

    fn http() -> HttpCapability {
        let file = json!({
            "allowlist": [
                {"host": "{server}", "path_prefix": "/api/"},
                {"host": "api.example.com"},
            ],
            "credentials": {"a": {
                "secret_name": "a",
                "location": {"type": "bearer"},
                "host_patterns": ["{server}"],
            }},
        });
        read(file, Comments::Refused).expect("a capability")
    }

    fn filled(config: Value) -> FilledHosts {
        let websocket = json!({"url": "wss://{server}/live?x=1", "protocol": "plain"});
        let websocket = read(websocket, Comments::Refused).expect("a capability");
        let Value::Object(config) = config else { unreachable!("it is an object") };
        fill(Some(&http()), Some(&websocket), &config)
    }

    #[test]
    fn a_setting_fills_every_host_that_names_it() {
        let filled = filled(json!({"server": "http://192.168.1.5:8123/ha"}));
        let entry = &filled.http.allowlist[0];
        assert_eq!(
            (entry.host.as_str(), entry.path_prefix.as_deref()),
            ("192.168.1.5:8123", Some("/ha/api/"))
        );
        assert_eq!(filled.http.credentials["a"].host_patterns, ["192.168.1.5:8123"]);
        assert_eq!(filled.websocket.expect("a websocket").url, "ws://192.168.1.5:8123/ha/live?x=1");
        assert_eq!((filled.named.len(), filled.problems.len()), (1, 0));
    }

    #[test]
    fn without_its_setting_nothing_is_allowed_and_it_is_named() {
        for config in [json!({}), json!({"server": "ha.lan"}), json!({"server": 5})] {
            let filled = filled(config);
            assert_eq!(filled.http.allowlist.len(), 1, "only the host that the file names");
            assert!(filled.http.credentials["a"].host_patterns.is_empty());
            assert!(filled.websocket.is_none() && filled.named.is_empty());
            assert!(filled.problems.len() == 1 && filled.problems[0].message.contains("setting server"));
        }
    }

    #[test]
    fn a_websocket_may_depend_on_a_setting_and_have_one_in_its_path() {
        let file =
            json!({"url": "wss://{server}/receive/{number}", "when": {"setting": "mode", "is": "json-rpc"}});
        let websocket: WebsocketCapability = read(file, Comments::Refused).expect("a capability");
        let url = |mode: &str, number: &str| {
            let config = json!({"server": "http://10.0.0.1:8080", "mode": mode, "number": number});
            let Value::Object(config) = config else { unreachable!("it is an object") };
            fill(Some(&http()), Some(&websocket), &config).websocket.map(|websocket| websocket.url)
        };
        assert_eq!(url("json-rpc", "+49/1").as_deref(), Some("ws://10.0.0.1:8080/receive/%2B49%2F1"));
        assert_eq!(url("native", "+49"), None);
    }

    #[test]
    fn only_a_whole_host_stands_for_a_setting() {
        for (host, expected) in [
            ("{a_1}", Some("a_1")),
            ("{a}.example.com", None),
            ("a{b}", None),
            ("{}", None),
            ("{a-b}", None),
            ("a.example", None),
        ] {
            assert_eq!(setting_in(host).as_deref(), expected, "{host}");
        }
    }
}

//! A small HTTP client for requests to the host.

use std::net::SocketAddr;

pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request and gives whatever comes back; an error of the connection fails the test.
pub fn request(host: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    try_request(host, method, target, headers, body).expect("a response")
}

pub fn try_request(
    host: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Reply, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(std::time::Duration::from_secs(30)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{host}{target}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.to_vec()).expect("a request");
    let mut response = agent.run(request)?;
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
    Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

/// Posts a webhook with the shared secret that the fixture guests' capability files name.
pub fn webhook(host: SocketAddr, path: &str, secret: &str, body: &serde_json::Value) -> Reply {
    let headers = [("content-type", "application/json"), ("x-webhook-secret", secret)];
    request(host, "POST", path, &headers, body.to_string().as_bytes())
}

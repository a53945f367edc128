//! Where connections go: to addresses that were resolved once and checked, and nowhere else.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::{FakeResolver, KEY, Received, Setup, Upstream, get, read_request, response, send};
use crate::egress::{OutboundError, OutboundRequest};
use crate::test_support::own_process::test_in_a_child;

/// A certificate for `secure.test`, made for this test and valid for a hundred years, and the authority that signed it.
const AUTHORITY: &str = include_str!("authority.pem");
const CERTIFICATE: &str = include_str!("server.pem");
const PRIVATE_KEY: &str = include_str!("server.key.pem");

fn anywhere_on(port: u16) -> Value {
    json!({"allowlist": [{"host": "*.test", "port": port}, {"host": "*.test"}, {"host": "127.0.0.1", "port": port}]})
}

#[test]
fn names_that_lead_to_special_addresses_are_refused_before_any_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let rows: [&[&str]; 18] = [
        &["127.0.0.1"],
        &["0.0.0.0"],
        &["10.0.0.1"],
        &["172.16.0.1"],
        &["192.168.1.1"],
        &["169.254.169.254"],
        &["100.64.0.1"],
        &["198.18.0.1"],
        &["192.0.2.1"],
        &["224.0.0.1"],
        &["255.255.255.255"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::"],
        &["fd00:ec2::254"],
        &["fe80::1"],
        &["127.0.0.1", "::1", "10.0.0.1"],
    ];
    for addresses in rows {
        let channel = Setup::new(anywhere_on(port)).resolver(FakeResolver::new(&[addresses])).build();
        let error = send(&channel, get(&format!("https://rebound.test:{port}/"))).unwrap_err();
        let shown = matches!(&error, OutboundError::Address { host, address, .. }
            if host == "rebound.test" && address.to_string().parse::<std::net::IpAddr>().ok() == addresses[0].parse().ok());
        assert!(shown, "{addresses:?}: {error}");
    }
    let literal = Setup::new(anywhere_on(port)).build();
    assert!(matches!(
        send(&literal, get(&format!("https://127.0.0.1:{port}/"))),
        Err(OutboundError::Address { .. })
    ));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody connected");
}

#[test]
fn a_name_without_addresses_or_that_does_not_resolve_is_an_error() {
    struct Nothing;
    impl crate::egress::NameResolver for Nothing {
        fn resolve(&self, _: &str, _: &str, _: std::time::Instant) -> std::io::Result<Vec<std::net::IpAddr>> {
            Err(std::io::Error::other("no such host"))
        }
    }
    let channel = Setup::new(anywhere_on(443)).resolver(Arc::new(Nothing)).build();
    assert!(matches!(send(&channel, get("https://a.test/")), Err(OutboundError::Resolve { .. })));
    let channel = Setup::new(anywhere_on(443)).resolver(FakeResolver::new(&[&[]])).build();
    assert!(matches!(send(&channel, get("https://a.test/")), Err(OutboundError::Resolve { .. })));
}

/// A listener that reports the first bytes of each connection and closes it.
fn first_bytes(address: &str) -> (u16, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut bytes = vec![0; 3];
            let _ = stream.unwrap().read_exact(&mut bytes);
            let _ = sender.send(bytes);
        }
    });
    (port, receiver)
}

#[test]
fn dns_that_changes_its_records_moves_no_connection() {
    let (port, checked) = first_bytes("127.0.0.2:0");
    let (_, other) = first_bytes(&format!("127.0.0.3:{port}"));
    let resolver = FakeResolver::new(&[&["127.0.0.2"], &["127.0.0.3"]]);
    let channel = Setup::new(anywhere_on(port)).private(&["127.0.0.2"]).resolver(resolver.clone()).build();
    let url = format!("https://rebound.test:{port}/");
    assert!(matches!(send(&channel, get(&url)), Err(OutboundError::Connection { .. })));
    // The beginning of a TLS handshake (RFC 8446, section 5.1), at the address that was checked.
    assert_eq!(checked.recv_timeout(Duration::from_secs(90)).unwrap()[..2], [0x16, 0x03]);
    assert_eq!(resolver.count(), 1);
    // The next request asks again, and the new addresses are checked again.
    assert!(matches!(send(&channel, get(&url)), Err(OutboundError::Address { .. })));
    assert_eq!(resolver.count(), 2);
    assert!(other.try_recv().is_err());
}

#[test]
fn only_permitted_addresses_of_a_mixed_dns_response_are_connected_to() {
    let (port, checked) = first_bytes("127.0.0.4:0");
    let (_, other) = first_bytes(&format!("127.0.0.5:{port}"));
    let resolver = FakeResolver::new(&[&["127.0.0.5", "127.0.0.4"]]);
    let channel = Setup::new(anywhere_on(port)).private(&["127.0.0.4/32"]).resolver(resolver).build();
    let _ = send(&channel, get(&format!("https://mixed.test:{port}/")));
    assert!(checked.recv_timeout(Duration::from_secs(90)).is_ok());
    assert!(other.try_recv().is_err());
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next() {
    let (port, second) = first_bytes("127.0.0.6:0");
    let resolver = FakeResolver::new(&[&["127.0.0.7", "127.0.0.6"]]);
    let channel = Setup::new(anywhere_on(port)).private(&["two.test"]).resolver(resolver).build();
    let _ = send(&channel, get(&format!("https://two.test:{port}/")));
    assert!(second.recv_timeout(Duration::from_secs(90)).is_ok());
}

/// A TLS server for `secure.test` that serves one request per connection.
fn tls_server() -> (u16, mpsc::Receiver<Received>) {
    let certificates =
        CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(PRIVATE_KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream: rustls::StreamOwned<_, TcpStream> =
                rustls::StreamOwned::new(connection, stream.unwrap());
            let Some(request) = read_request(&mut BufReader::new(&mut stream)) else { continue };
            let _ = sender.send(request);
            let _ = stream.write_all(&response(200, "Connection: close\r\n", "over TLS"));
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (port, receiver)
}

fn tls_setup(port: u16, roots: Option<&str>) -> Setup {
    let mut http = anywhere_on(port);
    http["credentials"] = json!({"k": {"secret_name": "key", "location": {"type": "bearer"},
        "host_patterns": [format!("secure.test:{port}")]}});
    let mut setup = Setup::new(http).private(&["*.test"]).resolver(FakeResolver::new(&[&["127.0.0.1"]]));
    setup.operator.root_certificates_pem = roots.map(str::to_owned);
    setup
}

#[test]
fn tls_to_a_checked_address_is_verified_by_name() {
    let (port, received) = tls_server();
    let channel = tls_setup(port, Some(AUTHORITY)).build();
    for _ in 0..2 {
        let got = send(&channel, get(&format!("https://secure.test:{port}/x"))).unwrap();
        assert_eq!(got.response.body, b"over TLS");
        let request = received.recv_timeout(Duration::from_secs(90)).unwrap();
        assert_eq!(request.header("host"), Some(format!("secure.test:{port}").as_str()));
        assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    }
    let wrong_name = send(&channel, get(&format!("https://other.test:{port}/")));
    assert!(matches!(wrong_name, Err(OutboundError::Connection { .. })), "{wrong_name:?}");
    let unknown_authority =
        send(&tls_setup(port, None).build(), get(&format!("https://secure.test:{port}/")));
    assert!(
        matches!(unknown_authority, Err(OutboundError::Connection { reason, .. }) if reason.contains("certificate"))
    );
    assert!(received.try_recv().is_err(), "nothing was said before the certificate was verified");
}

#[test]
fn a_tls_handshake_that_never_ends_is_left_at_the_deadline() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = upstream.local_addr().unwrap().port();
    let _held = std::thread::spawn(move || {
        let held = upstream.accept();
        std::thread::sleep(Duration::from_secs(5));
        drop(held);
    });
    let request = OutboundRequest {
        timeout: Some(Duration::from_millis(300)),
        ..get(&format!("https://secure.test:{port}/"))
    };
    let error = send(&tls_setup(port, Some(AUTHORITY)).build(), request).unwrap_err();
    assert!(matches!(error, OutboundError::Timeout { .. }), "{error}");
}

#[test]
fn a_configured_proxy_tunnels_by_name_and_addresses_in_urls_are_still_checked() {
    let (tls_port, received) = tls_server();
    let (sender, asked) = mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let client = stream.unwrap();
            let request = read_request(&mut BufReader::new(client.try_clone().unwrap())).unwrap();
            sender.send(request).unwrap();
            (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            let server = TcpStream::connect(("127.0.0.1", tls_port)).unwrap();
            let (mut c, mut s) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut c, &mut s));
            let (mut s, mut c) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut s, &mut c));
        }
    });
    let mut setup = tls_setup(tls_port, Some(AUTHORITY));
    let resolver = FakeResolver::new(&[&["10.0.0.1"]]);
    setup.operator.proxy = Some(format!("http://{proxy}"));
    setup.operator.allow_private_hosts.clear();
    let channel = setup.resolver(resolver.clone()).build();
    let got = send(&channel, get(&format!("https://secure.test:{tls_port}/x"))).unwrap();
    assert_eq!(got.response.body, b"over TLS");
    let connect = asked.recv_timeout(Duration::from_secs(90)).unwrap();
    assert_eq!(connect.line, format!("CONNECT secure.test:{tls_port} HTTP/1.1"));
    assert_eq!(connect.header("authorization"), None, "the proxy sees no credential");
    assert!(received.recv_timeout(Duration::from_secs(90)).is_ok());
    assert_eq!(resolver.count(), 0, "names are the proxy's to resolve");
    let literal = send(&channel, get(&format!("https://127.0.0.1:{tls_port}/")));
    assert!(matches!(literal, Err(OutboundError::Address { .. })));
}

/// Runs in a process of its own, whose environment names a proxy.
#[test]
fn proxy_variables_of_the_environment_are_not_honoured() {
    const CHILD: &str = "TINCLAW_TEST_PROXY_CHILD";
    let name = "proxy_variables_of_the_environment_are_not_honoured";
    if std::env::var_os(CHILD).is_some() {
        let (port, _received) = tls_server();
        let channel = tls_setup(port, Some(AUTHORITY)).build();
        assert!(send(&channel, get(&format!("https://secure.test:{port}/"))).is_ok());
        return;
    }
    let proxy = Upstream::fixed(response(200, "", "from the proxy"));
    let mut child = test_in_a_child(module_path!(), name);
    child.env(CHILD, "1");
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(variable, proxy.base());
    }
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(proxy.connections(), 0);
}

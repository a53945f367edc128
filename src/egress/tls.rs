//! The TLS configuration of links: as ureq's, with the same authorities.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// `roots` are certificates in PEM to trust instead of the compiled-in ones. Ones that cannot be read were refused with the
/// settings of outbound HTTP, so they are left out here.
pub(super) fn client_config(roots: Option<&str>) -> Arc<ClientConfig> {
    let store = match roots {
        Some(pem) => {
            let mut store = RootCertStore::empty();
            let readable = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
            store.add_parsable_certificates(readable);
            store
        }
        None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        // Fails only for a provider without the suites of a version, and ring has them all.
        .expect("ring speaks TLS 1.2 and 1.3");
    Arc::new(config.with_root_certificates(store).with_no_client_auth())
}

//! Which certificate do the TLS servers of tests have?

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A server for this name that offers HTTP/2 and HTTP/1.1, and the roots that a client trusts it by.
pub(crate) fn server(name: &str) -> (TlsAcceptor, RootCertStore) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    // With every feature, rustls has two kinds of cryptography, and cannot choose.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = ServerConfig::builder().with_no_client_auth();
    let mut server = server.with_single_cert(vec![certificate], key.into()).unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (std::sync::Arc::new(server).into(), roots)
}

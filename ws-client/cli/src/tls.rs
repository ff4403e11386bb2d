//! Which certificates does the client trust and present?

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls_platform_verifier::BuilderVerifierExt as _;
use ws_client::rustls::client::WantsClientCert;
use ws_client::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use ws_client::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use ws_client::rustls::pki_types::pem::PemObject as _;
use ws_client::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use ws_client::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The TLS settings of the options `--insecure`, `--cacert`, `--cert` and `--key`.
pub(crate) fn config(
    insecure: bool,
    cacert: Option<&Path>,
    cert: Option<&Path>,
    key: Option<&Path>,
) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match cacert {
        _ if insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerify(provider)))
        }
        Some(path) => builder.with_root_certificates(roots(path)?),
        None => builder.with_platform_verifier()?,
    };
    with_client_cert(builder, cert, key)
}

fn roots(path: &Path) -> Result<RootCertStore> {
    let pem = read_file(path, "--cacert")?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&pem) {
        roots.add(root.context("invalid PEM (--cacert)")?)?;
    }
    ensure!(!roots.is_empty(), "no certificate in {} (--cacert)", path.display());
    Ok(roots)
}

fn with_client_cert(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    cert: Option<&Path>,
    key: Option<&Path>,
) -> Result<ClientConfig> {
    let Some(cert) = cert else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = identity(cert, key)?;
    builder
        .with_client_auth_cert(chain, key)
        .context("the key does not match the certificate (--key)")
}

/// A certificate chain and its private key. Without `key`, the key is in the file `cert`.
pub(crate) fn identity(
    cert: &Path,
    key: Option<&Path>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let pem = read_file(cert, "--cert")?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.context("invalid PEM (--cert)")?;
    ensure!(!chain.is_empty(), "no certificate in {} (--cert)", cert.display());
    let key = match key {
        Some(path) => PrivateKeyDer::from_pem_slice(&read_file(path, "--key")?),
        None => PrivateKeyDer::from_pem_slice(&pem),
    };
    let key = key.context("no private key (--key, or after the certificate in --cert)")?;
    Ok((chain, key))
}

/// Reads the file of an option.
fn read_file(path: &Path, option: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {} ({option})", path.display()))
}

/// Accepts every certificate, but still verifies that the server has its private key.
#[derive(Debug)]
struct NoVerify(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerify {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

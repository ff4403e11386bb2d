//! Which certificates does the client trust and present?

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls_platform_verifier::BuilderVerifierExt as _;
use ws_client::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use ws_client::rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use ws_client::rustls::pki_types::pem::PemObject as _;
use ws_client::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use ws_client::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

/// The TLS settings of the options `--insecure`, `--cacert`, `--cert` and `--key`.
pub(crate) fn client_config(
    insecure: bool,
    cacert: Option<&Path>,
    cert: Option<&Path>,
    key: Option<&Path>,
) -> Result<ClientConfig> {
    let provider = aws_lc_rs::default_provider();
    let no_verify = NoVerify(provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match cacert {
        _ if insecure => builder.dangerous().with_custom_certificate_verifier(Arc::new(no_verify)),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path, "--cacert")? {
                roots.add(root)?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_platform_verifier()?,
    };
    let Some(cert) = cert else { return Ok(builder.with_no_client_auth()) };
    let (chain, key) = identity(cert, key)?;
    builder.with_client_auth_cert(chain, key).context(KEY_MISMATCH)
}

/// The TLS settings of a server with the options `--cert` and `--key`.
pub(crate) fn server_config(cert: &Path, key: Option<&Path>) -> Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let (chain, key) = identity(cert, key)?;
    builder.with_single_cert(chain, key).context(KEY_MISMATCH)
}

const KEY_MISMATCH: &str = "the key does not match the certificate (--key)";

/// A certificate chain and its private key. Without `key`, the key is in the file `cert`.
fn identity(
    cert: &Path,
    key: Option<&Path>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(cert, "--cert")?;
    let key = match key {
        Some(path) => read_file(path, "--key")?,
        None => read_file(cert, "--cert")?,
    };
    let key = PrivateKeyDer::from_pem_slice(&key);
    Ok((chain, key.context("no private key (--key, or after the certificate in --cert)")?))
}

/// The certificates in the PEM file of an option, at least one.
fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read_file(path, option)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.with_context(|| format!("invalid PEM ({option})"))?;
    ensure!(!certificates.is_empty(), "no certificate in {} ({option})", path.display());
    Ok(certificates)
}

/// Reads the file of an option.
fn read_file(path: &Path, option: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {} ({option})", path.display()))
}

/// Accepts every certificate, but still verifies that the server has its private key.
#[derive(Debug)]
struct NoVerify(WebPkiSupportedAlgorithms);

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
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

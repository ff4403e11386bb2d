//! How does a measured server speak TLS?

use std::fs;
use std::future::Future;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;

use crate::{Options, listener, runtime, welcome};

/// As [`serve`](crate::serve), over TLS. All servers have the same settings: the defaults of rustls,
/// with the protocols `h2` and `http/1.1`.
///
/// # Errors
///
/// The address cannot be bound, or the certificate cannot be written.
pub fn serve_tls<T, F>(options: &'static Options, handle: F) -> Result<()>
where
    F: Fn(TlsStream<TcpStream>) -> T + Clone + Send + 'static,
    T: Future + Send + 'static,
{
    let tls = acceptor(options)?;
    runtime(options.workers)?.block_on(async {
        let listener = listener(options).await?;
        loop {
            let accepting = Box::pin(tls.accept(welcome(&listener).await?));
            let handle = handle.clone();
            tokio::spawn(async move {
                // Errors do not matter: the load generator ends connections at any time.
                if let Ok(stream) = accepting.await {
                    handle(stream).await;
                }
            });
        }
    })
}

/// A new certificate for `localhost`, which is written to a file for the load generator.
fn acceptor(options: &Options) -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    if let Some(file) = &options.certificate {
        let der = made.cert.der();
        fs::write(file, der).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

//! How does `ws listen` serve TLS, for HTTP/1.1 and HTTP/2?

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::server::{ListenServer, describe_error};
use crate::tls::server_config;

/// The timeout of the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS with this certificate. Without `key`, the key is in the file `cert`.
pub(super) fn acceptor(cert: &Path, key: Option<&Path>) -> Result<TlsAcceptor> {
    let mut config = server_config(cert, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one WebSocket over HTTP/1.1, or many over HTTP/2. A client has 10 s for the TLS handshake,
/// and then 30 s for its request.
pub(super) async fn serve_stream(
    server: &Arc<ListenServer>,
    tls: &TlsAcceptor,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
) {
    let stream = match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let why = describe_error(&error);
            return server.note(format_args!("{peer}: TLS handshake failed: {why}"));
        }
        Err(_) => return server.note(format_args!("{peer}: TLS handshake timed out")),
    };
    let serving = Arc::clone(server);
    let service = service_fn(move |request| {
        let response = respond(&serving, request, peer);
        async { Ok::<_, Infallible>(response) }
    });
    // Each WebSocket reports its own errors.
    if let Err(error) = ws_server_hyper::serve_stream(stream, Some(peer), service).await {
        server.note(format_args!("{peer}: {}", describe_error(&*error)));
    }
}

fn respond(
    server: &Arc<ListenServer>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<String> {
    match ws_server_hyper::accept(&mut request, &server.options) {
        Ok((response, upgrade)) => {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                let served = upgrade.serve(|conn| server.serve(conn, peer)).await;
                server.report(peer, served);
            });
            response
        }
        Err(rejection) => {
            server.note(format_args!("{peer}: {}", describe_error(&rejection)));
            rejection.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;
    use tokio_rustls::TlsConnector;
    use ws_client::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
    use ws_client::rustls::{ClientConfig, RootCertStore, ServerConfig};
    use ws_core::handler::ConnectionTracker;

    use super::*;

    /// The TLS settings of a server, and of a client that trusts it.
    fn settings() -> (TlsAcceptor, TlsConnector) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().into();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        // With every feature, rustls has two kinds of cryptography, and cannot choose.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![certificate], key).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        (TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client)))
    }

    fn server() -> Arc<ListenServer> {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            args: crate::listen::ListenArgs,
        }
        let Command { args } = clap::Parser::parse_from(["ws", "-q"]);
        Arc::new(ListenServer::new(args, &ConnectionTracker::new()))
    }

    /// Sends the input over TLS, or without a TLS handshake, and checks after how many seconds the
    /// server has let the client go.
    async fn check(over_tls: bool, input: &[u8], seconds: u64) {
        let (acceptor, connector) = settings();
        let (mut client, stream) = duplex(16 * 1024);
        let began = Instant::now();
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let serving =
            tokio::spawn(async move { serve_stream(&server(), &acceptor, stream, peer).await });
        let mut answer = Vec::new();
        if over_tls {
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = connector.connect(name, client).await.unwrap();
            client.write_all(input).await.unwrap();
            client.flush().await.unwrap();
            // The end may come without a `close_notify`.
            let _ = timeout(Duration::from_secs(100), client.read_to_end(&mut answer)).await;
        } else {
            client.write_all(input).await.unwrap();
            let reading = client.read_to_end(&mut answer);
            timeout(Duration::from_secs(100), reading).await.unwrap().unwrap();
        }
        assert_eq!(began.elapsed().as_secs(), seconds, "{over_tls} {}", input.escape_ascii());
        timeout(Duration::from_secs(1), serving).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_for_nothing_is_let_go() {
        check(false, b"", 10).await;
        check(false, &[22, 3, 1, 0, 200, 1], 10).await;
        check(true, b"", 30).await;
        check(true, b"GET / HTTP/1.1\r\nHost: ", 30).await;
        check(true, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 30).await;
        // After a request, over HTTP/1.1.
        check(true, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 30).await;
    }
}

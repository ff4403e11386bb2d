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
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::server::ListenServer;
use crate::print::error_chain;
use crate::tls::server_config;

/// The timeout of the TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS with this certificate. Without `key`, the key is in the file `cert`.
pub(super) fn acceptor(cert: &Path, key: Option<&Path>) -> Result<TlsAcceptor> {
    let mut config = server_config(cert, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one WebSocket over HTTP/1.1, or many over HTTP/2.
pub(super) async fn serve_stream(
    server: &Arc<ListenServer>,
    tls: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // `Conn` sets this for HTTP/1.1 only. An error does no harm.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(TLS_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let why = error_chain(&error);
            return server.note(format_args!("{peer}: TLS handshake failed: {why}"));
        }
        Err(_) => return server.note(format_args!("{peer}: TLS handshake timed out")),
    };
    let service = service_fn(|request| {
        let response = respond(server, request, peer);
        async { Ok::<_, Infallible>(response) }
    });
    let http = ws_server_hyper::http_builder();
    // Each WebSocket reports its own errors.
    let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
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
            server.note(format_args!("{peer}: {}", error_chain(&rejection)));
            rejection.into_response()
        }
    }
}

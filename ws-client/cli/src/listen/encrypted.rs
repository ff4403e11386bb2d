//! How does one listen behind TLS, for HTTP/1.1 and HTTP/2?

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use ws_client::rustls::ServerConfig;
use ws_client::rustls::crypto::aws_lc_rs;

use super::Server;
use crate::exit::chain;
use crate::tls::identity;

/// How long a client may take for TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// TLS with this certificate, whose key may be behind it.
pub(super) fn acceptor(cert: &Path, key: Option<&Path>) -> Result<TlsAcceptor> {
    let (chain, key) = identity(cert, key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder
        .with_single_cert(chain, key)
        .context("the key is not of the certificate (--key)")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves whoever comes over this stream: one connection by HTTP/1.1, or many by HTTP/2.
pub(super) async fn welcome(
    server: &Arc<Server>,
    tls: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Over HTTP/2, nobody takes the stream over who would say so. One that refuses works all
    // the same.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return server.note(format_args!("{peer}: no TLS: {}", chain(&error))),
        Err(_) => return server.note(format_args!("{peer}: no TLS in time")),
    };
    let service = service_fn(|request| {
        let answer = answer(server, request, peer);
        async { Ok::<_, Infallible>(answer) }
    });
    let http = ws_server_hyper::server();
    // What went wrong with a connection is told by itself.
    let _ = http.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

fn answer(
    server: &Arc<Server>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<String> {
    match ws_server_hyper::accept(&mut request, &server.options) {
        Ok((response, upgrade)) => {
            let server = Arc::clone(server);
            tokio::spawn(async move {
                let served = upgrade.serve(|conn| server.serve(conn, peer)).await;
                server.told(peer, served);
            });
            response
        }
        Err(rejection) => {
            server.note(format_args!("{peer}: {}", chain(&rejection)));
            rejection.into_response()
        }
    }
}

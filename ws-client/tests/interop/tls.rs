//! Which transport does the server have: TCP, TLS, HTTP/2?

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Extension;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::server::TlsStream;
use ws_server_axum::PeerAddr;

use crate::server::{Adapter, Shared};

/// The transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Tcp,
    /// TLS with HTTP/1.1 only.
    Tls,
    /// TLS with HTTP/2, if the client supports it.
    Http2,
}

impl Over {
    pub(crate) fn url(self, scheme: &str, address: &str) -> String {
        let s = if self == Self::Tcp { "" } else { "s" };
        format!("{scheme}{s}://{address}")
    }

    fn acceptor(self) -> Result<TlsAcceptor> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        // With every feature, rustls has two kinds of cryptography, and cannot choose.
        let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.into()], key.into())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if self == Self::Http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Arc::new(config).into())
    }
}

impl Shared {
    /// Serves each TLS stream with hyper, axum or warp.
    pub(crate) async fn serve_tls(
        self: Arc<Self>,
        over: Over,
        adapter: Adapter,
        listener: TcpListener,
    ) -> Result<()> {
        let acceptor = over.acceptor()?;
        loop {
            let (stream, peer) = listener.accept().await?;
            let (shared, acceptor) = (Arc::clone(&self), acceptor.clone());
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let stream = acceptor.accept(stream).await?;
                shared.serve_stream(adapter, stream, peer).await
            });
        }
    }

    async fn serve_stream(
        self: Arc<Self>,
        adapter: Adapter,
        stream: TlsStream<TcpStream>,
        peer: SocketAddr,
    ) -> Result<()> {
        let server = ws_server_hyper::http_builder();
        let served = match adapter {
            Adapter::Tcp | Adapter::Hyper => {
                let service = service_fn(move |mut request| {
                    let shared = Arc::clone(&self);
                    request.extensions_mut().insert(PeerAddr(peer));
                    async move { hyper::Result::Ok(shared.answer(request)) }
                });
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).await
            }
            Adapter::Axum => {
                let service =
                    TowerToHyperService::new(self.axum().layer(Extension(PeerAddr(peer))));
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).await
            }
            Adapter::Warp => ws_server_warp::serve_stream(stream, Some(peer), self.warp()).await,
        };
        // The connection reports the loss of the transport.
        drop(served);
        Ok(())
    }
}

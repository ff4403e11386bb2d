//! How do I serve `wss` with rustls behind axum, hyper or warp, with certificates that are renewed?
//!
//! Reads the certificate again each minute and on SIGHUP, so that a client of ACME can renew it.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::future::ready;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use clap::{Parser, ValueEnum};
use examples::Listen;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use ws_server_hyper::{
    AcceptOptions, Conn, ConnectionTracker, DrainConfig, Error, shutdown_signal,
};

/// Echoes over TLS.
#[derive(Parser)]
struct Args {
    /// The certificate, with those of its issuers, as PEM.
    cert: PathBuf,
    /// Its private key as PEM.
    key: PathBuf,
    #[command(flatten)]
    listen: Listen,
    /// The framework that serves the requests.
    #[arg(long, value_enum, default_value = "axum")]
    by: Framework,
}

#[derive(Clone, Copy, ValueEnum)]
enum Framework {
    Axum,
    Hyper,
    Warp,
}

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the certificate is read again.
const RELOAD: Duration = Duration::from_secs(60);

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// Reads the certificate and the key.
fn load(cert: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let certs = CertificateDer::pem_file_iter(cert).context("cannot read the certificate")?;
    let certs = certs.collect::<Result<_, _>>().context("the certificate is no PEM")?;
    let key = PrivateKeyDer::from_pem_file(key).context("cannot read the key")?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(certs, key)?;
    // Without "h2", browsers open a connection of HTTP/1.1 for each WebSocket.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Replaces the settings when the files change. A file that is being written is read the next time.
async fn reload(
    cert: PathBuf,
    key: PathBuf,
    configs: watch::Sender<Arc<ServerConfig>>,
) -> std::io::Result<()> {
    #[cfg(unix)]
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    loop {
        #[cfg(unix)]
        let _ = timeout(RELOAD, hangup.recv()).await;
        #[cfg(not(unix))]
        sleep(RELOAD).await;
        match load(&cert, &key) {
            Ok(config) => drop(configs.send_replace(config)),
            Err(error) => println!("the certificate stays: {error:#}"),
        }
    }
}

/// Serves the requests of one connection, after its TLS handshake.
async fn serve(by: Framework, options: AcceptOptions, io: TlsStream<TcpStream>, peer: SocketAddr) {
    // Errors of one client: it has left, or speaks no HTTP.
    drop(match by {
        Framework::Axum => {
            let app = Router::new().route("/", ws_server_axum::websocket(options, echo));
            ws_server_axum::serve_stream(io, Some(peer), app).await
        }
        Framework::Warp => {
            let app = warp::service(ws_server_warp::websocket(options, echo));
            ws_server_warp::serve_stream(io, Some(peer), app).await
        }
        Framework::Hyper => {
            let service = service_fn(move |mut request: Request<Incoming>| {
                ready(anyhow::Ok(answer(&mut request, &options)))
            });
            ws_server_hyper::serve_stream(io, Some(peer), service).await
        }
    });
}

fn answer(request: &mut Request<Incoming>, options: &AcceptOptions) -> Response<Full<Bytes>> {
    match ws_server_hyper::accept(request, options) {
        Ok((response, upgrade)) => {
            tokio::spawn(upgrade.serve(echo));
            response
        }
        Err(rejection) => rejection.into_response().map(Full::from),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { cert, key, listen, by } = Args::parse();
    // rustls needs a provider of cryptography, and the application chooses it.
    let _ = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (sender, configs) = watch::channel(load(&cert, &key)?);
    tokio::spawn(reload(cert, key, sender));
    let listener = listen.bind().await?;
    println!("listening on wss://{}", listener.local_addr()?);
    let tracker = ConnectionTracker::new();
    let options = AcceptOptions::new().tracker(&tracker);
    let mut stop = pin!(shutdown_signal());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((tcp, peer)) = accepted else {
            // Too many open files: wait until some are closed.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&configs.borrow()));
        let options = options.clone();
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            // In its own task, and bounded: a client that says nothing holds up no other.
            if let Ok(Ok(io)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
                serve(by, options, io, peer).await;
            }
        });
    }
    tracker.drain(DrainConfig::timeout(Duration::from_secs(10))).await;
    Ok(())
}

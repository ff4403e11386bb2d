//! How does `ws listen` accept connections, and stop?

mod args;
mod exec;
mod server;
mod tls_server;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpListener;
use tokio::select;
use tokio_rustls::TlsAcceptor;
use ws_client::{Conn, Error};
use ws_core::handler::{ConnectionTracker, DrainConfig};
use ws_core::{AcceptOptions, Acceptor};
use ws_server_hyper::shutdown_signal;

pub(crate) use self::args::ListenArgs;
use self::server::{ListenServer, Receivers};
use crate::print;

/// How long the connections may take to close after a signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(args: ListenArgs) -> Result<ExitCode> {
    let listener = TcpListener::bind(args.address).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.address))?;
    let tls = args.cert.as_ref().map(|cert| tls_server::acceptor(cert, args.key.as_deref()));
    let tls = tls.transpose()?;
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    print::note(format_args!("listening on {scheme}://{}", listener.local_addr()?));
    let tracker = ConnectionTracker::new();
    let server = Arc::new(ListenServer::new(args, &tracker));
    // A task, since an output that nobody reads may hold it.
    let accepting = tokio::spawn(accept_all(listener, server, tls));
    shutdown_signal().await;
    accepting.abort();
    select! {
        _ = tracker.drain(DrainConfig::timeout(DRAIN_TIMEOUT)) => {}
        // A second signal: aborts the connections, and kills their commands.
        () = shutdown_signal() => {
            tracker.drain(DrainConfig::timeout(Duration::ZERO)).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn accept_all(listener: TcpListener, server: Arc<ListenServer>, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // `Conn` sets this for HTTP/1.1 only. An error does no harm.
                let _ = stream.set_nodelay(true);
                let (server, tls) = (Arc::clone(&server), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => server.serve_stream(stream, peer).await,
                        Some(tls) => tls_server::serve_stream(&server, &tls, stream, peer).await,
                    }
                });
            }
            // For example, out of file descriptors. Open connections go on.
            Err(error) => {
                server.note(format_args!("cannot accept: {error}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts an echo server on a free local port, and returns its address.
pub(crate) async fn start_echo() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async { Acceptor::new(&AcceptOptions::new()).serve(stream, echo).await });
        }
    });
    Ok(address)
}

/// Starts a server on a free local port that sends each message to all other connections, and
/// returns its address.
pub(crate) async fn start_broadcast() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let receivers = Arc::new(Receivers::default());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let receivers = Arc::clone(&receivers);
            tokio::spawn(async move {
                let serve = async |conn| {
                    receivers.serve(conn).await;
                    Ok::<_, Error>(())
                };
                Acceptor::new(&AcceptOptions::new()).serve(stream, serve).await
            });
        }
    });
    Ok(address)
}

async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

//! How do WebSockets run over HTTP/2? Several on one connection (RFC 8441).
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use axum::Router;
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Compression, Conn, Error, serve, websocket};

/// Sends every message back, until the peer is gone.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

/// The routes are those of HTTP/1.1, and so is the handler. Browsers want TLS, which
/// chooses HTTP/2 by ALPN; here it is for clients that know beforehand.
///
/// `axum::serve` does all this too, with the feature `http2`. This server has windows in
/// addition that keep a slow socket from stalling the others, and sets `TCP_NODELAY`.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = AcceptOptions::new().compression(Compression::no_context_takeover());
    let app = Router::new().route("/", websocket(options, echo));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(serve(listener, app).await?)
}

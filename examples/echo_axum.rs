//! How do I serve WebSockets with axum?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use axum::Router;
use tokio::net::TcpListener;
use ws_server_axum::{AcceptOptions, Conn, Error, websocket};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let app = Router::new().route("/", websocket(AcceptOptions::new(), echo));
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

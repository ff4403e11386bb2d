//! How do I serve WebSockets with warp?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use tokio::net::TcpListener;
use warp::Filter as _;
use ws_server_warp::{AcceptOptions, Conn, Error, recover, serve, websocket};

/// Sends every message back until the connection closes.
async fn echo(conn: Conn) -> Result<(), Error> {
    loop {
        let message = conn.read().await?;
        conn.write(message).await?;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let routes = warp::path::end().and(websocket(AcceptOptions::new(), echo)).recover(recover);
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    // `warp::serve(routes)` works too, over HTTP/1.1 only.
    Ok(serve(listener, warp::service(routes)).await?)
}

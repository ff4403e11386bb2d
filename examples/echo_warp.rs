//! How does one serve WebSockets with warp?
#![expect(clippy::print_stdout, reason = "that is what a program is for")]

use tokio::net::TcpListener;
use warp::Filter as _;
use ws_server_warp::{AcceptOptions, Conn, Error, recover, serve, websocket};

/// Sends every message back, until the peer is gone.
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
    // `warp::serve(routes)` does as well, for HTTP/1.1 alone.
    Ok(serve(listener, warp::service(routes)).await?)
}

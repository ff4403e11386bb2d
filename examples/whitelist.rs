//! How do I accept only clients with allowed IP addresses?
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use tokio::net::TcpListener;
use ws_server_axum::{Conn, Error, WebSocketUpgrade};

/// Behind a reverse proxy, this is the address of the proxy: use the header that your proxy sets
/// instead, if clients cannot set it.
async fn handle(
    State(allowed): State<Vec<IpAddr>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    ws: WebSocketUpgrade,
) -> Response {
    if !allowed.contains(&client.ip()) {
        return (StatusCode::FORBIDDEN, "address not allowed").into_response();
    }
    ws.on_upgrade(greet)
}

async fn greet(conn: Conn) -> Result<(), Error> {
    conn.write("welcome").await
}

/// Arguments: the address to listen on, then the allowed addresses.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let allowed =
        std::env::args().skip(2).map(|ip| ip.parse()).collect::<Result<Vec<IpAddr>, _>>()?;
    let app = Router::new().route("/", any(handle)).with_state(allowed);
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on ws://{}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
